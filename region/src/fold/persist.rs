//! Persist: reads a log in order, writes the op store, and says when a snapshot is due.
//!
//! [`Persist`] decides and does nothing else; [`catch_up`] carries out what it decides, in the order that keeps every promise:
//! op store and dead letters are durable before the offset is committed, snapshots follow. Repeating any of it is harmless.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use selvedge_engine::Delta;
use selvedge_protocol::Instant;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Due, DueConfig, Gather, GatheredRun, Hole, materialise, publish_snapshot};
use crate::history::erase_segments;
use crate::log::{EntryContent, LogEntry, LogPage};
use crate::ops::{DocumentKey, OpRun};
use crate::{DeadLetter, Error, Region, Result};

/// The name under which persist commits how far it has come.
pub const PERSIST_READER: &str = "persist";

/// When persist writes what.
#[derive(Debug, Clone)]
pub struct PersistConfig {
    /// Entries read at once.
    pub page_entries: usize,
    /// A run of a site's operations is gathered up to so many bytes.
    pub run_bytes_max: usize,
    /// A snapshot is due after so many bytes of deltas,
    pub snapshot_bytes: usize,
    /// or when the oldest delta not in one is so old, in milliseconds.
    pub snapshot_age_ms: u64,
    /// Versions of a snapshot that are kept.
    pub snapshots_kept: usize,
    /// Documents waiting for a snapshot; beyond it the one that waited longest is due.
    pub waiting_documents_max: usize,
    /// Pause between looks at the log, in milliseconds.
    pub poll_ms: u64,
}

impl Default for PersistConfig {
    fn default() -> Self {
        Self {
            page_entries: 1000,
            run_bytes_max: 1024,
            snapshot_bytes: 256 * 1024,
            snapshot_age_ms: 30_000,
            snapshots_kept: 3,
            waiting_documents_max: 10_000,
            poll_ms: 250,
        }
    }
}

/// What a page of the log asks to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PersistBatch {
    /// Runs for the op store.
    pub runs: BTreeMap<DocumentKey, Vec<OpRun>>,
    /// What could not be read.
    pub dead_letters: Vec<DeadLetter>,
}

/// Why persist stopped short; all it did before stands.
#[derive(Debug, thiserror::Error)]
#[error("persist stopped at offset {offset} of partition {partition}")]
pub struct PersistError {
    /// The partition.
    pub partition: u32,
    /// The offset it will read next.
    pub offset: u64,
    /// What failed.
    #[source]
    pub source: Error,
}

/// The decisions of persist where one process reads the whole log page by page: a state machine without I/O.
pub struct Persist {
    config: PersistConfig,
    due: Due,
}

impl Persist {
    /// Persist with nothing waiting.
    #[must_use]
    pub fn new(config: PersistConfig) -> Self {
        let due = DueConfig {
            bytes: config.snapshot_bytes,
            age_ms: config.snapshot_age_ms,
            waiting_max: config.waiting_documents_max,
        };
        Self { config, due: Due::new(due) }
    }

    /// Takes a page of the log and says what to write for it.
    pub fn take(&mut self, page: LogPage, now: Instant) -> PersistBatch {
        let mut batch = PersistBatch::default();
        let mut gather = Gather::new(self.config.run_bytes_max);
        for entry in page.entries {
            let position = entry.position;
            match readable(entry) {
                Ok(readable) => {
                    self.due.note(readable.key.clone(), readable.bytes.len(), now);
                    let Readable { key, delta, bytes } = readable;
                    batch.add(gather.take(key, delta, bytes, position, now));
                }
                Err(letter) => batch.dead_letters.push(letter),
            }
        }
        batch.add(gather.close_all());
        batch
    }

    /// Documents whose snapshot is due. They wait no longer: whoever takes them writes it, or puts them back by
    /// [`Persist::postpone`].
    pub fn due(&mut self, now: Instant) -> Vec<DocumentKey> {
        self.due.take(now)
    }

