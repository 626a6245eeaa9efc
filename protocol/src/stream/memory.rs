//! What both sides of a stream remember: numbers of sites, runs, and where each site's last delta and insert were.

use rustc_hash::FxHashMap;
use selvedge_engine::{Digit, Direction, DotRange, Element, Path, SiteId, SiteKind};

use super::code;
use super::runs::{Atom, Run, Runs, Slot};
use crate::error::DecodeError;
use crate::varint::{Reader, unzigzag, write_varint, zigzag};

/// Sites remembered when a delta begins; beyond it everything is forgotten.
pub const SITES_MAX: usize = 1024;
/// Path elements of the sites' places when a delta begins; beyond it everything is forgotten.
pub const ELEMENTS_MAX: usize = 4096;
/// Most sites a state handed over may name: what one delta can add to a full memory.
const STATE_SITES_MAX: usize = SITES_MAX + 8 * 1024;

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
    numbers: FxHashMap<SiteId, u32>,
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

    /// The memory as bytes, for a reader that joins. O(size).
    ///
    /// ```text
    /// varint sites; site each; varint number of the last delta's site + 1, 0 none; runs; then per site:
    /// varint next, varint number of the site of its last deletion + 1, 0 none (with one: varint first, varint last - first),
    /// varint number of the run of its place + 1, 0 none
    /// ```
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_varint(out, self.known.len() as u64);
        for known in &self.known {
            write_site(known.site, out);
        }
        write_varint(out, self.last.map_or(0, |number| u64::from(number) + 1));
        self.write_runs(out);
        for known in &self.known {
            write_varint(out, known.next);
            match known.deleted.and_then(|range| Some((range, self.number(range.site)?))) {
                None => write_varint(out, 0),
                Some((range, number)) => {
                    write_varint(out, u64::from(number) + 1);
                    write_varint(out, range.first);
                    write_varint(out, range.last.wrapping_sub(range.first));
                }
            }
            write_varint(out, known.place.as_ref().map_or(0, |place| u64::from(self.runs.now(place.run)) + 1));
        }
    }

    /// ```text
    /// varint old, varint young; young runs, old runs, in the order of their numbers
    /// run     varint 0: moved, varint its number - number of the first young one
    ///                1: below the root, n: below the run whose number is less by n - 1, varint last of that one - counter
    ///         unless moved: varint number of the site, varint zigzag digit (0: the hash of the first dot), varint first,
    ///         varint (last - first) * 2 + 1 if k falls
    /// ```
    fn write_runs(&self, out: &mut Vec<u8>) {
        let (young, end) = (self.runs.young(), self.runs.len());
        write_varint(out, u64::from(young));
        write_varint(out, u64::from(end - young));
        for number in (young..end).chain(0..young) {
            match self.runs.slot(number) {
                Some(Slot::Run(run)) => self.write_run(number, run, out),
                Some(Slot::Moved(to)) => {
                    out.push(0);
                    write_varint(out, u64::from(to - young));
                }
                None => {}
            }
        }
    }

    fn write_run(&self, number: u32, run: &Run, out: &mut Vec<u8>) {
        match run.parent.and_then(|atom| Some((atom, self.runs.get(atom.run)?))) {
            None => out.push(1),
            Some((atom, parent)) => {
                write_varint(out, u64::from(number - atom.run) + 1);
                write_varint(out, parent.last - atom.counter);
            }
        }
        write_varint(out, self.number(run.site).map_or(u64::MAX, u64::from));
        let hashed = run.digit == run.hashed(self.runs.level(run));
        write_varint(out, if hashed { 0 } else { zigzag(run.digit.get()) });
        write_varint(out, run.first);
        write_varint(out, (run.last - run.first) << 1 | u64::from(run.direction == Direction::Before));
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let count = reader.length(STATE_SITES_MAX.min(bytes.len() / 4))?;
        let mut memory = Self::default();
        for _ in 0..count {
            let site = match reader.varint()? {
                code::NEW_SITE => read_site(&mut reader)?,
                code::NEW_LEASED => read_leased(&mut reader)?,
                _ => return Err(DecodeError::Malformed("a site that is not spelled")),
            };
            memory.add(site)?;
        }
        memory.last = memory.site_or_none(reader.varint()?)?.and_then(|site| memory.number(site));
        memory.read_runs(&mut reader)?;
        for number in 0..count {
            let author = Author { site: memory.known[number].site, number: number as u32 };
            memory.known[number].next = reader.varint()?;
            if let Some(of) = memory.site_or_none(reader.varint()?)? {
                let first = reader.varint()?;
                memory.set_deleted(author, DotRange { site: of, first, last: first.wrapping_add(reader.varint()?) });
            }
            let place = match reader.varint()?.checked_sub(1) {
                None => None,
                Some(number) => Some(memory.place_at(number)?),
            };
            memory.set_place(author, place);
        }
        if reader.is_empty() { Ok(memory) } else { Err(DecodeError::Malformed("bytes after a stream's state")) }
    }

    fn place_at(&self, number: u64) -> Result<Place, DecodeError> {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let run = self.runs.get(number).ok_or(DecodeError::Malformed("a place nobody spoke of"))?;
        let parent = self.runs.path(run.parent)?;
        Ok(Place { run: number, parent, digit: run.digit, direction: run.direction })
    }

    fn read_runs(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        // A run takes two bytes at least.
        let young = reader.length(reader.remaining() / 2)? as u32;
        let count = reader.length(reader.remaining() / 2)? as u32;
        self.runs = Runs::of_old(young);
        for number in young..young + count {
            match self.read_run(number, reader)? {
                Slot::Run(run) if run.parent.is_none_or(|atom| atom.run >= young) => self.runs.push_read(run),
                _ => return Err(DecodeError::Malformed("a new run on an old one")),
            }
        }
        for number in 0..young {
            let slot = self.read_run(number, reader)?;
            if !self.runs.set_old(number, slot) {
                return Err(DecodeError::Malformed("a run moved nowhere"));
            }
        }
        Ok(())
    }

    fn read_run(&self, number: u32, reader: &mut Reader<'_>) -> Result<Slot, DecodeError> {
        let parent = match reader.varint()? {
            0 => {
                let to = reader.varint()?.saturating_add(u64::from(self.runs.young()));
                return Ok(Slot::Moved(u32::try_from(to).unwrap_or(u32::MAX)));
            }
            1 => None,
            back => {
                let above =
                    u64::from(number).checked_sub(back - 1).ok_or(DecodeError::Malformed("a run before all"))?;
                Some(self.runs.atom(above as u32, reader.varint()?)?)
            }
        };
        let site = self.site(reader.varint()?)?;
        let digit = reader.varint()?;
        let first = reader.varint()?;
        let length = reader.varint()?;
        let direction = if length & 1 == 0 { Direction::After } else { Direction::Before };
        let run = Run {
            parent,
            digit: Digit::new(unzigzag(digit)),
            site,
            direction,
            first,
            last: first.saturating_add(length >> 1),
        };
        if !run.is_valid() {
            return Err(DecodeError::Malformed("a run of no counters"));
        }
        let digit = if digit == 0 { run.hashed(self.runs.level(&run)) } else { run.digit };
        Ok(Slot::Run(Run { digit, ..run }))
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
