//! The index in PostgreSQL, shared by all processes of the region. Whoever needs it newer brings it up to date: one at a time,
//! in one transaction with how far it has come, so that a process that dies halfway leaves nothing half done. When its tables
//! are gone, or are of another topic, it is made again from the topic's first record.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use selvedge_engine::SiteId;
use selvedge_protocol::Rights;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::Mutex;

use super::index::{Applied, DocumentRow, EndpointsRow, Index, RightsRow, SiteRow, rights_from, rights_number};
use super::memory::{INDEX_MAX, index_of};
use super::record::{Change, ControlRecord, document_of};
use super::rules::{self, Cut};
use super::topic::{ControlTopic, Page, WHAT};
use crate::control::{AuditEntry, DocumentInfo, DocumentPage, DocumentQuery, SignedEndpoints, Standing};
use crate::embedded::{DocumentColumns, SiteColumn, integer, log_id_bytes, log_id_from};
use crate::ops::DocumentKey;
use crate::regional::postgres::{Postgres, counter, postgres_error, unsigned};
use crate::{DocumentId, Error, LogId, Result};

/// Records applied in one transaction.
const APPLIED_AT_ONCE: usize = 1_000;
/// How long, in milliseconds, a transaction with the index's lock may wait for its process: less than a question may take.
const IDLE_MS: u32 = 1_000;
/// All tables of the index.
const TABLES: [&str; 7] = ["documents", "deleted", "rights", "sites", "audit", "control_heard", "control_endpoints"];

/// See the module.
pub(super) struct PostgresIndex {
    topic: Arc<ControlTopic>,
    postgres: Postgres,
    own: String,
    home: String,
    /// How far the index is known to have come, and what stood there; held by whoever brings it up to date in this process.
    reached: Mutex<(u64, Standing)>,
    /// How far that is, for those who do not wait.
    built_to: AtomicU64,
}

impl PostgresIndex {
    pub(super) fn new(topic: Arc<ControlTopic>, postgres: Postgres, own: String, home: String) -> Self {
        let reached = Mutex::new((0, Standing { epoch: 0, home: home.clone() }));
        Self { topic, postgres, own, home, reached, built_to: AtomicU64::new(0) }
    }

    async fn bring_up(&self, to: Option<u64>) -> Result<Standing> {
        let mut reached = self.reached.lock().await;
        if to.is_some_and(|to| reached.0 >= to) {
            // Another caller came past it while this one waited.
            return Ok(reached.1.clone());
        }
        let to = match to {
            Some(to) => to,
            None => self.topic.head().await?,
        };
        // What this process remembers says nothing of tables that are gone: they are looked at once in any case.
        loop {
            let (next, standing, litter) = self.apply_some().await?;
            if !litter.is_empty() {
                self.topic.erase(&litter).await;
            }
            *reached = (next, standing);
            self.built_to.store(next, Ordering::Release);
            if next >= to {
                return Ok(reached.1.clone());
            }
        }
    }

    /// Applies the next records of the topic; answers how far that came, what stands there and what need not be kept. An index that
    /// is made again is so in one transaction: whoever asks meanwhile is answered by the old one, and never that something is not
    /// there which only has not come again yet.
    async fn apply_some(&self) -> Result<(u64, Standing, Vec<u64>)> {
        let mut transaction = self.postgres.control().begin().await.map_err(failed)?;
        // Who is halted, or cut off, with the lock in hand loses it before the others take PostgreSQL for away.
        let timeout = format!("SET LOCAL idle_in_transaction_session_timeout = {IDLE_MS}");
        sqlx::query(AssertSqlSafe(timeout)).execute(&mut *transaction).await.map_err(failed)?;
        let (mut from, mut standing) = self.lock_state(&mut transaction).await?;
        let mut made_again = from == 0;
        let mut litter = Vec::new();
        loop {
            let page = self.topic.next(from, APPLIED_AT_ONCE).await?;
            let applied = self.apply_page(&mut transaction, &page, &mut standing).await?;
            litter.extend(applied.litter);
            from = page.next;
            if let Some(cut) = applied.cut {
                self.undo(&mut transaction, cut).await?;
                (from, standing, made_again) = (0, Standing { epoch: 0, home: self.home.clone() }, true);
            } else if !made_again || page.at_end {
                break;
            }
        }
        sqlx::query("UPDATE control_state SET built_to = $1, epoch = $2, home = $3 WHERE id = 1")
            .bind(integer(from)?)
            .bind(integer(standing.epoch)?)
            .bind(&standing.home)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok((from, standing, litter))
    }

