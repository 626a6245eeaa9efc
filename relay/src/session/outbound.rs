//! What waits to be written to one connection: bounded in bytes and in time, shared by its rooms and its writer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use selvedge_protocol::{Channel, CloseCode, Instant};
use tokio::sync::Notify;

use super::Fault;
use crate::room::actor::RoomHandle;
use crate::room::{Outgoing, SessionKey};

/// Bytes put into one WebSocket message at most, unless a single frame is larger.
const MESSAGE_BYTES: usize = 64 * 1024;
/// How far beyond its bound the queue may run before the connection is given up: rooms stop at the bound, but acks go on.
const OVERRUN: u64 = 4;

/// One connection's way out.
#[derive(Debug)]
pub(crate) struct Outbound {
    bytes_max: u64,
    age_ms_max: u64,
    state: Mutex<State>,
    changed: Notify,
    /// Woken when rooms have closed channels, or the connection ends.
    told: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(Channel, Outgoing, Instant)>,
    bytes: u64,
    fault: Option<Fault>,
    /// Channels that rooms have closed and the session does not know of yet.
    closed: Vec<Channel>,
    watchers: VecDeque<(RoomHandle, SessionKey)>,
    /// The writer is gone: nothing is queued any more.
    gone: bool,
}

/// What the writer does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Write this message.
    Message(Vec<u8>),
    /// Nothing waits: tell this room that its session has drained.
    Drained(RoomHandle, SessionKey),
    /// Nothing waits, and the connection ends for this reason.
    Close(Fault),
    /// Nothing waits.
    Idle,
}

impl Outbound {
    pub(crate) fn new(bytes_max: u64, age_ms_max: u64) -> Arc<Self> {
        Arc::new(Outbound {
            bytes_max,
            age_ms_max,
            state: Mutex::default(),
            changed: Notify::new(),
            told: Notify::new(),
        })
    }

    /// Queues a message; `true` if the queue is over its bound now.
    pub(crate) fn push(&self, channel: Channel, message: Outgoing, now: Instant) -> bool {
        let mut state = self.lock();
        if state.gone {
            return false;
        }
        state.bytes += message.bytes() as u64;
        state.queue.push_back((channel, message, now));
        let oldest = state.queue.front().map_or(now, |(_, _, at)| *at);
        let over = state.bytes > self.bytes_max || now.since(oldest) > self.age_ms_max;
        if state.bytes > self.bytes_max * OVERRUN {
            self.end(&mut state, Fault::new(CloseCode::TOO_SLOW, CloseCode::TOO_SLOW.sentence()));
            state.queue.clear();
            state.bytes = 0;
        }
        drop(state);
        self.changed.notify_one();
        over
    }

    /// Queues the message that closes a document's channel, and notes it for the session.
    pub(crate) fn push_closed(&self, channel: Channel, message: Outgoing, now: Instant) {
        self.lock().closed.push(channel);
        self.push(channel, message, now);
        self.told.notify_one();
    }

    /// Tells the room as soon as nothing waits here.
    pub(crate) fn watch(&self, room: RoomHandle, key: SessionKey) {
        let mut state = self.lock();
        if !state.gone {
            state.watchers.push_back((room, key));
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Ends the connection once what waits is written. The first reason counts.
    pub(crate) fn close(&self, fault: Fault) {
        let mut state = self.lock();
        self.end(&mut state, fault);
        drop(state);
        self.changed.notify_one();
        self.told.notify_one();
    }

    /// Whether the connection ends.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.lock().fault.clone()
    }

    /// Channels closed by rooms since the last call.
    pub(crate) fn take_closed(&self) -> Vec<Channel> {
        std::mem::take(&mut self.lock().closed)
    }

    /// Waits until a room closed a channel or the connection ends.
    pub(crate) async fn told(&self) {
        self.told.notified().await;
    }

    /// Waits until there may be something for the writer.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What the writer does next; frames are joined into one message while they are small.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.lock();
        let mut out = Vec::new();
        while let Some((channel, message, _)) = state.queue.front() {
            let bytes = message.bytes();
            if !out.is_empty() && out.len() + bytes > MESSAGE_BYTES {
                break;
            }
            if let Err(error) = message.write(*channel, &mut out) {
                tracing::error!(%error, channel = channel.0, "a message that fits no frame was left out");
            }
            state.bytes -= bytes as u64;
            state.queue.pop_front();
        }
        if !out.is_empty() {
            return Next::Message(out);
        }
        if let Some(fault) = state.fault.clone() {
            return Next::Close(fault);
        }
        match state.watchers.pop_front() {
            Some((room, key)) => Next::Drained(room, key),
            None => Next::Idle,
        }
    }

    /// Whether rooms wait for this queue to drain.
    pub(crate) fn is_watched(&self) -> bool {
        !self.lock().watchers.is_empty()
    }

    /// The writer has ended: what waits is let go, nothing more is taken.
    pub(crate) fn gone(&self) {
        let mut state = self.lock();
        state.gone = true;
        state.queue.clear();
        state.watchers.clear();
        state.bytes = 0;
        drop(state);
        self.told.notify_one();
    }

    /// Whether the writer has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.lock().gone
    }

    fn end(&self, state: &mut State, fault: Fault) {
        state.fault.get_or_insert(fault);
        self.told.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics with this lock held")
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::message::Pong;

    use super::*;

    fn message() -> Outgoing {
        Pong { nonce: 1 }.into()
    }

    #[test]
    fn frames_are_joined_and_the_bound_is_told() {
        let outbound = Outbound::new(100, 5_000);
        assert!(!outbound.push(Channel(1), message(), Instant(0)));
        assert!(!outbound.push(Channel(2), message(), Instant(0)));
        assert!(outbound.push(Channel(3), message(), Instant(0)));
        let Next::Message(bytes) = outbound.next() else { panic!("nothing to write") };
        assert_eq!(selvedge_protocol::Frames::new(&bytes).count(), 3);
        assert!(matches!(outbound.next(), Next::Idle));
    }

    #[test]
    fn an_old_queue_is_over_its_bound_too() {
        let outbound = Outbound::new(10_000, 5_000);
        assert!(!outbound.push(Channel(1), message(), Instant(0)));
        assert!(outbound.push(Channel(1), message(), Instant(5_001)));
    }

    #[test]
    fn a_queue_that_overruns_ends_the_connection() {
        let outbound = Outbound::new(100, 5_000);
        for _ in 0..10 {
            outbound.push(Channel(1), message(), Instant(0));
        }
        assert_eq!(outbound.fault().map(|fault| fault.code), Some(CloseCode::TOO_SLOW));
    }
}
