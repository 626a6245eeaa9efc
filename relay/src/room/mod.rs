//! The room: one document's live state at this relay, one owner, no I/O of its own.
//!
//! Events and instants go in, effects come out; the shell ([`actor`]) and the simulator execute them. It holds no text: what
//! needs the text is asked of the shell, made from snapshot and tail, and let go. Until snapshot and tail are read it
//! neither acks nor drops. What it promises:
//!
//! - An ack names only counters that the region's log has confirmed, without holes, and never goes back.
//! - A session is sent what the log holds and *its own* vector lacks; what the room has `seen` decides nothing there.
//! - A push is dropped only if `logged` covers it; one that is only `seen` is appended again.
//! - A site's pushes enter the log in counter order; a failed append is repeated with everything later after it.
//! - Dots beyond a hole are held, and released to every session when the hole fills.
//! - A slow reader is resynced later, never waited for.

pub mod actor;
mod backlog;
mod config;
mod elsewhere;
mod event;
mod fanout;
pub(crate) mod health;
mod hearing;
mod join;
mod ledger;
mod member;
mod push;
mod queue;
mod rebase;
mod refill;
pub mod registry;
mod replicated;
mod rule;
mod tags;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use selvedge_engine::{SiteId, VersionVector};
use selvedge_protocol::message::Closed;
use selvedge_protocol::stream::RoomEncoder;
use selvedge_protocol::tag::TagKeys;
use selvedge_protocol::{AckLevel, CloseCode, DocumentId, Instant, Position};

use backlog::Backlog;
pub use config::RoomConfig;
use elsewhere::Elsewhere;
pub use event::{
    Failure, Join, Loaded, Materialised, Outgoing, PushedDelta, RoomEffect, RoomEvent, SessionKey, Shared, TailEntry,
    TailPage,
};
use ledger::{Entry, Ledger};
use member::{Member, State};
use queue::Queue;
use rebase::Token;
use refill::Refill;
use replicated::Replicated;
use rule::Missing;
#[cfg(any(test, feature = "planted-faults"))]
pub use rule::Rule;

/// From this many sessions on the hot tick holds.
const HOT_SESSIONS: usize = 1_000;
/// Joins that wait for the document to be loaded; more are told to come again.
const WAITING_JOINS_MAX: usize = 20_000;
/// Pause before a site whose binding failed, or a diff that came too early, is tried again, in milliseconds.
const PAUSE_MS: u64 = 200;

/// What a room is told once.
#[derive(Clone, Debug)]
pub struct RoomSetup {
    /// Limits and rhythms.
    pub config: RoomConfig,
    /// The document.
    pub document: DocumentId,
    /// The highest level that this deployment acknowledges.
    pub highest: AckLevel,
    /// The relay was started with `--restored`: what the log lacks is taken from writers.
    pub restored: bool,
    /// Keys of broadcast tags; `None`: nothing is tagged, and nothing is shown before the log has it.
    pub tags: Option<Arc<TagKeys>>,
}

/// Numbers a room has gathered since they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomCounts {
    /// Records confirmed by the log.
    pub confirmed: u64,
    /// Deltas shown before the log had them.
    pub tentative: u64,
    /// Deltas taken from others than their author, by their proof.
    pub proven: u64,
    /// Appends that failed and are repeated.
    pub append_failures: u64,
    /// Operations that came in.
    pub ops: u64,
    /// Frames encoded for all sessions.
    pub frames: u64,
    /// Frames handed to sessions.
    pub deliveries: u64,
    /// Pushes that began beyond what the room has.
    pub gaps: u64,
    /// Pushes refused for good.
    pub refused: u64,
    /// Pushes dropped for want of room and asked for again.
    pub deferred: u64,
    /// Pushes of dots that were known already.
    pub repeated: u64,
    /// Sessions whose queue ran over.
    pub resyncs: u64,
    /// State diffs begun.
    pub transfers: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Room {
    setup: RoomSetup,
    phase: Phase,
    members: BTreeMap<SessionKey, Member>,
    queue: Queue,
    encoder: RoomEncoder,
    /// Released and not sent yet.
    batch: Vec<Entry>,
    /// What has been sent to every live session.
    sent: VersionVector,
    flush_at: Option<Instant>,
    /// The batch is what did not fit the last flush.
    flushing: bool,
    flushed_at: Option<Instant>,
    changed_presence: BTreeSet<u64>,
    /// With which session the next presence tick begins.
    presence_from: u64,
    elsewhere: Elsewhere,
    presence_at: Option<Instant>,
    head_check_at: Instant,
    tail: TailState,
    /// The watermark was asked for.
    asking_watermark: bool,
    backlog: Backlog,
    materialising: Option<(u64, Vec<SessionKey>)>,
    materialise_at: Option<Instant>,
    requests: u64,
    transfers: u64,
    starved_at: Option<Instant>,
    uploads: FxHashMap<SessionKey, Upload>,
    growth: Growth,
    op_rate: OpRate,
    idle_since: Option<Instant>,
    refill: Refill,
    token: Token,
    /// Sites that rose since readers were told.
    rising: BTreeSet<SiteId>,
    reader_acks_at: Option<Instant>,
    /// An append is under way, and the log has confirmed nothing since.
    silent_since: Option<Instant>,
    counts: RoomCounts,
    effects: VecDeque<RoomEffect>,
    /// The document was deleted up to and with this generation.
    deleted_to: u64,
    /// A rule that a test has taken away.
    missing: Missing,
}

