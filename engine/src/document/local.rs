//! Local edits: positions in, operations of the open delta out.

use super::rebase::Window;
use super::{Change, Document, Writer};
use crate::dots::DotSet;
use crate::error::EditError;
use crate::id::{COUNTER_END, Dot, DotRange};
use crate::limits::{META_KEY_BYTES_MAX, META_VALUE_BYTES_MAX, OP_RANGES_MAX};
use crate::meta;
use crate::op::{Direction, Op};
use crate::patch::TextPatch;
use crate::position::allocate::{Gap, Slot, between, extend};
use crate::position::group::{Atom, GroupIndex};
use crate::sequence::{Measure, Place, Unit};

/// UTF-16 unit that stands for a lone surrogate.
const REPLACEMENT: u16 = 0xfffd;

/// Where text goes that is allocated but not inserted yet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Allocation {
    Extend(GroupIndex, Direction),
    New(Slot),
}

/// Whether the counters of text must rise along it: restored text is found by that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rising {
    Yes,
    No,
}

impl Document {
    /// Replaces `delete` UTF-16 units at `at` by `insert`. The patches are the echo: what the editor must mend to show
    /// what the document says, because the edit split a surrogate pair; normally none.
    ///
    /// O(log n + d + edit), n = runs, d = depth; amortised O(1) while typing, but for the sums above the leaf. The depth grows with the
    /// logarithm of the text (`Growth` in the crate's documentation has it measured). Where identifiers have become too
    /// deep ([`set_depth_limit`](Self::set_depth_limit)) the text around the place is moved first: a longer delta, and O(log n) moves
    /// for each insert on average, 4 at n = 100,000; the worst single edit moves the whole text.
    ///
    /// # Errors
    /// [`EditError`]; then nothing was changed.
    pub fn replace(&mut self, at: usize, delete: usize, insert: &str) -> Result<Vec<TextPatch>, EditError> {
        if self.edit_on(at, delete, insert) {
            return Ok(Vec::new());
        }
        self.replace_captured(at, delete, insert, None)
    }

    /// As [`replace`](Self::replace), with text as an editor has it: lone surrogates become U+FFFD and are echoed.
    ///
    /// # Errors
    /// [`EditError`]; then nothing was changed.
    pub fn replace_utf16(&mut self, at: usize, delete: usize, insert: &[u16]) -> Result<Vec<TextPatch>, EditError> {
        self.replace_utf16_captured(at, delete, insert, None)
    }

    pub(crate) fn replace_captured(
        &mut self,
        at: usize,
        delete: usize,
        insert: &str,
        capture: Option<&mut Change>,
    ) -> Result<Vec<TextPatch>, EditError> {
        // Of typing only the dots are to be remembered.
        let mut capture = capture;
        if let (0, Some(change), Some(Writer { site, next: first })) = (delete, capture.as_deref_mut(), self.writer)
            && self.edit_on(at, 0, insert)
        {
            let last = self.vector.get(site);
            change.inserted.insert(DotRange { site, first, last });
            return Ok(Vec::new());
        }
        self.check_range(at, delete)?;
        if self.has_pairs() && (self.splits_pair(at) || self.splits_pair(at + delete)) {
            let units: Vec<u16> = insert.encode_utf16().collect();
            return self.mend(at, delete, &units, capture);
        }
        self.edit(at, delete, insert, capture)?;
        Ok(Vec::new())
    }

    pub(crate) fn replace_utf16_captured(
        &mut self,
        at: usize,
        delete: usize,
        insert: &[u16],
        capture: Option<&mut Change>,
    ) -> Result<Vec<TextPatch>, EditError> {
        self.check_range(at, delete)?;
        let whole = !self.splits_pair(at) && !self.splits_pair(at + delete);
        match String::from_utf16(insert) {
            Ok(text) if whole => {
                self.edit(at, delete, &text, capture)?;
                Ok(Vec::new())
            }
            _ => self.mend(at, delete, insert, capture),
        }
    }

    /// An edit whose text, together with the halves of pairs it leaves, is not well formed: the edit is widened to whole
    /// characters, and each lone half becomes U+FFFD.
    #[cold]
    #[inline(never)]
    fn mend(
        &mut self,
        at: usize,
        delete: usize,
        insert: &[u16],
        capture: Option<&mut Change>,
    ) -> Result<Vec<TextPatch>, EditError> {
        if delete == 0 && insert.is_empty() {
            return Ok(Vec::new());
        }
        let end = at + delete;
        let (mut start, mut stop) = (at, end);
        let mut units = Vec::with_capacity(insert.len() + 2);
        if self.splits_pair(at) {
            start = at - 1;
            units.push(self.unit_at(start));
        }
        units.extend_from_slice(insert);
        if self.splits_pair(end) {
            units.push(self.unit_at(end));
            stop = end + 1;
        }
        let text = String::from_utf16_lossy(&units);
        self.edit(start, stop - start, &text, capture)?;
        Ok(echo(start, &units, &text))
    }

