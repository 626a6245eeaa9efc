//! The session: one connection's side of the protocol, without its socket.
//!
//! Bytes and instants go in, events come out: what to answer, what to hand to which room, and at the end why to close. It reads
//! frames, checks limits and rates, keeps the table of channels and the upstream codec of each. It does not know rooms,
//! the log, or what is written to the socket.

mod limits;
pub(crate) mod outbound;
mod rates;

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use selvedge_engine::{SiteId, VersionVector};
use selvedge_protocol::message::{
    ChunkContent, Closed, HelloOk, Open, Ping, PingPolicy, Pong, Push, SignedEndpoints, TokenExpiring, kind,
};
use selvedge_protocol::stream::StreamDecoder;
use selvedge_protocol::transfer::Staging;
use selvedge_protocol::{
    Channel, ClientMessage, CloseCode, DecodeError, DocumentId, Endpoint, Features, Frame, HELLO_FORMAT, Instant,
    ServerMessage, close_code, negotiate,
};

use crate::room::PushedDelta;
pub use limits::Limits;
use rates::{Bucket, Rates};

/// How long before its end the client is asked for another token, at most, in milliseconds; a fifth of its life if that is less.
const ASK_MS_MAX: u64 = 60_000;
/// Channels that were closed lately and whose frames under way are passed over.
const CLOSED_CHANNELS_MAX: usize = 256;

/// What is said to whoever brings no new token in time.
const EXPIRED: &str = "The token has expired.";

/// What a session is told once.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Its limits.
    pub limits: Limits,
    /// Its number, below 2^53.
    pub session: u64,
    /// Name of the region.
    pub region: String,
    /// Where this service can be reached.
    pub endpoints: Vec<Endpoint>,
    /// Whether this service has keys for broadcast tags.
    pub tags: bool,
}

/// Who a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The principal: whose sites, whose rights.
    pub principal: String,
    /// The name others see, if one was verified.
    pub user: Option<String>,
    /// The tenant of bare document names.
    pub tenant: String,
}

/// A fault of the connection: it is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// With this code.
    pub code: CloseCode,
    /// And this sentence.
    pub reason: String,
    /// When to come back, in milliseconds; 0: after backoff.
    pub retry_after_ms: u64,
}

impl Fault {
    /// A fault with its code and a sentence.
    pub fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Fault { code, reason: reason.into(), retry_after_ms: 0 }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Fault::new(close_code(&error), error.to_string())
    }
}

/// What a session makes of what it was sent.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// Find out who this is; answer with [`Session::authenticated`] or [`Session::refuse`].
    Authenticate {
        /// The token, if one came.
        token: Option<String>,
        /// Name and version of the client program.
        client: String,
    },
    /// Send this.
    Reply {
        /// On this channel.
        channel: Channel,
        /// This.
        message: Box<ServerMessage>,
    },
    /// Subscribe to a document.
    Open {
        /// On this channel.
        channel: Channel,
        /// The document.
        document: DocumentId,
        /// As asked.
        open: Box<Open>,
    },
    /// Deltas for a document.
    Push {
        /// Of this channel.
        channel: Channel,
        /// In order, each valid.
        deltas: Vec<PushedDelta>,
    },
    /// The client says what it has.
    Vector {
        /// Of this channel.
        channel: Channel,
        /// All of it.
        vector: VersionVector,
    },
    /// The client uploads a state.
    StateDiff {
        /// Of this channel.
        channel: Channel,
        /// Encoded.
        bytes: Vec<u8>,
    },
    /// What the user shows.
    Presence {
        /// Of this channel.
        channel: Channel,
        /// The application's bytes.
        data: Option<Vec<u8>>,
    },
    /// Asks for the rebase token.
    RebaseAsk {
        /// Of this channel.
        channel: Channel,
    },
    /// A new token; for the connection or one document.
    Token {
        /// Of this channel.
        channel: Channel,
        /// The token.
        token: String,
    },
    /// Leaves a document; its channel is free already.
    Leave {
        /// Of this channel.
        channel: Channel,
        /// The site given back and its last counter.
        site: Option<(SiteId, u64)>,
    },
    /// Close the connection. Nothing comes after it.
    Fault(Fault),
}

