//! One connection's work between its transport and the rooms, whatever carries it.
//!
//! A transport gives what comes in ([`Inbound`]) and takes what goes out ([`Outlet`]); limits, answers, rooms, drain and
//! the policy for slow readers are here, and so the same for all.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use selvedge_protocol::message::{Closed, Failure, Open};
use selvedge_protocol::{Channel, CloseCode, DocumentId, Instant, Rights};
use tokio::sync::watch;
use tracing::Instrument;

use super::address::Place;
use crate::app::App;
use crate::auth::{Access, Caller, TokenFault, combined};
use crate::clock::wall_ms;
use crate::listing::Listed;
use crate::metrics::Carrier;
use crate::room::actor::{RoomHandle, Sink};
use crate::room::{Join, RoomEvent, SessionKey};
use crate::session::outbound::{Batch, Next, Outbound};
use crate::session::{Fault, Session, SessionConfig, SessionEvent};

/// How long the last words to a client may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often rights are looked up again, in milliseconds, though nothing was heard: what a relay that is cut off misses heals by then.
const LOOK_AGAIN_MS: u64 = 60_000;
/// Where anything may have been decided, every session looks again within so many milliseconds, at a moment of its own.
const LOOK_SOON_MS: u64 = 3_000;
/// Pause between telling two rooms that an empty queue is theirs, so that the first can use it.
const TURN: Duration = Duration::from_millis(2);

/// What came in.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Whole frames, and nothing beside.
    Bytes(Vec<u8>),
    /// Whole frames of one document, from a stream of its own.
    Document {
        /// The document's channel.
        channel: Channel,
        /// Its frames.
        frames: Vec<u8>,
    },
    /// One datagram.
    Datagram(Vec<u8>),
    /// A document's stream has ended.
    Left(Channel),
    /// A document's stream carries what none may.
    Broken {
        /// The document's channel.
        channel: Channel,
        /// What it is.
        fault: Fault,
    },
    /// A sign of life without content.
    Alive,
    /// Something that no transport may carry.
    Fault(Fault),
    /// The connection is closed or lost.
    Gone,
}

/// The side of a transport that is read.
pub(crate) trait Inbound: Send {
    /// The next thing. Dropping the future loses nothing.
    fn next(&mut self) -> impl Future<Output = Incoming> + Send;
}

/// The side of a transport that is written.
pub(crate) trait Outlet: Send {
    /// Whether each channel is a stream of its own: batches are then of one channel.
    const APART: bool;

    /// Writes a batch; answers once the transport has taken it. `false`: the connection is lost.
    fn send(&mut self, batch: Batch) -> impl Future<Output = bool> + Send;

    /// Waits until something must be written again that may have been lost. Dropping the future loses nothing.
    fn repeat(&mut self) -> impl Future<Output = Batch> + Send {
        std::future::pending()
    }

    /// Writes the close.
    fn close(&mut self, fault: Fault) -> impl Future<Output = ()> + Send;
}

/// Serves one connection until its end.
pub(crate) async fn converse(
    app: Arc<App>,
    carrier: Carrier,
    inbound: impl Inbound,
    outlet: impl Outlet,
    admission: Result<Place, Fault>,
) {
    let session = app.next_session();
    let span = tracing::info_span!("session", id = session, transport = carrier.name());
    let limits = &app.config.limits;
    let outbound = Outbound::new(limits.outbound_bytes_max, limits.outbound_ms_max);
    let _registered = app.sessions.register(session, Arc::clone(&outbound));
    let config = SessionConfig {
        limits: limits.clone(),
        session,
        region: app.config.region.clone(),
        endpoints: app.endpoints(None),
        tags: app.registry.ground().tags.is_some(),
    };
    let write_ms = limits.outbound_ms_max + app.config.room.resync_ms_max;
    let conversation = Conversation {
        session: Session::new(config, app.clock.now()),
        number: session,
        rooms: HashMap::new(),
        caller: None,
        look_again_at: app.clock.now().after(LOOK_AGAIN_MS),
        outbound: Arc::clone(&outbound),
        place: None,
        principal: None,
        inbound,
        listed: app.listing.watch(),
        decided: app.decisions.watch(),
        app: Arc::clone(&app),
    };
    let mut writer = Box::pin(write(Arc::clone(&app), outlet, Arc::clone(&outbound), Duration::from_millis(write_ms)));
    let work = async {
        tokio::select! {
            () = conversation.run(admission) => {
                // What was queued last, and the close itself; a client that does not read them is not waited for.
                if outbound.fault().is_some() {
                    let _ = tokio::time::timeout(FAREWELL, &mut writer).await;
                }
            }
            () = &mut writer => {}
        }
        outbound.gone();
    };
    let counts = app.metrics.connections_of(carrier);
    counts.open.inc();
    counts.opened.inc();
    work.instrument(span).await;
    counts.open.dec();
}

