//! Subscribing to a document.

use bincode::{Decode, Encode};
use selvedge_engine::SiteId;

use super::{Bounded, at_most};
use crate::error::DecodeError;
use crate::level::{AckLevel, Position, Rights};
use crate::wire::site_fields;

/// Most sites announced in one open; entries of further sites follow when the first are acknowledged.
pub const OUTBOX_SITES_MAX: usize = 1024;

/// Subscribes to a document; first message on its channel.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Open {
    /// `tenant/name`, or a bare name of the token's tenant.
    pub document: String,
    /// The generation of the client's copy; 0: it has none.
    pub generation: u64,
    /// The last place in a log that the client's copy covers.
    pub position: Option<Position>,
    /// Hash of the client's vector without what its outbox still holds ("base"); 0: it has nothing.
    pub vector_hash: u64,
    /// What the client's outbox holds, one range per site, ascending by site.
    pub outbox: Vec<SiteRange>,
    /// Bytes of the outbox as durable deltas: paced by credit.
    pub outbox_bytes: u64,
    /// Token for this document; without one the connection's counts.
    pub token: Option<String>,
    /// Whether the client can use a leased site.
    pub wants_site: bool,
}

impl Bounded for Open {
    fn check(&self) -> Result<(), DecodeError> {
        at_most("the document's name", self.document.len(), 64 + 1 + 128)?;
        at_most("the list of sites", self.outbox.len(), OUTBOX_SITES_MAX)?;
        at_most("a token", self.token.as_ref().map_or(0, String::len), super::connection::TOKEN_BYTES_MAX)?;
        let ordered = self.outbox.windows(2).all(|pair| pair[0].site < pair[1].site);
        let ranges = self.outbox.iter().all(|range| 1 <= range.first && range.first <= range.last);
        if ordered && ranges { Ok(()) } else { Err(DecodeError::Malformed("the outbox announced")) }
    }
}

/// Counters of one site, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteRange {
    /// The site.
    pub site: SiteId,
    /// First counter.
    pub first: u64,
    /// Last counter.
    pub last: u64,
}

site_fields!(SiteRange { first, last });

/// Answer to [`Open`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OpenOk {
    /// A site for this load.
    pub lease: Option<SiteLease>,
    /// What this session may do.
    pub rights: Rights,
    /// The document's generation.
    pub generation: u64,
    /// The highest level this deployment acknowledges; the outbox forgets there.
    pub highest: AckLevel,
    /// How the client gets what it lacks.
    pub sync: SyncPlan,
    /// How far the server has each site announced in the outbox.
    pub known: Vec<Known>,
    /// Bytes of the announced outbox that may be sent before any further credit.
    pub credit: u64,
}

impl Bounded for OpenOk {
    fn check(&self) -> Result<(), DecodeError> {
        at_most("the list of sites", self.known.len(), OUTBOX_SITES_MAX)
    }
}

/// A site for one load, and the counter to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteLease {
    /// The site.
    pub site: SiteId,
    /// The first counter to use: 1, or one past where its last holder ended.
    pub next_counter: u64,
}

site_fields!(SiteLease { next_counter });

/// How far a server's log has a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The site.
    pub site: SiteId,
    /// Its last counter in the log, 0 for none.
    pub counter: u64,
}

site_fields!(Known { counter });

/// How a client gets what it lacks. Every plan ends with [`super::Synced`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SyncPlan {
    /// The vectors are equal.
    Equal,
    /// The log is sent from the client's position.
    Tail,
    /// The client sends its vector and gets what is missing.
    SendVector,
}
