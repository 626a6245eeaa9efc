//! Which relays are being tried at the moment, and by which of their addresses.
//!
//! The addresses of one relay follow each other 500 ms apart, or at once when the former failed; whichever says hello-ok
//! first ends the race. A transport that lost such a race does not work here (UDP is blocked in many networks), and comes
//! last for a while.

use std::collections::VecDeque;

use super::Io;
use super::effect::Effect;
use super::link::ATTEMPT_MS_MAX;
use crate::close::CloseCode;
use crate::endpoint::{Address, Endpoint, Transport};
use crate::level::Instant;

/// How long one address of a relay is tried before the next is tried beside it, in milliseconds.
pub const ADDRESS_MS: u64 = 500;
/// How long a transport that lost against another to the same relay comes last, in milliseconds.
const LOSER_MS: u64 = 60_000;

#[derive(Debug)]
struct Attempt {
    id: u64,
    address: Address,
    began: Instant,
    opened: Option<Instant>,
}

/// One relay being tried.
#[derive(Debug)]
struct Try {
    endpoint: Endpoint,
    began: Instant,
    attempts: Vec<Attempt>,
    rest: VecDeque<Address>,
    next_at: Option<Instant>,
}

/// An attempt that said hello-ok.
#[derive(Debug)]
pub(super) struct Winner {
    pub(super) endpoint: Endpoint,
    pub(super) address: Address,
    /// From hello to hello-ok.
    pub(super) rtt_ms: u64,
}

/// What the end of an attempt means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It was none of these.
    Unknown,
    /// Another address of the same relay goes on.
    Address,
    /// The relay of this name cannot be reached by any of its addresses.
    Relay(String),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Race {
    tries: Vec<Try>,
    last_attempt: u64,
    losers: Vec<(Transport, Instant)>,
}

impl Race {
    pub(super) fn is_empty(&self) -> bool {
        self.tries.is_empty()
    }

    /// Names of the relays being tried.
    pub(super) fn relays(&self) -> Vec<&str> {
        self.tries.iter().map(|one| one.endpoint.name()).collect()
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.find(id).is_some()
    }

    /// The only relay being tried, and since when.
    pub(super) fn lone(&self) -> Option<(&str, Instant)> {
        match &self.tries[..] {
            [one] => Some((one.endpoint.name(), one.began)),
            _ => None,
        }
    }

    /// Begins to try a relay.
    pub(super) fn start(&mut self, endpoint: Endpoint, io: &mut Io<'_>) {
        let now = io.now;
        let lost = |address: &Address| self.losers.iter().any(|(of, until)| *of == address.transport && *until > now);
        let (last, first): (Vec<_>, Vec<_>) = endpoint.addresses.iter().cloned().partition(lost);
        let rest = first.into_iter().chain(last).collect();
        self.tries.push(Try { endpoint, began: now, attempts: Vec::new(), rest, next_at: None });
        self.launch(self.tries.len() - 1, io);
    }

    fn launch(&mut self, at: usize, io: &mut Io<'_>) {
        let one = &mut self.tries[at];
        let Some(address) = one.rest.pop_front() else { return };
        one.next_at = (!one.rest.is_empty()).then(|| io.now.after(ADDRESS_MS));
        self.last_attempt += 1;
        let Address { transport, url, certificates } = address.clone();
        one.attempts.push(Attempt { id: self.last_attempt, address, began: io.now, opened: None });
        io.effects.push_back(Effect::Connect { attempt: self.last_attempt, url, transport, certificates });
    }

    /// A connection is open: no further address of its relay is needed while it lives. Whether it is one of these.
    pub(super) fn opened(&mut self, id: u64, now: Instant) -> bool {
        let Some((at, which)) = self.find(id) else { return false };
        let one = &mut self.tries[at];
        one.next_at = None;
        one.attempts[which].opened = Some(now);
        true
    }

