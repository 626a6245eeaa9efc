//! The relay's connections: a session each, as it ships, and the queue of what waits to be written.
//!
//! Queues are as bounded as in the shell, and drain as fast as the client's link takes it: a slow reader is a slow reader
//! here, too.

use std::collections::{BTreeMap, VecDeque};

use selvedge_protocol::message::{Ack, Closed, Drain, kind};
use selvedge_protocol::{Channel, ClientMessage, CloseCode, DocumentId, Frames, Rights, ServerMessage};
use selvedge_relay::room::{Join, Outgoing, RoomEvent, SessionKey};
use selvedge_relay::session::{Fault as SessionFault, Identity, Limits, Session, SessionConfig, SessionEvent};

use super::network::{Close, ConnectionId, End, Parcel};
use super::outcome::Invariant;
use super::plant::Plant;
use super::schedule::{MS, Micros, micros};
use super::world::{Event, Stop, World};

/// Bytes a socket takes before its writer has to wait.
const SOCKET_BYTES: usize = 64 * 1024;
/// Bytes that may wait for a connection before its rooms are told; less than in the field, so that it happens.
const QUEUE_BYTES: usize = 32 * 1024;
/// Bytes of one message, unless a frame is larger.
const MESSAGE_BYTES: usize = 64 * 1024;

/// One connection at the relay.
struct Host {
    session: Session,
    number: u64,
    open: BTreeMap<Channel, DocumentId>,
    queue: VecDeque<(Channel, Outgoing)>,
    queued: usize,
    watchers: Vec<(DocumentId, SessionKey)>,
    /// Read only when the session's rates allow it.
    unread: VecDeque<Vec<u8>>,
    ending: Option<Close>,
    wake: Option<Micros>,
}

/// All connections of the relay's process.
#[derive(Default)]
pub(super) struct Sessions {
    hosts: BTreeMap<ConnectionId, Host>,
    numbers: BTreeMap<u64, ConnectionId>,
    next: u64,
    /// What rooms have to be told when they have been served.
    owed: VecDeque<(DocumentId, RoomEvent)>,
    /// They are being told.
    telling: bool,
}

impl Sessions {
    /// The connections of a relay's process; a session has one number in the whole region.
    pub(super) fn new(relay: usize) -> Self {
        Self { next: (relay as u64) << 32, ..Self::default() }
    }

    fn of_session(&mut self, number: u64) -> Option<&mut Host> {
        self.hosts.get_mut(self.numbers.get(&number)?)
    }
}

impl World {
    /// A connection is accepted.
    pub(super) fn session_begins(&mut self, relay: usize, connection: ConnectionId) -> Result<(), Stop> {
        let region = format!("region-{}", self.relays[relay].region);
        let sessions = &mut self.relays[relay].sessions;
        sessions.next += 1;
        let number = sessions.next;
        let config = SessionConfig {
            limits: Limits::default(),
            session: number,
            region,
            endpoints: Vec::new(),
            tags: self.tag_keys.is_some(),
        };
        let host = Host {
            session: Session::new(config, self.schedule.instant()),
            number,
            open: BTreeMap::new(),
            queue: VecDeque::new(),
            queued: 0,
            watchers: Vec::new(),
            unread: VecDeque::new(),
            ending: None,
            wake: None,
        };
        sessions.hosts.insert(connection, host);
        sessions.numbers.insert(number, connection);
        self.pump_session(relay, connection)
    }

    /// Something arrives at the relay.
    pub(super) fn session_receives(
        &mut self,
        process: u64,
        connection: ConnectionId,
        parcel: Parcel,
    ) -> Result<(), Stop> {
        let Some(relay) = self.relay_of(process) else { return Ok(()) };
        let Some(host) = self.relays[relay].sessions.hosts.get_mut(&connection) else { return Ok(()) };
        match parcel {
            Parcel::Closed(_) => return self.session_ends(relay, connection),
            Parcel::Message(bytes) => host.unread.push_back(bytes),
        }
        self.read_session(relay, connection)
    }

