//! Where restored text first stood: a step taken back and done again twenty times must not stand twenty levels deep, so
//! restored characters that are removed again are remembered by the path they were restored to.

use crate::document::{RemovedRun, Renamed, along};
use crate::id::{Dot, DotRange};
use crate::sorted_map::SortedMap;

/// Restored parts remembered; when there are more, all are forgotten, and identifiers may grow a little.
const PARTS_MAX: usize = 10_000;

/// Restored characters by their first new dot.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    parts: SortedMap<Dot, Renamed>,
}

impl Origins {
    pub(super) fn register(&mut self, restored: Renamed) {
        if self.parts.len() >= PARTS_MAX {
            self.parts.clear();
        }
        self.parts.insert(Dot::new(restored.new.site, restored.new.first), restored);
    }

    /// A removed run, divided into what was restored and what was not, by the paths its characters had originally.
    pub(super) fn original(&self, run: RemovedRun) -> Vec<RemovedRun> {
        // Restored text always rises.
        if self.parts.is_empty() || run.first_k < 0 {
            return vec![run];
        }
        let length = run.scalars();
        let mut parts = Vec::new();
        let mut skip = 0;
        while skip < length {
            let dots = run.dots(skip, length - skip);
            let restored = self.parts.floor(&Dot::new(dots.site, dots.first)).map(|entry| entry.1);
            match restored.filter(|known| known.new.site == dots.site && known.new.last >= dots.first) {
                Some(known) => {
                    let count = known.new.last.min(dots.last) + 1 - dots.first;
                    let path = along(&known.path, (dots.first - known.new.first) as usize);
                    let part = run.part(skip, count as usize);
                    parts.push(RemovedRun { path, stood: Some(part.path), ..part });
                    skip += count as usize;
                }
                None => {
                    let count = self.until_restored(dots);
                    parts.push(run.part(skip, count));
                    skip += count;
                }
            }
        }
        // What is removed last is put back first.
        parts
    }

    /// How many of these dots come before the next restored one.
    fn until_restored(&self, dots: DotRange) -> usize {
        let (first, last) = (Dot::new(dots.site, dots.first), Dot::new(dots.site, dots.last));
        let next = self.parts.ceiling(&first).filter(|(dot, _)| **dot <= last);
        next.map_or(dots.last + 1 - dots.first, |(dot, _)| dot.counter - dots.first) as usize
    }
}
