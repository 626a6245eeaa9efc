//! What an edit did, in the form that takes it back: dots it inserted, text it removed.

use super::remote::scalars;
use crate::dots::DotSet;
use crate::id::{Dot, DotRange, SiteId};
use crate::position::Path;

/// Characters that stood side by side and were removed together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RemovedRun {
    /// Where the first one is put back: its path, or that of the character it was restored for.
    pub(crate) path: Path,
    pub(crate) text: String,
    /// The site and signed counter of the first one; those of the others follow along the text.
    pub(crate) site: SiteId,
    pub(crate) first_k: i64,
    /// The neighbours when it was removed.
    pub(crate) left: Option<Dot>,
    pub(crate) right: Option<Dot>,
}

impl RemovedRun {
    /// The dots of its characters `skip..skip + count`.
    pub(crate) fn dots(&self, skip: usize, count: usize) -> DotRange {
        let first = (self.first_k + skip as i64).unsigned_abs();
        let last = (self.first_k + (skip + count) as i64 - 1).unsigned_abs();
        DotRange { site: self.site, first: first.min(last), last: first.max(last) }
    }

    /// Whether a dot is one of its characters'.
    pub(crate) fn has(&self, dot: Dot) -> bool {
        let dots = self.dots(0, self.scalars());
        dot.site == dots.site && (dots.first..=dots.last).contains(&dot.counter)
    }

    pub(crate) fn scalars(&self) -> usize {
        self.text.chars().count()
    }

    /// The part of it with these characters.
    pub(crate) fn part(&self, skip: usize, count: usize) -> Self {
        let behind = self.first_k + (skip + count) as i64;
        let before = self.first_k + skip as i64 - 1;
        let whole_end = skip + count == self.scalars();
        Self {
            path: along(&self.path, skip),
            text: scalars(&self.text, skip, count).to_owned(),
            site: self.site,
            first_k: self.first_k + skip as i64,
            left: if skip == 0 { self.left } else { Some(Dot::new(self.site, before.unsigned_abs())) },
            right: if whole_end { self.right } else { Some(Dot::new(self.site, behind.unsigned_abs())) },
        }
    }
}

/// The path `skip` characters further along a run.
pub(crate) fn along(path: &Path, skip: usize) -> Path {
    let mut elements = path.elements().to_vec();
    if let Some(last) = elements.last_mut() {
        last.k += skip as i64;
    }
    elements.into()
}

/// What an edit did here: the dots it inserted, and the text it removed in the order of removal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) inserted: DotSet,
    pub(crate) removed: Vec<RemovedRun>,
}

impl Change {
    pub(crate) fn is_empty(&self) -> bool {
        self.inserted.is_empty() && self.removed.is_empty()
    }

    /// Forgets text that this change itself inserted and removed again, among the runs from the `from`-th on: those before are
    /// settled, and what was inserted since is not in them.
    pub(crate) fn settle(&mut self, from: usize) {
        let removed = self.removed.split_off(from);
        let mut forgotten: Vec<RemovedRun> = Vec::new();
        for run in removed {
            let dots = run.dots(0, run.scalars());
            if self.inserted.first_within(dots).is_none() {
                self.removed.push(run);
                continue;
            }
            let mut parts = self.inserted.divide(dots);
            if run.first_k < 0 {
                parts.reverse();
            }
            for (part, own) in parts {
                let skip = if run.first_k > 0 { part.first - dots.first } else { dots.last - part.last };
                let piece = run.part(skip as usize, (part.last + 1 - part.first) as usize);
                if own {
                    self.inserted.remove(part);
                    forgotten.push(piece);
                } else {
                    self.removed.push(piece);
                }
            }
        }
        hand_on_neighbours(&mut self.removed, &forgotten);
    }
}

/// Which of `runs` stood beside text that is gone for good stands beside what stood beyond that: O((r + g) log g), r and g = runs of each.
pub(crate) fn hand_on_neighbours(runs: &mut [RemovedRun], gone: &[RemovedRun]) {
    if gone.is_empty() {
        return;
    }
    let mut places: Vec<(DotRange, usize)> =
        gone.iter().enumerate().map(|(at, run)| (run.dots(0, run.scalars()), at)).collect();
    places.sort_unstable();
    let lefts = Beyond::new(&places, gone.iter().map(|run| run.left).collect());
    let rights = Beyond::new(&places, gone.iter().map(|run| run.right).collect());
    for run in runs {
        run.left = run.left.and_then(|dot| lefts.of(dot));
        run.right = run.right.and_then(|dot| rights.of(dot));
    }
}

/// What stands on one side of runs that are gone, beyond all of them.
struct Beyond<'a> {
    /// Where the dots of each run are among `next`, in order.
    places: &'a [(DotRange, usize)],
    /// Per run.
    next: Vec<Option<Dot>>,
}