#[derive(Debug)]
enum Phase {
    /// The first message has not come.
    Hello {
        until: Instant,
    },
    /// Somebody finds out who this is; messages that came meanwhile wait.
    Authenticating {
        until: Instant,
        features: Features,
        version: u8,
        waiting: Vec<Vec<u8>>,
        waiting_bytes: usize,
    },
    Open(Identity),
    Closed,
}

#[derive(Debug)]
struct DocumentChannel {
    decoder: StreamDecoder,
    staging: Staging,
    /// Number of the push that comes next.
    pushes: u64,
    /// Announced in `open`: these are paced by credit, not by rate.
    outbox: FxHashMap<SiteId, (u64, u64)>,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    phase: Phase,
    heard_at: Instant,
    channels: FxHashMap<Channel, DocumentChannel>,
    closed: VecDeque<Channel>,
    rates: Rates,
    presence: Bucket,
    dropped_presence: u64,
    /// When tokens end: the connection's, and those of single documents.
    expiries: FxHashMap<Channel, Expiry>,
    /// Broadcast tags were agreed.
    tags: bool,
    /// The client verifies signed lists of endpoints.
    takes_lists: bool,
    events: VecDeque<SessionEvent>,
}

/// When a token ends.
#[derive(Clone, Copy, Debug)]
struct Expiry {
    /// When the client is asked for another; `None`: it was.
    ask: Option<Instant>,
    end: Instant,
}

impl Session {
    /// A connection that was just accepted.
    pub fn new(config: SessionConfig, now: Instant) -> Self {
        let limits = &config.limits;
        Session {
            phase: Phase::Hello { until: now.after(limits.hello_ms) },
            heard_at: now,
            channels: FxHashMap::default(),
            closed: VecDeque::new(),
            rates: Rates::new(limits, now),
            presence: Bucket::new(limits.presence_per_second, limits.presence_per_second, now),
            dropped_presence: 0,
            expiries: FxHashMap::default(),
            tags: false,
            takes_lists: false,
            events: VecDeque::new(),
            config,
        }
    }

    /// Takes one whole message. Afterwards [`Session::poll_event`] until it is empty.
    pub fn receive(&mut self, message: &[u8], now: Instant) {
        self.heard_at = now;
        if let Err(fault) = self.message(message, now) {
            self.refuse(fault);
        }
    }

    /// Takes whole frames that came on the stream of one document: their fault is the document's alone.
    pub fn receive_apart(&mut self, channel: Channel, frames: &[u8], now: Instant) {
        self.heard_at = now;
        match self.message(frames, now) {
            Ok(()) => {}
            // Rates are the connection's, and before hello there are no documents.
            Err(fault) if fault.code == CloseCode::RATE_LIMITED || !self.is_open() => self.refuse(fault),
            Err(fault) => self.refuse_document(channel, fault),
        }
    }

    /// Takes a datagram: one presence of an open document. Anything else is dropped, as datagrams may be.
    pub fn receive_datagram(&mut self, datagram: &[u8], now: Instant) {
        let taken = match Frame::parse(datagram) {
            Ok((frame, bytes)) => {
                let expected = bytes == datagram.len() && frame.kind == kind::PRESENCE && self.is_open();
                expected && self.channels.contains_key(&frame.channel) && self.frame(&frame, now).is_ok()
            }
            Err(_) => false,
        };
        if taken {
            self.heard_at = now;
        } else {
            self.dropped_presence += 1;
        }
    }

    /// A document's stream ended without a word.
    pub fn leave(&mut self, channel: Channel) {
        if self.channels.contains_key(&channel) {
            self.channel_closed(channel);
            self.events.push_back(SessionEvent::Leave { channel, site: None });
        }
    }

