//! Packing of text.
//!
//! ```text
//! text     0  bytes                          plain
//!          1  length  deflate
//!          2  length  code  halves           letters, each by its code, see `huffman`
//! halves   the first half of the letters forwards from the beginning, the others backwards from the end
//! ```
//!
//! A text goes on to the end of the bytes it is in. Deflate finds what comes again, and a code alone takes a fraction of its time where
//! nothing does. Two halves are read at once: each bit of one waits for those before it, but not for the other half.

use super::bits::{BitReader, BitWriter};
use super::huffman::{CODE_BITS_MAX, Code, Pairs, SYMBOLS, Table};
use super::{Reader, Writer, varint_len};
use crate::error::DecodeError;
use crate::packing::{deflate, inflate};

/// Shorter input is left as it is: packing itself costs more than it could win.
const PACKED_BYTES_MIN: usize = 64;
/// Bytes for every packed one at most. What packs better is left as it is, so that a decoder's memory stays within a constant of its
/// input.
const RATIO_MAX: usize = 64;

/// Whether what is written is made short, or left as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Packing {
    Shortest,
    None,
}

const PLAIN: u8 = 0;
const DEFLATE: u8 = 1;
const LETTERS: u8 = 2;

/// Writes a text, to the end of all.
#[inline(never)]
pub(super) fn write(text: &[u8], packing: Packing, writer: &mut Writer) {
    if packing == Packing::None || text.len() < PACKED_BYTES_MIN {
        return leave(text, writer);
    }
    let letters = encode_letters(text);
    let deflated = deflate(text);
    let (kind, packed) = if letters.len() <= deflated.len() { (LETTERS, letters) } else { (DEFLATE, deflated) };
    let length = varint_len(text.len() as u64);
    if length + packed.len() >= text.len() || text.len() > packed.len() * RATIO_MAX {
        return leave(text, writer);
    }
    writer.byte(kind);
    writer.varint(text.len() as u64);
    writer.raw(&packed);
}

fn leave(text: &[u8], writer: &mut Writer) {
    writer.byte(PLAIN);
    writer.raw(text);
}

/// Reads what goes on to the end.
#[inline(never)]
pub(super) fn read(mut reader: Reader<'_>) -> Result<String, DecodeError> {
    let kind = reader.byte()?;
    let bytes = match kind {
        PLAIN => reader.rest().to_vec(),
        DEFLATE | LETTERS => {
            let length = usize::try_from(reader.varint()?).map_err(|_| DecodeError::TooLarge)?;
            if length > reader.remaining().saturating_mul(RATIO_MAX) {
                return Err(DecodeError::TooLarge);
            }
            if kind == DEFLATE { inflate(reader.rest(), length)? } else { decode_letters(reader.rest(), length)? }
        }
        _ => return Err(DecodeError::Unsupported),
    };
    String::from_utf8(bytes).map_err(|_| DecodeError::Text)
}

#[inline(never)]
fn encode_letters(text: &[u8]) -> Vec<u8> {
    let mut counts = [0; SYMBOLS];
    text.iter().for_each(|&letter| counts[usize::from(letter)] += 1);
    let code = Code::of(&counts, CODE_BITS_MAX);
    let mut header = BitWriter::default();
    code.write(&mut header);
    let codes = code.codes();
    let (first, second) = text.split_at(text.len().div_ceil(2));
    let mut bytes = header.finish();
    bytes.extend(coded(first, &codes));
    bytes.extend(coded(second, &codes).into_iter().rev());
    bytes
}

#[inline(never)]
fn coded(letters: &[u8], codes: &[(u16, u8); SYMBOLS]) -> Vec<u8> {
    let mut writer = BitWriter::default();
    for &letter in letters {
        let (code, length) = codes[usize::from(letter)];
        writer.put(u64::from(code), u32::from(length));
    }
    writer.finish()
}

