//! The fold: whatever the order, the repetitions and the losses, snapshot and op store say what the log says.

use proptest::prelude::*;
use selvedge_engine::{Delta, Document, SiteId, VersionVector};
use selvedge_protocol::Instant;
use selvedge_region::contract::{Fault, Faults};
use selvedge_region::embedded::{DatabaseFaults, EmbeddedOptions, EmbeddedRegion};
use selvedge_region::fold::{
    Fold, Folded, HELD_BYTES_MAX, Hole, PERSIST_READER, Persist, PersistConfig, PersistTask, catch_up, erase_deleted,
    materialise, publish_snapshot,
};
use selvedge_region::{
    DocumentId, DocumentKey, EntryContent, LogEntry, LogId, LogRecord, NewDocument, OpRun, Position, Region,
};
use tempfile::TempDir;

fn key() -> DocumentKey {
    DocumentKey::new(DocumentId::new("test", "folded").unwrap(), 1)
}

fn record(delta: &Delta) -> LogRecord {
    LogRecord::new(key().document, 1, "anon:test".to_owned(), delta.encode())
}

fn at(offset: u64) -> Position {
    Position { log: LogId(1), partition: 0, offset }
}

fn entry(offset: u64, delta: &Delta) -> LogEntry {
    LogEntry { position: at(offset), content: EntryContent::Record(record(delta)) }
}

/// One writer: each call appends a word and answers what it sealed.
struct Writer {
    document: Document,
}

impl Writer {
    fn new(index: u32) -> Self {
        let mut document = Document::new();
        document.begin_writing(SiteId::leased(0, index), 1).unwrap();
        Self { document }
    }

    fn write(&mut self, text: &str) -> Delta {
        let end = self.document.len_utf16();
        self.document.replace(end, 0, text).unwrap();
        let mut deltas = self.document.seal();
        assert_eq!(deltas.len(), 1);
        deltas.remove(0)
    }

    fn erase_first(&mut self) -> Vec<Delta> {
        if self.document.is_empty() {
            return Vec::new();
        }
        self.document.replace(0, 1, "").unwrap();
        self.document.seal()
    }
}

/// What the deltas say when each comes in its turn.
fn reference(deltas: &[Delta]) -> Document {
    let mut document = Document::new();
    let mut rest: Vec<_> = deltas.to_vec();
    while !rest.is_empty() {
        let before = rest.len();
        rest.retain(|delta| document.apply(delta).is_err());
        assert!(rest.len() < before, "the deltas have a hole");
    }
    document
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn snapshot_is_the_fold_of_the_log(
        steps in prop::collection::vec((0_usize..3, 0_u8..4, any::<prop::sample::Index>()), 1..60),
        shuffle in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..30),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut writers: Vec<_> = (1..4).map(Writer::new).collect();
        let mut deltas: Vec<Delta> = Vec::new();
        for (writer, kind, index) in steps {
            match kind {
                0 => deltas.extend(writers[writer].erase_first()),
                // Others' deltas are seen, so that deletes name other sites' dots.
                1 if !deltas.is_empty() => {
                    let _ = writers[writer].document.apply(&deltas[index.index(deltas.len())]);
                }
                _ => deltas.push(writers[writer].write("word ")),
            }
        }
        prop_assume!(!deltas.is_empty());
        let expected = reference(&deltas);
        // A log may repeat records and confirm a site's out of order.
        let mut log = deltas.clone();
        for (from, to) in shuffle {
            let repeated = log[from.index(log.len())].clone();
            log.insert(to.index(log.len()), repeated);
        }
        let mut fold = Fold::new();
        let cut = cut.index(log.len());
        for (offset, delta) in log.iter().enumerate() {
            if offset == cut {
                // A restart in between: what is held is lost, and read again from the snapshot's position.
                let snapshot = fold.snapshot();
                fold = Fold::from_snapshot(&snapshot).unwrap();
                let again = snapshot.position.map_or(0, |position| usize::try_from(position.offset).unwrap());
                for (offset, delta) in log.iter().enumerate().take(cut).skip(again) {
                    fold.integrate_entry(&entry(offset as u64, delta)).unwrap();
                }
            }
            fold.integrate_entry(&entry(offset as u64, delta)).unwrap();
            fold.advance_to(at(offset as u64 + 1));
        }
        prop_assert_eq!(fold.holes(), []);
        prop_assert_eq!(fold.position(), Some(at(log.len() as u64)));
        prop_assert_eq!(fold.vector(), expected.vector());
        prop_assert_eq!(fold.document().text(), expected.text());
        let snapshot = fold.snapshot();
        prop_assert_eq!(&snapshot.bytes, &expected.snapshot(), "equal vectors, equal state");
        prop_assert_eq!(Document::load(&snapshot.bytes).unwrap().text(), expected.text());
    }
}

