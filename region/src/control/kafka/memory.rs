//! The index in this process' memory: what answers while PostgreSQL is away. Made from the topic when it is needed, and let go
//! when it is not.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use selvedge_engine::{SiteId, SiteKind};
use selvedge_protocol::Rights;
use tokio::sync::Mutex;

use super::index::{Applied, DocumentRow, EndpointsRow, Index, RightsRow, SiteRow, rights_from};
use super::record::{Change, ControlRecord, document_of};
use super::rules::{self, Cut};
use super::topic::{ControlTopic, WHAT};
use crate::control::{AuditEntry, DocumentInfo, DocumentPage, DocumentQuery, SignedEndpoints, Standing};
use crate::ops::DocumentKey;
use crate::{DocumentId, Error, LogId, Result};

/// Bytes of the topic that are kept in memory: a control plane with more of them waits for PostgreSQL.
const BYTES_MAX: usize = 256 * 1024 * 1024;
const AUDIT_MAX: usize = 10_000;

/// See the module.
pub(super) struct MemoryIndex {
    topic: Arc<ControlTopic>,
    own: String,
    home: String,
    folded: Mutex<Folded>,
}

impl MemoryIndex {
    pub(super) fn new(topic: Arc<ControlTopic>, own: String, home: String) -> Self {
        let folded = Mutex::new(Folded::new(topic.id(), &own, &home));
        Self { topic, own, home, folded }
    }

    /// Lets go of everything.
    pub(super) async fn clear(&self) {
        *self.folded.lock().await = self.empty();
    }

    fn empty(&self) -> Folded {
        Folded::new(self.topic.id(), &self.own, &self.home)
    }

    async fn bring_up(&self, to: Option<u64>) -> Result<Standing> {
        let mut folded = self.folded.lock().await;
        while to.is_none_or(|to| folded.next < to) {
            let page = self.topic.read(folded.next, usize::MAX).await?;
            let cut = page.records.iter().find_map(|(offset, bytes)| folded.take(*offset, bytes));
            if let Some(cut) = cut {
                let mut cuts = std::mem::take(&mut folded.cuts);
                cuts.push(cut);
                *folded = Folded { cuts, ..self.empty() };
                continue;
            }
            folded.next = page.next;
            if folded.bytes > BYTES_MAX {
                let source = format!("the topic has more than the {BYTES_MAX} bytes that are kept in memory");
                *folded = self.empty();
                return Err(Error::Unavailable { what: WHAT, source: Some(source.into()) });
            }
            if page.at_end {
                break;
            }
        }
        Ok(folded.standing.clone())
    }
}

/// The fold of the topic.
pub(super) struct Folded {
    topic: LogId,
    own: String,
    cuts: Vec<Cut>,
    standing: Standing,
    next: u64,
    bytes: usize,
    documents: BTreeMap<DocumentId, DocumentRow>,
    deleted: BTreeMap<(DocumentId, u64), u64>,
    rights: BTreeMap<(DocumentId, String), RightsRow>,
    sites: BTreeMap<(DocumentId, u64, SiteId), SiteRow>,
    audit: Vec<AuditEntry>,
    heard: BTreeMap<u128, u64>,
    endpoints: Option<EndpointsRow>,
}

impl Folded {
    pub(super) fn new(topic: LogId, own: &str, home: &str) -> Self {
        Self {
            topic,
            own: own.to_owned(),
            cuts: Vec::new(),
            standing: Standing { epoch: 0, home: home.to_owned() },
            next: 0,
            bytes: 0,
            documents: BTreeMap::new(),
            deleted: BTreeMap::new(),
            rights: BTreeMap::new(),
            sites: BTreeMap::new(),
            audit: Vec::new(),
            heard: BTreeMap::new(),
            endpoints: None,
        }
    }

    fn take(&mut self, offset: u64, bytes: &[u8]) -> Option<Cut> {
        if bytes.is_empty() {
            return None;
        }
        self.bytes += bytes.len();
        match ControlRecord::decode(bytes).and_then(|record| self.apply(offset, &record)) {
            Ok(applied) => applied.cut,
            Err(error) => {
                tracing::error!(offset, %error, "a record of the control plane is passed over");
                None
            }
        }
    }

