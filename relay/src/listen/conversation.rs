//! One connection's work between its transport and the rooms, whatever carries it.
//!
//! A transport gives what comes in ([`Inbound`]) and takes what goes out ([`Outlet`]); limits, answers, rooms, drain and
//! the policy for slow readers are here, and so the same for all.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::message::{Closed, Failure};
use selvedge_protocol::{Channel, CloseCode, Instant};
use tracing::Instrument;

use super::address::Place;
use crate::app::App;
use crate::metrics::Carrier;
use crate::room::actor::{RoomHandle, Sink};
use crate::room::{Join, RoomEvent, SessionKey};
use crate::session::outbound::{Batch, Next, Outbound};
use crate::session::{Fault, Session, SessionConfig, SessionEvent};

/// How long the last words to a client may take.
const FAREWELL: Duration = Duration::from_secs(2);
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
    };
    let write_ms = limits.outbound_ms_max + app.config.room.resync_ms_max;
    let conversation = Conversation {
        session: Session::new(config, app.clock.now()),
        number: session,
        rooms: HashMap::new(),
        outbound: Arc::clone(&outbound),
        place: None,
        principal: None,
        inbound,
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

struct Conversation<I> {
    session: Session,
    number: u64,
    rooms: HashMap<Channel, RoomHandle>,
    outbound: Arc<Outbound>,
    /// Held until hello is done.
    place: Option<Place>,
    principal: Option<String>,
    inbound: I,
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
        for (channel, room) in std::mem::take(&mut self.rooms) {
            room.tell(RoomEvent::Leave { key: self.key(channel) }).await;
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
                if self.outbound.is_gone() || self.outbound.fault().is_some() {
                    return false;
                }
            }
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
                SessionEvent::Authenticate { token, client } => self.authenticate(token.as_deref(), &client),
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
                // In open mode a token changes nothing: the session stays who it is.
                SessionEvent::Token { .. } => {}
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

    fn authenticate(&mut self, token: Option<&str>, client: &str) {
        let now = self.app.clock.now();
        match self.app.auth.identify(token) {
            Ok(identity) => {
                let most = self.app.config.limits.connections_per_principal;
                if self.app.auth.counts_connections() && !self.app.sessions.enter(&identity.principal, most) {
                    let reason = "Too many connections of one user.";
                    return self.session.refuse(Fault::new(CloseCode::RATE_LIMITED, reason));
                }
                tracing::debug!(client, "session opened");
                self.principal = self.app.auth.counts_connections().then(|| identity.principal.clone());
                self.place = None;
                self.session.authenticated(identity, now);
            }
            Err(fault) => self.session.refuse(fault),
        }
    }

    async fn open(
        &mut self,
        channel: Channel,
        document: selvedge_protocol::DocumentId,
        open: selvedge_protocol::message::Open,
    ) {
        let Some(identity) = self.session.identity().cloned() else { return };
        if self.app.is_draining() {
            let closed = Closed {
                code: CloseCode::DRAINING.0,
                reason: CloseCode::DRAINING.sentence().to_owned(),
                retry_after_ms: 0,
                generation: 0,
            };
            return self.outbound.push_closed(channel, closed.into(), self.app.clock.now());
        }
        let rights = self.app.auth.rights(&identity, &document);
        let join = Join {
            key: self.key(channel),
            principal: identity.principal,
            user: identity.user,
            rights,
            open,
            listens: true,
            seeds: false,
        };
        loop {
            let room = self.app.registry.room(&document);
            if room.join(join.clone(), Sink::Socket(Arc::clone(&self.outbound))).await {
                self.rooms.insert(channel, room);
                return;
            }
        }
    }

    async fn tell(&mut self, channel: Channel, event: impl FnOnce(SessionKey) -> RoomEvent) {
        if let Some(room) = self.rooms.get(&channel) {
            room.tell(event(self.key(channel))).await;
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
