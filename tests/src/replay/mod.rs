//! Replay: a recorded editing session through real clients and a real relay, compared with the recording's end.

mod play;
mod report;
mod sample;
#[cfg(feature = "regional")]
mod stacked;
mod trace;

pub use play::{Difference, Outcome, Venue, play};
pub use report::{Row, append_rows};
pub use sample::{SAMPLE_SEED, sample};
#[cfg(feature = "regional")]
pub use stacked::{DOCUMENT, Regions};
pub use trace::{Patch, Trace, TraceError, Transaction};

/// Limits of the relay that a replay raises: people type in a recording as fast as the machine can.
pub const RAISED_LIMITS: [&str; 16] = [
    "--frames-per-second",
    "1000000",
    "--frames-burst",
    "1000000",
    "--ops-per-second",
    "1000000",
    "--ops-burst",
    "1000000",
    "--bytes-per-second",
    "1000000000",
    "--bytes-burst",
    "1000000000",
    "--document-ops-per-second",
    "1000000",
    "--outbound-bytes-max",
    "16777216",
];
