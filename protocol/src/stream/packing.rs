//! Long deltas made short: the texts of their inserts apart from what says where they stand, each packed for itself.
//!
//! Letters are like letters, and numbers like numbers: apart, each is told in the bits that it takes, and what comes again is found sooner.

use core::ops::Range;

use selvedge_engine::packing::{deflate, inflate};
use selvedge_engine::{DELTA_BYTES_MAX, Delta, Op};

use super::code;
use crate::error::DecodeError;
use crate::varint::{Reader, write_varint};

/// Shorter deltas are not packed: that itself costs more than it could win.
pub(super) const PACKED_FROM_BYTES: usize = 256;
/// Shorter parts go as they are, for the same reason.
const PART_BYTES_MIN: usize = 64;
/// Bytes of a delta in stream form that may be packed: twice those of the longest durable form, since nothing says that this one is
/// shorter. Longer ones go as they are.
pub(super) const UNPACKED_BYTES_MAX: usize = 2 * DELTA_BYTES_MAX;

/// What one delta may hold at most. Some of it takes few bytes, and packed even fewer: without limits a short frame could claim much
/// memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes in stream form.
    pub(super) bytes: usize,
    pub(super) operations: usize,
    /// Elements of the paths of all operations: an extension names a path in one byte.
    pub(super) elements: usize,
}

impl Limits {
    /// Those of a delta that is not packed; its bytes bound its operations.
    pub(super) const PLAIN: Self = Self { bytes: usize::MAX, operations: usize::MAX, elements: 256 * 1024 };

    /// Those of a delta in so many packed bytes.
    fn packed(bytes: usize) -> Self {
        Self {
            bytes: UNPACKED_BYTES_MAX.min(8 * bytes),
            operations: 2 * bytes,
            elements: Self::PLAIN.elements.min(16 * bytes),
        }
    }

    /// Whether they allow a delta that takes `bytes` bytes.
    fn allow(self, delta: &Delta, bytes: usize) -> bool {
        let elements: usize = delta.ops.iter().map(elements_of).sum();
        bytes <= self.bytes && delta.ops.len() <= self.operations && elements <= self.elements
    }
}

/// Elements of an operation's path.
pub(super) fn elements_of(op: &Op) -> usize {
    match op {
        Op::Insert { parent, .. } => parent.depth(),
        Op::Rebase(rebase) => rebase.parent.depth(),
        _ => 0,
    }
}

/// Packs `delta`, which goes from `start` to the end with its texts at `texts`, if that is shorter and within what a reader takes.
#[inline(never)]
pub(super) fn pack(start: usize, texts: &[Range<usize>], delta: &Delta, out: &mut Vec<u8>) {
    let length = out.len() - start;
    if length > UNPACKED_BYTES_MAX {
        return;
    }
    let (mut numbers, mut letters) = (Vec::new(), Vec::new());
    let mut at = start;
    for text in texts {
        numbers.extend_from_slice(&out[at..text.start]);
        letters.extend_from_slice(&out[text.clone()]);
        at = text.end;
    }
    numbers.extend_from_slice(&out[at..]);
    let mut shorter = vec![code::PACKED];
    let numbers = shortest(numbers, &mut shorter);
    let letters = shortest(letters, &mut shorter);
    let allowed = Limits::packed(numbers.len() + letters.len()).allow(delta, length);
    shorter.extend_from_slice(&numbers);
    shorter.extend_from_slice(&letters);
    if allowed && shorter.len() < length {
        out.truncate(start);
        out.append(&mut shorter);
    }
}

/// A part as it goes, whose lengths are written.
#[inline(never)]
fn shortest(part: Vec<u8>, out: &mut Vec<u8>) -> Vec<u8> {
    let length = part.len();
    let packed = if length < PART_BYTES_MIN { Vec::new() } else { deflate(&part) };
    let shortest = if (1..length).contains(&packed.len()) { packed } else { part };
    write_varint(out, length as u64);
    write_varint(out, shortest.len() as u64);
    shortest
}

/// A delta that was packed.
pub(super) struct Unpacked {
    /// All of it but the texts of inserts.
    pub(super) numbers: Vec<u8>,
    pub(super) texts: Texts,
    pub(super) limits: Limits,
}

impl Unpacked {
    /// Reads what stands behind the byte that says it is one.
    ///
    /// # Errors
    /// It is more than its bytes may be, or not packed as it says.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [numbers, numbers_packed, texts, texts_packed] = lengths(reader)?;
        let limits = Limits::packed((numbers_packed + texts_packed).min(reader.remaining()));
        if numbers + texts > limits.bytes {
            return Err(DecodeError::TooLarge { what: "a packed delta", most: limits.bytes });
        }
        let numbers = part(reader, numbers, numbers_packed)?;
        let texts = String::from_utf8(part(reader, texts, texts_packed)?);
        let texts = texts.map_err(|_| DecodeError::Malformed("text that is not UTF-8"))?;
        Ok(Self { numbers, texts: Texts { all: texts, at: 0 }, limits })
    }
}

fn lengths(reader: &mut Reader<'_>) -> Result<[usize; 4], DecodeError> {
    let mut lengths = [0; 4];
    for length in &mut lengths {
        *length = reader.length(UNPACKED_BYTES_MAX)?;
    }
    Ok(lengths)
}

/// One part, which may be as it was.
#[inline(never)]
fn part(reader: &mut Reader<'_>, length: usize, packed: usize) -> Result<Vec<u8>, DecodeError> {
    let bytes = reader.take(packed)?;
    if length == packed {
        return Ok(bytes.to_vec());
    }
    inflate(bytes, length).map_err(|_| DecodeError::Malformed("a delta that is not packed as it says"))
}

/// The texts of the inserts of a delta, one behind the other.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    all: String,
    at: usize,
}

impl Texts {
    /// The next one, of `length` bytes.
    pub(super) fn next(&mut self, length: usize) -> Result<String, DecodeError> {
        let text = self.all.get(self.at..).and_then(|rest| rest.get(..length));
        let text = text.ok_or(DecodeError::Malformed("a text that is not there"))?;
        self.at += length;
        Ok(text.to_owned())
    }

    /// Whether all have come.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.all.len()
    }
}
