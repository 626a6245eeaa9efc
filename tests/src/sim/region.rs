//! What the simulated region keeps: its log, who owns which site, and snapshots. It outlives every relay.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use selvedge_engine::{Delta, SiteId, VersionVector};
use selvedge_protocol::{DocumentId, LogId, Position};
use selvedge_region::fold::Fold;
use selvedge_region::{EntryContent, LogEntry, LogRecord, Snapshot};

use super::log::Log;

/// Sites a restored control plane leaves out, because they may have been leased after the backup was taken.
const LEASES_SKIPPED: u32 = 1 << 16;

/// Whom a site belongs to, and whether it may be leased again.
#[derive(Clone, Debug)]
struct Owned {
    principal: String,
    released: Option<u64>,
}

/// How much of a document the log holds without holes, kept as records become durable.
#[derive(Clone, Debug, Default)]
struct Whole {
    vector: VersionVector,
    beyond: BTreeMap<(SiteId, u64), u64>,
    /// Hash of `vector` from this offset on.
    hashes: BTreeMap<u64, u64>,
}

/// All that a region keeps.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) log: Log<LogRecord>,
    generations: BTreeMap<DocumentId, u64>,
    sites: BTreeMap<(DocumentId, SiteId), Owned>,
    next_lease: BTreeMap<DocumentId, u32>,
    snapshots: BTreeMap<DocumentId, Snapshot>,
    whole: BTreeMap<DocumentId, Whole>,
    /// Records already counted in `whole`.
    counted: usize,
}

impl Region {
    pub(super) fn new(log: u128) -> Self {
        Self {
            log: Log::new(log),
            generations: BTreeMap::new(),
            sites: BTreeMap::new(),
            next_lease: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            whole: BTreeMap::new(),
            counted: 0,
        }
    }

    /// As a hot backup copies it.
    pub(super) fn backup(&self) -> Self {
        Self { log: self.log.backup(), ..self.clone() }
    }

    /// Goes on from a backup, as another log.
    pub(super) fn restored(mut self, log: u128) -> Self {
        self.log.rename(log);
        for next in self.next_lease.values_mut() {
            *next += LEASES_SKIPPED;
        }
        for document in self.generations.keys() {
            self.next_lease.entry(document.clone()).or_insert(LEASES_SKIPPED);
        }
        self
    }

    /// The document's generation; it is made when it is not there.
    pub(super) fn generation(&mut self, document: &DocumentId) -> u64 {
        *self.generations.entry(document.clone()).or_insert(1)
    }

    /// Binds a site; false when it is another's.
    pub(super) fn bind(&mut self, document: &DocumentId, site: SiteId, principal: &str) -> bool {
        let owned = self
            .sites
            .entry((document.clone(), site))
            .or_insert_with(|| Owned { principal: principal.to_owned(), released: None });
        owned.principal == principal
    }

    /// Leases a site: one given back by the same principal, else a new one.
    pub(super) fn lease(&mut self, document: &DocumentId, principal: &str, logged: &VersionVector) -> (SiteId, u64) {
        let again = self.sites.iter_mut().find(|((owner, site), owned)| {
            owner == document && owned.principal == principal && owned.released == Some(logged.get(*site))
        });
        if let Some(((_, site), owned)) = again {
            let last = owned.released.take().unwrap_or_default();
            return (*site, last + 1);
        }
        loop {
            let next = self.next_lease.entry(document.clone()).or_default();
            let site = SiteId::leased(0, *next);
            *next += 1;
            if let Entry::Vacant(free) = self.sites.entry((document.clone(), site)) {
                free.insert(Owned { principal: principal.to_owned(), released: None });
                return (site, 1);
            }
        }
    }

    /// Takes a site back.
    pub(super) fn release(&mut self, document: &DocumentId, site: SiteId, principal: &str, counter: u64) {
        if let Some(owned) = self.sites.get_mut(&(document.clone(), site)).filter(|owned| owned.principal == principal)
        {
            owned.released = Some(counter);
        }
    }

