//! The control plane of a region: documents and their generations, rights, who owns which site, and the audit.
//!
//! Rare, small and decisive: every decision carries the epoch it was made in, and one made in an ended epoch is refused.
//! Instants are milliseconds of wall time given by the caller; nothing is decided by them.

#[doc(hidden)]
pub mod contract;
pub(crate) mod embedded;

use futures_util::future::BoxFuture;
use selvedge_engine::{SiteId, VersionVector};
use selvedge_protocol::Rights;

use crate::ops::DocumentKey;
use crate::{DocumentId, Result};

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

/// The control plane.
pub trait Control: Send + Sync {
    /// The epoch its decisions are made in. An embedded region has one for ever: 0.
    fn epoch(&self) -> u64;

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
