//! What a client asks its shell to do or tells its user.

use selvedge_engine::TextPatch;

use super::config::{KeptFrame, OutboxEntry, OutboxKey};
use crate::close::CloseCode;
use crate::endpoint::{CertificateHash, Transport};
use crate::error::DecodeError;
use crate::frame::Channel;
use crate::level::{AckLevel, Position, Rights};
use crate::signed_list::ListStamp;

/// One thing to do. Executed in order; a shell holds no logic of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Open a connection; answer with `connect_opened` or `connect_failed`.
    Connect {
        /// Number of the attempt, named in every answer.
        attempt: u64,
        /// Where.
        url: String,
        /// How.
        transport: Transport,
        /// The only certificates to accept there; none: those that the shell trusts anyway.
        certificates: Vec<CertificateHash>,
    },
    /// Send bytes as one message.
    Send {
        /// On which connection.
        attempt: u64,
        /// Whole frames.
        bytes: Vec<u8>,
    },
    /// Close a connection; nothing more is said about it.
    Disconnect {
        /// Which.
        attempt: u64,
        /// With this code.
        code: CloseCode,
    },
    /// Write to the store, all or nothing, durably; answer with `stored` or `store_failed`. One is in flight per document.
    Store {
        /// Whose.
        channel: Channel,
        /// Named in the answer.
        ticket: StoreTicket,
        /// What to write.
        transaction: StoreTransaction,
    },
    /// Show this in the editor.
    Patch {
        /// Whose.
        channel: Channel,
        /// In order, UTF-16 units.
        patches: Vec<TextPatch>,
        /// Where it came from.
        origin: Origin,
    },
    /// A delta of this replica is in the store: tell the other tabs and whoever listens for updates.
    LocalDelta {
        /// Whose.
        channel: Channel,
        /// The durable delta.
        bytes: Vec<u8>,
    },
    /// An entry of the document's `meta` map changed from outside.
    Meta {
        /// Whose.
        channel: Channel,
    },
    /// How safe the text is, after a change.
    Saved {
        /// Whose.
        channel: Channel,
        /// The state now.
        state: SaveState,
    },
    /// The document's status changed.
    Status {
        /// Whose.
        channel: Channel,
        /// The status now.
        status: Status,
    },
    /// Everything the server had when asked is here; comes once per open.
    Synced {
        /// Whose.
        channel: Channel,
    },
    /// Other sessions' presence changed.
    Presence {
        /// Whose.
        channel: Channel,
        /// What changed; `data` `None`: gone.
        changed: Vec<PresenceChange>,
    },
    /// What this session may do changed.
    Rights {
        /// Whose.
        channel: Channel,
        /// From now on.
        rights: Rights,
    },
    /// A token is needed; answer with `provide_token`.
    TokenNeeded {
        /// For this document; `None`: for the connection.
        channel: Option<Channel>,
    },
    /// The document was rebuilt under a new generation: this replica starts over. What it was is handed out once.
    Reset {
        /// Whose.
        channel: Channel,
        /// The new generation.
        generation: u64,
        /// The engine's snapshot of the copy given up.
        previous: Vec<u8>,
        /// How many of its operations no server had acknowledged.
        unsent_ops: u64,
    },
    /// A push was refused for good: the document is read-only until `retry_refused` or `discard_refused`. With 4413 a
    /// quota refused growth: deletes are still taken, and what was refused is tried again by itself.
    Refused {
        /// Whose.
        channel: Channel,
        /// Why.
        code: CloseCode,
        /// A sentence for people.
        message: String,
    },
    /// The store failed; edits go on and are only as safe as `Saved` says.
    StoreFailed {
        /// Whose.
        channel: Channel,
        /// How.
        error: StoreError,
    },
    /// The document was closed by the server for good.
    Closed {
        /// Whose.
        channel: Channel,
        /// Why.
        code: CloseCode,
        /// A sentence for people.
        reason: String,
    },
    /// Verify a signed list of endpoints by the keys trusted here; answer with `endpoints_verified` or `endpoints_forged`. One is
    /// on its way at a time.
    VerifyEndpoints {
        /// See [`crate::SignedList`].
        signed: String,
    },
    /// This list holds from now on: keep it for the next load, in the place of an older one.
    KeepEndpoints {
        /// As it was verified.
        signed: String,
        /// Its place in the order of lists.
        stamp: ListStamp,
    },
    /// A list of endpoints was refused; what was known before still holds.
    EndpointsRefused {
        /// Why.
        fault: ListFault,
    },
    /// The link changed: `None` while there is none.
    Link {
        /// The connection in use.
        link: Option<LinkInfo>,
    },
}

