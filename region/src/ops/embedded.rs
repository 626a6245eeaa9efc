//! The op store on SQLite: one row a run, clustered by (document, generation, site, first, last).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use selvedge_engine::VersionVector;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{DocumentKey, OpCursor, OpPage, OpRun, OpStore, joined_trimmed, reach_of, trimmed_from};
use crate::embedded::{Database, DocumentColumns, SiteColumn, database_error, integer, unsigned};
use crate::{Error, Result};

const WHAT: &str = "op store";
const TRIMMED: &str = "SELECT vector FROM ops_trimmed WHERE document = ? AND generation = ?";

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
            let next = runs.last().map(OpRun::cursor).filter(|_| more);
            Ok(OpPage { runs, next })
        })
    }

    fn trim<'a>(&'a self, key: &'a DocumentKey, runs: &'a [OpCursor]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let mut transaction = self.database.begin(WHAT).await?;
            note(&mut transaction, key, &columns, &reach_of(runs)).await?;
            for run in runs {
                sqlx::query(
                    "DELETE FROM ops WHERE document = ? AND generation = ? AND site = ? AND first = ? AND last = ?",
                )
                .bind(columns.document)
                .bind(columns.generation)
                .bind(SiteColumn::from_site(run.site))
                .bind(integer(run.first)?)
                .bind(integer(run.last)?)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            }
            transaction.commit().await
        })
    }

    fn trimmed<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<VersionVector>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let row = sqlx::query_scalar(TRIMMED).bind(columns.document).bind(columns.generation);
            let bytes: Option<Vec<u8>> = row.fetch_optional(self.database.readers()).await.map_err(failed)?;
            bytes.map_or_else(|| Ok(VersionVector::new()), |bytes| trimmed_from(key, &bytes))
        })
    }

    fn note_trimmed<'a>(&'a self, key: &'a DocumentKey, vector: &'a VersionVector) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let mut transaction = self.database.begin(WHAT).await?;
            note(&mut transaction, key, &columns, vector).await?;
            transaction.commit().await
        })
    }

    fn erase<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let mut transaction = self.database.begin(WHAT).await?;
            let all = [
                "DELETE FROM ops WHERE document = ? AND generation = ?",
                "DELETE FROM ops_trimmed WHERE document = ? AND generation = ?",
            ];
            for sql in all {
                let delete = sqlx::query(sql).bind(columns.document).bind(columns.generation);
                delete.execute(&mut *transaction).await.map_err(failed)?;
            }
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

/// Joins a vector to what is noted as trimmed.
async fn note(
    connection: &mut SqliteConnection,
    key: &DocumentKey,
    columns: &DocumentColumns<'_>,
    vector: &VersionVector,
) -> Result<()> {
    let row = sqlx::query_scalar(TRIMMED).bind(columns.document).bind(columns.generation);
    let noted: Option<Vec<u8>> = row.fetch_optional(&mut *connection).await.map_err(failed)?;
    let noted = noted.map_or_else(|| Ok(VersionVector::new()), |bytes| trimmed_from(key, &bytes))?;
    let Some(joined) = joined_trimmed(&noted, vector)? else { return Ok(()) };
    sqlx::query(
        "INSERT INTO ops_trimmed (document, generation, vector) VALUES (?, ?, ?) \
         ON CONFLICT DO UPDATE SET vector = excluded.vector",
    )
    .bind(columns.document)
    .bind(columns.generation)
    .bind(joined)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
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
