//! Where the writing side finds a run it remembers: by a character, or by the place it stands at.
//!
//! Reading needs none of it: numbers say it all. Sorted maps, since their keys come from strangers.

use selvedge_engine::{Digit, Element, Path, SiteId, SortedMap};

use super::runs::{Atom, Run, Runs, Slot};

/// The number of the newest run of each kind. What is found is compared with what is looked for, level by level: two paths
/// may claim one dot.
#[derive(Clone, Debug, Default)]
pub(super) struct RunIndex {
    /// By the first counter.
    dots: SortedMap<(SiteId, u64), u32>,
    /// By digit and the counter of the character it stands below, 0 for the root.
    places: SortedMap<(SiteId, Digit, u64), u32>,
    /// Runs from this number on are not in it yet.
    end: u32,
}

impl RunIndex {
    /// Takes up what `runs` remembers since.
    #[inline]
    pub(super) fn catch_up(&mut self, runs: &Runs) {
        if self.end < runs.len() {
            self.add(runs);
        }
    }

    fn add(&mut self, runs: &Runs) {
        while let Some(slot) = runs.slot(self.end) {
            if let Slot::Run(run) = slot {
                self.dots.insert((run.site, run.first), self.end);
                self.places.insert(place(run.site, run.digit, run.parent.map(|atom| atom.counter)), self.end);
            }
            self.end += 1;
        }
    }

    /// Every number fell by `gone`.
    pub(super) fn turn(&mut self, gone: u32) {
        let fall = |number: &mut u32| {
            let left = number.checked_sub(gone);
            *number = left.unwrap_or(0);
            left.is_some()
        };
        self.dots.retain(|_, number| fall(number));
        self.places.retain(|_, number| fall(number));
        self.end = self.end.saturating_sub(gone);
    }

    /// The newest run of `site` at `digit` below `parent`.
    pub(super) fn beside(&self, runs: &Runs, site: SiteId, parent: &Path, digit: Digit) -> Option<u32> {
        let above = parent.last().map(|element| element.k.unsigned_abs());
        let number = *self.places.get(&place(site, digit, above))?;
        let run = self.run(runs, number)?;
        (run.digit == digit && run.site == site && runs.is_path(run.parent, parent.elements())).then_some(number)
    }

    /// The deepest element of `path` that is remembered, and its level + 1; else the root and 0. O(d log r) where a dot has
    /// one path, r = runs remembered.
    pub(super) fn deepest(&self, runs: &Runs, path: &Path) -> (Option<Atom>, usize) {
        let elements = path.elements();
        for depth in (1..=elements.len()).rev() {
            let atom = self.atom(runs, elements[depth - 1]);
            if atom.is_some() && runs.is_path(atom, &elements[..depth]) {
                return (atom, depth);
            }
        }
        (None, 0)
    }

    fn atom(&self, runs: &Runs, element: Element) -> Option<Atom> {
        let counter = element.k.unsigned_abs();
        let (&(site, _), &number) = self.dots.floor(&(element.site, counter))?;
        let run = self.run(runs, number)?;
        (site == element.site && run.holds(counter)).then_some(Atom { run: number, counter })
    }

    /// A run that is where its number says: others were moved, and are in the index by their new number.
    fn run<'a>(&self, runs: &'a Runs, number: u32) -> Option<&'a Run> {
        match runs.slot(number)? {
            Slot::Run(run) => Some(run),
            Slot::Moved(_) => None,
        }
    }
}

fn place(site: SiteId, digit: Digit, above: Option<u64>) -> (SiteId, Digit, u64) {
    (site, digit, above.unwrap_or(0))
}