/// Why a list of endpoints was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListFault {
    /// No key trusted here has signed it.
    #[error("a list of endpoints was refused: no key that is trusted here has signed it")]
    Forged,
    /// A newer one is known.
    #[error("a list of endpoints was refused: it is of epoch {}, and one of epoch {} is known", told.epoch, held.epoch)]
    Older {
        /// What it is of.
        told: ListStamp,
        /// What is known.
        held: ListStamp,
    },
    /// It is signed and yet cannot be read.
    #[error("a list of endpoints was refused: {0}")]
    Malformed(DecodeError),
}

/// Names one store transaction of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreTicket(pub u64);

/// One atomic write of a document's part of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreTransaction {
    /// Put or replace.
    pub put_outbox: Vec<OutboxEntry>,
    /// Delete; a key that is not there is fine.
    pub delete_outbox: Vec<OutboxKey>,
    /// Frames to put or replace: of what the state in the same transaction shows.
    pub put_frames: Vec<KeptFrame>,
    /// Frames to delete; a key that is not there is fine.
    pub delete_frames: Vec<OutboxKey>,
    /// Replace the state, if its vector dominates the stored one of the same generation, or if it says `replace`; else
    /// fail the whole transaction with [`StoreError::Behind`]. Generation 0 (no server was asked yet) is compared like the
    /// same one, and never replaces a greater number.
    pub state: Option<StoredState>,
}

/// The state row of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredState {
    /// The encoded version vector of the snapshot.
    pub vector: Vec<u8>,
    /// The document's generation.
    pub generation: u64,
    /// The highest level this deployment gives, as last told.
    pub highest: AckLevel,
    /// The place in a log that the snapshot covers.
    pub position: Option<Position>,
    /// The engine's snapshot.
    pub snapshot: Vec<u8>,
    /// A copy that was fetched anew: it replaces the stored one whatever that covers.
    pub replace: bool,
}

/// Why a store transaction did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another tab stored a state that this one lacks part of: its snapshot comes along, to be merged.
    #[error("another tab has stored more of the document")]
    Behind {
        /// The stored snapshot.
        state: Vec<u8>,
    },
    /// The device has no room.
    #[error("this device has no room left for the document")]
    Quota,
    /// Anything else.
    #[error("this device could not save the document: {0}")]
    Failed(String),
}

/// Where a patch came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Another person or device.
    Remote,
    /// Another tab of this profile.
    Tab,
    /// The store, or a rebuilt copy of the document.
    Restore,
}

/// How safe the text is. Counts are of operations and bytes that have not reached a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveState {
    /// Not in this device's store.
    pub device: Pending,
    /// Not in the region's log.
    pub region: Pending,
    /// Not in the other region's log.
    pub replicated: Pending,
    /// Age of the oldest edit that has not reached the highest level, in milliseconds.
    pub oldest_pending_ms: u64,
    /// The highest level this deployment gives.
    pub highest: AckLevel,
    /// Number of the latest edit of this load; what it was when somebody asked is saved once `through` has reached it.
    pub edited: u64,
}

impl SaveState {
    /// Whether everything has reached `level`, or the highest this deployment gives if that is lower.
    pub fn is_saved(&self, level: AckLevel) -> bool {
        self.pending(level.min(self.highest)).ops == 0
    }

    /// Whether every edit up to number `edit` has reached `level`, or the highest this deployment gives.
    pub fn is_saved_through(&self, edit: u64, level: AckLevel) -> bool {
        self.pending(level.min(self.highest)).through >= edit
    }

    /// What has not reached `level`.
    pub fn pending(&self, level: AckLevel) -> Pending {
        match level {
            AckLevel::Device => self.device,
            AckLevel::Region => self.region,
            AckLevel::Replicated => self.replicated,
        }
    }
}

/// Operations waiting for a level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Counters: one a character, one a deletion.
    pub ops: u64,
    /// Bytes of sealed deltas.
    pub bytes: u64,
    /// Every edit of this load up to this number has reached the level; see [`SaveState::edited`].
    pub through: u64,
}

/// What a document is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Asked to be offline.
    Offline,
    /// No connection yet, or none any more; trying.
    Connecting,
    /// Getting what the server has.
    Syncing,
    /// Up to date.
    Connected,
    /// Up to date, but may not write.
    ReadOnly,
    /// Closed for good.
    Closed,
}

impl Status {
    /// The word that users see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Connecting => "connecting",
            Self::Syncing => "syncing",
            Self::Connected => "connected",
            Self::ReadOnly => "readonly",
            Self::Closed => "closed",
        }
    }
}

/// One session's presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceChange {
    /// Whose.
    pub session: u64,
    /// The application's bytes; `None`: gone.
    pub data: Option<Vec<u8>>,
    /// The user as the server verified it.
    pub user: Option<String>,
}

/// The connection in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Where.
    pub url: String,
    /// Name of the region.
    pub region: String,
    /// How.
    pub transport: Transport,
    /// Number of this session.
    pub session: u64,
    /// Smoothed round trip, in milliseconds.
    pub rtt_ms: u64,
}