    fn read_session(&mut self, relay: usize, connection: ConnectionId) -> Result<(), Stop> {
        let instant = self.schedule.instant();
        while let Some(host) = self.relays[relay].sessions.hosts.get_mut(&connection) {
            if host.session.read_at(instant).is_some_and(|at| at > instant) {
                break;
            }
            let Some(bytes) = host.unread.pop_front() else { break };
            self.hear(connection, &bytes)?;
            if let Some(host) = self.relays[relay].sessions.hosts.get_mut(&connection) {
                host.session.receive(&bytes, instant);
            }
            self.pump_session(relay, connection)?;
        }
        self.set_session_alarm(relay, connection);
        Ok(())
    }

    /// The checker listens to what clients ask for.
    fn hear(&mut self, connection: ConnectionId, bytes: &[u8]) -> Result<(), Stop> {
        for frame in Frames::new(bytes) {
            let frame = frame
                .map_err(|error| self.stop(Invariant::Sound, format!("a client sends a malformed frame: {error}")))?;
            let message = ClientMessage::decode(&frame)
                .map_err(|error| self.stop(Invariant::Sound, format!("a client sends a malformed message: {error}")))?;
            if let Some(ClientMessage::Open(open)) = message
                && let Ok(document) = DocumentId::parse(&open.document, "default")
            {
                self.books.channel(connection, frame.channel, document);
            }
        }
        Ok(())
    }

    fn pump_session(&mut self, relay: usize, connection: ConnectionId) -> Result<(), Stop> {
        let instant = self.schedule.instant();
        loop {
            let Some(host) = self.relays[relay].sessions.hosts.get_mut(&connection) else { return Ok(()) };
            let Some(event) = host.session.poll_event() else { break };
            let key = |channel| SessionKey { session: host.number, channel };
            let (channel, event) = match event {
                SessionEvent::Authenticate { token, .. } => {
                    let principal = token.unwrap_or_else(|| "nobody".to_owned());
                    host.session
                        .authenticated(Identity { principal, user: None, tenant: "default".to_owned() }, instant);
                    continue;
                }
                SessionEvent::Reply { channel, message } => {
                    self.queue(relay, connection, channel, Outgoing::Message(message));
                    continue;
                }
                SessionEvent::Open { channel, document, open } => {
                    let principal =
                        host.session.identity().map(|identity| identity.principal.clone()).unwrap_or_default();
                    let join = Join {
                        key: key(channel),
                        principal,
                        user: None,
                        rights: Rights::Write,
                        open: *open,
                        listens: true,
                        seeds: false,
                        tags: host.session.has_tags(),
                    };
                    host.open.insert(channel, document);
                    (channel, RoomEvent::Join(Box::new(join)))
                }
                SessionEvent::Push { channel, deltas } => (channel, RoomEvent::Push { key: key(channel), deltas }),
                SessionEvent::Vector { channel, vector } => (channel, RoomEvent::Vector { key: key(channel), vector }),
                SessionEvent::StateDiff { channel, bytes } => {
                    (channel, RoomEvent::StateDiff { key: key(channel), bytes })
                }
                SessionEvent::Presence { channel, data } => (channel, RoomEvent::Presence { key: key(channel), data }),
                SessionEvent::RebaseAsk { channel } => {
                    *self.figures.entry("rebase tokens asked for").or_default() += 1;
                    (channel, RoomEvent::RebaseAsk { key: key(channel) })
                }
                SessionEvent::Token { .. } => continue,
                SessionEvent::Leave { channel, site } => {
                    let key = key(channel);
                    let Some(document) = host.open.remove(&channel) else { continue };
                    if let Some((site, counter)) = site {
                        self.tell_room(relay, &document, RoomEvent::Bye { key, site, counter })?;
                    }
                    self.tell_room(relay, &document, RoomEvent::Leave { key })?;
                    continue;
                }
                SessionEvent::Fault(fault) => return self.session_fails(relay, connection, fault),
            };
            let document =
                self.relays[relay].sessions.hosts.get(&connection).and_then(|host| host.open.get(&channel)).cloned();
            if let Some(document) = document {
                self.tell_room(relay, &document, event)?;
            }
        }
        self.flush_sessions(relay)
    }