    /// Applies records up to the first that undoes others.
    async fn apply_page(&self, connection: &mut PgConnection, page: &Page, standing: &mut Standing) -> Result<Applied> {
        let cuts = cuts(connection).await?;
        let (topic, own, applied) = (self.topic.id(), self.own.as_str(), Applied::default());
        let mut writer = Writer { connection, topic, own, standing: standing.clone(), cuts, applied };
        for (offset, bytes) in page.records.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            match ControlRecord::decode(bytes) {
                Ok(record) => writer.apply(*offset, &record).await?,
                Err(error) => tracing::error!(offset, %error, "a record of the control plane is passed over"),
            }
            if writer.applied.cut.is_some() {
                break;
            }
        }
        *standing = writer.standing;
        Ok(writer.applied)
    }

    /// Whether the index is there as far as this process knows that it had come. Where its tables were lost they are empty until it is
    /// made again.
    async fn check_whole(&self) -> Result<()> {
        let reached = self.built_to.load(Ordering::Acquire);
        let built = sqlx::query_scalar::<_, i64>("SELECT built_to FROM control_state WHERE id = 1");
        let built = built.fetch_optional(self.postgres.control()).await.map_err(failed)?;
        match built.is_some_and(|built| built.cast_unsigned() >= reached) {
            true => Ok(()),
            false => Err(Error::Unavailable { what: WHAT, source: None }),
        }
    }

    /// Takes the index for this transaction. One of another topic is emptied.
    async fn lock_state(&self, connection: &mut PgConnection) -> Result<(u64, Standing)> {
        let topic = log_id_bytes(self.topic.id());
        sqlx::query(
            "INSERT INTO control_state (id, log_id, built_to, epoch, home) VALUES (1, $1, 0, 0, $2) ON CONFLICT DO NOTHING",
        )
        .bind(&topic)
        .bind(&self.home)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
        let row = sqlx::query("SELECT * FROM control_state WHERE id = 1 FOR UPDATE").fetch_one(&mut *connection).await;
        let row = row.map_err(failed)?;
        let built_to = unsigned(&row, "built_to")?;
        if row.try_get::<Vec<u8>, _>("log_id").map_err(failed)? == topic && built_to <= self.topic.head().await? {
            let home = row.try_get("home").map_err(failed)?;
            return Ok((built_to, Standing { epoch: unsigned(&row, "epoch")?, home }));
        }
        tracing::warn!("the index of the control plane is of another topic and is made again");
        sqlx::query("DELETE FROM control_cuts").execute(&mut *connection).await.map_err(failed)?;
        self.empty(connection).await?;
        Ok((0, Standing { epoch: 0, home: self.home.clone() }))
    }

    /// Notes what a new epoch undoes; the index is made again without it.
    async fn undo(&self, connection: &mut PgConnection, cut: Cut) -> Result<()> {
        tracing::warn!(from = cut.from, below = cut.below, "decisions that the new home had not heard of are undone");
        sqlx::query("INSERT INTO control_cuts (from_offset, below_offset) VALUES ($1, $2)")
            .bind(integer(cut.from)?)
            .bind(integer(cut.below)?)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        self.empty(connection).await
    }

    async fn empty(&self, connection: &mut PgConnection) -> Result<()> {
        for table in TABLES {
            let sql = AssertSqlSafe(format!("DELETE FROM {table}"));
            sqlx::query(sql).execute(&mut *connection).await.map_err(failed)?;
        }
        sqlx::query("UPDATE control_state SET log_id = $1, built_to = 0, epoch = 0, home = $2 WHERE id = 1")
            .bind(log_id_bytes(self.topic.id()))
            .bind(&self.home)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        Ok(())
    }
}