#[derive(Debug)]
enum Phase {
    /// Nobody came yet.
    New,
    /// Snapshot and tail are being read; these wait.
    Loading(Vec<Join>),
    Ready(Box<Ready>),
    /// Refused to everybody, as long as this room is there.
    Refused(CloseCode, &'static str),
}

#[derive(Debug)]
struct Ready {
    generation: u64,
    ledger: Ledger,
    /// `None`: there is no other region.
    replicated: Option<Replicated>,
    /// What was loaded has its pair; if not, it gets one when the log has been read to its end.
    paired: bool,
}

/// Reading the log up to its head.
#[derive(Debug, Default)]
struct TailState {
    request: Option<u64>,
    /// Read again as soon as the present request is answered.
    again: bool,
}

/// A state that the log lacks and a writer brings.
#[derive(Debug)]
enum Upload {
    /// Asked for.
    Asked,
    /// On its way into the log; done when it holds this.
    Appending(VersionVector),
}

/// An upper bound of the document's text, made exact when it matters.
#[derive(Debug, Default)]
struct Growth {
    text_bytes: u64,
    /// Nothing was accepted since it was measured.
    exact: bool,
    measure: bool,
}

/// Operations per second of the whole document, as a bucket.
#[derive(Debug, Default)]
struct OpRate {
    level: u64,
    at: Instant,
}

impl Room {
    /// A room nobody has entered. It asks for its document when the first session joins.
    pub fn new(setup: RoomSetup, now: Instant) -> Self {
        let config = &setup.config;
        let queue = Queue::new(config.unconfirmed_bytes_max, config.append_bytes_max, config.append_retry_ms);
        Room {
            head_check_at: now.after(config.head_check_ms),
            setup,
            phase: Phase::New,
            members: BTreeMap::new(),
            queue,
            encoder: RoomEncoder::new(now),
            batch: Vec::new(),
            sent: VersionVector::new(),
            flush_at: None,
            flushing: false,
            flushed_at: None,
            changed_presence: BTreeSet::new(),
            presence_from: 0,
            elsewhere: Elsewhere::new(now),
            presence_at: None,
            tail: TailState::default(),
            asking_watermark: false,
            backlog: Backlog::default(),
            materialising: None,
            materialise_at: None,
            requests: 0,
            transfers: 0,
            starved_at: None,
            uploads: FxHashMap::default(),
            growth: Growth::default(),
            op_rate: OpRate::default(),
            idle_since: Some(now),
            refill: Refill::default(),
            token: Token::default(),
            rising: BTreeSet::new(),
            reader_acks_at: None,
            silent_since: None,
            counts: RoomCounts::default(),
            effects: VecDeque::new(),
            deleted_to: 0,
            missing: Missing::default(),
        }
    }

    /// This room without one of its rules: only for tests that show what the rule is for.
    #[cfg(any(test, feature = "planted-faults"))]
    #[must_use]
    pub fn without(mut self, rule: Rule) -> Self {
        self.missing = Missing::one(rule);
        self
    }

