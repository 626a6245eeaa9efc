//! Small words that every part speaks: how safe, what is allowed, where in a log.

use bincode::{Decode, Encode};

/// How safe a delta is. Ordered: each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum AckLevel {
    /// In this device's store.
    Device,
    /// In the region's log.
    Region,
    /// In the other region's log, too.
    Replicated,
}

impl AckLevel {
    /// The word that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Region => "region",
            Self::Replicated => "replicated",
        }
    }
}

/// What a session may do with a document. Ordered: each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Rights {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Read and write.
    Write,
    /// Read, write, and decide who may.
    Admin,
}

impl Rights {
    /// Whether edits are accepted.
    pub fn may_write(self) -> bool {
        self >= Self::Write
    }

    /// The word that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// Identity of one log: a new one after every loss or restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct LogId(pub u128);

/// A place in a log: one past the last record that is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Position {
    /// The log.
    pub log: LogId,
    /// The log's partition.
    pub partition: u32,
    /// Offset of the next record.
    pub offset: u64,
}

/// Milliseconds on the caller's monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// This instant `ms` later.
    pub fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`, 0 if that lies ahead.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
