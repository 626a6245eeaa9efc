//! Stream form to deltas.

use selvedge_engine::{
    Delta, Digit, Direction, Dot, DotRange, Element, META_KEY_BYTES_MAX, META_VALUE_BYTES_MAX, OP_RANGES_MAX,
    OP_TEXT_BYTES_MAX, Op, PATH_LEVELS_MAX, Path, Piece, Rebase, SiteId,
};

use super::code;
use super::memory::{Memory, Place, read_site};
use crate::error::DecodeError;
use crate::varint::{Reader, unzigzag};

/// Path elements that the inserts of one delta may have together. An extension names a path in one byte: without this
/// limit a short frame could claim much memory.
const DELTA_ELEMENTS_MAX: usize = 256 * 1024;

/// The reading side of a stream.
#[derive(Clone, Debug, Default)]
pub struct StreamDecoder {
    memory: Memory,
}

impl StreamDecoder {
    /// A stream that begins.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads on from a state that [`super::StreamEncoder::state`] gave.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are no state.
    pub fn from_state(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { memory: Memory::read(bytes)? })
    }

    /// Reads every delta of `bytes`. Each obeys every rule of the engine's format. After an error the stream is lost.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Vec<Delta>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut deltas = Vec::new();
        while !reader.is_empty() {
            deltas.push(self.delta(&mut reader)?);
        }
        Ok(deltas)
    }

    fn delta(&mut self, reader: &mut Reader<'_>) -> Result<Delta, DecodeError> {
        self.memory.begin_delta();
        let byte = reader.byte()?;
        if byte & 0b111 != code::DELTA {
            let site = self.memory.last_site().ok_or(DecodeError::Malformed("an operation of nobody"))?;
            let first = self.memory.next(site);
            return self.ops(site, first, Some(byte), 1, reader);
        }
        let site = match (byte >> code::SITE_SHIFT).checked_sub(1) {
            Some(number) => self.memory.site(u64::from(number))?,
            None => self.who(reader)?,
        };
        let first = if byte & code::CONTINUES != 0 { self.memory.next(site) } else { reader.varint()? };
        let count = if byte & code::SINGLE != 0 { 1 } else { reader.varint()? };
        // Every operation takes a byte at least.
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > reader.remaining() {
            return Err(DecodeError::Incomplete);
        }
        self.ops(site, first, None, count, reader)
    }

    /// The delta of `count` operations, of the first of which the first byte may be read already.
    fn ops(
        &mut self,
        site: SiteId,
        first: u64,
        byte: Option<u8>,
        count: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Delta, DecodeError> {
        let mut byte = byte;
        // Most deltas are one operation: room for four, as a vector begins with, would be most of what a keystroke claims.
        let mut delta = Delta { site, first, ops: Vec::with_capacity(count.min(4)) };
        let mut counter = first;
        let mut elements = 0;
        for _ in 0..count {
            let byte = byte.take().map_or_else(|| reader.byte(), Ok)?;
            let op = self.op(site, counter, byte, reader)?;
            elements += match &op {
                Op::Insert { parent, .. } => parent.depth(),
                Op::Rebase(rebase) => rebase.parent.depth(),
                _ => 0,
            };
            if elements > DELTA_ELEMENTS_MAX {
                return Err(DecodeError::TooLarge { what: "the paths of a delta", most: DELTA_ELEMENTS_MAX });
            }
            counter = counter.saturating_add(op.counters());
            delta.ops.push(op);
        }
        delta.validate().map_err(|error| DecodeError::Delta(error.to_string()))?;
        self.memory.end_delta(site, counter);
        Ok(delta)
    }

    fn op(&mut self, site: SiteId, first: u64, byte: u8, reader: &mut Reader<'_>) -> Result<Op, DecodeError> {
        let mut number = u64::from(byte >> 3);
        if number == code::INLINE_END {
            number = reader.varint()?;
        }
        let within = |most: usize| match usize::try_from(number) {
            Ok(number) if number <= most => Ok(number),
            _ => Err(DecodeError::TooLarge { what: "an operation", most }),
        };
        match byte & 0b111 {
            code::EXTEND => {
                let place = self.memory.place(site).ok_or(DecodeError::Malformed("an extension of nothing"))?.clone();
                let text = text(reader, within(OP_TEXT_BYTES_MAX)?)?;
                Ok(Op::Insert { parent: place.parent, digit: place.digit, direction: place.direction, text })
            }
            code::INSERT_AFTER => self.insert(site, first, Direction::After, within(OP_TEXT_BYTES_MAX)?, reader),
            code::INSERT_BEFORE => self.insert(site, first, Direction::Before, within(OP_TEXT_BYTES_MAX)?, reader),
            code::DELETE => {
                let ranges = self.ranges(within(OP_RANGES_MAX)?, reader)?;
                if let Some(last) = ranges.last() {
                    self.memory.set_deleted(site, *last);
                }
                Ok(Op::Delete { ranges })
            }
            code::DELETE_DOT => {
                let range = self.dot(site, first, number)?;
                self.memory.set_deleted(site, range);
                Ok(Op::Delete { ranges: vec![range] })
            }
            code::META => {
                let key = text(reader, within(META_KEY_BYTES_MAX)?)?;
                let value = match reader.byte()? {
                    0 => None,
                    1 => Some(reader.bytes(META_VALUE_BYTES_MAX)?.to_vec()),
                    _ => return Err(DecodeError::Malformed("a flag")),
                };
                Ok(Op::Meta { key, value, lamport: reader.varint()? })
            }
            code::VOID if number == code::REBASE => self.rebase(site, first, reader),
            code::VOID => Ok(Op::Void { length: number }),
            _ => Err(DecodeError::Malformed("an operation nobody knows")),
        }
    }

    fn insert(
        &mut self,
        site: SiteId,
        first: u64,
        direction: Direction,
        length: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Op, DecodeError> {
        let parent = self.path(site, reader)?;
        let digit = read_digit(reader, Dot::new(site, first), parent.depth())?;
        let text = text(reader, length)?;
        self.memory.set_place(site, Place { parent: parent.clone(), digit, direction });
        Ok(Op::Insert { parent, digit, direction, text })
    }

    fn rebase(&mut self, site: SiteId, counter: u64, reader: &mut Reader<'_>) -> Result<Op, DecodeError> {
        let parent = self.path(site, reader)?;
        let digit = read_digit(reader, Dot::new(site, counter), parent.depth())?;
        let (lamport, spacing) = (reader.varint()?, reader.varint()?);
        let mut pieces = Vec::new();
        let mut next_slot = 0_u64;
        for _ in 0..reader.length(OP_RANGES_MAX)? {
            let slot = next_slot.checked_add(reader.varint()?).ok_or(DecodeError::Malformed("a slot"))?;
            let site = self.who(reader)?;
            let first_k = unzigzag(reader.varint()?);
            let length = reader.varint()?.checked_add(1).ok_or(DecodeError::Malformed("a piece"))?;
            pieces.push(Piece { slot, site, first_k, length });
            next_slot = slot.checked_add(1).ok_or(DecodeError::Malformed("a slot"))?;
        }
        Ok(Op::Rebase(Box::new(Rebase { parent, digit, lamport, spacing, pieces })))
    }

    fn path(&mut self, site: SiteId, reader: &mut Reader<'_>) -> Result<Path, DecodeError> {
        let (shared, others) = match reader.byte()? {
            code::LENGTHS_BEHIND => (reader.length(PATH_LEVELS_MAX)?, reader.length(PATH_LEVELS_MAX)?),
            both => (usize::from(both & 15), usize::from(both >> 4)),
        };
        let before = self.memory.place(site).map(|place| &place.parent);
        let elements = before.map_or(&[][..], Path::elements).get(..shared);
        let elements = elements.ok_or(DecodeError::Malformed("a path that shares too much"))?;
        if shared + others > PATH_LEVELS_MAX {
            return Err(DecodeError::TooLarge { what: "a path", most: PATH_LEVELS_MAX });
        }
        if let Some(before) = before
            && others == 0
            && shared == before.depth()
        {
            // In memory once, too: a few bytes must not claim a path each.
            return Ok(before.clone());
        }
        let mut path = Vec::with_capacity(shared + others);
        path.extend_from_slice(elements);
        for level in shared..shared + others {
            // The digit may be a hash of the element's dot, which comes behind it.
            let digit = reader.varint()?;
            let site = self.who(reader)?;
            let k = unzigzag(reader.varint()?);
            let dot = Dot::new(site, k.unsigned_abs());
            let digit = if digit == 0 { Digit::hashed(dot, level) } else { Digit::new(unzigzag(digit)) };
            path.push(Element { digit, site, k });
        }
        Ok(path.into())
    }

    /// The dot that the operation `counter` of `site` names by a number.
    fn dot(&self, site: SiteId, counter: u64, number: u64) -> Result<DotRange, DecodeError> {
        let before = self.memory.deleted(site).ok_or(DecodeError::Malformed("a dot beside no deletion"));
        let (site, dot) = match number {
            code::BEFORE_LAST => before.map(|before| (before.site, before.first.checked_sub(1)))?,
            code::BEHIND_LAST => before.map(|before| (before.site, before.last.checked_add(1)))?,
            _ => (site, counter.saturating_add(1).checked_sub(number)),
        };
        let dot = dot.ok_or(DecodeError::Malformed("a dot below the first"))?;
        Ok(DotRange { site, first: dot, last: dot })
    }

    fn ranges(&mut self, count: usize, reader: &mut Reader<'_>) -> Result<Vec<DotRange>, DecodeError> {
        let mut ranges: Vec<DotRange> = Vec::new();
        for _ in 0..count {
            let site = self.who(reader)?;
            let start = reader.varint()?;
            let first = match ranges.last().filter(|previous| previous.site == site) {
                Some(previous) => previous.last.wrapping_add(start),
                None => self.memory.next(site).max(1).wrapping_sub(unzigzag(start) as u64),
            };
            let last = first.wrapping_add(reader.varint()?);
            ranges.push(DotRange { site, first, last });
        }
        Ok(ranges)
    }

    fn who(&mut self, reader: &mut Reader<'_>) -> Result<SiteId, DecodeError> {
        match reader.varint()? {
            0 => {
                let site = read_site(reader)?;
                if self.memory.number(site).is_some() {
                    return Err(DecodeError::Malformed("a site named twice"));
                }
                self.memory.add(site);
                Ok(site)
            }
            number => self.memory.site(number - 1),
        }
    }
}

fn read_digit(reader: &mut Reader<'_>, dot: Dot, level: usize) -> Result<Digit, DecodeError> {
    Ok(match reader.varint()? {
        0 => Digit::hashed(dot, level),
        written => Digit::new(unzigzag(written)),
    })
}

fn text(reader: &mut Reader<'_>, length: usize) -> Result<String, DecodeError> {
    let bytes = reader.take(length)?;
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(DecodeError::Malformed("text that is not UTF-8")),
    }
}
