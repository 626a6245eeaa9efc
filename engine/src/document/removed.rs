//! What an edit did, in the form that takes it back: dots it inserted, text it removed.

use super::neighbours::hand_on_neighbours;
use super::remote::scalars;
use crate::dots::DotSet;
use crate::id::{Dot, DotRange, SiteId};
use crate::position::Path;
use crate::sorted_map::SortedMap;

/// Characters that stood side by side and were removed together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RemovedRun {
    /// Where the first one is put back: its path, or that of the character it was restored for.
    pub(crate) path: Path,
    /// Where it stood, if that is another path.
    pub(crate) stood: Option<Path>,
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

    pub(crate) fn scalars(&self) -> usize {
        self.text.chars().count()
    }

    /// The part of it with these characters, as if the run had been removed part by part: what stood before them went before.
    pub(crate) fn part(&self, skip: usize, count: usize) -> Self {
        let behind = self.first_k + (skip + count) as i64;
        let whole_end = skip + count == self.scalars();
        Self {
            path: along(&self.path, skip),
            stood: self.stood.as_ref().map(|path| along(path, skip)),
            text: scalars(&self.text, skip, count).to_owned(),
            site: self.site,
            first_k: self.first_k + skip as i64,
            left: self.left,
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
        let mut forgotten: Vec<(usize, RemovedRun)> = Vec::new();
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
                    forgotten.push((self.removed.len(), piece));
                } else {
                    self.removed.push(piece);
                }
            }
        }
        let forgotten: Vec<_> = forgotten.iter().map(|(kept, run)| (*kept, run)).collect();
        hand_on_neighbours(&mut self.removed, &forgotten);
    }
}

/// All that was put back at once.
#[derive(Debug, Default)]
pub(crate) struct Renames {
    by_old: SortedMap<Dot, Renamed>,
}

impl Renames {
    pub(crate) fn push(&mut self, part: Renamed) {
        self.by_old.insert(Dot::new(part.old.site, part.old.first), part);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Renamed> {
        self.by_old.values()
    }

    pub(crate) fn into_parts(self) -> impl Iterator<Item = Renamed> {
        self.by_old.into_iter().map(|(_, part)| part)
    }

    /// The dot that a character has now.
    pub(crate) fn now(&self, dot: Dot) -> Dot {
        self.by_old.floor(&dot).and_then(|(_, part)| part.rename(dot)).unwrap_or(dot)
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
