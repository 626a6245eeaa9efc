//! Packing of numbers: several columns, told in one order that writer and reader share.
//!
//! ```text
//! numbers  0  varint*
//!          1  { 0: 1 bit, none    or    1  code }*  front  back           a code per column, of classes; see `huffman`
//! front    { class  rest }*     of the first columns, forwards from the beginning; back: of the others, backwards from the end
//! class    below 16 the number itself, else 16 + 2 (e - 4) + b: a number of e + 1 bits whose second one is b; rest: the e - 1 others
//! ```
//!
//! Two sides are read at once: each bit of one waits for those before it, but not for the other side. What is random in a number are
//! its lower bits, which stay as they are; what is not is how large it is, which gets a code.

use super::bits::{BitReader, BitWriter};
use super::huffman::{CODE_BITS_MAX, Code, Counts, SYMBOLS};
use super::{Reader, Writer};
use crate::error::DecodeError;

const PLAIN: u8 = 0;
const CODED: u8 = 1;

/// Bits of a class's code at most: the tables of all columns stay in the nearest cache.
const CLASS_BITS_MAX: u32 = 9;

/// Numbers that are their own class.
const SMALL: u64 = 16;
/// The exponent of the first that is not.
const SMALL_BITS: u32 = SMALL.ilog2();
/// Classes there are: a 64-bit number has exponent 63 at most.
const CLASSES: u64 = SMALL + 2 * (u64::BITS - SMALL_BITS) as u64;

/// The class of a number, and how many bits are left of it.
const fn class_of(number: u64) -> (u8, u32) {
    if number < SMALL {
        return (number as u8, 0);
    }
    let exponent = number.ilog2();
    let second = number >> (exponent - 1) & 1;
    ((SMALL + 2 * (exponent - SMALL_BITS) as u64 + second) as u8, exponent - 1)
}

/// Numbers told by column, of which the first `FRONT` are read from the front and the others from the back.
pub(super) struct Numbers<const COLUMNS: usize, const FRONT: usize> {
    told: Vec<(u8, u64)>,
}

impl<const COLUMNS: usize, const FRONT: usize> Numbers<COLUMNS, FRONT> {
    pub(super) fn with_capacity(numbers: usize) -> Self {
        Self { told: Vec::with_capacity(numbers) }
    }

    pub(super) fn tell(&mut self, column: usize, number: u64) {
        self.told.push((column as u8, number));
    }

    /// Their bytes as varints.
    pub(super) fn leave(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(2 * self.told.len());
        writer.byte(PLAIN);
        self.told.iter().for_each(|&(_, number)| writer.varint(number));
        writer.finish()
    }

    /// Their bytes in the shorter form.
    pub(super) fn pack(&self) -> Vec<u8> {
        let (plain, coded) = (self.leave(), self.coded());
        if coded.len() < plain.len() { coded } else { plain }
    }

    #[inline(never)]
    fn coded(&self) -> Vec<u8> {
        let mut counts: [Counts; COLUMNS] = [[0; SYMBOLS]; COLUMNS];
        for &(column, number) in &self.told {
            counts[usize::from(column)][usize::from(class_of(number).0)] += 1;
        }
        let mut header = BitWriter::default();
        header.put(u64::from(CODED), u8::BITS);
        let codes = counts.map(|counts| {
            let code = counts.iter().any(|&count| count > 0).then(|| Code::of(&counts, CLASS_BITS_MAX));
            header.put(u64::from(code.is_some()), 1);
            code.map(|code| {
                code.write(&mut header);
                code.codes()
            })
        });
        let (mut front, mut back) = (BitWriter::default(), BitWriter::default());
        for &(column, number) in &self.told {
            let writer = if usize::from(column) < FRONT { &mut front } else { &mut back };
            let (class, rest) = class_of(number);
            let (code, length) = codes[usize::from(column)].as_ref().map_or((0, 0), |codes| codes[usize::from(class)]);
            writer.put(u64::from(code), u32::from(length));
            let high = rest.saturating_sub(u32::BITS);
            let left = number & ((1 << rest) - 1);
            writer.put(left >> (rest - high), high);
            writer.put(left & ((1 << (rest - high)) - 1), rest - high);
        }
        let mut bytes = header.finish();
        bytes.extend(front.finish());
        bytes.extend(back.finish().into_iter().rev());
        bytes
    }
}

/// Numbers to read, in the order they were told.
pub(super) enum NumberReader<'a, const COLUMNS: usize, const FRONT: usize> {
    Plain(Reader<'a>),
    Coded(CodedReader<'a, COLUMNS>),
}

/// Numbers as codes of classes.
pub(super) struct CodedReader<'a, const COLUMNS: usize> {
    length: usize,
    front: BitReader<'a>,
    back: BitReader<'a, true>,
    tables: [NumberTable; COLUMNS],
}

