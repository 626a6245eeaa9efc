//! Stream form to deltas.

use selvedge_engine::{
    Delta, Digit, Direction, Dot, DotRange, Element, META_KEY_BYTES_MAX, META_VALUE_BYTES_MAX, OP_RANGES_MAX,
    OP_TEXT_BYTES_MAX, Op, PATH_LEVELS_MAX, Path, SiteId,
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
        let site = self.who(reader)?;
        let head = reader.varint()?;
        let first = if head & 1 == 1 { self.memory.next(site) } else { reader.varint()? };
        // Every operation takes a byte at least.
        let count = usize::try_from(head >> 1).unwrap_or(usize::MAX);
        if count > reader.remaining() {
            return Err(DecodeError::Incomplete);
        }
        let mut delta = Delta { site, first, ops: Vec::new() };
        let mut counter = first;
        let mut elements = 0;
        for _ in 0..count {
            let op = self.op(site, counter, reader)?;
            if let Op::Insert { parent, .. } = &op {
                elements += parent.depth();
            }
            if elements > DELTA_ELEMENTS_MAX {
                return Err(DecodeError::TooLarge { what: "the paths of a delta", most: DELTA_ELEMENTS_MAX });
            }
            counter = counter.saturating_add(op.counters());
            delta.ops.push(op);
        }
        delta.validate().map_err(|error| DecodeError::Delta(error.to_string()))?;
        self.memory.set_next(site, counter);
        Ok(delta)
    }

    fn op(&mut self, site: SiteId, first: u64, reader: &mut Reader<'_>) -> Result<Op, DecodeError> {
        let byte = reader.byte()?;
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
            code::DELETE => Ok(Op::Delete { ranges: self.ranges(within(OP_RANGES_MAX)?, reader)? }),
            code::META => {
                let key = text(reader, within(META_KEY_BYTES_MAX)?)?;
                let value = match reader.byte()? {
                    0 => None,
                    1 => Some(reader.bytes(META_VALUE_BYTES_MAX)?.to_vec()),
                    _ => return Err(DecodeError::Malformed("a flag")),
                };
                Ok(Op::Meta { key, value, lamport: reader.varint()? })
            }
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

    fn path(&mut self, site: SiteId, reader: &mut Reader<'_>) -> Result<Path, DecodeError> {
        let shared = reader.length(PATH_LEVELS_MAX)?;
        let others = reader.length(PATH_LEVELS_MAX)?;
        let mut path = Path::root();
        if shared > 0 {
            let before = self.memory.place(site).map_or(&[][..], |place| place.parent.elements());
            let before = before.get(..shared).ok_or(DecodeError::Malformed("a path that shares too much"))?;
            before.iter().for_each(|element| path.push(*element));
        }
        if shared + others > PATH_LEVELS_MAX {
            return Err(DecodeError::TooLarge { what: "a path", most: PATH_LEVELS_MAX });
        }
        for _ in 0..others {
            // The digit may be a hash of the element's dot, which comes behind it.
            let digit = reader.varint()?;
            let site = self.who(reader)?;
            let k = unzigzag(reader.varint()?);
            let dot = Dot::new(site, k.unsigned_abs());
            let digit = if digit == 0 { Digit::hashed(dot, path.depth()) } else { Digit::new(unzigzag(digit)) };
            path.push(Element { digit, site, k });
        }
        Ok(path)
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
