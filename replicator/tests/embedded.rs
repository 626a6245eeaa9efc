//! Persist and ship on two regions of real parts (SQLite), without any service: the shells, both ways, restarts, a wiped peer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod trimming;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use selvedge_engine::{Delta, Document, SiteId, VersionVector};
use selvedge_region::contract::{Fault, Faults};
use selvedge_region::embedded::{DatabaseFaults, EmbeddedOptions, EmbeddedRegion};
use selvedge_region::fold::{DueConfig, PERSIST_READER, erase_deleted, materialise};
use selvedge_region::{
    BusMessage, DocumentId, DocumentKey, EntryContent, Heard, LogRecord, NewDocument, OpRun, Position,
    REPLICATED_READER, Region, Snapshot,
};
use selvedge_replicator::cleanup::{CleanupConfig, MoveConfig, Mover, Round, round};
use selvedge_replicator::metrics::{PersistMetrics, ShipMetrics};
use selvedge_replicator::persist::{PersistConfig, PersistTask, Surroundings};
use selvedge_replicator::ship::{ShipConfig, ShipTask, reader_of};
use tempfile::TempDir;

/// A machine under load takes long; a test that has to wait longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn key(name: &str) -> DocumentKey {
    DocumentKey::new(DocumentId::new("test", name).unwrap(), 1)
}

struct Writer {
    document: Document,
    key: DocumentKey,
}

impl Writer {
    fn new(key: DocumentKey, region: u8, index: u32) -> Self {
        let mut document = Document::new();
        document.begin_writing(SiteId::leased(region, index), 1).unwrap();
        Self { document, key }
    }

    fn record(&mut self, text: &str) -> LogRecord {
        self.document.replace(self.document.len_utf16(), 0, text).unwrap();
        let delta: Delta = self.document.seal().remove(0);
        LogRecord::new(self.key.document.clone(), self.key.generation, "anon:test".to_owned(), delta.encode())
    }
}

async fn open(folder: &TempDir) -> EmbeddedRegion {
    EmbeddedRegion::open(EmbeddedOptions::new(folder.path())).await.unwrap()
}

/// Waits until the condition holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE * 2, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

async fn end_of(region: &Region) -> u64 {
    region.log.bounds(0).await.unwrap().end.offset
}

fn persist(region: &Region) -> (PersistTask, Arc<PersistMetrics>) {
    let metrics = Arc::new(PersistMetrics::default());
    let due = DueConfig { bytes: 1 << 20, age_ms: 200, waiting_max: 100 };
    let config = PersistConfig { gather_ms: 100, due, ..PersistConfig::default() };
    (PersistTask::spawn(region.clone(), config, Surroundings::alone(0), Arc::clone(&metrics)), metrics)
}

fn ship(source: &Region, target: &Region) -> ShipTask {
    ShipTask::spawn(source.clone(), target.clone(), ShipConfig::default(), Arc::new(ShipMetrics::default()))
}

async fn records(region: &Region) -> Vec<LogRecord> {
    let start = region.log.bounds(0).await.unwrap().start.offset;
    let page = region.log.read(0, start, 10_000).await.unwrap();
    assert!(page.at_end);
    let record = |entry: selvedge_region::LogEntry| match entry.content {
        EntryContent::Record(record) => Some(record),
        EntryContent::Undecodable { .. } => None,
    };
    page.entries.into_iter().filter_map(record).collect()
}