    /// A connection ended before hello-ok: the relay's next address is tried at once.
    pub(super) fn failed(&mut self, id: u64, io: &mut Io<'_>) -> Failed {
        let Some((at, which)) = self.find(id) else { return Failed::Unknown };
        self.tries[at].attempts.remove(which);
        self.launch(at, io);
        if !self.tries[at].attempts.is_empty() {
            return Failed::Address;
        }
        Failed::Relay(self.tries.remove(at).endpoint.name().to_owned())
    }

    /// The relay of an attempt is not wanted any more: its other attempts end with it.
    pub(super) fn give_up(&mut self, id: u64, io: &mut Io<'_>) -> Option<String> {
        let (at, which) = self.find(id)?;
        self.tries[at].attempts.remove(which);
        Some(self.end(at, CloseCode::NORMAL, io))
    }

    /// An attempt said hello-ok: all others end.
    pub(super) fn win(&mut self, id: u64, io: &mut Io<'_>) -> Option<Winner> {
        let (at, which) = self.find(id)?;
        let won = self.tries[at].attempts.remove(which);
        let (now, transport) = (io.now, won.address.transport);
        self.losers.retain(|(of, until)| *of != transport && *until > now);
        for other in self.tries[at].attempts.iter().filter(|other| other.opened.is_none() && other.id < id) {
            if other.address.transport != transport {
                self.losers.push((other.address.transport, now.after(LOSER_MS)));
            }
        }
        let endpoint = self.tries[at].endpoint.clone();
        self.drop_all(io);
        let rtt_ms = now.since(won.opened.unwrap_or(won.began));
        Some(Winner { endpoint, address: won.address, rtt_ms })
    }

    /// Ends everything.
    pub(super) fn drop_all(&mut self, io: &mut Io<'_>) {
        while !self.tries.is_empty() {
            self.end(0, CloseCode::NORMAL, io);
        }
    }

    /// The network is another: what did not work may work now.
    pub(super) fn network_changed(&mut self) {
        self.losers.clear();
    }

    /// Starts what is due. Returns the relays whose time is over.
    pub(super) fn tick(&mut self, io: &mut Io<'_>) -> Vec<String> {
        let now = io.now;
        let mut late = Vec::new();
        while let Some(at) = self.tries.iter().position(|one| now.since(one.began) >= ATTEMPT_MS_MAX) {
            late.push(self.end(at, CloseCode::ABNORMAL, io));
        }
        for at in 0..self.tries.len() {
            if self.tries[at].next_at.is_some_and(|due| due <= now) {
                self.launch(at, io);
            }
        }
        late
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let next = self.tries.iter().filter_map(|one| one.next_at);
        self.tries.iter().map(|one| one.began.after(ATTEMPT_MS_MAX)).chain(next).min()
    }

    fn end(&mut self, at: usize, code: CloseCode, io: &mut Io<'_>) -> String {
        let one = self.tries.remove(at);
        for Attempt { id, .. } in one.attempts {
            io.effects.push_back(Effect::Disconnect { attempt: id, code });
        }
        one.endpoint.name().to_owned()
    }

