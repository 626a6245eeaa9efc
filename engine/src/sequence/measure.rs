//! The three lengths of a text.

use core::ops::{AddAssign, SubAssign};

/// Lengths of a piece of text. 32 bits each: a text stays below 4 GiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Measure {
    pub(crate) scalars: u32,
    pub(crate) utf16: u32,
    pub(crate) bytes: u32,
}

/// One of the three lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    Scalars,
    Utf16,
    Bytes,
}

impl Measure {
    /// The lengths of `text`: O(bytes).
    pub(crate) fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        if let [byte] = bytes {
            debug_assert!(byte.is_ascii(), "one byte of UTF-8 is ASCII");
            return Self { scalars: 1, utf16: 1, bytes: 1 };
        }
        let continued = bytes.iter().filter(|&&byte| byte & 0xc0 == 0x80).count();
        let astral = bytes.iter().filter(|&&byte| byte >= 0xf0).count();
        let scalars = bytes.len() - continued;
        Self { scalars: scalars as u32, utf16: (scalars + astral) as u32, bytes: bytes.len() as u32 }
    }

    /// The lengths of `bytes` bytes of ASCII.
    pub(crate) const fn of_ascii(bytes: usize) -> Self {
        let length = bytes as u32;
        Self { scalars: length, utf16: length, bytes: length }
    }

    pub(crate) const fn get(self, unit: Unit) -> u32 {
        match unit {
            Unit::Scalars => self.scalars,
            Unit::Utf16 => self.utf16,
            Unit::Bytes => self.bytes,
        }
    }
}

impl AddAssign for Measure {
    fn add_assign(&mut self, other: Self) {
        self.scalars += other.scalars;
        self.utf16 += other.utf16;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Measure {
    fn sub_assign(&mut self, other: Self) {
        self.scalars -= other.scalars;
        self.utf16 -= other.utf16;
        self.bytes -= other.bytes;
    }
}

/// Measure of the longest prefix of `text` with at most `offset` units: cut before a character the offset splits.
pub(crate) fn prefix(text: &str, whole: Measure, unit: Unit, offset: u32) -> Measure {
    if offset == 0 || whole.scalars == whole.bytes {
        return Measure { scalars: offset, utf16: offset, bytes: offset };
    }
    let mut measure = Measure::default();
    for character in text.chars() {
        let mut next = measure;
        next += Measure { scalars: 1, utf16: character.len_utf16() as u32, bytes: character.len_utf8() as u32 };
        if next.get(unit) > offset {
            break;
        }
        measure = next;
    }
    measure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_never_split_a_character() {
        let text = "aé🇨🇭z";
        let whole = Measure::of(text);
        assert_eq!(whole, Measure { scalars: 5, utf16: 7, bytes: 12 });
        for (utf16, bytes) in [(0, 0), (1, 1), (2, 3), (3, 3), (4, 7), (5, 7), (6, 11), (7, 12)] {
            assert_eq!(prefix(text, whole, Unit::Utf16, utf16).bytes, bytes, "{utf16}");
        }
    }
}
