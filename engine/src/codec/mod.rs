//! Bytes of the engine's own types: minimal varints in, checked varints out.
//!
//! A reader never panics and never reserves more than its input could fill. `delta` has the durable form of operations,
//! `single` the same for a keystroke, `state` that of snapshots and state diffs: of their parts `rebases` has what rebases left, `sites` the
//! numbers of sites, `runs` the runs and what they stand on, `text` the text. `numbers` packs numbers, with `text` by the codes of `huffman`,
//! which are made of `bits`.
//!
//! A browser compiles a function when it is first called and better when its loops have run often, which takes the longer the larger it
//! is. So loops over a whole state, and what most states do not have, stand in functions of their own that are not put into others.

mod bits;
pub(crate) mod delta;
mod huffman;
mod numbers;
mod rebases;
mod runs;
pub(crate) mod single;
mod site_numbers;
mod sites;
pub(crate) mod state;
mod text;

use crate::error::DecodeError;
use crate::id::{COUNTER_END, SiteId};
use crate::position::{unzigzag, zigzag};

/// Bytes `value` takes as a varint.
pub(crate) const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends values to bytes.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// Appends to these bytes.
    pub(crate) const fn behind(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Makes room for so many bytes more.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.bytes.reserve(more);
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Little-endian groups of 7 bits, the high bit set on all but the last (LEB128), in the fewest bytes.
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// A signed number as the varint of its zigzag (0, -1, 1, -2, ...).
    pub(crate) fn signed(&mut self, value: i64) {
        self.varint(zigzag(value));
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Length and bytes.
    pub(crate) fn blob(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// The varint that a word of bytes, the first one lowest, begins with, and its length: `None` if it goes on beyond it or is not in its
/// fewest bytes.
#[inline(always)]
const fn first_varint(word: u64) -> Option<(u64, usize)> {
    const ENDS: u64 = 0x8080_8080_8080_8080;
    let end = (!word & ENDS).trailing_zeros();
    let value = word & (u64::MAX >> (u64::BITS - 1).saturating_sub(end));
    if end == u64::BITS || end >= u8::BITS && value >> (end - 7) == 0 {
        return None;
    }
    // Two, four, then eight groups of 7 bits come together.
    let value = value & 0x007f_007f_007f_007f | (value & 0x7f00_7f00_7f00_7f00) >> 1;
    let value = value & 0x0000_3fff_0000_3fff | (value & 0x3fff_0000_3fff_0000) >> 2;
    let value = value & 0x0fff_ffff | (value & 0x0fff_ffff_0000_0000) >> 4;
    Some((value, (end / u8::BITS) as usize + 1))
}

/// Takes values from bytes.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.bytes.split_first().ok_or(DecodeError::Incomplete)?;
        self.bytes = rest;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        match self.bytes {
            [byte @ ..0x80, rest @ ..] => {
                self.bytes = rest;
                Ok(u64::from(*byte))
            }
            _ => self.any_varint(),
        }
    }

    /// [`varint`](Self::varint) in the same steps for all lengths up to 8 bytes: where nobody can guess which comes.
    #[inline(always)]
    pub(crate) fn any_varint(&mut self) -> Result<u64, DecodeError> {
        match self.bytes.first_chunk().and_then(|next| first_varint(u64::from_le_bytes(*next))) {
            Some((value, length)) => {
                self.bytes = &self.bytes[length..];
                Ok(value)
            }
            None => self.long_varint(),
        }
    }

    #[cold]
    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let group = u64::from(byte & 0x7f);
            if shift == 63 && group > 1 {
                return Err(DecodeError::Varint);
            }
            value |= group << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(DecodeError::Varint) } else { Ok(value) };
            }
        }
        Err(DecodeError::Varint)
    }

    pub(crate) fn signed(&mut self) -> Result<i64, DecodeError> {
        self.varint().map(unzigzag)
    }

    /// A counter: at least 1 and below 2^53.
    pub(crate) fn counter(&mut self) -> Result<u64, DecodeError> {
        match self.varint()? {
            value @ 1..COUNTER_END => Ok(value),
            _ => Err(DecodeError::Counter),
        }
    }

    pub(crate) fn site(&mut self) -> Result<SiteId, DecodeError> {
        let site = SiteId::new(self.varint()?);
        if site.is_valid() { Ok(site) } else { Err(DecodeError::Site) }
    }

    /// A count of things that take at least `bytes_each` bytes: refused if the input cannot hold them.
    pub(crate) fn count(&mut self, bytes_each: usize) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        if count > (self.remaining() / bytes_each) as u64 { Err(DecodeError::Incomplete) } else { Ok(count as usize) }
    }

    /// Passes bytes that are there.
    pub(crate) fn skip(&mut self, length: usize) {
        self.bytes = self.bytes.get(length..).unwrap_or_default();
    }

    pub(crate) fn raw(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.bytes.split_at_checked(length).ok_or(DecodeError::Incomplete)?;
        self.bytes = rest;
        Ok(head)
    }

    pub(crate) fn blob(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.count(1)?;
        self.raw(length)
    }

    /// What follows `prefix`, if that is next.
    pub(crate) fn strip_prefix(&self, prefix: &[u8]) -> Option<Self> {
        self.bytes.strip_prefix(prefix).map(Self::new)
    }

    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_have_one_form(value: u64, noise in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut writer = Writer::default();
            writer.varint(value);
            prop_assert_eq!(writer.len(), varint_len(value));
            prop_assert_eq!(Reader::new(writer.as_bytes()).varint(), Ok(value));
            let mut padded = writer.as_bytes().to_vec();
            padded.extend_from_slice(&noise);
            prop_assert_eq!(Reader::new(&padded).any_varint(), Ok(value));
            prop_assert_eq!(Reader::new(&noise).any_varint(), Reader::new(&noise).varint());
            let mut reader = Reader::new(&noise);
            if let Ok(value) = reader.varint() {
                let mut again = Writer::default();
                again.varint(value);
                prop_assert_eq!(again.as_bytes(), &noise[..noise.len() - reader.remaining()]);
            }
        }
    }
}
