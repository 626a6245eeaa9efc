//! Operations move from the op stores to segments: the same steps on regions of any kind.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use selvedge_engine::{Document, SiteId, VersionVector};
use selvedge_region::fold::{DueConfig, Fold, PERSIST_READER, erase_deleted, materialise};
use selvedge_region::history::{fold_history, segments};
use selvedge_region::ops::OpPage;
use selvedge_region::{DocumentKey, Error, LogRecord, OpCursor, OpRun, OpStore, Region, Result};
use selvedge_replicator::cleanup::{MoveConfig, Mover};
use selvedge_replicator::metrics::{PersistMetrics, ShipMetrics};
use selvedge_replicator::persist::{PersistConfig, PersistTask, Surroundings};
use selvedge_replicator::ship::{ShipConfig, ShipTask, fill_runs, fill_segments, reader_of};

/// A machine under load takes long; a test that has to wait longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two people, one in each region.
pub(crate) struct Writers {
    pub key: DocumentKey,
    documents: [Document; 2],
}

impl Writers {
    pub(crate) fn new(key: DocumentKey) -> Self {
        let documents = [1, 2].map(|region| {
            let mut document = Document::new();
            document.begin_writing(SiteId::leased(region, 7), 1).unwrap();
            document
        });
        Self { key, documents }
    }

    /// Both write, and it is waited until both regions have shipped, persisted and a snapshot of everything.
    pub(crate) async fn write(&mut self, regions: &[Region; 2], words: usize) {
        for number in 0..words {
            for (document, region) in self.documents.iter_mut().zip(regions) {
                document.replace(document.len_utf16(), 0, &format!("{number} ")).unwrap();
                let delta = document.seal().remove(0).encode();
                let key = &self.key;
                let record = LogRecord::new(key.document.clone(), key.generation, "anon:test".to_owned(), delta);
                region.log.append(vec![record]).await.unwrap();
            }
        }
        settle(regions).await;
    }
}

/// Runs persist in every region and ships between them until everything is everywhere.
pub(crate) async fn settle(regions: &[Region]) {
    let pairs = || regions.iter().flat_map(|from| regions.iter().map(move |to| (from, to)));
    let pairs = || pairs().filter(|(from, to)| from.log.log_id() != to.log.log_id());
    let persists: Vec<PersistTask> = regions.iter().map(persist).collect();
    let ship = |(from, to): (&Region, &Region)| {
        ShipTask::spawn(from.clone(), to.clone(), ShipConfig::default(), Arc::new(ShipMetrics::default()))
    };
    let ships: Vec<ShipTask> = pairs().map(ship).collect();
    let settled = tokio::time::timeout(PATIENCE, async {
        loop {
            let mut through = true;
            for (from, to) in pairs() {
                through &= is_through(from, &reader_of(from.log.log_id(), to.log.log_id())).await;
                through &= is_through(from, PERSIST_READER).await;
            }
            if through {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(settled.await.is_ok(), "everything is shipped and persisted");
    for ship in ships {
        ship.stop().await;
    }
    for persist in persists {
        persist.stop().await;
    }
}

fn persist(region: &Region) -> PersistTask {
    let due = DueConfig { bytes: 1 << 20, age_ms: 200, waiting_max: 100 };
    // Short runs, of which each region cuts its own.
    let config = PersistConfig { gather_ms: 50, run_bytes_max: 150, due, ..PersistConfig::default() };
    PersistTask::spawn(region.clone(), config, Surroundings::alone(0), Arc::new(PersistMetrics::default()))
}

async fn is_through(region: &Region, reader: &str) -> bool {
    for partition in 0..region.log.partitions() {
        let end = region.log.bounds(partition).await.unwrap().end.offset;
        if region.log.progress(reader, partition).await.unwrap().unwrap_or(0) < end {
            return false;
        }
    }
    true
}

/// An op store whose process dies before it removes anything.
struct DiesBeforeTrim(Arc<dyn OpStore>);

impl OpStore for DiesBeforeTrim {
    fn put<'a>(&'a self, key: &'a DocumentKey, runs: Vec<OpRun>) -> BoxFuture<'a, Result<()>> {
        self.0.put(key, runs)
    }

    fn read<'a>(
        &'a self,
        key: &'a DocumentKey,
        since: &'a VersionVector,
        cursor: Option<OpCursor>,
        limit: usize,
    ) -> BoxFuture<'a, Result<OpPage>> {
        self.0.read(key, since, cursor, limit)
    }

    fn trim<'a>(&'a self, _: &'a DocumentKey, _: &'a [OpCursor]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Err(Error::Unavailable { what: "op store", source: None }) })
    }

    fn trimmed<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<VersionVector>> {
        self.0.trimmed(key)
    }

    fn note_trimmed<'a>(&'a self, key: &'a DocumentKey, vector: &'a VersionVector) -> BoxFuture<'a, Result<()>> {
        self.0.note_trimmed(key, vector)
    }

    fn erase<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<()>> {
        self.0.erase(key)
    }
}

fn eager() -> MoveConfig {
    // Of each person at least one.
    MoveConfig { runs: 2, ..MoveConfig::default() }
}

async fn runs(region: &Region, key: &DocumentKey) -> usize {
    region.ops.read(key, &VersionVector::new(), None, 10_000).await.unwrap().runs.len()
}

pub(crate) async fn text(region: &Region, key: &DocumentKey) -> String {
    materialise(region, key).await.unwrap().into_document().text()
}