    /// The relay gives a connection up. Honest clients give it no reason but slowness.
    fn session_fails(&mut self, relay: usize, connection: ConnectionId, fault: SessionFault) -> Result<(), Stop> {
        self.note(format_args!("relay: connection {} is closed: {:?} {}", connection.0, fault.code, fault.reason));
        if ![CloseCode::TOO_SLOW, CloseCode::RATE_LIMITED, CloseCode::DRAINING].contains(&fault.code) {
            return Err(self.stop(
                Invariant::ClearErrors,
                format!("an honest connection was closed: {:?} {}", fault.code, fault.reason),
            ));
        }
        *self.figures.entry("connections given up").or_default() += 1;
        self.session_closes_connection(relay, connection, Close { code: fault.code, reason: fault.reason })
    }

    fn session_closes_connection(&mut self, relay: usize, connection: ConnectionId, close: Close) -> Result<(), Stop> {
        let Some(link) = self.link_of(connection) else { return Ok(()) };
        self.send(connection, End::Client, Parcel::Closed(Some(close)), link);
        self.network.silence(connection, End::Relay);
        self.session_ends(relay, connection)
    }

    /// A connection is over: its rooms are told.
    fn session_ends(&mut self, relay: usize, connection: ConnectionId) -> Result<(), Stop> {
        let Some(host) = self.relays[relay].sessions.hosts.remove(&connection) else { return Ok(()) };
        self.relays[relay].sessions.numbers.remove(&host.number);
        for (channel, document) in host.open {
            self.tell_room(relay, &document, RoomEvent::Leave { key: SessionKey { session: host.number, channel } })?;
        }
        Ok(())
    }

    /// A session's alarm rings.
    pub(super) fn session_wakes(&mut self, process: u64, connection: ConnectionId) -> Result<(), Stop> {
        let (now, instant) = (self.schedule.now(), self.schedule.instant());
        let Some(relay) = self.relay_of(process) else { return Ok(()) };
        let Some(host) = self.relays[relay].sessions.hosts.get_mut(&connection).filter(|host| host.wake == Some(now))
        else {
            return Ok(());
        };
        host.wake = None;
        host.session.tick(instant);
        self.pump_session(relay, connection)?;
        self.read_session(relay, connection)
    }

    fn set_session_alarm(&mut self, relay: usize, connection: ConnectionId) {
        let (now, instant, process) = (self.schedule.now(), self.schedule.instant(), self.relays[relay].process());
        let Some(host) = self.relays[relay].sessions.hosts.get_mut(&connection) else { return };
        let mut deadline = host.session.deadline();
        if !host.unread.is_empty()
            && let Some(at) = host.session.read_at(instant)
        {
            deadline = at.min(deadline);
        }
        let at = micros(deadline).max(now + MS);
        if let Some(process) = process
            && host.wake.is_none_or(|wake| at < wake || wake <= now)
        {
            host.wake = Some(at);
            self.schedule.at(at, Event::SessionWake { process, connection });
        }
    }

    /// A room sends to a session.
    pub(super) fn session_sends(
        &mut self,
        relay: usize,
        document: &DocumentId,
        key: SessionKey,
        message: Outgoing,
    ) -> Result<(), Stop> {
        let Some(connection) = self.relays[relay].sessions.numbers.get(&key.session).copied() else { return Ok(()) };
        let Some(message) = self.sent_by_plant(message) else { return Ok(()) };
        self.queue(relay, connection, key.channel, message);
        let Some(host) = self.relays[relay].sessions.hosts.get(&connection) else { return Ok(()) };
        if host.queued > QUEUE_BYTES {
            *self.figures.entry("queues overrun").or_default() += 1;
            self.relays[relay].sessions.owed.push_back((document.clone(), RoomEvent::Congested { key }));
        }
        Ok(())
    }

