//! Rates of one connection: token buckets that may run into debt. Debt delays reading; debt for too long ends the session.

use selvedge_protocol::{CloseCode, Instant};

use super::{Fault, Limits};

/// A token bucket of two numbers. Tokens are counted in thousandths, so that short times give their share.
#[derive(Debug)]
pub(crate) struct Bucket {
    level: i64,
    at: Instant,
    per_second: i64,
    burst: i64,
}

impl Bucket {
    pub(crate) fn new(per_second: u64, burst: u64, now: Instant) -> Self {
        let narrow = |value: u64| i64::try_from(value).unwrap_or(i64::MAX).min(i64::MAX / 4_000_000);
        let burst = narrow(burst) * 1000;
        Bucket { level: burst, at: now, per_second: narrow(per_second).max(1), burst }
    }

    /// Takes tokens if they are there.
    pub(crate) fn take(&mut self, tokens: u64, now: Instant) -> bool {
        self.refill(now);
        let cost = thousandths(tokens);
        let enough = self.level >= cost;
        if enough {
            self.level -= cost;
        }
        enough
    }

    /// Takes tokens, into debt if need be.
    fn spend(&mut self, tokens: u64, now: Instant) {
        self.refill(now);
        self.level = self.level.saturating_sub(thousandths(tokens));
    }

    /// When the debt is paid.
    fn paid_at(&self) -> Option<Instant> {
        (self.level < 0).then(|| self.at.after(self.level.unsigned_abs().div_ceil(self.per_second.unsigned_abs())))
    }

    fn refill(&mut self, now: Instant) {
        let passed = i64::try_from(now.since(self.at)).unwrap_or(i64::MAX).min(3_600_000);
        if passed > 0 {
            self.level = self.level.saturating_add(passed.saturating_mul(self.per_second)).min(self.burst);
            self.at = now;
        }
    }
}

fn thousandths(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX / 1000).saturating_mul(1000)
}

/// Frames, operations and bytes that a connection pushes.
#[derive(Debug)]
pub(crate) struct Rates {
    frames: Bucket,
    ops: Bucket,
    bytes: Bucket,
    delay_ms_max: u64,
    /// Since when there has been debt without a break: a break is a time without debt that nothing waited for.
    indebted_since: Option<Instant>,
    /// The next push was here already when reading went on.
    kept_waiting: bool,
}

impl Rates {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        Rates {
            frames: Bucket::new(limits.frames_per_second, limits.frames_burst, now),
            ops: Bucket::new(limits.ops_per_second, limits.ops_burst, now),
            bytes: Bucket::new(limits.bytes_per_second, limits.bytes_burst, now),
            delay_ms_max: limits.rate_delay_ms_max,
            indebted_since: None,
            kept_waiting: false,
        }
    }

    /// Whether what is read next had to wait for it: whoever only ever sends more than is read makes no break by being delayed.
    pub(crate) fn keep_waiting(&mut self, waiting: bool) {
        self.kept_waiting = waiting;
    }

    /// Counts a push.
    ///
    /// # Errors
    /// 4529 when the connection has been over its rates for too long, or is too far over.
    pub(crate) fn spend(&mut self, frames: u64, ops: u64, bytes: u64, now: Instant) -> Result<(), Fault> {
        if self.ready_at(now).is_none() && !self.kept_waiting {
            self.indebted_since = None;
        }
        self.frames.spend(frames, now);
        self.ops.spend(ops, now);
        self.bytes.spend(bytes, now);
        let Some(ready) = self.ready_at(now) else { return Ok(()) };
        let since = *self.indebted_since.get_or_insert(now);
        if now.since(since) > self.delay_ms_max || ready.since(now) > self.delay_ms_max {
            let reason = "More was sent than the rates allow, for too long.";
            return Err(Fault {
                retry_after_ms: ready.since(now).max(1000),
                ..Fault::new(CloseCode::RATE_LIMITED, reason)
            });
        }
        Ok(())
    }

    /// When the debt is paid; `None`: there is none.
    pub(crate) fn ready_at(&self, now: Instant) -> Option<Instant> {
        let paid = [&self.frames, &self.ops, &self.bytes].into_iter().filter_map(Bucket::paid_at);
        paid.max().filter(|paid| *paid > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_refills_to_its_burst() {
        let mut bucket = Bucket::new(10, 20, Instant(0));
        assert!(bucket.take(20, Instant(0)));
        assert!(!bucket.take(1, Instant(50)));
        assert!(bucket.take(1, Instant(150)));
        assert!(!bucket.take(21, Instant(1_000_000)));
        assert!(bucket.take(20, Instant(1_000_000)));
    }

    #[test]
    fn debt_delays_and_lasting_debt_ends_the_session() {
        let limits = Limits { frames_per_second: 10, frames_burst: 10, rate_delay_ms_max: 1_000, ..Limits::default() };
        let mut rates = Rates::new(&limits, Instant(0));
        for _ in 0..10 {
            rates.spend(1, 1, 10, Instant(0)).unwrap();
        }
        assert_eq!(rates.ready_at(Instant(0)), None);
        rates.spend(1, 1, 10, Instant(0)).unwrap();
        assert_eq!(rates.ready_at(Instant(0)), Some(Instant(100)));
        let mut now = 0;
        let fault = loop {
            now += 50;
            if let Err(fault) = rates.spend(1, 1, 10, Instant(now)) {
                break fault;
            }
            assert!(now < 5_000);
        };
        assert_eq!(fault.code, CloseCode::RATE_LIMITED);
        assert!(fault.retry_after_ms >= 1000);
    }

    #[test]
    fn a_flood_is_slowed_and_then_ended_although_it_is_read_slowly() {
        let limits = Limits { frames_per_second: 10, frames_burst: 10, rate_delay_ms_max: 1_000, ..Limits::default() };
        let mut rates = Rates::new(&limits, Instant(0));
        let (mut now, mut taken) = (Instant(0), 0);
        let fault = loop {
            rates.keep_waiting(true);
            if let Err(fault) = rates.spend(1, 1, 10, now) {
                break fault;
            }
            taken += 1;
            now = rates.ready_at(now).unwrap_or(now);
            assert!(now < Instant(5_000));
        };
        assert_eq!(
            (fault.code, taken),
            (CloseCode::RATE_LIMITED, 21),
            "the burst, and what the rate gives within the delay"
        );
    }

    #[test]
    fn whoever_waits_as_told_is_never_closed() {
        let limits = Limits { frames_per_second: 10, frames_burst: 10, rate_delay_ms_max: 1_000, ..Limits::default() };
        let mut rates = Rates::new(&limits, Instant(0));
        let mut now = Instant(0);
        for _ in 0..1000 {
            rates.spend(1, 1, 10, now).unwrap();
            now = rates.ready_at(now).unwrap_or(now);
        }
    }
}
