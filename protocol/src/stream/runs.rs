//! The runs a stream spoke of: what the paths of later inserts are told by.
//!
//! A path element is a character that was inserted, so a path is named by the run its last element is in, and what stands
//! above it follows. A run's number is its place in the memory; messages count back from the newest.
//!
//! ```text
//!  old generation           young generation
//! [ run | moved | run ... ][ run | run | run ... ]   no run stands below one that is older than its generation
//! ```
//!
//! When the young generation is full, the old one is forgotten and the young one becomes old. An old run that is used is
//! copied into the young generation first, after those it stands below: what is in use stays, and no run loses its parent.
//! That is the least recently used first, by halves, without a list to keep in order.

use selvedge_engine::{COUNTER_END, Digit, Direction, Dot, Element, PATH_LEVELS_MAX, Path, SiteId};

use crate::error::DecodeError;

/// Young runs beyond which a new generation begins, looked at when a delta begins. Two generations and what one delta adds
/// are some 520 KB at most, and a number among them takes two bytes with the character, three from the older half. Two times
/// 6,000 letters written anywhere would take a fifth more bytes with half of it, and a hundredth fewer with twice as much; people's
/// editing needs less.
pub const GENERATION_RUNS: usize = 4000;

/// A character of a run, by the run's number and its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Atom {
    pub(super) run: u32,
    pub(super) counter: u64,
}

/// Characters of one site at one place. Counters within may be missing: the site did something else meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// What it stands below; `None`: the root.
    pub(super) parent: Option<Atom>,
    pub(super) digit: Digit,
    pub(super) site: SiteId,
    pub(super) direction: Direction,
    /// At least 1, below [`COUNTER_END`].
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Run {
    /// The run of one path element.
    pub(super) fn of_element(parent: Option<Atom>, element: Element) -> Self {
        let counter = element.k.unsigned_abs();
        let direction = if element.k < 0 { Direction::Before } else { Direction::After };
        Self { parent, digit: element.digit, site: element.site, direction, first: counter, last: counter }
    }

    pub(super) fn element(&self, counter: u64) -> Element {
        let k = match self.direction {
            Direction::After => counter as i64,
            Direction::Before => (counter as i64).wrapping_neg(),
        };
        Element { digit: self.digit, site: self.site, k }
    }

    pub(super) fn holds(&self, counter: u64) -> bool {
        self.first <= counter && counter <= self.last
    }

    /// The digit this run has if it was not chosen but follows from its first character.
    pub(super) fn hashed(&self, level: usize) -> Digit {
        Digit::hashed(Dot::new(self.site, self.first), level)
    }

    pub(super) fn is_valid(&self) -> bool {
        0 < self.first && self.first <= self.last && self.last < COUNTER_END
    }
}

/// A place in the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Run(Run),
    /// It was used again, and is now the run of this number.
    Moved(u32),
}

/// The memory; equal on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    slots: Vec<Slot>,
    /// Number of the young generation's first.
    young: u32,
}

impl Runs {
    /// Whether it is time to [`turn`](Self::turn).
    pub(super) fn is_full(&self) -> bool {
        self.slots.len() - self.young as usize > GENERATION_RUNS
    }

    /// Forgets the old generation; the young one becomes old. Every number falls by what is returned; smaller ones are gone.
    pub(super) fn turn(&mut self) -> u32 {
        let gone = self.young;
        self.slots.drain(..gone as usize);
        for slot in &mut self.slots {
            // All of them were young: none is moved, and no parent is gone.
            if let Slot::Run(Run { parent: Some(atom), .. }) = slot {
                atom.run -= gone;
            }
        }
        self.young = self.len();
        gone
    }

