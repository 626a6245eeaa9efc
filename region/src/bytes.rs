//! Reading and writing what a region keeps in bytes of its own: minimal varints, sized bytes, nothing read past the input.

/// Why bytes are not what they should be; each names the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// They end early.
    Incomplete(&'static str),
    /// A field breaks its rule.
    Malformed(&'static str),
}

/// Writes a minimal varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// What is left to read.
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], Damage> {
        let (head, rest) = self.bytes.split_at_checked(length).ok_or(Damage::Incomplete(field))?;
        self.bytes = rest;
        Ok(head)
    }

    pub(crate) fn byte(&mut self, field: &'static str) -> Result<u8, Damage> {
        Ok(self.take(1, field)?[0])
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Damage> {
        Ok(self.take(N, field)?.try_into().expect("take gives N bytes"))
    }

    /// A minimal varint that fits in 64 bits.
    pub(crate) fn varint(&mut self, field: &'static str) -> Result<u64, Damage> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(field)?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(Damage::Malformed(field));
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                let minimal = byte != 0 || shift == 0;
                return if minimal { Ok(value) } else { Err(Damage::Malformed(field)) };
            }
        }
        Err(Damage::Malformed(field))
    }

    /// A length of at most `length_max`, and so many bytes.
    pub(crate) fn sized(&mut self, length_max: usize, field: &'static str) -> Result<&'a [u8], Damage> {
        let length = usize::try_from(self.varint(field)?).map_err(|_| Damage::Malformed(field))?;
        if length > length_max {
            return Err(Damage::Malformed(field));
        }
        self.take(length, field)
    }

    /// Sized UTF-8.
    pub(crate) fn text(&mut self, length_max: usize, field: &'static str) -> Result<&'a str, Damage> {
        std::str::from_utf8(self.sized(length_max, field)?).map_err(|_| Damage::Malformed(field))
    }
}
