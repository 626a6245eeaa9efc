//! Deltas up and down, and what is said about them.

use bincode::{Decode, Encode};
use selvedge_engine::SiteId;

use super::{Bounded, at_most};
use crate::error::DecodeError;
use crate::level::Position;
use crate::wire::{Bytes, site_fields};

/// Bytes of a broadcast tag.
pub const TAG_BYTES: usize = 16;
const SENTENCE_BYTES_MAX: usize = 1024;

/// Deltas of a client, in the upstream codec of its channel.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Push {
    /// Number of the push on its channel, from 0: a lost one must not shift what follows.
    pub seq: u64,
    /// The place of a broadcast tag: `Some` only where the feature was agreed, on frames pushed back.
    pub tag: Option<[u8; TAG_BYTES]>,
    /// Stream-coded deltas.
    pub deltas: Bytes,
}

impl Bounded for Push {}

/// Deltas of others.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Deltas {
    /// The place in the log that a copy covers after these; `None` for what no log holds yet.
    pub position: Option<Position>,
    /// Epoch of the room's stream; 0: this frame stands alone, with a codec of its own.
    pub epoch: u64,
    /// Number of the frame within its epoch, from 0.
    pub seq: u64,
    /// The place of a broadcast tag: `Some` only where the feature was agreed.
    pub tag: Option<[u8; TAG_BYTES]>,
    /// Stream-coded deltas.
    pub deltas: Bytes,
}

impl Bounded for Deltas {}

/// How far a site's deltas are safe. Cumulative, never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The site.
    pub site: SiteId,
    /// Every counter up to this one is in the region's log.
    pub region: u64,
    /// Every counter up to this one is in the other region's log, too.
    pub replicated: u64,
}

site_fields!(Ack { region, replicated });

impl Bounded for Ack {
    fn check(&self) -> Result<(), DecodeError> {
        if self.replicated <= self.region { Ok(()) } else { Err(DecodeError::Malformed("an ack")) }
    }
}

/// A push began beyond what the server has of the site; it was dropped: send again from `have + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The site.
    pub site: SiteId,
    /// The last counter the server has.
    pub have: u64,
}

site_fields!(Gap { have });

impl Bounded for Gap {}

/// More bytes of the announced outbox may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Credit {
    /// Bytes on top of what was granted before.
    pub bytes: u64,
}

impl Bounded for Credit {}

/// A push refused for good: everything of `site` from counter `from` on stays in the outbox, the document turns read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The site.
    pub site: SiteId,
    /// First counter refused.
    pub from: u64,
    /// A [`crate::CloseCode`].
    pub code: u16,
    /// A sentence for people.
    pub message: String,
}

site_fields!(Refused { from, code, message });

impl Bounded for Refused {
    fn check(&self) -> Result<(), DecodeError> {
        at_most("a sentence", self.message.len(), SENTENCE_BYTES_MAX)
    }
}
