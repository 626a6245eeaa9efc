//! Who cleans up a region: one of its replicators, elected by a lock that runs out when its holder dies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use selvedge_region::fold::PERSIST_READER;
use selvedge_region::regional::RegionalRegion;
use selvedge_region::{DocumentKey, NewDocument, OpStore, Region};
use selvedge_replicator::cleanup::{CleanupConfig, CleanupTask, Peers};
use selvedge_replicator::metrics::CleanupMetrics;
use tokio::sync::watch;

use super::{Writer, from_ops_alone, is_through, key, options, persist, unique, until};

/// Between two rounds. A holder that is held up for three of them loses the lock, as one that died: long enough for a busy machine.
const PAUSE_MS: u64 = 2_000;
const DELETED: usize = 3;

fn config() -> CleanupConfig {
    CleanupConfig { pause_ms: PAUSE_MS, deleted_kept_ms: 0, records_kept: 0, ..CleanupConfig::default() }
}

/// A replicator's cleanup, and what is seen of it.
struct Cleaner {
    task: Option<CleanupTask>,
    metrics: Arc<CleanupMetrics>,
    /// Rounds begun: whoever begins one asks for the other regions.
    rounds: Arc<AtomicU64>,
}

impl Cleaner {
    fn spawn(region: &Region) -> Self {
        let (metrics, rounds) = (Arc::new(CleanupMetrics::default()), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&rounds);
        let peers: Peers = Arc::new(move || {
            counted.fetch_add(1, Ordering::AcqRel);
            Some(Vec::new())
        });
        let deciding = watch::channel(None).1;
        let task = CleanupTask::spawn(region.clone(), peers, config(), deciding, Arc::clone(&metrics));
        Self { task: Some(task), metrics, rounds }
    }

    fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Acquire)
    }

    /// What it has done so far: documents erased, offsets trimmed.
    fn done(&self) -> (u64, u64) {
        (self.metrics.erased.get(), self.metrics.trimmed.get())
    }
}

/// A process that dies with everything in it, from one moment to the next.
struct Mortal {
    cleaner: Cleaner,
    die: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Mortal {
    async fn start(options: selvedge_region::regional::RegionalOptions) -> Self {
        let (die, dying) = mpsc::channel();
        let (born, cleaner) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let region = runtime.block_on(RegionalRegion::open(options)).unwrap();
            let cleaner = {
                let _inside = runtime.enter();
                Cleaner::spawn(region.region())
            };
            assert!(born.send(cleaner).is_ok());
            // Until it is told, or nobody is there any more to tell it.
            let _ = dying.recv();
            // Nothing in it gets another turn: neither is the lock given back, nor a connection closed politely.
            runtime.shutdown_background();
        });
        Self { cleaner: cleaner.await.unwrap(), die, thread }
    }

    async fn kill(self) -> Cleaner {
        self.die.send(()).unwrap();
        tokio::task::spawn_blocking(move || self.thread.join().unwrap()).await.unwrap();
        self.cleaner
    }
}

/// Has some documents written, persisted and deleted; answers them, and how many records they have in the log.
async fn deleted(region: &Region, name: &str) -> (Vec<DocumentKey>, u64) {
    let mut keys = Vec::new();
    for number in 0..DELETED {
        let mut writer = Writer::new(key(&format!("{name}-{number}")), 1, 1);
        let document = writer.key.document.clone();
        region.control.create(NewDocument { document, creator: "user:ann".into(), now_ms: 1 }).await.unwrap();
        region.log.append(vec![writer.record("of no use any more")]).await.unwrap();
        keys.push(writer.key);
    }
    let (task, _) = persist(region);
    until("persisted", async || is_through(region, PERSIST_READER).await).await;
    task.stop().await;
    for key in &keys {
        region.control.delete(key, 2).await.unwrap();
    }
    (keys, DELETED as u64)
}

async fn is_erased(region: &Region, key: &DocumentKey) -> bool {
    let ops: &dyn OpStore = &*region.ops;
    let runs = ops.read(key, &Default::default(), None, 10).await.unwrap().runs;
    runs.is_empty() && region.snapshots.latest(key).await.unwrap().is_none()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_cleans_up_and_the_other_goes_on_when_it_dies() {
    const TEST: &str = "one_of_two_cleans_up";
    let Some([own, _]) = options(TEST, &unique()) else { return };
    let home = RegionalRegion::open(own.clone()).await.unwrap();
    let region = home.region().clone();
    // It is alone: what lives is kept whole, through all that is cleaned up beside it.
    let mut living = Writer::new(key("living"), 1, 1);
    region.log.append(vec![living.record("lives")]).await.unwrap();
    let (gone, of_gone) = deleted(&region, "first").await;

    let first = Mortal::start(own.clone()).await;
    until("the first cleans up", async || first.cleaner.rounds() > 0).await;
    let second = Cleaner::spawn(&region);
    until("what was deleted is erased, and the log trimmed", async || {
        first.cleaner.done() == (DELETED as u64, of_gone + 1)
    })
    .await;
    let seen = first.cleaner.rounds();
    until("the first goes on", async || first.cleaner.rounds() >= seen + 2).await;
    assert_eq!((second.rounds(), second.metrics.leading.get()), (0, 0), "two clean up at a time");
    assert_eq!(first.cleaner.done(), (DELETED as u64, of_gone + 1), "each once");
    for key in &gone {
        assert!(is_erased(&region, key).await, "{}", key.document);
    }

    let dead = first.kill().await;
    let (rounds, done) = (dead.rounds(), dead.done());
    region.log.append(vec![living.record(" on")]).await.unwrap();
    let (gone, of_gone) = deleted(&region, "second").await;
    until("the other one goes on", async || second.done() == (DELETED as u64, of_gone + 1)).await;
    let seen = second.rounds();
    until("and on", async || second.rounds() > seen).await;
    assert_eq!(second.done(), (DELETED as u64, of_gone + 1), "each once");
    assert_eq!((dead.rounds(), dead.done()), (rounds, done), "the dead one does nothing");
    for key in &gone {
        assert!(is_erased(&region, key).await, "{}", key.document);
    }
    assert_eq!(from_ops_alone(&region, &living.key).await, living.document.text());
    assert_eq!(second.metrics.failures.get(), 0);

    // Who ends in peace leaves the lock to whoever comes next.
    let Cleaner { task, .. } = second;
    task.unwrap().stop().await;
    assert!(region.bus.lock("cleanup", 1, 1).await.unwrap(), "the lock was not given back");
    home.close().await;
}
