//! The control plane on SQLite. One process, one epoch: 0.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use selvedge_engine::{SiteId, SiteKind, VersionVector};
use selvedge_protocol::Rights;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::decided::Recent;
use super::{
    AuditEntry, Control, DecidedPage, DocumentInfo, DocumentPage, DocumentQuery, LeasedSite, NewDocument,
    SignedEndpoints, Standing,
};
use crate::embedded::{Database, DocumentColumns, SiteColumn, counter, database_error, integer, unsigned};
use crate::ops::DocumentKey;
use crate::{DocumentId, Error, Result};

const WHAT: &str = "control plane";
/// The embedded relay's region.
const REGION: u8 = 0;
/// Site indices are 23 bits wide.
const SITE_INDICES: u64 = 1 << 23;
/// Decisions kept for those who follow them.
const DECIDED_KEPT: usize = 10_000;

/// The control plane of a data folder.
pub(crate) struct SqliteControl {
    database: Arc<Database>,
    decided: Recent,
}

impl SqliteControl {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database, decided: Recent::new(DECIDED_KEPT) }
    }
}

impl Control for SqliteControl {
    fn epoch(&self) -> u64 {
        0
    }

    fn standing(&self) -> Standing {
        Standing { epoch: 0, home: String::new() }
    }

    fn begin_epoch<'a>(&'a self, _epoch: u64, _home: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Err(Error::Invalid("an embedded region decides alone, in one epoch for ever".to_owned())) })
    }

    fn publish_endpoints<'a>(&'a self, _epoch: u64, _signed: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            Err(Error::Invalid("an embedded region is the only one: there is nothing to list".to_owned()))
        })
    }

    fn endpoints(&self) -> BoxFuture<'_, Result<Option<SignedEndpoints>>> {
        Box::pin(async { Ok(None) })
    }

    fn create(&self, new: NewDocument) -> BoxFuture<'_, Result<DocumentInfo>> {
        Box::pin(async move {
            let mut transaction = self.database.begin(WHAT).await?;
            let known = find(&mut transaction, &new.document).await?;
            if known.as_ref().is_some_and(|known| known.deleted_ms.is_none()) {
                return Err(Error::Exists { what: format!("document {}", new.document) });
            }
            let info = DocumentInfo {
                generation: known.map_or(1, |known| known.generation + 1),
                document: new.document,
                creator: new.creator,
                created_ms: new.now_ms,
                deleted_ms: None,
            };
            sqlx::query(
                "INSERT INTO documents (document, generation, creator, created_ms, deleted_ms) VALUES (?, ?, ?, ?, NULL) \
                 ON CONFLICT (document) DO UPDATE SET generation = excluded.generation, creator = excluded.creator, \
                 created_ms = excluded.created_ms, deleted_ms = NULL",
            )
            .bind(info.document.as_str())
            .bind(integer(info.generation)?)
            .bind(&info.creator)
            .bind(integer(info.created_ms)?)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            write_rights(&mut transaction, &info.document, &info.creator, Rights::Admin).await?;
            transaction.commit().await?;
            if info.generation > 1 {
                self.decided.note(&info.document, None);
            }
            Ok(info)
        })
    }

    fn document<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Option<DocumentInfo>>> {
        Box::pin(async move {
            let mut connection = self.database.readers().acquire().await.map_err(failed)?;
            find(&mut connection, document).await
        })
    }

    fn list<'a>(&'a self, query: &'a DocumentQuery) -> BoxFuture<'a, Result<DocumentPage>> {
        Box::pin(async move {
            let limit = query.limit.clamp(1, 10_000);
            // Ids are ASCII, so everything that begins with `from` sorts below `from` and a byte beyond ASCII.
            let from = format!("{}/{}", query.tenant, query.prefix);
            let end = format!("{from}\u{7f}");
            let after = query.after.as_ref().map_or("", DocumentId::as_str);
            let rows = sqlx::query(
                "SELECT * FROM documents WHERE document >= ? AND document < ? AND document > ? AND deleted_ms IS NULL \
                 ORDER BY document LIMIT ?",
            )
            .bind(&from)
            .bind(&end)
            .bind(after)
            .bind(i64::try_from(limit + 1).unwrap_or(i64::MAX))
            .fetch_all(self.database.readers())
            .await
            .map_err(failed)?;
            let more = rows.len() > limit;
            let documents = rows.iter().take(limit).map(info_from).collect::<Result<Vec<_>>>()?;
            let next = documents.last().map(|info| info.document.clone()).filter(|_| more);
            Ok(DocumentPage { documents, next })
        })
    }

    fn delete<'a>(&'a self, key: &'a DocumentKey, now_ms: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let mut transaction = self.database.begin(WHAT).await?;
            let known = find(&mut transaction, &key.document).await?.ok_or_else(|| no_document(&key.document))?;
            if known.generation != key.generation {
                return Err(Error::Conflict { what: format!("document {}", key.document) });
            }
            if known.deleted_ms.is_some() {
                return Ok(());
            }
            let now = integer(now_ms)?;
            sqlx::query("UPDATE documents SET deleted_ms = ? WHERE document = ?")
                .bind(now)
                .bind(columns.document)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            sqlx::query("DELETE FROM rights WHERE document = ?")
                .bind(columns.document)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            sqlx::query("INSERT INTO deleted (document, generation, deleted_ms) VALUES (?, ?, ?)")
                .bind(columns.document)
                .bind(columns.generation)
                .bind(now)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            transaction.commit().await?;
            self.decided.note(&key.document, None);
            Ok(())
        })
    }

    fn deleted(&self, before_ms: u64, limit: usize) -> BoxFuture<'_, Result<Vec<DocumentKey>>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT document, generation FROM deleted WHERE deleted_ms < ? ORDER BY deleted_ms, document LIMIT ?",
            )
            .bind(integer(before_ms)?)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.database.readers())
            .await
            .map_err(failed)?;
            rows.iter().map(|row| Ok(DocumentKey::new(document_from(row)?, unsigned(row, "generation")?))).collect()
        })
    }

    fn forget<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let mut transaction = self.database.begin(WHAT).await?;
            let listed: Option<i64> = sqlx::query_scalar("SELECT 1 FROM deleted WHERE document = ? AND generation = ?")
                .bind(columns.document)
                .bind(columns.generation)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed)?;
            if listed.is_none() {
                return Err(Error::Conflict { what: format!("document {}, which is not deleted,", key.document) });
            }
            for sql in [
                "DELETE FROM sites WHERE document = ? AND generation = ?",
                "DELETE FROM lease_index WHERE document = ? AND generation = ?",
                "DELETE FROM deleted WHERE document = ? AND generation = ?",
            ] {
                let query = sqlx::query(sql).bind(columns.document).bind(columns.generation);
                query.execute(&mut *transaction).await.map_err(failed)?;
            }
            transaction.commit().await
        })
    }

    fn set_rights<'a>(
        &'a self,
        document: &'a DocumentId,
        principal: &'a str,
        rights: Rights,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut transaction = self.database.begin(WHAT).await?;
            let known = find(&mut transaction, document).await?.ok_or_else(|| no_document(document))?;
            if known.deleted_ms.is_some() {
                return Err(Error::Gone { what: format!("document {document}"), earliest: None });
            }
            write_rights(&mut transaction, document, principal, rights).await?;
            transaction.commit().await?;
            self.decided.note(document, Some(principal));
            Ok(())
        })
    }

    fn decided(&self, from: Option<u64>) -> BoxFuture<'_, Result<DecidedPage>> {
        Box::pin(std::future::ready(Ok(self.decided.since(from))))
    }

    fn rights<'a>(&'a self, document: &'a DocumentId, principal: &'a str) -> BoxFuture<'a, Result<Rights>> {
        Box::pin(async move {
            let rights: Option<i64> =
                sqlx::query_scalar("SELECT rights FROM rights WHERE document = ? AND principal = ?")
                    .bind(document.as_str())
                    .bind(principal)
                    .fetch_optional(self.database.readers())
                    .await
                    .map_err(failed)?;
            Ok(rights.map_or(Rights::None, rights_from))
        })
    }

    fn rights_of<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Vec<(String, Rights)>>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT principal, rights FROM rights WHERE document = ? ORDER BY principal")
                .bind(document.as_str())
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
            let holder = |row: &SqliteRow| {
                let rights: i64 = row.try_get("rights").map_err(failed)?;
                Ok((row.try_get("principal").map_err(failed)?, rights_from(rights)))
            };
            rows.iter().map(holder).collect()
        })
    }

    fn bind_site<'a>(&'a self, key: &'a DocumentKey, site: SiteId, principal: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let mut connection = self.database.readers().acquire().await.map_err(failed)?;
            let known = owner(&mut connection, &columns, site).await?;
            drop(connection);
            if let Some(known) = known {
                return if known == principal { Ok(()) } else { Err(Error::SiteTaken { site }) };
            }
            let mut transaction = self.database.begin(WHAT).await?;
            insert_site(&mut transaction, &columns, site, principal, None).await?;
            let now = owner(&mut transaction, &columns, site).await?;
            transaction.commit().await?;
            if now.as_deref() == Some(principal) { Ok(()) } else { Err(Error::SiteTaken { site }) }
        })
    }

    fn site_owner<'a>(&'a self, key: &'a DocumentKey, site: SiteId) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(async move {
            let mut connection = self.database.readers().acquire().await.map_err(failed)?;
            owner(&mut connection, &DocumentColumns::of(key)?, site).await
        })
    }

    fn lease_site<'a>(
        &'a self,
        key: &'a DocumentKey,
        principal: &'a str,
        logged: &'a VersionVector,
    ) -> BoxFuture<'a, Result<LeasedSite>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let mut transaction = self.database.begin(WHAT).await?;
            let leased = match lease_released(&mut transaction, &columns, principal, logged).await? {
                Some(leased) => leased,
                None => lease_new(&mut transaction, &columns, principal).await?,
            };
            transaction.commit().await?;
            Ok(leased)
        })
    }

    fn release_site<'a>(
        &'a self,
        key: &'a DocumentKey,
        site: SiteId,
        principal: &'a str,
        counter: u64,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.release(key, site, principal, counter).await })
    }

    fn audit(&self, entry: AuditEntry) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut transaction = self.database.begin("audit").await?;
            sqlx::query("INSERT INTO audit (at_ms, principal, action, document, detail) VALUES (?, ?, ?, ?, ?)")
                .bind(integer(entry.at_ms)?)
                .bind(entry.principal)
                .bind(entry.action)
                .bind(entry.document.as_ref().map(DocumentId::as_str))
                .bind(entry.detail)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            transaction.commit().await
        })
    }

    fn audit_log<'a>(
        &'a self,
        document: Option<&'a DocumentId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<AuditEntry>>> {
        Box::pin(async move {
            let sql = match document {
                Some(_) => "SELECT * FROM audit WHERE document = ?1 ORDER BY id DESC LIMIT ?2",
                None => "SELECT * FROM audit WHERE ?1 IS NULL ORDER BY id DESC LIMIT ?2",
            };
            let rows = sqlx::query(sql)
                .bind(document.map(DocumentId::as_str))
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
            rows.iter().map(audit_from).collect()
        })
    }
}

