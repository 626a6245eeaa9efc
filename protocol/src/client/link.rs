//! The link: one connection to one relay at a time, and how the next one is found.
//!
//! Attempts race; the first to finish hello becomes the link. A silent link is suspected, raced against and replaced; a
//! draining one is left only when the next is up.

use std::collections::VecDeque;

use super::effect::{Effect, LinkInfo};
use super::ping::Pulse;
use super::{ClientConfig, Io};
use crate::backoff::Backoff;
use crate::close::{CloseCode, Reaction, close_code};
use crate::endpoint::{Endpoint, Endpoints};
use crate::error::DecodeError;
use crate::frame::{Channel, Frame, Frames};
use crate::level::Instant;
use crate::message::{ClientMessage, Failure, Hello, HelloOk, Ping, Pong, ServerMessage, Token};
use crate::random::Random;
use crate::version::{Features, HELLO_FORMAT, VERSIONS};

/// How long an attempt may take from its start to hello-ok, in milliseconds.
pub const ATTEMPT_MS_MAX: u64 = 5_000;
/// How long after a suspicion or a slow attempt the second racer starts, in milliseconds.
pub const RACE_MS: u64 = 250;
/// How long a lone attempt may take before another endpoint is tried beside it, in milliseconds.
const SLOW_ATTEMPT_MS: u64 = 1_500;
/// How long a connection must hold before the backoff starts anew, in milliseconds.
const HELD_MS: u64 = 5_000;
/// Most attempts at a time.
const ATTEMPTS_MAX: usize = 2;
/// Frames of one message; a message is at most this many bytes plus one frame, below every server's limit.
const MESSAGE_BYTES: usize = 128 * 1024;

#[derive(Clone, Debug)]
struct Attempt {
    id: u64,
    endpoint: Endpoint,
    began: Instant,
}

/// The connection in use.
#[derive(Debug)]
struct Active {
    id: u64,
    endpoint: Endpoint,
    hello: HelloOk,
    pulse: Pulse,
    next_channel: u32,
    out: VecDeque<Vec<u8>>,
    race_at: Option<Instant>,
    since: Instant,
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
    attempts: Vec<Attempt>,
    active: Option<Active>,
    next_attempt: u64,
    region: Option<String>,
    /// The first document opened: its owner among a region's relays is preferred.
    pub(super) document: Option<String>,
    failure: Option<Failure>,
}

