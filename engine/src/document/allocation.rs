//! Where text goes that is written here: the group it joins, or the slot of a new one, and room made for it where identifiers are
//! deep.

use super::rebase::Window;
use super::{Document, Writer};
use crate::error::EditError;
use crate::id::{Dot, DotRange};
use crate::op::Direction;
use crate::position::allocate::{Gap, Slot, between, extend};
use crate::position::group::{Atom, GroupIndex};
use crate::sequence::Place;

/// Where text goes that is allocated but not inserted yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Allocation {
    Extend(GroupIndex, Direction),
    New(Slot),
}

/// Whether the counters of text must rise along it: restored text is found by that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rising {
    Yes,
    No,
}

impl Document {
    /// Where `counters` characters, whose k must rise, go at a place, which may be another one then: what lives around it may have
    /// moved.
    pub(super) fn allocate_at(&mut self, place: Place, counters: u64) -> Result<(Place, Allocation), EditError> {
        let writer = self.ready_writer(counters)?;
        let found = self.allocate(self.sequence.gap(place), writer, counters, Rising::Yes);
        if let Some(allocation) = found.filter(|allocation| !self.is_deep(*allocation)) {
            return Ok((place, allocation));
        }
        let Some(window) = self.window(place, place, writer, found.is_none()) else {
            return found.map(|allocation| (place, allocation)).ok_or(EditError::TooDeep);
        };
        let at = self.sequence.focus(place).utf16 as usize;
        self.allocate_in(window, at, counters, Rising::Yes)
    }

    /// Moves a window, then finds where `counters` characters go in it.
    pub(super) fn allocate_in(
        &mut self,
        window: Window,
        at: usize,
        counters: u64,
        rising: Rising,
    ) -> Result<(Place, Allocation), EditError> {
        self.rebase(window)?;
        let writer = self.ready_writer(counters)?;
        let (place, _) = self.sequence.seek(at);
        let allocation = self.allocate(self.sequence.gap(place), writer, counters, rising).ok_or(EditError::TooDeep)?;
        Ok((place, allocation))
    }

    /// The group that `counters` characters in a gap join, or the slot of their own; `None` if there is no room for one.
    pub(super) fn allocate(&self, gap: Gap, writer: Writer, counters: u64, rising: Rising) -> Option<Allocation> {
        let groups = &self.sequence.groups;
        let (first, last) = (writer.next, writer.next + counters - 1);
        let parting = gap.parting(groups);
        let extended = extend(groups, gap, &parting, writer.site, first, last);
        match extended.filter(|&(_, direction)| rising == Rising::No || direction == Direction::After) {
            Some((group, direction)) => Some(Allocation::Extend(group, direction)),
            None => between(groups, gap, &parting, Dot::new(writer.site, first), last).map(Allocation::New),
        }
    }

    /// Whether it is sure that nothing between two places, which is about to go, stands on the group of an allocation.
    #[inline(never)]
    pub(super) fn is_new_within(&self, from: Place, to: Place, allocation: Allocation, writer: Writer) -> bool {
        let Allocation::New(Slot { parent, digit }) = allocation else { return true };
        let groups = &self.sequence.groups;
        let key = (parent, digit, writer.site);
        !groups.is_indexed() && !self.sequence.runs_within(from, to).any(|run| groups.stands_on(run.group, key))
    }

    /// The group of an allocation: text must be put into it before any other goes, with which it could go. Between neighbours that
    /// touch no group can be there already (`is_new`); one of text that is about to go can.
    pub(super) fn open_group(
        &mut self,
        allocation: Allocation,
        writer: Writer,
        is_new: bool,
    ) -> (GroupIndex, Direction) {
        let groups = &mut self.sequence.groups;
        match allocation {
            Allocation::Extend(group, direction) => (group, direction),
            Allocation::New(Slot { parent, digit }) => {
                let group = match is_new {
                    true => groups.add(parent, digit, writer.site),
                    false => groups.intern(parent, digit, writer.site),
                };
                (group, Direction::After)
            }
        }
    }
}

/// The first character's identifier of text with these dots.
pub(super) fn first_atom(group: GroupIndex, direction: Direction, dots: DotRange) -> Atom {
    let k = match direction {
        Direction::After => dots.first as i64,
        Direction::Before => -(dots.last as i64),
    };
    Atom { group, k }
}
