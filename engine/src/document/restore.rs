//! Text put back: with new dots, at the places the old characters stood.
//!
//! The characters of a run that is put back go right below the first one's path, so they sort where the old stood, for
//! this replica and for all others; where something lives between them, each part goes below its own first character.
//! Undo restores what its replica deleted; restamp restores what an old site wrote and never sent.

use super::local::{Allocation, first_atom, normalised};
use super::remote::scalars;
use super::{Document, Writer};
use crate::delta::Delta;
use crate::dots::DotSet;
use crate::error::EditError;
use crate::id::{Dot, DotRange};
use crate::limits::{OP_RANGES_MAX, PATH_BYTES_MAX, PATH_LEVELS_MAX};
use crate::op::Op;
use crate::patch::{PatchList, TextPatch};
use crate::position::allocate::{Slot, below, between};
use crate::position::group::Atom;
use crate::position::{Element, Path};
use crate::sequence::Measure;

/// Levels and bytes kept free below what is restored, so that finding a place for it does not fail half way.
const SPARE_LEVELS: usize = 4;
const SPARE_BYTES: usize = 48;

/// Characters that stood side by side: the path of the first and their text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RemovedRun {
    pub(crate) path: Path,
    pub(crate) text: String,
}

impl RemovedRun {
    fn last_element(&self) -> Element {
        self.path.last().expect("a character's path has an element")
    }

    /// The dots of its characters `skip..skip + count`.
    fn dots(&self, skip: usize, count: usize) -> DotRange {
        let Element { site, k, .. } = self.last_element();
        let (first, last) = (k + skip as i64, k + (skip + count) as i64 - 1);
        let (a, b) = (first.unsigned_abs(), last.unsigned_abs());
        DotRange { site, first: a.min(b), last: a.max(b) }
    }

    pub(crate) fn scalars(&self) -> usize {
        self.text.chars().count()
    }

    /// The part of it with these characters.
    fn part(&self, skip: usize, count: usize) -> Self {
        let mut elements = self.path.elements().to_vec();
        if let Some(last) = elements.last_mut() {
            last.k += skip as i64;
        }
        Self { path: elements.into(), text: scalars(&self.text, skip, count).to_owned() }
    }
}

/// What an edit did here: the dots it inserted and the text it removed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) inserted: DotSet,
    pub(crate) removed: Vec<RemovedRun>,
}

impl Change {
    pub(crate) fn is_empty(&self) -> bool {
        self.inserted.is_empty() && self.removed.is_empty()
    }

    /// Forgets text that this change itself inserted and removed again.
    pub(crate) fn settle(&mut self) {
        let removed = core::mem::take(&mut self.removed);
        for run in removed {
            let dots = run.dots(0, run.scalars());
            if self.inserted.first_within(dots).is_none() {
                self.removed.push(run);
                continue;
            }
            let ascending = run.last_element().k > 0;
            for (part, own) in self.inserted.divide(dots) {
                if own {
                    self.inserted.remove(part);
                    continue;
                }
                let skip = if ascending { part.first - dots.first } else { dots.last - part.last };
                self.removed.push(run.part(skip as usize, (part.last + 1 - part.first) as usize));
            }
        }
    }
}

/// Characters that were put back: their old dots and their new ones, in text order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renamed {
    old: DotRange,
    /// The old counters fall along the text (the new ones always rise).
    falling: bool,
    new: DotRange,
}

impl Renamed {
    /// Replaces old dots in `set` by their new ones.
    pub(crate) fn rename(&self, set: &mut DotSet) {
        while let Some(part) = set.first_within(self.old) {
            set.remove(part);
            let (skip, count) = if self.falling {
                (self.old.last - part.last, part.last - part.first)
            } else {
                (part.first - self.old.first, part.last - part.first)
            };
            let first = self.new.first + skip;
            set.insert(DotRange { first, last: first + count, ..self.new });
        }
    }
}

/// A change taken back.
pub(crate) struct Reverted {
    pub(crate) patches: Vec<TextPatch>,
    /// What takes this back again.
    pub(crate) inverse: Change,
    pub(crate) renamed: Vec<Renamed>,
}