async fn cuts(connection: &mut PgConnection) -> Result<Vec<Cut>> {
    let rows = sqlx::query("SELECT from_offset, below_offset FROM control_cuts").fetch_all(connection).await;
    let cut = |row: &PgRow| Ok(Cut { from: unsigned(row, "from_offset")?, below: unsigned(row, "below_offset")? });
    rows.map_err(failed)?.iter().map(cut).collect()
}

/// Applies records within a transaction, by the same rules as the index in memory.
struct Writer<'a> {
    connection: &'a mut PgConnection,
    topic: LogId,
    own: &'a str,
    standing: Standing,
    cuts: Vec<Cut>,
    /// What came of all records so far.
    applied: Applied,
}

impl Writer<'_> {
    async fn apply(&mut self, offset: u64, record: &ControlRecord) -> Result<()> {
        if self.cuts.iter().any(|cut| cut.undoes(record, offset)) {
            return Ok(());
        }
        if !self.hear(record).await? {
            // Copied twice. It has the name of the first copy, which must stay.
            return Ok(());
        }
        if !rules::admits(&self.standing, record) || !self.change(offset, record).await? {
            self.applied.litter.push(record.nonce);
        } else {
            self.applied.cut = Cut::of(record, offset, self.topic).filter(|cut| !self.cuts.contains(cut));
        }
        Ok(())
    }

    /// Notes how far another topic was copied; `false`: this record was copied before.
    async fn hear(&mut self, record: &ControlRecord) -> Result<bool> {
        let Some(origin) = record.origin else { return Ok(true) };
        let moved = sqlx::query(
            "INSERT INTO control_heard (log_id, next) VALUES ($1, $2) ON CONFLICT (log_id) \
             DO UPDATE SET next = excluded.next WHERE control_heard.next < excluded.next",
        )
        .bind(log_id_bytes(LogId(origin.log)))
        .bind(integer(origin.offset + 1)?)
        .execute(&mut *self.connection)
        .await
        .map_err(failed)?;
        Ok(moved.rows_affected() > 0)
    }

    /// Whether the change took effect.
    async fn change(&mut self, offset: u64, record: &ControlRecord) -> Result<bool> {
        let overrides = rules::overrides(&self.standing, self.own, record);
        match &record.change {
            Change::Epoch { home, .. } => {
                self.standing = Standing { epoch: record.epoch, home: home.clone() };
                Ok(true)
            }
            Change::Document { document, generation, creator, created_ms, deleted_ms } => {
                let info = DocumentInfo {
                    document: document_of(document)?,
                    generation: *generation,
                    creator: creator.clone(),
                    created_ms: *created_ms,
                    deleted_ms: *deleted_ms,
                };
                self.document(offset, record, info, overrides).await
            }
            Change::Forgotten { document, generation } => {
                self.forget(&DocumentKey::new(document_of(document)?, *generation)).await
            }
            Change::Rights { document, principal, rights } => {
                self.rights(offset, record.nonce, &document_of(document)?, principal, *rights).await
            }
            Change::Site { document, generation, site, principal, version, leased_from, released } => {
                let key = DocumentKey::new(document_of(document)?, *generation);
                let row = SiteRow {
                    principal: principal.clone(),
                    leased_from: *leased_from,
                    released: *released,
                    version: *version,
                    record: record.nonce,
                    copied: record.origin.is_some(),
                };
                self.site(offset, &key, SiteId::new(*site), row, overrides).await
            }
            Change::Audit { at_ms, principal, action, document, detail } => {
                sqlx::query(
                    "INSERT INTO audit (at, at_ms, principal, action, document, detail) VALUES ($1, $2, $3, $4, $5, $6) \
                     ON CONFLICT DO NOTHING",
                )
                .bind(integer(offset)?)
                .bind(integer(*at_ms)?)
                .bind(principal)
                .bind(action)
                .bind(document)
                .bind(detail)
                .execute(&mut *self.connection)
                .await
                .map_err(failed)?;
                Ok(true)
            }
            Change::Endpoints { signed } => self.endpoints(record, signed).await,
        }
    }

    async fn endpoints(&mut self, record: &ControlRecord, signed: &str) -> Result<bool> {
        sqlx::query(
            "INSERT INTO control_endpoints (id, epoch, signed, record) VALUES (1, $1, $2, $3) ON CONFLICT (id) \
             DO UPDATE SET epoch = excluded.epoch, signed = excluded.signed, record = excluded.record",
        )
        .bind(integer(record.epoch)?)
        .bind(signed)
        .bind(record.nonce.cast_signed())
        .execute(&mut *self.connection)
        .await
        .map_err(failed)?;
        Ok(true)
    }

    async fn document(
        &mut self,
        offset: u64,
        record: &ControlRecord,
        info: DocumentInfo,
        overrides: bool,
    ) -> Result<bool> {
        let known = find(&mut *self.connection, &info.document).await?;
        if !rules::document_follows(known.as_ref(), &info, overrides) {
            return Ok(false);
        }
        let document = info.document.as_str();
        sqlx::query("DELETE FROM rights WHERE document = $1")
            .bind(document)
            .execute(&mut *self.connection)
            .await
            .map_err(failed)?;
        sqlx::query(
            "INSERT INTO documents (document, generation, creator, created_ms, deleted_ms, at, record, copied) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (document) DO UPDATE SET \
             generation = excluded.generation, creator = excluded.creator, created_ms = excluded.created_ms, \
             deleted_ms = excluded.deleted_ms, at = excluded.at, record = excluded.record, copied = excluded.copied",
        )
        .bind(document)
        .bind(integer(info.generation)?)
        .bind(&info.creator)
        .bind(integer(info.created_ms)?)
        .bind(info.deleted_ms.map(integer).transpose()?)
        .bind(integer(offset)?)
        .bind(record.nonce.cast_signed())
        .bind(record.origin.is_some())
        .execute(&mut *self.connection)
        .await
        .map_err(failed)?;
        let query = match info.deleted_ms {
            Some(at) => {
                let sql =
                    "INSERT INTO deleted (document, generation, deleted_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
                sqlx::query(sql).bind(document).bind(integer(info.generation)?).bind(integer(at)?)
            }
            None => {
                let sql = "INSERT INTO rights (document, principal, rights, at, record) VALUES ($1, $2, $3, $4, 0)";
                let rights = i16::from(rights_number(Rights::Admin));
                sqlx::query(sql).bind(document).bind(&info.creator).bind(rights).bind(integer(offset)?)
            }
        };
        query.execute(&mut *self.connection).await.map_err(failed)?;
        Ok(true)
    }

    async fn forget(&mut self, key: &DocumentKey) -> Result<bool> {
        let columns = DocumentColumns::of(key)?;
        let sites = "DELETE FROM sites WHERE document = $1 AND generation = $2 RETURNING record";
        let replaced: Vec<i64> = sqlx::query_scalar(sites)
            .bind(columns.document)
            .bind(columns.generation)
            .fetch_all(&mut *self.connection)
            .await
            .map_err(failed)?;
        self.applied.litter.extend(replaced.into_iter().map(i64::cast_unsigned));
        let listed = sqlx::query("DELETE FROM deleted WHERE document = $1 AND generation = $2")
            .bind(columns.document)
            .bind(columns.generation)
            .execute(&mut *self.connection)
            .await
            .map_err(failed)?;
        Ok(listed.rows_affected() > 0)
    }

    async fn rights(
        &mut self,
        offset: u64,
        nonce: u64,
        document: &DocumentId,
        principal: &str,
        rights: u8,
    ) -> Result<bool> {
        let known = find(&mut *self.connection, document).await?;
        if known.is_none_or(|row| row.info.deleted_ms.is_some()) {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO rights (document, principal, rights, at, record) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (document, principal) DO UPDATE SET rights = excluded.rights, at = excluded.at, \
             record = excluded.record",
        )
        .bind(document.as_str())
        .bind(principal)
        .bind(i16::from(rights))
        .bind(integer(offset)?)
        .bind(nonce.cast_signed())
        .execute(&mut *self.connection)
        .await
        .map_err(failed)?;
        Ok(true)
    }

    async fn site(
        &mut self,
        offset: u64,
        key: &DocumentKey,
        site: SiteId,
        row: SiteRow,
        overrides: bool,
    ) -> Result<bool> {
        let known = find_site(&mut *self.connection, key, site).await?;
        if !rules::site_follows(known.as_ref(), &row, overrides) {
            return Ok(false);
        }
        self.applied.litter.extend(known.map(|known| known.record));
        let columns = DocumentColumns::of(key)?;
        sqlx::query(
            "INSERT INTO sites (document, generation, site, principal, leased_from, released, at, record, version, copied) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (document, generation, site) DO UPDATE SET \
             principal = excluded.principal, leased_from = excluded.leased_from, released = excluded.released, \
             at = excluded.at, record = excluded.record, version = excluded.version, copied = excluded.copied",
        )
        .bind(columns.document)
        .bind(columns.generation)
        .bind(SiteColumn::from_site(site))
        .bind(&row.principal)
        .bind(row.leased_from.map(integer).transpose()?)
        .bind(row.released.map(integer).transpose()?)
        .bind(integer(offset)?)
        .bind(row.record.cast_signed())
        .bind(integer(row.version)?)
        .bind(row.copied)
        .execute(&mut *self.connection)
        .await
        .map_err(failed)?;
        Ok(true)
    }
}