    /// A reading position.
    pub(super) fn position(&self, offset: u64) -> Position {
        Position { log: LogId(self.log.id()), partition: 0, offset }
    }

    /// A document's records from an offset on.
    pub(super) fn entries(&self, document: &DocumentId, from: u64) -> impl Iterator<Item = LogEntry> {
        let begin = self.log.durable().partition_point(|logged| logged.offset < from);
        self.log.durable()[begin..].iter().filter(move |logged| logged.record.document == *document).map(|logged| {
            LogEntry { position: self.position(logged.offset), content: EntryContent::Record(logged.record.clone()) }
        })
    }

    /// A document's deltas, in the log's order.
    pub(super) fn deltas(&self, document: &DocumentId) -> Vec<Delta> {
        let records =
            self.log.durable().iter().map(|logged| &logged.record).filter(|record| record.document == *document);
        records.map(|record| Delta::decode(&record.delta).expect("what is logged was decoded before")).collect()
    }

    /// The document as snapshot and log make it.
    pub(super) fn fold(&self, document: &DocumentId) -> Fold {
        let snapshot = self.snapshots.get(document);
        let mut fold =
            snapshot.map_or_else(Fold::new, |snapshot| Fold::from_snapshot(snapshot).expect("a kept snapshot loads"));
        // A position of another log says nothing here.
        let from = fold
            .position()
            .filter(|position| position.log == LogId(self.log.id()))
            .map_or(0, |position| position.offset);
        for entry in self.entries(document, from) {
            fold.integrate_entry(&entry).expect("what is logged applies");
        }
        fold.advance_to(self.position(self.log.head()));
        fold
    }

    /// Keeps a snapshot, unless the kept one holds more.
    pub(super) fn keep_snapshot(&mut self, document: &DocumentId, snapshot: Snapshot) {
        let kept = self.snapshots.get(document);
        if kept.is_none_or(|kept| snapshot.vector.dominates(&kept.vector)) {
            self.snapshots.insert(document.clone(), snapshot);
        }
    }

    /// The kept snapshot.
    pub(super) fn snapshot(&self, document: &DocumentId) -> Option<&Snapshot> {
        self.snapshots.get(document)
    }

    /// What the log holds of a document, without holes. Call [`Region::count`] first.
    pub(super) fn logged(&self, document: &DocumentId) -> &VersionVector {
        static NOTHING: std::sync::LazyLock<VersionVector> = std::sync::LazyLock::new(VersionVector::default);
        self.whole.get(document).map_or(&NOTHING, |whole| &whole.vector)
    }

    /// Hashes of the vectors that the log had from `offset` on.
    pub(super) fn hashes_from(&self, document: &DocumentId, offset: u64) -> impl Iterator<Item = u64> {
        let hashes = self.whole.get(document).map(|whole| &whole.hashes);
        let there = hashes.and_then(|hashes| hashes.range(..=offset).next_back()).map_or(0, |(_, hash)| *hash);
        let later = hashes.into_iter().flat_map(move |hashes| hashes.range(offset..).map(|(_, hash)| *hash));
        std::iter::once(there).chain(later)
    }

    /// Counts records that became durable since the last call, and returns them.
    pub(super) fn count(&mut self) -> Vec<LogRecord> {
        let mut fresh = Vec::new();
        for logged in &self.log.durable()[self.counted.min(self.log.durable().len())..] {
            let delta = Delta::decode(&logged.record.delta).expect("what is logged was decoded before");
            let whole = self.whole.entry(logged.record.document.clone()).or_default();
            let beyond = whole.beyond.entry((delta.site, delta.first)).or_default();
            *beyond = delta.last().max(*beyond);
            while let Some((&key, &last)) =
                whole.beyond.range((delta.site, 0)..=(delta.site, whole.vector.get(delta.site) + 1)).next()
            {
                whole.beyond.remove(&key);
                whole.vector.advance(delta.site, last);
            }
            whole.hashes.insert(logged.offset + 1, whole.vector.hash());
            fresh.push(logged.record.clone());
        }
        self.counted = self.log.durable().len();
        fresh
    }
}
