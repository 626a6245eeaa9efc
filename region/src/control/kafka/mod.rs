//! The control plane of a region on the compacted Kafka topic `control`, with PostgreSQL as its index.
//!
//! ```text
//! ask ──► index (PostgreSQL; memory while that is away)
//! change ──► checked against the index ──► proposal appended ──► index brought up to it ──► did it take effect?
//! ```
//!
//! The topic is the truth and its order the arbiter ([`rules`]): relays of one region need no lock between them, and losing
//! PostgreSQL costs time. *Facts* (site bindings, leases of this region's own sites, the audit, a document's implicit first
//! generation) are written by every region in its own topic, so that nobody who opens or writes a document depends on another
//! region. *Decisions* (rights, deletes, later generations) are the home's alone, in the present epoch; elsewhere they answer
//! `NotHome`. `ship` carries the topics both ways ([`ControlLog`]).
//!
//! Whoever brings the index up holds its lock meanwhile. So nobody does over the link between regions: a link that falls silent
//! would keep the lock, and with it every writer who is new to that region. A process of the region itself that is halted
//! halfway loses the lock after a second ([`postgres`]).

mod index;
mod memory;
mod postgres;
mod rules;
mod topic;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use selvedge_engine::{SiteId, SiteKind, VersionVector};
use selvedge_protocol::{Rights, SIGNED_LIST_BYTES_MAX};
use tokio::task::JoinHandle;

use super::record::{self, Change, ControlRecord, Origin, document_of};
use super::{
    AuditEntry, Control, ControlEntry, ControlLog, ControlPage, Decided, DecidedPage, DocumentInfo, DocumentPage,
    DocumentQuery, LeasedSite, NewDocument, SignedEndpoints, Standing,
};
use crate::log::kafka::KafkaOptions;
use crate::ops::DocumentKey;
use crate::regional::postgres::Postgres;
use crate::{DocumentId, Error, LogId, Result};
use index::{Index, SiteRow, rights_number};
use memory::{INDEX_MAX, MemoryIndex};
use postgres::PostgresIndex;
use topic::{ControlTopic, WHAT};

/// A question to PostgreSQL that takes longer is asked of the index in memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How often the index is brought up to date although nobody asks, e.g. with what a process appended that died before it applied it.
const TICK: Duration = Duration::from_secs(1);
/// Bringing up to date may take so long: an index that is made anew reads the whole topic.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(600);
/// Proposals of one call that others forestall before it gives up.
const ATTEMPTS_MAX: usize = 64;
/// Records looked through at once for decisions.
const DECIDED_PAGE: usize = 500;
/// Documents whose next index is remembered.
const LEASES_MAX: usize = 10_000;

/// Who this region is to the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlOptions {
    /// This region's name.
    pub region: String,
    /// Its number, which its leased sites carry. Unique among the regions, and never another one's later.
    pub number: u8,
    /// The home before the first epoch is begun: the same in every region.
    pub home: String,
    /// Looked at from another region: the topic is read and appended to, and the index is left to the region's own processes.
    pub far: bool,
}

/// The control plane of a region on Kafka and PostgreSQL.
pub struct KafkaControl {
    shared: Arc<Shared>,
    /// Keeps the index up to date, unless the region is far.
    ticking: Option<JoinHandle<()>>,
}

struct Shared {
    options: ControlOptions,
    topic: Arc<ControlTopic>,
    postgres: PostgresIndex,
    memory: MemoryIndex,
    /// PostgreSQL does not answer: the index in memory does, until PostgreSQL is up to date again. Of a far region: always.
    away: AtomicBool,
    standing: RwLock<Standing>,
    /// The next index that this process proposes to lease, so that its own proposals do not contradict each other.
    leases: std::sync::Mutex<HashMap<DocumentKey, u32>>,
}

/// Asks the index, and the other one when PostgreSQL turns out to be away.
macro_rules! ask {
    ($shared:expr, $index:ident => $call:expr) => {{
        let $index = $shared.index().await?;
        match tokio::time::timeout(ANSWER_WITHIN, $call).await {
            Ok(Err(error)) if $shared.is_lost(&error) => {
                let $index = $shared.index().await?;
                $call.await
            }
            Err(_) if $shared.lose() => {
                let $index = $shared.index().await?;
                $call.await
            }
            Err(elapsed) => Err(Error::Unavailable { what: WHAT, source: Some(elapsed.into()) }),
            Ok(answer) => answer,
        }
    }};
}

