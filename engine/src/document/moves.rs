//! Moves: what a rebase does to the characters it lists, those that have not come yet included.
//!
//! A character that is moved is taken out and put in again under the same dot. Each goes in the order that lets it pass by as
//! little as possible: those behind the new base from the first one on, those before it from the last one on. So, unless
//! somebody wrote between them meanwhile, none passes anything, and an editor hears nothing.

use super::Document;
use super::remote::scalars;
use crate::id::{Dot, DotRange};
use crate::patch::PatchList;
use crate::position::Digit;
use crate::position::group::{Atom, GroupIndex, Groups};
use crate::rebase::{Rebase, Stamp, Target};
use crate::sequence::Measure;

/// Living characters of one run that go to a place.
struct Part {
    dots: DotRange,
    slot: usize,
    /// Stands before its new base now.
    before: bool,
}

/// A base whose groups are there.
#[derive(Clone, Copy)]
struct OpenBase {
    dot: Dot,
    digit: Digit,
    atom: Atom,
}

impl OpenBase {
    fn is_of(&self, groups: &Groups, target: &Target) -> bool {
        self.dot == target.stamp.dot
            && self.digit == target.base_digit
            && groups.is_path(groups.parent(self.atom.group), target.parent.elements())
    }
}

impl Document {
    /// Applies the rebase with this dot. O(r d log n + b), r = its pieces and the runs they moved, b = their text.
    pub(super) fn apply_rebase(&mut self, dot: Dot, rebase: &Rebase, patches: &mut PatchList) {
        if !self.rebase_in_place(dot, rebase) {
            self.apply_moves(rebase.targets(dot).collect(), patches);
        }
    }

    /// Moves what lives of these characters and was not moved later, and remembers where the others go. The list is in the
    /// order of the text at the targets.
    pub(super) fn apply_moves(&mut self, moves: Vec<(DotRange, Target)>, patches: &mut PatchList) {
        let mut parts = Vec::new();
        let mut slots: Vec<(usize, GroupIndex)> = Vec::new();
        let mut base = None;
        for (index, (range, target)) in moves.iter().enumerate() {
            let have = self.vector.get(range.site);
            if range.last > have {
                self.await_move(DotRange { first: range.first.max(have + 1), ..*range }, target);
            }
            if range.first <= have {
                let at = *base.insert(
                    base.filter(|base: &OpenBase| base.is_of(&self.sequence.groups, target))
                        .unwrap_or_else(|| self.open_base(target)),
                );
                let group = self.sequence.groups.intern(at.atom, target.digit, range.site);
                self.sequence.groups.retain(group);
                slots.push((index, group));
                let known = DotRange { last: range.last.min(have), ..*range };
                self.find_parts(known, target, (slots.len() - 1, at.atom), &mut parts);
            }
        }
        let behind = parts.iter().filter(|part| !part.before);
        for part in behind.chain(parts.iter().rev().filter(|part| part.before)) {
            let (index, group) = slots[part.slot];
            self.relocate(part.dots, &moves[index].1, group, patches);
        }
        for (_, group) in slots {
            self.sequence.groups.release(group);
        }
    }

    fn await_move(&mut self, range: DotRange, target: &Target) {
        for (part, deleted) in self.pending.divide(range) {
            if !deleted {
                self.rebases.wait(part, target);
            }
        }
    }

    /// Adds the living parts of a range that were not moved later, in the order of the text at the target.
    fn find_parts(&mut self, range: DotRange, target: &Target, (slot, base): (usize, Atom), parts: &mut Vec<Part>) {
        let start = parts.len();
        let mut next = range.first;
        while next <= range.last {
            let Some((place, measure)) = self.sequence.first_live(range.site, next..range.last + 1) else { break };
            let Some((run, _)) = self.sequence.rest_of_run(place) else { break };
            let first = run.atom(place.spot.scalars);
            let dots = dots_of(range, first, measure);
            next = dots.last + 1;
            let before = self.sequence.groups.compare(first, base).is_lt();
            let outdone = self.rebases.outdone_by(dots, target.stamp);
            parts.extend(outdone.into_iter().map(|dots| Part { dots, slot, before }));
        }
        if target.falling {
            parts[start..].reverse();
        }
    }

    /// The base of a target. It lives as long as something stands on it.
    fn open_base(&mut self, target: &Target) -> OpenBase {
        let Stamp { dot, .. } = target.stamp;
        let groups = &mut self.sequence.groups;
        let above = groups.intern_path(&target.parent);
        let group = groups.intern(above, target.base_digit, dot.site);
        OpenBase { dot, digit: target.base_digit, atom: Atom { group, k: dot.counter as i64 } }
    }

