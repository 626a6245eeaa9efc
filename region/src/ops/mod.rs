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

pub use dots::RunDots;
use futures_util::future::BoxFuture;
use selvedge_engine::{SiteId, VersionVector};

use crate::{DocumentId, Result};

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

/// Where the next page of runs begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpCursor {
    /// Site of the last run of the page before.
    pub site: SiteId,
    /// Its first counter.
    pub first: u64,
    /// Its last counter.
    pub last: u64,
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

    /// Removes the runs that `covered` covers wholly, and answers how many there were.
    fn trim<'a>(&'a self, key: &'a DocumentKey, covered: &'a VersionVector) -> BoxFuture<'a, Result<u64>>;

    /// Removes everything of one generation of a document.
    fn erase<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<()>>;
}
