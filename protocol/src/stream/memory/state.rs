//! The memory as bytes, for a reader that joins.

use selvedge_engine::{Digit, Direction, DotRange};

use super::super::code;
use super::super::runs::{Run, Runs, Slot};
use super::{Author, Memory, Place, SITES_MAX, read_leased, read_site, write_site};
use crate::error::DecodeError;
use crate::varint::{Reader, unzigzag, write_varint, zigzag};

/// Most sites a state handed over may name: what one delta can add to a full memory.
const STATE_SITES_MAX: usize = SITES_MAX + 8 * 1024;

impl Memory {
    /// The memory as bytes, for a reader that joins. O(size).
    ///
    /// ```text
    /// varint sites; site each; varint number of the last delta's site + 1, 0 none; runs; then per site:
    /// varint next, varint number of the site of its last deletion + 1, 0 none (with one: varint first, varint last - first),
    /// varint number of the run of its place + 1, 0 none
    /// ```
    pub(in crate::stream) fn write(&self, out: &mut Vec<u8>) {
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

    pub(in crate::stream) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
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
