//! Messages in the order they were sent.

/// Messages one behind the other, as a log or a connection has them: what each costs is its engine's doing, not the allocator's that
/// keeps hundreds of thousands of small blocks apart.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Messages {
    pub fn push(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.ends.push(self.bytes.len());
    }

    /// Adds the message that `write` appends to the bytes, if it says that it did.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let written = write(&mut self.bytes);
        if written {
            self.ends.push(self.bytes.len());
        }
        written
    }

    pub fn append(&mut self, other: &Self) {
        other.iter().for_each(|message| self.push(message));
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}
