//! What the replicator counts. One struct a part; each entry says when it moves.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What persist counts, under `selvedge_replicator_persist_*`.
#[derive(Debug)]
pub struct PersistMetrics {
    /// Records read from the log.
    pub records: Counter,
    /// Runs written to the op store.
    pub runs: Counter,
    /// Snapshots made.
    pub snapshots: Counter,
    /// Undecodable records put aside.
    pub dead_letters: Counter,
    /// Runs whose key is kept with another content.
    pub divergences: Counter,
    /// Writes and snapshots that failed and are repeated.
    pub failures: Counter,
    /// Pages that the bus was not told of.
    pub unpublished: Counter,
    /// Times the group was joined again after the log failed.
    pub rejoins: Counter,
    /// Holes that were closed because nobody filled them.
    pub holes_closed: Counter,
    /// Holes that are open now.
    pub holes: Gauge,
    /// Bytes read and not yet durable.
    pub held_bytes: Gauge,
    /// How long a write to the op store takes that succeeds.
    pub write_seconds: Histogram,
}

impl Default for PersistMetrics {
    fn default() -> Self {
        Self {
            records: Counter::default(),
            runs: Counter::default(),
            snapshots: Counter::default(),
            dead_letters: Counter::default(),
            divergences: Counter::default(),
            failures: Counter::default(),
            unpublished: Counter::default(),
            rejoins: Counter::default(),
            holes_closed: Counter::default(),
            holes: Gauge::default(),
            held_bytes: Gauge::default(),
            // From a millisecond to half a minute.
            write_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
        }
    }
}

impl PersistMetrics {
    /// Adds them to a registry, whose prefix is the program's.
    pub fn register(&self, registry: &mut Registry) {
        let own = registry.sub_registry_with_prefix("persist");
        own.register("records", "Records read from the log", self.records.clone());
        own.register("runs", "Runs written to the op store", self.runs.clone());
        own.register("snapshots", "Snapshots made", self.snapshots.clone());
        own.register("dead_letters", "Undecodable records put aside", self.dead_letters.clone());
        own.register("divergences", "Runs whose key is kept with another content", self.divergences.clone());
        own.register("failures", "Writes and snapshots that failed and are repeated", self.failures.clone());
        own.register("unpublished", "Pages that the bus was not told of", self.unpublished.clone());
        own.register("rejoins", "Times the group was joined again after the log failed", self.rejoins.clone());
        own.register("holes_closed", "Holes closed because nobody filled them", self.holes_closed.clone());
        own.register("holes", "Holes that are open", self.holes.clone());
        own.register("held_bytes", "Bytes read and not yet durable", self.held_bytes.clone());
        own.register("write_seconds", "How long a write to the op store takes", self.write_seconds.clone());
    }
}

/// What ship counts, under `selvedge_replicator_ship_*`.
#[derive(Debug, Default)]
pub struct ShipMetrics {
    /// Records read from this region's log.
    pub records: Counter,
    /// Records that the peer's log confirmed.
    pub copied: Counter,
    /// Copies that failed and are repeated.
    pub failures: Counter,
    /// Documents that a peer was fed because this region's log no longer held all of them.
    pub reseeded: Counter,
    /// Runs written to a peer's op store because they had not arrived there.
    pub filled: Counter,
    /// Items of the op store carried by its table's stream.
    pub items: Counter,
    /// Blobs copied because they had not arrived at the peer.
    pub blobs_filled: Counter,
    /// Age of the oldest page read and not yet confirmed by the peer, in milliseconds.
    pub lag_ms: Gauge,
    /// Times the peer was found with another log.
    pub peers_replaced: Counter,
    /// Bytes read and not yet confirmed by the peer.
    pub held_bytes: Gauge,
}

impl ShipMetrics {
    /// Adds them to a registry, whose prefix is the program's.
    pub fn register(&self, registry: &mut Registry) {
        let own = registry.sub_registry_with_prefix("ship");
        own.register("records", "Records read from this region's log", self.records.clone());
        own.register("copied", "Records that the peer's log confirmed", self.copied.clone());
        own.register("failures", "Copies that failed and are repeated", self.failures.clone());
        own.register("reseeded", "Documents fed to a peer from op store and snapshot", self.reseeded.clone());
        own.register("filled", "Runs that had not arrived at a peer's op store", self.filled.clone());
        own.register("items", "Items of the op store carried by stream", self.items.clone());
        own.register("blobs_filled", "Blobs that had not arrived at the peer", self.blobs_filled.clone());
        own.register("lag_milliseconds", "Age of the oldest page not yet confirmed by the peer", self.lag_ms.clone());
        own.register("peers_replaced", "Times the peer was found with another log", self.peers_replaced.clone());
        own.register("held_bytes", "Bytes read and not yet confirmed by the peer", self.held_bytes.clone());
    }
}

/// What failover counts, under `selvedge_replicator_failover_*`.
#[derive(Debug, Default)]
pub struct FailoverMetrics {
    /// Times this process took the control plane.
    pub promotions: Counter,
    /// Questions that the witness did not answer.
    pub witness_failures: Counter,
    /// The control plane's epoch as it was seen last.
    pub epoch: Gauge,
    /// 1 while this process holds the control plane.
    pub holding: Gauge,
}

impl FailoverMetrics {
    /// Adds them to a registry, whose prefix is the program's.
    pub fn register(&self, registry: &mut Registry) {
        let own = registry.sub_registry_with_prefix("failover");
        own.register("promotions", "Times this process took the control plane", self.promotions.clone());
        own.register("witness_failures", "Questions that the witness did not answer", self.witness_failures.clone());
        own.register("epoch", "The control plane's epoch as it was seen last", self.epoch.clone());
        own.register("holding", "1 while this process holds the control plane", self.holding.clone());
    }
}

/// What cleanup counts, under `selvedge_replicator_cleanup_*`.
#[derive(Debug, Default)]
pub struct CleanupMetrics {
    /// Deleted documents that were erased.
    pub erased: Counter,
    /// Offsets by which the log's partitions were trimmed.
    pub trimmed: Counter,
    /// Segments that were kept, each in every region.
    pub segments: Counter,
    /// Runs that were moved from the op stores to segments.
    pub moved: Counter,
    /// Rounds, and documents' moves, that failed.
    pub failures: Counter,
    /// 1 while this process cleans up for its region.
    pub leading: Gauge,
}

impl CleanupMetrics {
    /// Adds them to a registry, whose prefix is the program's.
    pub fn register(&self, registry: &mut Registry) {
        let own = registry.sub_registry_with_prefix("cleanup");
        own.register("erased", "Deleted documents that were erased", self.erased.clone());
        own.register("trimmed", "Offsets by which partitions were trimmed", self.trimmed.clone());
        own.register("segments", "Segments that were kept", self.segments.clone());
        own.register("moved", "Runs moved from the op stores to segments", self.moved.clone());
        own.register("failures", "Rounds and moves that failed", self.failures.clone());
        own.register("leading", "1 while this process cleans up for its region", self.leading.clone());
    }
}
