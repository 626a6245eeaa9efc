//! The link: one connection to one relay at a time, and how the next one is found.
//!
//! Relays race ([`Race`]); the first to finish hello becomes the link. A silent link is suspected, raced against and
//! replaced; a draining one is left only when the next is up.

use std::collections::VecDeque;

use super::effect::{Effect, LinkInfo};
use super::listing::Listing;
use super::ping::Pulse;
use super::race::{Failed, Race};
use super::{ClientConfig, Io};
use crate::backoff::Backoff;
use crate::close::{CloseCode, Reaction, close_code};
use crate::endpoint::{Address, Endpoint, Endpoints, Place, Transport};
use crate::error::DecodeError;
use crate::frame::{Channel, Frame, Frames};
use crate::level::Instant;
use crate::message::{ClientMessage, Failure, Hello, HelloOk, Ping, Pong, ServerMessage, Token};
use crate::random::Random;
use crate::signed_list::ListStamp;
use crate::version::{Features, HELLO_FORMAT, VERSIONS};

/// How long a relay may take from the first attempt to hello-ok, in milliseconds.
pub const ATTEMPT_MS_MAX: u64 = 5_000;
/// How long after a suspicion or a slow attempt the second racer starts, in milliseconds.
pub const RACE_MS: u64 = 250;
/// How long a relay may take before another is tried beside it, in milliseconds.
const SLOW_ATTEMPT_MS: u64 = 1_500;
/// How long a connection must hold before the backoff starts anew, in milliseconds.
const HELD_MS: u64 = 5_000;
/// Most relays tried at a time.
const TRIES_MAX: usize = 2;
/// Frames of one message; a message is at most this many bytes plus one frame, below every server's limit.
const MESSAGE_BYTES: usize = 128 * 1024;

/// The connection in use.
#[derive(Debug)]
struct Active {
    id: u64,
    /// The relay's name.
    relay: String,
    address: Address,
    hello: HelloOk,
    pulse: Pulse,
    next_channel: u32,
    out: VecDeque<Vec<u8>>,
    /// Among what waits is something that the server answers.
    asks: bool,
    race_at: Option<Instant>,
    since: Instant,
}

/// A relay that takes its time.
struct Slow {
    relay: String,
    at: Instant,
    /// Whether to try one of another region beside it.
    beyond: bool,
}

/// What happened to the link, for the documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkEvent {
    /// A new connection is in use: open everything on it.
    Up,
    /// There is none any more.
    Down,
    /// It will not be tried again by itself.
    Stopped(CloseCode, String),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    endpoints: Endpoints,
    /// The signed list, where lists must be signed.
    listing: Option<Listing>,
    token: Option<String>,
    client: String,
    online: bool,
    stopped: bool,
    /// The server refused the token; waiting for another.
    awaiting_token: bool,
    backoff: Backoff,
    random: Random,
    retry_at: Option<Instant>,
    leave_at: Option<Instant>,
    race: Race,
    active: Option<Active>,
    region: Option<String>,
    /// The first document opened: its owner among a region's relays is preferred.
    pub(super) document: Option<String>,
    failure: Option<Failure>,
}