impl<'a, const COLUMNS: usize, const FRONT: usize> NumberReader<'a, COLUMNS, FRONT> {
    #[inline(never)]
    pub(super) fn new(mut bytes: Reader<'a>) -> Result<Self, DecodeError> {
        match bytes.byte()? {
            PLAIN => Ok(Self::Plain(bytes)),
            CODED => {
                let mut header = BitReader::<'_, false>::new(bytes.rest());
                let mut tables = [const { NumberTable::NONE }; COLUMNS];
                for table in &mut tables {
                    header.refill();
                    if header.take(1) == 1 {
                        *table = NumberTable::of(&Code::read(&mut header)?)?;
                    }
                }
                let length = header.end()?;
                let coded = &bytes.rest()[bytes.remaining() - length..];
                let (front, back) = (BitReader::new(coded), BitReader::new(coded));
                Ok(Self::Coded(CodedReader { length, front, back, tables }))
            }
            _ => Err(DecodeError::Unsupported),
        }
    }

    /// The next number, which is of `column`.
    // A browser compiles what it runs first: there one copy of it counts more than the call.
    #[cfg_attr(target_family = "wasm", inline(never))]
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn next(&mut self, column: usize) -> Result<u64, DecodeError> {
        match self {
            Self::Plain(reader) => plain(reader),
            Self::Coded(CodedReader { front, tables, .. }) if column < FRONT => tables[column].number(front),
            Self::Coded(CodedReader { back, tables, .. }) => tables[column].number(back),
        }
    }

    pub(super) fn end(self) -> Result<(), DecodeError> {
        match self {
            Self::Plain(reader) => reader.end(),
            Self::Coded(CodedReader { length, front, back, .. }) => {
                // Each side has bytes of its own, and both together all.
                if front.end()? + back.end()? == length { Ok(()) } else { Err(DecodeError::NotCanonical) }
            }
        }
    }
}

/// Numbers of a class: `top` and behind it the bits that are left.
#[derive(Clone, Copy)]
struct Entry {
    top: u8,
    /// How many bits are left.
    rest: u8,
    /// Bits of the class's code.
    length: u8,
}

/// What numbers begin with, by the next bits: one step for all classes, since nobody can guess which comes.
pub(super) struct NumberTable {
    bits: u32,
    /// 2^bits of them; none if the column has no numbers.
    entries: Vec<Entry>,
    /// The only number the column has, if no bits tell it.
    lone: Option<u64>,
}

impl NumberTable {
    const NONE: Self = Self { bits: 1, entries: Vec::new(), lone: None };

    fn of(code: &Code) -> Result<Self, DecodeError> {
        let entry = |class: u8, length: u8| {
            let class = u64::from(class);
            let above = class.saturating_sub(SMALL);
            let (top, rest) =
                if class < SMALL { (class, 0) } else { (2 | above & 1, above / 2 + u64::from(SMALL_BITS) - 1) };
            (class < CLASSES).then_some(Entry { top: top as u8, rest: rest as u8, length })
        };
        let (bits, entries) = code.entries(entry).ok_or(DecodeError::NotCanonical)?;
        let lone =
            entries.first().filter(|entry| entry.length == 0 && entry.rest == 0).map(|entry| u64::from(entry.top));
        Ok(Self { bits, entries, lone })
    }

    #[inline(always)]
    fn number<const BACKWARDS: bool>(&self, reader: &mut BitReader<'_, BACKWARDS>) -> Result<u64, DecodeError> {
        if let Some(lone) = self.lone {
            return Ok(lone);
        }
        reader.refill();
        let &Entry { top, rest, length } = self.entries.get(reader.peek(self.bits)).ok_or(DecodeError::NotCanonical)?;
        reader.skip(u32::from(length));
        let (top, rest) = (u64::from(top), u32::from(rest));
        if rest <= u32::BITS { Ok(top << rest | reader.take(rest)) } else { Ok(long(top, rest, reader)) }
    }
}

/// A number as it is.
#[cfg_attr(target_family = "wasm", inline(never))]
fn plain(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    reader.varint()
}

/// A number of which more than 32 bits are left.
#[cold]
#[inline(never)]
fn long<const BACKWARDS: bool>(top: u64, rest: u32, reader: &mut BitReader<'_, BACKWARDS>) -> u64 {
    let high = reader.take(rest - u32::BITS);
    reader.refill();
    top << rest | high << u32::BITS | reader.take(u32::BITS)
}

const _: () = assert!(CODE_BITS_MAX + u32::BITS <= super::bits::REFILLED);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![8 => 0_u64..4, 4 => 0_u64..300, 2 => any::<u32>().prop_map(u64::from), 1 => any::<u64>(), 1 => Just(u64::MAX)]
    }

    proptest! {
        #[test]
        fn numbers_survive_their_bytes(told in prop::collection::vec((0_usize..3, number()), 0..300)) {
            let mut numbers = Numbers::<3, 1>::with_capacity(told.len());
            told.iter().for_each(|&(column, number)| numbers.tell(column, number));
            for bytes in [numbers.leave(), numbers.pack(), numbers.coded()] {
                let mut reader = NumberReader::<3, 1>::new(Reader::new(&bytes)).unwrap();
                for &(column, number) in &told {
                    prop_assert_eq!(reader.next(column), Ok(number));
                }
                prop_assert_eq!(reader.end(), Ok(()));
            }
            prop_assert!(numbers.pack().len() <= numbers.leave().len());
        }

        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let Ok(mut reader) = NumberReader::<2, 1>::new(Reader::new(&bytes)) else { return Ok(()) };
            for column in (0..50).map(|at| at % 2) {
                let _ = reader.next(column);
            }
            let _ = reader.end();
        }
    }
}
