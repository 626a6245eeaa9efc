//! Remote deltas: dots are checked first, so that any multiset of deltas in any order changes what it must and nothing
//! else.

use super::allocation::first_atom;
use super::{Applied, Document, Outcome, RemovedRun};
use crate::delta::Delta;
use crate::error::ApplyError;
use crate::id::{Dot, DotRange, SiteId};
use crate::meta;
use crate::op::{Direction, Op};
use crate::patch::PatchList;
use crate::position::group::Atom;
use crate::position::{Digit, Element, Elements};
use crate::sequence::{Measure, Place};

impl Document {
    /// Applies a delta of another site, or one of this site's from before. What is known of it is skipped; it is cut
    /// where it becomes new.
    ///
    /// O(r d log n), r = runs and ranges of the delta, d = depth, n = runs of the document.
    ///
    /// # Errors
    /// [`ApplyError::Gap`] if it starts beyond what is known of its site, [`ApplyError::OwnSite`] if it brings new
    /// counters of the site written here, [`ApplyError::Invalid`] if it breaks the format. Then nothing was changed.
    pub fn apply(&mut self, delta: &Delta) -> Result<Applied, ApplyError> {
        delta.validate()?;
        Self::applied(|patches| self.apply_valid(delta, patches))
    }

    /// [`apply`](Self::apply) of a delta in its durable bytes, which are checked once and not twice.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); [`ApplyError::Invalid`] also if the bytes are damaged. Then nothing was changed.
    pub fn apply_encoded(&mut self, bytes: &[u8]) -> Result<Applied, ApplyError> {
        Self::applied(|patches| self.apply_encoded_into(bytes, patches))
    }

    /// [`apply_encoded`](Self::apply_encoded) that adds what the editor must do to a list, which may be used again and again.
    ///
    /// # Errors
    /// As [`apply_encoded`](Self::apply_encoded). Then nothing was changed.
    pub fn apply_encoded_into(&mut self, bytes: &[u8], patches: &mut PatchList) -> Result<Outcome, ApplyError> {
        match self.apply_keystroke(bytes, patches) {
            Some(outcome) => Ok(outcome),
            None => self.apply_valid(&Delta::decode(bytes)?, patches),
        }
    }

    fn applied(apply: impl FnOnce(&mut PatchList) -> Result<Outcome, ApplyError>) -> Result<Applied, ApplyError> {
        let mut patches = PatchList::default();
        let outcome = apply(&mut patches)?;
        Ok(Applied { patches: patches.finish(), outcome })
    }

    fn apply_valid(&mut self, delta: &Delta, patches: &mut PatchList) -> Result<Outcome, ApplyError> {
        let header = delta.header();
        let (site, have) = (delta.site, self.vector.get(delta.site));
        if header.last <= have {
            let before = self.len_bytes();
            self.apply_known_voids(delta, have, patches);
            return Ok(if self.len_bytes() == before { Outcome::Known } else { Outcome::Partly });
        }
        if header.first > have + 1 {
            return Err(ApplyError::Gap { site, have });
        }
        if self.site() == Some(site) {
            return Err(ApplyError::OwnSite { site });
        }
        if header.first > have {
            self.apply_ops(site, header.first, &delta.ops, patches);
            return Ok(Outcome::New);
        }
        self.apply_known_voids(delta, have, patches);
        if let Some(rest) = delta.after(have) {
            self.apply_ops(site, rest.first, &rest.ops, patches);
        }
        Ok(Outcome::Partly)
    }

    /// A void deletes the dots it covers also where they arrived before it: it was made because others lack them.
    fn apply_known_voids(&mut self, delta: &Delta, have: u64, patches: &mut PatchList) {
        let mut first = delta.first;
        for op in &delta.ops {
            let last = first + op.counters() - 1;
            if matches!(op, Op::Void { .. }) && first <= have {
                self.remove_live(DotRange { site: delta.site, first, last: last.min(have) }, patches, None);
            }
            first = last + 1;
        }
    }

    fn apply_ops(&mut self, site: SiteId, first: u64, ops: &[Op], patches: &mut PatchList) {
        let mut first = first;
        for op in ops {
            let last = first + op.counters() - 1;
            let dots = DotRange { site, first, last };
            match op {
                Op::Insert { parent, digit, direction, text } => {
                    let mut elements = Elements::from_slice(parent.elements());
                    elements.push(first_element(*digit, *direction, dots));
                    self.apply_insert(&elements, dots, (text, Measure::of(text)), patches);
                }
                Op::Delete { ranges } => {
                    for range in ranges {
                        self.apply_delete(*range, patches);
                    }
                }
                Op::Meta { key, value, lamport } => {
                    self.meta.merge(key, meta::Entry { lamport: *lamport, site, value: value.clone() });
                }
                Op::Rebase(rebase) => self.apply_rebase(Dot::new(site, first), rebase, patches),
                Op::Void { .. } => {}
            }
            self.vector.advance(site, last);
            self.settle_pending(site);
            first = last + 1;
        }
    }

    /// Integrates text that is new here, of these lengths; `elements`: the path of the first character.
    pub(super) fn apply_insert(
        &mut self,
        elements: &[Element],
        dots: DotRange,
        (text, measure): (&str, Measure),
        patches: &mut PatchList,
    ) {
        let Some(k) = elements.last().map(|first| first.k) else { return };
        let (group, place) = self.sequence.open_group(elements);
        let first = Atom { group, k };
        if let Some(place) = place.filter(|_| !self.is_awaited(dots)) {
            return self.put(place, first, (text, measure), patches);
        }
        self.sequence.groups.retain(group);
        self.integrate_undeleted(first, dots, (text, measure), patches);
        self.sequence.groups.release(group);
    }

