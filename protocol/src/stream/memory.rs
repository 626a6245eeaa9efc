//! What both sides of a stream remember: numbers of sites, and where each site's last delta and insert were.

use rustc_hash::FxHashMap;
use selvedge_engine::{Digit, Direction, DotRange, Element, Path, SiteId};

use crate::error::DecodeError;
use crate::varint::{Reader, unzigzag, write_varint, zigzag};

/// Sites remembered when a delta begins; beyond it everything is forgotten.
pub const SITES_MAX: usize = 1024;
/// Path elements remembered when a delta begins; beyond it everything is forgotten.
pub const ELEMENTS_MAX: usize = 4096;
/// Most sites a state handed over may name: what one delta can add to a full memory.
const STATE_SITES_MAX: usize = SITES_MAX + 8 * 1024;

/// Where a site's last insert stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) parent: Path,
    pub(super) digit: Digit,
    pub(super) direction: Direction,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    site: SiteId,
    /// The counter that would continue this site's last delta; 0: none seen.
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
    /// The site of the delta before.
    last: Option<SiteId>,
}

impl Memory {
    /// Both sides call this where a delta begins.
    pub(super) fn begin_delta(&mut self) {
        if self.known.len() > SITES_MAX || self.elements > ELEMENTS_MAX {
            *self = Self::default();
        }
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

    /// Gives `site` the next number. The caller made sure that it has none.
    pub(super) fn add(&mut self, site: SiteId) {
        self.numbers.insert(site, self.known.len() as u32);
        self.known.push(Known { site, next: 0, place: None, deleted: None });
    }

    /// The counter that continues the site's last delta; 0: none seen.
    pub(super) fn next(&self, site: SiteId) -> u64 {
        self.of(site).map_or(0, |known| known.next)
    }

    pub(super) fn set_next(&mut self, site: SiteId, next: u64) {
        if let Some(known) = self.of_mut(site) {
            known.next = next;
        }
    }

    /// The site of the delta before; `None` where the stream begins.
    pub(super) const fn last_site(&self) -> Option<SiteId> {
        self.last
    }

    /// A delta of `site` ends before counter `next`.
    pub(super) fn end_delta(&mut self, site: SiteId, next: u64) {
        self.last = Some(site);
        self.set_next(site, next);
    }

    /// The last range this site deleted.
    pub(super) fn deleted(&self, site: SiteId) -> Option<DotRange> {
        self.of(site).and_then(|known| known.deleted)
    }

    pub(super) fn set_deleted(&mut self, site: SiteId, range: DotRange) {
        if let Some(known) = self.of_mut(site) {
            known.deleted = Some(range);
        }
    }

    pub(super) fn place(&self, site: SiteId) -> Option<&Place> {
        self.of(site).and_then(|known| known.place.as_ref())
    }

    pub(super) fn set_place(&mut self, site: SiteId, place: Place) {
        let depth = place.parent.depth();
        if let Some(known) = self.of_mut(site) {
            let before = known.place.replace(place).map_or(0, |place| place.parent.depth());
            self.elements = self.elements + depth - before;
        }
    }

    fn of(&self, site: SiteId) -> Option<&Known> {
        self.number(site).and_then(|number| self.known.get(number as usize))
    }

    fn of_mut(&mut self, site: SiteId) -> Option<&mut Known> {
        let number = self.number(site)?;
        self.known.get_mut(number as usize)
    }

    /// The memory as bytes, for a reader that joins. O(size).
    ///
    /// ```text
    /// varint sites; per site: 8 bytes little-endian; varint number of the last delta's site + 1, 0 none; then per site:
    /// varint next, varint number of the site of its last deletion + 1, 0 none (with one: varint first, varint last - first),
    /// u8 place (0 none, 1 after, 2 before; with one: varint zigzag digit, varint depth, elements (varint zigzag digit,
    /// varint site number, varint zigzag k))
    /// ```
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_varint(out, self.known.len() as u64);
        for known in &self.known {
            out.extend_from_slice(&known.site.get().to_le_bytes());
        }
        write_varint(out, self.last.and_then(|site| self.number(site)).map_or(0, |number| u64::from(number) + 1));
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
            let Some(place) = &known.place else {
                out.push(0);
                continue;
            };
            out.push(if place.direction == Direction::After { 1 } else { 2 });
            write_varint(out, zigzag(place.digit.get()));
            write_varint(out, place.parent.depth() as u64);
            for element in place.parent.elements() {
                write_varint(out, zigzag(element.digit.get()));
                write_varint(out, u64::from(self.number(element.site).unwrap_or(u32::MAX)));
                write_varint(out, zigzag(element.k));
            }
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let count = reader.length(STATE_SITES_MAX.min(bytes.len() / 10))?;
        let mut memory = Self::default();
        for _ in 0..count {
            let site = read_site(&mut reader)?;
            if memory.number(site).is_some() {
                return Err(DecodeError::Malformed("a site named twice"));
            }
            memory.add(site);
        }
        memory.last = memory.site_or_none(reader.varint()?)?;
        for number in 0..count {
            let site = memory.known[number].site;
            memory.set_next(site, reader.varint()?);
            if let Some(of) = memory.site_or_none(reader.varint()?)? {
                let first = reader.varint()?;
                memory.set_deleted(site, DotRange { site: of, first, last: first.wrapping_add(reader.varint()?) });
            }
            let direction = match reader.byte()? {
                0 => continue,
                1 => Direction::After,
                2 => Direction::Before,
                _ => return Err(DecodeError::Malformed("a direction")),
            };
            let digit = Digit::new(unzigzag(reader.varint()?));
            let mut parent = Path::root();
            for _ in 0..reader.length(selvedge_engine::PATH_LEVELS_MAX)? {
                let digit = Digit::new(unzigzag(reader.varint()?));
                let site = memory.site(reader.varint()?)?;
                parent.push(Element { digit, site, k: unzigzag(reader.varint()?) });
            }
            memory.set_place(site, Place { parent, digit, direction });
        }
        if reader.is_empty() { Ok(memory) } else { Err(DecodeError::Malformed("bytes after a stream's state")) }
    }
}

/// Reads eight bytes as a site.
pub(super) fn read_site(reader: &mut Reader<'_>) -> Result<SiteId, DecodeError> {
    let site = SiteId::new(reader.site_number()?);
    if site.is_valid() { Ok(site) } else { Err(DecodeError::Malformed("a number that is no site")) }
}