    /// Which try and which of its attempts.
    fn find(&self, id: u64) -> Option<(usize, usize)> {
        self.tries.iter().enumerate().find_map(|(at, one)| {
            let which = one.attempts.iter().position(|attempt| attempt.id == id)?;
            Some((at, which))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A race and the clock and effects around it.
    struct Track {
        race: Race,
        effects: VecDeque<Effect>,
        now: Instant,
    }

    impl Track {
        fn new() -> Self {
            Self { race: Race::default(), effects: VecDeque::new(), now: Instant(1_000) }
        }

        fn with<T>(&mut self, act: impl FnOnce(&mut Race, &mut Io<'_>) -> T) -> T {
            act(&mut self.race, &mut Io { effects: &mut self.effects, now: self.now })
        }

        fn start(&mut self, transports: &[Transport]) -> Vec<(u64, Transport)> {
            let addresses = transports.iter().map(|transport| Address {
                transport: *transport,
                url: "u".into(),
                certificates: Vec::new(),
            });
            let endpoint = Endpoint { relay: "r".into(), region: String::new(), addresses: addresses.collect() };
            self.with(|race, io| race.start(endpoint, io));
            self.connects()
        }

        /// The connects since the last look.
        fn connects(&mut self) -> Vec<(u64, Transport)> {
            let connect = |effect| match effect {
                Effect::Connect { attempt, transport, .. } => Some((attempt, transport)),
                _ => None,
            };
            self.effects.drain(..).filter_map(connect).collect()
        }

        fn pass(&mut self, ms: u64) -> Vec<(u64, Transport)> {
            self.now = self.now.after(ms);
            self.with(|race, io| race.tick(io));
            self.connects()
        }
    }

    const BOTH: [Transport; 2] = [Transport::WebTransport, Transport::WebSocket];

    #[test]
    fn the_second_address_starts_half_a_second_later_unless_the_first_is_open() {
        let mut track = Track::new();
        assert_eq!(track.start(&BOTH), [(1, Transport::WebTransport)]);
        assert_eq!(track.race.deadline(), Some(Instant(1_500)));
        assert_eq!(track.pass(499), []);
        assert_eq!(track.pass(1), [(2, Transport::WebSocket)]);

        let mut track = Track::new();
        track.start(&BOTH);
        assert!(track.race.opened(1, track.now));
        assert_eq!(track.pass(600), [], "the relay has been reached");
        assert_eq!(track.with(|race, io| race.failed(1, io)), Failed::Address);
        assert_eq!(track.connects(), [(2, Transport::WebSocket)], "but it closed again");
        assert_eq!(track.with(|race, io| race.failed(2, io)), Failed::Relay("r".into()));
        assert!(track.race.is_empty() && !track.race.has(2));
    }

    #[test]
    fn a_failed_address_gives_way_at_once() {
        let mut track = Track::new();
        track.start(&BOTH);
        assert_eq!(track.with(|race, io| race.failed(1, io)), Failed::Address);
        assert_eq!(track.connects(), [(2, Transport::WebSocket)]);
        assert_eq!(track.with(|race, io| race.failed(1, io)), Failed::Unknown);
    }

    #[test]
    fn the_winner_ends_the_others_and_the_loser_comes_last_for_a_while() {
        let mut track = Track::new();
        track.start(&BOTH);
        track.pass(500);
        track.race.opened(2, track.now);
        track.now = track.now.after(40);
        let won = track.with(|race, io| race.win(2, io)).expect("it is running");
        assert_eq!((won.address.transport, won.rtt_ms), (Transport::WebSocket, 40));
        assert!(matches!(track.effects.pop_front(), Some(Effect::Disconnect { attempt: 1, .. })));
        assert_eq!(track.start(&BOTH), [(3, Transport::WebSocket)], "no half second is lost a second time");
        track.with(|race, io| race.drop_all(io));
        track.race.network_changed();
        track.effects.clear();
        assert_eq!(track.start(&BOTH), [(4, Transport::WebTransport)]);
    }

    #[test]
    fn the_first_to_answer_is_no_loser() {
        let mut track = Track::new();
        track.start(&BOTH);
        track.pass(500);
        track.with(|race, io| race.win(1, io));
        track.effects.clear();
        assert_eq!(track.start(&BOTH), [(3, Transport::WebTransport)]);
    }

    #[test]
    fn a_relay_that_never_answers_is_let_go() {
        let mut track = Track::new();
        track.start(&BOTH);
        track.now = track.now.after(ATTEMPT_MS_MAX);
        assert_eq!(track.with(|race, io| race.tick(io)), ["r"]);
        assert!(track.race.is_empty());
        assert_eq!(track.race.deadline(), None);
    }
}
