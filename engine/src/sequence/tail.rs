//! The tail: where text went last, so that what goes on there is not looked up again.
//!
//! Somebody who types makes one run longer, at its start if the run grows backwards; somebody who takes back makes it shorter, and
//! who takes away what follows the run behind it. What that needs to know (the run, the lengths before its growing end, how far its k
//! may go before they come to the neighbour's identifier) stays true until anything else is changed. After a removal the tail is the
//! run before. O(1) and the sums above the leaf, whether the change is local or comes from another replica.

use super::{Caret, LEAF_BYTES_MAX, LeafIndex, Measure, Place, Sequence, Spot};
use crate::id::{COUNTER_END, Dot, DotRange};
use crate::limits::PATH_BYTES_MAX;
use crate::position::group::{Atom, GroupIndex};

/// The run that was written last. Whatever changes the sequence otherwise forgets it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    leaf: LeafIndex,
    /// Number of the run in its leaf.
    run: usize,
    /// Lengths of the text before the leaf.
    before: Measure,
    /// Lengths of the leaf's text up to where the run grows: its end, or its start if its k are negative.
    end: Measure,
    /// What would continue the run there.
    next: Atom,
    /// From here on k does not sort beside the neighbour. Found when somebody goes on here: most do not.
    k_end: Option<i64>,
}

impl Tail {
    const fn grows_backwards(&self) -> bool {
        self.next.k < 0
    }

    /// Where it grows.
    const fn caret(&self) -> Caret {
        let run = if self.grows_backwards() { self.run } else { self.run + 1 };
        Caret { leaf: self.leaf, before: self.before, run, start: self.end }
    }

    /// The k that would continue it behind `scalars` characters more.
    const fn next_k(&self, scalars: i64) -> i64 {
        if self.grows_backwards() { self.next.k - scalars } else { self.next.k + scalars }
    }

    /// Whether it may go on up to `next_k`.
    const fn has_room(&self, next_k: i64, k_end: i64) -> bool {
        if self.grows_backwards() { next_k >= k_end } else { next_k <= k_end }
    }
}

impl Sequence {
    /// What would continue the run written last, and the UTF-16 position where it would stand.
    pub(crate) fn tail(&self) -> Option<(Atom, usize)> {
        self.tail.map(|tail| (tail.next, (tail.before.utf16 + tail.end.utf16) as usize))
    }

    /// The group of the run written last and its last `scalars` characters, if it grows forwards, `last` is the dot at its end and
    /// it has so many of ASCII.
    pub(crate) fn tail_text(&self, last: Dot, scalars: u32) -> Option<(GroupIndex, &str)> {
        let tail = self.tail.as_ref().filter(|tail| tail.next.k == last.counter as i64 + 1)?;
        if self.groups.site(tail.next.group) != last.site {
            return None;
        }
        let leaf = self.tree.leaf(tail.leaf);
        let whole = leaf.runs[tail.run].measure;
        let end = tail.end.bytes as usize;
        let has = whole.scalars() == whole.bytes() && scalars <= whole.scalars();
        has.then(|| (tail.next.group, &leaf.text[end - scalars as usize..end]))
    }

    /// [`append`](Self::append) of the characters from `first` on, if they continue the run written last.
    pub(crate) fn append_from(&mut self, first: Atom, text: &str, measure: Measure) -> bool {
        let Some(tail) = &self.tail else { return false };
        let behind = if tail.grows_backwards() { i64::from(measure.scalars) - 1 } else { 0 };
        let continues = tail.next == Atom { k: first.k + behind, ..first };
        continues && self.append(text, measure)
    }

    /// Puts `text` where the run written last grows, if it may go on as far; whether it did.
    #[inline(always)]
    pub(crate) fn append(&mut self, text: &str, measure: Measure) -> bool {
        if self.tail.as_ref().is_some_and(|tail| tail.k_end.is_none()) {
            self.know_room();
        }
        let Self { tree, caret, tail: Some(tail), .. } = self else { return false };
        let Some(k_end) = tail.k_end else { return false };
        let next_k = tail.next_k(i64::from(measure.scalars));
        let leaf = tree.leaf_mut(tail.leaf);
        if !tail.has_room(next_k, k_end) || leaf.text.len() + text.len() > LEAF_BYTES_MAX {
            return false;
        }
        match *text.as_bytes() {
            // One move of memory instead of two.
            [byte] => leaf.text.insert(tail.end.bytes as usize, char::from(byte)),
            _ => leaf.text.insert_str(tail.end.bytes as usize, text),
        }
        let run = &mut leaf.runs[tail.run];
        run.measure += measure.into();
        if tail.grows_backwards() {
            run.first_k = next_k + 1;
        } else {
            tail.end += measure;
        }
        tree.grow(tail.leaf, measure);
        tail.next.k = next_k;
        match caret {
            Some(caret) if caret.leaf == tail.leaf => (caret.run, caret.start) = (tail.caret().run, tail.end),
            caret => *caret = Some(tail.caret()),
        }
        true
    }

    /// Finds how far the run written last may go on.
    #[inline(never)]
    fn know_room(&mut self) {
        if let Some(tail) = self.tail {
            self.tail = Some(Tail { k_end: Some(self.k_end(tail)), ..tail });
        }
    }

