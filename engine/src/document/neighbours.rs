//! What stood beside removed text, not counting what is gone for good.
//!
//! ```text
//! the text       L Y x B         x is gone for good: what one step wrote and removed again stays away when it is undone
//! removed        B between x and nothing, Y between L and x, x between L and nothing; in this order
//! put back       Y between L and nothing, B between Y and nothing
//! ```
//!
//! Who stood beside such text stands beside what stood beyond it at that time, not when it went itself: what had stood between may
//! have gone before it. So all is put back into a row, the last first, what is gone for good is taken out of it, and then the
//! others go again as they went: each between what is left.

use super::removed::RemovedRun;
use crate::id::{Dot, DotRange};

/// Which of `kept` stood beside text that is gone for good stands beside what stood beyond that then. Each of `gone` went when
/// so many of `kept` had. O(n log n), n = runs of both; O(k log g) if none of the k stood beside any of the g.
pub(crate) fn hand_on_neighbours(kept: &mut [RemovedRun], gone: &[(usize, &RemovedRun)]) {
    if gone.is_empty() {
        return;
    }
    let known = Known::of(gone.iter().map(|(_, run)| *run));
    let is_gone = |dot: Option<Dot>| dot.is_some_and(|dot| known.run_of(dot).is_some());
    if !kept.iter().any(|run| is_gone(run.left) || is_gone(run.right)) {
        return;
    }
    let mut order: Vec<&RemovedRun> = Vec::with_capacity(kept.len() + gone.len());
    let mut is_kept = Vec::with_capacity(order.capacity());
    let mut gone = gone.iter().peekable();
    for number in 0..=kept.len() {
        while let Some((_, run)) = gone.next_if(|(before, _)| *before <= number) {
            order.push(run);
            is_kept.push(false);
        }
        order.extend(kept.get(number));
        is_kept.resize(order.len(), true);
    }
    let mut row = Row::of(&order);
    for run in (0..order.len()).rev() {
        // Of two neighbours the one that is gone counts: what stood beyond it is asked for.
        let side = if is_gone(order[run].right) && !is_gone(order[run].left) { Side::Right } else { Side::Left };
        row.put_back(run, order[run], side);
    }
    let runs = || is_kept.iter().enumerate();
    for (run, _) in runs().filter(|(_, kept)| !**kept) {
        row.take_out(run);
    }
    let beside: Vec<_> = runs().filter(|(_, kept)| **kept).map(|(run, _)| row.take_out(run)).collect();
    for (run, (left, right)) in kept.iter_mut().zip(beside) {
        run.left = if is_gone(run.left) { left } else { run.left };
        run.right = if is_gone(run.right) { right } else { run.right };
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Runs by their dots.
struct Known {
    places: Vec<(DotRange, usize)>,
}

impl Known {
    fn of<'a>(runs: impl Iterator<Item = &'a RemovedRun>) -> Self {
        let mut places: Vec<_> = runs.enumerate().map(|(at, run)| (run.dots(0, run.scalars()), at)).collect();
        places.sort_unstable();
        Self { places }
    }

    /// The run that has a dot, and its dots.
    fn run_of(&self, dot: Dot) -> Option<(usize, DotRange)> {
        let behind = self.places.partition_point(|(dots, _)| (dots.site, dots.first) <= (dot.site, dot.counter));
        let (dots, run) = self.places[behind.checked_sub(1)?];
        (dots.site == dot.site && dot.counter <= dots.last).then_some((run, dots))
    }
}

/// Characters of one run between which nothing stood, or one that was not removed.
struct Piece {
    first: Dot,
    last: Dot,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Runs and what they stood beside, side by side.
struct Row {
    known: Known,
    /// Those of each run together and in order, runs in order; then those that were not removed, in order.
    pieces: Vec<Piece>,
    /// Of each piece of a run, the run and how many of its characters stand before it.
    starts: Vec<(usize, usize)>,
    /// Per run, whether its counters rise along the text.
    rising: Vec<bool>,
    stretches: Stretches,
}

impl Row {
    /// A row in which nothing stands yet.
    fn of(runs: &[&RemovedRun]) -> Self {
        let known = Known::of(runs.iter().copied());
        let rising: Vec<bool> = runs.iter().map(|run| run.first_k > 0).collect();
        let mut starts: Vec<(usize, usize)> = (0..runs.len()).map(|run| (run, 0)).collect();
        let mut standing = Vec::new();
        for run in runs {
            for (dot, behind) in run.left.map(|dot| (dot, 1)).into_iter().chain(run.right.map(|dot| (dot, 0))) {
                match known.run_of(dot) {
                    Some((run, dots)) => starts.push((run, characters_before(dot, dots, rising[run]) + behind)),
                    None => standing.push(dot),
                }
            }
        }
        starts.sort_unstable();
        starts.dedup();
        let lengths: Vec<usize> = runs.iter().map(|run| run.scalars()).collect();
        starts.retain(|&(run, start)| start < lengths[run]);
        standing.sort_unstable();
        standing.dedup();
        let mut pieces = Vec::with_capacity(starts.len() + standing.len());
        for (at, &(run, start)) in starts.iter().enumerate() {
            let end = starts.get(at + 1).filter(|next| next.0 == run).map_or(lengths[run], |next| next.1);
            let dot = |skip: usize| Dot::new(runs[run].site, (runs[run].first_k + skip as i64).unsigned_abs());
            pieces.push(Piece { first: dot(start), last: dot(end - 1), previous: None, next: None });
        }
        pieces.extend(standing.into_iter().map(|dot| Piece { first: dot, last: dot, previous: None, next: None }));
        let stretches = Stretches::of(pieces.len());
        Self { known, pieces, starts, rising, stretches }
    }

    /// The piece that has a dot.
    fn piece_of(&self, dot: Dot) -> Option<usize> {
        match self.known.run_of(dot) {
            Some((run, dots)) => {
                let at = (run, characters_before(dot, dots, self.rising[run]));
                self.starts.partition_point(|start| *start <= at).checked_sub(1)
            }
            None => {
                let standing = &self.pieces[self.starts.len()..];
                let found = standing.binary_search_by(|piece| piece.first.cmp(&dot));
                found.ok().map(|at| self.starts.len() + at)
            }
        }
    }

    fn pieces_of(&self, run: usize) -> core::ops::Range<usize> {
        self.starts.partition_point(|start| start.0 < run)..self.starts.partition_point(|start| start.0 <= run)
    }

    /// Puts a run right beside the neighbour on that side, or the other one if it has none there. What was written since it went may
    /// stand between them.
    fn put_back(&mut self, run: usize, removed: &RemovedRun, side: Side) {
        let left = removed.left.and_then(|dot| self.piece_of(dot));
        let right = removed.right.and_then(|dot| self.piece_of(dot));
        let pieces = self.pieces_of(run);
        let (first, last) = (pieces.start, pieces.end - 1);
        (first..last).for_each(|piece| self.join(piece, piece + 1));
        match (left, right) {
            (Some(left), right) if side == Side::Left || right.is_none() => {
                self.link(Some(last), self.pieces[left].next);
                self.link(Some(left), Some(first));
                self.stretches.insert_behind(left, first);
            }
            (_, Some(right)) => {
                self.link(self.pieces[right].previous, Some(first));
                self.link(Some(last), Some(right));
                self.stretches.insert_before(right, first);
            }
            _ => {}
        }
        if let Some((left, right)) = left.zip(right) {
            self.join(left, right);
        }
    }

    /// Puts the stretch of one piece before that of another, unless they are one.
    fn join(&mut self, left: usize, right: usize) {
        if let Some((tail, head)) = self.stretches.join(left, right) {
            self.link(Some(tail), Some(head));
        }
    }

    /// Takes a run out; what stands on both sides of it then.
    fn take_out(&mut self, run: usize) -> (Option<Dot>, Option<Dot>) {
        let pieces = self.pieces_of(run);
        let left = self.pieces[pieces.start].previous.map(|left| self.pieces[left].last);
        let right = self.pieces[pieces.end - 1].next.map(|right| self.pieces[right].first);
        for piece in pieces {
            let Piece { previous, next, .. } = self.pieces[piece];
            self.link(previous, next);
        }
        (left, right)
    }

    fn link(&mut self, left: Option<usize>, right: Option<usize>) {
        if let Some(left) = left {
            self.pieces[left].next = right;
        }
        if let Some(right) = right {
            self.pieces[right].previous = left;
        }
    }
}

/// What of a row is linked: disjoint sets (Tarjan, 1975) that know their ends.
struct Stretches {
    /// Per piece another one of its stretch, or itself.
    above: Vec<usize>,
    /// Of a piece that has itself there, the first and last one of its stretch.
    ends: Vec<(usize, usize)>,
}

impl Stretches {
    fn of(pieces: usize) -> Self {
        Self { above: (0..pieces).collect(), ends: (0..pieces).map(|piece| (piece, piece)).collect() }
    }

    fn of_piece(&mut self, piece: usize) -> usize {
        let mut piece = piece;
        while self.above[piece] != piece {
            self.above[piece] = self.above[self.above[piece]];
            piece = self.above[piece];
        }
        piece
    }

    /// Makes one stretch of those of two pieces, unless they are one; the last piece of the one and the first of the other.
    fn join(&mut self, left: usize, right: usize) -> Option<(usize, usize)> {
        let (left, right) = (self.of_piece(left), self.of_piece(right));
        let ((head, end), (start, tail)) = (self.ends[left], self.ends[right]);
        (self.above[right], self.ends[left]) = (left, (head, tail));
        (left != right).then_some((end, start))
    }

    /// The stretch of `new` goes into that of `left`, right behind it.
    fn insert_behind(&mut self, left: usize, new: usize) {
        let (whole, new) = (self.of_piece(left), self.of_piece(new));
        if self.ends[whole].1 == left {
            self.ends[whole].1 = self.ends[new].1;
        }
        self.above[new] = whole;
    }

    /// The stretch of `new` goes into that of `right`, right before it.
    fn insert_before(&mut self, right: usize, new: usize) {
        let (whole, new) = (self.of_piece(right), self.of_piece(new));
        if self.ends[whole].0 == right {
            self.ends[whole].0 = self.ends[new].0;
        }
        self.above[new] = whole;
    }
}

/// How many characters of a run with these dots stand before one of them.
const fn characters_before(dot: Dot, dots: DotRange, rising: bool) -> usize {
    (if rising { dot.counter - dots.first } else { dots.last - dot.counter }) as usize
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
            let (path, site) = (Path::default(), self.first().site);
            RemovedRun { path, stood: None, text, site, first_k: self.first_k, left, right }
        }
    }

    proptest! {
        /// Pieces in a row go one after the other, some for good, and others are written in between, which go for good. Those that
        /// do not stood beside what was there when they went and is not gone for good. Between two halves of what was written
        /// together, forwards or backwards, there may be something else: once that is gone they go together.
        #[test]
        fn neighbours_are_what_is_not_gone(
            pieces in prop::collection::vec((1_usize..4, any::<bool>(), any::<bool>(), any::<bool>()), 1..20),
            order in prop::collection::vec((any::<prop::sample::Index>(), prop::option::weighted(0.3, any::<prop::sample::Index>())), 40),
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
            let mut written = 10_000..10_040;
            while let Some((index, write)) = order.next().filter(|_| !row.is_empty()) {
                if let Some((write, first_k)) = write.zip(written.next()) {
                    row.insert(write.index(row.len() + 1), Piece { first_k: 10 * first_k, length: 1, for_good: true });
                }
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
