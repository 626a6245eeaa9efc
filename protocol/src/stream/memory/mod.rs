//! What both sides of a stream remember: numbers of sites, runs, and where each site's last delta and insert were.

mod state;

use std::collections::BTreeMap;

use selvedge_engine::{Digit, Direction, DotRange, Element, Path, SiteId, SiteKind};

use super::code;
use super::runs::{Atom, Run, Runs};
use crate::error::DecodeError;
use crate::varint::{Reader, write_varint};

/// Sites remembered when a delta begins; beyond it everything is forgotten.
pub const SITES_MAX: usize = 1024;
/// Path elements of the sites' places when a delta begins; beyond it everything is forgotten.
pub const ELEMENTS_MAX: usize = 4096;

/// Where a site's last insert stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The run it is remembered as.
    pub(super) run: u32,
    pub(super) parent: Path,
    pub(super) digit: Digit,
    pub(super) direction: Direction,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    site: SiteId,
    /// The counter that would continue this site's last delta.
    next: u64,
    place: Option<Place>,
    /// The last range this site deleted.
    deleted: Option<DotRange>,
}

/// The memory; equal on both sides after every delta.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    known: Vec<Known>,
    /// A tree rather than a hash table: sites come from strangers.
    numbers: BTreeMap<SiteId, u32>,
    elements: usize,
    /// The number of the site of the delta before.
    last: Option<u32>,
    runs: Runs,
}

/// The site of a delta, and its number, looked up once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Author {
    pub(super) site: SiteId,
    number: u32,
}

/// What [`Memory::begin_delta`] forgot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forgotten {
    Nothing,
    /// So many runs, the oldest; the others' numbers fell by as much.
    Runs(u32),
    Everything,
}

impl Memory {
    /// Both sides call this where a delta begins.
    #[inline]
    pub(super) fn begin_delta(&mut self) -> Forgotten {
        if self.known.len() > SITES_MAX || self.elements > ELEMENTS_MAX {
            *self = Self::default();
            return Forgotten::Everything;
        }
        if self.runs.is_full() { Forgotten::Runs(self.turn()) } else { Forgotten::Nothing }
    }

    /// Forgets the old generation of runs, and the places in it.
    fn turn(&mut self) -> u32 {
        for known in &mut self.known {
            if let Some(place) = &mut known.place {
                place.run = self.runs.now(place.run);
            }
        }
        let gone = self.runs.turn();
        for known in &mut self.known {
            let Some(place) = &mut known.place else { continue };
            match place.run.checked_sub(gone) {
                Some(run) => place.run = run,
                None => {
                    self.elements -= place.parent.depth();
                    known.place = None;
                }
            }
        }
        gone
    }

    pub(super) fn runs(&self) -> &Runs {
        &self.runs
    }

    pub(super) fn number(&self, site: SiteId) -> Option<u32> {
        self.numbers.get(&site).copied()
    }

    pub(super) fn site(&self, number: u64) -> Result<SiteId, DecodeError> {
        let known = usize::try_from(number).ok().and_then(|number| self.known.get(number));
        Ok(known.ok_or(DecodeError::Malformed("a site number nobody gave"))?.site)
    }

    /// The site of a number that is one too high, so that 0 is none.
    fn site_or_none(&self, code: u64) -> Result<Option<SiteId>, DecodeError> {
        code.checked_sub(1).map(|number| self.site(number)).transpose()
    }

    /// Gives `site` the next number.
    ///
    /// # Errors
    /// It has one.
    pub(super) fn add(&mut self, site: SiteId) -> Result<(), DecodeError> {
        if self.numbers.insert(site, self.known.len() as u32).is_some() {
            return Err(DecodeError::Malformed("a site named twice"));
        }
        self.known.push(Known { site, next: 1, place: None, deleted: None });
        Ok(())
    }

    /// The site of a delta; `None` if it has no number yet.
    #[inline]
    pub(super) fn author(&self, site: SiteId) -> Option<Author> {
        // Mostly the one who wrote before: typing looks nothing up.
        let last = self.last_author().filter(|last| last.site == site);
        last.or_else(|| self.number(site).map(|number| Author { site, number }))
    }