    /// Planted faults between a room and a session.
    fn sent_by_plant(&mut self, message: Outgoing) -> Option<Outgoing> {
        match (self.options.plant, message) {
            (Some(Plant::FanOutLost), Outgoing::Shared(shared))
                if shared.kind == kind::DELTAS && self.dice.percent(20) =>
            {
                None
            }
            (Some(Plant::AckBackwards), Outgoing::Message(message)) if self.dice.percent(2) => Some(match *message {
                ServerMessage::Ack(ack) => Ack { region: ack.region / 2, replicated: 0, ..ack }.into(),
                other => Outgoing::Message(Box::new(other)),
            }),
            (_, message) => Some(message),
        }
    }

    fn queue(&mut self, relay: usize, connection: ConnectionId, channel: Channel, message: Outgoing) {
        let Some(host) = self.relays[relay].sessions.hosts.get_mut(&connection) else { return };
        host.queued += message.bytes();
        host.queue.push_back((channel, message));
    }

    /// A room wants to know when a session's queue is empty.
    pub(super) fn session_watches(&mut self, relay: usize, document: &DocumentId, key: SessionKey) {
        if let Some(host) = self.relays[relay].sessions.of_session(key.session) {
            host.watchers.push((document.clone(), key));
        }
    }

    /// A room closes a document for a session.
    pub(super) fn session_closes_channel(
        &mut self,
        relay: usize,
        document: &DocumentId,
        key: SessionKey,
        closed: Closed,
    ) -> Result<(), Stop> {
        self.note(format_args!(
            "relay: {document} is closed for session {}: {} {}",
            key.session, closed.code, closed.reason
        ));
        let Some(connection) = self.relays[relay].sessions.numbers.get(&key.session).copied() else { return Ok(()) };
        *self.figures.entry("documents closed").or_default() += 1;
        self.queue(relay, connection, key.channel, closed.into());
        if let Some(host) = self.relays[relay].sessions.hosts.get_mut(&connection) {
            host.open.remove(&key.channel);
            host.session.channel_closed(key.channel);
        }
        Ok(())
    }

    /// A room gives a whole connection up.
    pub(super) fn session_closes(&mut self, relay: usize, key: SessionKey, code: CloseCode) {
        if let Some(host) = self.relays[relay].sessions.of_session(key.session) {
            *self.figures.entry("connections given up").or_default() += 1;
            host.ending.get_or_insert(Close { code, reason: code.sentence().to_owned() });
        }
    }

    /// Writes what waits, as far as sockets take it, and tells rooms what they are owed.
    pub(super) fn flush_sessions(&mut self, relay: usize) -> Result<(), Stop> {
        for connection in self.relays[relay].sessions.hosts.keys().copied().collect::<Vec<_>>() {
            self.flush_session(relay, connection)?;
        }
        // Who is told may cause more to be owed and come back here: the first caller tells that too, so that no chain of them
        // is as deep as it is long.
        if std::mem::replace(&mut self.relays[relay].sessions.telling, true) {
            return Ok(());
        }
        while let Some((document, event)) = self.relays[relay].sessions.owed.pop_front() {
            self.tell_room(relay, &document, event)?;
        }
        self.relays[relay].sessions.telling = false;
        Ok(())
    }

