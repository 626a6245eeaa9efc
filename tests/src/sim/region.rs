//! What a simulated region keeps: its log and snapshots. It outlives every relay.

use std::collections::BTreeMap;

use selvedge_engine::{Delta, Document, SiteId, VersionVector};
use selvedge_protocol::{DocumentId, LogId, Position};
use selvedge_region::fold::Fold;
use selvedge_region::{EntryContent, LogEntry, LogRecord, OpRun, Snapshot};

use super::commits::Weather;
use super::dice::Dice;
use super::log::Log;

/// How much of a document the log holds without holes, kept as records become durable.
#[derive(Clone, Debug, Default)]
struct Whole {
    vector: VersionVector,
    beyond: BTreeMap<(SiteId, u64), u64>,
    /// Hash of `vector` from this offset on.
    hashes: BTreeMap<u64, u64>,
}

impl Whole {
    /// Everything up to `vector` is there, by another way.
    fn join(&mut self, vector: &VersionVector) {
        self.vector.join(vector);
        let sites: Vec<SiteId> = self.beyond.keys().map(|&(site, _)| site).collect();
        sites.into_iter().for_each(|site| self.close(site));
    }

    fn close(&mut self, site: SiteId) {
        while let Some((&key, &last)) = self.beyond.range((site, 0)..=(site, self.vector.get(site) + 1)).next() {
            self.beyond.remove(&key);
            self.vector.advance(site, last);
        }
    }

    fn add(&mut self, delta: &Delta) {
        let beyond = self.beyond.entry((delta.site, delta.first)).or_default();
        *beyond = delta.last().max(*beyond);
        self.close(delta.site);
    }
}

/// All that a region keeps.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) log: Log<LogRecord>,
    pub(super) dice: Dice,
    /// What goes wrong with it at the moment.
    pub(super) weather: Weather,
    snapshots: BTreeMap<DocumentId, Snapshot>,
    whole: BTreeMap<DocumentId, Whole>,
    /// Records already counted in `whole`.
    counted: u64,
    /// One up whenever what was under way in it came to nothing.
    life: u64,
    /// How far each pair of logs has been shipped, by source and target.
    pub(super) progress: BTreeMap<(u128, u128), u64>,
    /// The op store: runs of operations by document, site and counters.
    ops: BTreeMap<(DocumentId, SiteId, u64, u64), Vec<u8>>,
    /// What the synchronizer has committed.
    pub(super) persisted: Option<u64>,
    /// How far the other region has the log, as its ship keeps it for late rooms.
    pub(super) marked: Option<u64>,
}

impl Region {
    pub(super) fn new(log: u128, dice: Dice) -> Self {
        Self {
            log: Log::new(log),
            dice,
            weather: Weather::default(),
            snapshots: BTreeMap::new(),
            whole: BTreeMap::new(),
            counted: 0,
            life: 0,
            progress: BTreeMap::new(),
            ops: BTreeMap::new(),
            persisted: None,
            marked: None,
        }
    }

    /// A region that is built where another one was lost, in the life after `life`.
    pub(super) fn anew(log: u128, dice: Dice, life: u64) -> Self {
        Self { life: life + 1, ..Self::new(log, dice) }
    }

    /// As a hot backup copies it.
    pub(super) fn backup(&self) -> Self {
        Self { log: self.log.backup(), ..self.clone() }
    }

    /// Goes on from a backup, as another log, in the life after `life`.
    pub(super) fn restored(mut self, log: u128, life: u64) -> Self {
        self.log.rename(log);
        self.life = life + 1;
        self
    }

    /// What was under way belongs to this life.
    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// Nothing that was under way goes on.
    pub(super) fn begin_life(&mut self) {
        self.life += 1;
    }

    /// Everything below this is in the other region too, as far as is known here.
    pub(super) fn watermark(&self) -> Option<Position> {
        self.marked.map(|offset| self.position(offset))
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

    /// All records from an offset on.
    pub(super) fn all_entries(&self, from: u64) -> impl Iterator<Item = LogEntry> {
        let begin = self.log.durable().partition_point(|logged| logged.offset < from);
        self.log.durable()[begin..].iter().map(|logged| LogEntry {
            position: self.position(logged.offset),
            content: EntryContent::Record(logged.record.clone()),
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

    /// Takes over what another region's snapshot holds; positions of its log mean nothing here.
    pub(super) fn merge_snapshot(&mut self, document: &DocumentId, other: &Snapshot) {
        let mut fold = self.fold(document);
        let given = Fold::from_snapshot(other).expect("a kept snapshot loads").into_document();
        fold.merge(&given).expect("a kept snapshot merges");
        let vector = fold.vector().clone();
        self.snapshots.insert(document.clone(), fold.snapshot());
        self.whole.entry(document.clone()).or_default().join(&vector);
    }

    /// Keeps runs in the op store.
    pub(super) fn keep_runs(&mut self, document: &DocumentId, runs: Vec<OpRun>) {
        for OpRun { site, first, last, bytes } in runs {
            self.ops.insert((document.clone(), site, first, last), bytes);
        }
    }

    /// Takes over what another region's op store holds of a document.
    pub(super) fn merge_ops(&mut self, document: &DocumentId, other: &Self) {
        let given = other.ops.iter().filter(|((of, ..), _)| of == document);
        self.ops.extend(given.map(|(key, bytes)| (key.clone(), bytes.clone())));
    }

    /// The document as the op store alone makes it.
    pub(super) fn rebuilt(&self, document: &DocumentId) -> Document {
        let mut fold = Fold::new();
        for (_, bytes) in self.ops.iter().filter(|((of, ..), _)| of == document) {
            fold.integrate(Delta::decode(bytes).expect("a run is a delta")).expect("what was logged applies");
        }
        fold.into_document()
    }

    /// What op store and log together hold one by one.
    pub(super) fn operations(&self, document: &DocumentId) -> VersionVector {
        let mut held = Whole::default();
        self.deltas(document).iter().for_each(|delta| held.add(delta));
        held.join(self.rebuilt(document).vector());
        held.vector
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

    /// What the records below `offset` hold of a document, without holes.
    pub(super) fn vector_below(&self, document: &DocumentId, offset: u64) -> VersionVector {
        let mut whole = Whole::default();
        for logged in self.log.durable().iter().take_while(|logged| logged.offset < offset) {
            if logged.record.document == *document {
                whole.add(&Delta::decode(&logged.record.delta).expect("what is logged was decoded before"));
            }
        }
        whole.vector
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
        let begin = self.log.durable().partition_point(|logged| logged.offset < self.counted);
        for logged in &self.log.durable()[begin..] {
            let delta = Delta::decode(&logged.record.delta).expect("what is logged was decoded before");
            let whole = self.whole.entry(logged.record.document.clone()).or_default();
            whole.add(&delta);
            whole.hashes.insert(logged.offset + 1, whole.vector.hash());
            fresh.push(logged.record.clone());
        }
        self.counted = self.log.head();
        fresh
    }
}