    /// Whether a delete or a rebase came before some of these dots.
    fn is_awaited(&self, dots: DotRange) -> bool {
        !self.pending.is_empty() && self.pending.first_within(dots).is_some()
            || !self.rebases.pending.is_empty() && self.rebases.pending.touches(dots)
    }

    /// Integrates those characters of a run, which has these lengths, whose deletes have not come before them, where they were
    /// inserted or where a rebase that came before them moves them.
    #[inline(never)]
    pub(super) fn integrate_undeleted(
        &mut self,
        first: Atom,
        dots: DotRange,
        (text, measure): (&str, Measure),
        patches: &mut PatchList,
    ) {
        if self.is_awaited(dots) {
            self.integrate_awaited(first, dots, text, None, patches);
        } else {
            self.integrate(first, (text, measure), patches);
        }
    }

    /// Puts a run of these lengths where it belongs, divided where the text has something between its characters. The caller holds
    /// its group.
    pub(super) fn integrate(&mut self, first: Atom, (text, measure): (&str, Measure), patches: &mut PatchList) {
        if let Some((_, at)) = self.sequence.tail()
            && self.sequence.append_from(first, text, measure)
        {
            return patches.insert(at, text, measure.utf16 as usize);
        }
        let (mut first, mut rest, mut whole) = (first, text, measure);
        loop {
            let place = self.place_for(first);
            let scalars = whole.scalars as usize;
            let fits = match self.sequence.right_of(place) {
                Some(right) => self.sequence.groups.count_before(first, scalars, right),
                None => scalars,
            };
            debug_assert!(fits > 0, "a new character sorts before what follows its place");
            if fits == scalars {
                return self.put(place, first, (rest, whole), patches);
            }
            let (piece, tail) = rest.split_at(byte_of(rest, fits));
            let measure = Measure::of(piece);
            self.put(place, first, (piece, measure), patches);
            first.k += fits as i64;
            rest = tail;
            whole -= measure;
        }
    }

    /// Puts text of these lengths at a place.
    fn put(&mut self, place: Place, first: Atom, (text, measure): (&str, Measure), patches: &mut PatchList) {
        let at = self.sequence.focus(place).utf16 as usize;
        patches.insert(at, text, measure.utf16 as usize);
        let end = self.sequence.insert(place, first, text, measure);
        self.sequence.remember(first.group, end.leaf);
    }

    /// The place of a new character: mostly behind or before what its site wrote there.
    fn place_for(&self, atom: Atom) -> Place {
        let near = self.sequence.place_of_recent(atom).or_else(|| self.sequence.place_at_caret(atom));
        near.unwrap_or_else(|| self.sequence.place_of(atom))
    }

    /// Deletes what is known of a range, and remembers the rest.
    pub(super) fn apply_delete(&mut self, range: DotRange, patches: &mut PatchList) {
        let have = self.vector.get(range.site);
        if range.first <= have {
            self.remove_live(DotRange { last: range.last.min(have), ..range }, patches, None);
        }
        if range.last > have {
            let beyond = DotRange { first: range.first.max(have + 1), ..range };
            self.pending.insert(beyond);
            self.rebases.pending.remove(beyond);
        }
    }

    /// Removes the living characters of a range.
    pub(super) fn remove_live(
        &mut self,
        range: DotRange,
        patches: &mut PatchList,
        capture: Option<&mut Vec<RemovedRun>>,
    ) {
        if capture.is_none()
            && let Some((at, utf16)) = self.sequence.trim_dots(range)
        {
            self.rebases.forget(range);
            return patches.delete(at, utf16);
        }
        let mut capture = capture;
        let mut next = range.first;
        while let Some((place, measure)) = self.sequence.first_live(range.site, next..range.last + 1) {
            if let Some(runs) = capture.as_deref_mut() {
                runs.extend(self.removed_run(place, measure));
            }
            let at = self.sequence.focus(place).utf16 as usize;
            let leaves = if capture.is_none() { self.sequence.units_of_leaves_within(place, range) } else { 0 };
            if leaves > measure.utf16 {
                let rebases = &mut self.rebases;
                let taken = self.sequence.remove_units(place, leaves, |gone| {
                    rebases.forget(gone);
                    next = gone.last + 1;
                });
                patches.delete(at, taken as usize);
                continue;
            }
            patches.delete(at, measure.utf16 as usize);
            let gone = self.sequence.remove(place, measure).range;
            self.rebases.forget(gone);
            next = gone.last + 1;
        }
    }
}

/// The last element of the path of the first character of text with these dots.
pub(super) fn first_element(digit: Digit, direction: Direction, dots: DotRange) -> Element {
    Element { digit, site: dots.site, k: first_atom(0, direction, dots).k }
}

/// `count` characters of `text` from the `skip`-th on.
pub(super) fn scalars(text: &str, skip: usize, count: usize) -> &str {
    let tail = &text[byte_of(text, skip)..];
    &tail[..byte_of(tail, count)]
}

fn byte_of(text: &str, scalars: usize) -> usize {
    text.char_indices().nth(scalars).map_or(text.len(), |(at, _)| at)
}
