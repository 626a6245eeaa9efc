//! Ship: carries a region's log to another region's, so that losing either loses nothing that was acked `replicated`.
//!
//! [`Ship`] decides and has no I/O; [`ShipTask`] carries out what it decides on two regions' parts. One runs in each region
//! for each other region: both ways, always.
//!
//! Records go on stamped with the log they were copied from, their last hop; what came from the peer's present log is not
//! sent back. The group's offsets belong to the pair of log ids ([`reader_of`]): a wiped peer has another log and is fed
//! everything, first what the log may not hold ([`Effect::Reseed`]), then the log. The offset below which every record is
//! confirmed by the peer, a contiguous prefix and never a maximum, is the *replicated watermark*: it is told to the rooms
//! ([`Effect::Announce`]), kept for late rooms ([`Effect::Mark`]), and committed.

#[cfg(feature = "regional")]
pub mod buckets;
pub mod control;
mod fill;
mod ledger;
mod machine;
#[cfg(feature = "regional")]
pub mod postgres;
mod reseed;
#[cfg(feature = "regional")]
pub mod tables;
mod task;

use selvedge_region::{Assignment, DocumentId, LogId, LogPage, LogRecord, Position};

pub use fill::{fill_runs, fill_segments, mirror_blobs};
pub use machine::Ship;
pub use reseed::{Reseeded, reseed};
pub use task::{ShipEnd, ShipTask};

/// The group under which the offsets of this pair of logs are kept.
#[must_use]
pub fn reader_of(source: LogId, target: LogId) -> String {
    format!("ship.{:032x}.{:032x}", source.0, target.0)
}

/// Names a copy until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CopyId(pub u64);

/// How ship works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShipConfig {
    /// Copies of one partition on their way at a time: their answers take a round trip between the regions. What is read
    /// meanwhile is joined to the next ones.
    pub copies_max: usize,
    /// Bytes of deltas read and not yet confirmed by the peer; beyond it pages are not taken.
    pub held_bytes_max: usize,
    /// The shortest time between two commits of one partition, in milliseconds. The rooms are told without it.
    pub commit_ms: u64,
    /// Pause before a refused copy is repeated, in milliseconds: the first one; doubled up to 64 times as much.
    pub retry_ms: u64,
}

impl Default for ShipConfig {
    fn default() -> Self {
        Self { copies_max: 4, held_bytes_max: 32 * 1024 * 1024, commit_ms: 100, retry_ms: 100 }
    }
}

/// What ship is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// These partitions are read from now on.
    Assigned(Vec<Assignment>),
    /// These partitions are asked back. [`Ship::has_left`] says when they may be given up.
    Revoked(Vec<u32>),
    /// The partitions that were asked back are given up now, or others were taken away.
    Lost(Vec<u32>),
    /// Records of one partition.
    Page(LogPage),
    /// The reader has gone back as [`Effect::Rewind`] asked, or could not.
    Rewound {
        /// The partition.
        partition: u32,
        /// Whether it has.
        done: bool,
    },
    /// The peer's log answered a copy.
    Copied {
        /// Which.
        copy: CopyId,
        /// Whether all of it is durable there.
        done: bool,
    },
    /// The peer has (or has not) what this region had and its log does not hold.
    Reseeded {
        /// The partition.
        partition: u32,
        /// Whether it has.
        done: bool,
    },
    /// A commit was answered.
    Committed {
        /// The partition.
        partition: u32,
        /// What was to be committed.
        offset: u64,
        /// Whether it is.
        done: bool,
    },
    /// Time passes.
    Tick,
    /// Take no more; finish what is on its way.
    Stop,
}

/// What ship asks for. Every one may be repeated without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Append these records to the peer's log, after all copies of the partition asked for before; answered by
    /// [`Event::Copied`].
    Copy {
        /// Names it in the answer.
        copy: CopyId,
        /// The partition of the source.
        partition: u32,
        /// The records, stamped with where they come from.
        records: Vec<LogRecord>,
    },
    /// Give the peer what this log does not hold, below this offset of the partition or never: its documents' op store and
    /// snapshots. Answered by [`Event::Reseeded`].
    Reseed {
        /// The partition.
        partition: u32,
        /// The first offset the log still has.
        below: u64,
    },
    /// Everything of this log below the watermark is durable at the peer: tell the rooms of these documents. No answer.
    Announce {
        /// One past the last such record.
        watermark: Position,
        /// The documents with records below it that were not below the one before.
        documents: Vec<DocumentId>,
    },
    /// Keep the watermark where late rooms read it. No answer.
    Mark {
        /// The partition.
        partition: u32,
        /// The watermark's offset.
        offset: u64,
    },
    /// Keep how far the group has come; answered by [`Event::Committed`].
    Commit {
        /// The partition.
        partition: u32,
        /// One past the last record confirmed.
        offset: u64,
    },
    /// Read the partition from here again, after a moment; answered by [`Event::Rewound`].
    Rewind {
        /// The partition.
        partition: u32,
        /// Where to go back to.
        offset: u64,
    },
}
