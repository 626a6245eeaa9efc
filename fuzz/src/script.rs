//! Bytes read as a script: whatever they are, they say what happens next.
//!
//! A step is a byte that says which, and what it takes. Bytes that end are zeros, so that every input is a script, and cutting or
//! changing one gives another that is much like it.

pub(crate) const PIECES: [&str; 14] = ["a", "b", "c", "d", "e", " ", "é", "ß", "水", "😀", "🇨🇭", "👩‍👩‍👧", "\u{301}", "\n"];

/// What is still to be read.
pub(crate) struct Script<'a> {
    bytes: &'a [u8],
}

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        byte
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    /// A place in something of this length, whose ends a byte can name: 0 is the end, 255 the beginning.
    pub(crate) fn place(&mut self, length: usize) -> usize {
        match usize::from(self.byte()) {
            0 => length,
            byte => (255 - byte) * (length + 1) / 256,
        }
    }

    /// Few or many bytes of the pieces.
    pub(crate) fn text(&mut self) -> String {
        let count = self.below(6);
        (0..count).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }
}
