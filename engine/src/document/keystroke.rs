//! Keystrokes: a delta of one operation goes from the text to its durable bytes, and from bytes into the text, without an
//! operation made in between.
//!
//! Most deltas are one: a few letters, or one range taken back. Two are read so as well, where what is typed takes the place of what
//! was selected. Mostly letters continue what their site wrote last: then their long part, the path, is what it was in the delta
//! before, and is neither spelled nor read again. Whatever is not so simple takes the way over [`Delta`](crate::Delta).

use super::allocation::first_atom;
use super::remote::first_element;
use super::{Document, Outcome};
use crate::codec::Writer;
use crate::codec::single::{HeardPath, SingleInsert, SingleReader, spell_path, write_delete, write_insert};
use crate::delta::DeltaHeader;
use crate::id::{Dot, DotRange, SiteId};
use crate::limits::{DELTA_BYTES_MAX, OP_TEXT_BYTES_MAX, PATH_BYTES_MAX};
use crate::op::{Direction, Op};
use crate::patch::PatchList;
use crate::position::group::{Atom, GroupIndex, Groups};
use crate::position::{ELEMENT_BYTES_MAX, Element, group_bytes, k_bytes};
use crate::sequence::Measure;

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

    /// Spells the path under a group, unless it is spelled already.
    fn spell(&mut self, groups: &Groups, group: GroupIndex) {
        if !self.holds(groups, group) {
            let elements = groups.elements(groups.parent(group));
            *self = Self { group, freed: groups.freed(), bytes: spell_path(groups.site(group), &elements) };
        }
    }

    /// Writes a delta that is one insert of the group.
    fn write(&self, writer: &mut Writer, groups: &Groups, header: DeltaHeader, direction: Direction, text: &str) {
        let (digit, depth) = (groups.digit(self.group), groups.depth(self.group) - 1);
        write_insert(writer, header, &self.bytes, SingleInsert { digit, depth, direction, text });
    }
}

/// The path of the delta applied last, and the group its text went to.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    path: HeardPath,
    /// 0, the root, while there is none.
    group: GroupIndex,
    /// [`Groups::freed`] then.
    freed: u64,
}

impl Heard {
    /// The group, if it is of `site` and still there.
    fn group_of(&self, groups: &Groups, site: SiteId) -> Option<GroupIndex> {
        let known = self.group != 0 && self.freed == groups.freed() && groups.site(self.group) == site;
        known.then_some(self.group)
    }
}

impl Document {
    /// [`seal`](Self::seal), a delta at a time, in durable bytes: appends those of the next delta, [`Delta::encode`](crate::Delta::encode) of it, and says what
    /// it covers. `None`, and nothing appended, when there is none. O(b) after a keystroke, b = those bytes.
    pub fn seal_into(&mut self, bytes: &mut Vec<u8>) -> Option<DeltaHeader> {
        let mut writer = Writer::behind(core::mem::take(bytes));
        let sealed = self.seal_keystroke(&mut writer).or_else(|| self.seal_whole(&mut writer));
        *bytes = writer.finish();
        sealed
    }

    #[inline(never)]
    fn seal_whole(&mut self, writer: &mut Writer) -> Option<DeltaHeader> {
        self.close_unsealed();
        let delta = self.unsealed.next_closed()?;
        writer.raw(&delta.encode());
        Some(delta.header())
    }

    fn seal_keystroke(&mut self, writer: &mut Writer) -> Option<DeltaHeader> {
        let super::Writer { site, next } = self.writer?;
        let header = DeltaHeader { site, first: self.unsealed.first()?, last: next - 1 };
        if self.unsealed.has_closed() {
            return None;
        }
        match self.unsealed.ops() {
            [] => self.write_typed(writer, header)?,
            [(counter, Op::Delete { ranges })] if *counter == header.first && *counter == header.last => {
                let [range] = ranges.as_slice() else { return None };
                write_delete(writer, header, *range);
            }
            _ => return None,
        }
        self.unsealed.close();
        Some(header)
    }

    /// Writes the delta of these counters, if that is one insert.
    fn write_typed(&mut self, writer: &mut Writer, header: DeltaHeader) -> Option<()> {
        let counters = u32::try_from(header.last - header.first + 1).ok()?;
        if let Some((group, text)) = self.sequence.tail_text(Dot::new(header.site, header.last), counters) {
            self.spelled.spell(&self.sequence.groups, group);
            self.spelled.write(writer, &self.sequence.groups, header, Direction::After, text);
            return Some(());
        }
        self.write_elsewhere(writer, header, counters)
    }