/// Empties the queue into the transport until the connection ends.
async fn write<O: Outlet>(app: Arc<App>, mut outlet: O, outbound: Arc<Outbound>, patience: Duration) {
    loop {
        let next = match outbound.next(O::APART) {
            Next::Idle => tokio::select! {
                () = outbound.changed() => continue,
                batch = outlet.repeat() => Next::Batch(batch),
            },
            next => next,
        };
        match next {
            Next::Batch(batch) => {
                app.metrics.sent_bytes.inc_by(batch.bytes.len() as u64);
                match tokio::time::timeout(patience, outlet.send(batch)).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(_) => {
                        let fault = Fault::new(CloseCode::TOO_SLOW, CloseCode::TOO_SLOW.sentence());
                        outbound.close(fault.clone());
                        // Elsewhere the close would be stuck behind what is.
                        if O::APART {
                            let _ = tokio::time::timeout(FAREWELL, outlet.close(fault)).await;
                        }
                        break;
                    }
                }
            }
            Next::Drained(room, key) => {
                room.tell(RoomEvent::Drained { key }).await;
                if outbound.is_watched() {
                    tokio::time::sleep(TURN).await;
                }
            }
            Next::Close(fault) => {
                outlet.close(fault).await;
                break;
            }
            Next::Idle => {}
        }
    }
    outbound.gone();
}

/// The next thing that comes in, and whether it was not there yet when it was asked for.
async fn next(inbound: &mut impl Inbound) -> (Incoming, bool) {
    let mut next = pin!(inbound.next());
    let mut waited = false;
    let incoming = poll_fn(|cx| {
        let polled = next.as_mut().poll(cx);
        waited |= polled.is_pending();
        polled
    });
    let incoming = incoming.await;
    (incoming, waited)
}

/// A document open on this connection.
struct Opened {
    room: RoomHandle,
    document: DocumentId,
    /// Where the document was opened with a token of its own: who that is.
    caller: Option<Caller>,
}

struct Conversation<I> {
    session: Session,
    number: u64,
    rooms: HashMap<Channel, Opened>,
    /// Who this is, once hello is done.
    caller: Option<Caller>,
    /// When rights are looked up again, whatever was told of them.
    look_again_at: Instant,
    outbound: Arc<Outbound>,
    /// Held until hello is done.
    place: Option<Place>,
    principal: Option<String>,
    inbound: I,
    /// The signed list of endpoints, and newer ones as they come.
    listed: watch::Receiver<Option<Arc<Listed>>>,
    /// Changes when all that was looked up may be out of date.
    decided: watch::Receiver<u64>,
    app: Arc<App>,
}

impl<I: Inbound> Conversation<I> {
    async fn run(mut self, admission: Result<Place, Fault>) {
        match admission {
            Ok(place) => self.place = Some(place),
            Err(fault) => self.session.refuse(fault),
        }
        let mut going = self.events().await;
        while going {
            going = self.turn().await && self.events().await;
        }
        for (channel, opened) in std::mem::take(&mut self.rooms) {
            opened.room.tell(RoomEvent::Leave { key: self.key(channel) }).await;
        }
        if let Some(principal) = self.principal.take() {
            self.app.sessions.leave(&principal);
        }
        tracing::debug!("session closed");
    }

