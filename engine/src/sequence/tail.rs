//! The tail: where text went last, so that what goes on there is not looked up again.
//!
//! Somebody who types makes one run longer, somebody who takes back makes it shorter. What that needs to know (the run, the
//! lengths before its end, how far its k may rise before the next character's identifier) stays true until anything else is
//! changed. O(1) and the sums above the leaf, whether the change is local or comes from another replica.

use super::{Caret, LEAF_BYTES_MAX, LeafIndex, Measure, Place, Sequence, Spot};
use crate::id::{COUNTER_END, DotRange};
use crate::limits::PATH_BYTES_MAX;
use crate::position::group::Atom;

/// The run that was written last. Whatever changes the sequence otherwise forgets it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    leaf: LeafIndex,
    /// Number of the run in its leaf.
    run: usize,
    /// Lengths of the text before the leaf.
    before: Measure,
    /// Lengths of the leaf's text up to the run's end.
    end: Measure,
    /// What would continue the run.
    next: Atom,
    /// From here on k does not sort before the next character. Found when somebody goes on here: most do not.
    k_end: Option<i64>,
}

impl Tail {
    /// Behind it.
    const fn caret(&self) -> Caret {
        Caret { leaf: self.leaf, before: self.before, run: self.run + 1, start: self.end }
    }
}

impl Sequence {
    /// What would continue the run written last, and the UTF-16 position where it would stand.
    pub(crate) fn tail(&self) -> Option<(Atom, usize)> {
        self.tail.map(|tail| (tail.next, (tail.before.utf16 + tail.end.utf16) as usize))
    }

    /// Puts `text` behind the run written last if `first` continues that; whether it did.
    pub(crate) fn append(&mut self, first: Atom, text: &str, measure: Measure) -> bool {
        let Some(tail) = self.tail.as_ref().filter(|tail| tail.next == first) else { return false };
        let next_k = first.k + i64::from(measure.scalars);
        let k_end = tail.k_end.unwrap_or_else(|| self.k_end(*tail));
        let Self { tree, caret, tail: Some(tail), .. } = self else { return false };
        tail.k_end = Some(k_end);
        let leaf = tree.leaf_mut(tail.leaf);
        if next_k > k_end || leaf.text.len() + text.len() > LEAF_BYTES_MAX {
            return false;
        }
        match *text.as_bytes() {
            [byte] if tail.end.bytes as usize == leaf.text.len() => leaf.text.push(char::from(byte)),
            _ => leaf.text.insert_str(tail.end.bytes as usize, text),
        }
        leaf.runs[tail.run].measure += measure.into();
        tree.grow(tail.leaf, measure);
        tail.end += measure;
        tail.next.k = next_k;
        *caret = Some(tail.caret());
        true
    }

    /// Takes the last `utf16` units off the run written last if they stand at position `at`, are ASCII and not all of it.
    pub(crate) fn trim(&mut self, at: usize, utf16: usize) -> Option<DotRange> {
        let (next, end) = self.tail()?;
        let mut tail = self.tail?;
        let whole = self.tree.leaf(tail.leaf).runs[tail.run].measure.long();
        let fits = at + utf16 == end && utf16 < whole.utf16 as usize && whole.bytes == whole.scalars;
        if !fits {
            return None;
        }
        let count = utf16 as u32;
        let gone = Measure { scalars: count, utf16: count, bytes: count };
        let range = DotRange {
            site: self.groups.site(next.group),
            first: (next.k - i64::from(count)) as u64,
            last: (next.k - 1) as u64,
        };
        let leaf = self.tree.leaf_mut(tail.leaf);
        let bytes = tail.end.bytes as usize;
        leaf.text.drain(bytes - utf16..bytes);
        leaf.runs[tail.run].measure -= gone.into();
        self.tree.shrink(tail.leaf, gone);
        tail.end -= gone;
        tail.next.k -= i64::from(count);
        self.go_on(tail);
        self.tidy(tail.leaf);
        Some(range)
    }

    /// [`trim`](Self::trim) of these dots, if they are the last ones of the run written last: the UTF-16 position where they stood,
    /// and their length.
    pub(crate) fn trim_dots(&mut self, range: DotRange) -> Option<(usize, usize)> {
        let (next, end) = self.tail()?;
        let count = (range.last - range.first) as usize + 1;
        let last = next.k == range.last as i64 + 1 && self.groups.site(next.group) == range.site;
        // Of ASCII, to which `trim` keeps, every character is a unit.
        let at = end.checked_sub(count).filter(|_| last)?;
        self.trim(at, count).map(|_| (at, count))
    }

    /// Remembers the run at whose end the caret is, if it grows with counters.
    pub(super) fn remember_tail(&mut self) {
        self.tail = self.tail_at_caret();
    }

    fn tail_at_caret(&self) -> Option<Tail> {
        let Caret { leaf, before, run, start } = self.caret?;
        let run = run.checked_sub(1)?;
        let last = self.tree.leaf(leaf).runs.get(run)?.last();
        let next = Atom { k: last.k + 1, ..last };
        (last.k > 0).then_some(Tail { leaf, run, before, end: start, next, k_end: None })
    }

    /// From which k on what continues the run does not sort before the next character.
    fn k_end(&self, tail: Tail) -> i64 {
        // The longest k, so that the limit of an identifier's bytes need not be asked again.
        let longest = Atom { k: COUNTER_END as i64 - 1, ..tail.next };
        if self.groups.bytes(longest) > PATH_BYTES_MAX {
            return i64::MIN;
        }
        let spot = Spot { run: tail.run + 1, scalars: 0, before: tail.end };
        let right = self.gap(Place { leaf: tail.leaf, spot }).right;
        let room = right.map_or(i64::MAX, |right| self.groups.room_before(tail.next, right));
        tail.next.k.saturating_add(room)
    }

    fn go_on(&mut self, tail: Tail) {
        self.tail = Some(tail);
        self.caret = Some(tail.caret());
    }

    /// Checks that what is remembered is so.
    pub(super) fn assert_tail(&self) {
        let Some(tail) = self.tail else { return };
        assert_eq!(tail.before, self.tree.before(tail.leaf), "the tail knows what lies before its leaf");
        let leaf = self.tree.leaf(tail.leaf);
        assert_eq!(tail.end, leaf.start_of(tail.run + 1).before, "the tail knows its run's end");
        let last = leaf.runs[tail.run].last();
        assert_eq!(tail.next, Atom { k: last.k + 1, ..last }, "the tail knows what continues its run");
        assert!(tail.k_end.is_none_or(|k_end| k_end == self.k_end(tail)), "the tail knows how far its run may go on");
    }
}