/// What op store and segments make without snapshot and log.
pub(crate) async fn from_history(region: &Region, key: &DocumentKey) -> String {
    let mut fold = Fold::new();
    fold_history(region, key, &mut fold).await.unwrap();
    fold.document().text()
}

/// A round moves what both regions cover, leaves what they do not, and neither a crash nor a lost snapshot costs anything.
pub(crate) async fn operations_are_moved(regions: &[Region; 2], name: &str) {
    let [a, b] = regions;
    let mut writers = Writers::new(DocumentKey::new(format!("test/{name}").parse().unwrap(), 1));
    let key = writers.key.clone();
    writers.write(regions, 30).await;
    let whole = text(a, &key).await;
    assert!(whole.len() > 100 && whole == text(b, &key).await);
    let before = [runs(a, &key).await, runs(b, &key).await];
    assert!(before.iter().all(|runs| *runs > 2), "{before:?}");

    let rare = MoveConfig::default();
    assert_eq!(Mover::default().round(regions, &rare).await.unwrap().segments, 0, "too few");
    let mut mover = Mover::default();
    let moved = mover.round(regions, &eager()).await.unwrap();
    assert_eq!((moved.segments, moved.failures), (1, 0));
    check(regions, &key, &whole).await;
    assert_eq!(mover.round(regions, &eager()).await.unwrap().segments, 0, "there is nothing left");

    // The process dies when the segment is kept, before it is removed from either op store; and from the second one.
    for dies in [0, 1] {
        writers.write(regions, 10).await;
        let whole = text(a, &key).await;
        let mut dying = regions.clone();
        dying[dies].ops = Arc::new(DiesBeforeTrim(Arc::clone(&regions[dies].ops)));
        let kept = segments(&*a.blobs, &key).await.unwrap().len();
        Mover::default().round(&dying, &eager()).await.unwrap_err();
        assert_eq!(segments(&*b.blobs, &key).await.unwrap().len(), kept + 1, "it is kept");
        assert!(runs(&regions[dies], &key).await > 0, "and nothing is removed there");
        for region in regions {
            assert_eq!((text(region, &key).await, from_history(region, &key).await), (whole.clone(), whole.clone()));
        }
        writers.write(regions, 10).await;
        assert!(Mover::default().round(regions, &eager()).await.unwrap().segments > 0);
        check(regions, &key, &text(a, &key).await).await;
    }

    // Nothing but segments, the note of what was moved, and the log's tail.
    let whole = text(b, &key).await;
    a.snapshots.erase(&key).await.unwrap();
    assert_eq!(text(a, &key).await, whole, "without any snapshot");
    assert_eq!(Mover::default().round(regions, &eager()).await.unwrap().segments, 0, "one region covers nothing");
}

/// Both op stores are empty, both regions have the same segments, and each makes the text of them.
async fn check(regions: &[Region; 2], key: &DocumentKey, whole: &str) {
    let [a, b] = regions;
    assert_eq!([runs(a, key).await, runs(b, key).await], [0, 0], "all of it was covered");
    let kept = segments(&*a.blobs, key).await.unwrap();
    assert_eq!(kept, segments(&*b.blobs, key).await.unwrap());
    for segment in &kept {
        assert_eq!(a.blobs.get(segment).await.unwrap(), b.blobs.get(segment).await.unwrap(), "the same bytes");
    }
    assert_eq!(a.ops.trimmed(key).await.unwrap(), b.ops.trimmed(key).await.unwrap());
    for (from, to) in [(a, b), (b, a)] {
        assert_eq!(from_history(from, key).await, whole, "from segments and op store alone");
        assert_eq!(text(from, key).await, whole);
        assert_eq!(fill_runs(from, to, key).await.unwrap(), 0, "what was moved is not filled in");
        assert_eq!(fill_segments(from, to).await.unwrap(), 0);
    }
}

/// A segment that a bucket lost comes back from the other region; one of a document that is deleted does not, and whichever region
/// erases it first erases it in both. `delete`: in both regions, at instant 2.
pub(crate) async fn segments_are_filled_in_and_erased(
    regions: &[Region; 2],
    name: &str,
    delete: impl AsyncFn(&DocumentKey),
) {
    let [a, b] = regions;
    let mut writers = Writers::new(DocumentKey::new(format!("test/{name}").parse().unwrap(), 1));
    let key = writers.key.clone();
    writers.write(regions, 20).await;
    assert_eq!(Mover::default().round(regions, &eager()).await.unwrap().segments, 1);
    let kept = segments(&*a.blobs, &key).await.unwrap();
    b.blobs.delete(&kept[0]).await.unwrap();
    assert_eq!(fill_segments(a, b).await.unwrap(), 1, "filled in");
    assert_eq!(from_history(b, &key).await, text(a, &key).await);

    writers.write(regions, 20).await;
    delete(&key).await;
    assert_eq!(Mover::default().round(regions, &eager()).await.unwrap().segments, 0, "what is deleted is left");
    b.blobs.delete(&kept[0]).await.unwrap();
    assert_eq!(fill_segments(a, b).await.unwrap(), 0, "and does not come back");
    assert_eq!(
        erase_deleted(b, std::slice::from_ref(a), 3, 10).await.unwrap(),
        1,
        "whoever comes first erases everywhere"
    );
    for region in regions {
        assert!(segments(&*region.blobs, &key).await.unwrap().is_empty());
        assert!(region.snapshots.versions(&key).await.unwrap().is_empty());
        assert_eq!(region.ops.trimmed(&key).await.unwrap(), VersionVector::new());
        assert_eq!(from_history(region, &key).await, "");
    }
}