    /// Applies one record, in the order of the topic.
    pub(super) fn apply(&mut self, offset: u64, record: &ControlRecord) -> Result<Applied> {
        let mut applied = Applied::default();
        if self.cuts.iter().any(|cut| cut.undoes(record, offset)) {
            return Ok(applied);
        }
        if let Some(origin) = record.origin {
            let heard = self.heard.entry(origin.log).or_default();
            if origin.offset < *heard {
                // Copied twice. It has the name of the first copy, which must stay.
                return Ok(applied);
            }
            *heard = origin.offset + 1;
        }
        if !rules::admits(&self.standing, record) || !self.change(record, &mut applied)? {
            applied.litter.push(record.nonce);
        } else {
            applied.cut = Cut::of(record, offset, self.topic).filter(|cut| !self.cuts.contains(cut));
        }
        Ok(applied)
    }

    fn change(&mut self, record: &ControlRecord, applied: &mut Applied) -> Result<bool> {
        let overrides = rules::overrides(&self.standing, &self.own, record);
        Ok(match &record.change {
            Change::Epoch { home, .. } => {
                self.standing = Standing { epoch: record.epoch, home: home.clone() };
                true
            }
            Change::Document { document, generation, creator, created_ms, deleted_ms } => {
                let document = document_of(document)?;
                let known = self.documents.get(&document);
                let info = DocumentInfo {
                    document: document.clone(),
                    generation: *generation,
                    creator: creator.clone(),
                    created_ms: *created_ms,
                    deleted_ms: *deleted_ms,
                };
                if !rules::document_follows(known, &info, overrides) {
                    return Ok(false);
                }
                self.drop_rights(&document);
                match deleted_ms {
                    Some(at) => drop(self.deleted.insert((document.clone(), *generation), *at)),
                    None => {
                        let row = RightsRow { rights: Rights::Admin, record: 0 };
                        self.rights.insert((document.clone(), creator.clone()), row);
                    }
                }
                let copied = record.origin.is_some();
                self.documents.insert(document, DocumentRow { info, record: record.nonce, copied });
                true
            }
            Change::Forgotten { document, generation } => {
                let document = document_of(document)?;
                let all = (document.clone(), *generation, SiteId::new(0))
                    ..=(document.clone(), *generation, SiteId::new(u64::MAX));
                let sites: Vec<_> = self.sites.range(all).map(|(key, row)| (key.clone(), row.record)).collect();
                for (key, record) in sites {
                    self.sites.remove(&key);
                    applied.litter.push(record);
                }
                self.deleted.remove(&(document, *generation)).is_some()
            }
            Change::Rights { document, principal, rights } => {
                let document = document_of(document)?;
                if self.documents.get(&document).is_none_or(|row| row.info.deleted_ms.is_some()) {
                    return Ok(false);
                }
                let row = RightsRow { rights: rights_from(*rights), record: record.nonce };
                self.rights.insert((document, principal.clone()), row);
                true
            }
            Change::Site { document, generation, site, principal, version, leased_from, released } => {
                let key = (document_of(document)?, *generation, SiteId::new(*site));
                let row = SiteRow {
                    principal: principal.clone(),
                    leased_from: *leased_from,
                    released: *released,
                    version: *version,
                    record: record.nonce,
                    copied: record.origin.is_some(),
                };
                if !rules::site_follows(self.sites.get(&key), &row, overrides) {
                    return Ok(false);
                }
                applied.litter.extend(self.sites.insert(key, row).map(|row| row.record));
                true
            }
            Change::Audit { at_ms, principal, action, document, detail } => {
                let document = document.as_deref().map(document_of).transpose()?;
                let (principal, action, detail) = (principal.clone(), action.clone(), detail.clone());
                self.audit.push(AuditEntry { at_ms: *at_ms, principal, action, document, detail });
                if self.audit.len() > AUDIT_MAX {
                    self.audit.drain(..AUDIT_MAX / 10);
                }
                true
            }
            Change::Endpoints { signed } => {
                let list = SignedEndpoints { epoch: record.epoch, signed: signed.clone() };
                self.endpoints = Some(EndpointsRow { list, record: record.nonce });
                true
            }
        })
    }

    fn drop_rights(&mut self, document: &DocumentId) {
        let names: Vec<(DocumentId, String)> = self.rights_of(document).map(|(key, _)| key.clone()).collect();
        for name in names {
            self.rights.remove(&name);
        }
    }

    fn rights_of(&self, document: &DocumentId) -> impl Iterator<Item = (&(DocumentId, String), &RightsRow)> {
        let from = (document.clone(), String::new());
        let own = document.clone();
        self.rights.range(from..).take_while(move |((document, _), _)| *document == own)
    }
}

