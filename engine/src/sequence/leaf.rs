//! Leaves: a few runs and their text, side by side.

use super::measure::{Measure, ShortMeasure, Unit, prefix};
use crate::position::group::{Atom, GroupIndex};

/// Runs of a leaf at most.
pub(crate) const LEAF_RUNS_MAX: usize = 32;
/// Bytes of text of a leaf at most. Moving half of it costs less than finding the leaf.
pub(crate) const LEAF_BYTES_MAX: usize = 1024;

/// Number of a leaf in its sequence.
pub(crate) type LeafIndex = u32;

/// No leaf, no node.
pub(crate) const NONE: u32 = u32::MAX;

/// Characters of one group with consecutive k, stored together. Their text lies in the leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) first_k: i64,
    pub(crate) group: GroupIndex,
    pub(crate) measure: ShortMeasure,
}

impl Run {
    pub(crate) fn new(first: Atom, measure: Measure) -> Self {
        Self { first_k: first.k, group: first.group, measure: measure.into() }
    }

    pub(crate) const fn first(self) -> Atom {
        Atom { group: self.group, k: self.first_k }
    }

    pub(crate) const fn last(self) -> Atom {
        self.atom(self.measure.scalars() - 1)
    }

    pub(crate) const fn atom(self, offset: u32) -> Atom {
        Atom { group: self.group, k: self.first_k + offset as i64 }
    }

    /// The lowest counter among its dots: where it is indexed.
    pub(crate) const fn low(self) -> u64 {
        if self.first_k > 0 { self.first_k as u64 } else { self.last().k.unsigned_abs() }
    }

    /// The highest counter among its dots.
    pub(crate) const fn high(self) -> u64 {
        self.low() + self.measure.scalars() as u64 - 1
    }

    /// It cut behind characters of these lengths; either part may be empty.
    pub(crate) fn split(self, head: ShortMeasure) -> (Self, Self) {
        let mut rest = self.measure;
        rest -= head;
        (
            Self { measure: head, ..self },
            Self { first_k: self.first_k + i64::from(head.scalars()), measure: rest, ..self },
        )
    }

    /// Whether `next` could be its tail.
    pub(crate) fn precedes(self, next: Atom) -> bool {
        self.group == next.group && self.last().k + 1 == next.k
    }
}

/// A place between two characters of a leaf: `scalars` into `run`, never at its end (then it is 0 into the next one).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Spot {
    pub(crate) run: usize,
    pub(crate) scalars: u32,
    /// Lengths of the leaf's text before it.
    pub(crate) before: Measure,
}

impl Spot {
    /// Whether it is before all text of the leaf.
    pub(crate) const fn is_start(self) -> bool {
        self.run == 0 && self.scalars == 0
    }
}

/// A leaf of the tree.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) parent: u32,
    pub(crate) previous: LeafIndex,
    pub(crate) next: LeafIndex,
    pub(crate) measure: Measure,
    pub(crate) runs: Vec<Run>,
    pub(crate) text: String,
}

impl Leaf {
    pub(crate) fn new() -> Self {
        Self {
            parent: NONE,
            previous: NONE,
            next: NONE,
            measure: Measure::default(),
            runs: Vec::new(),
            text: String::new(),
        }
    }

    /// Puts two runs before run number `at`.
    pub(crate) fn insert_runs(&mut self, at: usize, runs: [Run; 2]) {
        let end = self.runs.len();
        self.runs.extend_from_slice(&runs);
        self.runs.copy_within(at..end, at + 2);
        self.runs[at..at + 2].copy_from_slice(&runs);
    }

    /// A leaf of these runs and their text, that takes no more memory than it needs.
    #[inline(never)]
    pub(crate) fn of(runs: &[Run], text: &str, measure: Measure) -> Self {
        Self { measure, runs: runs.to_vec(), text: text.to_owned(), ..Self::new() }
    }

    /// The spot at `offset` units; before the character if the offset splits it.
    pub(crate) fn spot(&self, unit: Unit, offset: u32) -> Spot {
        self.walk(&mut 0, &mut Measure::default(), unit, offset)
    }

    /// Moves from the start of a run, given by its number and the lengths before it, to the spot at `offset` units: O(runs
    /// in between), or from an end of the leaf if that is nearer.
    // With its caller, so that the spot stays in registers and the unit is known.
    #[inline(always)]
    pub(crate) fn walk(&self, run: &mut usize, start: &mut Measure, unit: Unit, offset: u32) -> Spot {
        if offset == start.get(unit) {
            return Spot { run: *run, scalars: 0, before: *start };
        }
        match unit {
            Unit::Scalars => self.walk_by(ShortMeasure::scalars, run, start, unit, offset),
            Unit::Utf16 => self.walk_by(ShortMeasure::utf16, run, start, unit, offset),
            Unit::Bytes => self.walk_by(ShortMeasure::bytes, run, start, unit, offset),
        }
    }