#[test]
fn what_lies_beyond_a_hole_is_held_and_not_advertised() {
    let mut writer = Writer::new(1);
    let site = SiteId::leased(0, 1);
    let deltas: Vec<_> = ["one ", "two ", "three ", "four "].map(|word| writer.write(word)).to_vec();
    let mut fold = Fold::new();
    let give = |fold: &mut Fold, offset: u64, index: usize| {
        let folded = fold.integrate_entry(&entry(offset, &deltas[index])).unwrap();
        fold.advance_to(at(offset + 1));
        folded
    };
    assert_eq!(give(&mut fold, 0, 0), Folded::Applied);
    assert_eq!(give(&mut fold, 1, 2), Folded::Held);
    assert_eq!(give(&mut fold, 2, 3), Folded::Held);
    assert_eq!(give(&mut fold, 3, 0), Folded::Known);
    assert_eq!(fold.document().text(), "one ");
    assert_eq!(fold.vector().get(site), 4);
    assert_eq!(fold.holes(), [Hole { site, first: 5, last: 8 }]);
    assert_eq!(fold.position(), Some(at(1)), "a reader of this snapshot has to read the held ones again");
    assert_eq!(give(&mut fold, 4, 1), Folded::Applied);
    assert_eq!(fold.document().text(), "one two three four ");
    assert_eq!((fold.holes(), fold.position()), (Vec::new(), Some(at(5))));
}

#[test]
fn what_cannot_be_held_is_read_again() {
    let mut writer = Writer::new(1);
    let first = writer.write("x");
    let text = "y".repeat(16_000);
    let rest: Vec<_> = (0..HELD_BYTES_MAX / 16_000 + 5).map(|_| writer.write(&text)).collect();
    let mut fold = Fold::new();
    let mut dropped = None;
    for (offset, delta) in (0..).zip(&rest) {
        if fold.integrate_entry(&entry(offset, delta)).unwrap() == Folded::Dropped {
            dropped.get_or_insert(offset);
        }
        fold.advance_to(at(offset + 1));
    }
    assert!(dropped.is_some(), "holding is bounded");
    assert_eq!(fold.integrate(first).unwrap(), Folded::Applied);
    assert_eq!(fold.position(), dropped.map(at), "the fold knows from where it has to read again");
    assert_eq!(fold.document().len_utf16() as u64, 1 + dropped.unwrap() * 16_000);
}

#[test]
fn invalid_deltas_change_nothing() {
    let mut fold = Fold::new();
    let garbage = LogRecord::new(key().document, 1, String::new(), b"no delta".to_vec());
    let entry = LogEntry { position: at(0), content: EntryContent::Record(garbage) };
    assert!(fold.integrate_entry(&entry).is_err());
    assert!(fold.vector().is_empty());
}

async fn opened() -> (TempDir, EmbeddedRegion) {
    let folder = tempfile::tempdir().unwrap();
    let region = EmbeddedRegion::open(EmbeddedOptions::new(folder.path())).await.unwrap();
    (folder, region)
}

async fn append(region: &Region, deltas: &[Delta]) {
    region.log.append(deltas.iter().map(record).collect()).await.unwrap();
}

async fn text(region: &Region) -> String {
    materialise(region, &key()).await.unwrap().document().text()
}