async fn text(region: &Region, key: &DocumentKey) -> String {
    materialise(region, key).await.unwrap().into_document().text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn persist_writes_everything_puts_garbage_aside_and_goes_on_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let embedded = open(&folder).await;
    let region = embedded.region().clone();
    let (one, two) = (key("one"), key("two"));
    let mut writers = [Writer::new(one.clone(), 0, 1), Writer::new(two.clone(), 0, 1)];
    let mut heard = region.bus.subscribe(&one.document).await.unwrap();
    let (task, metrics) = persist(&region);
    for round in 0..20 {
        let batch = writers.iter_mut().map(|writer| writer.record(&format!("{round} "))).collect();
        region.log.append(batch).await.unwrap();
    }
    let faults = DatabaseFaults::new(&embedded);
    assert!(faults.inject(Fault::RawRecord(one.document.clone(), b"garbage".to_vec())).await);
    region.log.append(vec![writers[0].record("end")]).await.unwrap();
    let end = end_of(&region).await;
    until("all is committed", async || region.log.progress(PERSIST_READER, 0).await.unwrap() == Some(end)).await;
    let Heard::Message(first) = heard.heard().await.unwrap() else { panic!("nothing was missed") };
    assert!(matches!(&*first, BusMessage::Logged { record, .. } if record.document == one.document));

    let letters = region.log.dead_letters(10).await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.bytes.as_slice()).collect::<Vec<_>>(), [b"garbage"]);
    assert_eq!(metrics.dead_letters.get(), 1);
    for writer in &writers {
        let page = region.ops.read(&writer.key, &VersionVector::new(), None, 1000).await.unwrap();
        let mut rebuilt = Document::new();
        for run in &page.runs {
            rebuilt.apply(&Delta::decode(&run.bytes).unwrap()).unwrap();
        }
        assert_eq!(rebuilt.text(), writer.document.text(), "from the op store alone");
        assert!(page.runs.len() < 20, "gathered: {} runs of 20 and more deltas", page.runs.len());
        until("a snapshot", async || {
            let latest = region.snapshots.latest(&writer.key).await.unwrap();
            latest.is_some_and(|latest| latest.snapshot.vector == *writer.document.vector())
        })
        .await;
    }
    task.stop().await;

    region.log.append(vec![writers[1].record("more")]).await.unwrap();
    let (task, metrics) = persist(&region);
    until("the rest", async || region.log.progress(PERSIST_READER, 0).await.unwrap() == Some(end + 1)).await;
    task.stop().await;
    assert_eq!(metrics.records.get(), 1, "what was committed is not read again");
    let latest = region.snapshots.latest(&two).await.unwrap().unwrap();
    assert_eq!(latest.snapshot.vector, *writers[1].document.vector(), "a stop leaves a snapshot");
    embedded.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_regions_have_the_same_each_record_once_and_the_rooms_are_told() {
    let (folder_a, folder_b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (embedded_a, embedded_b) = (open(&folder_a).await, open(&folder_b).await);
    let (a, b) = (embedded_a.region().clone(), embedded_b.region().clone());
    let shared = key("shared");
    let (mut in_a, mut in_b) = (Writer::new(shared.clone(), 1, 1), Writer::new(shared.clone(), 2, 1));
    let mut heard = a.bus.subscribe(&shared.document).await.unwrap();
    let ships = [ship(&a, &b), ship(&b, &a)];
    for round in 0..30 {
        a.log.append(vec![in_a.record(&format!("a{round} "))]).await.unwrap();
        b.log.append(vec![in_b.record(&format!("b{round} "))]).await.unwrap();
    }
    for (source, target) in [(&a, &b), (&b, &a)] {
        let reader = reader_of(source.log.log_id(), target.log.log_id());
        let seen = std::sync::Mutex::new(None);
        let all = async || {
            let committed = source.log.progress(&reader, 0).await.unwrap();
            let marked = source.log.progress(REPLICATED_READER, 0).await.unwrap();
            let now = (end_of(source).await, end_of(target).await, committed, marked);
            *seen.lock().unwrap() = Some(now);
            now == (60, 60, Some(60), Some(60))
        };
        let shipped = tokio::time::timeout(PATIENCE, until("all is shipped", all));
        assert!(shipped.await.is_ok(), "ends, committed, marked: {:?}", seen.lock().unwrap());
    }
    let told = async {
        loop {
            if let Heard::Message(message) = heard.heard().await.unwrap()
                && let BusMessage::Replicated { watermark } = &*message
                && watermark.offset == 60
            {
                assert_eq!(watermark.log, a.log.log_id());
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the rooms of a are told");
    for ship in ships {
        ship.stop().await;
    }
    let (in_log_a, in_log_b) = (records(&a).await, records(&b).await);
    for (log, own, other) in [(&in_log_a, &a, &b), (&in_log_b, &b, &a)] {
        assert_eq!(log.iter().filter(|record| record.origin.is_none()).count(), 30);
        assert_eq!(log.iter().filter(|record| record.came_from(other.log.log_id())).count(), 30);
        assert!(log.iter().all(|record| !record.came_from(own.log.log_id())), "nothing came back");
    }
    assert_eq!(text(&a, &shared).await, text(&b, &shared).await);
    embedded_a.close().await;
    embedded_b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_region_is_fed_what_the_log_no_longer_holds_and_then_the_log() {
    let (folder_a, folder_b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (embedded_a, embedded_b) = (open(&folder_a).await, open(&folder_b).await);
    let (a, b) = (embedded_a.region().clone(), embedded_b.region().clone());
    let (old, new) = (key("old"), key("new"));
    let (mut early, mut late) = (Writer::new(old.clone(), 1, 1), Writer::new(new.clone(), 1, 1));
    for _ in 0..10 {
        a.log.append(vec![early.record("early ")]).await.unwrap();
    }
    let (task, _) = persist(&a);
    until("persisted", async || a.log.progress(PERSIST_READER, 0).await.unwrap() == Some(10)).await;
    task.stop().await;
    a.log.trim(0, 10).await.unwrap();
    a.log.append(vec![late.record("late")]).await.unwrap();

    let first = ship(&a, &b);
    let reader = reader_of(a.log.log_id(), b.log.log_id());
    until("fed", async || a.log.progress(&reader, 0).await.unwrap() == Some(11)).await;
    first.stop().await;
    assert_eq!(text(&b, &old).await, early.document.text(), "from op store and snapshot");
    assert_eq!(text(&b, &new).await, "late", "from the log");
    assert_eq!(records(&b).await.len(), 1);
    embedded_b.close().await;

    // Wiped: another folder, another log, and nothing of what was committed for the one before counts.
    let folder_c = TempDir::new().unwrap();
    let embedded_c = open(&folder_c).await;
    let c = embedded_c.region().clone();
    assert_ne!(reader, reader_of(a.log.log_id(), c.log.log_id()));
    let again = ship(&a, &c);
    until("fed again", async || end_of(&c).await == 1 && text(&c, &old).await == early.document.text()).await;
    again.stop().await;
    assert_eq!(a.log.progress(&reader_of(a.log.log_id(), c.log.log_id()), 0).await.unwrap(), Some(11));
    embedded_a.close().await;

    // And the one that was fed feeds the next: its log begins at 0 and never held what it was given.
    let folder_d = TempDir::new().unwrap();
    let embedded_d = open(&folder_d).await;
    let d = embedded_d.region().clone();
    let onward = ship(&c, &d);
    until("fed by who was fed", async || end_of(&d).await == 1 && text(&d, &old).await == early.document.text()).await;
    onward.stop().await;
    embedded_c.close().await;
    embedded_d.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_trimmed_only_below_what_every_region_has_and_covers() {
    let (folder_a, folder_b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (embedded_a, embedded_b) = (open(&folder_a).await, open(&folder_b).await);
    let (a, b) = (embedded_a.region().clone(), embedded_b.region().clone());
    let kept = key("kept");
    let mut writer = Writer::new(kept.clone(), 1, 1);
    a.log.append(vec![writer.record("word ")]).await.unwrap();
    // A new pair of logs begins with snapshots, and there is none yet.
    let carrying = ship(&a, &b);
    let reader = reader_of(a.log.log_id(), b.log.log_id());
    until("the first is shipped", async || a.log.progress(&reader, 0).await.unwrap() == Some(1)).await;
    carrying.stop().await;
    for _ in 0..9 {
        a.log.append(vec![writer.record("word ")]).await.unwrap();
    }
    let config = CleanupConfig { records_kept: 2, ..CleanupConfig::default() };
    let peers = [b.clone()];
    let trimmed = async || round(&a, &peers, &config, 0).await.unwrap().trimmed;
    assert_eq!(trimmed().await, 0, "persist has read nothing");
    let (task, _) = persist(&a);
    until("persisted", async || a.log.progress(PERSIST_READER, 0).await.unwrap() == Some(10)).await;
    task.stop().await;
    assert_eq!(trimmed().await, 0, "ship has read one record");
    let carrying = ship(&a, &b);
    until("shipped", async || a.log.progress(&reader, 0).await.unwrap() == Some(10)).await;
    carrying.stop().await;
    assert_eq!(trimmed().await, 0, "no snapshot covers it in b");
    let (task, _) = persist(&b);
    until("persisted in b", async || b.log.progress(PERSIST_READER, 0).await.unwrap() == Some(10)).await;
    task.stop().await;
    let done = round(&a, &peers, &config, 0).await.unwrap();
    assert_eq!(done, Round { erased: 0, trimmed: 8, snapshots: 0 }, "all but the newest that are kept");
    assert_eq!(text(&a, &kept).await, writer.document.text());
    embedded_a.close().await;
    embedded_b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_that_every_region_covers_move_to_segments() {
    let (folder_a, folder_b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (embedded_a, embedded_b) = (open(&folder_a).await, open(&folder_b).await);
    let regions = [embedded_a.region().clone(), embedded_b.region().clone()];
    trimming::operations_are_moved(&regions, "moved").await;
    embedded_a.close().await;
    embedded_b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_segments_are_filled_in_and_erased_ones_are_not() {
    let (folder_a, folder_b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (embedded_a, embedded_b) = (open(&folder_a).await, open(&folder_b).await);
    let regions = [embedded_a.region().clone(), embedded_b.region().clone()];
    let delete = async |key: &DocumentKey| {
        for region in &regions {
            let document = key.document.clone();
            let new = NewDocument { document, creator: "anon:test".to_owned(), now_ms: 1 };
            region.control.create(new).await.unwrap();
        }
        regions[0].control.delete(key, 2).await.unwrap();
        let waits = erase_deleted(&regions[0], &regions[1..], 3, 10).await.unwrap();
        assert_eq!(waits, 0, "the other region has not heard of it");
        regions[1].control.delete(key, 2).await.unwrap();
    };
    trimming::segments_are_filled_in_and_erased(&regions, "erased", delete).await;
    embedded_a.close().await;
    embedded_b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_region_is_fed_segments_where_log_and_op_store_are_trimmed() {
    let (folder_a, folder_b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (embedded_a, embedded_b) = (open(&folder_a).await, open(&folder_b).await);
    let regions = [embedded_a.region().clone(), embedded_b.region().clone()];
    let a = &regions[0];
    let mut writers = trimming::Writers::new(key("fed"));
    writers.write(&regions, 30).await;
    let config = CleanupConfig { records_kept: 0, ..CleanupConfig::default() };
    assert!(round(a, &regions[1..], &config, 0).await.unwrap().trimmed > 0, "nothing is left in the log");
    let moving = MoveConfig { runs: 1, ..MoveConfig::default() };
    assert_eq!(Mover::default().round(&regions, &moving).await.unwrap().segments, 1);
    writers.write(&regions, 3).await;
    let whole = text(a, &writers.key).await;
    embedded_b.close().await;

    let folder_c = TempDir::new().unwrap();
    let embedded_c = open(&folder_c).await;
    let c = embedded_c.region().clone();
    trimming::settle(&[a.clone(), c.clone()]).await;
    assert_eq!(text(&c, &writers.key).await, whole);
    assert_eq!(trimming::from_history(&c, &writers.key).await, whole, "from segments and op store alone");
    assert_eq!(c.ops.trimmed(&writers.key).await.unwrap(), a.ops.trimmed(&writers.key).await.unwrap());
    c.snapshots.erase(&writers.key).await.unwrap();
    assert_eq!(text(&c, &writers.key).await, whole, "and without its snapshots");
    embedded_a.close().await;
    embedded_c.close().await;
}

/// Neighbouring deltas of a site joined to runs as somebody cut them: `cuts` says behind which a run ends.
fn cut(deltas: &[Delta], cuts: &[bool]) -> Vec<OpRun> {
    let mut runs: Vec<Delta> = Vec::new();
    for (delta, ends) in deltas.iter().zip(cuts) {
        match runs.last_mut() {
            Some(run) if !ends => run.ops.extend(delta.ops.clone()),
            _ => runs.push(delta.clone()),
        }
    }
    let run = |delta: &Delta| OpRun { site: delta.site, first: delta.first, last: delta.last(), bytes: delta.encode() };
    runs.iter().map(run).collect()
}

fn covered_by(runs: &[OpRun], vector: &VersionVector) -> usize {
    runs.iter().filter(|run| vector.get(run.site) >= run.last).count()
}

async fn in_ops(region: &Region, key: &DocumentKey) -> Vec<OpRun> {
    region.ops.read(key, &VersionVector::new(), None, 1000).await.unwrap().runs
}

/// However both regions cut the operations and whatever their snapshots cover: what is not covered in both stays, what goes is in
/// the segments of both, and the history is whole.
async fn moving_keeps_every_dot(regions: &[Region; 2], key: &DocumentKey, cuts: [Vec<bool>; 2], covered: [usize; 2]) {
    let mut writer = Writer::new(key.clone(), 1, 1);
    let (mut deltas, mut states) = (Vec::new(), vec![Document::new()]);
    for number in 0..cuts[0].len() {
        let record = writer.record(&format!("{number} "));
        deltas.push(Delta::decode(&record.delta).unwrap());
        let mut state = states[number].clone();
        state.apply(&deltas[number]).unwrap();
        states.push(state);
    }
    let mut kept = Vec::new();
    let horizon = covered.into_iter().min().unwrap();
    let horizon = states[horizon].vector().clone();
    for ((region, cuts), covered) in regions.iter().zip(&cuts).zip(covered) {
        let runs = cut(&deltas, cuts);
        region.ops.put(key, runs.clone()).await.unwrap();
        let position = Some(Position { log: region.log.log_id(), partition: 0, offset: 0 });
        let state = &states[covered];
        let snapshot = Snapshot { vector: state.vector().clone(), position, bytes: state.snapshot() };
        region.snapshots.put(key, None, &snapshot).await.unwrap();
        kept.push(runs);
    }
    let due = covered_by(&kept[0], &horizon) > 0;
    let config = MoveConfig { runs: 1, ..MoveConfig::default() };
    let moved = Mover::default().round(regions, &config).await.unwrap();
    assert_eq!((moved.segments > 0, moved.failures), (due, 0));
    for (region, runs) in regions.iter().zip(kept) {
        let left = in_ops(region, key).await;
        let stays = |run: &OpRun| !due || run.last > horizon.get(run.site);
        assert_eq!(left, runs.into_iter().filter(stays).collect::<Vec<_>>(), "what is not covered, and only that");
        assert_eq!(trimming::from_history(region, key).await, writer.document.text());
    }
}

#[test]
fn whatever_is_covered_and_however_it_is_cut_no_dot_is_lost() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (folder_a, folder_b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let embedded = runtime.block_on(async { [open(&folder_a).await, open(&folder_b).await] });
    let regions = [embedded[0].region().clone(), embedded[1].region().clone()];
    let cuts = || prop::collection::vec(any::<bool>(), 12);
    let cases = ([cuts(), cuts()], [0_usize..=12, 0_usize..=12]);
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let number = std::cell::Cell::new(0);
    let outcome = runner.run(&cases, |(cuts, covered)| {
        number.set(number.get() + 1);
        let key = key(&format!("cut-{}", number.get()));
        runtime.block_on(moving_keeps_every_dot(&regions, &key, cuts, covered));
        Ok(())
    });
    outcome.unwrap();
}