    /// Everything that waits, due or not: for a shutdown that leaves nothing to be folded again.
    pub fn drain(&mut self) -> Vec<DocumentKey> {
        self.due.drain()
    }

    /// Puts a document back whose snapshot could not be written.
    pub fn postpone(&mut self, key: DocumentKey, now: Instant) {
        self.due.postpone(key, now);
    }
}

impl PersistBatch {
    fn add(&mut self, gathered: impl IntoIterator<Item = GatheredRun>) {
        for GatheredRun { key, run, .. } in gathered {
            self.runs.entry(key).or_default().push(run);
        }
    }
}

/// A record whose delta the engine reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readable {
    /// The document.
    pub key: DocumentKey,
    /// The delta.
    pub delta: Delta,
    /// Its durable bytes.
    pub bytes: Vec<u8>,
}

/// What can be folded of an entry.
///
/// # Errors
/// The letter to put aside, when it is no record or its delta is none.
pub fn readable(entry: LogEntry) -> std::result::Result<Readable, DeadLetter> {
    let position = entry.position;
    let (bytes, reason) = match entry.content {
        EntryContent::Undecodable { bytes, reason } => (bytes, reason.to_string()),
        EntryContent::Record(record) => match Delta::decode(&record.delta) {
            Ok(delta) => {
                let key = DocumentKey::new(record.document, record.generation);
                return Ok(Readable { key, delta, bytes: record.delta });
            }
            Err(error) => (record.encode(), format!("the record's delta: {error}")),
        },
    };
    Err(DeadLetter { position, reason, bytes })
}

/// Reads every partition to its end, writes what it asks for, and publishes the snapshots that are due. Answers how many
/// entries were read.
///
/// # Errors
/// The first part that fails; call again to go on.
pub fn catch_up<'a>(
    region: &'a Region,
    persist: &'a mut Persist,
    now: Instant,
) -> BoxFuture<'a, std::result::Result<u64, PersistError>> {
    Box::pin(async move {
        let mut entries = 0;
        for partition in 0..region.log.partitions() {
            let mut offset = 0;
            let read = read_partition(region, persist, partition, &mut offset, now).await;
            entries += read.map_err(|source| PersistError { partition, offset, source })?;
        }
        for key in persist.due(now) {
            if let Err(error) = snapshot_document(region, &key, persist.config.snapshots_kept).await {
                tracing::warn!(document = %key.document, %error, "snapshot postponed");
                persist.postpone(key, now);
            }
        }
        Ok(entries)
    })
}

async fn read_partition(
    region: &Region,
    persist: &mut Persist,
    partition: u32,
    offset: &mut u64,
    now: Instant,
) -> Result<u64> {
    let mut entries = 0;
    *offset = region.log.progress(PERSIST_READER, partition).await?.unwrap_or(0);
    loop {
        let page = match region.log.read(partition, *offset, persist.config.page_entries).await {
            // Trimmed below persist's own offset only before it ever committed.
            Err(Error::Gone { earliest: Some(earliest), .. }) if *offset < earliest.offset => {
                tracing::error!(
                    partition,
                    from = *offset,
                    to = earliest.offset,
                    "the log was trimmed before persist read it"
                );
                *offset = earliest.offset;
                continue;
            }
            page => page?,
        };
        let (next, at_end) = (page.next.offset, page.at_end);
        entries += page.entries.len() as u64;
        let moved = next > *offset;
        write(region, persist.take(page, now)).await?;
        if moved {
            region.log.commit_progress(PERSIST_READER, partition, next).await?;
            *offset = next;
        }
        if at_end {
            return Ok(entries);
        }
    }
}

async fn write(region: &Region, batch: PersistBatch) -> Result<()> {
    for letter in batch.dead_letters {
        tracing::error!(offset = letter.position.offset, reason = letter.reason, "record put aside");
        region.log.dead_letter(letter).await?;
    }
    for (key, runs) in batch.runs {
        match region.ops.put(&key, runs).await {
            // The first content is kept; repeating would find the same.
            Err(error @ Error::Divergence { .. }) => {
                tracing::error!(%error, "one dot, two contents")
            }
            put => put?,
        }
    }
    Ok(())
}