    /// Takes an event. Afterwards [`Room::poll_effect`] until it is empty.
    pub fn handle(&mut self, event: RoomEvent, now: Instant) {
        match event {
            RoomEvent::Join(join) => self.join(*join, now),
            RoomEvent::Loaded(outcome) if self.refill.is_looking() => self.looked(outcome.map(|loaded| *loaded)),
            RoomEvent::Loaded(outcome) => self.loaded(outcome.map(|loaded| *loaded), now),
            RoomEvent::Leave { key } => self.leave(key, now),
            RoomEvent::Push { key, deltas } => self.push(key, deltas, now),
            RoomEvent::Vector { key, vector } => self.vector(key, vector, now),
            RoomEvent::StateDiff { key, bytes } => self.state_diff(key, bytes),
            RoomEvent::Presence { key, data } => self.presence(key, data, now),
            RoomEvent::Rights { key, rights } => self.rights(key, rights),
            RoomEvent::Bye { key, site, counter } => self.bye(key, site, counter),
            RoomEvent::Congested { key } => self.congested(key, now),
            RoomEvent::Drained { key } => self.drained(key, now),
            RoomEvent::RebaseAsk { key } => self.rebase_ask(key, now),
            RoomEvent::TokenTaken { key, taken } => self.token_taken(key, taken, now),
            RoomEvent::Appended { append, outcome } => self.appended(append, outcome, now),
            RoomEvent::Bound { site, outcome } => self.bound(site, outcome, now),
            RoomEvent::Leased { key, lease } => self.leased(key, lease, now),
            RoomEvent::Tail { request, outcome } => self.tail_read(request, outcome, now),
            RoomEvent::Materialised { request, outcome } => self.materialised(request, outcome, now),
            RoomEvent::Absorbed { key, outcome } => self.absorbed(key, outcome, now),
            RoomEvent::Heard { position, generation, delta } => self.heard(position, generation, &delta),
            RoomEvent::HeardTentative { generation, delta } => self.heard_tentative(generation, &delta),
            RoomEvent::HeardPresence { session, data, user } => self.heard_presence(session, data, user, now),
            RoomEvent::BusLagged => self.bus_lagged(),
            RoomEvent::Replicated { watermark } => self.watermark(watermark, now),
            RoomEvent::Watermark(watermark) => self.watermark_read(watermark, now),
            RoomEvent::Backlog(records) => self.backlog_read(records),
            RoomEvent::Deleted { generation } => self.deleted(generation),
        }
        self.advance(now);
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: Instant) {
        if now >= self.head_check_at {
            self.head_check_at = now.after(self.setup.config.head_check_ms);
            if !self.members.is_empty() {
                self.read_tail();
                self.ask_watermark();
                self.ask_backlog();
            }
        }
        self.repeat_presence(now);
        if self.presence_at.is_some_and(|at| now >= at) {
            self.flush_presence(now);
        }
        if self.reader_acks_at.is_some_and(|at| now >= at) {
            self.tell_readers();
        }
        self.close_slow(now);
        if self.is_idle() && self.idle_since.is_some_and(|since| now.since(since) >= self.setup.config.idle_unload_ms) {
            self.idle_since = Some(now);
            self.effects.push_back(RoomEffect::Unload);
        }
        self.advance(now);
    }

