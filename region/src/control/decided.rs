//! What was decided lately, for those who act on earlier decisions: an open session goes on with the rights it was given.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::DocumentId;

/// What one decision was about. What was decided is asked for: a later decision may have followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decided {
    /// The document.
    pub document: DocumentId,
    /// Whose rights on it; `None`: the document itself, which was deleted or created again.
    pub principal: Option<String>,
}

/// Some decisions in their order, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DecidedPage {
    /// What they were about.
    pub decided: Vec<Decided>,
    /// Anything may have been decided beside: an epoch began, and undid what its home had not heard of, or decisions lie too far
    /// back to be told.
    pub anything: bool,
    /// Where the next page begins.
    pub next: u64,
    /// Whether this page reached the end as it was when it was read.
    pub at_end: bool,
}

/// The latest decisions of a process that makes all of them.
#[derive(Debug)]
pub(super) struct Recent {
    kept: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the first one kept.
    first: u64,
    decided: VecDeque<Decided>,
}

impl Recent {
    /// Keeps at most so many.
    pub(super) fn new(kept: usize) -> Self {
        Self { kept, state: Mutex::default() }
    }

    /// Notes a decision that is in force.
    pub(super) fn note(&self, document: &DocumentId, principal: Option<&str>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.decided.push_back(Decided { document: document.clone(), principal: principal.map(str::to_owned) });
        while state.decided.len() > self.kept {
            state.decided.pop_front();
            state.first += 1;
        }
    }

    /// What was noted from a number on; `None`: from now on.
    pub(super) fn since(&self, from: Option<u64>) -> DecidedPage {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let next = state.first + state.decided.len() as u64;
        let from = from.unwrap_or(next);
        let passed = usize::try_from(from.saturating_sub(state.first)).unwrap_or(usize::MAX);
        let decided = state.decided.iter().skip(passed).cloned().collect();
        // A number nobody was given yet comes from an earlier process.
        DecidedPage { decided, anything: from < state.first || from > next, next, at_end: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_told_once_in_their_order_and_lost_ones_are_said_to_be_lost() {
        let recent = Recent::new(2);
        let document: DocumentId = "t/d".parse().unwrap();
        assert_eq!(recent.since(None), DecidedPage { at_end: true, ..DecidedPage::default() }, "nothing of the past");
        recent.note(&document, Some("ann"));
        recent.note(&document, None);
        let both = recent.since(Some(0));
        let principals: Vec<_> = both.decided.iter().map(|decided| decided.principal.as_deref()).collect();
        assert_eq!((principals, both.anything, both.next), (vec![Some("ann"), None], false, 2));
        assert!(recent.since(Some(both.next)).decided.is_empty());
        recent.note(&document, Some("bob"));
        let late = recent.since(Some(0));
        assert_eq!((late.decided.len(), late.anything, late.next), (2, true, 3), "one was let go");
        assert!(!recent.since(Some(1)).anything, "which no reader beyond it misses");
        assert!(recent.since(Some(9)).anything);
    }
}
