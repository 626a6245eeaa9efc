//! Persist, the conflict synchronizer: reads a region's log, tells the bus, writes the op store, and keeps snapshots.
//!
//! Station 10 of the walk of an edit. [`Persist`] decides and has no I/O; [`PersistTask`] carries out what it decides on a
//! region's parts. An offset is committed only when everything below it is durable in the op store or put aside, so whatever
//! a crash or a rebalance interrupts is read again, and repeating any of it is harmless.
//!
//! What a delta says is the engine's business, how deltas are joined and folded is `selvedge_region::fold`'s.

mod holes;
mod machine;
mod partition;
mod task;

use selvedge_region::fold::{DueConfig, Hole};
use selvedge_region::{Assignment, DeadLetter, DocumentKey, LogEntry, LogPage, OpRun};

pub use machine::Persist;
pub use task::{PersistTask, Surroundings};

/// Names a write until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// How persist works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersistConfig {
    /// A run of a site's operations is gathered up to so many bytes,
    pub run_bytes_max: usize,
    /// or for so long, in milliseconds.
    pub gather_ms: u64,
    /// Writes on their way at one time.
    pub writes_max: usize,
    /// Bytes gathered, waiting and on their way; beyond it pages are not taken.
    pub held_bytes_max: usize,
    /// Snapshots that are made at one time.
    pub snapshots_max: usize,
    /// When snapshots are due.
    pub due: DueConfig,
    /// Versions of a snapshot that are kept.
    pub snapshots_kept: usize,
    /// The shortest time between two commits of one partition, in milliseconds.
    pub commit_ms: u64,
    /// Pause before a refused write is repeated, in milliseconds: the first one; doubled up to 64 times as much.
    pub retry_ms: u64,
    /// How long after every region was heard a hole that nobody fills is closed, in milliseconds.
    pub hole_ms: u64,
}

impl Default for PersistConfig {
    fn default() -> Self {
        Self {
            run_bytes_max: 1024,
            gather_ms: 5_000,
            writes_max: 16,
            held_bytes_max: 16 * 1024 * 1024,
            snapshots_max: 2,
            due: DueConfig { bytes: 256 * 1024, age_ms: 30_000, waiting_max: 10_000 },
            snapshots_kept: 3,
            commit_ms: 100,
            retry_ms: 100,
            hole_ms: 10 * 60 * 1000,
        }
    }
}

/// What persist is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// These partitions are read from now on.
    Assigned(Vec<Assignment>),
    /// These partitions are asked back. [`Persist::has_left`] says when they may be given up.
    Revoked(Vec<u32>),
    /// The partitions that were asked back are given up now, or others were taken away.
    Lost(Vec<u32>),
    /// Records of one partition.
    Page(LogPage),
    /// The reader has gone back as [`Effect::Rewind`] asked (or could not): pages of before are over.
    Rewound {
        /// The partition.
        partition: u32,
        /// Whether it has.
        done: bool,
    },
    /// A write was answered.
    Written {
        /// Which.
        write: WriteId,
        /// Whether it is durable.
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
    /// A snapshot was made, with the holes its document has; `None`: it could not be made.
    Snapshotted {
        /// The document.
        key: DocumentKey,
        /// Its holes.
        holes: Option<Vec<Hole>>,
    },
    /// Everything that any region's log held at this moment has been read here.
    RegionsHeard,
    /// Whether this region holds the control plane, and in which epoch.
    Deciding(Option<u64>),
    /// Time passes.
    Tick,
    /// Write what is gathered, commit, make the snapshots that wait, and take no more.
    Stop,
}

/// What persist asks for. Every one may be repeated without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Tell the bus of these records, in their order. No answer.
    Publish(Vec<LogEntry>),
    /// Keep these runs in the op store; answered by [`Event::Written`].
    Write {
        /// Names it in the answer.
        write: WriteId,
        /// The document.
        key: DocumentKey,
        /// The runs.
        runs: Vec<OpRun>,
    },
    /// Put an undecodable record aside; answered by [`Event::Written`].
    PutAside {
        /// Names it in the answer.
        write: WriteId,
        /// The record.
        letter: DeadLetter,
    },
    /// Everything of the partition below the offset is done with; answered by [`Event::Committed`].
    Commit {
        /// The partition.
        partition: u32,
        /// One past the last record done with.
        offset: u64,
    },
    /// Read the partition from here again, after a moment; answered by [`Event::Rewound`].
    Rewind {
        /// The partition.
        partition: u32,
        /// Where to go back to.
        offset: u64,
    },
    /// Make a snapshot; answered by [`Event::Snapshotted`].
    Snapshot(DocumentKey),
    /// Look whether the hole is still there, and if so close it by a `void` and audit it. No answer.
    CloseHole {
        /// The document.
        key: DocumentKey,
        /// The hole.
        hole: Hole,
        /// The epoch in which this is decided.
        epoch: u64,
    },
}
