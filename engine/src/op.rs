//! Operations: what a site does to a document. Each consumes counters of its site, so that equal vectors mean equal state.

use crate::id::DotRange;
use crate::position::{Digit, Path};
use crate::rebase::Rebase;

/// Whether text continues a place after or before what its site wrote there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Direction {
    /// k = +counter: the first character carries the lowest counter.
    After,
    /// k = -counter: the first character carries the highest counter, so that k ascends with the text.
    Before,
}

/// One operation of a [`Delta`](crate::Delta). Its counters follow from its place there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Text at one place: consumes one counter per Unicode scalar.
    ///
    /// Character i stands at `parent` + (`digit`, the delta's site, k), where k is its signed counter: for
    /// [`Direction::After`] `first`, `first + 1`, ...; for [`Direction::Before`] `-last`, ..., `-first`.
    Insert {
        /// The path this text stands on; empty at the root. Its elements need not be alive.
        parent: Path,
        /// The digit of the text's own level; never 0.
        digit: Digit,
        /// The sign of k.
        direction: Direction,
        /// The characters, 1 byte to [`OP_TEXT_BYTES_MAX`](crate::OP_TEXT_BYTES_MAX).
        text: String,
    },
    /// Removes the characters with these dots, wherever they stand: consumes one counter.
    Delete {
        /// Sorted by site and counter, disjoint, not adjacent; 1 to [`OP_RANGES_MAX`](crate::OP_RANGES_MAX).
        ranges: Vec<DotRange>,
    },
    /// Writes one entry of the `meta` map: consumes one counter.
    Meta {
        /// The key, at most [`META_KEY_BYTES_MAX`](crate::META_KEY_BYTES_MAX).
        key: String,
        /// The value; `None` removes the entry.
        value: Option<Vec<u8>>,
        /// Of two writes of one key the greater (lamport, site) wins.
        lamport: u64,
    },
    /// Moves characters that stand too deep under a new base: consumes one counter.
    Rebase(Box<Rebase>),
    /// Covers counters and deletes their dots: what cancelled before it was sent, or a hole nobody can fill.
    Void {
        /// How many counters, at least 1.
        length: u64,
    },
}

impl Op {
    /// How many counters of its site it consumes.
    pub fn counters(&self) -> u64 {
        match self {
            Self::Insert { text, .. } => scalars_of(text),
            Self::Delete { .. } | Self::Meta { .. } | Self::Rebase(_) => 1,
            Self::Void { length } => *length,
        }
    }

    /// The part of it that has `count` of its counters, after the `skip` lowest. Only text and voids have parts.
    pub(crate) fn slice(&self, skip: u64, count: u64) -> Self {
        match self {
            Self::Insert { parent, digit, direction, text } => {
                let skip = match direction {
                    Direction::After => skip,
                    Direction::Before => self.counters() - skip - count,
                };
                let text = text.chars().skip(skip as usize).take(count as usize).collect();
                Self::Insert { parent: parent.clone(), digit: *digit, direction: *direction, text }
            }
            Self::Void { .. } => Self::Void { length: count },
            Self::Delete { .. } | Self::Meta { .. } | Self::Rebase(_) => self.clone(),
        }
    }
}

fn scalars_of(text: &str) -> u64 {
    // Typing sends one letter at a time, and mostly a character is a byte, which is seen sooner than characters are counted.
    if text.len() == 1 || text.is_ascii() { text.len() as u64 } else { text.chars().count() as u64 }
}