/// Folds a document and publishes its snapshot, of which `kept` versions stay. Answers the holes it has.
///
/// # Errors
/// As the parts; a snapshot that was published stays.
pub fn snapshot_document<'a>(
    region: &'a Region,
    key: &'a DocumentKey,
    kept: usize,
) -> BoxFuture<'a, Result<Vec<Hole>>> {
    Box::pin(async move {
        let mut fold = materialise(region, key).await?;
        let holes = fold.holes();
        for hole in &holes {
            tracing::warn!(document = %key.document, site = %hole.site, first = hole.first, last = hole.last, "hole in the log");
        }
        publish_snapshot(&*region.snapshots, key, &mut fold).await?;
        region.snapshots.prune(key, kept).await?;
        Ok(holes)
    })
}

/// Erases op store, segments and snapshots of documents deleted before `before_ms` (wall time) here and in every other region, and
/// forgets their bindings; answers how many. The logs keep their records until they are trimmed.
///
/// Whoever comes first erases everywhere: when the other regions hear that a document was forgotten, they take it for erased.
/// One whose deletion a region has not heard of waits.
///
/// # Errors
/// As the parts; what was erased stays erased.
pub fn erase_deleted<'a>(
    region: &'a Region,
    peers: &'a [Region],
    before_ms: u64,
    limit: usize,
) -> BoxFuture<'a, Result<usize>> {
    Box::pin(async move {
        let mut erased = 0;
        for key in region.control.deleted(before_ms, limit).await? {
            if !is_deleted(peers, &key).await? {
                tracing::info!(document = %key.document, "not erased: a region has not heard that it was deleted");
                continue;
            }
            for region in [region].into_iter().chain(peers) {
                region.ops.erase(&key).await?;
                erase_segments(&*region.blobs, &key).await?;
                region.snapshots.erase(&key).await?;
            }
            match region.control.forget(&key).await {
                // Another region was as far, and forgot it first.
                Err(Error::Conflict { .. }) => {}
                forgotten => forgotten?,
            }
            erased += 1;
        }
        Ok(erased)
    })
}

async fn is_deleted(regions: &[Region], key: &DocumentKey) -> Result<bool> {
    for region in regions {
        let info = region.control.document(&key.document).await?;
        if !info.is_some_and(|info| info.is_deleted(key.generation)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Persist running in this process.
pub struct PersistTask {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl PersistTask {
    /// Starts reading the region's log.
    #[must_use]
    pub fn spawn(region: Region, config: PersistConfig) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(run(region, config, stopped)) }
    }

    /// Lets it finish the page it is at, writes the snapshots that wait, and ends it.
    pub async fn stop(self) {
        // It may have ended by itself; then there is nobody to tell.
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "persist ended by a fault");
        }
    }
}

async fn run(region: Region, config: PersistConfig, mut stopped: oneshot::Receiver<()>) {
    let began = tokio::time::Instant::now();
    let now = || Instant(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    let pause = Duration::from_millis(config.poll_ms);
    let mut persist = Persist::new(config);
    let mut failures = 0_u32;
    loop {
        match catch_up(&region, &mut persist, now()).await {
            Ok(_) => failures = 0,
            Err(error) => {
                failures = failures.saturating_add(1);
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, failures, "persist will try again");
            }
        }
        // Up to 16 pauses between attempts while a part is down.
        let wait = pause * (1 << failures.min(4));
        tokio::select! {
            _ = &mut stopped => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
    if let Err(error) = catch_up(&region, &mut persist, now()).await {
        tracing::warn!(%error, "the last pass of persist failed; the next start goes on from there");
    }
    for key in persist.drain() {
        if let Err(error) = snapshot_document(&region, &key, persist.config.snapshots_kept).await {
            tracing::warn!(document = %key.document, %error, "the last snapshot failed; the next start folds the log again");
        }
    }
}
