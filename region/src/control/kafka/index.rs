//! What is asked of an index of the topic, whether it stands in PostgreSQL or in memory.

use futures_util::future::BoxFuture;
use selvedge_engine::SiteId;
use selvedge_protocol::Rights;

use super::record::Change;
use super::rules::Cut;
use crate::control::{AuditEntry, DocumentInfo, DocumentPage, DocumentQuery, SignedEndpoints, Standing};
use crate::ops::DocumentKey;
use crate::{DocumentId, LogId, Result};

/// A generation of a document, and the nonce of the record that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DocumentRow {
    pub(super) info: DocumentInfo,
    pub(super) record: u64,
    /// That record was copied from another region.
    pub(super) copied: bool,
}

/// A principal's rights on a document, and the nonce of the record that says so; 0: they came with its creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RightsRow {
    pub(super) rights: Rights,
    pub(super) record: u64,
}

/// A site as it is in the topic and in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SiteRow {
    pub(super) principal: String,
    /// The last counter used before the present lease; `None`: not leased.
    pub(super) leased_from: Option<u64>,
    /// The counter it was released with.
    pub(super) released: Option<u64>,
    pub(super) version: u64,
    /// The nonce of the record that says so.
    pub(super) record: u64,
    /// That record was copied from another region.
    pub(super) copied: bool,
}

impl SiteRow {
    pub(super) fn change(&self, key: &DocumentKey, site: SiteId) -> Change {
        Change::Site {
            document: key.document.as_str().to_owned(),
            generation: key.generation,
            site: site.get(),
            principal: self.principal.clone(),
            version: self.version,
            leased_from: self.leased_from,
            released: self.released,
        }
    }
}

/// The list of endpoints in force, and the nonce of the record that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndpointsRow {
    pub(super) list: SignedEndpoints,
    pub(super) record: u64,
}

/// What came of a record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Applied {
    /// Nonces of records that need not be kept: without effect, or facts that were replaced. Replaced decisions are kept, for the
    /// one that replaced them may be undone.
    pub(super) litter: Vec<u64>,
    /// The index has to be made again without these.
    pub(super) cut: Option<Cut>,
}

/// The index as it was when it was last brought up to date.
pub(super) trait Index: Send + Sync {
    /// Brings it up to date with the topic: at least up to `to`, or up to its present end. Answers the standing there.
    fn catch_up(&self, to: Option<u64>) -> BoxFuture<'_, Result<Standing>>;

    fn document<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Option<DocumentRow>>>;

    fn list<'a>(&'a self, query: &'a DocumentQuery) -> BoxFuture<'a, Result<DocumentPage>>;

    fn deleted(&self, before_ms: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DocumentKey>>>;

    fn is_deleted<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<bool>>;

    fn rights<'a>(&'a self, document: &'a DocumentId, principal: &'a str) -> BoxFuture<'a, Result<Option<RightsRow>>>;

    /// Without those who have none, in the order of names.
    fn rights_of<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Vec<(String, Rights)>>>;

    fn site<'a>(&'a self, key: &'a DocumentKey, site: SiteId) -> BoxFuture<'a, Result<Option<SiteRow>>>;

    /// Sites that region `region` leased to this principal and has back.
    fn released<'a>(
        &'a self,
        key: &'a DocumentKey,
        principal: &'a str,
        region: u8,
    ) -> BoxFuture<'a, Result<Vec<(SiteId, SiteRow)>>>;

    /// The highest index that region `region` has leased.
    fn last_leased<'a>(&'a self, key: &'a DocumentKey, region: u8) -> BoxFuture<'a, Result<Option<u32>>>;

    fn audit_log<'a>(
        &'a self,
        document: Option<&'a DocumentId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>>>;

    fn endpoints(&self) -> BoxFuture<'_, Result<Option<EndpointsRow>>>;

    /// How much of each other topic was copied here: one past the last.
    fn heard(&self) -> BoxFuture<'_, Result<Vec<(LogId, u64)>>>;
}

pub(super) const fn rights_number(rights: Rights) -> u8 {
    match rights {
        Rights::None => 0,
        Rights::Read => 1,
        Rights::Write => 2,
        Rights::Admin => 3,
    }
}

/// An unknown number gives nothing.
pub(super) const fn rights_from(number: u8) -> Rights {
    match number {
        1 => Rights::Read,
        2 => Rights::Write,
        3 => Rights::Admin,
        _ => Rights::None,
    }
}
