//! Text put back: with new dots, at the places the old characters stood.
//!
//! The characters of a run that is put back go right below the first one's path, so they sort where the old stood, for
//! this replica and for all others; where something lives between them, each part goes below its own first character. What was
//! put back before goes below the path it had at first, if nothing stands between that and where it stood.
//! Undo restores what its replica deleted; restamp restores what an old site wrote and never sent.
//!
//! Where that would not be between the neighbours the text had when it was removed, as when these were themselves put
//! back under new dots, it goes between them like typed text.

use super::allocation::{Allocation, first_atom};
use super::deletion::{Deleted, normalised};
use super::neighbours::hand_on_neighbours;
use super::remote::scalars;
use super::{Change, Document, RemovedRun, Renamed, Renames, Writer, along};
use crate::delta::Delta;
use crate::dots::DotSet;
use crate::error::EditError;
use crate::id::{Dot, DotRange};
use crate::limits::{OP_RANGES_MAX, PATH_BYTES_MAX, PATH_LEVELS_MAX};
use crate::op::Op;
use crate::patch::{PatchList, TextPatch};
use crate::position::Path;
use crate::position::allocate::{Gap, below};
use crate::position::group::{Atom, Groups};
use crate::sequence::{Measure, Place};

/// Levels and bytes that must be free below a path for text to be restored there. Deeper, it goes beside its neighbours.
const SPARE_LEVELS: usize = 4;
const SPARE_BYTES: usize = 48;

fn has_room_below(path: &Path) -> bool {
    path.depth() + SPARE_LEVELS <= PATH_LEVELS_MAX && path.bytes() + SPARE_BYTES <= PATH_BYTES_MAX
}

/// A change taken back.
pub(crate) struct Reverted {
    pub(crate) patches: Vec<TextPatch>,
    /// What takes this back again.
    pub(crate) inverse: Change,
    pub(crate) renamed: Renames,
}

impl Document {
    /// Deletes what is alive of what a change inserted and restores what it removed.
    pub(crate) fn revert(&mut self, change: &Change) -> Result<Reverted, EditError> {
        let scalars: usize = change.removed.iter().map(RemovedRun::scalars).sum();
        let deletes = change.inserted.len();
        self.ready_writer((scalars + deletes) as u64 + 1)?;
        let mut patches = PatchList::default();
        let mut inverse = Change::default();
        let mut deleted = Deleted::new(self.unsealed.first());
        for range in change.inserted.iter() {
            self.remove_live(range, &mut patches, Some(&mut inverse.removed));
        }
        if !inverse.removed.is_empty() {
            for run in &inverse.removed {
                deleted.add(self.writer, run.dots(0, run.scalars()));
            }
            self.record_delete(deleted);
        }
        let mut runs = change.removed.clone();
        let gone: Vec<_> = inverse.removed.iter().map(|run| (runs.len(), run)).collect();
        hand_on_neighbours(&mut runs, &gone);
        let renamed = self.restore(runs, &mut patches);
        for part in renamed.iter() {
            inverse.inserted.insert(part.new);
        }
        Ok(Reverted { patches: patches.finish(), inverse, renamed })
    }