    /// When [`Room::tick`] is due next.
    pub fn deadline(&self) -> Option<Instant> {
        let config = &self.setup.config;
        let slow = self.members.values().filter_map(|member| match &member.state {
            State::Lagging { since, .. } => Some(since.after(config.resync_ms_max)),
            State::Receiving(transfer) => Some(transfer.progress.after(config.resync_ms_max)),
            _ => None,
        });
        let head = (!self.members.is_empty()).then_some(self.head_check_at);
        let idle = self.idle_since.filter(|_| self.is_idle()).map(|since| since.after(config.idle_unload_ms));
        let others = [
            self.flush_at,
            self.presence_at,
            self.materialise_at,
            self.starved_at,
            self.queue.retry_at(),
            self.reader_acks_at,
            self.silent_at(),
            self.refill.deadline(),
        ];
        let head = head.into_iter().chain(self.presence_repeat_at());
        others.into_iter().flatten().chain(head).chain(idle).chain(slow).min()
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<RoomEffect> {
        self.effects.pop_front()
    }

    /// The counts since the last call.
    pub fn take_counts(&mut self) -> RoomCounts {
        std::mem::take(&mut self.counts)
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.members.len()
    }

    /// The subscriptions of a principal, those that wait to be let in among them.
    pub(crate) fn sessions_of<'a>(&'a self, principal: &'a str) -> impl Iterator<Item = SessionKey> + 'a {
        let waiting = match &self.phase {
            Phase::Loading(waiting) => waiting.as_slice(),
            _ => &[],
        };
        let waiting = waiting.iter().filter(move |join| join.principal == principal).map(|join| join.key);
        let members = self.members.iter().filter(move |(_, member)| member.principal == principal);
        members.map(|(key, _)| *key).chain(waiting)
    }

    /// What the region's log holds, once it is known.
    pub fn logged(&self) -> Option<&VersionVector> {
        self.ready().map(|ready| ready.ledger.logged())
    }

    /// `logged`, and one past the highest position of any record in it: what a replicated watermark is compared with.
    pub fn paired(&self) -> Option<(&VersionVector, Position)> {
        self.ready().map(|ready| (ready.ledger.logged(), ready.ledger.paired()))
    }

    /// What the other region holds too, as far as is known; `None`: there is none.
    pub fn replicated(&self) -> Option<&VersionVector> {
        self.ready().and_then(|ready| ready.replicated.as_ref()).map(Replicated::vector)
    }

    /// Everything that `logged`, the bus and the sessions told, without holes.
    pub fn seen(&self) -> Option<&VersionVector> {
        self.ready().map(|ready| ready.ledger.seen())
    }

    /// The document's generation, once it is known.
    pub fn generation(&self) -> Option<u64> {
        self.ready().map(|ready| ready.generation)
    }

    /// Bytes that wait for the log.
    pub fn unconfirmed_bytes(&self) -> u64 {
        self.queue.bytes()
    }

    /// Whether the log has been refusing appends.
    pub fn is_failing(&self) -> bool {
        self.queue.is_failing()
    }

    /// Whether nobody is here and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty()
            && self.queue.is_idle()
            && !matches!(self.phase, Phase::Loading(_))
            && self.tail.request.is_none()
            && self.materialising.is_none()
    }

    fn ready(&self) -> Option<&Ready> {
        match &self.phase {
            Phase::Ready(ready) => Some(ready),
            _ => None,
        }
    }

    fn ledger(&mut self) -> Option<&mut Ledger> {
        match &mut self.phase {
            Phase::Ready(ready) => Some(&mut ready.ledger),
            _ => None,
        }
    }

    /// What follows from any change: appends, frames, asked-again sites, diffs.
    fn advance(&mut self, now: Instant) {
        self.ask_starved(now);
        self.append(now);
        self.show_tentatively(now);
        self.flush(now);
        self.give_token();
        self.materialise(now);
        self.look_after_holes(now);
        if self.is_idle() {
            self.idle_since.get_or_insert(now);
        } else {
            self.idle_since = None;
        }
    }

    fn send(&mut self, key: SessionKey, message: impl Into<Outgoing>) {
        self.effects.push_back(RoomEffect::Send { key, message: message.into() });
    }

    fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Closes the document for one session, which has left then.
    fn close(&mut self, key: SessionKey, code: CloseCode, reason: &str) {
        let generation = self.generation().unwrap_or(0);
        self.remove(key);
        let closed = Closed { code: code.0, reason: reason.to_owned(), retry_after_ms: 0, generation };
        self.effects.push_back(RoomEffect::Close { key, closed });
    }

    /// Refuses the document to everybody, here and coming, as long as this room is there.
    fn refuse_document(&mut self, code: CloseCode, reason: &'static str) {
        let keys: Vec<SessionKey> = self.members.keys().copied().collect();
        for key in keys {
            self.close(key, code, reason);
        }
        self.phase = Phase::Refused(code, reason);
    }

    /// Whether its document was deleted: nobody is let in any more.
    pub(crate) fn is_deleted(&self) -> bool {
        matches!(self.phase, Phase::Refused(CloseCode::DELETED, _))
    }

    fn deleted(&mut self, generation: u64) {
        self.deleted_to = self.deleted_to.max(generation);
        if self.generation().is_some_and(|mine| mine <= generation) {
            self.refuse_document(CloseCode::DELETED, "The document was deleted.");
        }
    }
}

#[cfg(test)]
mod tests;
