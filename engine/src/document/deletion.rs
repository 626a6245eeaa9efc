//! Deletes written here: what goes out of the text, and the operations that say so.

use super::{Change, Document, Writer};
use crate::dots::DotSet;
use crate::error::EditError;
use crate::id::{COUNTER_END, DotRange};
use crate::limits::OP_RANGES_MAX;
use crate::op::Op;
use crate::sequence::Unit;

impl Document {
    /// Takes `delete` units at `at`, whole characters, out of the text and into the open delta.
    pub(super) fn delete_at(&mut self, at: usize, delete: usize, capture: Option<&mut Change>) {
        let mut deleted = Deleted::new(self.unsealed.first());
        let mut capture = capture;
        let settled = capture.as_deref().map_or(0, |change| change.removed.len());
        let mut left = delete as u32;
        while left > 0 {
            let place = self.sequence.seek_character(at);
            let most = match capture.as_deref_mut() {
                Some(change) => {
                    // One run at a time: where each stands is to be kept.
                    let (_, rest) = self.sequence.rest_of_run(place).expect("the range is within the text");
                    let most = self.sequence.prefix_at(place, rest, Unit::Utf16, left);
                    change.removed.extend(self.removed_run(place, most));
                    most.utf16
                }
                None => left,
            };
            let (writer, rebases) = (self.writer, &mut self.rebases);
            left -= self.sequence.remove_units(place, most, |gone| {
                rebases.forget(gone);
                deleted.add(writer, gone);
            });
        }
        if let Some(change) = capture {
            change.settle(settled);
        }
        self.record_delete(deleted);
    }

    /// Adds a delete of what is no longer in the text to the open delta: what was not sealed yet is void without it.
    pub(super) fn record_delete(&mut self, deleted: Deleted) {
        let next = self.writer.map_or(1, |writer| writer.next);
        if deleted.sealed.is_empty() {
            return self.advance_writer(next);
        }
        let mut ranges = normalised(deleted.sealed);
        for counter in next.. {
            // Mostly that is all of them.
            let rest = ranges.split_off(ranges.len().min(OP_RANGES_MAX));
            self.advance_writer(counter);
            self.unsealed.push(counter, Op::Delete { ranges });
            if rest.is_empty() {
                return;
            }
            ranges = rest;
        }
    }

    /// Says again, as the present site, that these characters are gone. For deletes whose own delta stays back: a
    /// character once deleted never returns, so that whoever hears both is where it would be with one. A range of which a
    /// dot lives here or is not known here is left out. O(r log n), r = ranges.
    ///
    /// # Errors
    /// [`EditError`]; then nothing was changed.
    pub fn repeat_delete(&mut self, ranges: &[DotRange]) -> Result<(), EditError> {
        let mut gone = DotSet::default();
        for range in ranges.iter().filter(|range| range.last <= self.vector.get(range.site)) {
            if self.sequence.first_live(range.site, range.first..range.last + 1).is_none() {
                gone.insert(*range);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.ready_writer(gone.len().div_ceil(OP_RANGES_MAX) as u64)?;
        self.record_delete(Deleted { unsealed: COUNTER_END, sealed: gone.iter().collect() });
        Ok(())
    }
}

/// The dots of removed characters, of which only the sealed ones need an operation.
pub(super) struct Deleted {
    /// The writer's counters from here on are not sealed.
    unsealed: u64,
    sealed: Vec<DotRange>,
}

impl Deleted {
    pub(super) fn new(unsealed: Option<u64>) -> Self {
        Self { unsealed: unsealed.unwrap_or(COUNTER_END), sealed: Vec::new() }
    }

    pub(super) fn add(&mut self, writer: Option<Writer>, range: DotRange) {
        if writer.is_none_or(|writer| writer.site != range.site) || range.last < self.unsealed {
            self.sealed.push(range);
        } else if range.first < self.unsealed {
            self.sealed.push(DotRange { last: self.unsealed - 1, ..range });
        }
    }
}

/// Ranges sorted, neighbours joined: they are disjoint to begin with.
pub(super) fn normalised(mut ranges: Vec<DotRange>) -> Vec<DotRange> {
    if ranges.len() < 2 {
        return ranges;
    }
    ranges.sort_unstable();
    ranges.dedup_by(|next, previous| {
        let joins = next.site == previous.site && next.first == previous.last + 1;
        if joins {
            previous.last = next.last;
        }
        joins
    });
    ranges
}
