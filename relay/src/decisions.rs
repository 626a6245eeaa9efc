//! Decisions of the control plane as they come into force in this region: followed, so that open sessions act on them.
//!
//! Whoever decides tells the bus at once, but only the bus of the region that was asked, and a bus may lose a message. The control
//! plane's order of decisions loses none, and holds those of the other region, too: a relay that follows it is late by
//! [`LOOK`] and the way between the regions, and never wrong. What was decided is looked up anew, so an old decision that is
//! told late does no harm.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use selvedge_protocol::DocumentId;
use selvedge_region::{Control, Decided, DecidedPage, Error, Result};
use tokio::sync::watch;

use crate::room::RoomEvent;
use crate::room::registry::Registry;

/// Between two looks at what was decided.
const LOOK: Duration = Duration::from_millis(500);
/// One page of decisions may take so long, with telling all rooms.
const LOOK_WITHIN: Duration = Duration::from_secs(30);
/// Documents remembered as decided upon, for sessions that are just opening one.
const REMEMBERED_MAX: usize = 4_096;

/// A moment in the order of decisions, as far as they were heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

/// See the module.
#[derive(Debug)]
pub(crate) struct Decisions {
    state: Mutex<State>,
    /// Counts the moments after which every session looks its rights up again.
    anything: watch::Sender<u64>,
    remembered_max: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Decisions heard of.
    heard: u64,
    /// The last ones, with the number of each.
    remembered: VecDeque<(u64, DocumentId)>,
    /// Of the first of `heard` that is remembered for sure, the number before.
    forgotten: u64,
}

impl Decisions {
    /// Has heard of none.
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), anything: watch::channel(0).0, remembered_max: REMEMBERED_MAX }
    }

    /// Now, in the order of decisions. To be taken before rights are looked up.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.lock().heard)
    }

    /// Whether something may have been decided about a document since: what was looked up may be out of date.
    pub(crate) fn any_since(&self, mark: Mark, document: &DocumentId) -> bool {
        let state = self.lock();
        mark.0 < state.forgotten
            || state.remembered.iter().any(|(number, decided)| *number > mark.0 && decided == document)
    }

    /// Changes when all that was looked up may be out of date.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.anything.subscribe()
    }

    /// Follows the decisions until the relay stops.
    pub(crate) async fn keep_up(self: Arc<Self>, registry: Arc<Registry>, mut stopped: watch::Receiver<bool>) {
        let control = Arc::clone(&registry.ground().region.control);
        let (mut from, mut begun) = (None, false);
        loop {
            match tokio::time::timeout(LOOK_WITHIN, self.look(&*control, &registry, from)).await {
                Ok(Ok(page)) => {
                    if from.is_none() && begun {
                        // Nobody knows what was decided between the place that was lost and this one.
                        self.look_at_everything(&*control, &registry).await;
                    }
                    from = Some(page.next);
                    if !page.at_end {
                        continue;
                    }
                }
                Ok(Err(Error::BeyondEnd { .. } | Error::Gone { .. })) => from = None,
                Ok(Err(error)) => tracing::debug!(%error, "decisions are looked at again"),
                Err(_) => tracing::debug!("decisions are looked at again: the control plane does not answer"),
            }
            begun = true;
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    }

    /// Tells the rooms that are open what the next page of decisions is about.
    async fn look(&self, control: &dyn Control, registry: &Registry, from: Option<u64>) -> Result<DecidedPage> {
        let page = control.decided(from).await?;
        self.remember(&page.decided);
        let mut told = HashSet::new();
        for decided in &page.decided {
            if told.insert(decided) {
                tell(control, registry, decided).await?;
            }
        }
        if page.anything {
            self.look_at_everything(control, registry).await;
        }
        Ok(page)
    }

    /// Has every session look its rights up again and every room whether its document is there.
    async fn look_at_everything(&self, control: &dyn Control, registry: &Registry) {
        {
            let mut state = self.lock();
            state.heard += 1;
            state.forgotten = state.heard;
        }
        self.anything.send_modify(|count| *count += 1);
        for document in registry.documents() {
            if let Err(error) = tell(control, registry, &Decided { document, principal: None }).await {
                tracing::debug!(%error, "whether a document is there is not known at the moment");
            }
        }
    }

    fn remember(&self, decided: &[Decided]) {
        let mut state = self.lock();
        for decided in decided {
            state.heard += 1;
            let number = state.heard;
            state.remembered.push_back((number, decided.document.clone()));
            if state.remembered.len() > self.remembered_max
                && let Some((number, _)) = state.remembered.pop_front()
            {
                state.forgotten = state.forgotten.max(number);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics with this lock held")
    }
}

/// Tells a document's room, if it is open here, what is in force now.
async fn tell(control: &dyn Control, registry: &Registry, decided: &Decided) -> Result<()> {
    let Some(room) = registry.open_room(&decided.document) else { return Ok(()) };
    // First whether it is there: nobody has rights on what was deleted, but that is not why it is closed.
    if let Some(info) = control.document(&decided.document).await? {
        let gone = if info.deleted_ms.is_some() { info.generation } else { info.generation - 1 };
        room.tell(RoomEvent::Deleted { generation: gone }).await;
    }
    if let Some(principal) = &decided.principal {
        let rights = control.rights(&decided.document, principal).await?;
        room.rights_set(principal.clone(), rights).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(name: &str) -> Decided {
        Decided { document: format!("t/{name}").parse().unwrap(), principal: Some("ann".to_owned()) }
    }

    #[test]
    fn who_looked_before_a_decision_is_told_to_look_again() {
        let decisions = Decisions { remembered_max: 2, ..Decisions::new() };
        let (one, two) = (decided("one"), decided("two"));
        let before = decisions.mark();
        assert!(!decisions.any_since(before, &one.document));
        decisions.remember(std::slice::from_ref(&one));
        assert!(decisions.any_since(before, &one.document));
        assert!(!decisions.any_since(before, &two.document), "another document's decisions are none of its concern");
        assert!(!decisions.any_since(decisions.mark(), &one.document), "who looks now sees it");
    }

    #[test]
    fn what_is_not_remembered_counts_as_decided() {
        let decisions = Decisions { remembered_max: 2, ..Decisions::new() };
        let other = decided("other").document;
        let first = decisions.mark();
        decisions.remember(&[decided("one")]);
        let second = decisions.mark();
        decisions.remember(&[decided("two"), decided("three")]);
        assert!(decisions.any_since(first, &other), "one of them may have been about it");
        assert!(!decisions.any_since(second, &other));
    }
}
