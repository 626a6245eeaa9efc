//! Publishing a snapshot: compare and set on the row, and never over something it does not cover.

use futures_util::future::BoxFuture;
use selvedge_engine::Document;

use super::Fold;
use crate::ops::DocumentKey;
use crate::snapshots::SnapshotStore;
use crate::{Error, Result};

/// Other writers that may come first before publishing gives up; each one brought a snapshot of its own.
pub const PUBLISH_ATTEMPTS_MAX: usize = 8;

/// Publishes the fold's document. Where the newest snapshot holds something the fold lacks, that is merged in first; where
/// another writer comes first, it is read and tried again. Damaged newest versions are discarded. Answers the version that
/// covers the fold, which is another writer's if that one covers it already.
///
/// # Errors
/// `Conflict` after [`PUBLISH_ATTEMPTS_MAX`] others; else as the store.
pub fn publish_snapshot<'a>(
    store: &'a dyn SnapshotStore,
    key: &'a DocumentKey,
    fold: &'a mut Fold,
) -> BoxFuture<'a, Result<u64>> {
    Box::pin(async move {
        for _ in 0..PUBLISH_ATTEMPTS_MAX {
            let expected = match newest_merged(store, key, fold).await? {
                Newest::Covers(version) => return Ok(version),
                Newest::Merged(expected) => expected,
            };
            match store.put(key, expected, &fold.snapshot()).await {
                Err(Error::Conflict { .. }) => {}
                published => return published,
            }
        }
        Err(Error::Conflict { what: format!("the snapshot of {}", key.document) })
    })
}

enum Newest {
    /// This version has everything the fold has.
    Covers(u64),
    /// This version, if any, is now part of the fold.
    Merged(Option<u64>),
}

async fn newest_merged(store: &dyn SnapshotStore, key: &DocumentKey, fold: &mut Fold) -> Result<Newest> {
    let latest = match store.latest(key).await {
        Err(Error::Corrupt { .. }) => {
            for info in store.versions(key).await? {
                store.discard(key, info.version).await?;
            }
            None
        }
        latest => latest?,
    };
    let Some(latest) = latest else {
        return Ok(Newest::Merged(None));
    };
    for version in &latest.damaged {
        store.discard(key, *version).await?;
    }
    let stored = &latest.snapshot;
    if stored.vector.dominates(fold.vector()) {
        return Ok(Newest::Covers(latest.version));
    }
    if !fold.vector().dominates(&stored.vector) {
        let damaged = |detail: String| Error::Corrupt { what: format!("the snapshot of {}", key.document), detail };
        let document = Document::load(&stored.bytes).map_err(|error| damaged(error.to_string()))?;
        fold.merge(&document).map_err(|error| damaged(error.to_string()))?;
    }
    Ok(Newest::Merged(Some(latest.version)))
}
