//! Cleanup: what nobody needs any more goes. One process of a region does it, elected by a lock on the bus; two at once would
//! do the same work twice and nothing worse.
//!
//! - Documents deleted longer ago than their time are erased in every region: op store, segments, snapshots, bindings.
//! - The log is trimmed below its [horizon](trim_below): everything below is in this region's op store, confirmed by every
//!   peer's present log, and covered by a snapshot that passed its check in every region. A region that does not answer
//!   freezes the horizon.
//! - A document that stands in the horizon's way without a snapshot gets one.
//! - Operations that every region's snapshot covers are moved from the op stores to [segments](Mover), by the region that decides.
//!
//! Superseded snapshots go when their successor is published, and a hot tail that nothing was added to goes by itself. So do the
//! leases that end: a lock of the bus and the witness' lease run out in their stores. A site is leased for good: one that was
//! given back is leased again to the same principal, one that was not is never given out again, and both go with their document.

mod horizon;
mod segments;

use std::sync::Arc;
use std::time::Duration;

use selvedge_region::fold::{PERSIST_READER, erase_deleted, snapshot_document};
use selvedge_region::{DocumentKey, Region, Result};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub use horizon::{Horizon, trim_below};
pub use segments::{MoveConfig, Moved, Mover};

use crate::clock;
use crate::metrics::CleanupMetrics;
use crate::ship::reader_of;

/// The name of the lock.
const LOCK: &str = "cleanup";
/// Deleted documents erased in one round.
const ERASED_MAX: usize = 100;

/// When what goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanupConfig {
    /// Pause between rounds, in milliseconds; a holder of the lock that is silent for three of them loses it.
    pub pause_ms: u64,
    /// How long a deleted document is kept, in milliseconds of wall time.
    pub deleted_kept_ms: u64,
    /// The newest records of a partition that stay in the log however well they are covered, for readers who come late.
    pub records_kept: u64,
    /// Records of a partition looked at in one round.
    pub records_looked_max: usize,
    /// Versions of a snapshot that are kept.
    pub snapshots_kept: usize,
    /// When operations are moved to segments.
    pub moving: MoveConfig,
}

impl Default for CleanupConfig {
    fn default() -> Self {
        Self {
            pause_ms: 60_000,
            deleted_kept_ms: 30 * 24 * 3600 * 1000,
            records_kept: 1_000_000,
            records_looked_max: 20_000,
            snapshots_kept: 3,
            moving: MoveConfig::default(),
        }
    }
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Documents erased.
    pub erased: u64,
    /// Offsets by which partitions were trimmed.
    pub trimmed: u64,
    /// Snapshots made because they were missing.
    pub snapshots: u64,
}

/// Does one round, whoever holds the lock. `peers`: every other region.
///
/// # Errors
/// The first part that fails; what was done stays.
pub async fn round(region: &Region, peers: &[Region], config: &CleanupConfig, wall_ms: u64) -> Result<Round> {
    let before = wall_ms.saturating_sub(config.deleted_kept_ms);
    let mut round =
        Round { erased: erase_deleted(region, peers, before, ERASED_MAX).await? as u64, ..Round::default() };
    for partition in 0..region.log.partitions() {
        let Some(limit) = limit_of(region, peers, partition, config.records_kept).await? else { continue };
        let mut horizon = Horizon::new(region, peers);
        let start = region.log.bounds(partition).await?.start.offset;
        let below = horizon.look(partition, start, limit, config.records_looked_max).await?;
        if below > start {
            region.log.trim(partition, below).await?;
            round.trimmed += below - start;
            tracing::info!(partition, from = start, to = below, "the log was trimmed");
        }
        for key in horizon.uncovered() {
            round.snapshots += u64::from(cover(region, key, config.snapshots_kept).await);
        }
    }
    Ok(round)
}

/// The offset that no trimming of a partition may pass: what persist and every ship have done with, but for what is kept.
async fn limit_of(region: &Region, peers: &[Region], partition: u32, kept: u64) -> Result<Option<u64>> {
    let end = region.log.bounds(partition).await?.end.offset;
    let mut limit = end.saturating_sub(kept);
    let ships = peers.iter().map(|peer| reader_of(region.log.log_id(), peer.log.log_id()));
    for reader in [PERSIST_READER.to_owned()].into_iter().chain(ships) {
        let Some(done) = region.log.progress(&reader, partition).await? else { return Ok(None) };
        limit = limit.min(done);
    }
    Ok((limit > 0).then_some(limit))
}

async fn cover(region: &Region, key: &DocumentKey, kept: usize) -> bool {
    match snapshot_document(region, key, kept).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(document = %key.document, %error, "a document stays without a snapshot");
            false
        }
    }
}

/// Opens or finds the other regions; those that cannot be reached are an error, which freezes the horizon.
pub type Peers = Arc<dyn Fn() -> Option<Vec<Region>> + Send + Sync>;

/// Cleanup running in this process.
pub struct CleanupTask {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl CleanupTask {
    /// Begins to ask for the lock. `deciding`: the epoch in which this region decides, while it does.
    #[must_use]
    pub fn spawn(
        region: Region,
        peers: Peers,
        config: CleanupConfig,
        deciding: watch::Receiver<Option<u64>>,
        metrics: Arc<CleanupMetrics>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let shell = Shell { region, peers, config, deciding, metrics, mover: Mover::default() };
        Self { stop, task: tokio::spawn(shell.run(stopped)) }
    }

    /// Ends it after the round it is at.
    pub async fn stop(self) {
        // It may have ended by itself; then there is nobody to tell.
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "cleanup ended by a fault");
        }
    }
}

struct Shell {
    region: Region,
    peers: Peers,
    config: CleanupConfig,
    deciding: watch::Receiver<Option<u64>>,
    metrics: Arc<CleanupMetrics>,
    mover: Mover,
}

impl Shell {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let holder = rand::random();
        let pause = Duration::from_millis(self.config.pause_ms);
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                () = tokio::time::sleep(pause) => {}
            }
            let elected = self.region.bus.lock(LOCK, holder, self.config.pause_ms * 3).await.unwrap_or(false);
            self.metrics.leading.set(i64::from(elected));
            if !elected {
                continue;
            }
            let Some(peers) = (self.peers)() else {
                tracing::debug!("a region does not answer, so nothing is cleaned up");
                continue;
            };
            if let Err(error) = self.clean(peers).await {
                self.metrics.failures.inc();
                tracing::warn!(%error, "cleanup is tried again");
            }
        }
        // Whoever waits for it has it at once.
        let _ = self.region.bus.unlock(LOCK, holder).await;
    }

    async fn clean(&mut self, peers: Vec<Region>) -> Result<()> {
        let round = round(&self.region, &peers, &self.config, clock::wall_ms()).await?;
        self.metrics.erased.inc_by(round.erased);
        self.metrics.trimmed.inc_by(round.trimmed);
        if self.deciding.borrow().is_none() {
            return Ok(());
        }
        let regions: Vec<Region> = [self.region.clone()].into_iter().chain(peers).collect();
        let moved = self.mover.round(&regions, &self.config.moving).await?;
        self.metrics.segments.inc_by(moved.segments);
        self.metrics.moved.inc_by(moved.runs);
        self.metrics.failures.inc_by(moved.failures);
        Ok(())
    }
}