/// Persist that makes a snapshot of everything it reads.
fn eager() -> Persist {
    Persist::new(PersistConfig { snapshot_bytes: 1, ..PersistConfig::default() })
}

/// Persist that makes no snapshot.
fn lazy() -> Persist {
    Persist::new(PersistConfig { snapshot_bytes: usize::MAX, snapshot_age_ms: u64::MAX, ..PersistConfig::default() })
}

#[tokio::test]
async fn a_document_is_found_in_whatever_is_left_of_it() {
    let (_folder, region) = opened().await;
    let faults = DatabaseFaults::new(&region);
    let region = region.region().clone();
    assert_eq!(text(&region).await, "", "nothing is an empty document");
    let mut writer = Writer::new(1);
    append(&region, &[writer.write("log ")]).await;
    assert_eq!(text(&region).await, "log ", "the log alone");

    catch_up(&region, &mut lazy(), Instant(0)).await.unwrap();
    append(&region, &[writer.write("tail ")]).await;
    assert_eq!(text(&region).await, "log tail ", "op store and tail");
    let persisted = region.log.progress(PERSIST_READER, 0).await.unwrap().unwrap();
    region.log.trim(0, persisted).await.unwrap();
    assert_eq!(text(&region).await, "log tail ", "op store and what is left of the log");

    catch_up(&region, &mut eager(), Instant(0)).await.unwrap();
    append(&region, &[writer.write("more ")]).await;
    let head = region.log.head(&key().document).await.unwrap();
    region.log.trim(0, head.offset - 1).await.unwrap();
    let latest = region.snapshots.latest(&key()).await.unwrap().unwrap();
    let runs = region.ops.read(&key(), &VersionVector::new(), None, 1000).await.unwrap().runs;
    assert!(runs.iter().all(|run| run.last <= latest.snapshot.vector.get(run.site)), "the snapshot covers them");
    region.ops.trim(&key(), &runs.iter().map(OpRun::cursor).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(text(&region).await, "log tail more ", "snapshot and tail, without op store");

    let fold = materialise(&region, &key()).await.unwrap();
    assert_eq!(fold.position(), Some(head));
    assert_eq!(fold.vector(), writer.document.vector());
    assert!(faults.inject(Fault::DamagedSnapshot(key().document)).await);
    let fold = materialise(&region, &key()).await.unwrap();
    assert_eq!(fold.holes().len(), 1, "what nobody keeps is told as a hole, not shown as the whole document");
}

#[tokio::test]
async fn damaged_snapshots_cost_time_and_never_text() {
    let (_folder, region) = opened().await;
    let faults = DatabaseFaults::new(&region);
    let region = region.region().clone();
    let mut writer = Writer::new(1);
    for word in ["one ", "two "] {
        append(&region, &[writer.write(word)]).await;
        catch_up(&region, &mut eager(), Instant(0)).await.unwrap();
    }
    assert!(faults.inject(Fault::DamagedSnapshot(key().document)).await);
    assert_eq!(text(&region).await, "one two ", "an older snapshot and the op store");
    append(&region, &[writer.write("three ")]).await;
    catch_up(&region, &mut eager(), Instant(0)).await.unwrap();
    let latest = region.snapshots.latest(&key()).await.unwrap().unwrap();
    assert!(latest.damaged.is_empty(), "the next snapshot replaces the damaged one");
    assert_eq!(Document::load(&latest.snapshot.bytes).unwrap().text(), "one two three ");
    for info in region.snapshots.versions(&key()).await.unwrap() {
        assert!(faults.inject(Fault::DamagedSnapshot(key().document)).await);
        if info.version > 1 {
            region.snapshots.discard(&key(), info.version).await.unwrap();
        }
    }
    assert!(region.snapshots.latest(&key()).await.is_err(), "none is intact");
    assert_eq!(text(&region).await, "one two three ", "op store and log alone");
    catch_up(&region, &mut eager(), Instant(0)).await.unwrap();
    let mut fold = materialise(&region, &key()).await.unwrap();
    publish_snapshot(&*region.snapshots, &key(), &mut fold).await.unwrap();
    assert!(region.snapshots.latest(&key()).await.unwrap().unwrap().damaged.is_empty());
}

#[tokio::test]
async fn publishing_never_forgets_what_another_writer_published() {
    let (_folder, region) = opened().await;
    let store = &*region.region().snapshots;
    let (mut ann, mut bob) = (Writer::new(1), Writer::new(2));
    let (mut one, mut other) = (Fold::new(), Fold::new());
    one.integrate(ann.write("ann ")).unwrap();
    other.integrate(bob.write("bob ")).unwrap();
    assert_eq!(publish_snapshot(store, &key(), &mut one).await.unwrap(), 1);
    assert_eq!(publish_snapshot(store, &key(), &mut one).await.unwrap(), 1, "what is covered is not written again");
    assert_eq!(publish_snapshot(store, &key(), &mut other).await.unwrap(), 2);
    let latest = store.latest(&key()).await.unwrap().unwrap().snapshot;
    let merged = Document::load(&latest.bytes).unwrap();
    assert!(merged.text().contains("ann ") && merged.text().contains("bob "), "{}", merged.text());
    assert_eq!(merged.vector(), &latest.vector);
    assert_eq!(publish_snapshot(store, &key(), &mut one).await.unwrap(), 2, "the newer one covers it");

    let mut writers: Vec<_> = (10..16).map(|index| (Writer::new(index), Fold::new())).collect();
    for (writer, fold) in &mut writers {
        fold.integrate(writer.write("racer ")).unwrap();
    }
    let key = key();
    let racers = writers.iter_mut().map(|(_, fold)| publish_snapshot(store, &key, fold));
    for published in futures_util::future::join_all(racers).await {
        published.unwrap();
    }
    let latest = store.latest(&key).await.unwrap().unwrap().snapshot;
    assert_eq!(Document::load(&latest.bytes).unwrap().text().matches("racer ").count(), 6);
}

#[tokio::test]
async fn persist_gathers_runs_and_puts_aside_what_it_cannot_read() {
    let (_folder, region) = opened().await;
    let faults = DatabaseFaults::new(&region);
    let region = region.region().clone();
    let (mut ann, mut bob) = (Writer::new(1), Writer::new(2));
    let mut deltas = Vec::new();
    for _ in 0..100 {
        deltas.push(ann.write("ann "));
        deltas.push(bob.write("bob "));
    }
    append(&region, &deltas).await;
    assert!(faults.inject(Fault::RawRecord(key().document, b"no record".to_vec())).await);
    let garbage = LogRecord::new(key().document, 1, "anon:test".to_owned(), b"no delta".to_vec());
    region.log.append(vec![garbage]).await.unwrap();
    append(&region, &[ann.write("end")]).await;

    assert_eq!(catch_up(&region, &mut lazy(), Instant(0)).await.unwrap(), 203);
    let letters = region.log.dead_letters(10).await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.position.offset).collect::<Vec<_>>(), [200, 201]);
    let runs = region.ops.read(&key(), &VersionVector::new(), None, 1000).await.unwrap().runs;
    assert!(runs.len() < 20, "deltas are gathered into runs: {}", runs.len());
    assert!(runs.iter().all(|run| run.bytes.len() <= 1024));
    let mut fold = Fold::new();
    for run in &runs {
        let delta = Delta::decode(&run.bytes).unwrap();
        assert_eq!((delta.site, delta.first, delta.last()), (run.site, run.first, run.last));
        fold.integrate(delta).unwrap();
    }
    assert_eq!(fold.vector().get(SiteId::leased(0, 1)), 403);
    assert_eq!(fold.document().text(), text(&region).await, "the op store alone tells the document");
    assert_eq!(catch_up(&region, &mut lazy(), Instant(0)).await.unwrap(), 0, "nothing is read twice");

    // A crash before the offset was committed: everything is read and written again.
    region.log.commit_progress(PERSIST_READER, 0, 0).await.unwrap();
    assert_eq!(catch_up(&region, &mut eager(), Instant(0)).await.unwrap(), 203);
    assert_eq!(region.log.dead_letters(10).await.unwrap().len(), 2);
    let latest = region.snapshots.latest(&key()).await.unwrap().unwrap();
    assert_eq!(Document::load(&latest.snapshot.bytes).unwrap().text(), fold.document().text());
}

