//! Bits in bytes, the highest of each first.

use crate::error::DecodeError;

/// Bits that are there after [`BitReader::refill`], unless the bytes end.
pub(super) const REFILLED: u32 = 56;

/// Appends bits.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that do not fill a byte yet, from the top.
    held: u64,
    count: u32,
}

impl BitWriter {
    /// The lowest `count` bits of `value`, at most 32; the others are 0.
    pub(super) fn put(&mut self, value: u64, count: u32) {
        debug_assert!(count <= 32 && value >> count == 0, "a value of {count} bits");
        if count == 0 {
            return;
        }
        self.held |= value << (64 - count) >> self.count;
        self.count += count;
        if self.count >= 32 {
            self.bytes.extend_from_slice(&self.held.to_be_bytes()[..4]);
            self.held <<= 32;
            self.count -= 32;
        }
    }

    /// The bytes, the last one filled up with zeros.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let rest = self.count.div_ceil(8) as usize;
        self.bytes.extend_from_slice(&self.held.to_be_bytes()[..rest]);
        self.bytes
    }
}

/// Takes bits from bytes, from their beginning or backwards from their end. Beyond them there are zeros: [`end`](Self::end)
/// tells.
pub(super) struct BitReader<'a, const BACKWARDS: bool = false> {
    bytes: &'a [u8],
    /// The bits taken out of the bytes, from the top. Below those counted may stand some of the next byte.
    held: u64,
    /// How many bits are held; negative when more were passed than there are.
    count: i32,
}

impl<'a, const BACKWARDS: bool> BitReader<'a, BACKWARDS> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, held: 0, count: 0 }
    }

    /// Holds at least [`REFILLED`] bits, if there are as many.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let chunk = if BACKWARDS { self.bytes.last_chunk::<8>() } else { self.bytes.first_chunk::<8>() };
        let Some(chunk) = chunk else { return self.refill_at_end() };
        let bits = if BACKWARDS { u64::from_le_bytes(*chunk) } else { u64::from_be_bytes(*chunk) };
        self.held |= bits >> self.count;
        let taken = (63 - self.count) as usize / 8;
        self.bytes = if BACKWARDS { &self.bytes[..self.bytes.len() - taken] } else { &self.bytes[taken..] };
        self.count += taken as i32 * 8;
    }

    #[cold]
    fn refill_at_end(&mut self) {
        // How far beyond the end does not matter, and there may be more bits than can be counted.
        self.count = self.count.max(-1);
        while (0..=56).contains(&self.count) {
            let next = if BACKWARDS { self.bytes.split_last() } else { self.bytes.split_first() };
            let Some((&byte, rest)) = next else { return };
            self.held |= u64::from(byte) << (56 - self.count);
            self.bytes = rest;
            self.count += 8;
        }
    }

    /// The next `count` bits, 1 to 32, which stay.
    #[inline(always)]
    pub(super) const fn peek(&self, count: u32) -> usize {
        (self.held >> (64 - count)) as usize
    }

    /// Passes `count` bits. Between refills no more than [`REFILLED`].
    #[inline(always)]
    pub(super) const fn skip(&mut self, count: u32) {
        self.held <<= count;
        self.count -= count as i32;
    }

    /// The next `count` bits, at most 32.
    #[inline(always)]
    pub(super) const fn take(&mut self, count: u32) -> u64 {
        // In two steps, which none is right for too.
        let value = self.held >> 32 >> (32 - count);
        self.skip(count);
        value
    }

    /// How many bytes no bit was taken of. Of the byte taken last the other bits must be 0.
    pub(super) fn end(self) -> Result<usize, DecodeError> {
        let count = u32::try_from(self.count).map_err(|_| DecodeError::Incomplete)?;
        if count % 8 > 0 && self.peek(count % 8) > 0 {
            return Err(DecodeError::NotCanonical);
        }
        Ok(self.bytes.len() + count as usize / 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_end_are_zeros_without_end() {
        let mut reader = BitReader::<'_, false>::new(&[0xff]);
        reader.refill();
        assert_eq!(reader.take(8), 0xff);
        for _ in 0..(1_u64 << 31) / u64::from(REFILLED) + 1 {
            reader.refill();
            assert_eq!(reader.peek(32), 0);
            reader.skip(REFILLED);
        }
        assert_eq!(reader.end(), Err(DecodeError::Incomplete));
    }
}
