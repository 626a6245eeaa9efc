//! Filling: what should have arrived in the other region's op store by its own ways and has not.
//!
//! Op stores reach each other by global tables, by a table's stream, or because each region folds its own log; a minute after a
//! record was shipped, the document's runs are compared by the dots they cover, and what is missing is written.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_protocol::Instant;
use selvedge_region::history::{SEGMENTS, copy_segment, document_of};
use selvedge_region::{BlobKey, Blobs, DocumentKey, Error, OpRun, OpStore, Region, Result, RunDots};

/// Documents that wait to be compared; beyond it the oldest is compared early.
const WAITING_MAX: usize = 10_000;
const RUNS_PAGE: usize = 500;
const BLOBS_PAGE: usize = 1000;

/// Which documents are to be compared, and when.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    since: BTreeMap<DocumentKey, Instant>,
}

impl Waiting {
    pub(super) fn note(&mut self, key: DocumentKey, now: Instant) {
        self.since.entry(key).or_insert(now);
    }

    /// A document that was shipped at least `wait_ms` ago.
    pub(super) fn take(&mut self, now: Instant, wait_ms: u64) -> Option<DocumentKey> {
        let (key, since) = self.since.iter().min_by_key(|(_, since)| **since)?;
        let due = now.since(*since) >= wait_ms || self.since.len() > WAITING_MAX;
        let key = due.then(|| key.clone())?;
        self.since.remove(&key);
        Some(key)
    }
}

/// Writes the source's runs of a document that the target neither has nor had moved to segments; answers how many.
///
/// # Errors
/// As the parts; what was written stays.
pub async fn fill_runs(source: &Region, target: &Region, key: &DocumentKey) -> Result<u64> {
    let mut covered = RunDots::default();
    for run in runs_of(&*target.ops, key).await? {
        covered.insert(&run);
    }
    // After the target's runs: what was moved while they were read is noted by now.
    let trimmed = target.ops.trimmed(key).await?;
    let runs = runs_of(&*source.ops, key).await?;
    let lacking = |run: &OpRun| run.last > trimmed.get(run.site) && !covered.cover(run);
    let missing: Vec<OpRun> = runs.into_iter().filter(lacking).collect();
    let filled = missing.len() as u64;
    for some in missing.chunks(RUNS_PAGE) {
        match target.ops.put(key, some.to_vec()).await {
            // The first content is kept; repeating would find the same.
            Err(error @ Error::Divergence { .. }) => tracing::error!(%error, "one dot, two contents"),
            put => put?,
        }
    }
    Ok(filled)
}

/// Makes the target's blobs below a prefix those of the source, which alone writes there: copies what is missing, and removes
/// what the source has removed. Answers how many were copied. A source that has nothing at all was wiped, and removes nothing.
///
/// # Errors
/// As the parts; what was copied stays.
pub async fn mirror_blobs(source: &Region, target: &Region, prefix: &str) -> Result<u64> {
    // What appears here during the call is not taken for removed there.
    let there = keys_of(&*target.blobs, prefix).await?;
    let here = keys_of(&*source.blobs, prefix).await?;
    let mut copied = 0;
    for key in here.difference(&there) {
        match source.blobs.get(key).await {
            // Deleted meanwhile.
            Err(Error::NotFound { .. }) => {}
            bytes => {
                target.blobs.put(key, bytes?).await?;
                copied += 1;
            }
        }
    }
    if !here.is_empty() {
        for key in there.difference(&here) {
            target.blobs.delete(key).await?;
        }
    }
    Ok(copied)
}

/// Copies the segments that the target lacks, each checked; answers how many. They were kept in both regions, so what lacks was
/// lost with its bucket. Those of documents that are deleted in either region are left, and nothing is removed: each region
/// erases its own.
///
/// # Errors
/// As the parts; what was copied stays.
pub async fn fill_segments(source: &Region, target: &Region) -> Result<u64> {
    let (mut here, mut there) = (Keys::new(&*source.blobs, SEGMENTS), Keys::new(&*target.blobs, SEGMENTS));
    let (mut copied, mut next) = (0, there.next().await?);
    while let Some(key) = here.next().await? {
        while next.as_ref().is_some_and(|there| *there < key) {
            next = there.next().await?;
        }
        if next.as_ref() == Some(&key) {
            continue;
        }
        let Some(document) = document_of(&key) else { continue };
        if is_deleted(source, &document).await? || is_deleted(target, &document).await? {
            continue;
        }
        match copy_segment(&*source.blobs, &*target.blobs, &document, &key).await {
            Err(error @ Error::Corrupt { .. }) => tracing::error!(%error, "a segment is not copied"),
            outcome => copied += u64::from(outcome?),
        }
    }
    Ok(copied)
}

async fn is_deleted(region: &Region, key: &DocumentKey) -> Result<bool> {
    let info = region.control.document(&key.document).await?;
    Ok(info.is_some_and(|info| info.is_deleted(key.generation)))
}

/// The keys of some blobs in their order, a page at a time.
struct Keys<'a> {
    blobs: &'a dyn Blobs,
    prefix: &'a str,
    page: std::vec::IntoIter<BlobKey>,
    /// Where the next page begins; `None`: there is none.
    after: Option<Option<BlobKey>>,
}

impl<'a> Keys<'a> {
    fn new(blobs: &'a dyn Blobs, prefix: &'a str) -> Self {
        Self { blobs, prefix, page: Vec::new().into_iter(), after: Some(None) }
    }

    async fn next(&mut self) -> Result<Option<BlobKey>> {
        loop {
            if let Some(key) = self.page.next() {
                return Ok(Some(key));
            }
            let Some(after) = self.after.take() else { return Ok(None) };
            let page = self.blobs.list(self.prefix, after.as_ref(), BLOBS_PAGE).await?;
            self.page = page.keys.into_iter();
            self.after = page.next.map(Some);
        }
    }
}

async fn keys_of(blobs: &dyn Blobs, prefix: &str) -> Result<BTreeSet<BlobKey>> {
    let (mut keys, mut after) = (BTreeSet::new(), None);
    loop {
        let page = blobs.list(prefix, after.as_ref(), BLOBS_PAGE).await?;
        keys.extend(page.keys);
        after = page.next;
        if after.is_none() {
            return Ok(keys);
        }
    }
}

async fn runs_of(ops: &dyn OpStore, key: &DocumentKey) -> Result<Vec<OpRun>> {
    let (mut runs, mut cursor) = (Vec::new(), None);
    loop {
        let page = ops.read(key, &Default::default(), cursor, RUNS_PAGE).await?;
        runs.extend(page.runs);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(runs);
        }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::Instant;
    use selvedge_region::DocumentKey;

    use super::Waiting;

    #[test]
    fn a_document_is_compared_a_while_after_it_was_shipped_first() {
        let key = |name: &str| DocumentKey::new(format!("t/{name}").parse().unwrap(), 1);
        let mut waiting = Waiting::default();
        waiting.note(key("a"), Instant(0));
        waiting.note(key("b"), Instant(40));
        waiting.note(key("a"), Instant(50));
        assert_eq!(waiting.take(Instant(59), 60), None);
        assert_eq!(waiting.take(Instant(60), 60), Some(key("a")));
        assert_eq!(waiting.take(Instant(60), 60), None);
        assert_eq!(waiting.take(Instant(100), 60), Some(key("b")));
        assert_eq!(waiting.take(Instant(1000), 60), None);
    }
}
