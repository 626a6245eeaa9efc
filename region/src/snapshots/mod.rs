//! Snapshots: a document's whole state at a version vector, versioned, checked, replaced only by one that covers it.
//!
//! A snapshot is a cache of the log: losing them all costs time, never text. Its coverage is its vector; the log position
//! beside it only tells a reader where a tail may begin.

#[doc(hidden)]
pub mod contract;
pub(crate) mod embedded;
#[cfg(feature = "regional")]
pub(crate) mod postgres;

use std::future::Future;

use futures_util::future::BoxFuture;
use selvedge_engine::VersionVector;
use sha2::{Digest, Sha256};

use crate::ops::DocumentKey;
use crate::{Error, Position, Result};

/// A snapshot to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Exactly the operations it holds.
    pub vector: VersionVector,
    /// Every record of the document below this position is in it: a hint where the tail begins.
    pub position: Option<Position>,
    /// The engine's whole-document encoding.
    pub bytes: Vec<u8>,
}

impl Snapshot {
    /// SHA-256 of the encoded vector's length (8 bytes, little-endian), the encoded vector, and the bytes.
    #[must_use]
    pub fn checksum(&self) -> [u8; 32] {
        checksum(&self.vector.encode(), &self.bytes)
    }
}

pub(crate) fn checksum(vector: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((vector.len() as u64).to_le_bytes());
    hash.update(vector);
    hash.update(bytes);
    hash.finalize().into()
}

/// A snapshot from what was kept of it.
///
/// # Errors
/// `Corrupt` when vector and bytes do not give the checksum kept beside them.
pub(crate) fn checked(
    document: &str,
    vector: &[u8],
    position: Option<Position>,
    bytes: Vec<u8>,
    kept: &[u8],
) -> Result<Snapshot> {
    if kept != checksum(vector, &bytes) {
        return Err(damaged(document, "it fails its checksum"));
    }
    Ok(Snapshot { vector: vector_of(document, vector)?, position, bytes })
}

fn vector_of(document: &str, bytes: &[u8]) -> Result<VersionVector> {
    VersionVector::decode(bytes).map_err(|error| damaged(document, &error.to_string()))
}

fn damaged(document: &str, detail: &str) -> Error {
    Error::Corrupt { what: format!("a snapshot of {document}"), detail: detail.to_owned() }
}

/// The first of `versions`, newest first, that passes its check when it is read; those passed over are named. One that was
/// pruned meanwhile (`None`) has a newer one above it.
async fn first_whole<R>(
    key: &DocumentKey,
    versions: Vec<u64>,
    read: impl Fn(u64) -> R + Send,
) -> Result<Option<LatestSnapshot>>
where
    R: Future<Output = Result<Option<Snapshot>>> + Send,
{
    let mut damaged = Vec::new();
    for version in versions {
        match read(version).await {
            Ok(Some(snapshot)) => return Ok(Some(LatestSnapshot { version, snapshot, damaged })),
            Ok(None) => {}
            Err(Error::Corrupt { .. }) => damaged.push(version),
            Err(error) => return Err(error),
        }
    }
    if damaged.is_empty() {
        return Ok(None);
    }
    Err(Error::Corrupt {
        what: format!("every snapshot of {}", key.document),
        detail: format!("versions {damaged:?} fail their checksum"),
    })
}

/// What is known of a kept snapshot without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Grows by each snapshot kept of this document and generation, from 1.
    pub version: u64,
    /// Its coverage.
    pub vector: VersionVector,
    /// Where a tail may begin.
    pub position: Option<Position>,
    /// Length of its bytes.
    pub length: u64,
    /// As [`Snapshot::checksum`].
    pub checksum: [u8; 32],
}

/// The newest snapshot that passes its check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestSnapshot {
    /// Its version.
    pub version: u64,
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Newer versions that failed their check and were passed over, newest first. Not silence: report them.
    pub damaged: Vec<u64>,
}

/// Keeps versioned snapshots.
pub trait SnapshotStore: Send + Sync {
    /// Keeps a snapshot as the next version if `expected` is still the newest one (`None`: there is none yet) and the new
    /// vector dominates the newest one's; answers its version.
    ///
    /// # Errors
    /// `Conflict` when either does not hold: read the newest, merge, and try again ([`crate::fold::publish_snapshot`]).
    /// `Full`, `Unavailable`: nothing was kept.
    fn put<'a>(
        &'a self,
        key: &'a DocumentKey,
        expected: Option<u64>,
        snapshot: &'a Snapshot,
    ) -> BoxFuture<'a, Result<u64>>;

    /// The newest snapshot that passes its check, or `None` when there is none at all.
    ///
    /// # Errors
    /// `Corrupt` when there are some and none passes.
    fn latest<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<Option<LatestSnapshot>>>;

    /// What is kept, newest first.
    fn versions<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<Vec<SnapshotInfo>>>;

    /// One version.
    ///
    /// # Errors
    /// `NotFound`, or `Corrupt` when it fails its check.
    fn load<'a>(&'a self, key: &'a DocumentKey, version: u64) -> BoxFuture<'a, Result<Snapshot>>;

    /// Removes all but the newest `keep` versions (at least 1) and answers how many went.
    fn prune<'a>(&'a self, key: &'a DocumentKey, keep: usize) -> BoxFuture<'a, Result<u64>>;

    /// Removes one version, e.g. a damaged one that an intact one must replace. Versions are never used twice.
    fn discard<'a>(&'a self, key: &'a DocumentKey, version: u64) -> BoxFuture<'a, Result<()>>;

    /// Removes everything of one generation of a document.
    fn erase<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<()>>;

    /// The documents that have a snapshot, each generation by itself, after `after` in the order of (document, generation), at
    /// most `limit`. None: that was all.
    fn documents<'a>(&'a self, after: Option<&'a DocumentKey>, limit: usize)
    -> BoxFuture<'a, Result<Vec<DocumentKey>>>;
}

/// A key from what was kept of it.
fn key_from(document: &str, generation: u64) -> Result<DocumentKey> {
    let parsed = document.parse().map_err(|_| damaged(document, "its document is none"))?;
    Ok(DocumentKey::new(parsed, generation))
}