    /// [`write_typed`](Self::write_typed) of what is not where text went last.
    // Apart from it, in whose way it would be when somebody types on.
    #[inline(never)]
    fn write_elsewhere(&mut self, writer: &mut Writer, header: DeltaHeader, counters: u32) -> Option<()> {
        if counters as usize > OP_TEXT_BYTES_MAX {
            return None;
        }
        let (lowest, measure) = self.sequence.first_live(header.site, header.first..header.last + 1)?;
        let (run, _) = self.sequence.rest_of_run(lowest)?;
        // Backwards the text of the lowest counters comes last.
        let (direction, k) = match run.first_k {
            1.. => (Direction::After, header.first as i64),
            _ => (Direction::Before, -(header.last as i64)),
        };
        let place = match direction {
            Direction::Before if measure.scalars < counters => {
                self.sequence.place_of_dot(Dot::new(header.site, header.last))?
            }
            _ => lowest,
        };
        let (first, _) = self.sequence.rest_of_run(place)?;
        if first.atom(place.spot.scalars) != (Atom { k, ..run.first() }) {
            return None;
        }
        let text = self.sequence.text_along(place, counters).filter(|text| text.len() <= OP_TEXT_BYTES_MAX)?;
        self.spelled.spell(&self.sequence.groups, run.group);
        self.spelled.write(writer, &self.sequence.groups, header, direction, &text);
        Some(())
    }

    /// Applies a delta that is one insert, one delete, or an insert and a delete behind it, and comes next of its site. `None` if it is
    /// not: then nothing was changed.
    pub(super) fn apply_keystroke(&mut self, bytes: &[u8], patches: &mut PatchList) -> Option<Outcome> {
        if bytes.len() > DELTA_BYTES_MAX {
            return None;
        }
        let reader = SingleReader::new(bytes)?;
        let DeltaHeader { site, first, last } = reader.header;
        if self.vector.get(site) + 1 != first || self.site() == Some(site) {
            return None;
        }
        let dots = DotRange { site, first, last };
        if reader.is_insert() {
            self.apply_single(&reader, dots, patches)?;
        } else {
            self.apply_deletes(&reader.deletes()?, patches);
        }
        self.vector.advance(site, last);
        self.settle_pending(site);
        Some(Outcome::New)
    }

    fn apply_deletes(&mut self, ranges: &[DotRange], patches: &mut PatchList) {
        ranges.iter().for_each(|range| self.apply_delete(*range, patches));
    }

    /// The insert of a keystroke: mostly it stands on the path of the one before it, which is not read again.
    fn apply_single(&mut self, reader: &SingleReader<'_>, dots: DotRange, patches: &mut PatchList) -> Option<()> {
        if let Some((group, insert)) = self.read_heard(reader, dots) {
            let first = first_atom(group, insert.direction, dots);
            let measure = measure_of(&insert, dots)?;
            self.integrate_undeleted(first, dots, (insert.text, measure), patches);
            return Some(());
        }
        self.heard.group = 0;
        let (insert, behind) = reader.heard_insert(&mut self.heard.path)?;
        if behind.is_empty() {
            return self.apply_heard(insert, dots, patches);
        }
        let deleted = reader.deletes_behind(behind)?;
        let new = DotRange { last: dots.last - 1, ..dots };
        self.apply_heard(insert, new, patches)?;
        self.vector.advance(new.site, new.last);
        self.settle_pending(new.site);
        self.apply_deletes(&deleted, patches);
        Some(())
    }

    /// An insert with these dots on the path that was heard. `None` if it breaks a rule: then nothing was changed.
    fn apply_heard(&mut self, insert: SingleInsert<'_>, dots: DotRange, patches: &mut PatchList) -> Option<()> {
        let measure = measure_of(&insert, dots)?;
        let mut elements = core::mem::take(&mut self.heard.path.elements);
        elements.push(first_element(insert.digit, insert.direction, dots));
        let has_room = has_room(&elements, dots.last);
        if has_room {
            self.apply_insert(&elements, dots, (insert.text, measure), patches);
        }
        elements.pop();
        self.heard.path.elements = elements;
        if !has_room {
            return None;
        }
        // Its group may be gone again.
        self.heard.group = self.sequence.groups.recent_of(dots.site).unwrap_or(0);
        self.heard.freed = self.sequence.groups.freed();
        Some(())
    }

    /// The insert of a keystroke in the group of the one before it, and that group.
    fn read_heard<'a>(&self, reader: &SingleReader<'a>, dots: DotRange) -> Option<(GroupIndex, SingleInsert<'a>)> {
        let groups = &self.sequence.groups;
        let group = self.heard.group_of(groups, dots.site)?;
        let insert = reader.insert(self.heard.path.bytes(), groups.depth(group) - 1)?;
        let same =
            insert.digit == groups.digit(group) && groups.bytes(Atom { group, k: dots.last as i64 }) <= PATH_BYTES_MAX;
        same.then_some((group, insert))
    }
}

/// The lengths of an insert's text, if it has as many characters as there are dots.
fn measure_of(insert: &SingleInsert<'_>, dots: DotRange) -> Option<Measure> {
    let measure = Measure::of(insert.text);
    (dots.first + u64::from(measure.scalars) == dots.last + 1).then_some(measure)
}

/// Whether the path of the character `last` of an insert that begins with this path is not too long.
fn has_room(elements: &[Element], last: u64) -> bool {
    let Some((new, above)) = elements.split_last() else { return false };
    let above = || above.iter().map(|element| element.bytes()).sum::<usize>();
    elements.len() <= PATH_BYTES_MAX / ELEMENT_BYTES_MAX
        || above() + group_bytes(new.digit) + k_bytes(last as i64) <= PATH_BYTES_MAX
}
