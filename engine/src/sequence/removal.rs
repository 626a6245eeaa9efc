//! Taking out a range of text: all of it that lies in one leaf at once.

use super::measure::prefix;
use super::{LeafIndex, Measure, Place, Run, Sequence, Unit};
use crate::id::DotRange;
use crate::position::group::Atom;

impl Sequence {
    /// Takes out at most `utf16` units, but at least one character, from `place` on: whole leaves, or as far as its leaf goes. Tells the
    /// dots of each piece. Returns how many units went. O(r log n), r = runs it touches.
    pub(crate) fn remove_units(&mut self, place: Place, utf16: u32, mut gone: impl FnMut(DotRange)) -> u32 {
        if utf16 >= self.measure().utf16 {
            debug_assert_eq!(self.before(place), Measure::default(), "the range is within the text");
            return self.remove_all(gone);
        }
        if place.spot.is_start() {
            let taken = self.remove_leaves(place.leaf, utf16, &mut gone);
            if taken > 0 {
                return taken;
            }
        }
        let leaf = self.tree.leaf(place.leaf);
        let rest = leaf.rest_of_run(place.spot);
        if utf16 <= rest.utf16 || place.spot.run + 1 == leaf.runs.len() {
            let most = self.prefix_at(place, rest, Unit::Utf16, utf16);
            gone(self.remove(place, most).range);
            return most.utf16;
        }
        self.remove_runs(place, rest, utf16, gone).utf16
    }

    /// UTF-16 units of the leaves from `place` on, which is the beginning of one, that are one run's pieces within these dots: text of
    /// several leaves that was written at once. 0 if the first is not one.
    pub(crate) fn units_of_leaves_within(&self, place: Place, dots: DotRange) -> u32 {
        let (mut units, mut next) = (0, None);
        let leaves = self.tree.leaves_from(place.leaf).map(|(_, leaf)| leaf);
        for leaf in leaves.take_while(|_| place.spot.is_start()) {
            let [run] = leaf.runs[..] else { break };
            let goes_on = next.is_none_or(|next| next == run.first()) && run.first_k > 0;
            if !goes_on || self.groups.site(run.group) != dots.site || run.low() < dots.first || run.high() > dots.last
            {
                break;
            }
            next = Some(Atom { k: run.last().k + 1, ..run.first() });
            units += leaf.measure.utf16;
        }
        units
    }

    /// Takes out all text: O(n log n), n = runs; O(n) without an index.
    #[inline(never)]
    fn remove_all(&mut self, mut gone: impl FnMut(DotRange)) -> u32 {
        let tree = core::mem::take(&mut self.tree);
        for run in tree.leaves().flat_map(|(_, leaf)| &leaf.runs) {
            self.index.remove(self.key(*run));
            gone(self.range(*run));
            self.groups.release(run.group);
        }
        (self.caret, self.tail) = (None, None);
        tree.measure().utf16
    }

    /// Takes out the leaves from one on that have no more than `utf16` units together, which is not all there is.
    #[inline(never)]
    fn remove_leaves(&mut self, first: LeafIndex, utf16: u32, mut gone: impl FnMut(DotRange)) -> u32 {
        let (mut next, mut taken) = (first, 0);
        while let Some(leaf) = self.tree.get(next)
            && taken + leaf.measure.utf16 <= utf16
        {
            let at = core::mem::replace(&mut next, leaf.next);
            let leaf = self.tree.remove(at);
            for run in leaf.runs {
                self.index.remove(self.key(run));
                gone(self.range(run));
                self.groups.release(run.group);
            }
            taken += leaf.measure.utf16;
            (self.caret, self.tail) = (None, None);
        }
        taken
    }

    /// [`remove_units`](Self::remove_units) of `rest`, which is what its run has from the place on, and of what follows.
    #[inline(never)]
    fn remove_runs(&mut self, place: Place, rest: Measure, utf16: u32, mut gone: impl FnMut(DotRange)) -> Measure {
        let Place { leaf: at, spot } = place;
        let mut taken = Measure::default();
        let mut run = spot.run;
        if spot.scalars > 0 {
            let whole = self.tree.leaf(at).runs[run];
            let mut before = whole.measure.long();
            before -= rest;
            let (head, removed) = whole.split(before.into());
            self.shorten(at, run, head);
            gone(self.range(removed));
            taken += rest;
            run += 1;
        }
        let first = run;
        while let Some(&whole) = self.tree.leaf(at).runs.get(run)
            && taken.utf16 + whole.measure.utf16() <= utf16
        {
            self.index.remove(self.key(whole));
            gone(self.range(whole));
            self.groups.release(whole.group);
            taken += whole.measure;
            run += 1;
        }
        self.tree.leaf_mut(at).runs.drain(first..run);
        let start = spot.before.bytes as usize;
        if let Some(&whole) = self.tree.leaf(at).runs.get(first).filter(|_| taken.utf16 < utf16) {
            let begin = start + taken.bytes as usize;
            let text = &self.tree.leaf(at).text[begin..begin + whole.measure.bytes() as usize];
            let cut = prefix(text, whole.measure.long(), Unit::Utf16, utf16 - taken.utf16);
            let (removed, tail) = whole.split(cut.into());
            self.shorten(at, first, tail);
            gone(self.range(removed));
            taken += cut;
        }
        self.tree.leaf_mut(at).text.drain(start..start + taken.bytes as usize);
        self.tree.shrink(at, taken);
        self.focus_on(at, first, spot.before);
        self.close_gap(at, first);
        self.remember_tail_before();
        self.tidy(at);
        taken
    }

    /// Puts what is left of a run in its place.
    fn shorten(&mut self, leaf: LeafIndex, run: usize, left: Run) {
        let whole = core::mem::replace(&mut self.tree.leaf_mut(leaf).runs[run], left);
        self.reindex(whole, &[left], leaf);
    }
}
