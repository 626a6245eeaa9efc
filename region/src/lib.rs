//! What one region keeps: log, op store, snapshots, bus, blobs and control.
//!
//! Each part is one object-safe trait with one contract suite ([`contract`]) that every implementation passes. The
//! [embedded](embedded::EmbeddedRegion) implementation keeps everything in one locked data folder on SQLite; the distributed
//! one stands on Kafka, DynamoDB, PostgreSQL, Redis and S3. The log is the truth; [`fold`] makes op store and snapshots of it.
//!
//! | part | trait | holds |
//! |---|---|---|
//! | log | [`RegionLog`] | ordered durable deltas ([`LogRecord`]), read from a position |
//! | op store | [`OpStore`] | the same operations by site and counter |
//! | snapshots | [`SnapshotStore`] | whole documents at a version vector |
//! | bus | [`Bus`] | what relays of one region tell each other |
//! | blobs | [`Blobs`] | large bytes by key |
//! | control | [`Control`] | documents, rights, site bindings and leases, audit |
//!
//! [`history`] reads a document's operations from both places they may be in: the op store, and the segments among the blobs.
//!
//! This crate does not decide who may do what, and never talks to clients: that is the relay. It never looks inside a delta
//! except in the fold, and there through the engine alone.

pub mod blobs;
pub mod bus;
mod bytes;
pub mod contract;
pub mod control;
#[doc(hidden)]
pub mod decoders;
pub mod embedded;
mod error;
pub mod fold;
pub mod history;
pub mod log;
pub mod ops;
pub mod record;
#[cfg(feature = "regional")]
pub mod regional;
pub mod snapshots;

use std::sync::Arc;

pub use blobs::{BlobKey, Blobs};
pub use bus::{Bus, BusMessage, Heard, Subscription};
pub use control::{
    AuditEntry, Control, ControlEntry, ControlLog, ControlPage, Decided, DecidedPage, DocumentInfo, DocumentQuery,
    LeasedSite, NewDocument, SignedEndpoints, Standing,
};
pub use error::{BoxError, Error, Result};
pub use log::{
    Assignment, DeadLetter, EntryContent, LogBounds, LogEntry, LogPage, LogReader, REPLICATED_READER, Reading,
    RegionLog,
};
pub use ops::{DocumentKey, OpCursor, OpRun, OpStore, RunDots};
pub use record::{LogRecord, RecordError};
pub use selvedge_protocol::{DocumentId, LogId, Position};
pub use snapshots::{Snapshot, SnapshotStore};

/// The parts of one region, whatever stands behind each.
#[derive(Clone)]
pub struct Region {
    /// The log.
    pub log: Arc<dyn RegionLog>,
    /// The op store.
    pub ops: Arc<dyn OpStore>,
    /// The snapshots.
    pub snapshots: Arc<dyn SnapshotStore>,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The blobs.
    pub blobs: Arc<dyn Blobs>,
    /// The control plane.
    pub control: Arc<dyn Control>,
}
