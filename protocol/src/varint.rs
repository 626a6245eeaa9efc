//! Unsigned LEB128 integers in their shortest form, and a reader that never runs past its input.

use crate::error::DecodeError;

/// Appends `value` as LEB128: seven bits a byte, lowest first, the high bit set on all but the last.
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Maps small negative numbers to small unsigned ones.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// A cursor over bytes from outside.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.at).ok_or(DecodeError::Incomplete)?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        if length > self.remaining() {
            return Err(DecodeError::Incomplete);
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    /// Reads one integer; longer forms than necessary are malformed.
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Malformed("an integer of more than 64 bits"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(DecodeError::Malformed("an integer longer than its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed("an integer of more than 64 bits"))
    }

    /// Reads a count or length that may not exceed `most`.
    pub(crate) fn length(&mut self, most: usize) -> Result<usize, DecodeError> {
        let length = self.varint()?;
        match usize::try_from(length) {
            Ok(length) if length <= most => Ok(length),
            _ => Err(DecodeError::TooLarge { what: "a length", most }),
        }
    }

    /// Reads a length and that many bytes.
    pub(crate) fn bytes(&mut self, most: usize) -> Result<&'a [u8], DecodeError> {
        let length = self.length(most)?;
        self.take(length)
    }

    pub(crate) fn site_number(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.take(8)?;
        let mut number = [0; 8];
        number.copy_from_slice(bytes);
        Ok(u64::from_le_bytes(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_come_back(value: u64, signed: i64) {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            prop_assert_eq!(Reader::new(&out).varint().unwrap(), value);
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }

        #[test]
        fn what_is_read_is_the_shortest_form(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.varint() {
                let mut out = Vec::new();
                write_varint(&mut out, value);
                prop_assert_eq!(&out[..], &bytes[..reader.position()]);
            }
        }
    }
}