impl KafkaControl {
    /// Opens the topic, which is created when it is missing, and brings the index up to its end. Of a far region the topic is
    /// read into memory, as where PostgreSQL is away.
    ///
    /// # Errors
    /// `Unavailable` when Kafka or PostgreSQL does not answer; `Corrupt` when the index holds what no record says.
    pub fn open<'a>(
        kafka: &'a KafkaOptions,
        postgres: Postgres,
        options: ControlOptions,
    ) -> BoxFuture<'a, Result<Self>> {
        Box::pin(async move {
            let topic = Arc::new(ControlTopic::open(kafka).await?);
            let (own, home) = (options.region.clone(), options.home.clone());
            let standing = RwLock::new(Standing { epoch: 0, home: home.clone() });
            let far = options.far;
            let shared = Arc::new(Shared {
                postgres: PostgresIndex::new(Arc::clone(&topic), postgres.clone(), own.clone(), home.clone()),
                memory: MemoryIndex::new(Arc::clone(&topic), own, home),
                options,
                topic,
                away: AtomicBool::new(far),
                standing,
                leases: std::sync::Mutex::default(),
            });
            if far {
                shared.index().await?;
                return Ok(Self { shared, ticking: None });
            }
            shared.tick().await?;
            let ticking = tokio::spawn(keep_up(Arc::clone(&shared), postgres));
            Ok(Self { shared, ticking: Some(ticking) })
        })
    }

    /// From now on there is no room for anything, or there is again: a full queue, for the contract suite.
    pub(crate) fn fill(&self, full: bool) {
        self.shared.topic.fill(full);
    }

    /// Whether the brokers hold its records back, as far as they have said: for the contract suite.
    pub(crate) fn is_throttled(&self) -> bool {
        self.shared.topic.is_throttled()
    }

    /// How it reaches its brokers.
    pub(crate) fn kafka(&self) -> &KafkaOptions {
        self.shared.topic.options()
    }

    /// Writes a record that changes nothing: it erases what no record is called. For the contract suite.
    pub(crate) async fn write_void(&self) -> Result<()> {
        self.shared.topic.try_erase(&[0]).await
    }

    fn stop_ticking(&self) {
        if let Some(ticking) = &self.ticking {
            ticking.abort();
        }
    }

    /// Stops keeping the index up to date and waits for what is on its way.
    pub async fn close(&self) {
        self.stop_ticking();
        self.shared.topic.close().await;
    }
}

impl Drop for KafkaControl {
    fn drop(&mut self) {
        self.stop_ticking();
    }
}

