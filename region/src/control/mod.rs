//! The control plane of a region: documents and their generations, rights, who owns which site, and the audit.
//!
//! Rare, small and decisive: every decision carries the epoch it was made in, and one made in an ended epoch is refused.
//! Instants are milliseconds of wall time given by the caller; nothing is decided by them.

#[doc(hidden)]
pub mod contract;
mod decided;
pub(crate) mod embedded;
#[cfg(feature = "regional")]
pub(crate) mod kafka;
#[cfg_attr(not(feature = "regional"), allow(dead_code, reason = "only what reads is used without services"))]
pub(crate) mod record;

use futures_util::future::BoxFuture;
use selvedge_engine::{SiteId, VersionVector};
use selvedge_protocol::Rights;

use crate::ops::DocumentKey;
use crate::{DocumentId, LogId, Result};

pub use decided::{Decided, DecidedPage};

/// What is known of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentInfo {
    /// The document.
    pub document: DocumentId,
    /// Its newest generation, from 1. A document deleted and created again is in the next one.
    pub generation: u64,
    /// Who created this generation.
    pub creator: String,
    /// When, in milliseconds of wall time.
    pub created_ms: u64,
    /// When this generation was deleted; `None`: it is there.
    pub deleted_ms: Option<u64>,
}

impl DocumentInfo {
    /// Whether that generation was deleted: it is, or a later one followed it.
    #[must_use]
    pub fn is_deleted(&self, generation: u64) -> bool {
        self.generation > generation || self.deleted_ms.is_some()
    }
}

/// A document to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDocument {
    /// Its id.
    pub document: DocumentId,
    /// Who creates it; gets `admin`.
    pub creator: String,
    /// Now.
    pub now_ms: u64,
}

/// Some documents in the order of their ids, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentPage {
    /// The documents.
    pub documents: Vec<DocumentInfo>,
    /// Pass it as `after` for the next page; `None`: that was all.
    pub next: Option<DocumentId>,
}

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentQuery {
    /// The tenant, e.g. `default`.
    pub tenant: String,
    /// Names that begin with this.
    pub prefix: String,
    /// After this document.
    pub after: Option<DocumentId>,
    /// At most so many.
    pub limit: usize,
}

/// A site leased for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasedSite {
    /// The site, already bound to the principal that asked.
    pub site: SiteId,
    /// The first counter to be used on it.
    pub next_counter: u64,
}

/// One line of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, in milliseconds of wall time.
    pub at_ms: u64,
    /// Who did it.
    pub principal: String,
    /// What, e.g. `document.delete`.
    pub action: String,
    /// On which document, if on one.
    pub document: Option<DocumentId>,
    /// More, as short text without any of the document's.
    pub detail: String,
}

/// Whose decisions count, and since which epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The epoch in force.
    pub epoch: u64,
    /// The region that decides in it; empty where there is only one.
    pub home: String,
}

/// The list of endpoints as whoever holds the control plane signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedEndpoints {
    /// The epoch in which it was published.
    pub epoch: u64,
    /// The list and its signature, a compact JWS of at most 32 KiB ([`selvedge_protocol::SignedList`]). Not looked into here.
    pub signed: String,
}

/// One record of a control plane's topic as it lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlEntry {
    /// Where.
    pub offset: u64,
    /// Its bytes; none where it was erased.
    pub bytes: Vec<u8>,
}

/// Some of them in order, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPage {
    /// In the order of their offsets, which need not be dense.
    pub records: Vec<ControlEntry>,
    /// Where the next page begins.
    pub next: u64,
    /// Whether this page reached the end as it was when it was read.
    pub at_end: bool,
}

/// The ordered records behind a control plane, as `ship` carries them between regions, both ways. Which of them take effect
/// where they arrive is decided there: the home's decisions at the standby, facts at both.
pub trait ControlLog: Send + Sync {
    /// Names this topic. Another id means another topic.
    fn log_id(&self) -> LogId;

    /// One past the last record.
    fn head(&self) -> BoxFuture<'_, Result<u64>>;

    /// Records from an offset on, at most `limit`.
    ///
    /// # Errors
    /// `BeyondEnd` when the topic ends before `from`.
    fn records(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<ControlPage>>;

    /// Appends copies of another topic's records, in their order, durable and in force before it answers with how many were new
    /// here. Repeating it is harmless; what came from this topic in its last hop is passed over.
    fn import(&self, from: LogId, entries: Vec<ControlEntry>) -> BoxFuture<'_, Result<u64>>;

    /// How far another topic was copied: where to go on. What was passed over does not count.
    fn imported(&self, from: LogId) -> BoxFuture<'_, Result<u64>>;
}

/// The control plane.
///
/// *Facts* (a document's first generation, bindings, leases, the audit) are written in every region. *Decisions* ([`Control::delete`],
/// [`Control::set_rights`], [`Control::publish_endpoints`], and [`Control::create`] of a later generation) only at the home, in the epoch in force: elsewhere
/// they answer `NotHome`, and one that an epoch's beginning overtook answers `Fenced`.
pub trait Control: Send + Sync {
    /// The epoch its decisions are made in. An embedded region has one for ever: 0.
    fn epoch(&self) -> u64;

