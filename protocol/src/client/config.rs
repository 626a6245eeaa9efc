//! What a client and a replica are given at their start.

use selvedge_engine::{Delta, SiteId};

use crate::document_id::DocumentId;
use crate::endpoint::{Endpoint, Transport};
use crate::level::{AckLevel, Position};
use crate::message::TAG_BYTES;

/// What a [`super::Client`] is given.
#[derive(Clone, Debug, Default)]
pub struct ClientConfig {
    /// Where to connect, best first: the bootstrap and the backstop.
    pub endpoints: Vec<Endpoint>,
    /// Whether relays are learnt from signed lists alone; the shell has keys to verify them by. Without it the lists of servers
    /// are taken as they come.
    pub signed: bool,
    /// What the shell can carry, best first; none: WebSocket alone. Addresses of other transports are not used.
    pub transports: Vec<Transport>,
    /// Token of the connection.
    pub token: Option<String>,
    /// Random bits for jitter, drawn anew at each load.
    pub seed: u64,
    /// Name and version of the program, for the server's logs.
    pub client: String,
    /// Whether to connect at once; else after [`super::Client::go_online`].
    pub online: bool,
}

/// What one document is opened with.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// The document.
    pub document: DocumentId,
    /// Who writes here: the token's principal, or `anon:<128 bits>`.
    pub principal: String,
    /// 64 random bits, drawn anew at each load: the site of a load that finds no server.
    pub site_seed: u64,
    /// Token for this document; without one the connection's counts.
    pub token: Option<String>,
    /// Whether somebody executes [`super::Effect::Store`]. Without a store the device level is reached with the region's.
    pub store: bool,
    /// What the store held; `None` for a new document.
    pub restored: Option<Restored>,
    /// Take over outbox entries of other principals under a new site (the first sign-in after anonymous writing).
    pub adopt: bool,
    /// Text that a document begins with which nobody has written yet, at most 16 KiB. Devices that begin it with the same
    /// text, even offline, have it once; where it turns out to have begun otherwise, this text is given up.
    pub initial_text: Option<String>,
}

impl ReplicaConfig {
    /// A replica without a store.
    pub fn new(document: DocumentId, principal: impl Into<String>, site_seed: u64) -> Self {
        let principal = principal.into();
        Self {
            document,
            principal,
            site_seed,
            token: None,
            store: false,
            restored: None,
            adopt: false,
            initial_text: None,
        }
    }
}

/// What a store held of one document.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The document's generation; 0: no server has been asked yet.
    pub generation: u64,
    /// The engine's snapshot; empty: none was stored.
    pub state: Vec<u8>,
    /// The last place in a log that the snapshot covers.
    pub position: Option<Position>,
    /// The highest level the deployment gave when last seen.
    pub highest: Option<AckLevel>,
    /// Every outbox entry of the document.
    pub outbox: Vec<OutboxEntry>,
    /// Every frame kept of the document.
    pub frames: Vec<KeptFrame>,
}

/// A delta of somebody else that the copy shows and the highest level does not cover yet; its key is (document, site, first).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFrame {
    /// The site that wrote it.
    pub site: SiteId,
    /// Its first counter.
    pub first: u64,
    /// Its last counter.
    pub last: u64,
    /// The document's generation.
    pub generation: u64,
    /// The relay's proof that it showed this; see [`crate::tag`].
    pub tag: [u8; TAG_BYTES],
    /// The durable delta.
    pub bytes: Vec<u8>,
}

/// One sealed delta as a store keeps it; its key is (document, site, first).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The site that wrote it.
    pub site: SiteId,
    /// Its first counter.
    pub first: u64,
    /// Its last counter.
    pub last: u64,
    /// Who wrote it.
    pub principal: String,
    /// The durable delta.
    pub bytes: Vec<u8>,
    /// How safe it is beyond this device.
    pub acked: AckLevel,
}

impl KeptFrame {
    /// The frame as a store of bytes keeps it: generation (8 bytes, little-endian), tag (16), durable delta.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.generation.to_le_bytes().to_vec();
        bytes.extend(self.tag);
        bytes.extend(&self.bytes);
        bytes
    }

    /// Reads what [`KeptFrame::encode`] wrote; `None`: it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (generation, rest) = bytes.split_first_chunk()?;
        let (tag, delta) = rest.split_first_chunk()?;
        let read = Delta::decode(delta).ok()?;
        Some(Self {
            site: read.site,
            first: read.first,
            last: read.last(),
            generation: u64::from_le_bytes(*generation),
            tag: *tag,
            bytes: delta.to_vec(),
        })
    }
}

/// Key of an outbox entry, or of a kept frame, within its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboxKey {
    /// The site that wrote it.
    pub site: SiteId,
    /// Its first counter.
    pub first: u64,
}