#[tokio::test]
async fn snapshots_are_due_by_size_and_by_age() {
    let (_folder, region) = opened().await;
    let region = region.region().clone();
    let config =
        PersistConfig { snapshot_bytes: 500, snapshot_age_ms: 1000, snapshots_kept: 2, ..PersistConfig::default() };
    let mut persist = Persist::new(config);
    let mut writer = Writer::new(1);
    let newest = || async { region.snapshots.versions(&key()).await.unwrap().first().map_or(0, |info| info.version) };
    append(&region, &[writer.write("small")]).await;
    catch_up(&region, &mut persist, Instant(0)).await.unwrap();
    catch_up(&region, &mut persist, Instant(999)).await.unwrap();
    assert_eq!(newest().await, 0, "small and young");
    catch_up(&region, &mut persist, Instant(1000)).await.unwrap();
    assert_eq!(newest().await, 1, "old");
    catch_up(&region, &mut persist, Instant(9000)).await.unwrap();
    assert_eq!(newest().await, 1, "nothing new");
    for version in 2..6 {
        append(&region, &[writer.write(&"x".repeat(600))]).await;
        catch_up(&region, &mut persist, Instant(9000)).await.unwrap();
        assert_eq!(newest().await, version, "large");
    }
    assert_eq!(region.snapshots.versions(&key()).await.unwrap().len(), 2, "old versions go");
}