/// Brings the index in PostgreSQL up to date every now and then, and makes it again where it is gone.
async fn keep_up(shared: Arc<Shared>, postgres: Postgres) {
    loop {
        tokio::time::sleep(TICK).await;
        match shared.tick().await {
            Ok(()) => {
                if shared.away.swap(false, Ordering::AcqRel) {
                    tracing::info!("the index of the control plane is back");
                    shared.memory.clear().await;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the index of the control plane cannot be brought up to date");
                if matches!(error, Error::Unavailable { .. })
                    && let Err(error) = postgres.migrate().await
                {
                    tracing::debug!(%error, "nor can its tables be made");
                }
            }
        }
    }
}

impl Shared {
    async fn tick(&self) -> Result<()> {
        let standing = tokio::time::timeout(CATCH_UP_WITHIN, self.postgres.catch_up(None)).await;
        let standing = standing.map_err(|error| Error::Unavailable { what: WHAT, source: Some(error.into()) })??;
        self.stand(standing);
        Ok(())
    }

    fn stand(&self, standing: Standing) {
        *self.standing.write().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    fn standing(&self) -> Standing {
        self.standing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The index to ask.
    async fn index(&self) -> Result<&dyn Index> {
        if !self.away.load(Ordering::Acquire) {
            return Ok(&self.postgres);
        }
        match self.memory.catch_up(None).await {
            Ok(standing) => {
                self.stand(standing);
                Ok(&self.memory)
            }
            Err(error) => {
                // Then PostgreSQL is asked as it stands: it may answer though it cannot be brought up to date.
                tracing::debug!(%error, "the topic of the control plane cannot be read");
                Ok(&self.postgres)
            }
        }
    }

    /// Whether this error says that PostgreSQL is away, which was not known yet.
    fn is_lost(&self, error: &Error) -> bool {
        let lost = matches!(error, Error::Unavailable { .. } | Error::Throttled { .. } | Error::Closed { .. });
        lost && self.lose()
    }

    fn lose(&self) -> bool {
        let new = !self.away.swap(true, Ordering::AcqRel);
        if new {
            tracing::warn!("PostgreSQL does not answer: the control plane is read from its topic");
        }
        new
    }

    /// Brings the index up to `to`.
    async fn catch_up(&self, to: u64) -> Result<()> {
        let standing = ask!(self, index => index.catch_up(Some(to)))?;
        self.stand(standing);
        Ok(())
    }

    /// Appends a proposal and brings the index past it. Answers its nonce, by which it is found if it took effect.
    async fn propose(&self, change: Change) -> Result<u64> {
        let nonce = rand::random::<u64>().max(1);
        let record = ControlRecord {
            nonce,
            epoch: match &change {
                Change::Epoch { .. } => return Err(Error::Invalid("an epoch is begun, not proposed".to_owned())),
                _ => self.standing().epoch,
            },
            author: self.options.region.clone(),
            origin: None,
            change,
        };
        self.append(&[record]).await?;
        Ok(nonce)
    }

    async fn append(&self, records: &[ControlRecord]) -> Result<()> {
        let Some(last) = self.topic.append(records).await?.into_iter().max() else { return Ok(()) };
        self.catch_up(last + 1).await
    }

    /// Refuses a decision that is not this region's to make. Answers the epoch it is made in.
    fn decide(&self) -> Result<u64> {
        let Standing { epoch, home } = self.standing();
        if home == self.options.region { Ok(epoch) } else { Err(Error::NotHome { home, epoch }) }
    }

    /// Why a decision of `epoch` took no effect, if an epoch that began meanwhile is the reason.
    fn check_fence(&self, epoch: u64) -> Result<()> {
        let now = self.standing();
        if now.epoch == epoch { Ok(()) } else { Err(Error::Fenced { held: epoch, current: now.epoch }) }
    }

    /// An index that no other call of this process proposes.
    fn reserve(&self, key: &DocumentKey, at_least: u32) -> u32 {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        if leases.len() >= LEASES_MAX {
            // What is forgotten is found in the index again.
            leases.clear();
        }
        let next = leases.entry(key.clone()).or_default();
        let index = at_least.max(*next);
        *next = index + 1;
        index
    }

    async fn info(&self, document: &DocumentId) -> Result<Option<DocumentInfo>> {
        Ok(ask!(self, index => index.document(document))?.map(|row| row.info))
    }

    async fn create(&self, new: NewDocument) -> Result<DocumentInfo> {
        for _ in 0..ATTEMPTS_MAX {
            let known = self.info(&new.document).await?;
            if known.as_ref().is_some_and(|known| known.deleted_ms.is_none()) {
                break;
            }
            let generation = known.map_or(1, |known| known.generation + 1);
            let epoch = if generation > 1 { Some(self.decide()?) } else { None };
            let nonce = self
                .propose(Change::Document {
                    document: new.document.as_str().to_owned(),
                    generation,
                    creator: new.creator.clone(),
                    created_ms: new.now_ms,
                    deleted_ms: None,
                })
                .await?;
            match ask!(self, index => index.document(&new.document))? {
                Some(row) if row.record == nonce => return Ok(row.info),
                _ => epoch.map_or(Ok(()), |epoch| self.check_fence(epoch))?,
            }
        }
        Err(Error::Exists { what: format!("document {}", new.document) })
    }

    async fn delete(&self, key: &DocumentKey, now_ms: u64) -> Result<()> {
        let epoch = self.decide()?;
        let no_document = || Error::NotFound { what: format!("document {}", key.document) };
        let known = self.info(&key.document).await?.ok_or_else(no_document)?;
        if known.generation != key.generation {
            return Err(Error::Conflict { what: format!("document {}", key.document) });
        }
        if known.deleted_ms.is_some() {
            return Ok(());
        }
        self.propose(Change::Document {
            document: key.document.as_str().to_owned(),
            generation: key.generation,
            creator: known.creator,
            created_ms: known.created_ms,
            deleted_ms: Some(now_ms),
        })
        .await?;
        match self.info(&key.document).await? {
            Some(now) if now.generation > key.generation || now.deleted_ms.is_some() => Ok(()),
            _ => {
                self.check_fence(epoch)?;
                Err(Error::Conflict { what: format!("document {}", key.document) })
            }
        }
    }

    async fn set_rights(&self, document: &DocumentId, principal: &str, rights: Rights) -> Result<()> {
        let epoch = self.decide()?;
        let gone = || Error::Gone { what: format!("document {document}"), earliest: None };
        let known = self.info(document).await?;
        let known = known.ok_or_else(|| Error::NotFound { what: format!("document {document}") })?;
        if known.deleted_ms.is_some() {
            return Err(gone());
        }
        let nonce = self
            .propose(Change::Rights {
                document: document.as_str().to_owned(),
                principal: principal.to_owned(),
                rights: rights_number(rights),
            })
            .await?;
        // Another decision may have followed at once; what counts is that this one was let in.
        let now = ask!(self, index => index.rights(document, principal))?;
        if now.is_some_and(|row| row.record == nonce || row.rights == rights) {
            return Ok(());
        }
        self.check_fence(epoch)?;
        match self.info(document).await? {
            Some(info) if info.deleted_ms.is_none() => Ok(()),
            _ => Err(gone()),
        }
    }

    /// What the topic's records from an offset on are about. Answers when the index knows them.
    async fn decided(&self, from: Option<u64>) -> Result<DecidedPage> {
        let Some(from) = from else {
            return Ok(DecidedPage { next: self.topic.head().await?, at_end: true, ..DecidedPage::default() });
        };
        let page = self.topic.read(from, DECIDED_PAGE).await?;
        let mut told = DecidedPage { next: page.next, at_end: page.at_end, ..DecidedPage::default() };
        for (offset, bytes) in page.records.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            match ControlRecord::decode(bytes).and_then(|record| decided_by(record.change, &mut told)) {
                Ok(()) => {}
                Err(error) => tracing::error!(offset, %error, "a record of the control plane tells of no decision"),
            }
        }
        if told.anything || !told.decided.is_empty() {
            self.catch_up(told.next).await?;
        }
        Ok(told)
    }

    async fn bind_site(&self, key: &DocumentKey, site: SiteId, principal: &str) -> Result<()> {
        if let Some(row) = ask!(self, index => index.site(key, site))? {
            return if row.principal == principal { Ok(()) } else { Err(Error::SiteTaken { site }) };
        }
        let row = SiteRow {
            principal: principal.to_owned(),
            leased_from: None,
            released: None,
            version: 1,
            record: 0,
            copied: false,
        };
        self.propose(row.change(key, site)).await?;
        match ask!(self, index => index.site(key, site))? {
            Some(row) if row.principal == principal => Ok(()),
            _ => Err(Error::SiteTaken { site }),
        }
    }

    async fn lease_site(&self, key: &DocumentKey, principal: &str, logged: &VersionVector) -> Result<LeasedSite> {
        let region = self.options.number;
        for (site, row) in ask!(self, index => index.released(key, principal, region))? {
            // Fewer in the log, and some are still on their way; more, and somebody wrote on after giving it back.
            let Some(last) = row.released.filter(|&last| logged.get(site) == last) else { continue };
            let next = SiteRow { leased_from: Some(last), released: None, version: row.version + 1, ..row };
            if self.take_site(key, site, &next).await? {
                return Ok(LeasedSite { site, next_counter: last + 1 });
            }
        }
        let unused = ask!(self, index => index.last_leased(key, region))?.map_or(0, |last| last + 1);
        for _ in 0..ATTEMPTS_MAX {
            let index = self.reserve(key, unused);
            if index > INDEX_MAX {
                return Err(Error::Full { what: "the document's site index", source: None });
            }
            let site = SiteId::leased(region, index);
            let row = SiteRow {
                principal: principal.to_owned(),
                leased_from: Some(0),
                released: None,
                version: 1,
                record: 0,
                copied: false,
            };
            // Another process may have been first, or somebody bound it without a lease.
            if self.take_site(key, site, &row).await? {
                return Ok(LeasedSite { site, next_counter: 1 });
            }
        }
        Err(Error::Conflict { what: format!("the site index of {}", key.document) })
    }

    /// Proposes a site's next state; answers whether it took effect.
    async fn take_site(&self, key: &DocumentKey, site: SiteId, row: &SiteRow) -> Result<bool> {
        let nonce = self.propose(row.change(key, site)).await?;
        Ok(ask!(self, index => index.site(key, site))?.is_some_and(|row| row.record == nonce))
    }

    async fn release_site(&self, key: &DocumentKey, site: SiteId, principal: &str, last: u64) -> Result<()> {
        let not_leased = || Error::Invalid(format!("site {site} was not leased here"));
        let conflict = || Error::Conflict { what: format!("the end of site {site}") };
        let row = ask!(self, index => index.site(key, site))?.ok_or_else(not_leased)?;
        if row.principal != principal {
            return Err(Error::SiteTaken { site });
        }
        let own = matches!(site.kind(), SiteKind::Leased { region, .. } if region == self.options.number);
        let leased_from = row.leased_from.filter(|_| own).ok_or_else(not_leased)?;
        // Of two who say how far the site went, the one who wrote more is right; a copy that says less must not win.
        if last < row.released.unwrap_or(leased_from) {
            return Err(conflict());
        }
        let next = SiteRow { released: Some(last), version: row.version + 1, ..row };
        if self.take_site(key, site, &next).await? { Ok(()) } else { Err(conflict()) }
    }

    async fn forget(&self, key: &DocumentKey) -> Result<()> {
        let what = || format!("document {}, which is not deleted,", key.document);
        if !ask!(self, index => index.is_deleted(key))? {
            return Err(Error::Conflict { what: what() });
        }
        let change = Change::Forgotten { document: key.document.as_str().to_owned(), generation: key.generation };
        self.propose(change).await.map(|_| ())
    }

    async fn begin_epoch(&self, epoch: u64, home: &str) -> Result<()> {
        let now = self.standing();
        if (now.epoch, now.home.as_str()) == (epoch, home) {
            return Ok(());
        }
        if epoch <= now.epoch {
            return Err(Error::Fenced { held: epoch, current: now.epoch });
        }
        let heard = ask!(self, index => index.heard())?;
        let heard = heard.into_iter().map(|(log, next)| (log.0, next)).collect();
        let change = Change::Epoch { home: home.to_owned(), heard };
        let nonce = rand::random::<u64>().max(1);
        let author = self.options.region.clone();
        self.append(&[ControlRecord { nonce, epoch, author, origin: None, change }]).await?;
        let now = self.standing();
        if (now.epoch, now.home.as_str()) == (epoch, home) {
            return Ok(());
        }
        Err(Error::Fenced { held: epoch, current: now.epoch })
    }

    async fn publish_endpoints(&self, epoch: u64, signed: &str) -> Result<()> {
        if signed.len() > SIGNED_LIST_BYTES_MAX {
            return Err(Error::Invalid(format!(
                "the signed list of endpoints has {} bytes; clients take {SIGNED_LIST_BYTES_MAX}",
                signed.len()
            )));
        }
        self.decide()?;
        self.check_fence(epoch)?;
        let nonce = self.propose(Change::Endpoints { signed: signed.to_owned() }).await?;
        // Another one of this epoch may have followed at once; what counts is that this one was let in.
        let now = ask!(self, index => index.endpoints())?;
        if now.is_some_and(|row| row.record == nonce || row.list.epoch == epoch) {
            return Ok(());
        }
        self.check_fence(epoch)?;
        Err(Error::Conflict { what: "the list of endpoints".to_owned() })
    }

    async fn import(&self, from: LogId, entries: Vec<ControlEntry>) -> Result<u64> {
        let heard = self.heard_of(from).await?;
        let mut copies = Vec::new();
        for entry in entries.into_iter().filter(|entry| entry.offset >= heard && !entry.bytes.is_empty()) {
            match ControlRecord::decode(&entry.bytes) {
                Ok(record) if record.came_from(self.topic.id()) => {}
                Ok(record) => {
                    let origin = Some(Origin { log: from.0, offset: entry.offset });
                    copies.push(ControlRecord { origin, ..record });
                }
                Err(error) => {
                    tracing::error!(offset = entry.offset, %error, "a record of another region is passed over")
                }
            }
        }
        self.append(&copies).await?;
        Ok(copies.len() as u64)
    }

    async fn heard_of(&self, from: LogId) -> Result<u64> {
        let heard = ask!(self, index => index.heard())?;
        Ok(heard.into_iter().find(|(log, _)| *log == from).map_or(0, |(_, next)| next))
    }

    async fn audit(&self, entry: AuditEntry) -> Result<()> {
        let AuditEntry { at_ms, principal, action, document, detail } = entry;
        let document = document.map(|document| document.as_str().to_owned());
        self.propose(Change::Audit { at_ms, principal, action, document, detail }).await.map(|_| ())
    }
}

/// Adds what a change decides to what is told.
fn decided_by(change: Change, told: &mut DecidedPage) -> Result<()> {
    if matches!(change, Change::Epoch { .. }) {
        told.anything = true;
    }
    if !change.is_decision() {
        return Ok(());
    }
    let (document, principal) = match change {
        Change::Document { document, .. } => (document, None),
        Change::Rights { document, principal, .. } => (document, Some(principal)),
        _ => return Ok(()),
    };
    told.decided.push(Decided { document: document_of(&document)?, principal });
    Ok(())
}

impl Control for KafkaControl {
    fn epoch(&self) -> u64 {
        self.shared.standing().epoch
    }

    fn standing(&self) -> Standing {
        self.shared.standing()
    }

    fn begin_epoch<'a>(&'a self, epoch: u64, home: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.shared.begin_epoch(epoch, home))
    }

    fn publish_endpoints<'a>(&'a self, epoch: u64, signed: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.shared.publish_endpoints(epoch, signed))
    }

    fn endpoints(&self) -> BoxFuture<'_, Result<Option<SignedEndpoints>>> {
        Box::pin(async move { Ok(ask!(self.shared, index => index.endpoints())?.map(|row| row.list)) })
    }

    fn create(&self, new: NewDocument) -> BoxFuture<'_, Result<DocumentInfo>> {
        Box::pin(self.shared.create(new))
    }

    fn document<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Option<DocumentInfo>>> {
        Box::pin(self.shared.info(document))
    }

    fn list<'a>(&'a self, query: &'a DocumentQuery) -> BoxFuture<'a, Result<DocumentPage>> {
        Box::pin(async move { ask!(self.shared, index => index.list(query)) })
    }

    fn delete<'a>(&'a self, key: &'a DocumentKey, now_ms: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.shared.delete(key, now_ms))
    }

    fn deleted(&self, before_ms: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DocumentKey>>> {
        Box::pin(async move { ask!(self.shared, index => index.deleted(before_ms, limit)) })
    }

    fn forget<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.shared.forget(key))
    }

    fn set_rights<'a>(
        &'a self,
        document: &'a DocumentId,
        principal: &'a str,
        rights: Rights,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.shared.set_rights(document, principal, rights))
    }

    fn rights<'a>(&'a self, document: &'a DocumentId, principal: &'a str) -> BoxFuture<'a, Result<Rights>> {
        Box::pin(async move {
            let row = ask!(self.shared, index => index.rights(document, principal))?;
            Ok(row.map_or(Rights::None, |row| row.rights))
        })
    }

    fn decided(&self, from: Option<u64>) -> BoxFuture<'_, Result<DecidedPage>> {
        Box::pin(self.shared.decided(from))
    }

    fn rights_of<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Vec<(String, Rights)>>> {
        Box::pin(async move { ask!(self.shared, index => index.rights_of(document)) })
    }

    fn bind_site<'a>(&'a self, key: &'a DocumentKey, site: SiteId, principal: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.shared.bind_site(key, site, principal))
    }

    fn site_owner<'a>(&'a self, key: &'a DocumentKey, site: SiteId) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(async move { Ok(ask!(self.shared, index => index.site(key, site))?.map(|row| row.principal)) })
    }

    fn lease_site<'a>(
        &'a self,
        key: &'a DocumentKey,
        principal: &'a str,
        logged: &'a VersionVector,
    ) -> BoxFuture<'a, Result<LeasedSite>> {
        Box::pin(self.shared.lease_site(key, principal, logged))
    }

    fn release_site<'a>(
        &'a self,
        key: &'a DocumentKey,
        site: SiteId,
        principal: &'a str,
        counter: u64,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.shared.release_site(key, site, principal, counter))
    }

    fn audit(&self, entry: AuditEntry) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.shared.audit(entry))
    }

    fn audit_log<'a>(
        &'a self,
        document: Option<&'a DocumentId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>>> {
        Box::pin(async move { ask!(self.shared, index => index.audit_log(document, limit)) })
    }
}

impl ControlLog for KafkaControl {
    fn log_id(&self) -> LogId {
        self.shared.topic.id()
    }

    fn head(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.shared.topic.head())
    }

    fn records(&self, from: u64, limit: usize) -> BoxFuture<'_, Result<ControlPage>> {
        Box::pin(async move {
            let page = self.shared.topic.read(from, limit).await?;
            let records = page.records.into_iter().map(|(offset, bytes)| ControlEntry { offset, bytes }).collect();
            Ok(ControlPage { records, next: page.next, at_end: page.at_end })
        })
    }

    fn import(&self, from: LogId, entries: Vec<ControlEntry>) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.shared.import(from, entries))
    }

    fn imported(&self, from: LogId) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.shared.heard_of(from))
    }
}