    /// Writes what waits for one connection.
    pub(super) fn flush_session(&mut self, relay: usize, connection: ConnectionId) -> Result<(), Stop> {
        let Some(link) = self.link_of(connection) else { return Ok(()) };
        loop {
            let Some(host) = self.relays[relay].sessions.hosts.get_mut(&connection) else { return Ok(()) };
            if self.network.bytes_under_way(connection, End::Client) >= SOCKET_BYTES {
                return Ok(());
            }
            let mut out = Vec::new();
            while let Some((channel, message)) = host.queue.front() {
                if !out.is_empty() && out.len() + message.bytes() > MESSAGE_BYTES {
                    break;
                }
                host.queued -= message.bytes();
                if message.write(*channel, &mut out).is_err() {
                    return Err(self.stop(Invariant::Sound, "the relay makes a message that fits no frame".to_owned()));
                }
                host.queue.pop_front();
            }
            if out.is_empty() {
                break;
            }
            self.relay_says(relay, connection, &out)?;
            self.trace.absorb(&out);
            for message in self.befall_chunks(out) {
                self.send(connection, End::Client, Parcel::Message(message), link);
            }
        }
        let Some(host) = self.relays[relay].sessions.hosts.get_mut(&connection) else { return Ok(()) };
        if let Some(close) = host.ending.take() {
            return self.session_closes_connection(relay, connection, close);
        }
        for (document, key) in std::mem::take(&mut host.watchers) {
            self.relays[relay].sessions.owed.push_back((document, RoomEvent::Drained { key }));
        }
        Ok(())
    }

    fn link_of(&self, connection: ConnectionId) -> Option<super::network::Link> {
        let load = self.network.connection(connection)?.load;
        // The link of a device whose tab is gone still carries what is left.
        let device = self.loads[load].as_ref().map_or(0, |load| load.device);
        Some(self.devices[device].link)
    }

    /// Named cases shuffle, double and cut off the chunks of a state diff.
    fn befall_chunks(&mut self, message: Vec<u8>) -> Vec<Vec<u8>> {
        if !self.chunks.shuffle {
            return vec![message];
        }
        let mut out = Vec::new();
        let mut others = Vec::new();
        for frame in Frames::new(&message).flatten() {
            let mut bytes = Vec::new();
            frame.write(&mut bytes).expect("it was a frame");
            let Ok(Some(ServerMessage::Chunk(chunk))) = ServerMessage::decode(&frame) else {
                others.extend(bytes);
                continue;
            };
            self.chunks.waiting.push(bytes);
            if self.chunks.waiting.len() < chunk.of as usize {
                continue;
            }
            let mut waiting = std::mem::take(&mut self.chunks.waiting);
            self.chunks.of = waiting.len();
            self.shuffle(&mut waiting);
            if let Some(most) = self.chunks.stop_after.filter(|most| *most < waiting.len()) {
                waiting.truncate(most);
                self.chunks.stopped = true;
            }
            waiting.extend(waiting.iter().take(2).cloned().collect::<Vec<_>>());
            self.shuffle(&mut waiting);
            out.extend(waiting);
        }
        if !others.is_empty() && !self.chunks.stopped {
            out.push(others);
        }
        out
    }

    fn shuffle<T>(&mut self, values: &mut [T]) {
        for index in (1..values.len()).rev() {
            values.swap(index, self.dice.index(index + 1));
        }
    }

    /// The process is gone: so are its sockets. Some peers are told, some find out.
    pub(super) fn hang_up_all(&mut self, relay: usize) {
        let hosts = std::mem::take(&mut self.relays[relay].sessions.hosts);
        self.relays[relay].sessions.numbers.clear();
        self.relays[relay].sessions.owed.clear();
        let told = self.fate.percent(70);
        for connection in hosts.into_keys() {
            self.network.silence(connection, End::Relay);
            let Some(link) = self.link_of(connection) else { continue };
            if told {
                self.send(connection, End::Client, Parcel::Closed(None), link);
            } else {
                self.network.silence(connection, End::Client);
            }
        }
    }

    /// Everybody is told to go elsewhere.
    pub(super) fn drain_sessions(&mut self, relay: usize) -> Result<(), Stop> {
        for connection in self.relays[relay].sessions.hosts.keys().copied().collect::<Vec<_>>() {
            let drain = Drain { endpoints: Vec::new(), after_ms: 500 };
            self.queue(relay, connection, Channel::CONNECTION, drain.into());
        }
        self.flush_sessions(relay)
    }
}
