//! The runs around a place, from it outwards.

use std::borrow::Cow;

use super::{LeafIndex, NONE, Place, Run, Sequence, Spot, Unit};
use crate::limits::OP_TEXT_BYTES_MAX;
use crate::position::group::Atom;

/// Characters of one group with consecutive k.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stretch {
    pub(crate) first: Atom,
    pub(crate) scalars: u32,
}

impl Stretch {
    pub(crate) const fn last(self) -> Atom {
        Atom { k: self.first.k + self.scalars as i64 - 1, ..self.first }
    }

    /// Whether a character is one of it.
    pub(crate) fn has(self, atom: Atom) -> bool {
        atom.group == self.first.group && (self.first.k..=self.last().k).contains(&atom.k)
    }

    /// Whether `next` could be its tail.
    pub(crate) fn precedes(self, next: Self) -> bool {
        self.first.group == next.first.group && self.last().k + 1 == next.first.k
    }
}

/// A run and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunAt {
    pub(crate) leaf: LeafIndex,
    /// Its number in the leaf.
    pub(crate) number: usize,
    pub(crate) run: Run,
}

impl Sequence {
    /// What stands before a place, from it to the start of the text; of a run the place divides only the part before it.
    pub(crate) fn stretches_before(&self, place: Place) -> impl Iterator<Item = Stretch> + '_ {
        let leaf = self.tree.leaf(place.leaf);
        let divided = leaf.runs.get(place.spot.run).filter(|_| place.spot.scalars > 0);
        let divided = divided.map(|run| Stretch { first: run.first(), scalars: place.spot.scalars });
        let mut at: (LeafIndex, usize) = (place.leaf, place.spot.run);
        divided.into_iter().chain(core::iter::from_fn(move || {
            while at.1 == 0 {
                let previous = self.tree.leaf(at.0).previous;
                if previous == NONE {
                    return None;
                }
                at = (previous, self.tree.leaf(previous).runs.len());
            }
            at.1 -= 1;
            self.stretch(at)
        }))
    }

    /// What stands behind a place, from it to the end of the text; of a run the place divides only the part behind it.
    pub(crate) fn stretches_after(&self, place: Place) -> impl Iterator<Item = Stretch> + '_ {
        let leaf = self.tree.leaf(place.leaf);
        let mut at: (LeafIndex, usize) = (place.leaf, place.spot.run);
        let divided = leaf.runs.get(at.1).filter(|_| place.spot.scalars > 0).map(|run| {
            at.1 += 1;
            let scalars = run.measure.scalars() - place.spot.scalars;
            Stretch { first: run.atom(place.spot.scalars), scalars }
        });
        divided.into_iter().chain(core::iter::from_fn(move || {
            while at.1 >= self.tree.leaf(at.0).runs.len() {
                let next = self.tree.leaf(at.0).next;
                if next == NONE {
                    return None;
                }
                at = (next, 0);
            }
            let stretch = self.stretch(at);
            at.1 += 1;
            stretch
        }))
    }

    /// The runs from a place on; `None` if it divides one.
    pub(crate) fn runs_from(&self, place: Place) -> Option<impl Iterator<Item = RunAt> + '_> {
        let mut skip = place.spot.run;
        let runs = self.tree.leaves_from(place.leaf).flat_map(move |(leaf, of)| {
            let from = core::mem::take(&mut skip);
            let numbered = of.runs.iter().enumerate().skip(from);
            numbered.map(move |(number, run)| RunAt { leaf, number, run: *run })
        });
        (place.spot.scalars == 0).then_some(runs)
    }

    /// The runs between two places, those that these divide among them.
    pub(crate) fn runs_within(&self, from: Place, to: Place) -> impl Iterator<Item = Run> + '_ {
        let mut at = (from.leaf, from.spot.run);
        let end = (to.leaf, to.spot.run + usize::from(to.spot.scalars > 0));
        core::iter::from_fn(move || {
            while at != end {
                let leaf = self.tree.get(at.0)?;
                if let Some(run) = leaf.runs.get(at.1) {
                    at.1 += 1;
                    return Some(*run);
                }
                at = (leaf.next, 0);
            }
            None
        })
    }

    /// The text of `scalars` characters of one group with consecutive k from `place` on, where only borders of leaves divide them:
    /// O(1) within a leaf, O(its length) else.
    pub(crate) fn text_along(&self, place: Place, scalars: u32) -> Option<Cow<'_, str>> {
        let (run, rest) = self.rest_of_run(place)?;
        if rest.scalars >= scalars {
            return Some(Cow::Borrowed(self.text_at(place, self.prefix_at(place, rest, Unit::Scalars, scalars))));
        }
        // Counters can be far more than there is text: strangers may make this site pass over some.
        let mut text = String::with_capacity((scalars as usize).min(OP_TEXT_BYTES_MAX));
        text.push_str(self.text_at(place, rest));
        let mut next = run.atom(place.spot.scalars + rest.scalars);
        let mut left = scalars - rest.scalars;
        let (mut at, mut number) = (place.leaf, place.spot.run);
        while left > 0 {
            let leaf = self.tree.leaf(at);
            if number + 1 < leaf.runs.len() {
                return None;
            }
            (at, number) = (leaf.next, 0);
            let run = self.tree.get(at)?.runs.first().filter(|run| run.first() == next)?;
            let start = Place { leaf: at, spot: Spot::default() };
            let measure = self.prefix_at(start, run.measure.long(), Unit::Scalars, left);
            text.push_str(self.text_at(start, measure));
            next.k += i64::from(measure.scalars);
            left -= measure.scalars;
        }
        Some(Cow::Owned(text))
    }

    fn stretch(&self, (leaf, run): (LeafIndex, usize)) -> Option<Stretch> {
        self.tree.leaf(leaf).runs.get(run).map(|run| Stretch { first: run.first(), scalars: run.measure.scalars() })
    }
}
