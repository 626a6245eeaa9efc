//! The one clock of the process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use selvedge_protocol::Instant;

/// Milliseconds since the process began to listen, monotonic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Clock { start: tokio::time::Instant::now() }
    }

    pub(crate) fn now(&self) -> Instant {
        let passed = self.start.elapsed().as_millis();
        Instant(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Waits until an instant; for ever without one.
    pub(crate) async fn until(&self, instant: Option<Instant>) {
        match instant {
            Some(Instant(ms)) => tokio::time::sleep_until(self.start + Duration::from_millis(ms)).await,
            None => std::future::pending().await,
        }
    }
}

/// Milliseconds of wall time, for the records of the control plane; nothing is decided by them.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