    /// Who decides, as far as is known here.
    fn standing(&self) -> Standing;

    /// Begins an epoch whose home is that region: decisions of earlier ones are refused from then on. Beginning the present
    /// one again is harmless.
    ///
    /// # Errors
    /// `Fenced` when an epoch as late or later has begun; `Invalid` where there is one epoch for ever.
    fn begin_epoch<'a>(&'a self, epoch: u64, home: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Publishes the list of endpoints that was signed in this epoch, in the place of the one before: it reaches the other region
    /// as every decision does.
    ///
    /// # Errors
    /// `Fenced` when another epoch is in force, so that an older list never replaces a newer one; `Invalid` when the list is longer
    /// than any client takes, or where there is no other region to list.
    fn publish_endpoints<'a>(&'a self, epoch: u64, signed: &'a str) -> BoxFuture<'a, Result<()>>;

    /// The list of endpoints published last; `None`: none ever was.
    fn endpoints(&self) -> BoxFuture<'_, Result<Option<SignedEndpoints>>>;

    /// Creates a document, in generation 1 or in the one after its deleted one, and makes its creator `admin`.
    ///
    /// # Errors
    /// `Exists` when it is there.
    fn create(&self, new: NewDocument) -> BoxFuture<'_, Result<DocumentInfo>>;

    /// The newest generation of a document, deleted or not; `None` when it never was.
    fn document<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Option<DocumentInfo>>>;

    /// Documents that are there (not the deleted ones), by tenant and prefix, in the order of their ids' bytes.
    fn list<'a>(&'a self, query: &'a DocumentQuery) -> BoxFuture<'a, Result<DocumentPage>>;

    /// Deletes one generation of a document: its rights end and it is not listed any more; what is kept of it goes by the
    /// cleanup. Deleting it again is harmless.
    ///
    /// # Errors
    /// `NotFound` when it never was; `Conflict` when `key` is not the newest generation.
    fn delete<'a>(&'a self, key: &'a DocumentKey, now_ms: u64) -> BoxFuture<'a, Result<()>>;

    /// Deleted generations whose deletion is older than `before_ms`, for the cleanup, at most `limit`.
    fn deleted(&self, before_ms: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DocumentKey>>>;

    /// Forgets the bindings and leases of a deleted generation, whose contents have been erased.
    fn forget<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<()>>;

    /// Sets a principal's rights on a document; `Rights::None` removes them.
    ///
    /// # Errors
    /// `NotFound` when the document is not there, `Gone` when it is deleted.
    fn set_rights<'a>(
        &'a self,
        document: &'a DocumentId,
        principal: &'a str,
        rights: Rights,
    ) -> BoxFuture<'a, Result<()>>;

    /// A principal's rights on a document; `Rights::None` when nothing was set or the document is deleted.
    fn rights<'a>(&'a self, document: &'a DocumentId, principal: &'a str) -> BoxFuture<'a, Result<Rights>>;

    /// Every principal with rights on a document, in the order of their names' bytes.
    fn rights_of<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Vec<(String, Rights)>>>;

    /// Rights, deletes and later generations decided from a place on, wherever they were made, for those who act on earlier ones.
    /// Each is told when it is in force here. `None`: nothing yet, only where to begin.
    ///
    /// # Errors
    /// `BeyondEnd` or `Gone` when that place is not there: anything may have been decided.
    fn decided(&self, from: Option<u64>) -> BoxFuture<'_, Result<DecidedPage>>;

    /// Binds a site to a principal, durable before it answers and so before the site's first delta is appended. Binding it
    /// again to the same principal is harmless.
    ///
    /// # Errors
    /// `SiteTaken` when it is bound to another.
    fn bind_site<'a>(&'a self, key: &'a DocumentKey, site: SiteId, principal: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Whom a site is bound to.
    fn site_owner<'a>(&'a self, key: &'a DocumentKey, site: SiteId) -> BoxFuture<'a, Result<Option<String>>>;

    /// Leases a site to a principal and binds it: a released one of the same principal whose counter is exactly what
    /// `logged` holds, else the next index never given out.
    ///
    /// # Errors
    /// `Full` when all indices are given out.
    fn lease_site<'a>(
        &'a self,
        key: &'a DocumentKey,
        principal: &'a str,
        logged: &'a VersionVector,
    ) -> BoxFuture<'a, Result<LeasedSite>>;

    /// Gives a leased site back: its replica wrote up to `counter`, has it acked at the highest level and has forgotten
    /// the site. Without this call a site is never given out again.
    ///
    /// # Errors
    /// `SiteTaken` when it is not this principal's; `Invalid` when it is no leased site of this control plane;
    /// `Conflict` when `counter` is below one it was released or leased with.
    fn release_site<'a>(
        &'a self,
        key: &'a DocumentKey,
        site: SiteId,
        principal: &'a str,
        counter: u64,
    ) -> BoxFuture<'a, Result<()>>;

    /// Writes a line of the audit.
    fn audit(&self, entry: AuditEntry) -> BoxFuture<'_, Result<()>>;

    /// The newest lines of the audit, newest first, of one document or of all.
    fn audit_log<'a>(
        &'a self,
        document: Option<&'a DocumentId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>>>;
}
