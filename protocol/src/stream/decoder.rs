//! Stream form to deltas.

use selvedge_engine::{
    COUNTER_END, DELTA_BYTES_MAX, Delta, Digit, Direction, Dot, DotRange, Element, META_KEY_BYTES_MAX,
    META_VALUE_BYTES_MAX, OP_RANGES_MAX, OP_TEXT_BYTES_MAX, Op, PATH_LEVELS_MAX, Path, Piece, Rebase, SiteId,
};

use super::code;
use super::memory::{Author, Memory, read_leased, read_site};
use super::packing::{Limits, Texts, Unpacked, elements_of};
use super::runs::{Atom, Run};
use crate::error::DecodeError;
use crate::varint::{Reader, unzigzag};

/// The reading side of a stream.
#[derive(Clone, Debug, Default)]
pub struct StreamDecoder {
    memory: Memory,
    typing: Option<Typing>,
    /// The texts of a delta that is being read, where they stand apart.
    texts: Option<Texts>,
}

/// Whose place was found valid last: its path need not be looked at again for each letter typed there.
#[derive(Clone, Copy, Debug)]
struct Typing {
    author: Author,
    /// Up to this counter k is as long as it was, and with it the identifier.
    until: u64,
}

impl Typing {
    /// `author` inserted counters up to `last`, which is below 2^53.
    fn at(author: Author, last: u64) -> Self {
        let bytes = (u64::BITS - (last << 1).leading_zeros()).div_ceil(7);
        Self { author, until: ((1 << (7 * bytes - 1)) - 1).min(COUNTER_END - 1) }
    }
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
        Ok(Self { memory: Memory::read(bytes)?, typing: None, texts: None })
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
        if byte == code::PACKED {
            return self.packed(reader);
        }
        self.plain(byte, Limits::PLAIN, reader)
    }

    /// A delta that is packed by itself.
    #[inline(never)]
    fn packed(&mut self, reader: &mut Reader<'_>) -> Result<Delta, DecodeError> {
        let Unpacked { numbers, texts, limits } = Unpacked::read(reader)?;
        let mut numbers = Reader::new(&numbers);
        let byte = numbers.byte()?;
        self.texts = Some(texts);
        let delta = self.plain(byte, limits, &mut numbers);
        let whole = self.texts.take().is_some_and(|texts| texts.is_empty()) && numbers.is_empty();
        if whole || delta.is_err() { delta } else { Err(DecodeError::Malformed("more than a delta in one")) }
    }

    /// A delta within these limits whose first byte is this.
    fn plain(&mut self, byte: u8, limits: Limits, reader: &mut Reader<'_>) -> Result<Delta, DecodeError> {
        if byte & 0b111 != code::DELTA {
            let author = self.memory.last_author().ok_or(DecodeError::Malformed("an operation of nobody"))?;
            let first = self.memory.next_of(author);
            return self.ops((author, first, 1), Some(byte), limits, reader);
        }
        let site = match u64::from(byte >> code::WHO_SHIFT) {
            code::WHO_BEHIND => {
                let who = reader.varint()?;
                if who < code::WHO_BEHIND {
                    return Err(DecodeError::Malformed("a site's number longer than its shortest form"));
                }
                self.site(who, reader)?
            }
            who => self.site(who, reader)?,
        };
        let author = self.memory.author(site).ok_or(DecodeError::Malformed("an operation of nobody"))?;
        let first = if byte & code::CONTINUES != 0 { self.memory.next_of(author) } else { reader.varint()? };
        let count = if byte & code::SINGLE != 0 { 1 } else { reader.varint()? };
        // Every operation takes a byte at least.
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > reader.remaining() {
            return Err(DecodeError::Incomplete);
        }
        if count > limits.operations {
            return Err(DecodeError::TooLarge { what: "the operations of a delta", most: limits.operations });
        }
        self.ops((author, first, count), None, limits, reader)
    }

    /// The delta of an author's `count` operations from counter `first` on, of the first of which the first byte may be read already.
    fn ops(
        &mut self,
        (author, first, count): (Author, u64, usize),
        byte: Option<u8>,
        limits: Limits,
        reader: &mut Reader<'_>,
    ) -> Result<Delta, DecodeError> {
        let extends = byte.is_some_and(|byte| byte & 0b111 == code::EXTEND);
        let mut byte = byte;
        // Most deltas are one operation: room for four, as a vector begins with, would be most of what a keystroke claims.
        let mut delta = Delta { site: author.site, first, ops: Vec::with_capacity(count.min(4)) };
        let mut counter = first;
        let mut elements = 0;
        for _ in 0..count {
            let byte = byte.take().map_or_else(|| reader.byte(), Ok)?;
            let op = self.op(author, counter, byte, reader)?;
            elements += elements_of(&op);
            if elements > limits.elements {
                return Err(DecodeError::TooLarge { what: "the paths of a delta", most: limits.elements });
            }
            counter = counter.saturating_add(op.counters());
            delta.ops.push(op);
        }
        if extends && self.stays_valid(author, &delta, counter) {
            debug_assert_eq!(delta.validate(), Ok(()), "what is typed at a valid place is valid");
        } else {
            delta.validate().map_err(|error| DecodeError::Delta(error.to_string()))?;
            if !is_short(&delta) && delta.encode().len() > DELTA_BYTES_MAX {
                return Err(DecodeError::TooLarge { what: "a delta", most: DELTA_BYTES_MAX });
            }
            let is_insert = |op: &Op| matches!(op, Op::Insert { .. });
            if delta.ops.iter().any(is_insert) {
                // The place is another one now. Where the delta ends tells how long k is only there if that is its insert.
                self.typing = delta.ops.last().is_some_and(is_insert).then(|| Typing::at(author, counter - 1));
            }
        }
        self.memory.end_delta(author, counter);
        Ok(delta)
    }

    /// Whether a delta that only extends the author's last insert, and ends before counter `next`, is as valid as that was.
    fn stays_valid(&self, author: Author, delta: &Delta, next: u64) -> bool {
        let typing =
            self.typing.is_some_and(|typing| typing.author == author && next.saturating_sub(1) <= typing.until);
        typing && matches!(&delta.ops[..], [Op::Insert { text, .. }] if !text.is_empty())
    }

    fn op(&mut self, author: Author, first: u64, byte: u8, reader: &mut Reader<'_>) -> Result<Op, DecodeError> {
        match byte & 0b111 {
            code::EXTEND => {
                let length = number(byte, OP_TEXT_BYTES_MAX as u64, reader)?;
                let text = self.text(reader, length as usize)?;
                self.extend(author, first, text)
            }
            code::BELOW => {
                let length = number(byte, OP_TEXT_BYTES_MAX as u64, reader)?;
                let parent = self.atom(reader)?;
                let path = self.path_of(author, parent)?;
                let digit = Digit::hashed(Dot::new(author.site, first), path.depth());
                self.insert(
                    author,
                    first,
                    Stand { parent, path, digit, direction: Direction::After },
                    length as usize,
                    reader,
                )
            }
            code::BESIDE => self.beside(author, first, byte, reader),
            code::APART => self.apart(author, first, byte, reader),
            code::DELETE => {
                let ranges = self.ranges(author.site, first, byte, reader)?;
                if let Some(last) = ranges.last() {
                    self.memory.set_deleted(author, *last);
                }
                Ok(Op::Delete { ranges })
            }
            code::DELETE_DOT => {
                let range = self.dot(author, first, number(byte, u64::MAX, reader)?)?;
                self.memory.set_deleted(author, range);
                Ok(Op::Delete { ranges: vec![range] })
            }
            code::OTHER => match u64::from(byte >> 3) {
                code::REBASE => self.rebase(author.site, first, reader),
                code::VOID => Ok(Op::Void { length: reader.varint()? }),
                code::META => meta(reader),
                _ => Err(DecodeError::Malformed("an operation nobody knows")),
            },
            _ => Err(DecodeError::Malformed("a delta within a delta")),
        }
    }

    fn extend(&mut self, author: Author, first: u64, text: String) -> Result<Op, DecodeError> {
        let place = self.memory.place(author).ok_or(DecodeError::Malformed("an extension of nothing"))?;
        let op = Op::Insert { parent: place.parent.clone(), digit: place.digit, direction: place.direction, text };
        self.memory.extend(author, first, last(first, &op));
        Ok(op)
    }

    fn beside(&mut self, author: Author, first: u64, byte: u8, reader: &mut Reader<'_>) -> Result<Op, DecodeError> {
        let length = short_number(byte, OP_TEXT_BYTES_MAX, reader)?;
        let number = self.run_number(reader.varint()?)?;
        let runs = self.memory.runs();
        let run = runs.get(number).filter(|run| run.site == author.site);
        let &Run { parent, digit, .. } = run.ok_or(DecodeError::Malformed("a run of another site"))?;
        let direction = if flag(byte) { Direction::Before } else { Direction::After };
        let stand = Stand { parent, path: self.path_of(author, parent)?, digit, direction };
        self.insert(author, first, stand, length, reader)
    }

    fn apart(&mut self, author: Author, first: u64, byte: u8, reader: &mut Reader<'_>) -> Result<Op, DecodeError> {
        let length = short_number(byte, OP_TEXT_BYTES_MAX, reader)?;
        let stand = if flag(byte) {
            self.path(Dot::new(author.site, first), reader)?
        } else {
            let parent = self.atom(reader)?;
            let digit = Digit::new(unzigzag(reader.varint()?));
            Stand { parent, path: self.path_of(author, parent)?, digit, direction: Direction::After }
        };
        self.insert(author, first, stand, length, reader)
    }

    fn insert(
        &mut self,
        author: Author,
        first: u64,
        stand: Stand,
        length: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Op, DecodeError> {
        let Stand { parent, path, digit, direction } = stand;
        let text = self.text(reader, length)?;
        let op = Op::Insert { parent: path.clone(), digit, direction, text };
        self.memory.insert(
            author,
            Run { parent, digit, site: author.site, direction, first, last: last(first, &op) },
            path,
        );
        Ok(op)
    }

    /// The text of an insert.
    fn text(&mut self, reader: &mut Reader<'_>, length: usize) -> Result<String, DecodeError> {
        match &mut self.texts {
            Some(texts) => texts.next(length),
            None => text(reader, length),
        }
    }

    fn rebase(&mut self, site: SiteId, counter: u64, reader: &mut Reader<'_>) -> Result<Op, DecodeError> {
        let Stand { path: parent, digit, .. } = self.path(Dot::new(site, counter), reader)?;
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

    /// Where something stands that names more than what is remembered. `dot` is its first.
    fn path(&mut self, dot: Dot, reader: &mut Reader<'_>) -> Result<Stand, DecodeError> {
        let above = self.atom(reader)?;
        let mut elements = self.memory.runs().path(above)?.elements().to_vec();
        let byte = reader.byte()?;
        let direction = if byte & 1 == 0 { Direction::After } else { Direction::Before };
        let (shared, count) = (elements.len(), usize::from(byte >> 1));
        if shared + count > PATH_LEVELS_MAX {
            return Err(DecodeError::TooLarge { what: "a path", most: PATH_LEVELS_MAX });
        }
        for level in shared..shared + count {
            // The digit may be a hash of the element's dot, which comes behind it.
            let digit = reader.varint()?;
            let site = self.who(reader)?;
            let k = unzigzag(reader.varint()?);
            let dot = Dot::new(site, k.unsigned_abs());
            let digit = if digit == 0 { Digit::hashed(dot, level) } else { Digit::new(unzigzag(digit)) };
            elements.push(Element { digit, site, k });
        }
        let digit = match reader.varint()? {
            0 => Digit::hashed(dot, elements.len()),
            written => Digit::new(unzigzag(written)),
        };
        let parent = self.memory.push_elements(above, &elements[shared..]);
        Ok(Stand { parent, path: elements.into(), digit, direction })
    }

    /// The path of `parent`. In memory once if it is that of the author's place.
    fn path_of(&self, author: Author, parent: Option<Atom>) -> Result<Path, DecodeError> {
        let runs = self.memory.runs();
        match self.memory.place(author) {
            Some(place) if runs.get(place.run).is_some_and(|run| run.parent == parent) => Ok(place.parent.clone()),
            _ => runs.path(parent),
        }
    }

    /// A character of a remembered run, or the root.
    fn atom(&self, reader: &mut Reader<'_>) -> Result<Option<Atom>, DecodeError> {
        let Some(code) = reader.varint()?.checked_sub(1) else { return Ok(None) };
        let number = self.run_number(code >> 2)?;
        let back = match code & 3 {
            code::ATOM_BEHIND => reader.varint()?.saturating_add(code::ATOM_BEHIND),
            back => back,
        };
        self.memory.runs().atom(number, back).map(Some)
    }

    /// The number of the run that is `back` before the newest.
    fn run_number(&self, back: u64) -> Result<u32, DecodeError> {
        let number = u64::from(self.memory.runs().len()).checked_sub(back.saturating_add(1));
        number.map(|number| number as u32).ok_or(DecodeError::Malformed("a run nobody spoke of"))
    }

    /// The dot that the operation `counter` of `author` names by a number.
    fn dot(&self, author: Author, counter: u64, number: u64) -> Result<DotRange, DecodeError> {
        let before = self.memory.deleted(author).ok_or(DecodeError::Malformed("a dot beside no deletion"));
        let (site, dot) = match number {
            code::BEFORE_LAST => before.map(|before| (before.site, before.first.checked_sub(1)))?,
            code::BEHIND_LAST => before.map(|before| (before.site, before.last.checked_add(1)))?,
            _ => (author.site, counter.saturating_add(1).checked_sub(number)),
        };
        let dot = dot.ok_or(DecodeError::Malformed("a dot below the first"))?;
        Ok(DotRange { site, first: dot, last: dot })
    }

    fn ranges(
        &mut self,
        site: SiteId,
        counter: u64,
        byte: u8,
        reader: &mut Reader<'_>,
    ) -> Result<Vec<DotRange>, DecodeError> {
        let own = flag(byte);
        let mut ranges: Vec<DotRange> = Vec::new();
        for _ in 0..short_number(byte, OP_RANGES_MAX, reader)? {
            let site = if own { site } else { self.who(reader)? };
            let code = reader.varint()?;
            let start = code >> 2;
            let first = match ranges.last().filter(|before| before.site == site) {
                Some(before) => before.last.wrapping_add(start).wrapping_add(2),
                None if own => counter.wrapping_sub(start),
                None => self.memory.next(site).wrapping_sub(unzigzag(start) as u64),
            };
            let others = match code & 3 {
                code::RANGE_BEHIND => reader.varint()?.saturating_add(code::RANGE_BEHIND),
                others => others,
            };
            ranges.push(DotRange { site, first, last: first.wrapping_add(others) });
        }
        Ok(ranges)
    }

    fn who(&mut self, reader: &mut Reader<'_>) -> Result<SiteId, DecodeError> {
        let who = reader.varint()?;
        self.site(who, reader)
    }

    fn site(&mut self, who: u64, reader: &mut Reader<'_>) -> Result<SiteId, DecodeError> {
        let site = match who {
            code::NEW_SITE => read_site(reader)?,
            code::NEW_LEASED => read_leased(reader)?,
            number => return self.memory.site(number - code::SITES),
        };
        self.memory.add(site)?;
        Ok(site)
    }
}

/// Where text stands: `path` is that of `parent`.
struct Stand {
    parent: Option<Atom>,
    path: Path,
    digit: Digit,
    direction: Direction,
}

/// Bytes of an element, a range or a piece in the durable form, at most: a piece whose site is spelled takes most.
const ITEM_BYTES_MAX: usize = 5 + 3 + 10 + 8 + 8;
/// Bytes of a header, and of what else an operation has, at most.
const REST_BYTES_MAX: usize = 32;

/// Whether the durable bytes of a valid delta are surely no more than they may be. O(operations).
fn is_short(delta: &Delta) -> bool {
    let most = |op: &Op| {
        let (items, bytes) = match op {
            Op::Insert { parent, text, .. } => (parent.depth(), text.len()),
            Op::Delete { ranges } => (ranges.len(), 0),
            Op::Meta { key, value, .. } => (0, key.len() + value.as_ref().map_or(0, Vec::len)),
            Op::Rebase(rebase) => (rebase.parent.depth() + rebase.pieces.len(), 0),
            Op::Void { .. } => (0, 0),
        };
        items * ITEM_BYTES_MAX + bytes + REST_BYTES_MAX
    };
    delta.ops.iter().map(most).sum::<usize>() + REST_BYTES_MAX <= DELTA_BYTES_MAX
}

/// The counter of an operation's last character.
fn last(first: u64, op: &Op) -> u64 {
    first.saturating_add(op.counters()).saturating_sub(1)
}

/// The number of an operation's byte, or behind it.
fn number(byte: u8, most: u64, reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let number = match u64::from(byte >> 3) {
        code::INLINE_END => reader.varint()?,
        number => number,
    };
    if number <= most { Ok(number) } else { Err(DecodeError::TooLarge { what: "an operation", most: most as usize }) }
}

/// The flag of an operation's byte that has one.
const fn flag(byte: u8) -> bool {
    byte & 1 << 3 != 0
}

/// The number of an operation's byte beside its flag, or behind it.
fn short_number(byte: u8, most: usize, reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    match byte >> code::SHORT_SHIFT {
        0 => match usize::try_from(reader.varint()?) {
            Ok(number) if number <= most => Ok(number),
            _ => Err(DecodeError::TooLarge { what: "an operation", most }),
        },
        number => Ok(usize::from(number)),
    }
}

fn meta(reader: &mut Reader<'_>) -> Result<Op, DecodeError> {
    let length = reader.length(META_KEY_BYTES_MAX)?;
    let key = text(reader, length)?;
    let value = match reader.byte()? {
        0 => None,
        1 => Some(reader.bytes(META_VALUE_BYTES_MAX)?.to_vec()),
        _ => return Err(DecodeError::Malformed("a flag")),
    };
    Ok(Op::Meta { key, value, lamport: reader.varint()? })
}

fn text(reader: &mut Reader<'_>, length: usize) -> Result<String, DecodeError> {
    let bytes = reader.take(length)?;
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(DecodeError::Malformed("text that is not UTF-8")),
    }
}