impl Document {
    /// Deletes what is alive of what a change inserted and restores what it removed.
    pub(crate) fn revert(&mut self, change: &Change) -> Result<Reverted, EditError> {
        let scalars: usize = change.removed.iter().map(RemovedRun::scalars).sum();
        let deletes = change.inserted.len();
        self.check_restorable(&change.removed)?;
        self.ready_writer((scalars + deletes) as u64 + 1)?;
        let mut patches = PatchList::default();
        let mut inverse = Change::default();
        let mut deleted = Vec::new();
        for range in change.inserted.iter() {
            deleted.extend(self.remove_live(range, &mut patches, Some(&mut inverse.removed)));
        }
        if !deleted.is_empty() {
            self.record_delete(deleted);
        }
        let renamed = self.restore(change.removed.clone(), &mut patches);
        for renamed in &renamed {
            inverse.inserted.insert(renamed.new);
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
        self.check_restorable(&runs)?;
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
                self.set_meta(key, entry.value.as_deref())?;
            }
        }
        Ok(patches.finish())
    }

    fn living_runs_of(&self, dots: &DotSet) -> Vec<RemovedRun> {
        let mut runs = Vec::new();
        for (run, text) in self.sequence.runs() {
            let range = self.sequence.range(run);
            let whole = RemovedRun { path: self.sequence.groups.path(run.first()), text: text.to_owned() };
            let mut parts: Vec<_> = dots.divide(range).into_iter().filter(|part| part.1).collect();
            if run.first_k < 0 {
                parts.reverse();
            }
            for (part, _) in parts {
                let skip = if run.first_k > 0 { part.first - range.first } else { range.last - part.last };
                runs.push(whole.part(skip as usize, (part.last + 1 - part.first) as usize));
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
            self.unsealed.push(next, Op::Delete { ranges: ranges.to_vec() }, None);
            self.advance_writer(next);
        }
    }

    fn check_restorable(&self, runs: &[RemovedRun]) -> Result<(), EditError> {
        let fits = |path: &Path| {
            path.depth() + SPARE_LEVELS <= PATH_LEVELS_MAX && path.bytes() + SPARE_BYTES <= PATH_BYTES_MAX
        };
        if runs.iter().all(|run| fits(&run.path)) { Ok(()) } else { Err(EditError::TooDeep) }
    }

    /// Puts runs back, the last in the text first: so each finds what follows it in its place already.
    fn restore(&mut self, mut runs: Vec<RemovedRun>, patches: &mut PatchList) -> Vec<Renamed> {
        runs.sort_by(|a, b| b.path.cmp(&a.path));
        let mut renamed = Vec::new();
        for run in runs {
            let first = self.sequence.groups.intern_path(&run.path);
            self.sequence.groups.retain(first.group);
            let mut length = run.scalars();
            while length > 0 {
                // What lives between the run's characters parts it: take what comes after the last such.
                let last = Atom { k: first.k + length as i64 - 1, ..first };
                let left = self.sequence.gap(self.sequence.place_of(last)).left;
                let skip = left.map_or(0, |left| self.sequence.groups.count_before(first, length, left));
                let part = Atom { k: first.k + skip as i64, ..first };
                let text = scalars(&run.text, skip, length - skip);
                if let Some(new) = self.restore_part(part, text, patches) {
                    renamed.push(Renamed { old: run.dots(skip, length - skip), falling: first.k < 0, new });
                }
                length = skip;
            }
            self.sequence.groups.release(first.group);
        }
        renamed
    }

    fn restore_part(&mut self, old: Atom, text: &str, patches: &mut PatchList) -> Option<DotRange> {
        let writer: Writer = self.writer?;
        let measure = Measure::of(text);
        let new =
            DotRange { site: writer.site, first: writer.next, last: writer.next + u64::from(measure.scalars) - 1 };
        let place = self.sequence.place_of(old);
        let gap = self.sequence.gap(place);
        let dot = Dot::new(new.site, new.first);
        let groups = &self.sequence.groups;
        let slot: Option<Slot> =
            below(groups, old, gap.right, dot, new.last).or_else(|| between(groups, gap, dot, new.last));
        debug_assert!(slot.is_some(), "levels were kept free");
        let (group, direction) = self.open_group(Allocation::New(slot?), writer);
        patches.insert(self.sequence.before(place).utf16 as usize, text, measure.utf16 as usize);
        self.sequence.insert(place, first_atom(group, direction, new), text);
        self.advance_writer(new.last);
        self.record_insert(group, direction, new, text);
        self.sequence.groups.release(group);
        Some(new)
    }
}