    /// Closes one document for what came on its channel or its stream.
    pub fn refuse_document(&mut self, channel: Channel, fault: Fault) {
        if matches!(self.phase, Phase::Closed) || self.closed.contains(&channel) {
            return;
        }
        self.leave(channel);
        self.close_channel(channel, fault.code, fault.reason);
    }

    /// Says of the message received next whether it had to wait to be read. Without a word none had.
    pub fn keep_waiting(&mut self, waiting: bool) {
        self.rates.keep_waiting(waiting);
    }

    /// Liveness that came outside of messages (the transport's own pings).
    pub fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// The next thing to do.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// It is known who this is.
    pub fn authenticated(&mut self, identity: Identity, now: Instant) {
        let Phase::Authenticating { version, features, waiting, .. } =
            std::mem::replace(&mut self.phase, Phase::Closed)
        else {
            return;
        };
        self.phase = Phase::Open(identity);
        self.tags = features.contains(Features::BROADCAST_TAGS);
        self.takes_lists = features.contains(Features::SIGNED_ENDPOINTS);
        let limits = &self.config.limits;
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let ok = HelloOk {
            format: HELLO_FORMAT,
            version,
            features: features.0,
            session: self.config.session,
            region: self.config.region.clone(),
            endpoints: self.config.endpoints.clone(),
            limits: selvedge_protocol::message::Limits {
                frame_bytes: narrow(limits.frame_bytes_max),
                message_bytes: narrow(limits.message_bytes_max),
                documents: narrow(limits.documents_max),
                push_bytes_per_s: narrow(limits.bytes_per_second),
                frames_per_s: narrow(limits.frames_per_second),
                presence_bytes: narrow(limits.presence_bytes_max),
            },
            ping: PingPolicy { active_ms: narrow(limits.ping_active_ms), idle_ms: narrow(limits.ping_idle_ms) },
        };
        self.reply(Channel::CONNECTION, ok);
        for message in waiting {
            self.receive(&message, now);
        }
    }

    /// The token of the connection (channel 0) or of a document ends then; `None`: it has none, or one without end. The client is
    /// asked for another in time.
    pub fn expires(&mut self, channel: Channel, end: Option<Instant>, now: Instant) {
        let open = channel == Channel::CONNECTION || self.channels.contains_key(&channel);
        match end.filter(|_| open) {
            None => drop(self.expiries.remove(&channel)),
            Some(end) => {
                let left = end.since(now);
                let ask = Some(end).map(|end| Instant(end.0.saturating_sub((left / 5).min(ASK_MS_MAX))));
                self.expiries.insert(channel, Expiry { ask, end });
            }
        }
    }

    /// Ends the session: the fault is its last event.
    pub fn refuse(&mut self, fault: Fault) {
        if !matches!(self.phase, Phase::Closed) {
            self.phase = Phase::Closed;
            self.channels.clear();
            self.events.push_back(SessionEvent::Fault(fault));
        }
    }

    /// A document's channel was closed from the other side; what is still under way on it is passed over.
    pub fn channel_closed(&mut self, channel: Channel) {
        self.expiries.remove(&channel);
        if self.channels.remove(&channel).is_some() {
            self.closed.push_back(channel);
            if self.closed.len() > CLOSED_CHANNELS_MAX {
                self.closed.pop_front();
            }
        }
    }