async fn find<'c>(executor: impl sqlx::PgExecutor<'c>, document: &DocumentId) -> Result<Option<DocumentRow>> {
    let row = sqlx::query("SELECT * FROM documents WHERE document = $1").bind(document.as_str());
    let row = row.fetch_optional(executor).await.map_err(failed)?;
    row.as_ref().map(document_from).transpose()
}

fn document_from(row: &PgRow) -> Result<DocumentRow> {
    let info = DocumentInfo {
        document: document_of(row.try_get("document").map_err(failed)?)?,
        generation: unsigned(row, "generation")?,
        creator: row.try_get("creator").map_err(failed)?,
        created_ms: unsigned(row, "created_ms")?,
        deleted_ms: counter(row, "deleted_ms")?,
    };
    Ok(DocumentRow { info, record: nonce(row)?, copied: row.try_get("copied").map_err(failed)? })
}

async fn find_site<'c>(
    executor: impl sqlx::PgExecutor<'c>,
    key: &DocumentKey,
    site: SiteId,
) -> Result<Option<SiteRow>> {
    let columns = DocumentColumns::of(key)?;
    let row = sqlx::query("SELECT * FROM sites WHERE document = $1 AND generation = $2 AND site = $3")
        .bind(columns.document)
        .bind(columns.generation)
        .bind(SiteColumn::from_site(site))
        .fetch_optional(executor)
        .await
        .map_err(failed)?;
    row.as_ref().map(site_from).transpose()
}

