//! One session's subscription as the room sees it.

use std::sync::Arc;

use selvedge_engine::{SiteId, VersionVector};
use selvedge_protocol::message::{Open, SiteLease};
use selvedge_protocol::{Instant, Rights};

use super::event::Shared;
use super::ledger::Entry;

/// One session's subscription.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) principal: String,
    pub(crate) user: Option<String>,
    pub(crate) rights: Rights,
    pub(crate) seeds: bool,
    /// It keeps what it is shown with a proof, and gives it back.
    pub(crate) tags: bool,
    pub(crate) state: State,
    /// What it sent itself.
    pub(crate) own: VersionVector,
    /// What it shows to the others.
    pub(crate) presence: Option<Vec<u8>>,
    /// Bytes of announced outbox confirmed and not given back as credit yet.
    pub(crate) credit_due: u64,
    /// Bytes of announced outbox it may still send without more credit.
    pub(crate) outbox_left: u64,
}

/// How far a session is.
#[derive(Debug)]
pub(crate) enum State {
    /// It waits for `open-ok`.
    Joining(Box<Joining>),
    /// It was asked for its vector.
    Asked,
    /// It waits for a state diff against this vector.
    Waiting { has: VersionVector },
    /// It is being sent a state diff, or more of the recent past than its queue takes at once.
    Receiving(Transfer),
    /// Its queue ran over: it is sent nothing until it has drained.
    Lagging { has: VersionVector, since: Instant },
    /// It has everything sent so far: `sent` and what it wrote itself.
    Live,
    /// It only writes.
    Writer,
}

/// What `open-ok` still waits for.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) open: Open,
    pub(crate) listens: bool,
    /// `None`: the lease was asked for and has not come.
    pub(crate) lease: Option<Option<SiteLease>>,
    pub(crate) plan: Plan,
}

/// How a session will get what it lacks.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Not decided: the log has to be read up to the position the session names.
    Head,
    /// Its tail is being read from the log.
    Reading { request: u64 },
    /// It has this, and lacks these.
    Tail { has: VersionVector, entries: Vec<Entry> },
    /// It has everything.
    Equal,
    /// It has nothing.
    Whole,
    /// It has to say what it has.
    Ask,
}

/// A state diff, or a long piece of the recent past, under way.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// What the session has once it has all messages.
    pub(crate) then_has: VersionVector,
    /// The messages, shared by all that are sent the same.
    pub(crate) chunks: Arc<Vec<Shared>>,
    /// The next chunk.
    pub(crate) next: usize,
    /// When it last made progress.
    pub(crate) progress: Instant,
    /// Sites of what comes with proofs: acked to it when it has all of it.
    pub(crate) proven: Vec<SiteId>,
}

impl Member {
    /// Whether it is sent what happens as it happens.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, State::Live)
    }

    /// Whether it gets presence: it is up to date, or nearly.
    pub(crate) fn sees_presence(&self) -> bool {
        matches!(self.state, State::Live)
    }
}
