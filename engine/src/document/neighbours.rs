//! What stood beside removed text, not counting what is gone for good.
//!
//! ```text
//! the text       L Y x B         x is gone for good: what one step wrote and removed again stays away when it is undone
//! removed        B between x and nothing, Y between L and x, x between L and nothing; in this order
//! put back       Y between L and nothing, B between Y and nothing
//! ```
//!
//! Who stood beside such text stands beside what stood beyond it at that time, not when it went itself: what had stood between may
//! have gone before it. Whatever that was has named it as its neighbour then.

use super::removed::RemovedRun;
use crate::id::{Dot, DotRange};

/// Which of `kept` stood beside text that is gone for good stands beside what stood beyond that then. Each of `gone` went when
/// so many of `kept` had. O((r + g) log g) if none of it stood side by side, r and g = runs of each.
pub(crate) fn hand_on_neighbours(kept: &mut [RemovedRun], gone: &[(usize, &RemovedRun)]) {
    let mut places: Vec<(DotRange, usize)> =
        gone.iter().enumerate().map(|(at, (_, run))| (run.dots(0, run.scalars()), at)).collect();
    places.sort_unstable();
    let removals = Removals { kept, gone, places };
    let is_gone = |dot: Option<Dot>| dot.is_some_and(|dot| removals.place_of(dot).is_some());
    if !removals.kept.iter().any(|run| is_gone(run.left) || is_gone(run.right)) {
        return;
    }
    let (lefts, rights) = (removals.beyond(Side::Left), removals.beyond(Side::Right));
    for (run, (left, right)) in kept.iter_mut().zip(lefts.into_iter().zip(rights)) {
        (run.left, run.right) = (left, right);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// What stood on that side of a run.
const fn beside(run: &RemovedRun, side: Side) -> Option<Dot> {
    match side {
        Side::Left => run.left,
        Side::Right => run.right,
    }
}

/// The character of a run that is come upon first on the way to that side.
fn entry(run: &RemovedRun, towards: Side) -> Dot {
    let k = match towards {
        Side::Left => run.first_k + run.scalars() as i64 - 1,
        Side::Right => run.first_k,
    };
    Dot::new(run.site, k.unsigned_abs())
}

/// When a run went: as how many of those that are kept had, as which of those that are gone, which went before the next of them.
type When = (usize, usize);

/// Text that was removed from one document, some of it for good.
struct Removals<'a> {
    kept: &'a [RemovedRun],
    gone: &'a [(usize, &'a RemovedRun)],
    /// Where the dots of those that are gone are, in order.
    places: Vec<(DotRange, usize)>,
}

/// A character of a run that is gone, by how many characters of the run stand on that side of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    gone: usize,
    behind: usize,
}

impl<'a> Removals<'a> {
    fn place_of(&self, dot: Dot) -> Option<usize> {
        let behind = self.places.partition_point(|(dots, _)| (dots.site, dots.first) <= (dot.site, dot.counter));
        let (dots, at) = self.places[behind.checked_sub(1)?];
        (dots.site == dot.site && dot.counter <= dots.last).then_some(at)
    }

    fn spot(&self, dot: Dot, side: Side) -> Option<Spot> {
        let gone = self.place_of(dot)?;
        let run = self.gone[gone].1;
        let dots = run.dots(0, run.scalars());
        let from_first = (run.first_k > 0) == (side == Side::Left);
        let behind = if from_first { dot.counter - dots.first } else { dots.last - dot.counter };
        Some(Spot { gone, behind: behind as usize })
    }

    fn all(&self) -> impl Iterator<Item = (When, &'a RemovedRun)> {
        let kept = self.kept.iter().enumerate().map(|(at, run)| ((at, usize::MAX), run));
        kept.chain(self.gone.iter().enumerate().map(|(at, (kept, run))| ((*kept, at), *run)))
    }

