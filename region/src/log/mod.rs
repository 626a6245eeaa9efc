//! The region log: ordered, durable records of deltas. The truth of a region; everything else is made from it.
//!
//! Order holds per document: a document's records all lie in one partition, in the order of their offsets. A reading
//! position is *one past* the last record read ([`Position`] `offset` = the next offset to read), a record's own position
//! is the offset it lies at. Offsets grow; they need not be dense (a distributed log keeps markers of its own between them).

#[doc(hidden)]
pub mod contract;
pub(crate) mod embedded;
#[cfg(feature = "regional")]
pub(crate) mod kafka;
#[cfg_attr(not(feature = "regional"), allow(dead_code, reason = "only what reads is used without services"))]
pub(crate) mod letter;
mod reader;
#[doc(hidden)]
pub mod reader_contract;

pub use reader::{Assignment, LogReader, Reading};

use futures_util::future::BoxFuture;

use crate::record::{LogRecord, RecordError};
use crate::{DocumentId, LogId, Position, Result};

/// The name under which ship keeps, for every partition, the offset below which everything is durable in the peer's present
/// log: where a room that opens late finds the replicated watermark. It may fall when the peer was wiped and has another log.
pub const REPLICATED_READER: &str = "replicated";

/// One thing read from a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it lies.
    pub position: Position,
    /// What it is.
    pub content: EntryContent,
}

/// A record, or bytes that are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryContent {
    /// A record of the log's own format.
    Record(LogRecord),
    /// Bytes that this code cannot read. A reader hands them to [`RegionLog::dead_letter`] and goes on.
    Undecodable {
        /// What lies there.
        bytes: Vec<u8>,
        /// Why it is no record.
        reason: RecordError,
    },
}

/// Some entries in order, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// In the order of their offsets.
    pub entries: Vec<LogEntry>,
    /// Where the next page begins.
    pub next: Position,
    /// Whether this page reached the end of the partition as it was when it was read.
    pub at_end: bool,
}

/// What a partition holds: the records at `start <= offset < end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// The earliest position that can still be read; past 0 when the log was trimmed.
    pub start: Position,
    /// One past the last record: the reading position of one who has read everything.
    pub end: Position,
}

/// An undecodable record, put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it lies in the log.
    pub position: Position,
    /// Why it was put aside.
    pub reason: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The ordered, durable log of one region.
///
/// Object safe: the relay and the replicator hold an `Arc<dyn RegionLog>`, whose futures are boxed. One allocation a call is
/// nothing beside the write it stands for.
pub trait RegionLog: Send + Sync {
    /// Names this log. Another id means another log: no position of the old one holds here.
    fn log_id(&self) -> LogId;

    /// How many partitions there are. Fixed for the life of the log.
    fn partitions(&self) -> u32;

    /// The partition that holds a document.
    fn partition(&self, document: &DocumentId) -> u32;

    /// Appends all of the batch, in order, and answers when it is durable, with each record's own position.
    ///
    /// Calls made in turn by one task keep their order. Calls made while an append is under way are gathered and go
    /// together in the next. A batch is all or nothing here; over several partitions a distributed log may keep a part of
    /// a batch whose append failed, so the caller repeats it whole: records are idempotent.
    ///
    /// # Errors
    /// `Full`, `Unavailable`, `Throttled`: nothing was acknowledged; the caller may repeat the same batch. `Invalid`: a record
    /// breaks its limits.
    fn append(&self, batch: Vec<LogRecord>) -> BoxFuture<'_, Result<Vec<Position>>>;

    /// Reads a document's records from a position on (`None`: from the earliest), at most `limit` of them and no more than about
    /// 1 MiB. A page that is not at the end moves on, but may be empty: a log that keeps many documents in one partition looks
    /// through a bounded part of it for each page.
    ///
    /// # Errors
    /// `Gone`: the log was trimmed past `from`: read snapshot and op store instead. `BeyondEnd`: the position is past the end or
    /// of another log: this log lost what the asker saw.
    fn tail<'a>(
        &'a self,
        document: &'a DocumentId,
        from: Option<Position>,
        limit: usize,
    ) -> BoxFuture<'a, Result<LogPage>>;

    /// Reads all records of a partition from an offset on, as [`RegionLog::tail`] does, but never an empty page before the end.
    ///
    /// # Errors
    /// As [`RegionLog::tail`].
    fn read(&self, partition: u32, from: u64, limit: usize) -> BoxFuture<'_, Result<LogPage>>;

    /// One past the last record of the document's partition: the reading position of one who has read everything.
    fn head<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Position>>;

    /// Where a partition begins and ends now.
    ///
    /// # Errors
    /// `Invalid` when there is no such partition.
    fn bounds(&self, partition: u32) -> BoxFuture<'_, Result<LogBounds>>;

    /// Becomes a member of a group of readers, which share out the log's partitions. The group's name is also the `reader` of
    /// [`RegionLog::progress`].
    fn join<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<Box<dyn LogReader>>>;

    /// Removes the records of a partition that lie below an offset.
    ///
    /// # Errors
    /// `BeyondEnd` when `below` is past the end.
    fn trim(&self, partition: u32, below: u64) -> BoxFuture<'_, Result<()>>;

    /// Keeps how far a reader (`persist`, `ship`) has come: the next offset it will read, once all below it is done with.
    ///
    /// # Errors
    /// `BeyondEnd` when the log does not reach there; `Conflict` while a group of that name has members: they commit.
    fn commit_progress<'a>(&'a self, reader: &'a str, partition: u32, offset: u64) -> BoxFuture<'a, Result<()>>;

    /// How far a reader has come; `None`: it never committed.
    fn progress<'a>(&'a self, reader: &'a str, partition: u32) -> BoxFuture<'a, Result<Option<u64>>>;

    /// Puts an undecodable record aside, once however often it is called, with why.
    fn dead_letter<'a>(&'a self, letter: DeadLetter) -> BoxFuture<'a, Result<()>>;

    /// The records put aside, oldest first, at most `limit`.
    fn dead_letters(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>>>;
}
