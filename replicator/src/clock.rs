//! The monotonic clock of this process, in the machines' milliseconds.

use std::sync::OnceLock;

use selvedge_protocol::Instant;

/// Milliseconds since this process first asked. Stands still and jumps with tokio's clock, so that tests may pause it.
pub(crate) fn now() -> Instant {
    static BEGAN: OnceLock<tokio::time::Instant> = OnceLock::new();
    let began = BEGAN.get_or_init(tokio::time::Instant::now);
    Instant(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// Milliseconds of wall time: for what people read, and for nothing that is decided.
pub(crate) fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
