//! The bus: what one relay of a region tells the others about a document, and the hot tail of what it said.
//!
//! Nothing on the bus is durable and nothing may depend on its arrival: a room heals a lost message by comparing its position
//! with the log's head. What a subscriber missed is told, never hidden.

pub(crate) mod codec;
#[doc(hidden)]
pub mod contract;
pub(crate) mod embedded;
#[cfg(feature = "regional")]
pub(crate) mod redis;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use selvedge_protocol::Rights;

use crate::record::LogRecord;
use crate::{DocumentId, Position, Result};

/// What is told about a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusMessage {
    /// A record is in the region's log.
    Logged {
        /// Its own position.
        position: Position,
        /// The record.
        record: Arc<LogRecord>,
    },
    /// A relay shows a record that its log is silent about, with the proof that lets readers give it back.
    Tentative {
        /// The record; no position: no log is known to hold it.
        record: Arc<LogRecord>,
    },
    /// A session's presence changed.
    Presence {
        /// The relay process that tells it.
        relay: u64,
        /// The session at that relay.
        session: u64,
        /// What it shows; `None`: it left.
        data: Option<Vec<u8>>,
        /// The user it belongs to, as authenticated.
        user: Option<String>,
    },
    /// A principal's rights changed.
    Rights {
        /// The principal.
        principal: String,
        /// Its rights from now on.
        rights: Rights,
    },
    /// The document was deleted, up to and with this generation.
    Deleted {
        /// The deleted generation.
        generation: u64,
    },
    /// Everything of this log below this position is durable in the other region too.
    Replicated {
        /// One past the last such record.
        watermark: Position,
    },
}

/// What a subscriber hears next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(Arc<BusMessage>),
    /// So many messages were dropped because this subscriber was too slow: read the log from your position.
    Lagged(u64),
}

/// One subscription; dropping it ends it. Bounded: a slow reader loses the oldest messages and is told.
pub trait Subscription: Send {
    /// Waits for the next message. Safe to drop before it answers.
    ///
    /// # Errors
    /// `Closed` when the bus is shut down, `Unavailable` when the connection to it is lost: subscribe again, then read the log.
    fn heard(&mut self) -> BoxFuture<'_, Result<Heard>>;
}

/// The region's bus.
pub trait Bus: Send + Sync {
    /// Tells every present subscriber of the document. Never waits for a subscriber.
    fn publish<'a>(&'a self, document: &'a DocumentId, message: Arc<BusMessage>) -> BoxFuture<'a, Result<()>>;

    /// Hears everything published about a document from now on.
    fn subscribe<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Box<dyn Subscription>>>;

    /// The hot tail: records told lately, from a reading position to the newest, in order of position.
    ///
    /// # Errors
    /// `Evicted` when the tail does not reach back to `from`: read the log.
    fn recent<'a>(&'a self, document: &'a DocumentId, from: Position) -> BoxFuture<'a, Result<Vec<Arc<BusMessage>>>>;

    /// Takes a lock for so long, or renews it; answers whether `holder` has it now. A lock on the bus only saves double work:
    /// it may be lost with the bus, and nothing that must be done once may depend on it.
    fn lock<'a>(&'a self, name: &'a str, holder: u64, for_ms: u64) -> BoxFuture<'a, Result<bool>>;

    /// Gives a lock back, if `holder` still has it.
    fn unlock<'a>(&'a self, name: &'a str, holder: u64) -> BoxFuture<'a, Result<()>>;
}