    /// Who this is, once it is known.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.phase {
            Phase::Open(identity) => Some(identity),
            _ => None,
        }
    }

    /// Whether broadcast tags were agreed.
    pub fn has_tags(&self) -> bool {
        self.tags
    }

    /// Whether hello is done with a client that verifies signed lists of endpoints.
    pub fn takes_lists(&self) -> bool {
        self.takes_lists && self.is_open()
    }

    /// Tells the signed list of endpoints to a client that verifies it.
    pub fn tell_endpoints(&mut self, list: SignedEndpoints) {
        if self.takes_lists() {
            self.reply(Channel::CONNECTION, list);
        }
    }

    /// Channels with a document.
    pub fn channels(&self) -> impl Iterator<Item = Channel> + '_ {
        self.channels.keys().copied()
    }

    /// Whether hello is done.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Not before this instant should more be read: the connection is over its rates.
    pub fn read_at(&self, now: Instant) -> Option<Instant> {
        self.rates.ready_at(now)
    }

    /// Presence dropped since the last call.
    pub fn take_dropped_presence(&mut self) -> u64 {
        std::mem::take(&mut self.dropped_presence)
    }

    /// When [`Session::tick`] is due next.
    pub fn deadline(&self) -> Instant {
        let tokens = self.expiries.values().map(|expiry| expiry.ask.unwrap_or(expiry.end)).min();
        tokens.filter(|_| self.is_open()).map_or(self.patience(), |at| at.min(self.patience()))
    }

    /// Until when the client must say something.
    fn patience(&self) -> Instant {
        match &self.phase {
            Phase::Hello { until } | Phase::Authenticating { until, .. } => *until,
            Phase::Open(_) | Phase::Closed => self.heard_at.after(self.config.limits.ping_idle_ms.saturating_mul(3)),
        }
    }

    /// Does what is due at `now`: asks for tokens, ends what has none any more, gives up a connection that says nothing.
    pub fn tick(&mut self, now: Instant) {
        if self.is_open() {
            self.tick_tokens(now);
        }
        if now < self.patience() {
            return;
        }
        let reason = match self.phase {
            Phase::Hello { .. } => "The first message took too long.",
            Phase::Authenticating { .. } => "It took too long to find out who this is.",
            Phase::Open(_) | Phase::Closed => "The connection was silent for too long.",
        };
        self.refuse(Fault::new(CloseCode::TOO_SLOW, reason));
    }

    fn tick_tokens(&mut self, now: Instant) {
        let due = self.expiries.iter().filter(|(_, expiry)| expiry.ask.unwrap_or(expiry.end) <= now);
        let due: Vec<(Channel, Instant)> = due.map(|(channel, expiry)| (*channel, expiry.end)).collect();
        for (channel, end) in due {
            if end > now {
                self.expiries.entry(channel).and_modify(|expiry| expiry.ask = None);
                self.reply(channel, TokenExpiring { in_ms: end.since(now) });
            } else if channel == Channel::CONNECTION {
                return self.refuse(Fault::new(CloseCode::TOKEN, EXPIRED));
            } else {
                self.channel_closed(channel);
                self.close_channel(channel, CloseCode::TOKEN, EXPIRED.to_owned());
                self.events.push_back(SessionEvent::Leave { channel, site: None });
            }
        }
    }

    fn message(&mut self, message: &[u8], now: Instant) -> Result<(), Fault> {
        if message.len() as u64 > self.config.limits.message_bytes_max {
            return Err(too_large("a message", self.config.limits.message_bytes_max));
        }
        if let Phase::Authenticating { waiting, waiting_bytes, .. } = &mut self.phase {
            *waiting_bytes += message.len();
            if *waiting_bytes as u64 > self.config.limits.message_bytes_max {
                return Err(Fault::new(CloseCode::TOO_LARGE, "Too much was sent before hello was answered."));
            }
            waiting.push(message.to_vec());
            return Ok(());
        }
        let mut rest = message;
        while !rest.is_empty() {
            let (frame, taken) = Frame::parse(rest).map_err(|error| match error {
                DecodeError::Incomplete => DecodeError::Malformed("a frame that ends outside its message"),
                other => other,
            })?;
            if taken as u64 > self.config.limits.frame_bytes_max {
                return Err(too_large("a frame", self.config.limits.frame_bytes_max));
            }
            if let Err(fault) = self.frame(&frame, now) {
                self.contain(&frame, fault)?;
            }
            rest = &rest[taken..];
            if matches!(self.phase, Phase::Authenticating { .. }) && !rest.is_empty() {
                return self.message(rest, now);
            }
        }
        Ok(())
    }

    /// A fault of one document closes that document alone. Rates are the connection's, and so is the table of channels.
    fn contain(&mut self, frame: &Frame<'_>, fault: Fault) -> Result<(), Fault> {
        let of_document = self.is_open() && frame.kind != kind::OPEN && self.channels.contains_key(&frame.channel);
        if !of_document || fault.code == CloseCode::RATE_LIMITED {
            return Err(fault);
        }
        self.refuse_document(frame.channel, fault);
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'_>, now: Instant) -> Result<(), Fault> {
        if frame.kind == kind::PRESENCE && frame.payload.len() as u64 > self.config.limits.presence_bytes_max + 16 {
            self.dropped_presence += 1;
            return Ok(());
        }
        let Some(message) = ClientMessage::decode(frame)? else { return Ok(()) };
        match (&self.phase, message) {
            (Phase::Closed, _) => Ok(()),
            (Phase::Hello { until }, ClientMessage::Hello(hello)) if frame.channel == Channel::CONNECTION => {
                let version = negotiate(&hello.versions).ok_or_else(|| {
                    Fault::new(CloseCode::UPGRADE, "None of the client's protocol versions is known here.")
                })?;
                let untagged = Features::OFFERED.without(Features::BROADCAST_TAGS);
                let offered = if self.config.tags { Features::OFFERED } else { untagged };
                let features = offered.common(Features(hello.features));
                let until = *until;
                self.phase = Phase::Authenticating { until, features, version, waiting: Vec::new(), waiting_bytes: 0 };
                self.events.push_back(SessionEvent::Authenticate { token: hello.token, client: hello.client });
                Ok(())
            }
            (Phase::Open(_), message) if frame.channel == Channel::CONNECTION => self.connection_message(message),
            (Phase::Open(identity), ClientMessage::Open(open)) => {
                let document = DocumentId::parse(&open.document, &identity.tenant);
                self.open(frame.channel, document.map_err(|error| error.to_string()), open)
            }
            (Phase::Open(_), message) => self.document_message(frame.channel, message, now),
            _ => Err(Fault::new(CloseCode::MALFORMED, "The first message is not hello.")),
        }
    }

    fn connection_message(&mut self, message: ClientMessage) -> Result<(), Fault> {
        match message {
            ClientMessage::Ping(Ping { nonce }) => self.reply(Channel::CONNECTION, Pong { nonce }),
            ClientMessage::Pong(_) => {}
            ClientMessage::Token(token) => {
                self.events.push_back(SessionEvent::Token { channel: Channel::CONNECTION, token: token.token });
            }
            _ => {
                return Err(Fault::new(CloseCode::MALFORMED, "A document's message came on the connection's channel."));
            }
        }
        Ok(())
    }

    fn open(&mut self, channel: Channel, document: Result<DocumentId, String>, open: Open) -> Result<(), Fault> {
        if self.channels.contains_key(&channel) {
            return Err(Fault::new(CloseCode::MALFORMED, "The channel is in use."));
        }
        if self.channels.len() as u64 >= self.config.limits.documents_max {
            self.close_channel(
                channel,
                CloseCode::RATE_LIMITED,
                "Too many documents are open on this connection.".into(),
            );
            return Ok(());
        }
        match document {
            Err(reason) => self.close_channel(channel, CloseCode::MALFORMED, reason),
            Ok(document) => {
                self.closed.retain(|closed| *closed != channel);
                let outbox = open.outbox.iter().map(|range| (range.site, (range.first, range.last))).collect();
                let state =
                    DocumentChannel { decoder: StreamDecoder::new(), staging: Staging::default(), pushes: 0, outbox };
                self.channels.insert(channel, state);
                self.events.push_back(SessionEvent::Open { channel, document, open: Box::new(open) });
            }
        }
        Ok(())
    }

    fn document_message(&mut self, channel: Channel, message: ClientMessage, now: Instant) -> Result<(), Fault> {
        let Some(state) = self.channels.get_mut(&channel) else {
            if self.closed.contains(&channel) {
                return Ok(());
            }
            return Err(Fault::new(CloseCode::MALFORMED, "No document is open on this channel."));
        };
        match message {
            ClientMessage::Push(push) => return self.push(channel, &push, now),
            ClientMessage::Chunk(chunk) => match state.staging.take(chunk)? {
                None => {}
                Some((ChunkContent::Vector, bytes)) => {
                    let vector = VersionVector::decode(&bytes)
                        .map_err(|error| Fault::new(CloseCode::MALFORMED, error.to_string()))?;
                    self.events.push_back(SessionEvent::Vector { channel, vector });
                }
                Some((ChunkContent::StateDiff, bytes)) => {
                    self.events.push_back(SessionEvent::StateDiff { channel, bytes });
                }
                Some((ChunkContent::Wanted, _)) => {
                    return Err(Fault::new(CloseCode::MALFORMED, "Only a server wants a state."));
                }
            },
            ClientMessage::Presence(presence) => {
                if self.presence.take(1, now) {
                    let data = presence.data.map(Into::into);
                    self.events.push_back(SessionEvent::Presence { channel, data });
                } else {
                    self.dropped_presence += 1;
                }
            }
            ClientMessage::RebaseAsk(_) => {
                self.rates.spend(1, 0, 0, now)?;
                self.events.push_back(SessionEvent::RebaseAsk { channel });
            }
            ClientMessage::Token(token) => {
                self.events.push_back(SessionEvent::Token { channel, token: token.token });
            }
            ClientMessage::Bye(bye) => {
                self.channel_closed(channel);
                let site = bye.site.map(|site| (site, bye.counter));
                self.events.push_back(SessionEvent::Leave { channel, site });
            }
            ClientMessage::Ping(Ping { nonce }) => self.reply(channel, Pong { nonce }),
            ClientMessage::Pong(_) => {}
            ClientMessage::Hello(_) | ClientMessage::Open(_) => {
                return Err(Fault::new(CloseCode::MALFORMED, "The message does not belong here."));
            }
        }
        Ok(())
    }

    fn push(&mut self, channel: Channel, push: &Push, now: Instant) -> Result<(), Fault> {
        let Some(state) = self.channels.get_mut(&channel) else { return Ok(()) };
        if push.seq != state.pushes {
            return Err(DecodeError::StreamGap.into());
        }
        state.pushes += 1;
        let decoded = state.decoder.decode(&push.deltas)?;
        if push.tag.is_some() && (!self.tags || decoded.len() != 1) {
            return Err(Fault::new(CloseCode::MALFORMED, "A tag was not agreed to, or is not of one delta."));
        }
        let (mut ops, mut bytes) = (0, 0);
        let deltas: Vec<PushedDelta> = decoded
            .into_iter()
            .map(|delta| {
                let durable = delta.encode();
                let range = state.outbox.get(&delta.site);
                let announced = range.is_some_and(|&(first, last)| first <= delta.first && delta.last() <= last);
                if !announced {
                    ops += delta.ops.len() as u64;
                    bytes += durable.len() as u64;
                }
                PushedDelta { delta: Arc::new(delta), bytes: durable, announced, tag: push.tag }
            })
            .collect();
        let announced = deltas.iter().all(|pushed| pushed.announced);
        self.rates.spend(u64::from(!announced), ops, bytes, now)?;
        self.events.push_back(SessionEvent::Push { channel, deltas });
        Ok(())
    }

    fn close_channel(&mut self, channel: Channel, code: CloseCode, reason: String) {
        self.closed.push_back(channel);
        if self.closed.len() > CLOSED_CHANNELS_MAX {
            self.closed.pop_front();
        }
        self.reply(channel, Closed { code: code.0, reason, retry_after_ms: 0, generation: 0 });
    }

    fn reply(&mut self, channel: Channel, message: impl Into<ServerMessage>) {
        self.events.push_back(SessionEvent::Reply { channel, message: Box::new(message.into()) });
    }
}

fn too_large(what: &'static str, most: u64) -> Fault {
    DecodeError::TooLarge { what, most: usize::try_from(most).unwrap_or(usize::MAX) }.into()
}

#[cfg(test)]
mod tests;