#[tokio::test]
async fn generations_are_folded_apart_and_erased_when_deleted() {
    let (_folder, region) = opened().await;
    let region = region.region().clone();
    let new = |now_ms| NewDocument { document: key().document, creator: "anon:test".to_owned(), now_ms };
    region.control.create(new(1)).await.unwrap();
    append(&region, &[Writer::new(1).write("old")]).await;
    catch_up(&region, &mut eager(), Instant(0)).await.unwrap();
    region.control.delete(&key(), 100).await.unwrap();
    assert_eq!(region.control.create(new(101)).await.unwrap().generation, 2);
    let next = DocumentKey::new(key().document, 2);
    let renewed = LogRecord { generation: 2, ..record(&Writer::new(1).write("new")) };
    region.log.append(vec![renewed]).await.unwrap();
    catch_up(&region, &mut eager(), Instant(0)).await.unwrap();
    assert_eq!(text(&region).await, "old");
    assert_eq!(materialise(&region, &next).await.unwrap().document().text(), "new");

    assert_eq!(erase_deleted(&region, &[], 100, 10).await.unwrap(), 0, "its time has not passed");
    assert_eq!(erase_deleted(&region, &[], 101, 10).await.unwrap(), 1);
    assert!(region.snapshots.versions(&key()).await.unwrap().is_empty());
    assert!(region.ops.read(&key(), &VersionVector::new(), None, 10).await.unwrap().runs.is_empty());
    assert_eq!(materialise(&region, &next).await.unwrap().document().text(), "new", "the new one stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_task_folds_everything_before_it_ends() {
    let (_folder, region) = opened().await;
    let region = region.region().clone();
    let task = PersistTask::spawn(region.clone(), PersistConfig { poll_ms: 1, ..PersistConfig::default() });
    let mut writer = Writer::new(1);
    for number in 0..50 {
        append(&region, &[writer.write(&format!("{number} "))]).await;
    }
    task.stop().await;
    let latest = region.snapshots.latest(&key()).await.unwrap().unwrap();
    assert_eq!(&latest.snapshot.vector, writer.document.vector());
    assert_eq!(latest.snapshot.position, Some(region.log.head(&key().document).await.unwrap()));
    assert_eq!(Document::load(&latest.snapshot.bytes).unwrap().text(), writer.document.text());
}