impl<'a> Beyond<'a> {
    /// Of runs with these neighbours when they went.
    fn new(places: &'a [(DotRange, usize)], next: Vec<Option<Dot>>) -> Self {
        let mut beyond = Self { places, next };
        let mut settled = vec![false; beyond.next.len()];
        for first in 0..settled.len() {
            let (mut way, mut at) = (Vec::new(), first);
            // A run that is on the way already is taken for settled: what went later never stands beyond what went before.
            while !core::mem::replace(&mut settled[at], true) {
                way.push(at);
                match beyond.next[at].and_then(|dot| beyond.run_of(dot)) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            let end = beyond.next[at];
            way.into_iter().for_each(|run| beyond.next[run] = end);
        }
        beyond
    }

    fn run_of(&self, dot: Dot) -> Option<usize> {
        let behind = self.places.partition_point(|(dots, _)| (dots.site, dots.first) <= (dot.site, dot.counter));
        let (dots, run) = self.places[behind.checked_sub(1)?];
        (dots.site == dot.site && dot.counter <= dots.last).then_some(run)
    }

    /// The dot itself, unless it is of one of the runs.
    fn of(&self, dot: Dot) -> Option<Dot> {
        self.run_of(dot).map_or(Some(dot), |run| self.next[run])
    }
}

/// Characters that were put back: their old dots and their new ones.
#[derive(Clone, Debug)]
pub(crate) struct Renamed {
    /// Where the first one was put back.
    pub(crate) path: Path,
    pub(crate) old: DotRange,
    /// The old counters fall along the text; the new ones always rise.
    pub(crate) falling: bool,
    pub(crate) new: DotRange,
}

impl Renamed {
    /// Replaces old dots in `set` by their new ones.
    pub(crate) fn rename_all(&self, set: &mut DotSet) {
        while let Some(part) = set.first_within(self.old) {
            set.remove(part);
            let skip = if self.falling { self.old.last - part.last } else { part.first - self.old.first };
            let first = self.new.first + skip;
            set.insert(DotRange { first, last: first + (part.last - part.first), ..self.new });
        }
    }

    /// The new dot of an old one.
    pub(crate) fn rename(&self, dot: Dot) -> Option<Dot> {
        let within = dot.site == self.old.site && (self.old.first..=self.old.last).contains(&dot.counter);
        let skip = if self.falling {
            self.old.last.wrapping_sub(dot.counter)
        } else {
            dot.counter.wrapping_sub(self.old.first)
        };
        within.then(|| Dot::new(self.new.site, self.new.first + skip))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{RemovedRun, hand_on_neighbours};
    use crate::id::{Dot, SiteId};
    use crate::position::Path;

    /// One run of `length` characters from `first` on, between two neighbours.
    fn run(first: u64, length: usize, left: Option<u64>, right: Option<u64>) -> RemovedRun {
        let site = SiteId::leased(0, 1);
        let dot = |counter| Dot::new(site, counter);
        let text = "x".repeat(length);
        RemovedRun {
            path: Path::default(),
            text,
            site,
            first_k: first as i64,
            left: left.map(dot),
            right: right.map(dot),
        }
    }

    proptest! {
        /// Characters 1 to n in a row, of which pieces go one after the other: some for good. The others stand where only those that
        /// are not gone for good count.
        #[test]
        fn neighbours_are_what_is_not_gone(
            lengths in prop::collection::vec(1_usize..4, 1..20),
            order in prop::collection::vec(any::<prop::sample::Index>(), 20),
            for_good in prop::collection::vec(any::<bool>(), 20),
        ) {
            let mut row: Vec<(u64, usize, bool)> = Vec::new();
            let mut next = 1;
            for (&length, &gone) in lengths.iter().zip(&for_good) {
                row.push((next, length, gone));
                next += length as u64;
            }
            let last = |&(first, length, _): &(u64, usize, bool)| first + length as u64 - 1;
            let (mut kept, mut gone, mut there) = (Vec::new(), Vec::new(), row.clone());
            for index in &order[..row.len()] {
                let at = index.index(there.len());
                let left = at.checked_sub(1).map(|before| last(&there[before]));
                let right = there.get(at + 1).map(|behind| behind.0);
                let (first, length, for_good) = there.remove(at);
                let piece = run(first, length, left, right);
                if for_good { gone.push(piece) } else { kept.push(piece) }
            }
            let before = kept.clone();
            hand_on_neighbours(&mut kept, &gone);
            for (run, before) in kept.iter().zip(&before) {
                let beside = |dot: Option<Dot>, forwards: bool| {
                    let mut counter = dot?.counter;
                    loop {
                        let at = row.iter().position(|piece| (piece.0..=last(piece)).contains(&counter)).unwrap();
                        if !row[at].2 {
                            return Some(counter);
                        }
                        let piece = gone.iter().find(|piece| piece.first_k as u64 == row[at].0).unwrap();
                        counter = if forwards { piece.right } else { piece.left }?.counter;
                    }
                };
                prop_assert_eq!(run.left.map(|dot| dot.counter), beside(before.left, false));
                prop_assert_eq!(run.right.map(|dot| dot.counter), beside(before.right, true));
            }
        }
    }
}
