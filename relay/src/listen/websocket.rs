//! One WebSocket: a reader that feeds the session, a writer that empties its queue, both in one task.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use selvedge_protocol::message::{Closed, Failure};
use selvedge_protocol::{Channel, CloseCode, Instant};
use tracing::Instrument;

use super::address::{Place, counted_address};
use crate::app::App;
use crate::auth::origin_allowed;
use crate::rest::host_allowed;
use crate::room::actor::{RoomHandle, Sink};
use crate::room::{Join, RoomEvent, SessionKey};
use crate::session::outbound::{Next, Outbound};
use crate::session::{Fault, Session, SessionConfig, SessionEvent};

/// How long the last words to a client may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// Pause between telling two rooms that an empty queue is theirs, so that the first can use it.
const TURN: Duration = Duration::from_millis(2);
/// Longest reason in a close frame.
const REASON_BYTES_MAX: usize = 120;

/// `GET /v1/connect`.
pub(crate) async fn connect(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let listen = &app.config.listen;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    // One frame more than allowed, so that the session itself sees what is too large and says so.
    let message_max = size(app.config.limits.message_bytes_max + app.config.limits.frame_bytes_max);
    let forwarded = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let address = counted_address(peer.ip(), forwarded, &listen.trusted_proxy);
    let page_allowed = host_allowed(&headers, listen) && origin_allowed(&headers, &listen.allow_origin);
    let admission = app.admit(address, page_allowed);
    upgrade
        .read_buffer_size(size(listen.websocket_read_bytes))
        .write_buffer_size(0)
        .max_write_buffer_size(size(listen.websocket_write_bytes_max))
        .max_message_size(message_max)
        .max_frame_size(message_max)
        .on_upgrade(move |socket| serve(app, socket, admission))
}

async fn serve(app: Arc<App>, socket: WebSocket, admission: Result<Place, Fault>) {
    let session = app.next_session();
    let span = tracing::info_span!("session", id = session);
    let limits = &app.config.limits;
    let outbound = Outbound::new(limits.outbound_bytes_max, limits.outbound_ms_max);
    let _registered = app.sessions.register(session, Arc::clone(&outbound));
    let (sink, stream) = socket.split();
    let config = SessionConfig {
        limits: limits.clone(),
        session,
        region: app.config.region.clone(),
        endpoints: app.endpoints.clone(),
    };
    let write_ms = limits.outbound_ms_max + app.config.room.resync_ms_max;
    let reader = Reader {
        session: Session::new(config, app.clock.now()),
        number: session,
        rooms: HashMap::new(),
        outbound: Arc::clone(&outbound),
        place: None,
        principal: None,
        app: Arc::clone(&app),
    };
    let mut writer = Box::pin(write(Arc::clone(&app), sink, Arc::clone(&outbound), Duration::from_millis(write_ms)));
    let work = async {
        tokio::select! {
            () = reader.run(stream, admission) => {
                // What was queued last, and the close itself; a client that does not read them is not waited for.
                let _ = tokio::time::timeout(FAREWELL, &mut writer).await;
            }
            () = &mut writer => {}
        }
        outbound.gone();
    };
    app.metrics.connections.inc();
    app.metrics.connections_total.inc();
    work.instrument(span).await;
    app.metrics.connections.dec();
}

/// Empties the queue into the socket until the connection ends.
async fn write(app: Arc<App>, mut sink: SplitSink<WebSocket, Message>, outbound: Arc<Outbound>, patience: Duration) {
    loop {
        match outbound.next() {
            Next::Message(bytes) => {
                app.metrics.sent_bytes.inc_by(bytes.len() as u64);
                match tokio::time::timeout(patience, sink.send(Message::Binary(bytes.into()))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => break,
                    Err(_) => {
                        outbound.close(Fault::new(CloseCode::TOO_SLOW, CloseCode::TOO_SLOW.sentence()));
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
                let mut reason = fault.reason;
                while reason.len() > REASON_BYTES_MAX {
                    reason.pop();
                }
                let frame = CloseFrame { code: fault.code.0, reason: Utf8Bytes::from(reason) };
                let _ = sink.send(Message::Close(Some(frame))).await;
                let _ = sink.close().await;
                break;
            }
            Next::Idle => outbound.changed().await,
        }
    }
    outbound.gone();
}

struct Reader {
    session: Session,
    number: u64,
    rooms: HashMap<Channel, RoomHandle>,
    outbound: Arc<Outbound>,
    /// Held until hello is done.
    place: Option<Place>,
    principal: Option<String>,
    app: Arc<App>,
}

impl Reader {
    async fn run(mut self, mut stream: SplitStream<WebSocket>, admission: Result<Place, Fault>) {
        match admission {
            Ok(place) => self.place = Some(place),
            Err(fault) => self.session.refuse(fault),
        }
        let mut going = self.events().await;
        while going {
            going = self.turn(&mut stream).await && self.events().await;
        }
        for (channel, room) in std::mem::take(&mut self.rooms) {
            room.tell(RoomEvent::Leave { key: self.key(channel) }).await;
        }
        if let Some(principal) = self.principal.take() {
            self.app.sessions.leave(&principal);
        }
        tracing::debug!("session closed");
        if self.outbound.fault().is_some() && !self.outbound.is_gone() {
            // The client's own close, or its data under way, is read off so that the socket can close without a reset.
            while let Some(Ok(message)) = stream.next().await {
                if matches!(message, Message::Close(_)) {
                    break;
                }
            }
        }
    }

    /// Waits for the next thing and takes it. `false`: the connection has ended.
    async fn turn(&mut self, stream: &mut SplitStream<WebSocket>) -> bool {
        let clock = self.app.clock;
        let pause = self.session.read_at(clock.now());
        tokio::select! {
            message = stream.next(), if pause.is_none() => match message {
                Some(Ok(message)) => return self.message(message, clock.now()),
                Some(Err(error)) => return self.broken(&error.to_string()),
                None => return false,
            },
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

    fn message(&mut self, message: Message, now: Instant) -> bool {
        match message {
            Message::Binary(bytes) => {
                self.app.metrics.received_bytes.inc_by(bytes.len() as u64);
                self.session.receive(&bytes, now);
            }
            Message::Text(_) => {
                self.session.refuse(Fault::new(CloseCode::MALFORMED, "Messages are binary, not text."));
            }
            Message::Ping(_) | Message::Pong(_) => self.session.heard(now),
            Message::Close(_) => return false,
        }
        true
    }

    /// The WebSocket itself is at fault, or gone.
    fn broken(&mut self, error: &str) -> bool {
        tracing::debug!(error, "the socket failed");
        if error.contains("too long") || error.contains("too big") {
            self.session.refuse(Fault::new(CloseCode::TOO_LARGE, CloseCode::TOO_LARGE.sentence()));
        } else if error.contains("protocol") || error.contains("UTF-8") {
            self.session.refuse(Fault::new(CloseCode::MALFORMED, CloseCode::MALFORMED.sentence()));
        } else {
            return false;
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

    async fn tell(&self, channel: Channel, event: impl FnOnce(SessionKey) -> RoomEvent) {
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