impl Link {
    pub(super) fn new(config: ClientConfig, now: Instant) -> Self {
        let mut random = Random::new(config.seed);
        Self {
            endpoints: Endpoints::new(config.endpoints),
            token: config.token,
            client: config.client,
            online: config.online,
            stopped: false,
            awaiting_token: false,
            backoff: Backoff::new(random.draw()),
            random,
            retry_at: Some(now),
            leave_at: None,
            attempts: Vec::new(),
            active: None,
            next_attempt: 1,
            region: None,
            document: None,
            failure: None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.active.is_some()
    }

    pub(super) fn is_online(&self) -> bool {
        self.online
    }

    pub(super) fn session(&self) -> Option<u64> {
        self.active.as_ref().map(|active| active.hello.session)
    }

    pub(super) fn info(&self) -> Option<LinkInfo> {
        self.active.as_ref().map(|active| LinkInfo {
            url: active.endpoint.url.clone(),
            region: active.hello.region.clone(),
            transport: active.endpoint.transport,
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
        if let Some(active) = self.active.as_mut()
            && let Ok(frame) = message.into().to_frame(channel)
        {
            active.out.push_back(frame);
        }
    }

    /// Hands queued frames over as messages.
    pub(super) fn flush(&mut self, effects: &mut VecDeque<Effect>) {
        let Some(active) = self.active.as_mut() else { return };
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
        if self.active.is_none() && self.attempts.is_empty() {
            self.retry_at = Some(now);
        }
    }

    pub(super) fn go_offline(&mut self, io: &mut Io<'_>) -> Option<LinkEvent> {
        self.online = false;
        self.retry_at = None;
        self.drop_attempts(io);
        self.flush(io.effects);
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
        if self.attempts.iter().any(|attempt| attempt.id == id) {
            let hello = Hello {
                format: HELLO_FORMAT,
                versions: VERSIONS.to_vec(),
                features: Features::OFFERED.0,
                client: self.client.clone(),
                token: self.token.clone(),
            };
            let message = ClientMessage::from(hello);
            if let Ok(bytes) = message.to_frame(Channel::CONNECTION) {
                io.effects.push_back(Effect::Send { attempt: id, bytes });
            }
        }
    }

    pub(super) fn connect_failed(&mut self, id: u64, now: Instant) {
        if let Some(at) = self.attempts.iter().position(|attempt| attempt.id == id) {
            let attempt = self.attempts.remove(at);
            self.endpoints.failed(&attempt.endpoint.url, now);
            self.schedule(now, 0);
        }
    }

    /// The socket is gone, closed by the other side or lost.
    pub(super) fn closed(&mut self, id: u64, code: CloseCode, reason: &str, io: &mut Io<'_>) -> Option<LinkEvent> {
        let was_active = self.active.as_ref().is_some_and(|active| active.id == id);
        let url = if was_active {
            self.take_active(io.now)
        } else {
            let at = self.attempts.iter().position(|attempt| attempt.id == id)?;
            Some(self.attempts.remove(at).endpoint.url)
        };
        let now = io.now;
        let told =
            self.failure.take().filter(|failure| failure.code == code.0).map_or(0, |failure| failure.retry_after_ms);
        let mut wait = told.max(reason.trim().parse().unwrap_or(0));
        match code.reaction() {
            Reaction::Stop => {
                self.stopped = true;
                self.drop_attempts(io);
                let reason = if reason.is_empty() { code.sentence() } else { reason };
                return Some(LinkEvent::Stopped(code, reason.into()));
            }
            Reaction::AskToken => {
                self.awaiting_token = true;
                io.effects.push_back(Effect::TokenNeeded { channel: None });
                return was_active.then_some(LinkEvent::Down);
            }
            Reaction::Follow => {
                if let Some(url) = &url {
                    self.endpoints.failed(url, now);
                }
                self.endpoints.follow(&endpoints_in(reason));
            }
            Reaction::Resync | Reaction::Restart => {}
            Reaction::Retry => {
                if let Some(url) = &url
                    && code != CloseCode::RATE_LIMITED
                {
                    self.endpoints.failed(url, now);
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
                self.drop_attempts(io);
            }
        } else if !self.attempts.iter().any(|attempt| attempt.id == id) {
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
                    self.endpoints.answered(&active.endpoint.url, rtt);
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
            self.endpoints.failed(&active.endpoint.url, now);
        }
        self.endpoints.follow(named);
        let jitter = self.random.below(u64::from(after_ms) + 1);
        let at = now.after(jitter);
        self.leave_at = Some(self.leave_at.map_or(at, |before| before.min(at)));
    }

    fn activate(&mut self, id: u64, hello: HelloOk, io: &mut Io<'_>) -> Option<LinkEvent> {
        let at = self.attempts.iter().position(|attempt| attempt.id == id)?;
        if !VERSIONS.contains(&hello.version) {
            return self.fail(id, CloseCode::UPGRADE, io);
        }
        let attempt = self.attempts.remove(at);
        self.drop_attempts(io);
        if let Some(old) = self.active.take() {
            io.effects.push_back(Effect::Disconnect { attempt: old.id, code: CloseCode::NORMAL });
        }
        self.endpoints.learn(&hello.endpoints);
        self.endpoints.answered(&attempt.endpoint.url, io.now.since(attempt.began));
        self.region = Some(hello.region.clone());
        self.failure = None;
        (self.retry_at, self.leave_at) = (None, None);
        let pulse = Pulse::new(hello.ping, io.now.since(attempt.began), io.now);
        self.active = Some(Active {
            id,
            endpoint: attempt.endpoint,
            hello,
            pulse,
            next_channel: 0,
            out: VecDeque::new(),
            race_at: None,
            since: io.now,
        });
        Some(LinkEvent::Up)
    }

    /// Closes a connection that misbehaved and goes on elsewhere.
    fn fail(&mut self, id: u64, code: CloseCode, io: &mut Io<'_>) -> Option<LinkEvent> {
        io.effects.push_back(Effect::Disconnect { attempt: id, code });
        let is_active = self.active.as_ref().is_some_and(|active| active.id == id);
        let url = match is_active.then(|| self.take_active(io.now)).flatten() {
            Some(url) => url,
            None => {
                let at = self.attempts.iter().position(|attempt| attempt.id == id)?;
                let url = self.attempts.remove(at).endpoint.url;
                self.endpoints.failed(&url, io.now);
                self.schedule(io.now, 0);
                return None;
            }
        };
        self.endpoints.failed(&url, io.now);
        self.schedule(io.now, 0);
        Some(LinkEvent::Down)
    }

    /// Lets go of the connection in use; one that held for a while ends the backoff.
    fn take_active(&mut self, now: Instant) -> Option<String> {
        let active = self.active.take()?;
        if now.since(active.since) >= HELD_MS {
            self.backoff.succeed();
        }
        Some(active.endpoint.url)
    }

    fn schedule(&mut self, now: Instant, at_least_ms: u64) {
        if self.active.is_none() && self.attempts.is_empty() && self.online && !self.stopped && !self.awaiting_token {
            let wait = self.backoff.fail().max(at_least_ms);
            self.retry_at = Some(now.after(wait));
        }
    }

    /// Does what is due. `busy`: in use, or with something unacknowledged.
    pub(super) fn tick(&mut self, busy: bool, io: &mut Io<'_>) -> Option<LinkEvent> {
        let now = io.now;
        let mut event = None;
        let late = |attempt: &Attempt| now.since(attempt.began) >= ATTEMPT_MS_MAX;
        while let Some(at) = self.attempts.iter().position(late) {
            let attempt = self.attempts.remove(at);
            io.effects.push_back(Effect::Disconnect { attempt: attempt.id, code: CloseCode::ABNORMAL });
            self.endpoints.failed(&attempt.endpoint.url, now);
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
            if self.attempts.is_empty() && self.active.is_some() {
                self.connect(None, io);
            }
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            if self.active.is_none() && self.attempts.is_empty() && self.may_connect() {
                self.connect(None, io);
            }
        }
        if self.slow_attempt_at().is_some_and(|at| at <= now) {
            let url = self.attempts[0].endpoint.url.clone();
            self.endpoints.failed(&url, now);
            self.connect(None, io);
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
            let url = active.endpoint.url.clone();
            self.endpoints.failed(&url, now);
            self.connect(None, io);
        } else if active.race_at.is_some_and(|at| at <= now) {
            active.race_at = None;
            let away = active.hello.region.clone();
            self.connect(Some(&away), io);
        }
        None
    }

    fn may_connect(&self) -> bool {
        self.online && !self.stopped && !self.awaiting_token
    }

    /// When a lone attempt counts as slow and another endpoint is there to try.
    fn slow_attempt_at(&self) -> Option<Instant> {
        let [attempt] = &self.attempts[..] else { return None };
        let slow = attempt.began.after(SLOW_ATTEMPT_MS);
        (self.active.is_none() && self.endpoints.has_other(&attempt.endpoint.url, slow)).then_some(slow)
    }

    /// Starts an attempt; `away`: in another region than this one, if there is any.
    fn connect(&mut self, away: Option<&str>, io: &mut Io<'_>) {
        if self.attempts.len() >= ATTEMPTS_MAX || !self.may_connect() {
            return;
        }
        let near = match away {
            Some(region) => self.endpoints.iter().find(|one| one.region != region).map(|one| one.region.clone()),
            None => self.region.clone(),
        };
        let Some(endpoint) = self.endpoints.choose(self.document.as_deref(), near.as_deref(), io.now) else { return };
        if self.attempts.iter().any(|attempt| attempt.endpoint.url == endpoint.url) {
            return;
        }
        let id = self.next_attempt;
        self.next_attempt += 1;
        let (url, transport) = (endpoint.url.clone(), endpoint.transport);
        self.attempts.push(Attempt { id, endpoint, began: io.now });
        io.effects.push_back(Effect::Connect { attempt: id, url, transport });
    }

    fn drop_attempts(&mut self, io: &mut Io<'_>) {
        for attempt in self.attempts.drain(..) {
            io.effects.push_back(Effect::Disconnect { attempt: attempt.id, code: CloseCode::NORMAL });
        }
    }

    pub(super) fn deadline(&self, busy: bool) -> Option<Instant> {
        let attempts = self.attempts.iter().map(|attempt| attempt.began.after(ATTEMPT_MS_MAX)).min();
        let active = self.active.as_ref();
        let retry = self.retry_at.filter(|_| self.may_connect() && self.endpoints.iter().next().is_some());
        let due = [
            attempts,
            retry,
            self.leave_at.filter(|_| active.is_some()),
            self.slow_attempt_at(),
            active.map(|active| active.pulse.deadline(busy)),
            active.and_then(|active| active.race_at),
        ];
        due.into_iter().flatten().min()
    }
}

/// Endpoints that a close reason names: its words that are addresses.
fn endpoints_in(reason: &str) -> Vec<Endpoint> {
    let addresses = reason.split_whitespace().filter(|word| word.starts_with("ws://") || word.starts_with("wss://"));
    addresses.take(8).map(Endpoint::websocket).collect()
}