    /// [`walk`](Self::walk) with the function that tells a run's length in `unit`.
    fn walk_by(
        &self,
        length: impl Fn(ShortMeasure) -> u32,
        run: &mut usize,
        start: &mut Measure,
        unit: Unit,
        offset: u32,
    ) -> Spot {
        let way = offset.abs_diff(start.get(unit));
        if offset < way {
            (*run, *start) = (0, Measure::default());
        } else if self.measure.get(unit) - offset < way {
            (*run, *start) = (self.runs.len(), self.measure);
        }
        let (mut at, mut before) = (*run, ShortMeasure::from(*start));
        while length(before) > offset {
            at -= 1;
            before -= self.runs[at].measure;
        }
        let found = self.runs[at..].iter().find(|here| {
            let mut end = before;
            end += here.measure;
            let is_behind = length(end) <= offset;
            if is_behind {
                (at, before) = (at + 1, end);
            }
            !is_behind
        });
        *run = at;
        let Some(here) = found else {
            *start = self.measure;
            return self.end();
        };
        *start = before.long();
        let cut = self.prefix(*start, here.measure, unit, offset - start.get(unit));
        let mut before = *start;
        before += cut;
        Spot { run: *run, scalars: cut.scalars, before }
    }

    /// Measure of the first `offset` units of a run of these lengths, before which the leaf has `start`.
    fn prefix(&self, start: Measure, whole: ShortMeasure, unit: Unit, offset: u32) -> Measure {
        if whole.is_ascii() {
            return Measure::of_ascii(offset as usize);
        }
        let start = start.bytes as usize;
        prefix(&self.text[start..start + whole.bytes() as usize], whole.long(), unit, offset)
    }

    /// The lengths before the run of a spot.
    pub(crate) fn start_of_run_at(&self, spot: Spot) -> Measure {
        let mut start = spot.before;
        if spot.scalars == 0 {
            return start;
        }
        let run = self.runs[spot.run].measure;
        if run.is_ascii() {
            start -= Measure::of_ascii(spot.scalars as usize);
            return start;
        }
        self.start_of(spot.run).before
    }

    /// The spot before run `run`.
    pub(crate) fn start_of(&self, run: usize) -> Spot {
        let mut before = ShortMeasure::from(Measure::default());
        for run in &self.runs[..run] {
            before += run.measure;
        }
        Spot { run, scalars: 0, before: before.long() }
    }

    /// The spot `scalars` into run `run`; at its end the start of the next.
    pub(crate) fn within(&self, run: usize, scalars: u32) -> Spot {
        let mut spot = self.start_of(run);
        if scalars == 0 {
            return spot;
        }
        let whole = self.runs[run].measure;
        if scalars == whole.scalars() {
            spot.before += whole;
            spot.run += 1;
            return spot;
        }
        spot.before += self.prefix(spot.before, whole, Unit::Scalars, scalars);
        spot.scalars = scalars;
        spot
    }

    /// Characters `from..to` of run `run`, before which the lengths are `start`: where they begin, and their lengths.
    pub(crate) fn part(&self, run: usize, start: Measure, from: u32, to: u32) -> (Spot, Measure) {
        let whole = self.runs[run].measure;
        let head = self.prefix(start, whole, Unit::Scalars, from);
        let mut measure =
            if to == whole.scalars() { whole.long() } else { self.prefix(start, whole, Unit::Scalars, to) };
        measure -= head;
        let mut before = start;
        before += head;
        (Spot { run, scalars: from, before }, measure)
    }

    pub(crate) const fn end(&self) -> Spot {
        Spot { run: self.runs.len(), scalars: 0, before: self.measure }
    }

    /// Text of `measure` characters from `spot` on.
    pub(crate) fn text_at(&self, spot: Spot, measure: Measure) -> &str {
        let start = spot.before.bytes as usize;
        &self.text[start..start + measure.bytes as usize]
    }

    /// What is left of the spot's run from the spot on.
    pub(crate) fn rest_of_run(&self, spot: Spot) -> Measure {
        let run = self.runs[spot.run];
        let mut rest = run.measure.long();
        if spot.scalars > 0 {
            let mut head = spot.before;
            head -= self.start_of_run_at(spot);
            rest -= head;
        }
        rest
    }
}
