//! Gathering: a site's deltas joined to runs before they are written, so that the op store takes few writes.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_engine::{Delta, SiteId};
use selvedge_protocol::Instant;

use crate::Position;
use crate::ops::{DocumentKey, OpRun};

/// A run that grows no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatheredRun {
    /// The document.
    pub key: DocumentKey,
    /// The run.
    pub run: OpRun,
    /// The lowest position among the records it was gathered from: until it is written, a reader has to begin here.
    pub from: Position,
}

/// The runs that still grow, one a document and site.
pub struct Gather {
    /// A run of several deltas is at most this long.
    run_bytes_max: usize,
    open: BTreeMap<(DocumentKey, SiteId), Run>,
    /// Partition and offset that each open run begins at.
    begins: BTreeSet<(u32, u64)>,
    bytes: usize,
}

impl Gather {
    /// Nothing gathered; runs of several deltas take up to `run_bytes_max` bytes.
    #[must_use]
    pub fn new(run_bytes_max: usize) -> Self {
        Self { run_bytes_max, open: BTreeMap::new(), begins: BTreeSet::new(), bytes: 0 }
    }

    /// Bytes of deltas in open runs.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The lowest offset of a partition that an open run was gathered from.
    #[must_use]
    pub fn lowest(&self, partition: u32) -> Option<u64> {
        let lowest = self.begins.range((partition, 0)..=(partition, u64::MAX)).next();
        lowest.map(|(_, offset)| *offset)
    }

    /// When the oldest open run began. O(n), n = open runs.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.open.values().map(|run| run.since).min()
    }

    /// Joins a delta (and its durable bytes) to its site's open run. Answers the run that this closed, if one.
    pub fn take(
        &mut self,
        key: DocumentKey,
        delta: Delta,
        bytes: Vec<u8>,
        position: Position,
        now: Instant,
    ) -> Option<GatheredRun> {
        let place = (key, delta.site);
        self.bytes += bytes.len();
        if let Some(run) = self.open.get_mut(&place)
            && run.last + 1 == delta.first
            && run.length + bytes.len() <= self.run_bytes_max
        {
            run.last = delta.last();
            run.length += bytes.len();
            run.delta.ops.extend(delta.ops);
            run.bytes = None;
            return None;
        }
        let closed = self.close(&place);
        self.begins.insert((position.partition, position.offset));
        let (last, length) = (delta.last(), bytes.len());
        self.open.insert(place, Run { last, length, delta, bytes: Some(bytes), from: position, since: now });
        closed
    }

    /// Closes the runs that began at `since` or before, in the order of documents and sites.
    pub fn close_until(&mut self, since: Instant) -> Vec<GatheredRun> {
        self.close_where(|run| run.since <= since)
    }

    /// Closes the runs of one partition.
    pub fn close_partition(&mut self, partition: u32) -> Vec<GatheredRun> {
        self.close_where(|run| run.from.partition == partition)
    }

    /// Closes every run.
    pub fn close_all(&mut self) -> Vec<GatheredRun> {
        self.close_where(|_| true)
    }

    fn close_where(&mut self, matches: impl Fn(&Run) -> bool) -> Vec<GatheredRun> {
        let open = self.open.iter().filter(|(_, run)| matches(run));
        let places: Vec<_> = open.map(|(place, _)| place.clone()).collect();
        places.iter().filter_map(|place| self.close(place)).collect()
    }

    fn close(&mut self, place: &(DocumentKey, SiteId)) -> Option<GatheredRun> {
        let run = self.open.remove(place)?;
        self.begins.remove(&(run.from.partition, run.from.offset));
        self.bytes -= run.length;
        let from = run.from;
        Some(GatheredRun { key: place.0.clone(), run: run.close(), from })
    }
}

/// A run that may still grow.
struct Run {
    delta: Delta,
    last: u64,
    length: usize,
    /// The delta's durable bytes while it is a single one.
    bytes: Option<Vec<u8>>,
    from: Position,
    since: Instant,
}

impl Run {
    fn close(self) -> OpRun {
        OpRun {
            site: self.delta.site,
            first: self.delta.first,
            last: self.last,
            bytes: self.bytes.unwrap_or_else(|| self.delta.encode()),
        }
    }
}