    /// Waits for the next thing and takes it. `false`: the connection has ended.
    async fn turn(&mut self) -> bool {
        let clock = self.app.clock;
        let pause = self.session.read_at(clock.now());
        tokio::select! {
            (incoming, waited) = next(&mut self.inbound), if pause.is_none() => {
                self.session.keep_waiting(!waited);
                return self.take(incoming, clock.now());
            }
            () = clock.until(pause), if pause.is_some() => {}
            () = self.outbound.told() => {
                for channel in self.outbound.take_closed() {
                    self.session.channel_closed(channel);
                    self.rooms.remove(&channel);
                }
                for (channel, set) in self.outbound.take_rights() {
                    self.rights_set(channel, set).await;
                }
                if self.outbound.is_gone() || self.outbound.fault().is_some() {
                    return false;
                }
            }
            () = clock.until(Some(self.look_again_at)), if !self.app.auth.is_open() => {
                self.look_again_at = clock.now().after(LOOK_AGAIN_MS);
                let channels: Vec<Channel> = self.rooms.keys().copied().collect();
                for channel in channels {
                    self.look_up(channel).await;
                }
            }
            Ok(()) = self.decided.changed() => {
                let soon = clock.now().after(rand::rng().random_range(0..LOOK_SOON_MS));
                self.look_again_at = self.look_again_at.min(soon);
            }
            Ok(()) = self.listed.changed(), if self.session.takes_lists() => self.tell_endpoints(),
            () = clock.until(Some(self.session.deadline())) => self.session.tick(clock.now()),
        }
        true
    }

    fn take(&mut self, incoming: Incoming, now: Instant) -> bool {
        match incoming {
            Incoming::Bytes(bytes) => {
                self.app.metrics.received_bytes.inc_by(bytes.len() as u64);
                self.session.receive(&bytes, now);
            }
            Incoming::Document { channel, frames } => {
                self.app.metrics.received_bytes.inc_by(frames.len() as u64);
                self.session.receive_apart(channel, &frames, now);
            }
            Incoming::Datagram(bytes) => {
                self.app.metrics.received_bytes.inc_by(bytes.len() as u64);
                self.session.receive_datagram(&bytes, now);
            }
            Incoming::Left(channel) => self.session.leave(channel),
            Incoming::Broken { channel, fault } => self.session.refuse_document(channel, fault),
            Incoming::Alive => self.session.heard(now),
            Incoming::Fault(fault) => self.session.refuse(fault),
            Incoming::Gone => return false,
        }
        true
    }

    /// Does what the session asks. `false`: the connection has ended.
    async fn events(&mut self) -> bool {
        let dropped = self.session.take_dropped_presence();
        if dropped > 0 {
            self.app.metrics.presence_dropped.inc_by(dropped);
        }
        while let Some(event) = self.session.poll_event() {
            match event {
                SessionEvent::Authenticate { token, client } => self.authenticate(token.as_deref(), &client).await,
                SessionEvent::Reply { channel, message } => {
                    if let selvedge_protocol::ServerMessage::Closed(closed) = &*message {
                        self.app.metrics.refuse(CloseCode(closed.code));
                    }
                    self.outbound.push(channel, crate::room::Outgoing::Message(message), self.app.clock.now());
                }
                SessionEvent::Open { channel, document, open } => self.open(channel, document, *open).await,
                SessionEvent::Push { channel, deltas } => {
                    self.tell(channel, |key| RoomEvent::Push { key, deltas }).await;
                }
                SessionEvent::Vector { channel, vector } => {
                    self.tell(channel, |key| RoomEvent::Vector { key, vector }).await;
                }
                SessionEvent::StateDiff { channel, bytes } => {
                    self.tell(channel, |key| RoomEvent::StateDiff { key, bytes }).await;
                }
                SessionEvent::Presence { channel, data } => {
                    self.tell(channel, |key| RoomEvent::Presence { key, data }).await;
                }
                SessionEvent::RebaseAsk { channel } => {
                    self.tell(channel, |key| RoomEvent::RebaseAsk { key }).await;
                }
                SessionEvent::Token { channel, token } => self.token(channel, &token).await,
                SessionEvent::Leave { channel, site } => {
                    if let Some((site, counter)) = site {
                        self.tell(channel, |key| RoomEvent::Bye { key, site, counter }).await;
                    }
                    self.tell(channel, |key| RoomEvent::Leave { key }).await;
                    self.rooms.remove(&channel);
                }
                SessionEvent::Fault(fault) => {
                    self.fail(fault);
                    return false;
                }
            }
        }
        true
    }