    /// What stood on one side of each that is kept when it went and is not gone for good.
    fn beyond(&self, side: Side) -> Vec<Option<Dot>> {
        // What went while a character that is gone stood right beyond it stood before that on the way there.
        let mut between: Vec<(Spot, When, &RemovedRun)> = self
            .all()
            .filter_map(|(when, run)| Some((self.spot(beside(run, side.other())?, side)?, when, run)))
            .collect();
        between.sort_unstable_by_key(|(spot, when, _)| (*spot, *when));
        let beyond = |(when, run): (When, &RemovedRun)| {
            let mut next = beside(run, side);
            // Each is come upon once, and once more behind each that stood within it; or text that others moved has made a circle.
            for _ in 0..2 * (self.gone.len() + 1) {
                let Some(spot) = next.and_then(|dot| self.spot(dot, side)) else { return next };
                let to = between.partition_point(|(other, _, _)| *other <= spot);
                let mut nearest: Option<(Spot, &RemovedRun)> = None;
                for &(other, then, run) in
                    between[..to].iter().rev().take_while(|(other, _, _)| other.gone == spot.gone)
                {
                    if nearest.is_some_and(|(nearest, _)| nearest != other) {
                        break;
                    }
                    if then > when {
                        nearest = Some((other, run));
                    }
                }
                next = match nearest {
                    Some((_, run)) => Some(entry(run, side)),
                    None => beside(self.gone[spot.gone].1, side),
                };
            }
            None
        };
        self.all().take(self.kept.len()).map(beyond).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{RemovedRun, hand_on_neighbours};
    use crate::id::{Dot, SiteId};
    use crate::position::Path;

    /// Characters in a row that were written together.
    #[derive(Clone, Copy, Debug)]
    struct Piece {
        /// The signed counter of the first; those of the others follow.
        first_k: i64,
        length: usize,
        for_good: bool,
    }

    impl Piece {
        fn first(self) -> Dot {
            Dot::new(SiteId::leased(0, 1), self.first_k.unsigned_abs())
        }

        fn last(self) -> Dot {
            Dot::new(SiteId::leased(0, 1), (self.first_k + self.length as i64 - 1).unsigned_abs())
        }

        /// It, removed from between two others.
        fn removed(self, left: Option<Dot>, right: Option<Dot>) -> RemovedRun {
            let text = "x".repeat(self.length);
            RemovedRun { path: Path::default(), text, site: self.first().site, first_k: self.first_k, left, right }
        }
    }

    proptest! {
        /// Pieces in a row go one after the other, some for good. The others stood beside what was there when they went and is
        /// not gone for good. Between two halves of what was written together, forwards or backwards, there may be something
        /// else: once that is gone they go together.
        #[test]
        fn neighbours_are_what_is_not_gone(
            pieces in prop::collection::vec((1_usize..4, any::<bool>(), any::<bool>(), any::<bool>()), 1..20),
            order in prop::collection::vec(any::<prop::sample::Index>(), 40),
        ) {
            let mut row: Vec<Piece> = Vec::new();
            for (number, &(length, backwards, parted, for_good)) in (1..).zip(&pieces) {
                let first_k = if backwards { -100 * number } else { 100 * number };
                row.push(Piece { first_k, length, for_good });
                if parted {
                    row.push(Piece { first_k: 100 * number + 50, length: 1, for_good: !for_good });
                    row.push(Piece { first_k: first_k + length as i64, length, for_good });
                }
            }
            let (mut kept, mut gone, mut expected) = (Vec::new(), Vec::new(), Vec::new());
            let mut order = order.iter().cycle();
            while let Some(index) = order.next().filter(|_| !row.is_empty()) {
                let at = index.index(row.len());
                let mut piece = row.remove(at);
                while row.get(at).is_some_and(|next| next.first_k == piece.first_k + piece.length as i64) {
                    piece.length += row.remove(at).length;
                }
                let (before, behind) = row.split_at(at);
                let removed = piece.removed(before.last().map(|left| left.last()), behind.first().map(|right| right.first()));
                if piece.for_good {
                    gone.push((kept.len(), removed));
                } else {
                    let left = before.iter().rfind(|left| !left.for_good).map(|left| left.last());
                    let right = behind.iter().find(|right| !right.for_good).map(|right| right.first());
                    kept.push(removed);
                    expected.push((left, right));
                }
            }
            let gone: Vec<_> = gone.iter().map(|(kept, run)| (*kept, run)).collect();
            hand_on_neighbours(&mut kept, &gone);
            let beside: Vec<_> = kept.iter().map(|run| (run.left, run.right)).collect();
            prop_assert_eq!(beside, expected);
        }
    }
}
