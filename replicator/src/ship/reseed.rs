//! Feeding a peer what the source's log does not hold: op store, segments and snapshots of a partition's documents.

use selvedge_region::fold::{Fold, publish_snapshot};
use selvedge_region::history::copy_segments;
use selvedge_region::{DocumentKey, Error, Region, Result};

const DOCUMENTS_PAGE: usize = 500;
const RUNS_PAGE: usize = 500;

/// What was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reseeded {
    /// Documents.
    pub documents: u64,
    /// Runs of their op stores.
    pub runs: u64,
    /// Segments of what was moved from there.
    pub segments: u64,
}

/// Gives the target every document of a partition as the source's op store, segments and snapshots have it. A log is trimmed only below
/// what a snapshot covers, and a region that was itself fed was given snapshots, so whatever the log does not hold is of a
/// document with a snapshot. Repeating it is harmless.
///
/// # Errors
/// As the parts; what was given stays.
pub async fn reseed(source: &Region, target: &Region, partition: u32) -> Result<Reseeded> {
    let mut given = Reseeded::default();
    let mut after = None;
    loop {
        let keys = source.snapshots.documents(after.as_ref(), DOCUMENTS_PAGE).await?;
        let Some(last) = keys.last().cloned() else { return Ok(given) };
        for key in keys.iter().filter(|key| source.log.partition(&key.document) == partition) {
            given.runs += give_runs(source, target, key).await?;
            given.segments += give_segments(source, target, key).await?;
            give_snapshot(source, target, key).await?;
            given.documents += 1;
        }
        after = Some(last);
    }
}

async fn give_runs(source: &Region, target: &Region, key: &DocumentKey) -> Result<u64> {
    let (mut cursor, mut given) = (None, 0);
    loop {
        let page = source.ops.read(key, &Default::default(), cursor, RUNS_PAGE).await?;
        given += page.runs.len() as u64;
        if !page.runs.is_empty() {
            match target.ops.put(key, page.runs).await {
                // The first content is kept; repeating would find the same.
                Err(error @ Error::Divergence { .. }) => tracing::error!(%error, "one dot, two contents"),
                put => put?,
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(given);
        }
    }
}

/// After the runs: what was moved from them meanwhile is in a segment by now. The note of what was trimmed is given when all it
/// tells of is there; what is noted while segments are copied is in one that is there before the note.
async fn give_segments(source: &Region, target: &Region, key: &DocumentKey) -> Result<u64> {
    let trimmed = source.ops.trimmed(key).await?;
    if trimmed.is_empty() {
        return Ok(0);
    }
    let given = copy_segments(&*source.blobs, &*target.blobs, key).await?;
    target.ops.note_trimmed(key, &trimmed).await?;
    Ok(given)
}

async fn give_snapshot(source: &Region, target: &Region, key: &DocumentKey) -> Result<()> {
    // Erased since it was listed.
    let Some(latest) = source.snapshots.latest(key).await? else { return Ok(()) };
    let damaged = |error: selvedge_engine::DecodeError| Error::Corrupt {
        what: format!("the snapshot of {}", key.document),
        detail: error.to_string(),
    };
    let mut fold = Fold::from_snapshot(&latest.snapshot).map_err(damaged)?;
    publish_snapshot(&*target.snapshots, key, &mut fold).await.map(drop)
}
