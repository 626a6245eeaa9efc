//! The op store: a document's operations by site and counter, for readers who lack some of them.
//!
//! An item is a run of one site's operations, `first..=last`, in the bytes of one durable delta, which are a function of
//! (site, first, last). Items overlap freely (two writers cut a site's operations differently); readers drop the dots they
//! know. Items carry nothing of the region that wrote them, so that a global table may merge them.

#[doc(hidden)]
pub mod contract;
mod dots;
#[cfg(feature = "regional")]
pub(crate) mod dynamodb;
pub(crate) mod embedded;
#[cfg_attr(
    not(feature = "regional"),
    allow(dead_code, unreachable_pub, reason = "only what reads is used without services")
)]
pub(crate) mod keys;

pub use dots::RunDots;
use futures_util::future::BoxFuture;
use selvedge_engine::{SiteId, VersionVector};

use crate::{DocumentId, Error, Result};

/// The longest encoded vector of what was trimmed: an item of DynamoDB takes 400 KB. Vectors of at least 13,000 sites fit; a
/// document with more is not trimmed any further.
pub const TRIMMED_BYTES_MAX: usize = 256 * 1024;

/// Names one generation of one document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// The document.
    pub document: DocumentId,
    /// Its generation.
    pub generation: u64,
}

impl DocumentKey {
    /// That generation of that document.
    #[must_use]
    pub const fn new(document: DocumentId, generation: u64) -> Self {
        Self { document, generation }
    }
}

/// A run of one site's operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpRun {
    /// The site.
    pub site: SiteId,
    /// Its first counter.
    pub first: u64,
    /// Its last counter, at least `first`.
    pub last: u64,
    /// One durable delta.
    pub bytes: Vec<u8>,
}

/// Names a run of a document, and so where the next page of runs begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpCursor {
    /// Its site.
    pub site: SiteId,
    /// Its first counter.
    pub first: u64,
    /// Its last counter.
    pub last: u64,
}

impl OpRun {
    /// Its place in the order of runs, which is its name as well.
    #[must_use]
    pub const fn cursor(&self) -> OpCursor {
        OpCursor { site: self.site, first: self.first, last: self.last }
    }
}

/// Some runs in the order of (site, first, last).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpPage {
    /// The runs.
    pub runs: Vec<OpRun>,
    /// Where to go on; `None`: that was all.
    pub next: Option<OpCursor>,
}

/// Keeps operations by (document, site, counter).
pub trait OpStore: Send + Sync {
    /// Keeps the runs; durable before it answers. Putting a run again is harmless.
    ///
    /// # Errors
    /// `Divergence`: a run of the same key is kept with other bytes; the first is kept and the others of the call are
    /// written. `Throttled`, `Full`, `Unavailable`: some of the runs may have been written; repeat the call.
    fn put<'a>(&'a self, key: &'a DocumentKey, runs: Vec<OpRun>) -> BoxFuture<'a, Result<()>>;

    /// Reads the runs that hold a counter beyond `since`, at most `limit` of them, after `cursor`.
    fn read<'a>(
        &'a self,
        key: &'a DocumentKey,
        since: &'a VersionVector,
        cursor: Option<OpCursor>,
        limit: usize,
    ) -> BoxFuture<'a, Result<OpPage>>;

    /// Removes exactly these runs, which the caller has kept elsewhere ([`crate::history`]); those that are not there are passed
    /// over. What is removed is noted for [`OpStore::trimmed`] before it is removed.
    ///
    /// # Errors
    /// As [`OpStore::note_trimmed`]; else some of the runs may have been removed: repeat the call.
    fn trim<'a>(&'a self, key: &'a DocumentKey, runs: &'a [OpCursor]) -> BoxFuture<'a, Result<()>>;

    /// By site, the highest counter that was ever trimmed: a reader whose vector dominates it lacks nothing that this store
    /// no longer holds. Not every dot below it need have been here.
    fn trimmed<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<VersionVector>>;

    /// Notes that so much was trimmed, joined with what is noted: for a store that is given another's history.
    ///
    /// # Errors
    /// `Invalid` when the joined vector takes more than [`TRIMMED_BYTES_MAX`] bytes; `Conflict` when others note at once, again
    /// and again. Nothing is noted then.
    fn note_trimmed<'a>(&'a self, key: &'a DocumentKey, vector: &'a VersionVector) -> BoxFuture<'a, Result<()>>;

    /// Removes everything of one generation of a document.
    fn erase<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<()>>;
}

/// The encoded join of what was noted as trimmed with what is to be noted, or none when that is noted already.
fn joined_trimmed(noted: &VersionVector, vector: &VersionVector) -> Result<Option<Vec<u8>>> {
    if noted.dominates(vector) {
        return Ok(None);
    }
    let mut joined = noted.clone();
    joined.join(vector);
    let bytes = joined.encode();
    if bytes.len() > TRIMMED_BYTES_MAX {
        let (sites, length) = (joined.len(), bytes.len());
        return Err(Error::Invalid(format!(
            "what was trimmed of {sites} sites takes {length} bytes: at most {TRIMMED_BYTES_MAX} can be noted"
        )));
    }
    Ok(Some(bytes))
}

fn trimmed_from(key: &DocumentKey, bytes: &[u8]) -> Result<VersionVector> {
    VersionVector::decode(bytes).map_err(|error| Error::Corrupt {
        what: format!("what was trimmed of {}", key.document),
        detail: error.to_string(),
    })
}

/// The highest counter of each site among some runs.
fn reach_of(runs: &[OpCursor]) -> VersionVector {
    let mut vector = VersionVector::new();
    for run in runs {
        vector.advance(run.site, run.last);
    }
    vector
}