    async fn authenticate(&mut self, token: Option<&str>, client: &str) {
        let caller = match self.bearer(token).await {
            Ok(caller) => caller,
            Err(fault) => return self.session.refuse(fault),
        };
        let now = self.app.clock.now();
        let principal = &caller.identity.principal;
        let most = self.app.config.limits.connections_per_principal;
        if self.app.auth.counts_connections() && !self.app.sessions.enter(principal, most) {
            let reason = "Too many connections of one user.";
            return self.session.refuse(Fault::new(CloseCode::RATE_LIMITED, reason));
        }
        tracing::debug!(client, "session opened");
        self.principal = self.app.auth.counts_connections().then(|| principal.clone());
        self.place = None;
        self.session.expires(Channel::CONNECTION, self.end_of(&caller), now);
        self.session.authenticated(caller.identity.clone(), now);
        self.caller = Some(caller);
        self.tell_endpoints();
    }

    /// Tells the newest list of endpoints, if there is one.
    fn tell_endpoints(&mut self) {
        let newest = self.listed.borrow_and_update().clone();
        if let Some(newest) = newest {
            self.session.tell_endpoints(newest.message());
        }
    }

    /// Who brings this token; what is not believed is counted.
    async fn bearer(&mut self, token: Option<&str>) -> Result<Caller, Fault> {
        self.app.auth.identify(token, wall_ms()).await.map_err(|fault| {
            self.app.metrics.refuse_token(fault);
            fault.into()
        })
    }

    /// Who brings this token, if it is the one this connection is of.
    async fn same_bearer(&mut self, token: &str) -> Result<Caller, Fault> {
        let caller = self.bearer(Some(token)).await?;
        let mine = self.caller.as_ref().map(|caller| &caller.identity);
        if mine
            .is_some_and(|mine| *mine.principal == caller.identity.principal && mine.tenant == caller.identity.tenant)
        {
            return Ok(caller);
        }
        self.app.metrics.refuse_token(TokenFault::Principal);
        Err(TokenFault::Principal.into())
    }

    /// The moment a caller's token ends, on this process's clock.
    fn end_of(&self, caller: &Caller) -> Option<Instant> {
        caller.expires_ms.map(|end| self.app.clock.now().after(end.saturating_sub(wall_ms())))
    }

    /// A new token, of the connection or of one document. In open mode a token changes nothing: the session stays who it is.
    async fn token(&mut self, channel: Channel, token: &str) {
        if self.app.auth.is_open() {
            return;
        }
        let caller = match self.same_bearer(token).await {
            Ok(caller) => caller,
            Err(fault) if channel == Channel::CONNECTION => return self.session.refuse(fault),
            Err(fault) => return self.close(channel, fault.code, &fault.reason).await,
        };
        self.session.expires(channel, self.end_of(&caller), self.app.clock.now());
        if channel != Channel::CONNECTION {
            if let Some(opened) = self.rooms.get_mut(&channel) {
                opened.caller = Some(caller);
            }
            return self.look_up(channel).await;
        }
        self.caller = Some(caller);
        let without: Vec<Channel> =
            self.rooms.iter().filter(|(_, opened)| opened.caller.is_none()).map(|(channel, _)| *channel).collect();
        for channel in without {
            self.look_up(channel).await;
        }
    }