fn site_from(row: &PgRow) -> Result<SiteRow> {
    Ok(SiteRow {
        principal: row.try_get("principal").map_err(failed)?,
        leased_from: counter(row, "leased_from")?,
        released: counter(row, "released")?,
        version: unsigned(row, "version")?,
        record: nonce(row)?,
        copied: row.try_get("copied").map_err(failed)?,
    })
}

/// Nonces are any 64 bits.
fn nonce(row: &PgRow) -> Result<u64> {
    row.try_get::<i64, _>("record").map(i64::cast_unsigned).map_err(failed)
}

impl Index for PostgresIndex {
    fn catch_up(&self, to: Option<u64>) -> BoxFuture<'_, Result<Standing>> {
        Box::pin(self.bring_up(to))
    }

    fn document<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Option<DocumentRow>>> {
        Box::pin(async move {
            let found = find(self.postgres.control(), document).await?;
            if found.is_none() {
                self.check_whole().await?;
            }
            Ok(found)
        })
    }

    fn list<'a>(&'a self, query: &'a DocumentQuery) -> BoxFuture<'a, Result<DocumentPage>> {
        Box::pin(async move {
            let limit = query.limit.clamp(1, 10_000);
            // Ids are ASCII, so everything that begins with `from` sorts below `from` and a byte beyond ASCII.
            let from = format!("{}/{}", query.tenant, query.prefix);
            let rows = sqlx::query(
                "SELECT * FROM documents WHERE document >= $1 AND document < $2 AND document > $3 AND deleted_ms IS NULL \
                 ORDER BY document LIMIT $4",
            )
            .bind(&from)
            .bind(format!("{from}\u{7f}"))
            .bind(query.after.as_ref().map_or("", DocumentId::as_str))
            .bind(i64::try_from(limit + 1).unwrap_or(i64::MAX))
            .fetch_all(self.postgres.control())
            .await
            .map_err(failed)?;
            let more = rows.len() > limit;
            let infos = rows.iter().take(limit).map(|row| document_from(row).map(|row| row.info));
            let documents = infos.collect::<Result<Vec<_>>>()?;
            let next = documents.last().map(|info| info.document.clone()).filter(|_| more);
            Ok(DocumentPage { documents, next })
        })
    }

    fn deleted(&self, before_ms: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DocumentKey>>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT document, generation FROM deleted WHERE deleted_ms < $1 ORDER BY deleted_ms, document LIMIT $2",
            )
            .bind(i64::try_from(before_ms).unwrap_or(i64::MAX))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.postgres.control())
            .await
            .map_err(failed)?;
            let key = |row: &PgRow| {
                let document = document_of(row.try_get("document").map_err(failed)?)?;
                Ok(DocumentKey::new(document, unsigned(row, "generation")?))
            };
            rows.iter().map(key).collect()
        })
    }

    fn is_deleted<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let listed: Option<i32> =
                sqlx::query_scalar("SELECT 1 FROM deleted WHERE document = $1 AND generation = $2")
                    .bind(columns.document)
                    .bind(columns.generation)
                    .fetch_optional(self.postgres.control())
                    .await
                    .map_err(failed)?;
            Ok(listed.is_some())
        })
    }

    fn rights<'a>(&'a self, document: &'a DocumentId, principal: &'a str) -> BoxFuture<'a, Result<Option<RightsRow>>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT rights, record FROM rights WHERE document = $1 AND principal = $2")
                .bind(document.as_str())
                .bind(principal)
                .fetch_optional(self.postgres.control())
                .await
                .map_err(failed)?;
            row.map(|row| Ok(RightsRow { rights: rights_of_row(&row)?, record: nonce(&row)? })).transpose()
        })
    }

    fn rights_of<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Vec<(String, Rights)>>> {
        Box::pin(async move {
            let sql = "SELECT principal, rights FROM rights WHERE document = $1 AND rights > 0 ORDER BY principal";
            let rows = sqlx::query(sql).bind(document.as_str()).fetch_all(self.postgres.control()).await;
            let holder = |row: &PgRow| Ok((row.try_get("principal").map_err(failed)?, rights_of_row(row)?));
            rows.map_err(failed)?.iter().map(holder).collect()
        })
    }

    fn site<'a>(&'a self, key: &'a DocumentKey, site: SiteId) -> BoxFuture<'a, Result<Option<SiteRow>>> {
        Box::pin(find_site(self.postgres.control(), key, site))
    }

    fn released<'a>(
        &'a self,
        key: &'a DocumentKey,
        principal: &'a str,
        region: u8,
    ) -> BoxFuture<'a, Result<Vec<(SiteId, SiteRow)>>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let rows = sqlx::query(
                "SELECT * FROM sites WHERE document = $1 AND generation = $2 AND principal = $3 AND released IS NOT NULL \
                 AND site BETWEEN $4 AND $5 ORDER BY site",
            )
            .bind(columns.document)
            .bind(columns.generation)
            .bind(principal)
            .bind(SiteColumn::from_site(SiteId::leased(region, 0)))
            .bind(SiteColumn::from_site(SiteId::leased(region, INDEX_MAX)))
            .fetch_all(self.postgres.control())
            .await
            .map_err(failed)?;
            let site = |row: &PgRow| {
                let site = SiteColumn::to_site(row.try_get("site").map_err(failed)?);
                Ok((site, site_from(row)?))
            };
            rows.iter().map(site).collect()
        })
    }

    fn last_leased<'a>(&'a self, key: &'a DocumentKey, region: u8) -> BoxFuture<'a, Result<Option<u32>>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let last: Option<i64> = sqlx::query_scalar(
                "SELECT max(site) FROM sites WHERE document = $1 AND generation = $2 AND leased_from IS NOT NULL \
                 AND site BETWEEN $3 AND $4",
            )
            .bind(columns.document)
            .bind(columns.generation)
            .bind(SiteColumn::from_site(SiteId::leased(region, 0)))
            .bind(SiteColumn::from_site(SiteId::leased(region, INDEX_MAX)))
            .fetch_one(self.postgres.control())
            .await
            .map_err(failed)?;
            Ok(last.and_then(|site| index_of(SiteColumn::to_site(site))))
        })
    }

    fn audit_log<'a>(
        &'a self,
        document: Option<&'a DocumentId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>>> {
        Box::pin(async move {
            let sql = match document {
                Some(_) => "SELECT * FROM audit WHERE document = $1 ORDER BY at DESC LIMIT $2",
                None => "SELECT * FROM audit WHERE $1::text IS NULL ORDER BY at DESC LIMIT $2",
            };
            let rows = sqlx::query(sql)
                .bind(document.map(DocumentId::as_str))
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(self.postgres.control())
                .await
                .map_err(failed)?;
            rows.iter().map(audit_from).collect()
        })
    }

    fn endpoints(&self) -> BoxFuture<'_, Result<Option<EndpointsRow>>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT epoch, signed, record FROM control_endpoints")
                .fetch_optional(self.postgres.control())
                .await
                .map_err(failed)?;
            row.map(|row| {
                let signed = row.try_get("signed").map_err(failed)?;
                let list = SignedEndpoints { epoch: unsigned(&row, "epoch")?, signed };
                Ok(EndpointsRow { list, record: nonce(&row)? })
            })
            .transpose()
        })
    }

    fn heard(&self) -> BoxFuture<'_, Result<Vec<(LogId, u64)>>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT log_id, next FROM control_heard").fetch_all(self.postgres.control()).await;
            let heard = |row: &PgRow| {
                let log = log_id_from(row.try_get::<&[u8], _>("log_id").map_err(failed)?)?;
                Ok((log, unsigned(row, "next")?))
            };
            rows.map_err(failed)?.iter().map(heard).collect()
        })
    }
}

fn rights_of_row(row: &PgRow) -> Result<Rights> {
    let number: i16 = row.try_get("rights").map_err(failed)?;
    Ok(rights_from(u8::try_from(number).unwrap_or(0)))
}

fn audit_from(row: &PgRow) -> Result<AuditEntry> {
    let document: Option<&str> = row.try_get("document").map_err(failed)?;
    Ok(AuditEntry {
        at_ms: unsigned(row, "at_ms")?,
        principal: row.try_get("principal").map_err(failed)?,
        action: row.try_get("action").map_err(failed)?,
        document: document.map(document_of).transpose()?,
        detail: row.try_get("detail").map_err(failed)?,
    })
}

fn failed(error: sqlx::Error) -> Error {
    // The tables are gone: until they are made again it is as if the server were.
    let missing = matches!(&error, sqlx::Error::Database(database)
        if matches!(database.code().as_deref(), Some("42P01" | "3F000" | "42703")));
    if missing { Error::Unavailable { what: WHAT, source: Some(error.into()) } } else { postgres_error(WHAT, error) }
}