    fn check_range(&self, at: usize, delete: usize) -> Result<(), EditError> {
        let length = self.len_utf16();
        match at.checked_add(delete) {
            Some(end) if end <= length => Ok(()),
            _ => Err(EditError::OutOfRange { at, delete, length }),
        }
    }

    fn has_pairs(&self) -> bool {
        let whole = self.sequence.measure();
        whole.utf16 != whole.scalars
    }

    fn splits_pair(&mut self, utf16: usize) -> bool {
        self.has_pairs() && self.sequence.seek(utf16).1.utf16 as usize != utf16
    }

    fn unit_at(&self, utf16: usize) -> u16 {
        let before = self.measure_before(Unit::Utf16, utf16);
        let character = self.slice_utf16(utf16..utf16 + 1);
        character.encode_utf16().nth(utf16 - before.utf16 as usize).unwrap_or(REPLACEMENT)
    }

    /// An edit beside the one before: somebody types on there, forwards or backwards, takes back, or takes away what follows. Whether it
    /// was one.
    // Apart from its caller, in whose way it would be when somebody edits elsewhere.
    #[inline(never)]
    fn edit_on(&mut self, at: usize, delete: usize, insert: &str) -> bool {
        let Some(writer) = self.writer.filter(|_| !self.awaits_dots()) else { return false };
        if delete == 0 {
            let at_tail = self.sequence.tail().is_some_and(|(_, end)| at == end);
            return match insert.len() {
                1 if at_tail => self.type_on(writer, insert, Measure::of_ascii(1)),
                2.. if at_tail => self.type_on(writer, insert, Measure::of(insert)),
                _ => false,
            };
        }
        insert.is_empty() && self.take_on(writer, at, delete)
    }

    /// [`edit_on`](Self::edit_on) that takes text away.
    // Apart, so that a page in which nothing is taken away does not compile it for speed.
    #[inline(never)]
    fn take_on(&mut self, writer: Writer, at: usize, delete: usize) -> bool {
        if writer.next.saturating_add(delete as u64) >= COUNTER_END - 1 {
            return false;
        }
        let taken = self.sequence.trim(at, delete).or_else(|| self.sequence.cut(at, delete));
        let Some(range) = taken else { return false };
        self.rebases.forget(range);
        let mut deleted = Deleted::new(self.unsealed.first());
        deleted.add(self.writer, range);
        self.record_delete(deleted);
        true
    }

    /// Text where the last one went, if it continues that.
    // In one with its caller, for each of the lengths it knows.
    #[inline(always)]
    fn type_on(&mut self, writer: Writer, text: &str, measure: Measure) -> bool {
        let Some((next, _)) = self.sequence.tail() else { return false };
        let last = writer.next + u64::from(measure.scalars) - 1;
        let own = next.k.unsigned_abs() == writer.next && self.sequence.groups.site(next.group) == writer.site;
        if !own || last + 1 >= COUNTER_END || !self.sequence.append(text, measure) {
            return false;
        }
        self.advance_writer(last);
        true
    }

    /// The edit proper, at character boundaries. Allocates before it changes anything.
    fn edit(&mut self, at: usize, delete: usize, insert: &str, capture: Option<&mut Change>) -> Result<(), EditError> {
        if delete == 0 && insert.is_empty() {
            return Ok(());
        }
        let measure = Measure::of(insert);
        let inserted = u64::from(measure.scalars);
        let writer = self.ready_writer(inserted + delete as u64 + 1)?;
        if insert.is_empty() {
            self.delete_at(at, delete, capture);
            return Ok(());
        }
        let mut place = self.sequence.seek(at).0;
        let mut gap = self.sequence.gap(place);
        let mut end = place;
        if delete > 0 {
            end = self.sequence.find_behind_caret(at + delete);
            gap.right = self.sequence.right_of(end);
        }
        let allocation = match self.allocate(gap, writer, inserted, Rising::No) {
            Some(allocation) if !self.is_deep(allocation) => allocation,
            found => match self.window(place, end, writer, found.is_none()) {
                Some(window) => return self.edit_in(window, at, delete, insert, capture),
                None => found.ok_or(EditError::TooDeep)?,
            },
        };
        // In the text the old goes before the new comes; in the delta the insert is first, so that its dots, which
        // decide where it goes, do not depend on how many operations the delete takes.
        let inserted = DotRange { site: writer.site, first: writer.next, last: writer.next + inserted - 1 };
        let is_new = delete == 0 || self.is_new_within(place, end, allocation, writer);
        self.advance_writer(inserted.last);
        let (group, direction) = self.open_group(allocation, writer, is_new);
        let mut capture = capture;
        if delete > 0 {
            // It may stand on what goes.
            self.sequence.groups.retain(group);
            self.delete_at(at, delete, capture.as_deref_mut());
            place = self.sequence.seek(at).0;
        }
        self.sequence.insert(place, first_atom(group, direction, inserted), insert, measure);
        if delete > 0 {
            self.sequence.groups.release(group);
        }
        if let Some(change) = capture {
            change.inserted.insert(inserted);
        }
        Ok(())
    }