    /// The group of a target, held by a reference that the caller releases.
    fn open_slot(&mut self, range: DotRange, target: &Target) -> GroupIndex {
        let base = self.open_base(target).atom;
        let group = self.sequence.groups.intern(base, target.digit, range.site);
        self.sequence.groups.retain(group);
        group
    }

    fn relocate(&mut self, dots: DotRange, target: &Target, group: GroupIndex, patches: &mut PatchList) {
        let mut next = dots.first;
        while next <= dots.last {
            let Some((place, measure)) = self.sequence.first_live(dots.site, next..dots.last + 1) else { break };
            let Some((run, _)) = self.sequence.rest_of_run(place) else { break };
            let rising = run.first_k > 0;
            let text = self.sequence.text_at(place, measure).to_owned();
            let at = self.sequence.focus(place).utf16 as usize;
            let range = self.sequence.remove(place, measure).range;
            next = range.last + 1;
            if rising != target.falling && self.put_back(at, Atom { group, k: target.first_k(range) }, &text, measure) {
                self.note_moved(range, target.stamp);
                continue;
            }
            let mut put = PatchList::default();
            self.put_moved(range, &text, rising, target, group, &mut put);
            patches.replace_unless_same(at, &text, measure.utf16 as usize, put);
        }
    }

    /// Puts text at a UTF-16 position under other identifiers, if that is where they belong: mostly they do.
    fn put_back(&mut self, at: usize, first: Atom, text: &str, measure: Measure) -> bool {
        let (place, _) = self.sequence.seek(at);
        let last = Atom { k: first.k + i64::from(measure.scalars) - 1, ..first };
        let gap = self.sequence.gap(place);
        let groups = &self.sequence.groups;
        let fits = gap.left.is_none_or(|left| groups.compare(left, first).is_lt())
            && gap.right.is_none_or(|right| groups.compare(last, right).is_lt());
        if fits {
            self.sequence.insert(place, first, text, measure);
        }
        fits
    }

    pub(super) fn note_moved(&mut self, range: DotRange, stamp: Stamp) {
        self.clock = self.clock.max(stamp.lamport);
        self.rebases.moved.insert(range, stamp);
    }

    /// Puts characters where a rebase moves them; `rising`: their text is in the order of their counters.
    fn put_moved(
        &mut self,
        range: DotRange,
        text: &str,
        rising: bool,
        target: &Target,
        group: GroupIndex,
        patches: &mut PatchList,
    ) {
        let first = Atom { group, k: target.first_k(range) };
        if rising == target.falling {
            // Nobody honest turns text round.
            let turned: String = text.chars().rev().collect();
            self.integrate(first, (&turned, Measure::of(&turned)), patches);
        } else {
            self.integrate(first, (text, Measure::of(text)), patches);
        }
        self.note_moved(range, target.stamp);
    }

    /// Integrates those characters of a run whose deletes have not come before them, each where the latest rebase known
    /// moves it; `stamp`: when they were moved to where the run stands.
    pub(super) fn integrate_awaited(
        &mut self,
        first: Atom,
        dots: DotRange,
        text: &str,
        stamp: Option<Stamp>,
        patches: &mut PatchList,
    ) {
        let rising = first.k > 0;
        for (part, deleted) in self.pending.divide(dots) {
            if deleted {
                continue;
            }
            for (part, target) in self.rebases.pending.divide(part) {
                let offset = if rising { part.first - dots.first } else { dots.last - part.last };
                let text = scalars(text, offset as usize, (part.last - part.first + 1) as usize);
                match target.filter(|target| stamp.is_none_or(|stamp| stamp < target.stamp)) {
                    Some(target) => {
                        let group = self.open_slot(part, &target);
                        self.put_moved(part, text, rising, &target, group, patches);
                        self.sequence.groups.release(group);
                    }
                    None => {
                        let first = Atom { k: first.k + offset as i64, ..first };
                        self.integrate(first, (text, Measure::of(text)), patches);
                        if let Some(stamp) = stamp {
                            self.note_moved(part, stamp);
                        }
                    }
                }
            }
        }
    }
}

/// The dots of `measure` characters from `atom` on along the text; `range` is of their site.
fn dots_of(range: DotRange, atom: Atom, measure: Measure) -> DotRange {
    let last_k = atom.k + i64::from(measure.scalars) - 1;
    let (a, b) = (atom.k.unsigned_abs(), last_k.unsigned_abs());
    DotRange { first: a.min(b), last: a.max(b), ..range }
}
