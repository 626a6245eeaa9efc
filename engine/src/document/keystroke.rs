//! Keystrokes: a delta of one operation goes from the text to its durable bytes, and from bytes into the text, without an
//! operation made in between.
//!
//! Most deltas are one: a few letters that continue what their site wrote last, or one range taken back. Their long part, the
//! path, is what it was in the delta before, and is neither spelled nor read again. Whatever is not so simple takes the way
//! over [`Delta`].

use super::local::first_atom;
use super::{Applied, Document, Outcome};
use crate::codec::single::{SingleInsert, SingleReader, encode_delete, encode_insert, spell_path};
use crate::delta::{Delta, DeltaHeader};
use crate::id::DotRange;
use crate::limits::PATH_BYTES_MAX;
use crate::op::{Direction, Op};
use crate::patch::PatchList;
use crate::position::group::{Atom, GroupIndex, Groups};
use crate::sequence::Measure;

/// A delta in its durable bytes, with what it covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedDelta {
    /// What it covers.
    pub header: DeltaHeader,
    /// [`Delta::encode`] of it.
    pub bytes: Vec<u8>,
}

impl From<&Delta> for SealedDelta {
    fn from(delta: &Delta) -> Self {
        Self { header: delta.header(), bytes: delta.encode() }
    }
}

/// The path under a group in the bytes that deltas of its site have for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Spelled {
    /// 0, the root, while nothing is spelled.
    group: GroupIndex,
    /// [`Groups::freed`] then: a group's number may have gone to another one since.
    freed: u64,
    bytes: Vec<u8>,
}

impl Spelled {
    fn holds(&self, groups: &Groups, group: GroupIndex) -> bool {
        group != 0 && self.group == group && self.freed == groups.freed()
    }

    fn of(groups: &Groups, group: GroupIndex) -> Self {
        let elements = groups.elements(groups.parent(group));
        Self { group, freed: groups.freed(), bytes: spell_path(groups.site(group), &elements) }
    }
}

impl Document {
    /// [`seal`](Self::seal) with the deltas in their durable bytes: the same ones, many times faster after a keystroke.
    pub fn seal_encoded(&mut self) -> impl Iterator<Item = SealedDelta> + use<> {
        let one = self.seal_keystroke();
        let more = if one.is_none() { self.seal() } else { Vec::new() };
        one.into_iter().chain(more.into_iter().map(|delta| SealedDelta::from(&delta)))
    }

    fn seal_keystroke(&mut self) -> Option<SealedDelta> {
        let writer = self.writer?;
        let header = DeltaHeader { site: writer.site, first: self.unsealed.first()?, last: writer.next - 1 };
        if self.unsealed.has_closed() {
            return None;
        }
        let bytes = match self.unsealed.ops() {
            [] => self.encode_typed(header)?,
            [(counter, Op::Delete { ranges })] if *counter == header.first && *counter == header.last => {
                let [range] = ranges.as_slice() else { return None };
                encode_delete(header, *range)
            }
            _ => return None,
        };
        self.unsealed.close();
        Some(SealedDelta { header, bytes })
    }

    /// The bytes of a delta of these counters, if they are one insert.
    fn encode_typed(&mut self, header: DeltaHeader) -> Option<Vec<u8>> {
        let (place, measure) = self.sequence.first_live(header.site, header.first..header.last + 1)?;
        if u64::from(measure.scalars) != header.last - header.first + 1 {
            return None;
        }
        let (run, _) = self.sequence.rest_of_run(place)?;
        let groups = &self.sequence.groups;
        if !self.spelled.holds(groups, run.group) {
            self.spelled = Spelled::of(groups, run.group);
        }
        let direction = if run.first_k > 0 { Direction::After } else { Direction::Before };
        let (digit, depth) = (groups.digit(run.group), groups.depth(run.group) - 1);
        let text = self.sequence.text_at(place, measure);
        Some(encode_insert(header, &self.spelled.bytes, SingleInsert { digit, depth, direction, text }))
    }

    /// Applies a delta that is one operation, comes next of its site, and stands on the path of the insert before it.
    /// `None` if it is not: then nothing was changed.
    pub(super) fn apply_keystroke(&mut self, bytes: &[u8]) -> Option<Applied> {
        let reader = SingleReader::new(bytes)?;
        let DeltaHeader { site, first, last } = reader.header;
        if self.vector.get(site) + 1 != first || self.site() == Some(site) {
            return None;
        }
        let dots = DotRange { site, first, last };
        let mut patches = PatchList::default();
        if reader.is_insert() {
            let group = self.heard.group;
            let groups = &self.sequence.groups;
            if !self.heard.holds(groups, group) || groups.site(group) != site {
                return None;
            }
            let insert = reader.insert(&self.heard.bytes, groups.depth(group) - 1)?;
            self.integrate_heard(dots, insert, &mut patches)?;
        } else {
            self.apply_delete(reader.delete()?, &mut patches);
        }
        self.vector.advance(site, last);
        self.settle_pending(site);
        Some(Applied { patches: patches.finish(), outcome: Outcome::New })
    }

    fn integrate_heard(&mut self, dots: DotRange, insert: SingleInsert<'_>, patches: &mut PatchList) -> Option<()> {
        let group = self.heard.group;
        let groups = &self.sequence.groups;
        let valid = u64::from(Measure::of(insert.text).scalars) == dots.last - dots.first + 1
            && insert.digit == groups.digit(group)
            && groups.bytes(Atom { group, k: dots.last as i64 }) <= PATH_BYTES_MAX;
        if !valid {
            return None;
        }
        let first = first_atom(group, insert.direction, dots);
        self.integrate_undeleted(first, dots, insert.text, patches);
        Some(())
    }

    /// Remembers the path of a delta's insert, the delta's only operation, that was just integrated.
    pub(super) fn hear(&mut self, delta: &Delta) {
        if let [Op::Insert { .. }] = delta.ops.as_slice() {
            let groups = &self.sequence.groups;
            if let Some(group) = groups.recent_of(delta.site) {
                self.heard = Spelled::of(groups, group);
            }
        }
    }
}