impl Index for MemoryIndex {
    fn catch_up(&self, to: Option<u64>) -> BoxFuture<'_, Result<Standing>> {
        Box::pin(self.bring_up(to))
    }

    fn document<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Option<DocumentRow>>> {
        Box::pin(async move { Ok(self.folded.lock().await.documents.get(document).cloned()) })
    }

    fn list<'a>(&'a self, query: &'a DocumentQuery) -> BoxFuture<'a, Result<DocumentPage>> {
        Box::pin(async move {
            let folded = self.folded.lock().await;
            let limit = query.limit.clamp(1, 10_000);
            let begin = format!("{}/{}", query.tenant, query.prefix);
            let after = query.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
            let found = folded.documents.range((after, Bound::Unbounded)).map(|(_, row)| &row.info);
            let mut found =
                found.filter(|info| info.deleted_ms.is_none() && info.document.as_str().starts_with(&begin));
            let documents: Vec<DocumentInfo> = found.by_ref().take(limit).cloned().collect();
            let more = found.next().is_some();
            let next = documents.last().map(|info| info.document.clone()).filter(|_| more);
            Ok(DocumentPage { documents, next })
        })
    }

    fn deleted(&self, before_ms: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DocumentKey>>> {
        Box::pin(async move {
            let folded = self.folded.lock().await;
            let mut due: Vec<_> = folded.deleted.iter().filter(|(_, at)| **at < before_ms).collect();
            due.sort_by_key(|(_, at)| **at);
            let keys = due.into_iter().take(limit);
            Ok(keys.map(|((document, generation), _)| DocumentKey::new(document.clone(), *generation)).collect())
        })
    }

    fn is_deleted<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<bool>> {
        Box::pin(
            async move { Ok(self.folded.lock().await.deleted.contains_key(&(key.document.clone(), key.generation))) },
        )
    }

    fn rights<'a>(&'a self, document: &'a DocumentId, principal: &'a str) -> BoxFuture<'a, Result<Option<RightsRow>>> {
        Box::pin(
            async move { Ok(self.folded.lock().await.rights.get(&(document.clone(), principal.to_owned())).copied()) },
        )
    }

    fn rights_of<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Vec<(String, Rights)>>> {
        Box::pin(async move {
            let folded = self.folded.lock().await;
            let holders = folded.rights_of(document).filter(|(_, row)| row.rights != Rights::None);
            Ok(holders.map(|((_, principal), row)| (principal.clone(), row.rights)).collect())
        })
    }

    fn site<'a>(&'a self, key: &'a DocumentKey, site: SiteId) -> BoxFuture<'a, Result<Option<SiteRow>>> {
        Box::pin(async move {
            Ok(self.folded.lock().await.sites.get(&(key.document.clone(), key.generation, site)).cloned())
        })
    }

    fn released<'a>(
        &'a self,
        key: &'a DocumentKey,
        principal: &'a str,
        region: u8,
    ) -> BoxFuture<'a, Result<Vec<(SiteId, SiteRow)>>> {
        Box::pin(async move {
            let folded = self.folded.lock().await;
            let leased = leased_by(&folded, key, region);
            let back = leased.filter(|(_, row)| row.principal == principal && row.released.is_some());
            Ok(back.map(|(site, row)| (site, row.clone())).collect())
        })
    }

    fn last_leased<'a>(&'a self, key: &'a DocumentKey, region: u8) -> BoxFuture<'a, Result<Option<u32>>> {
        Box::pin(async move {
            let folded = self.folded.lock().await;
            let leased = leased_by(&folded, key, region).filter(|(_, row)| row.leased_from.is_some());
            Ok(leased.filter_map(|(site, _)| index_of(site)).max())
        })
    }

    fn audit_log<'a>(
        &'a self,
        document: Option<&'a DocumentId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>>> {
        Box::pin(async move {
            let folded = self.folded.lock().await;
            let wanted =
                |entry: &&AuditEntry| document.is_none_or(|document| entry.document.as_ref() == Some(document));
            Ok(folded.audit.iter().rev().filter(wanted).take(limit).cloned().collect())
        })
    }

    fn endpoints(&self) -> BoxFuture<'_, Result<Option<EndpointsRow>>> {
        Box::pin(async move { Ok(self.folded.lock().await.endpoints.clone()) })
    }

    fn heard(&self) -> BoxFuture<'_, Result<Vec<(LogId, u64)>>> {
        Box::pin(
            async move { Ok(self.folded.lock().await.heard.iter().map(|(&log, &next)| (LogId(log), next)).collect()) },
        )
    }
}

fn leased_by<'a>(folded: &'a Folded, key: &DocumentKey, region: u8) -> impl Iterator<Item = (SiteId, &'a SiteRow)> {
    let site = |index| (key.document.clone(), key.generation, SiteId::leased(region, index));
    folded.sites.range(site(0)..=site(INDEX_MAX)).map(|((_, _, site), row)| (*site, row))
}

