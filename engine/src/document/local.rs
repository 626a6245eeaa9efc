//! Local edits: positions in, operations of the open delta out.

use super::allocation::{Rising, first_atom};
use super::deletion::Deleted;
use super::rebase::Window;
use super::{Change, Document, Writer};
use crate::error::EditError;
use crate::id::{COUNTER_END, DotRange};
use crate::limits::{META_KEY_BYTES_MAX, META_VALUE_BYTES_MAX};
use crate::meta;
use crate::op::Op;
use crate::patch::TextPatch;
use crate::sequence::Measure;

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

    fn check_range(&self, at: usize, delete: usize) -> Result<(), EditError> {
        let length = self.len_utf16();
        match at.checked_add(delete) {
            Some(end) if end <= length => Ok(()),
            _ => Err(EditError::OutOfRange { at, delete, length }),
        }
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
    pub(super) fn edit(
        &mut self,
        at: usize,
        delete: usize,
        insert: &str,
        capture: Option<&mut Change>,
    ) -> Result<(), EditError> {
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
