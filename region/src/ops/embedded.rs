//! The op store on SQLite: one row a run, clustered by (document, generation, site, first, last).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use selvedge_engine::VersionVector;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{DocumentKey, OpCursor, OpPage, OpRun, OpStore};
use crate::embedded::{Database, DocumentColumns, SiteColumn, database_error, integer, unsigned};
use crate::{Error, Result};

const WHAT: &str = "op store";

/// The op store of a data folder.
pub(crate) struct SqliteOps {
    database: Arc<Database>,
}

impl SqliteOps {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Every site that has runs.
    async fn sites(&self, columns: &DocumentColumns<'_>) -> Result<Vec<i64>> {
        sqlx::query_scalar("SELECT DISTINCT site FROM ops WHERE document = ? AND generation = ? ORDER BY site")
            .bind(columns.document)
            .bind(columns.generation)
            .fetch_all(self.database.readers())
            .await
            .map_err(failed)
    }
}

impl OpStore for SqliteOps {
    fn put<'a>(&'a self, key: &'a DocumentKey, runs: Vec<OpRun>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            for run in &runs {
                if run.first == 0 || run.last < run.first || run.bytes.is_empty() {
                    return Err(Error::Invalid(format!("a run of counters {}..={} is none", run.first, run.last)));
                }
            }
            let mut transaction = self.database.begin(WHAT).await?;
            let mut divergence = None;
            for run in &runs {
                if !put_run(&mut transaction, &columns, run).await? {
                    divergence.get_or_insert(Error::Divergence {
                        what: format!("run {}..={} of site {} in {}", run.first, run.last, run.site, key.document),
                    });
                }
            }
            transaction.commit().await?;
            divergence.map_or(Ok(()), Err)
        })
    }

    fn read<'a>(
        &'a self,
        key: &'a DocumentKey,
        since: &'a VersionVector,
        cursor: Option<OpCursor>,
        limit: usize,
    ) -> BoxFuture<'a, Result<OpPage>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let limit = limit.clamp(1, 10_000);
            let mut runs: Vec<OpRun> = Vec::new();
            for site in self.sites(&columns).await? {
                let (after_first, after_last) = match cursor {
                    Some(cursor) if site < SiteColumn::from_site(cursor.site) => continue,
                    Some(cursor) if site == SiteColumn::from_site(cursor.site) => (cursor.first, cursor.last),
                    _ => (0, 0),
                };
                let rows = sqlx::query(
                    "SELECT site, first, last, bytes FROM ops WHERE document = ? AND generation = ? AND site = ? \
                     AND last > ? AND (first, last) > (?, ?) ORDER BY first, last LIMIT ?",
                )
                .bind(columns.document)
                .bind(columns.generation)
                .bind(site)
                .bind(integer(since.get(SiteColumn::to_site(site)))?)
                .bind(integer(after_first)?)
                .bind(integer(after_last)?)
                .bind(i64::try_from(limit + 1 - runs.len()).unwrap_or(i64::MAX))
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
                for row in &rows {
                    runs.push(run_from(row)?);
                }
                if runs.len() > limit {
                    break;
                }
            }
            let more = runs.len() > limit;
            runs.truncate(limit);
            let last = runs.last().map(|run| OpCursor { site: run.site, first: run.first, last: run.last });
            Ok(OpPage { runs, next: last.filter(|_| more) })
        })
    }

    fn trim<'a>(&'a self, key: &'a DocumentKey, covered: &'a VersionVector) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let mut transaction = self.database.begin(WHAT).await?;
            let mut trimmed = 0;
            for (site, counter) in covered.iter() {
                let done =
                    sqlx::query("DELETE FROM ops WHERE document = ? AND generation = ? AND site = ? AND last <= ?")
                        .bind(columns.document)
                        .bind(columns.generation)
                        .bind(SiteColumn::from_site(site))
                        .bind(integer(counter)?)
                        .execute(&mut *transaction)
                        .await
                        .map_err(failed)?;
                trimmed += done.rows_affected();
            }
            transaction.commit().await?;
            Ok(trimmed)
        })
    }

    fn erase<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let mut transaction = self.database.begin(WHAT).await?;
            sqlx::query("DELETE FROM ops WHERE document = ? AND generation = ?")
                .bind(columns.document)
                .bind(columns.generation)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            transaction.commit().await
        })
    }
}

/// Writes a run unless it is there; answers whether its key now keeps these bytes.
async fn put_run(connection: &mut SqliteConnection, columns: &DocumentColumns<'_>, run: &OpRun) -> Result<bool> {
    let (first, last) = (integer(run.first)?, integer(run.last)?);
    let site = SiteColumn::from_site(run.site);
    let done = sqlx::query(
        "INSERT INTO ops (document, generation, site, first, last, bytes) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(columns.document)
    .bind(columns.generation)
    .bind(site)
    .bind(first)
    .bind(last)
    .bind(run.bytes.as_slice())
    .execute(&mut *connection)
    .await
    .map_err(failed)?;
    if done.rows_affected() > 0 {
        return Ok(true);
    }
    let kept: Vec<u8> = sqlx::query_scalar(
        "SELECT bytes FROM ops WHERE document = ? AND generation = ? AND site = ? AND first = ? AND last = ?",
    )
    .bind(columns.document)
    .bind(columns.generation)
    .bind(site)
    .bind(first)
    .bind(last)
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    Ok(kept == run.bytes)
}

fn run_from(row: &SqliteRow) -> Result<OpRun> {
    Ok(OpRun {
        site: SiteColumn::to_site(row.try_get("site").map_err(failed)?),
        first: unsigned(row, "first")?,
        last: unsigned(row, "last")?,
        bytes: row.try_get("bytes").map_err(failed)?,
    })
}

fn failed(error: sqlx::Error) -> Error {
    database_error(WHAT, error)
}