    async fn open(&mut self, channel: Channel, document: DocumentId, open: Open) {
        if self.app.is_draining() {
            return self.close(channel, CloseCode::DRAINING, CloseCode::DRAINING.sentence()).await;
        }
        let own = match &open.token {
            Some(token) if !self.app.auth.is_open() => match self.same_bearer(token).await {
                Ok(caller) => Some(caller),
                Err(fault) => return self.close(channel, fault.code, &fault.reason).await,
            },
            _ => None,
        };
        let Some(caller) = own.clone().or_else(|| self.caller.clone()) else { return };
        let control = Arc::clone(&self.app.registry.ground().region.control);
        let mark = self.app.decisions.mark();
        let access = self.app.auth.access(&*control, &caller, &document, true, wall_ms()).await;
        if let Some((code, reason)) = refusal(access) {
            return self.close(channel, code, reason).await;
        }
        if let Some(own) = &own {
            self.session.expires(channel, self.end_of(own), self.app.clock.now());
        }
        let join = Join {
            key: self.key(channel),
            principal: caller.identity.principal,
            user: caller.identity.user,
            rights: access.rights(),
            open,
            listens: true,
            seeds: false,
            tags: self.session.has_tags(),
        };
        loop {
            let room = self.app.registry.room(&document);
            if room.join(join.clone(), Sink::Socket(Arc::clone(&self.outbound))).await {
                let overtaken = self.app.decisions.any_since(mark, &document);
                self.rooms.insert(channel, Opened { room, document, caller: own });
                if overtaken && !self.app.auth.is_open() {
                    self.look_up(channel).await;
                }
                return;
            }
        }
    }

    /// The control plane has set this user's rights on a document.
    async fn rights_set(&mut self, channel: Channel, set: Rights) {
        let Some(opened) = self.rooms.get(&channel) else { return };
        let Some(caller) = opened.caller.as_ref().or(self.caller.as_ref()) else { return };
        let rights = combined(caller, caller.granted(&opened.document), set);
        self.tell(channel, |key| RoomEvent::Rights { key, rights }).await;
    }

    /// Looks up what the user may do with a document now.
    async fn look_up(&mut self, channel: Channel) {
        let Some(opened) = self.rooms.get(&channel) else { return };
        let Some(caller) = opened.caller.as_ref().or(self.caller.as_ref()) else { return };
        let control = Arc::clone(&self.app.registry.ground().region.control);
        let access = self.app.auth.access(&*control, caller, &opened.document, false, wall_ms()).await;
        match access {
            // What was granted holds while it cannot be looked up: the token's end is its bound.
            Access::Unknown => {}
            // The room closes a deleted document by itself.
            Access::Deleted => {}
            Access::Granted(rights) | Access::Blind(rights) => {
                self.tell(channel, |key| RoomEvent::Rights { key, rights }).await;
            }
        }
    }

    /// Closes one document from this side.
    async fn close(&mut self, channel: Channel, code: CloseCode, reason: &str) {
        self.tell(channel, |key| RoomEvent::Leave { key }).await;
        self.rooms.remove(&channel);
        self.app.metrics.refuse(code);
        let closed = Closed { code: code.0, reason: reason.to_owned(), retry_after_ms: 0, generation: 0 };
        self.outbound.push_closed(channel, closed.into(), self.app.clock.now());
    }

    async fn tell(&mut self, channel: Channel, event: impl FnOnce(SessionKey) -> RoomEvent) {
        if let Some(opened) = self.rooms.get(&channel) {
            opened.room.tell(event(self.key(channel))).await;
        }
    }

    fn fail(&self, fault: Fault) {
        self.app.metrics.refuse(fault.code);
        tracing::info!(code = fault.code.0, reason = fault.reason, "connection refused");
        let failure = Failure {
            code: fault.code.0,
            message: fault.reason.clone(),
            retryable: fault.code.retryable(),
            retry_after_ms: fault.retry_after_ms,
        };
        self.outbound.push(Channel::CONNECTION, failure.into(), self.app.clock.now());
        self.outbound.close(fault);
    }

    fn key(&self, channel: Channel) -> SessionKey {
        SessionKey { session: self.number, channel }
    }
}

/// Why a document is not opened; `None`: it is. Strangers are told the same of what is not there and of what is not theirs.
fn refusal(access: Access) -> Option<(CloseCode, &'static str)> {
    match access {
        Access::Granted(Rights::None) | Access::Blind(Rights::None) => {
            Some((CloseCode::FORBIDDEN, CloseCode::FORBIDDEN.sentence()))
        }
        Access::Granted(_) | Access::Blind(_) => None,
        Access::Deleted => Some((CloseCode::DELETED, CloseCode::DELETED.sentence())),
        Access::Unknown => Some((CloseCode::INTERNAL, "What you may do here cannot be looked up at the moment.")),
    }
}