    /// Takes the last `utf16` units off the run written last if it grows forwards, they stand at position `at`, are ASCII and not all
    /// of it.
    pub(crate) fn trim(&mut self, at: usize, utf16: usize) -> Option<DotRange> {
        let (next, end) = self.tail()?;
        if at.checked_add(utf16) != Some(end) {
            return None;
        }
        let mut tail = self.tail.filter(|tail| !tail.grows_backwards())?;
        let whole = self.tree.leaf(tail.leaf).runs[tail.run].measure;
        if utf16 >= whole.scalars() as usize || !whole.is_ascii() {
            return None;
        }
        let count = utf16 as u32;
        let gone = Measure::of_ascii(utf16);
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

    /// Takes `utf16` units out behind the caret if that is at position `at`, and before a run of which they are ASCII and not all.
    pub(crate) fn cut(&mut self, at: usize, utf16: usize) -> Option<DotRange> {
        let Caret { leaf, before, run, start } = self.caret?;
        let whole = *self.tree.leaf(leaf).runs.get(run)?;
        let is_here = at == (before.utf16 + start.utf16) as usize;
        if !is_here || utf16 >= whole.measure.scalars() as usize || !whole.measure.is_ascii() {
            return None;
        }
        let gone = Measure::of_ascii(utf16);
        let (removed, rest) = whole.split(gone.into());
        let bytes = start.bytes as usize;
        let here = self.tree.leaf_mut(leaf);
        here.text.drain(bytes..bytes + utf16);
        here.runs[run] = rest;
        self.reindex(whole, &[rest], leaf);
        self.tree.shrink(leaf, gone);
        self.remember_tail_before();
        self.tidy(leaf);
        Some(self.range(removed))
    }

    /// [`trim`](Self::trim) of these dots, if they are the last ones of the run written last: the UTF-16 position where they stood,
    /// and their length.
    pub(crate) fn trim_dots(&mut self, range: DotRange) -> Option<(usize, usize)> {
        let (next, end) = self.tail()?;
        // A range is as long as counters are, which 32 bits cannot count.
        let count = usize::try_from(range.last - range.first).ok()?.checked_add(1)?;
        let last = next.k == range.last as i64 + 1 && self.groups.site(next.group) == range.site;
        // Of ASCII, to which `trim` keeps, every character is a unit.
        let at = end.checked_sub(count).filter(|_| last)?;
        self.trim(at, count).map(|_| (at, count))
    }

    /// Remembers the run at the caret that was written just now, from `first` on if it grows backwards.
    pub(super) fn remember_tail(&mut self, first: Atom) {
        self.tail = if first.k > 0 { self.tail_before_caret() } else { self.tail_from(first) };
    }

    /// Remembers the run before the caret, where that grows forwards.
    pub(super) fn remember_tail_before(&mut self) {
        self.tail = self.tail_before_caret();
    }

    fn tail_before_caret(&self) -> Option<Tail> {
        let Caret { leaf, before, run, start } = self.caret?;
        let run = run.checked_sub(1)?;
        let last = self.tree.leaf(leaf).runs.get(run)?.last();
        let next = Atom { k: last.k + 1, ..last };
        (last.k > 0).then_some(Tail { leaf, run, before, end: start, next, k_end: None })
    }

    /// The run from `first` on, if it is before the caret or at it.
    fn tail_from(&self, first: Atom) -> Option<Tail> {
        let Caret { leaf, before, run, start } = self.caret?;
        let runs = &self.tree.leaf(leaf).runs;
        let is_first = |run: usize| runs.get(run).is_some_and(|run| run.first() == first);
        let (run, end) = if is_first(run) {
            (run, start)
        } else {
            let run = run.checked_sub(1).filter(|&run| is_first(run))?;
            let mut end = start;
            end -= runs[run].measure;
            (run, end)
        };
        Some(Tail { leaf, run, before, end, next: Atom { k: first.k - 1, ..first }, k_end: None })
    }

    /// From which k on what continues the run does not sort beside its neighbour there.
    fn k_end(&self, tail: Tail) -> i64 {
        // The longest k, so that the limit of an identifier's bytes need not be asked again.
        let longest = Atom { k: COUNTER_END as i64 - 1, ..tail.next };
        let fits = self.groups.bytes(longest) <= PATH_BYTES_MAX;
        match (tail.grows_backwards(), fits) {
            (true, false) => i64::MAX,
            (false, false) => i64::MIN,
            (true, true) => tail.next.k.saturating_sub(self.room(tail)),
            (false, true) => tail.next.k.saturating_add(self.room(tail)),
        }
    }

    /// How many characters may continue the run before they come to the neighbour.
    fn room(&self, tail: Tail) -> i64 {
        let Caret { leaf, run, start, .. } = tail.caret();
        let gap = self.gap(Place { leaf, spot: Spot { run, scalars: 0, before: start } });
        if tail.grows_backwards() {
            gap.left.map_or(i64::MAX, |left| self.groups.room_behind(left, tail.next))
        } else {
            gap.right.map_or(i64::MAX, |right| self.groups.room_before(tail.next, right))
        }
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
        assert_eq!(tail.end, leaf.start_of(tail.caret().run).before, "the tail knows where its run grows");
        let (first, last) = (leaf.runs[tail.run].first(), leaf.runs[tail.run].last());
        let next = if tail.grows_backwards() { first.k - 1 } else { last.k + 1 };
        assert_eq!(tail.next, Atom { k: next, ..first }, "the tail knows what continues its run");
        assert!(tail.k_end.is_none_or(|k_end| k_end == self.k_end(tail)), "the tail knows how far its run may go on");
    }
}
