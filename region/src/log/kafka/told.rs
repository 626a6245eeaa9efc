//! What the brokers tell a producer beside the answers to its records: that they hold it back, and that a connection was lost.
//!
//! Whoever writes more than its quota allows is answered at once and read from late, and the answer says how late ("throttle time",
//! KIP-219); the client hands that on in its statistics alone. A lost connection the client repairs by itself; but who answers
//! then may be a broker that was wiped meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Statistics};

/// How often the client tells, in milliseconds. A broker that holds back does so for seconds.
pub(super) const TOLD_EVERY_MS: u64 = 1_000;

/// A reason to look whether the brokers are still the same: the number of the newest one.
#[derive(Clone, Copy)]
pub(crate) struct Doubt(u64);

/// What one producer was told. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<State>);

#[derive(Default)]
struct State {
    held_until: Mutex<Option<Instant>>,
    /// How often there was a reason to doubt, and how many of these a look has settled.
    doubts: AtomicU64,
    settled: AtomicU64,
}

impl Told {
    /// For how many milliseconds the brokers go on holding back; `None`: they do not.
    pub(super) fn held_back_ms(&self) -> Option<u64> {
        let left = self.held_until().map(|until| until.saturating_duration_since(Instant::now()))?;
        // Above what fits nobody waits anyway.
        (!left.is_zero()).then(|| u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1))
    }

    /// Records were confirmed. Who is held back all the same is told it again.
    pub(super) fn confirmed(&self) {
        *self.held_until() = None;
    }

    /// Whether the brokers may be others than they were: something was refused or a connection lost, and no look that began later
    /// has said that they are the same. The answer is for [`Told::trust`].
    pub(super) fn doubtful(&self) -> Option<Doubt> {
        let newest = self.0.doubts.load(Ordering::Acquire);
        (newest > self.0.settled.load(Ordering::Acquire)).then_some(Doubt(newest))
    }

    /// Something was refused.
    pub(super) fn doubt(&self) {
        self.0.doubts.fetch_add(1, Ordering::AcqRel);
    }

    /// A look that began after that doubt found the same brokers. What was lost during the look is doubted still.
    pub(super) fn trust(&self, doubt: Doubt) {
        self.0.settled.fetch_max(doubt.0, Ordering::AcqRel);
    }

    fn held_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.held_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Told {
    fn stats(&self, statistics: Statistics) {
        let told = statistics.brokers.values().filter_map(|broker| broker.throttle.as_ref());
        let longest = told.filter(|throttle| throttle.cnt > 0).map(|throttle| throttle.max).max();
        if let Some(for_ms) = longest.and_then(|longest| u64::try_from(longest).ok()).filter(|for_ms| *for_ms > 0) {
            tracing::warn!(for_ms, "Kafka holds a producer back that writes more than its quota");
            *self.held_until() = Instant::now().checked_add(Duration::from_millis(for_ms));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        if matches!(error.rdkafka_error_code(), Some(Code::BrokerTransportFailure | Code::AllBrokersDown)) {
            self.doubt();
        }
        tracing::warn!(%error, reason, "Kafka's producer");
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientContext;
    use rdkafka::statistics::{Broker, Window};

    use super::{KafkaError, RDKafkaErrorCode, Statistics, Told};

    fn statistics(windows: &[(i64, i64)]) -> Statistics {
        let broker = |&(cnt, max): &(i64, i64)| {
            let throttle = Some(Window { cnt, max, ..Window::default() });
            Broker { throttle, ..Broker::default() }
        };
        let brokers = windows.iter().enumerate().map(|(number, window)| (number.to_string(), broker(window)));
        Statistics { brokers: brokers.collect(), ..Statistics::default() }
    }

    #[test]
    fn the_longest_that_any_broker_says_counts_until_records_are_confirmed() {
        let told = Told::default();
        told.stats(statistics(&[(0, 0), (3, 0)]));
        assert_eq!(told.held_back_ms(), None);
        told.stats(statistics(&[(1, 50_000), (2, 60_000), (0, 0)]));
        assert!(told.held_back_ms().is_some_and(|left| left > 50_000));
        // Nothing was said meanwhile.
        told.stats(statistics(&[(0, 0)]));
        assert!(told.held_back_ms().is_some());
        told.confirmed();
        assert_eq!(told.held_back_ms(), None);
    }

    #[test]
    fn a_lost_connection_is_a_reason_to_doubt() {
        let told = Told::default();
        told.error(KafkaError::Global(RDKafkaErrorCode::PolicyViolation), "no loss");
        assert!(told.doubtful().is_none());
        told.error(KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), "disconnected");
        told.trust(told.doubtful().unwrap());
        assert!(told.doubtful().is_none());
    }

    #[test]
    fn what_is_lost_during_a_look_is_doubted_after_it() {
        let told = Told::default();
        told.doubt();
        let looked_after = told.doubtful().unwrap();
        told.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "disconnected");
        told.trust(looked_after);
        assert!(told.doubtful().is_some());
    }
}