    /// An edit for which a window around it must be moved.
    #[inline(never)]
    fn edit_in(
        &mut self,
        window: Window,
        at: usize,
        delete: usize,
        insert: &str,
        capture: Option<&mut Change>,
    ) -> Result<(), EditError> {
        let measure = Measure::of(insert);
        let inserted = u64::from(measure.scalars);
        self.ready_writer(inserted + delete as u64 + 1 + window.ops())?;
        let mut capture = capture;
        if delete > 0 {
            self.delete_at(at, delete, capture.as_deref_mut());
        }
        let (place, allocation) = self.allocate_in(window, at, inserted, Rising::No)?;
        let writer = self.ready_writer(inserted)?;
        let dots = DotRange { site: writer.site, first: writer.next, last: writer.next + inserted - 1 };
        self.advance_writer(dots.last);
        let (group, direction) = self.open_group(allocation, writer, true);
        self.sequence.insert(place, first_atom(group, direction, dots), insert, measure);
        if let Some(change) = capture {
            change.inserted.insert(dots);
        }
        Ok(())
    }

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
    fn allocate_in(
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

    /// The writer, with `counters` counters free of pending deletes ahead.
    pub(super) fn ready_writer(&mut self, counters: u64) -> Result<Writer, EditError> {
        let writer = self.writer.ok_or(EditError::NoSite)?;
        if writer.next + counters >= COUNTER_END {
            return Err(EditError::CountersExhausted);
        }
        if self.awaits_dots() { self.skip_pending(writer, counters) } else { Ok(writer) }
    }

    /// Whether something is known of dots that have not come.
    pub(super) fn awaits_dots(&self) -> bool {
        !self.pending.is_empty() || !self.rebases.pending.is_empty()
    }

    /// Somebody deleted or moved dots this site has not written: only a hostile or broken replica does. They are covered
    /// unused, so that every replica agrees.
    #[cold]
    #[inline(never)]
    fn skip_pending(&mut self, writer: Writer, counters: u64) -> Result<Writer, EditError> {
        let mut next = writer.next;
        loop {
            let ahead = DotRange { site: writer.site, first: next, last: next + counters - 1 };
            let deleted = self
                .pending
                .first_within(ahead)
                .and_then(|taken| self.pending.first_within(DotRange { last: COUNTER_END - 1, ..taken }));
            let moved = self.rebases.pending.first_within(ahead).map(|(_, whole, _)| whole);
            let Some(end) = deleted.into_iter().chain(moved).map(|taken| taken.last).max() else {
                break;
            };
            next = end + 1;
            if next + counters >= COUNTER_END {
                return Err(EditError::CountersExhausted);
            }
        }
        if next > writer.next {
            self.advance_writer(next - 1);
        }
        Ok(Writer { next, ..writer })
    }

    /// Counters up to `last` are used.
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn advance_writer(&mut self, last: u64) {
        let writer = self.writer.as_mut().expect("only a writer's counters are used");
        self.unsealed.open(writer.next);
        writer.next = last + 1;
        let site = writer.site;
        self.vector.advance(site, last);
        self.settle_pending(site);
    }

    fn allocate(&self, gap: Gap, writer: Writer, counters: u64, rising: Rising) -> Option<Allocation> {
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
    fn is_new_within(&self, from: Place, to: Place, allocation: Allocation, writer: Writer) -> bool {
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

    fn delete_at(&mut self, at: usize, delete: usize, capture: Option<&mut Change>) {
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

    /// Writes an entry of `meta`; `None` removes it.
    ///
    /// # Errors
    /// [`EditError`]; then nothing was changed.
    pub fn set_meta(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), EditError> {
        let fits = key.len() <= META_KEY_BYTES_MAX && value.is_none_or(|value| value.len() <= META_VALUE_BYTES_MAX);
        if !fits {
            return Err(EditError::MetaTooLarge);
        }
        let lamport = self.meta.next_lamport(key).ok_or(EditError::MetaTied)?;
        let writer = self.ready_writer(1)?;
        let value = value.map(<[u8]>::to_vec);
        self.meta.merge(key, meta::Entry { lamport, site: writer.site, value: value.clone() });
        self.advance_writer(writer.next);
        self.unsealed.push(writer.next, Op::Meta { key: key.to_owned(), value, lamport });
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

/// The first character's identifier of text with these dots.
pub(super) fn first_atom(group: GroupIndex, direction: Direction, dots: DotRange) -> Atom {
    let k = match direction {
        Direction::After => dots.first as i64,
        Direction::Before => -(dots.last as i64),
    };
    Atom { group, k }
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

/// Patches that turn `units`, which an editor shows from `at` on, into `text`: both have the same length.
fn echo(at: usize, units: &[u16], text: &str) -> Vec<TextPatch> {
    let mut patches: Vec<TextPatch> = Vec::new();
    for (index, (shown, meant)) in units.iter().zip(text.encode_utf16()).enumerate() {
        if *shown == meant {
            continue;
        }
        match patches.last_mut() {
            Some(last) if last.at + last.delete == at + index => {
                last.delete += 1;
                last.insert.push('\u{fffd}');
            }
            _ => patches.push(TextPatch { at: at + index, delete: 1, insert: "\u{fffd}".to_owned() }),
        }
    }
    patches
}