impl SqliteControl {
    async fn release(&self, key: &DocumentKey, site: SiteId, principal: &str, last: u64) -> Result<()> {
        let columns = DocumentColumns::of(key)?;
        let mut transaction = self.database.begin(WHAT).await?;
        let row = sqlx::query(
            "SELECT principal, leased_from, released FROM sites WHERE document = ? AND generation = ? AND site = ?",
        )
        .bind(columns.document)
        .bind(columns.generation)
        .bind(SiteColumn::from_site(site))
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failed)?;
        let not_leased = || Error::Invalid(format!("site {site} was not leased here"));
        let row = row.ok_or_else(not_leased)?;
        if row.try_get::<&str, _>("principal").map_err(failed)? != principal {
            return Err(Error::SiteTaken { site });
        }
        let leased_from = counter(&row, "leased_from")?.ok_or_else(not_leased)?;
        // Of two who say how far the site went, the one who wrote more is right; a copy that says less must not win.
        if last < counter(&row, "released")?.unwrap_or(leased_from) {
            return Err(Error::Conflict { what: format!("the end of site {site}") });
        }
        sqlx::query("UPDATE sites SET released = ? WHERE document = ? AND generation = ? AND site = ?")
            .bind(integer(last)?)
            .bind(columns.document)
            .bind(columns.generation)
            .bind(SiteColumn::from_site(site))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await
    }
}