    /// The number that a run has now.
    pub(super) fn now(&self, number: u32) -> u32 {
        match self.slot(number) {
            Some(Slot::Moved(to)) => *to,
            _ => number,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Number of the young generation's first.
    pub(super) fn young(&self) -> u32 {
        self.young
    }

    pub(super) fn slot(&self, number: u32) -> Option<&Slot> {
        self.slots.get(number as usize)
    }

    /// A run, wherever it is now. `None` if there is no such number.
    pub(super) fn get(&self, number: u32) -> Option<&Run> {
        match self.slot(self.now(number))? {
            Slot::Run(run) => Some(run),
            Slot::Moved(_) => None,
        }
    }

    /// The elements from `atom` up to the root.
    ///
    /// # Errors
    /// They are too many.
    pub(super) fn path(&self, atom: Option<Atom>) -> Result<Path, DecodeError> {
        let mut elements = Vec::with_capacity(8);
        let mut next = atom;
        while let Some(atom) = next {
            let run = self.get(atom.run).ok_or(DecodeError::Malformed("a run nobody spoke of"))?;
            if elements.len() == PATH_LEVELS_MAX {
                return Err(DecodeError::TooLarge { what: "a path", most: PATH_LEVELS_MAX });
            }
            elements.push(run.element(atom.counter));
            next = run.parent;
        }
        elements.reverse();
        Ok(elements.into())
    }

    /// Whether `elements`, from the root down, are those of `atom`. O(d).
    pub(super) fn is_path(&self, atom: Option<Atom>, elements: &[Element]) -> bool {
        let mut next = atom;
        for element in elements.iter().rev() {
            let Some((atom, run)) = next.and_then(|atom| Some((atom, self.get(atom.run)?))) else { return false };
            if run.element(atom.counter) != *element {
                return false;
            }
            next = run.parent;
        }
        next.is_none()
    }

    /// How many levels are above the characters of `run`. O(d).
    pub(super) fn level(&self, run: &Run) -> usize {
        let above = core::iter::successors(run.parent, |atom| self.get(atom.run)?.parent);
        above.take(PATH_LEVELS_MAX).count()
    }

    /// Remembers a run. Its parent is young, or becomes so. `None`, and nothing remembered, if no insert can be meant:
    /// that delta is refused.
    pub(super) fn push(&mut self, run: Run) -> Option<u32> {
        if !run.is_valid() {
            return None;
        }
        let parent = run.parent.map(|atom| Atom { run: self.refresh(atom.run), ..atom });
        let number = self.len();
        self.slots.push(Slot::Run(Run { parent, ..run }));
        Some(number)
    }

    /// The number of a run once it and those it stands below are young. Those are at most [`PATH_LEVELS_MAX`].
    pub(super) fn refresh(&mut self, number: u32) -> u32 {
        if number >= self.young {
            return number;
        }
        match self.slots[number as usize] {
            Slot::Moved(to) => to,
            Slot::Run(run) => {
                let parent = run.parent.map(|atom| Atom { run: self.refresh(atom.run), ..atom });
                let to = self.len();
                self.slots.push(Slot::Run(Run { parent, ..run }));
                self.slots[number as usize] = Slot::Moved(to);
                to
            }
        }
    }

    /// The character `back` before the last of a run.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn atom(&self, number: u32, back: u64) -> Result<Atom, DecodeError> {
        let run = self.get(number).ok_or(DecodeError::Malformed("a run nobody spoke of"))?;
        let counter = run.last.checked_sub(back).filter(|&counter| run.holds(counter));
        Ok(Atom { run: number, counter: counter.ok_or(DecodeError::Malformed("a character outside its run"))? })
    }

    /// The memory of a state that is being read, its old runs yet to come.
    pub(super) fn of_old(count: u32) -> Self {
        Self { slots: vec![Slot::Moved(u32::MAX); count as usize], young: count }
    }

    /// The next young run of a state.
    pub(super) fn push_read(&mut self, run: Run) {
        self.slots.push(Slot::Run(run));
    }

    /// An old run of a state, all young ones of which are there. `false` if it moved to nowhere.
    pub(super) fn set_old(&mut self, number: u32, slot: Slot) -> bool {
        let leads = match slot {
            Slot::Run(_) => true,
            Slot::Moved(to) => to >= self.young && self.slot(to).is_some(),
        };
        self.slots[number as usize] = slot;
        leads
    }

    /// The site went on to `last` in this run, which is young. `false` if its counters do not rise.
    pub(super) fn extend(&mut self, number: u32, first: u64, last: u64) -> bool {
        match self.slots.get_mut(number as usize) {
            Some(Slot::Run(run)) if run.last < first && first <= last && last < COUNTER_END => {
                run.last = last;
                true
            }
            _ => false,
        }
    }
}
