//! Virtual time: one queue of events for everything that exists in a run.
//!
//! Time is counted in microseconds and moves only from event to event. Two events of the same microsecond come in the
//! order in which they were scheduled, so a run is a function of its seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use selvedge_protocol::Instant;

/// A moment of virtual time, in microseconds since the run began.
pub(super) type Micros = u64;

/// Microseconds in a millisecond.
pub(super) const MS: Micros = 1_000;

/// Microseconds in a second.
pub(super) const SECOND: Micros = 1_000_000;

/// The queue of all that is to come.
#[derive(Debug)]
pub(super) struct Schedule<E> {
    now: Micros,
    sequence: u64,
    heap: BinaryHeap<Reverse<Entry<E>>>,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Self { now: 0, sequence: 0, heap: BinaryHeap::new() }
    }
}

impl<E> Schedule<E> {
    /// The present moment.
    pub(super) fn now(&self) -> Micros {
        self.now
    }

    /// The present moment as the machines are told it.
    pub(super) fn instant(&self) -> Instant {
        instant(self.now)
    }

    /// Puts `event` `delay` after now.
    pub(super) fn after(&mut self, delay: Micros, event: E) {
        self.at(self.now + delay, event);
    }

    /// Puts `event` at `time`, or now if that has passed.
    pub(super) fn at(&mut self, time: Micros, event: E) {
        self.sequence += 1;
        self.heap.push(Reverse(Entry { time: time.max(self.now), sequence: self.sequence, event }));
    }

    /// Goes to the next event, if one comes before `end`.
    pub(super) fn next(&mut self, end: Micros) -> Option<E> {
        if self.heap.peek().is_none_or(|Reverse(entry)| entry.time >= end) {
            self.now = self.now.max(end);
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.now = entry.time;
        Some(entry.event)
    }
}

/// `time` as the machines are told it: whole milliseconds.
pub(super) fn instant(time: Micros) -> Instant {
    Instant(EPOCH_MS + time / MS)
}

/// The moment a machine asked to be woken at, as virtual time.
pub(super) fn micros(instant: Instant) -> Micros {
    instant.0.saturating_sub(EPOCH_MS) * MS
}

/// Machines see a clock that did not begin at zero.
const EPOCH_MS: u64 = 1_000_000;

#[derive(Debug)]
struct Entry<E> {
    time: Micros,
    sequence: u64,
    event: E,
}

impl<E> Entry<E> {
    fn key(&self) -> (Micros, u64) {
        (self.time, self.sequence)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
