//! Connections as a client and a relay see them: two ordered streams of messages that arrive whole or not at all, until
//! one end, or the path, is gone.
//!
//! Inside a connection nothing is lost, doubled or reordered: WebSocket and QUIC streams promise that. What goes wrong
//! goes wrong with connections: they end, they go silent, they are slow, and what was sent on an old one may arrive
//! after the new one was opened.

use std::collections::{BTreeMap, VecDeque};

use selvedge_protocol::CloseCode;

use super::dice::Dice;
use super::schedule::{MS, Micros};

/// One connection of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(pub(super) u32);

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The device that dialled.
    Client,
    /// The relay that answered.
    Relay,
}

/// What travels to one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parcel {
    /// A message.
    Message(Vec<u8>),
    /// The other side closed, or the path broke.
    Closed(Option<Close>),
}

/// A close as the other side worded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    /// The close code.
    pub(super) code: CloseCode,
    /// The human sentence.
    pub(super) reason: String,
}

/// The quality of a device's link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Usual one-way delay.
    pub(super) delay: Micros,
    /// Extra delay of a message, at most.
    pub(super) jitter: Micros,
    /// Bytes a second.
    pub(super) rate: u64,
}

impl Link {
    /// A link as devices commonly have.
    pub(super) fn usual(dice: &mut Dice) -> Self {
        let delay = match dice.below(4) {
            0 => dice.between(1, 3),
            1 | 2 => dice.between(10, 60),
            _ => dice.between(80, 250),
        };
        Self { delay: delay * MS, jitter: dice.between(0, delay) * MS, rate: 2_000_000 }
    }

    /// A link that is hardly one.
    pub(super) fn slow(dice: &mut Dice) -> Self {
        Self { delay: dice.between(200, 900) * MS, jitter: 600 * MS, rate: dice.between(8_000, 60_000) }
    }
}

#[derive(Debug)]
struct OnTheWay {
    sent: Micros,
    arrival: Micros,
    parcel: Parcel,
}

#[derive(Debug, Default)]
struct Stream {
    /// Parcels on the way, in the order of their sending.
    on_the_way: VecDeque<OnTheWay>,
    last_arrival: Micros,
    /// Nothing more goes in.
    shut: bool,
    /// Nothing comes out any more, and nobody is told.
    silent: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// The device and the tab's load that dialled.
    pub(super) load: usize,
    /// The client's number for this attempt.
    pub(super) attempt: u64,
    /// The relay's incarnation that answered.
    pub(super) relay: u64,
    to_relay: Stream,
    to_client: Stream,
}

/// All connections of a run.
#[derive(Debug, Default)]
pub(super) struct Network {
    next: u32,
    /// When the latest of what has arrived at the relay was sent.
    newest_at_relay: Micros,
    connections: BTreeMap<ConnectionId, Connection>,
}

impl Network {
    /// A new connection.
    pub(super) fn connect(&mut self, load: usize, attempt: u64, relay: u64) -> ConnectionId {
        let id = ConnectionId(self.next);
        self.next += 1;
        let (to_relay, to_client) = (Stream::default(), Stream::default());
        self.connections.insert(id, Connection { load, attempt, relay, to_relay, to_client });
        id
    }

    /// The connection of that number, while any of it is left.
    pub(super) fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    /// Connections of which any is left, in order of their opening.
    #[cfg(test)]
    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.connections.keys().copied().collect()
    }

    /// Sends towards `to`; the time of arrival, unless nothing will arrive.
    pub(super) fn send(
        &mut self,
        id: ConnectionId,
        to: End,
        parcel: Parcel,
        link: Link,
        dice: &mut Dice,
        now: Micros,
    ) -> Option<Micros> {
        let stream = self.connections.get_mut(&id)?.stream(to);
        if stream.shut {
            return None;
        }
        let bytes = match &parcel {
            Parcel::Message(bytes) => bytes.len() as u64,
            Parcel::Closed(_) => {
                stream.shut = true;
                0
            }
        };
        let travel = link.delay + dice.below(link.jitter + 1) + bytes * 1_000_000 / link.rate;
        let arrival = (now + travel).max(stream.last_arrival);
        stream.last_arrival = arrival;
        stream.on_the_way.push_back(OnTheWay { sent: now, arrival, parcel });
        Some(arrival)
    }

    /// The next parcel that has arrived at `to`, if it is still there to arrive, and whether it
    /// arrives after one that was sent later on another connection.
    pub(super) fn arrive(&mut self, id: ConnectionId, to: End, now: Micros) -> Option<(Parcel, bool)> {
        let stream = self.connections.get_mut(&id)?.stream(to);
        if stream.silent || stream.on_the_way.front().is_none_or(|first| first.arrival > now) {
            return None;
        }
        let first = stream.on_the_way.pop_front()?;
        let overtook = to == End::Relay && first.sent < self.newest_at_relay;
        self.newest_at_relay = self.newest_at_relay.max(if to == End::Relay { first.sent } else { 0 });
        Some((first.parcel, overtook))
    }

    /// The path breaks towards `to`: what was on the way is lost. True when something was.
    pub(super) fn lose(&mut self, id: ConnectionId, to: End) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        let stream = connection.stream(to);
        let any = !stream.on_the_way.is_empty();
        stream.on_the_way.clear();
        any
    }

    /// Nothing arrives at `to` any more, and nobody is told.
    pub(super) fn silence(&mut self, id: ConnectionId, to: End) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stream(to).silent = true;
        }
    }

    /// Bytes on their way to `to`.
    pub(super) fn bytes_under_way(&self, id: ConnectionId, to: End) -> usize {
        let Some(connection) = self.connections.get(&id) else { return 0 };
        let stream = match to {
            End::Relay => &connection.to_relay,
            End::Client => &connection.to_client,
        };
        let sizes = stream.on_the_way.iter().map(|one| match &one.parcel {
            Parcel::Message(bytes) => bytes.len(),
            Parcel::Closed(_) => 0,
        });
        sizes.sum()
    }

    /// Delays everything on the way to `to`, and returns the new arrival of the last parcel with how many there are.
    pub(super) fn delay(&mut self, id: ConnectionId, to: End, by: Micros) -> Vec<Micros> {
        let Some(connection) = self.connections.get_mut(&id) else { return Vec::new() };
        let stream = connection.stream(to);
        for one in &mut stream.on_the_way {
            one.arrival += by;
        }
        stream.last_arrival += by;
        stream.on_the_way.iter().map(|one| one.arrival).collect()
    }
}

impl Connection {
    fn stream(&mut self, to: End) -> &mut Stream {
        match to {
            End::Relay => &mut self.to_relay,
            End::Client => &mut self.to_client,
        }
    }
}