#[inline(never)]
fn decode_letters(packed: &[u8], length: usize) -> Result<Vec<u8>, DecodeError> {
    let mut header = BitReader::<'_, false>::new(packed);
    let table = Code::read(&mut header)?.table();
    let packed = &packed[packed.len() - header.end()?..];
    let mut text = vec![0; length];
    let (first, second) = text.split_at_mut(length.div_ceil(2));
    let mut first = Half { reader: BitReader::<'_, false>::new(packed), letters: first, count: 0 };
    let mut second = Half { reader: BitReader::<'_, true>::new(packed), letters: second, count: 0 };
    let pairs = table.pairs();
    read_both(&mut first, &mut second, &pairs);
    let (left, right) = (first.finish(&table)?, second.finish(&table)?);
    // Each half has bytes of its own, and both together all.
    if left + right == packed.len() { Ok(text) } else { Err(DecodeError::NotCanonical) }
}

/// Takes letters of both halves while each has room for a step.
#[inline(never)]
fn read_both(first: &mut Half<'_, '_, false>, second: &mut Half<'_, '_, true>, pairs: &Pairs) {
    while first.step(pairs) && second.step(pairs) {}
}

/// Letters that a step takes at most.
const STEP: usize = 8;

/// One half of the letters: where they come from, where they go, how many have come.
struct Half<'a, 'b, const BACKWARDS: bool> {
    reader: BitReader<'a, BACKWARDS>,
    letters: &'b mut [u8],
    count: usize,
}

impl<const BACKWARDS: bool> Half<'_, '_, BACKWARDS> {
    /// Takes four to eight letters, if there is room for as many.
    #[inline(always)]
    fn step(&mut self, pairs: &Pairs) -> bool {
        let Some(room) = self.letters.get_mut(self.count..).and_then(|rest| rest.first_chunk_mut::<STEP>()) else {
            return false;
        };
        self.reader.refill();
        let (mut letters, mut count) = (0, 0);
        for _ in 0..STEP / 2 {
            let (symbols, more) = pairs.symbols(&mut self.reader);
            letters |= u64::from(symbols) << (8 * count);
            count += more;
        }
        *room = letters.to_le_bytes();
        self.count += count as usize;
        true
    }

    /// Takes the letters that are left, one by one. Answers how many bytes they leave.
    fn finish(mut self, table: &Table) -> Result<usize, DecodeError> {
        for letter in &mut self.letters[self.count..] {
            self.reader.refill();
            *letter = table.symbol(&mut self.reader);
        }
        self.reader.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_survive_their_bytes(text in prop_oneof!["[a-e]{0,300}", "[ -~]{64,400}", "(warp and )?(weft|\\PC){40,90}", "a{64,200}b{0,2}"]) {
            for packing in [Packing::Shortest, Packing::None] {
                let mut writer = Writer::default();
                write(text.as_bytes(), packing, &mut writer);
                let bytes = writer.finish();
                prop_assert!(bytes.len() <= text.len() + 1);
                prop_assert_eq!(read(Reader::new(&bytes)), Ok(text.clone()));
            }
            if !text.is_empty() {
                let letters = encode_letters(text.as_bytes());
                prop_assert_eq!(decode_letters(&letters, text.len()), Ok(text.into_bytes()));
            }
        }

        #[test]
        fn nothing_grows_beyond_its_share(letter in "[a-z]", times in 1_usize..20_000) {
            let text = letter.repeat(times);
            let mut writer = Writer::default();
            write(text.as_bytes(), Packing::Shortest, &mut writer);
            let bytes = writer.finish();
            prop_assert!(text.len() <= bytes.len() * RATIO_MAX);
            prop_assert_eq!(read(Reader::new(&bytes)), Ok(text));
            let mut writer = Writer::default();
            writer.byte(DEFLATE);
            writer.varint(10_000);
            writer.raw(&deflate(&[b'a'; 10_000]));
            prop_assert_eq!(read(Reader::new(&writer.finish())), Err(DecodeError::TooLarge));
        }

        #[test]
        fn damaged_letters_are_refused_or_a_text(text in "[a-k]{100,200}", at: prop::sample::Index, byte: u8, length in 0_usize..400) {
            let mut letters = encode_letters(text.as_bytes());
            let at = at.index(letters.len());
            letters[at] = byte;
            let _ = decode_letters(&letters, length);
        }
    }
}
