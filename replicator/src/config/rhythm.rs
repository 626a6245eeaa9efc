//! The rhythms of persist and cleanup.

use clap::Args;
use selvedge_region::fold::DueConfig;
use selvedge_region::regional::SettingError;

use super::wrong;
use crate::cleanup::{CleanupConfig, MoveConfig};
use crate::persist::PersistConfig;

/// How persist and cleanup work.
#[derive(Debug, Clone, Args)]
pub struct RhythmArgs {
    /// Bytes up to which a site's operations are gathered into one item.
    #[arg(long, env = "SELVEDGE_GATHER_BYTES", default_value_t = 1024)]
    pub gather_bytes: usize,
    /// How long operations are gathered, in milliseconds.
    #[arg(long, env = "SELVEDGE_GATHER_MS", default_value_t = 5_000)]
    pub gather_ms: u64,
    /// Writes to the op store on their way at one time.
    #[arg(long, env = "SELVEDGE_WRITES", default_value_t = 16)]
    pub writes: usize,
    /// A snapshot is made after so many bytes of operations,
    #[arg(long, env = "SELVEDGE_SNAPSHOT_BYTES", default_value_t = 256 * 1024)]
    pub snapshot_bytes: usize,
    /// or when the oldest operation not in one is so old, in milliseconds.
    #[arg(long, env = "SELVEDGE_SNAPSHOT_AGE_MS", default_value_t = 30_000)]
    pub snapshot_age_ms: u64,
    /// Versions of a snapshot that are kept.
    #[arg(long, env = "SELVEDGE_SNAPSHOTS_KEPT", default_value_t = 3)]
    pub snapshots_kept: usize,
    /// When a hole that nobody fills is closed, in milliseconds after every region was heard.
    #[arg(long, env = "SELVEDGE_HOLE_MS", default_value_t = 600_000)]
    pub hole_ms: u64,
    /// The newest records of a partition that stay in the log however well they are covered.
    #[arg(long, env = "SELVEDGE_LOG_RECORDS_KEPT", default_value_t = 1_000_000)]
    pub log_records_kept: u64,
    /// A document's operations are moved from the op store to a segment in S3 when so many of its items are covered by every region's
    /// snapshot,
    #[arg(long, env = "SELVEDGE_SEGMENT_RUNS", default_value_t = 4096)]
    pub segment_runs: u64,
    /// or when those items take so many bytes.
    #[arg(long, env = "SELVEDGE_SEGMENT_BYTES", default_value_t = 1024 * 1024)]
    pub segment_bytes: u64,
    /// Pause between rounds of the cleanup, in milliseconds.
    #[arg(long, env = "SELVEDGE_CLEANUP_MS", default_value_t = 60_000)]
    pub cleanup_ms: u64,
    /// How long a deleted document is kept, in days.
    #[arg(long, env = "SELVEDGE_DELETED_DAYS", default_value_t = 30)]
    pub deleted_days: u64,
}

impl RhythmArgs {
    /// How persist works.
    ///
    /// # Errors
    /// [`SettingError`] names the flag, the value and the fix.
    pub fn persist(&self) -> Result<PersistConfig, SettingError> {
        self.check()?;
        Ok(PersistConfig {
            run_bytes_max: self.gather_bytes,
            gather_ms: self.gather_ms,
            writes_max: self.writes,
            due: DueConfig { bytes: self.snapshot_bytes, age_ms: self.snapshot_age_ms, waiting_max: 10_000 },
            snapshots_kept: self.snapshots_kept,
            hole_ms: self.hole_ms,
            ..PersistConfig::default()
        })
    }

    /// How cleanup works.
    ///
    /// # Errors
    /// [`SettingError`] names the flag, the value and the fix.
    pub fn cleanup(&self) -> Result<CleanupConfig, SettingError> {
        self.check()?;
        Ok(CleanupConfig {
            pause_ms: self.cleanup_ms,
            deleted_kept_ms: self.deleted_days * DAY_MS,
            records_kept: self.log_records_kept,
            snapshots_kept: self.snapshots_kept,
            moving: MoveConfig { runs: self.segment_runs, bytes: self.segment_bytes, ..MoveConfig::default() },
            ..CleanupConfig::default()
        })
    }

    /// Refuses what persist or cleanup would stand still with, or tread on the spot.
    fn check(&self) -> Result<(), SettingError> {
        let numbers = [
            // A sealed delta is no longer than that, and what is gathered is written as one.
            ("gather-bytes", self.gather_bytes as u64, 1, 32 * 1024),
            ("gather-ms", self.gather_ms, 0, 600_000),
            ("writes", self.writes as u64, 1, 1_024),
            ("snapshot-bytes", self.snapshot_bytes as u64, 1, 1 << 30),
            ("snapshot-age-ms", self.snapshot_age_ms, 100, DAY_MS),
            ("snapshots-kept", self.snapshots_kept as u64, 1, 1_000),
            // Sooner than what is on its way arrives, every pause of a writer would be a hole.
            ("hole-ms", self.hole_ms, 1_000, 30 * DAY_MS),
            ("segment-runs", self.segment_runs, 1, 1 << 32),
            ("segment-bytes", self.segment_bytes, 1, 1 << 40),
            ("cleanup-ms", self.cleanup_ms, 100, DAY_MS),
            ("deleted-days", self.deleted_days, 0, 36_500),
        ];
        for (flag, value, least, most) in numbers {
            if !(least..=most).contains(&value) {
                let fix = format!("give a number from {least} to {most}");
                return Err(wrong(flag, &value.to_string(), "is out of range", &fix));
            }
        }
        Ok(())
    }
}

/// A day, in milliseconds.
const DAY_MS: u64 = 24 * 3600 * 1000;
