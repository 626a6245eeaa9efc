//! Deltas that nobody was told of yet.

use std::collections::VecDeque;

/// What is kept of the room for bytes when nothing waits.
const ROOM_BYTES_MAX: usize = 64 * 1024;

/// First in, first out; the bytes one behind the other, so that a delta that is told at once asks for no memory.
#[derive(Debug, Default)]
pub(super) struct Untold {
    bytes: Vec<u8>,
    /// Where the first one begins.
    start: usize,
    /// Where each ends.
    ends: VecDeque<usize>,
}

impl Untold {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds a delta at the end.
    pub(super) fn push(&mut self, delta: &[u8]) {
        if self.ends.is_empty() {
            self.start = 0;
            self.bytes.clear();
            self.bytes.shrink_to(ROOM_BYTES_MAX);
        }
        self.bytes.extend_from_slice(delta);
        self.ends.push_back(self.bytes.len());
    }

    /// Takes the first one.
    pub(super) fn pop(&mut self) -> Option<&[u8]> {
        let end = self.ends.pop_front()?;
        let start = std::mem::replace(&mut self.start, end);
        Some(&self.bytes[start..end])
    }
}

#[cfg(test)]
mod tests {
    use super::{ROOM_BYTES_MAX, Untold};

    #[test]
    fn deltas_come_out_as_they_went_in() {
        let mut untold = Untold::default();
        assert_eq!(untold.pop(), None);
        for round in 1..4 {
            let deltas: Vec<Vec<u8>> =
                (0..round * 3).map(|number| vec![number; usize::from(number) * 20_000]).collect();
            for (at, delta) in deltas.iter().enumerate() {
                untold.push(delta);
                assert_eq!(untold.len(), at + 1);
            }
            for delta in &deltas {
                assert_eq!(untold.pop(), Some(&delta[..]));
            }
            assert_eq!((untold.len(), untold.pop()), (0, None));
        }
        untold.push(&[1]);
        assert!(untold.bytes.capacity() <= ROOM_BYTES_MAX, "much room is given back");
    }
}
