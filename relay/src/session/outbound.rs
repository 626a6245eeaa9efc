//! What waits to be written to one connection: bounded in bytes and in time, shared by its rooms and its writer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use selvedge_protocol::message::kind;
use selvedge_protocol::{Channel, CloseCode, Instant, Rights};
use tokio::sync::Notify;

use super::Fault;
use crate::room::actor::RoomHandle;
use crate::room::{Outgoing, SessionKey};

/// Bytes put into one batch at most, unless a single frame is larger.
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
    /// Woken when rooms have closed channels or told of rights, or the connection ends.
    told: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(Channel, Outgoing, Instant)>,
    bytes: u64,
    fault: Option<Fault>,
    /// Channels that rooms have closed and the session does not know of yet.
    closed: Vec<Channel>,
    /// Rights that the control plane has set for documents of this connection; the last word on each counts.
    rights: Vec<(Channel, Rights)>,
    watchers: VecDeque<(RoomHandle, SessionKey)>,
    /// The writer is gone: nothing is queued any more.
    gone: bool,
}

/// Frames that are written together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Channel of the first frame; where channels are apart, of all.
    pub(crate) channel: Channel,
    /// Whole frames.
    pub(crate) bytes: Vec<u8>,
    /// Where channels are apart: one presence, which may be lost.
    pub(crate) presence: bool,
    /// Where channels are apart: nothing comes after it on this channel.
    pub(crate) last: bool,
}

/// What the writer does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Write this.
    Batch(Batch),
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

    /// Queues a message; `true` if the queue is over its bound now. A connection that ends is queued nothing more: after an
    /// overrun, what a client was sent would have a hole.
    pub(crate) fn push(&self, channel: Channel, message: Outgoing, now: Instant) -> bool {
        let mut state = self.lock();
        if state.gone || state.fault.is_some() {
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

    /// The control plane has set its principal's rights on a document.
    pub(crate) fn push_rights(&self, channel: Channel, rights: Rights) {
        let mut state = self.lock();
        state.rights.retain(|(other, _)| *other != channel);
        state.rights.push((channel, rights));
        drop(state);
        self.told.notify_one();
    }

    /// Rights set since the last call.
    pub(crate) fn take_rights(&self) -> Vec<(Channel, Rights)> {
        std::mem::take(&mut self.lock().rights)
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

    /// Waits until a room closed a channel, rights were set, or the connection ends.
    pub(crate) async fn told(&self) {
        self.told.notified().await;
    }

    /// Waits until there may be something for the writer.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What the writer does next; frames are joined into one batch while they are small. `apart`: only those of one
    /// channel, presence and a channel's last frame each alone.
    pub(crate) fn next(&self, apart: bool) -> Next {
        let mut state = self.lock();
        let mut batch: Option<Batch> = None;
        while let Some((channel, message, _)) = state.queue.front() {
            let (channel, size, kind) = (*channel, message.bytes(), message.kind());
            let alone = apart && (kind == kind::PRESENCE || kind == kind::CLOSED);
            if let Some(batch) = &batch
                && (alone || batch.bytes.len() + size > MESSAGE_BYTES || (apart && batch.channel != channel))
            {
                break;
            }
            let begun = batch.get_or_insert_with(|| Batch { channel, bytes: Vec::new(), presence: false, last: false });
            if let Err(error) = message.write(channel, &mut begun.bytes) {
                tracing::error!(%error, channel = channel.0, "a message that fits no frame was left out");
            }
            state.bytes -= size as u64;
            state.queue.pop_front();
            if alone {
                begun.presence = kind == kind::PRESENCE;
                begun.last = kind == kind::CLOSED;
                break;
            }
        }
        if let Some(batch) = batch {
            return Next::Batch(batch);
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
    use selvedge_protocol::Frames;
    use selvedge_protocol::message::{Closed, Pong, Presence};

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
        let Next::Batch(batch) = outbound.next(false) else { panic!("nothing to write") };
        assert_eq!(Frames::new(&batch.bytes).count(), 3);
        assert!(matches!(outbound.next(false), Next::Idle));
    }

    #[test]
    fn channels_that_are_apart_are_batched_apart() {
        let outbound = Outbound::new(10_000, 5_000);
        let presence = Presence { session: 7, data: None, user: None };
        let closed = Closed { code: 4410, reason: String::new(), retry_after_ms: 0, generation: 0 };
        for channel in [1, 1, 2] {
            outbound.push(Channel(channel), message(), Instant(0));
        }
        outbound.push(Channel(2), presence.into(), Instant(0));
        outbound.push(Channel(2), closed.into(), Instant(0));
        let batches: Vec<_> = std::iter::from_fn(|| match outbound.next(true) {
            Next::Batch(batch) => Some(batch),
            _ => None,
        })
        .map(|batch| (batch.channel.0, Frames::new(&batch.bytes).count(), batch.presence, batch.last))
        .collect();
        assert_eq!(batches, [(1, 2, false, false), (2, 1, false, false), (2, 1, true, false), (2, 1, false, true)]);
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
        outbound.push(Channel(1), message(), Instant(0));
        assert!(matches!(outbound.next(false), Next::Close(_)), "nothing is sent that would come after a hole");
    }
}