impl Link {
    pub(super) fn new(config: ClientConfig, now: Instant) -> Self {
        let mut random = Random::new(config.seed);
        let transports = if config.transports.is_empty() { vec![Transport::WebSocket] } else { config.transports };
        let endpoints = Endpoints::new(config.endpoints, transports);
        Self {
            endpoints: if config.signed { endpoints.trust_signed_only() } else { endpoints },
            listing: config.signed.then(Listing::default),
            token: config.token,
            client: config.client,
            online: config.online,
            stopped: false,
            awaiting_token: false,
            backoff: Backoff::new(random.draw()),
            random,
            retry_at: Some(now),
            leave_at: None,
            race: Race::default(),
            active: None,
            region: None,
            document: None,
            failure: None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.active.is_some()
    }

    /// Whether broadcast tags were agreed on the connection in use.
    pub(super) fn has_tags(&self) -> bool {
        self.features().contains(Features::BROADCAST_TAGS)
    }

    /// What was agreed on the connection in use.
    pub(super) fn features(&self) -> Features {
        self.active.as_ref().map_or(Features::default(), |active| Features(active.hello.features))
    }

    pub(super) fn is_online(&self) -> bool {
        self.online
    }

    pub(super) fn session(&self) -> Option<u64> {
        self.active.as_ref().map(|active| active.hello.session)
    }

    pub(super) fn info(&self) -> Option<LinkInfo> {
        self.active.as_ref().map(|active| LinkInfo {
            url: active.address.url.clone(),
            region: active.hello.region.clone(),
            transport: active.address.transport,
            session: active.hello.session,
            rtt_ms: active.pulse.rtt_ms(),
        })
    }

    /// A new channel number on the connection in use.
    pub(super) fn new_channel(&mut self) -> Option<Channel> {
        let active = self.active.as_mut()?;
        active.next_channel += 1;
        Some(Channel(active.next_channel))
    }

    /// Queues a message on the connection in use; without one it is dropped.
    pub(super) fn send(&mut self, channel: Channel, message: impl Into<ClientMessage>) {
        let message = message.into();
        if let Some(active) = self.active.as_mut()
            && let Ok(frame) = message.to_frame(channel)
        {
            active.asks |= matches!(message, ClientMessage::Push(_));
            active.out.push_back(frame);
        }
    }

    /// Hands queued frames over as messages.
    pub(super) fn flush(&mut self, effects: &mut VecDeque<Effect>, now: Instant) {
        let Some(active) = self.active.as_mut() else { return };
        if std::mem::take(&mut active.asks) {
            active.pulse.asked(now);
        }
        while let Some(mut bytes) = active.out.pop_front() {
            while bytes.len() < MESSAGE_BYTES
                && let Some(frame) = active.out.pop_front()
            {
                bytes.extend_from_slice(&frame);
            }
            effects.push_back(Effect::Send { attempt: active.id, bytes });
        }
    }

    pub(super) fn go_online(&mut self, now: Instant) {
        self.online = true;
        self.stopped = false;
        self.backoff.succeed();
        self.race.network_changed();
        if self.active.is_none() && self.race.is_empty() {
            self.retry_at = Some(now);
        }
    }

    pub(super) fn go_offline(&mut self, io: &mut Io<'_>) -> Option<LinkEvent> {
        self.online = false;
        self.retry_at = None;
        self.race.drop_all(io);
        self.flush(io.effects, io.now);
        let active = self.active.take()?;
        io.effects.push_back(Effect::Disconnect { attempt: active.id, code: CloseCode::NORMAL });
        Some(LinkEvent::Down)
    }

    /// A new token: sent at once, or tried where the old one was refused.
    pub(super) fn provide_token(&mut self, token: Option<String>, now: Instant) -> Option<LinkEvent> {
        let same = self.token == token;
        self.token = token;
        if self.awaiting_token {
            self.awaiting_token = false;
            if same || self.token.is_none() {
                self.stopped = true;
                return Some(LinkEvent::Stopped(CloseCode::TOKEN, CloseCode::TOKEN.sentence().into()));
            }
            self.retry_at = Some(now);
        } else if let Some(token) = self.token.clone() {
            self.send(Channel::CONNECTION, Token { token });
        }
        None
    }

    pub(super) fn connect_opened(&mut self, id: u64, io: &mut Io<'_>) {
        if self.race.opened(id, io.now) {
            let hello = Hello {
                format: HELLO_FORMAT,
                versions: VERSIONS.to_vec(),
                features: self.offered().0,
                client: self.client.clone(),
                token: self.token.clone(),
            };
            let message = ClientMessage::from(hello);
            if let Ok(bytes) = message.to_frame(Channel::CONNECTION) {
                io.effects.push_back(Effect::Send { attempt: id, bytes });
            }
        }
    }

    /// Who has no key could not tell a signed list from any other.
    fn offered(&self) -> Features {
        let offered = Features::OFFERED;
        if self.listing.is_some() { offered } else { offered.without(Features::SIGNED_ENDPOINTS) }
    }

    pub(super) fn listed(&self) -> Option<ListStamp> {
        self.listing.as_ref().and_then(Listing::held)
    }

    /// Whether there is no server, and there never will be: where others are is learnt from one that is known, or from a list.
    pub(super) fn is_alone(&self) -> bool {
        self.endpoints.iter().next().is_none() && self.listing.is_none()
    }

    /// A list that an earlier load kept.
    pub(super) fn restore_endpoints(&mut self, signed: String, list: &[u8], effects: &mut VecDeque<Effect>) {
        if let Some(listing) = &mut self.listing {
            listing.restore(signed, list, &mut self.endpoints, effects);
        }
    }

    /// The shell has verified a list, or has found it forged.
    pub(super) fn endpoints_answered(&mut self, list: Option<&[u8]>, effects: &mut VecDeque<Effect>) {
        if let Some(listing) = &mut self.listing {
            listing.answered(list, &mut self.endpoints, effects);
        }
    }

    pub(super) fn connect_failed(&mut self, id: u64, io: &mut Io<'_>) {
        if let Failed::Relay(name) = self.race.failed(id, io) {
            self.endpoints.failed(&name, io.now);
            self.schedule(io.now, 0);
        }
    }

    /// The socket is gone, closed by the other side or lost.
    pub(super) fn closed(&mut self, id: u64, code: CloseCode, reason: &str, io: &mut Io<'_>) -> Option<LinkEvent> {
        let (now, reaction) = (io.now, code.reaction());
        let was_active = self.active.as_ref().is_some_and(|active| active.id == id);
        let relay = if was_active {
            self.take_active(now)
        } else if matches!(reaction, Reaction::Stop | Reaction::AskToken | Reaction::Follow) {
            // The relay has spoken: its other addresses would say the same.
            self.race.give_up(id, io)
        } else {
            match self.race.failed(id, io) {
                Failed::Relay(name) => Some(name),
                Failed::Address | Failed::Unknown => None,
            }
        }?;
        let told =
            self.failure.take().filter(|failure| failure.code == code.0).map_or(0, |failure| failure.retry_after_ms);
        let mut wait = told.max(reason.trim().parse().unwrap_or(0));
        match reaction {
            Reaction::Stop => {
                self.stopped = true;
                self.race.drop_all(io);
                let reason = if reason.is_empty() { code.sentence() } else { reason };
                return Some(LinkEvent::Stopped(code, reason.into()));
            }
            Reaction::AskToken => {
                self.awaiting_token = true;
                self.race.drop_all(io);
                io.effects.push_back(Effect::TokenNeeded { channel: None });
                return was_active.then_some(LinkEvent::Down);
            }
            Reaction::Follow => {
                self.endpoints.failed(&relay, now);
                self.endpoints.follow(&endpoints_in(reason));
            }
            Reaction::Resync | Reaction::Restart => {}
            Reaction::Retry => {
                if code != CloseCode::RATE_LIMITED {
                    self.endpoints.failed(&relay, now);
                }
            }
        }
        if code == CloseCode::RATE_LIMITED {
            wait = wait.max(1_000);
        }
        self.schedule(now, wait);
        was_active.then_some(LinkEvent::Down)
    }

    /// Reads a message. Frames of documents go to `document`; those of the connection are handled here.
    pub(super) fn received(
        &mut self,
        id: u64,
        bytes: &[u8],
        io: &mut Io<'_>,
        mut document: impl FnMut(&mut Self, Frame<'_>, &mut Io<'_>) -> Result<(), DecodeError>,
    ) -> Option<LinkEvent> {
        let mut event = None;
        if let Some(active) = self.active.as_mut().filter(|active| active.id == id) {
            active.race_at = None;
            if active.pulse.heard(io.now) {
                self.race.drop_all(io);
            }
        } else if !self.race.has(id) {
            return None;
        }
        for frame in Frames::new(bytes) {
            let handled = frame.and_then(|frame| {
                if frame.channel == Channel::CONNECTION {
                    self.connection(id, &frame, io).map(|up| event = up.or(event.take()))
                } else if self.active.as_ref().is_some_and(|active| active.id == id) {
                    document(self, frame, io)
                } else {
                    Err(DecodeError::Malformed("a document's frame before hello-ok"))
                }
            });
            if let Err(error) = handled {
                return self.fail(id, close_code(&error), io);
            }
        }
        event
    }

    fn connection(&mut self, id: u64, frame: &Frame<'_>, io: &mut Io<'_>) -> Result<Option<LinkEvent>, DecodeError> {
        let Some(message) = ServerMessage::decode(frame)? else { return Ok(None) };
        let is_active = self.active.as_ref().is_some_and(|active| active.id == id);
        match message {
            ServerMessage::HelloOk(hello) if !is_active => return Ok(self.activate(id, hello, io)),
            ServerMessage::Error(failure) => self.failure = Some(failure),
            _ if !is_active => return Err(DecodeError::Malformed("a message before hello-ok")),
            ServerMessage::Ping(ping) => self.send(Channel::CONNECTION, Pong { nonce: ping.nonce }),
            ServerMessage::Pong(pong) => {
                if let Some(active) = self.active.as_mut()
                    && let Some(rtt) = active.pulse.answered(pong.nonce, io.now)
                {
                    self.endpoints.answered(&active.relay, rtt);
                }
            }
            ServerMessage::Endpoints(told) => {
                if let Some(listing) = &mut self.listing {
                    listing.told(told.signed, io.effects);
                }
            }
            ServerMessage::TokenExpiring(_) => io.effects.push_back(Effect::TokenNeeded { channel: None }),
            ServerMessage::Drain(drain) => self.leave(&drain.endpoints, drain.after_ms, io.now),
            _ => return Err(DecodeError::Malformed("a document's message on the connection's channel")),
        }
        Ok(None)
    }

    /// Leaves this relay at a random moment within `after_ms`, for one of `named` if there are any.
    pub(super) fn leave(&mut self, named: &[Endpoint], after_ms: u32, now: Instant) {
        if let Some(active) = &self.active {
            self.endpoints.failed(&active.relay, now);
        }
        self.endpoints.follow(named);
        let jitter = self.random.below(u64::from(after_ms) + 1);
        let at = now.after(jitter);
        self.leave_at = Some(self.leave_at.map_or(at, |before| before.min(at)));
    }

    fn activate(&mut self, id: u64, hello: HelloOk, io: &mut Io<'_>) -> Option<LinkEvent> {
        if !VERSIONS.contains(&hello.version) {
            return self.fail(id, CloseCode::UPGRADE, io);
        }
        let won = self.race.win(id, io)?;
        if let Some(old) = self.active.take() {
            io.effects.push_back(Effect::Disconnect { attempt: old.id, code: CloseCode::NORMAL });
        }
        self.endpoints.learn(won.endpoint.name(), &hello.endpoints);
        let relay = hello.endpoints.first().map_or(won.endpoint.name(), Endpoint::name).to_owned();
        self.endpoints.answered(&relay, won.rtt_ms);
        self.region = Some(hello.region.clone());
        self.failure = None;
        (self.retry_at, self.leave_at) = (None, None);
        let pulse = Pulse::new(hello.ping, won.rtt_ms, io.now);
        self.active = Some(Active {
            id,
            relay,
            address: won.address,
            hello,
            pulse,
            next_channel: 0,
            out: VecDeque::new(),
            asks: false,
            race_at: None,
            since: io.now,
        });
        Some(LinkEvent::Up)
    }

    /// Closes a connection that misbehaved and goes on elsewhere.
    fn fail(&mut self, id: u64, code: CloseCode, io: &mut Io<'_>) -> Option<LinkEvent> {
        io.effects.push_back(Effect::Disconnect { attempt: id, code });
        let was_active = self.active.as_ref().is_some_and(|active| active.id == id);
        let relay = if was_active { self.take_active(io.now) } else { self.race.give_up(id, io) }?;
        self.endpoints.failed(&relay, io.now);
        self.schedule(io.now, 0);
        was_active.then_some(LinkEvent::Down)
    }

    /// Lets go of the connection in use; one that held for a while ends the backoff.
    fn take_active(&mut self, now: Instant) -> Option<String> {
        let active = self.active.take()?;
        if now.since(active.since) >= HELD_MS {
            self.backoff.succeed();
        }
        Some(active.relay)
    }

    fn schedule(&mut self, now: Instant, at_least_ms: u64) {
        if self.active.is_none() && self.race.is_empty() && self.online && !self.stopped && !self.awaiting_token {
            let wait = self.backoff.fail().max(at_least_ms);
            self.retry_at = Some(now.after(wait));
        }
    }

    /// Does what is due. `busy`: in use, or with something unacknowledged.
    pub(super) fn tick(&mut self, busy: bool, io: &mut Io<'_>) -> Option<LinkEvent> {
        let now = io.now;
        let mut event = None;
        for relay in self.race.tick(io) {
            self.endpoints.failed(&relay, now);
            self.schedule(now, 0);
        }
        if let Some(active) = self.active.as_mut() {
            if let Some(nonce) = active.pulse.ping_due(busy, now) {
                self.send(Channel::CONNECTION, Ping { nonce });
            }
            event = self.check_pulse(io);
        }
        if self.leave_at.is_some_and(|at| at <= now) {
            self.leave_at = None;
            if self.race.is_empty() && self.active.is_some() {
                self.connect(false, io);
            }
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            if self.active.is_none() && self.race.is_empty() && self.may_connect() {
                self.connect(false, io);
            }
        }
        if let Some(slow) = self.slow_relay().filter(|slow| slow.at <= now) {
            if !slow.beyond {
                self.endpoints.failed(&slow.relay, now);
            }
            self.connect(slow.beyond, io);
        }
        event
    }

    fn check_pulse(&mut self, io: &mut Io<'_>) -> Option<LinkEvent> {
        let now = io.now;
        let active = self.active.as_mut()?;
        if active.pulse.is_dead(now) {
            let id = active.id;
            return self.fail(id, CloseCode::ABNORMAL, io);
        }
        if active.pulse.suspect(now) {
            active.race_at = Some(now.after(RACE_MS));
            let relay = active.relay.clone();
            self.endpoints.failed(&relay, now);
            self.connect(false, io);
        } else if active.race_at.is_some_and(|at| at <= now) {
            active.race_at = None;
            self.connect(true, io);
        }
        None
    }

    fn may_connect(&self) -> bool {
        self.online && !self.stopped && !self.awaiting_token
    }

    /// The only relay being tried, and when another is tried beside it. Where there was a connection before, its region may be
    /// gone as a whole, and somebody waits: another region comes in soon.
    fn slow_relay(&self) -> Option<Slow> {
        let (relay, began) = self.race.lone().filter(|_| self.active.is_none())?;
        let soon = began.after(RACE_MS);
        let beyond = self.region.as_deref().is_some_and(|region| self.endpoints.has_beyond(region, soon));
        let at = if beyond { soon } else { began.after(SLOW_ATTEMPT_MS) };
        let relay = relay.to_owned();
        (beyond || self.endpoints.has_other(&relay, at)).then_some(Slow { relay, at, beyond })
    }

    /// Begins to try a relay; `beyond`: of another region than this one, if one is known.
    fn connect(&mut self, beyond: bool, io: &mut Io<'_>) {
        let tried = self.race.relays();
        if tried.len() >= TRIES_MAX || !self.may_connect() {
            return;
        }
        let place = match self.region.as_deref().filter(|region| !region.is_empty()) {
            Some(region) if beyond => Place::Beyond(region),
            Some(region) => Place::Within(region),
            None => Place::Anywhere,
        };
        if let Some(endpoint) = self.endpoints.choose(self.document.as_deref(), place, &tried, io.now) {
            self.race.start(endpoint, io);
        }
    }

    pub(super) fn deadline(&self, busy: bool) -> Option<Instant> {
        let active = self.active.as_ref();
        let retry = self.retry_at.filter(|_| self.may_connect() && self.endpoints.iter().next().is_some());
        let due = [
            self.race.deadline(),
            retry,
            self.leave_at.filter(|_| active.is_some()),
            self.slow_relay().map(|slow| slow.at),
            active.map(|active| active.pulse.deadline(busy)),
            active.and_then(|active| active.race_at),
        ];
        due.into_iter().flatten().min()
    }
}

/// Endpoints that a close reason names: its words that are addresses.
fn endpoints_in(reason: &str) -> Vec<Endpoint> {
    let endpoint = |word: &str| Some(Endpoint::at(word, &[Transport::of_url(word)?]));
    reason.split_whitespace().filter_map(endpoint).take(8).collect()
}