    /// The site of the delta before; `None` where the stream begins.
    #[inline]
    pub(super) fn last_author(&self) -> Option<Author> {
        self.last.map(|number| Author { site: self.known[number as usize].site, number })
    }

    /// The counter that continues the site's last delta; 1 where none was seen.
    pub(super) fn next(&self, site: SiteId) -> u64 {
        self.author(site).map_or(1, |author| self.next_of(author))
    }

    #[inline]
    pub(super) fn next_of(&self, author: Author) -> u64 {
        self.known[author.number as usize].next
    }

    /// A delta of `author` ends before counter `next`.
    #[inline]
    pub(super) fn end_delta(&mut self, author: Author, next: u64) {
        self.last = Some(author.number);
        self.known[author.number as usize].next = next;
    }

    /// The last range this site deleted.
    pub(super) fn deleted(&self, author: Author) -> Option<DotRange> {
        self.known[author.number as usize].deleted
    }

    pub(super) fn set_deleted(&mut self, author: Author, range: DotRange) {
        self.known[author.number as usize].deleted = Some(range);
    }

    #[inline]
    pub(super) fn place(&self, author: Author) -> Option<&Place> {
        self.known[author.number as usize].place.as_ref()
    }

    /// The site goes on with counters `first..=last` at its place.
    #[inline]
    pub(super) fn extend(&mut self, author: Author, first: u64, last: u64) {
        let Some(place) = &mut self.known[author.number as usize].place else { return };
        place.run = self.runs.refresh(place.run);
        if !self.runs.extend(place.run, first, last)
            && let Some(&before) = self.runs.get(place.run)
            && let Some(run) = self.runs.push(Run { first, last, ..before })
        {
            place.run = run;
        }
    }

    /// The author's insert stands at a new place: `run`, below `parent`, which is the path of the run's parent.
    pub(super) fn insert(&mut self, author: Author, run: Run, parent: Path) {
        let (digit, direction) = (run.digit, run.direction);
        let place = self.runs.push(run).map(|run| Place { run, parent, digit, direction });
        self.set_place(author, place);
    }

    /// Remembers the elements of a path below `parent`, and gives the last one.
    pub(super) fn push_elements(&mut self, parent: Option<Atom>, elements: &[Element]) -> Option<Atom> {
        let mut parent = parent;
        for &element in elements {
            let run = Run::of_element(parent, element);
            parent = Some(Atom { run: self.runs.push(run)?, counter: run.first });
        }
        parent
    }

    fn set_place(&mut self, author: Author, place: Option<Place>) {
        let depth = |place: &Option<Place>| place.as_ref().map_or(0, |place| place.parent.depth());
        let known = &mut self.known[author.number as usize];
        self.elements = self.elements + depth(&place) - depth(&known.place);
        known.place = place;
    }
}

/// Spells a site that gets the next number.
pub(super) fn write_site(site: SiteId, out: &mut Vec<u8>) {
    if matches!(site.kind(), SiteKind::Leased { .. }) {
        write_varint(out, code::NEW_LEASED);
        write_varint(out, site.get());
    } else {
        write_varint(out, code::NEW_SITE);
        out.extend_from_slice(&site.get().to_le_bytes());
    }
}

/// Reads eight bytes as a site.
pub(super) fn read_site(reader: &mut Reader<'_>) -> Result<SiteId, DecodeError> {
    let site = SiteId::new(reader.site_number()?);
    let spelled_long = !matches!(site.kind(), SiteKind::Leased { .. });
    if spelled_long { Ok(site) } else { Err(DecodeError::Malformed("a leased site in eight bytes")) }
}

/// Reads an integer as a leased site.
pub(super) fn read_leased(reader: &mut Reader<'_>) -> Result<SiteId, DecodeError> {
    let site = SiteId::new(reader.varint()?);
    let leased = matches!(site.kind(), SiteKind::Leased { .. }) && site.is_valid();
    if leased { Ok(site) } else { Err(DecodeError::Malformed("a number that is no leased site")) }
}