async fn find(connection: &mut SqliteConnection, document: &DocumentId) -> Result<Option<DocumentInfo>> {
    let row = sqlx::query("SELECT * FROM documents WHERE document = ?")
        .bind(document.as_str())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.as_ref().map(info_from).transpose()
}

fn info_from(row: &SqliteRow) -> Result<DocumentInfo> {
    Ok(DocumentInfo {
        document: document_from(row)?,
        generation: unsigned(row, "generation")?,
        creator: row.try_get("creator").map_err(failed)?,
        created_ms: unsigned(row, "created_ms")?,
        deleted_ms: counter(row, "deleted_ms")?,
    })
}

fn document_from(row: &SqliteRow) -> Result<DocumentId> {
    let text: &str = row.try_get("document").map_err(failed)?;
    text.parse().map_err(|_| Error::Corrupt {
        what: "a document's row".to_owned(),
        detail: format!("{text:?} is not a document id"),
    })
}

fn audit_from(row: &SqliteRow) -> Result<AuditEntry> {
    let document: Option<String> = row.try_get("document").map_err(failed)?;
    Ok(AuditEntry {
        at_ms: unsigned(row, "at_ms")?,
        principal: row.try_get("principal").map_err(failed)?,
        action: row.try_get("action").map_err(failed)?,
        document: document.map(|_| document_from(row)).transpose()?,
        detail: row.try_get("detail").map_err(failed)?,
    })
}

