//! The pulse of a connection: when to ping, when silence is suspicious, when it is death.

use crate::level::Instant;
use crate::message::PingPolicy;

/// Shortest silence after a ping that is suspicious, in milliseconds.
pub const SUSPECT_MS_MIN: u64 = 1_500;
/// Shortest silence after a ping that is death, in milliseconds.
pub const DEAD_MS_MIN: u64 = 3_000;

/// Pings of one connection.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    policy: PingPolicy,
    /// Smoothed round trip, as TCP smooths it: 7/8 old, 1/8 new.
    rtt_ms: u64,
    last_heard: Instant,
    last_ping: Instant,
    /// The first ping or push since the last byte, still unanswered.
    unanswered: Option<Instant>,
    nonce: u64,
    suspected: bool,
}

impl Pulse {
    pub(super) fn new(policy: PingPolicy, rtt_ms: u64, now: Instant) -> Self {
        let policy = PingPolicy { active_ms: policy.active_ms.max(100), idle_ms: policy.idle_ms.max(1_000) };
        Self { policy, rtt_ms, last_heard: now, last_ping: now, unanswered: None, nonce: 0, suspected: false }
    }

    pub(super) fn rtt_ms(&self) -> u64 {
        self.rtt_ms
    }

    /// Bytes arrived. Whether that ends a suspicion.
    pub(super) fn heard(&mut self, now: Instant) -> bool {
        self.last_heard = now;
        self.unanswered = None;
        std::mem::take(&mut self.suspected)
    }

    /// A ping's answer: the round trip, if it is the last ping's.
    pub(super) fn answered(&mut self, nonce: u64, now: Instant) -> Option<u64> {
        if nonce != self.nonce {
            return None;
        }
        let rtt = now.since(self.last_ping);
        self.rtt_ms = (self.rtt_ms * 7 + rtt) / 8;
        Some(self.rtt_ms)
    }

    /// The nonce of a ping, if one is due.
    pub(super) fn ping_due(&mut self, busy: bool, now: Instant) -> Option<u64> {
        if now < self.next_ping(busy) {
            return None;
        }
        self.nonce += 1;
        self.last_ping = now;
        self.unanswered.get_or_insert(now);
        Some(self.nonce)
    }

    /// Something was sent that the server answers. A server whose log is slow answers the next ping first; where that comes too
    /// late to tell, nothing is expected.
    pub(super) fn asked(&mut self, now: Instant) {
        let pong_within_ms = u64::from(self.policy.active_ms) + self.rtt_ms;
        if pong_within_ms < self.suspect_ms() {
            self.unanswered.get_or_insert(now);
        }
    }

    /// Whether the silence has just become suspicious: says so once.
    pub(super) fn suspect(&mut self, now: Instant) -> bool {
        let suspicious = self.suspect_at().is_some_and(|at| at <= now);
        suspicious && !std::mem::replace(&mut self.suspected, true)
    }

    pub(super) fn is_dead(&self, now: Instant) -> bool {
        self.dead_at().is_some_and(|at| at <= now)
    }

    pub(super) fn deadline(&self, busy: bool) -> Instant {
        let suspect = self.suspect_at().filter(|_| !self.suspected);
        [suspect, self.dead_at()].into_iter().flatten().fold(self.next_ping(busy), Instant::min)
    }

    fn next_ping(&self, busy: bool) -> Instant {
        let every = if busy { self.policy.active_ms } else { self.policy.idle_ms };
        self.last_ping.max(if busy { self.last_ping } else { self.last_heard }).after(u64::from(every))
    }

    fn suspect_at(&self) -> Option<Instant> {
        self.unanswered.map(|at| at.after(self.suspect_ms()))
    }

    fn suspect_ms(&self) -> u64 {
        SUSPECT_MS_MIN.max(4 * self.rtt_ms)
    }

    fn dead_at(&self) -> Option<Instant> {
        self.unanswered.map(|at| at.after(DEAD_MS_MIN.max(8 * self.rtt_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_after_a_ping_is_suspicious_then_death_and_a_byte_ends_it() {
        let mut pulse = Pulse::new(PingPolicy::default(), 40, Instant(0));
        assert_eq!(pulse.deadline(false), Instant(25_000));
        assert_eq!(pulse.ping_due(true, Instant(999)), None);
        assert_eq!(pulse.ping_due(true, Instant(1_000)), Some(1));
        assert!(!pulse.suspect(Instant(2_499)));
        assert!(pulse.suspect(Instant(2_500)));
        assert!(!pulse.suspect(Instant(2_600)), "said once");
        assert!(pulse.is_dead(Instant(4_000)));
        assert!(pulse.heard(Instant(4_000)));
        assert!(!pulse.is_dead(Instant(9_000)));
    }

    #[test]
    fn a_push_that_nothing_answers_is_as_suspicious_as_a_ping() {
        let mut pulse = Pulse::new(PingPolicy::default(), 40, Instant(0));
        assert_eq!(pulse.ping_due(true, Instant(1_000)), Some(1));
        pulse.heard(Instant(1_040));
        pulse.asked(Instant(1_100));
        pulse.asked(Instant(1_900));
        assert!(!pulse.suspect(Instant(2_599)));
        assert!(pulse.suspect(Instant(2_600)));
        let rare = PingPolicy { active_ms: 5_000, ..PingPolicy::default() };
        let mut pulse = Pulse::new(rare, 40, Instant(0));
        pulse.asked(Instant(100));
        assert!(!pulse.suspect(Instant(4_000)), "a slow log would look like a dead relay");
    }
}