/// The last index a region can lease: 23 bits.
pub(super) const INDEX_MAX: u32 = (1 << 23) - 1;

pub(super) fn index_of(site: SiteId) -> Option<u32> {
    match site.kind() {
        SiteKind::Leased { index, .. } => Some(index),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::Origin;
    use super::*;

    fn change(kind: u8, who: u8, number: u64) -> Change {
        let document = format!("t/{}", number % 2);
        let principal = format!("p{}", who % 3);
        match kind {
            0 => Change::Document { document, generation: 1, creator: principal, created_ms: 1, deleted_ms: None },
            1 => Change::Rights { document, principal, rights: who % 4 },
            2 => Change::Document { document, generation: 1, creator: principal, created_ms: 1, deleted_ms: Some(5) },
            3 => Change::Epoch { home: if who.is_multiple_of(2) { "a".into() } else { "b".into() }, heard: Vec::new() },
            4 => Change::Endpoints { signed: number.to_string() },
            _ => Change::Site {
                document,
                generation: 1,
                site: SiteId::leased(1, who.into()).get(),
                principal,
                version: number % 4,
                leased_from: Some(number % 3),
                released: None,
            },
        }
    }

    /// What is known, whichever way it came.
    fn rows(folded: &Folded) -> impl PartialEq + std::fmt::Debug + use<> {
        let documents: Vec<_> = folded.documents.values().map(|row| row.info.clone()).collect();
        let site =
            |(key, row): (&(DocumentId, u64, SiteId), &SiteRow)| (key.clone(), row.principal.clone(), row.version);
        let sites: Vec<_> = folded.sites.iter().map(site).collect();
        let endpoints = folded.endpoints.as_ref().map(|row| row.list.clone());
        (folded.standing.clone(), documents, folded.rights.clone(), sites, endpoints)
    }

    proptest! {
        /// What is erased from the topic as litter changes nothing for whoever reads it afterwards.
        #[test]
        fn erased_records_are_not_missed(
            steps in prop::collection::vec((0_u8..7, 0_u8..4, 0_u64..8, 0_u64..3, any::<bool>()), 1..60)
        ) {
            let mut records = Vec::new();
            for (nonce, (kind, who, number, epoch, ours)) in (1..).zip(steps) {
                let author = if ours { "a" } else { "b" }.to_owned();
                records.push(ControlRecord { nonce, epoch, author, origin: None, change: change(kind, who, number) });
            }
            let mut all = Folded::new(LogId(1), "a", "a");
            let mut litter = Vec::new();
            for record in &records {
                litter.extend(all.apply(record.nonce, record).unwrap().litter);
            }
            let mut kept = Folded::new(LogId(1), "a", "a");
            for record in records.iter().filter(|record| !litter.contains(&record.nonce)) {
                prop_assert!(kept.apply(record.nonce, record).unwrap().litter.is_empty());
            }
            prop_assert_eq!(rows(&all), rows(&kept));
        }

        /// A standby that copies the home's topic, however often, comes to the home's decisions.
        #[test]
        fn a_copy_holds_what_the_home_decided(
            steps in prop::collection::vec((0_u8..7, 0_u8..4, 0_u64..8), 1..40), again in 1_usize..3
        ) {
            let mut home = Folded::new(LogId(9), "a", "a");
            let mut standby = Folded::new(LogId(8), "b", "a");
            let (mut copies, mut litter) = (Vec::new(), Vec::new());
            let mut epoch = 0;
            for (offset, (kind, who, number)) in (0_u64..).zip(steps) {
                let change = match change(kind, who, number) {
                    Change::Epoch { heard, .. } => Change::Epoch { home: "a".into(), heard },
                    other => other,
                };
                epoch += u64::from(matches!(change, Change::Epoch { .. }));
                let record = ControlRecord { nonce: offset + 1, epoch, author: "a".into(), origin: None, change };
                home.apply(offset, &record).unwrap();
                let copy = ControlRecord { origin: Some(Origin { log: 9, offset }), ..record };
                for _ in 0..again {
                    litter.extend(standby.apply(offset, &copy).unwrap().litter);
                    copies.push((offset, copy.clone()));
                }
            }
            prop_assert_eq!(rows(&home), rows(&standby));
            let mut kept = Folded::new(LogId(8), "b", "a");
            for (offset, copy) in copies.iter().filter(|(_, copy)| !litter.contains(&copy.nonce)) {
                kept.apply(*offset, copy).unwrap();
            }
            prop_assert_eq!(rows(&standby), rows(&kept), "what is erased by name was without effect");
        }
    }
}