async fn write_rights(
    connection: &mut SqliteConnection,
    document: &DocumentId,
    principal: &str,
    rights: Rights,
) -> Result<()> {
    let query = match rights_number(rights) {
        0 => sqlx::query("DELETE FROM rights WHERE document = ? AND principal = ?")
            .bind(document.as_str())
            .bind(principal),
        number => sqlx::query(
            "INSERT INTO rights (document, principal, rights) VALUES (?, ?, ?) \
             ON CONFLICT (document, principal) DO UPDATE SET rights = excluded.rights",
        )
        .bind(document.as_str())
        .bind(principal)
        .bind(number),
    };
    query.execute(connection).await.map_err(failed)?;
    Ok(())
}

const fn rights_number(rights: Rights) -> i64 {
    match rights {
        Rights::None => 0,
        Rights::Read => 1,
        Rights::Write => 2,
        Rights::Admin => 3,
    }
}

/// An unknown number gives nothing.
const fn rights_from(number: i64) -> Rights {
    match number {
        1 => Rights::Read,
        2 => Rights::Write,
        3 => Rights::Admin,
        _ => Rights::None,
    }
}

async fn owner(
    connection: &mut SqliteConnection,
    columns: &DocumentColumns<'_>,
    site: SiteId,
) -> Result<Option<String>> {
    sqlx::query_scalar("SELECT principal FROM sites WHERE document = ? AND generation = ? AND site = ?")
        .bind(columns.document)
        .bind(columns.generation)
        .bind(SiteColumn::from_site(site))
        .fetch_optional(connection)
        .await
        .map_err(failed)
}

/// Binds a site unless it is bound.
async fn insert_site(
    connection: &mut SqliteConnection,
    columns: &DocumentColumns<'_>,
    site: SiteId,
    principal: &str,
    leased_from: Option<u64>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO sites (document, generation, site, principal, leased_from, released) VALUES (?, ?, ?, ?, ?, NULL) \
         ON CONFLICT DO NOTHING",
    )
    .bind(columns.document)
    .bind(columns.generation)
    .bind(SiteColumn::from_site(site))
    .bind(principal)
    .bind(leased_from.map(integer).transpose()?)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Leases a released site of the same principal again, if the log holds exactly what it was released with: fewer, and some
/// of its operations are still on their way; more, and somebody wrote on it after giving it back.
async fn lease_released(
    connection: &mut SqliteConnection,
    columns: &DocumentColumns<'_>,
    principal: &str,
    logged: &VersionVector,
) -> Result<Option<LeasedSite>> {
    let rows = sqlx::query(
        "SELECT site, released FROM sites WHERE document = ? AND generation = ? AND principal = ? AND released IS NOT NULL",
    )
    .bind(columns.document)
    .bind(columns.generation)
    .bind(principal)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    for row in &rows {
        let site = SiteColumn::to_site(row.try_get("site").map_err(failed)?);
        let last = unsigned(row, "released")?;
        if logged.get(site) != last {
            continue;
        }
        sqlx::query(
            "UPDATE sites SET leased_from = released, released = NULL WHERE document = ? AND generation = ? AND site = ?",
        )
        .bind(columns.document)
        .bind(columns.generation)
        .bind(SiteColumn::from_site(site))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
        return Ok(Some(LeasedSite { site, next_counter: last + 1 }));
    }
    Ok(None)
}

/// Leases the next index never given out. An index that somebody bound without a lease is passed over.
async fn lease_new(
    connection: &mut SqliteConnection,
    columns: &DocumentColumns<'_>,
    principal: &str,
) -> Result<LeasedSite> {
    loop {
        let next: i64 = sqlx::query_scalar(
            "INSERT INTO lease_index (document, generation, next) VALUES (?, ?, (SELECT lease_floor FROM region) + 1) \
             ON CONFLICT (document, generation) DO UPDATE SET next = next + 1 RETURNING next",
        )
        .bind(columns.document)
        .bind(columns.generation)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
        let index = next.cast_unsigned() - 1;
        if index >= SITE_INDICES {
            return Err(Error::Full { what: "the document's site index", source: None });
        }
        let site = SiteId::leased(REGION, u32::try_from(index).expect("an index below 2^23 fits"));
        debug_assert!(matches!(site.kind(), SiteKind::Leased { region: REGION, .. }));
        if owner(connection, columns, site).await?.is_none() {
            insert_site(connection, columns, site, principal, Some(0)).await?;
            return Ok(LeasedSite { site, next_counter: 1 });
        }
    }
}

fn no_document(document: &DocumentId) -> Error {
    Error::NotFound { what: format!("document {document}") }
}

fn failed(error: sqlx::Error) -> Error {
    database_error(WHAT, error)
}
