//! Whether the region's log takes appends: what readiness says.

use std::sync::{Mutex, MutexGuard};

use selvedge_protocol::Instant;

/// How long the log may refuse every append before the relay says so, in milliseconds: a single one is repeated at once.
const PATIENCE_MS: u64 = 1_000;

/// What the last appends of this process came to. Rooms repeat what failed, so that it is told when the log is back.
#[derive(Debug, Default)]
pub(crate) struct LogHealth {
    /// Since when no append was taken and at least one refused, and why.
    refusing: Mutex<Option<(Instant, String)>>,
}

impl LogHealth {
    /// The log took an append.
    pub(crate) fn taken(&self) {
        *self.lock() = None;
    }

    /// The log refused an append.
    pub(crate) fn refused(&self, why: &impl ToString, now: Instant) {
        let mut refusing = self.lock();
        let since = refusing.as_ref().map_or(now, |(since, _)| *since);
        *refusing = Some((since, why.to_string()));
    }

    /// Why the log takes nothing; `None`: it does, or nothing was asked of it.
    pub(crate) fn problem(&self, now: Instant) -> Option<String> {
        let refusing = self.lock();
        let (since, why) = refusing.as_ref()?;
        (now.since(*since) >= PATIENCE_MS).then(|| why.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.refusing.lock().expect("no code panics with this lock held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_log_that_goes_on_refusing_is_a_problem() {
        let health = LogHealth::default();
        assert_eq!(health.problem(Instant(0)), None);
        health.refused(&"full", Instant(0));
        assert_eq!(health.problem(Instant(999)), None);
        health.refused(&"still full", Instant(999));
        assert_eq!(health.problem(Instant(1_000)).as_deref(), Some("still full"));
        health.taken();
        assert_eq!(health.problem(Instant(9_000)), None);
        health.refused(&"full", Instant(9_000));
        assert_eq!(health.problem(Instant(9_500)), None, "a new time begins");
    }
}