    /// Re-inserts the never-sent text of other sites, at its recorded paths, as this document's site; their deletes and
    /// `meta` writes are done again too. For edits that can no longer be pushed as what they are: written before
    /// signing in, or under a site that belongs to somebody else.
    ///
    /// `deltas` are in counter order per site and begin where the document's knowledge of the site ends: the document
    /// must not hold them, or their text would be there twice.
    ///
    /// # Errors
    /// [`EditError`]; then nothing was changed.
    pub fn restamp(&mut self, deltas: &[Delta]) -> Result<Vec<TextPatch>, EditError> {
        if let Some(delta) = deltas.iter().find(|delta| self.vector.get(delta.site) >= delta.first) {
            return Err(EditError::AlreadyApplied { site: delta.site });
        }
        // Played on a copy, the deltas show which of their text is alive and in which order it stands.
        let mut copy = self.clone();
        copy.writer = None;
        let mut dots = DotSet::default();
        for delta in deltas {
            copy.apply(delta)?;
            dots.insert(DotRange { site: delta.site, first: delta.first, last: delta.last() });
        }
        let runs = copy.living_runs_of(&dots);
        let ranges = deltas.iter().flat_map(|delta| &delta.ops).filter_map(|op| match op {
            Op::Delete { ranges } => Some(ranges),
            _ => None,
        });
        let deletes: DotSet =
            ranges.flatten().flat_map(|range| dots.divide(*range)).filter(|part| !part.1).map(|part| part.0).collect();
        let meta = deltas.iter().flat_map(|delta| &delta.ops).filter(|op| matches!(op, Op::Meta { .. })).count();
        let scalars: usize = runs.iter().map(RemovedRun::scalars).sum();
        self.ready_writer((scalars + deletes.len() + meta) as u64 + 1)?;
        let mut patches = PatchList::default();
        self.restore(runs, &mut patches);
        self.delete_again(&deletes, &mut patches);
        for (key, entry) in copy.meta.iter() {
            if dots.first_within(DotRange { site: entry.site, first: 1, last: u64::MAX - 1 }).is_some()
                && self.meta.get(key) != Some(entry)
            {
                match self.set_meta(key, entry.value.as_deref()) {
                    // No write can win there, this one neither.
                    Err(EditError::MetaTied) | Ok(()) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(patches.finish())
    }

    /// With their neighbours where their paths alone do not say where they stand: something was moved, or they are too deep.
    fn living_runs_of(&self, dots: &DotSet) -> Vec<RemovedRun> {
        let mut runs = Vec::new();
        let dot = |atom: Atom| Dot::new(self.sequence.groups.site(atom.group), atom.k.unsigned_abs());
        let mut all = self.sequence.runs().peekable();
        // The last that is not one of them.
        let mut left = None;
        while let Some((run, text)) = all.next() {
            let range = self.sequence.range(run);
            let path = self.sequence.groups.path(run.first());
            let beside = !self.rebases.is_empty() || !has_room_below(&path);
            let right = all.peek().map(|(run, _)| dot(run.first()));
            let (text, site) = (text.to_owned(), range.site);
            let whole = RemovedRun { path, stood: None, text, site, first_k: run.first_k, left, right };
            let mut parts = dots.divide(range);
            if run.first_k < 0 {
                parts.reverse();
            }
            for (part, theirs) in parts {
                if !theirs {
                    let last = if run.first_k > 0 { part.last } else { part.first };
                    left = Some(Dot::new(part.site, last));
                    continue;
                }
                let skip = if run.first_k > 0 { part.first - range.first } else { range.last - part.last };
                let part = whole.part(skip as usize, (part.last + 1 - part.first) as usize);
                let (left, right) = if beside { (left, part.right) } else { (None, None) };
                runs.push(RemovedRun { left, right, ..part });
            }
        }
        runs
    }

    fn delete_again(&mut self, deletes: &DotSet, patches: &mut PatchList) {
        let ranges = normalised(deletes.iter().collect());
        for range in &ranges {
            self.apply_delete(*range, patches);
        }
        for ranges in ranges.chunks(OP_RANGES_MAX) {
            let next = self.writer.map_or(1, |writer| writer.next);
            self.advance_writer(next);
            self.unsealed.push(next, Op::Delete { ranges: ranges.to_vec() });
        }
    }

    /// What stands at `place` for `measure` characters of one run, before it is removed.
    #[inline(never)]
    pub(super) fn removed_run(&self, place: Place, measure: Measure) -> Option<RemovedRun> {
        let (run, _) = self.sequence.rest_of_run(place)?;
        let first = run.atom(place.spot.scalars);
        let Gap { left, right } = self.sequence.neighbours(place, measure);
        let dot = |atom: Atom| Dot::new(self.sequence.groups.site(atom.group), atom.k.unsigned_abs());
        Some(RemovedRun {
            path: self.sequence.groups.path(first),
            stood: None,
            text: self.sequence.text_at(place, measure).to_owned(),
            site: self.sequence.groups.site(first.group),
            first_k: first.k,
            left: left.map(dot),
            right: right.map(dot),
        })
    }

    /// Puts runs back, what was removed last (or, of a whole text, stands last) first: so each finds its neighbours.
    fn restore(&mut self, runs: Vec<RemovedRun>, patches: &mut PatchList) -> Renames {
        let mut renamed = Renames::default();
        for run in runs.into_iter().rev() {
            let left = run.left.and_then(|dot| self.living_atom(renamed.now(dot)));
            let right = run.right.and_then(|dot| self.living_atom(renamed.now(dot)));
            let first = self.sequence.groups.intern_path(&run.path);
            self.sequence.groups.retain(first.group);
            // What was moved meanwhile stands by other paths than what was removed.
            let moved = !self.rebases.is_empty();
            let stood = run.stood.as_ref().filter(|_| !moved);
            let stood = stood.map_or(first, |path| self.sequence.groups.intern_path(path));
            self.sequence.groups.retain(stood.group);
            let length = run.scalars();
            let last = Atom { k: stood.k + length as i64 - 1, ..stood };
            let groups = &self.sequence.groups;
            let between_neighbours = left.is_none_or(|left| groups.compare(left, stood).is_lt())
                && right.is_none_or(|right| groups.compare(last, right).is_lt());
            let room = has_room_below(&run.path);
            // And what is left of the neighbours says more than a path.
            let lost = moved && (left.is_some(), right.is_some()) != (run.left.is_some(), run.right.is_some());
            let beside = left.or(right).filter(|_| !between_neighbours || !room || lost);
            if beside.is_none() && room {
                self.restore_at_path(&run, (first, stood), patches, &mut renamed);
            } else if let Some(new) = match beside {
                Some(_) => self.restore_beside(left, right, &run.text, patches),
                None => self.restore_in(self.sequence.place_of(stood), &run.text, |_, _, _| None, patches),
            } {
                renamed.push(Renamed {
                    path: run.path.clone(),
                    old: run.dots(0, length),
                    falling: run.first_k < 0,
                    new,
                });
            }
            self.sequence.groups.release(stood.group);
            self.sequence.groups.release(first.group);
        }
        renamed
    }

    /// The identifier of a dot, if it is alive.
    pub(super) fn living_atom(&mut self, dot: Dot) -> Option<Atom> {
        let place = self.sequence.place_of_dot(dot)?;
        self.sequence.right_of(place)
    }

    /// Puts a run where it stood, in parts where something lives between its characters, the last part first: right below the first
    /// one's path if that is there too.
    fn restore_at_path(
        &mut self,
        run: &RemovedRun,
        (first, stood): (Atom, Atom),
        patches: &mut PatchList,
        renamed: &mut Renames,
    ) {
        let mut length = run.scalars();
        while length > 0 {
            let last = Atom { k: stood.k + length as i64 - 1, ..stood };
            let left = self.sequence.left_of(self.sequence.place_of(last));
            let skip = left.map_or(0, |left| self.sequence.groups.count_before(stood, length, left));
            let text = scalars(&run.text, skip, length - skip);
            let old = Atom { k: first.k + skip as i64, ..first };
            let place = self.sequence.place_of(Atom { k: stood.k + skip as i64, ..stood });
            let Gap { left, right } = self.sequence.gap(place);
            let slot = |groups: &Groups, dot, last| {
                let is_here = left.is_none_or(|left| groups.compare(left, old).is_lt())
                    && right.is_none_or(|right| groups.compare(old, right).is_lt());
                let slot = is_here.then(|| below(groups, old, right, dot, last));
                slot.flatten().map(Allocation::New)
            };
            if let Some(new) = self.restore_in(place, text, slot, patches) {
                let (path, old) = (along(&run.path, skip), run.dots(skip, length - skip));
                renamed.push(Renamed { path, old, falling: run.first_k < 0, new });
            }
            length = skip;
        }
    }

    /// Puts text right behind its left neighbour, or before its right one, of which at least one is alive.
    fn restore_beside(
        &mut self,
        left: Option<Atom>,
        right: Option<Atom>,
        text: &str,
        patches: &mut PatchList,
    ) -> Option<DotRange> {
        let beside = left.or(right)?;
        let dot = Dot::new(self.sequence.groups.site(beside.group), beside.k.unsigned_abs());
        let mut place = self.sequence.place_of_dot(dot)?;
        if let Some(left) = left {
            place = self.sequence.after(place, left)?;
        }
        self.restore_in(place, text, |_, _, _| None, patches)
    }

    /// Puts text at a place as new dots: where `slot` says, else like typed text.
    fn restore_in(
        &mut self,
        place: Place,
        text: &str,
        slot: impl Fn(&Groups, Dot, u64) -> Option<Allocation>,
        patches: &mut PatchList,
    ) -> Option<DotRange> {
        let measure = Measure::of(text);
        let counters = u64::from(measure.scalars);
        let Writer { site, next } = self.ready_writer(counters).ok()?;
        let (place, allocation) = match slot(&self.sequence.groups, Dot::new(site, next), next + counters - 1) {
            Some(allocation) => (place, allocation),
            None => self.allocate_at(place, counters).ok()?,
        };
        let writer = self.writer?;
        let new = DotRange { site, first: writer.next, last: writer.next + counters - 1 };
        let (group, direction) = self.open_group(allocation, writer, false);
        patches.insert(self.sequence.focus(place).utf16 as usize, text, measure.utf16 as usize);
        self.sequence.insert(place, first_atom(group, direction, new), text, measure);
        self.advance_writer(new.last);
        Some(new)
    }
}
