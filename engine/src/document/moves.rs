//! Moves: what a rebase does to the characters it lists, those that have not come yet included.
//!
//! A character that is moved is taken out and put in again under the same dot. Each goes in the order that lets it pass by as
//! little as possible: those behind the new base from the first one on, those before it from the last one on. So, unless
//! somebody wrote between them meanwhile, none passes anything, and an editor hears nothing.

use super::Document;
use super::remote::scalars;
use crate::id::{Dot, DotRange};
use crate::patch::PatchList;
use crate::position::group::{Atom, GroupIndex};
use crate::rebase::{Rebase, Stamp, Target};
use crate::sequence::Measure;

/// Living characters of one run that go to a place.
struct Part {
    dots: DotRange,
    target: usize,
    /// Stands before its new base now.
    before: bool,
}

impl Document {
    /// Applies the rebase with this dot. O(r d log n + b), r = its pieces and the runs they moved, b = their text.
    pub(super) fn apply_rebase(&mut self, dot: Dot, rebase: &Rebase, patches: &mut PatchList) {
        self.apply_moves(rebase.targets(dot).collect(), patches);
    }

    /// Moves what lives of these characters and was not moved later, and remembers where the others go. The list is in the
    /// order of the text at the targets.
    pub(super) fn apply_moves(&mut self, moves: Vec<(DotRange, Target)>, patches: &mut PatchList) {
        let mut parts = Vec::new();
        for (index, (range, target)) in moves.iter().enumerate() {
            let have = self.vector.get(range.site);
            if range.last > have {
                self.await_move(DotRange { first: range.first.max(have + 1), ..*range }, target);
            }
            if range.first <= have {
                self.find_parts(DotRange { last: range.last.min(have), ..*range }, index, target, &mut parts);
            }
        }
        if parts.is_empty() {
            return;
        }
        let groups: Vec<_> = moves.iter().map(|(range, target)| self.open_slot(*range, target)).collect();
        for part in &mut parts {
            part.before = self.stands_before(part.dots, self.sequence.groups.parent(groups[part.target]));
        }
        let behind = parts.iter().filter(|part| !part.before);
        for part in behind.chain(parts.iter().rev().filter(|part| part.before)) {
            self.relocate(part.dots, &moves[part.target].1, groups[part.target], patches);
        }
        for group in groups {
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
    fn find_parts(&mut self, range: DotRange, index: usize, target: &Target, parts: &mut Vec<Part>) {
        let start = parts.len();
        let mut next = range.first;
        while let Some((place, measure)) = self.sequence.first_live(range.site, next..range.last + 1) {
            let Some((run, _)) = self.sequence.rest_of_run(place) else { break };
            let dots = dots_of(range, run.atom(place.spot.scalars), measure);
            next = dots.last + 1;
            let outdone = self.rebases.outdone_by(dots, target.stamp);
            parts.extend(outdone.into_iter().map(|dots| Part { dots, target: index, before: false }));
        }
        if target.falling {
            parts[start..].reverse();
        }
    }

    fn stands_before(&mut self, dots: DotRange, base: Atom) -> bool {
        let atom = self.living_atom(Dot::new(dots.site, dots.first));
        atom.is_some_and(|atom| self.sequence.groups.compare(atom, base).is_lt())
    }

    /// The group of a target, held by a reference that the caller releases.
    fn open_slot(&mut self, range: DotRange, target: &Target) -> GroupIndex {
        let groups = &mut self.sequence.groups;
        let Stamp { dot, .. } = target.stamp;
        let above = groups.intern_path(&target.parent);
        let base = groups.intern(above, target.base_digit, dot.site);
        let base = Atom { group: base, k: dot.counter as i64 };
        let group = groups.intern(base, target.digit, range.site);
        groups.retain(group);
        group
    }

    fn relocate(&mut self, dots: DotRange, target: &Target, group: GroupIndex, patches: &mut PatchList) {
        let mut next = dots.first;
        while let Some((place, measure)) = self.sequence.first_live(dots.site, next..dots.last + 1) {
            let Some((run, _)) = self.sequence.rest_of_run(place) else { break };
            let rising = run.first_k > 0;
            let text = self.sequence.text_at(place, measure).to_owned();
            let at = self.sequence.focus(place).utf16 as usize;
            let range = self.sequence.remove(place, measure).range;
            next = range.last + 1;
            let mut put = PatchList::default();
            self.put_moved(range, &text, rising, target, group, &mut put);
            patches.replace_unless_same(at, &text, measure.utf16 as usize, put);
        }
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
            self.integrate(first, &turned, patches);
        } else {
            self.integrate(first, text, patches);
        }
        self.rebases.moved.insert(range, target.stamp);
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
                        self.integrate(Atom { k: first.k + offset as i64, ..first }, text, patches);
                        if let Some(stamp) = stamp {
                            self.rebases.moved.insert(part, stamp);
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
