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
        // Typing sends one letter at a time.
        if text.len() == 1 || text.is_ascii() {
            return Self::of_ascii(text.len());
        }
        let mut measure = Self { bytes: text.len() as u32, ..Self::default() };
        // Few enough for counts of a byte, of which a machine adds many at once.
        for part in text.as_bytes().chunks(u8::MAX as usize) {
            let starts = part.iter().map(|&byte| u8::from(byte & 0xc0 != 0x80)).sum::<u8>();
            let astral = part.iter().map(|&byte| u8::from(byte >= 0xf0)).sum::<u8>();
            measure.scalars += u32::from(starts);
            measure.utf16 += u32::from(starts) + u32::from(astral);
        }
        measure
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

const SHORT_SCALARS_BITS: u32 = 11;
const SHORT_BYTES_BITS: u32 = 10;

/// The lengths of at most 1 KiB of text in 32 bits: scalars, up to 1,024; by how much bytes are more, up to 768; by how much UTF-16
/// units are more, up to 256.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ShortMeasure(u32);

impl ShortMeasure {
    pub(crate) const fn scalars(self) -> u32 {
        self.0 & ((1 << SHORT_SCALARS_BITS) - 1)
    }

    pub(crate) const fn bytes(self) -> u32 {
        self.scalars() + (self.0 >> SHORT_SCALARS_BITS & ((1 << SHORT_BYTES_BITS) - 1))
    }

    pub(crate) const fn utf16(self) -> u32 {
        self.scalars() + (self.0 >> (SHORT_SCALARS_BITS + SHORT_BYTES_BITS))
    }

    /// Whether it is of ASCII alone: all three lengths are one.
    pub(crate) const fn is_ascii(self) -> bool {
        self.0 < 1 << SHORT_SCALARS_BITS
    }

    pub(crate) const fn long(self) -> Measure {
        Measure { scalars: self.scalars(), utf16: self.utf16(), bytes: self.bytes() }
    }
}

impl From<Measure> for ShortMeasure {
    fn from(measure: Measure) -> Self {
        let Measure { scalars, utf16, bytes } = measure;
        debug_assert!(bytes < 2048, "a leaf has at most 1 KiB");
        let (more_bytes, more_utf16) = (bytes - scalars, utf16 - scalars);
        Self(scalars | more_bytes << SHORT_SCALARS_BITS | more_utf16 << (SHORT_SCALARS_BITS + SHORT_BYTES_BITS))
    }
}

// Each part of a sum has room for it.
impl AddAssign for ShortMeasure {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl SubAssign for ShortMeasure {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

impl AddAssign<ShortMeasure> for Measure {
    fn add_assign(&mut self, other: ShortMeasure) {
        *self += other.long();
    }
}

impl SubAssign<ShortMeasure> for Measure {
    fn sub_assign(&mut self, other: ShortMeasure) {
        *self -= other.long();
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
    fn lengths_are_counted_and_kept_short() {
        for (part, scalars, utf16, bytes) in
            [("a", 1, 1, 1), ("é", 1, 1, 2), ("€", 1, 1, 3), ("😀", 1, 2, 4), ("a😀é", 3, 4, 7)]
        {
            for times in [1, 2, 80, 1024 / part.len(), 3000] {
                let whole = Measure::of(&part.repeat(times));
                let times = times as u32;
                assert_eq!(whole, Measure { scalars: scalars * times, utf16: utf16 * times, bytes: bytes * times });
                if whole.bytes <= 1024 {
                    assert_eq!(ShortMeasure::from(whole).long(), whole);
                }
            }
        }
    }

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
