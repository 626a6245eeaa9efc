//! Snapshots on SQLite: one row a version.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use selvedge_engine::VersionVector;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{
    LatestSnapshot, Snapshot, SnapshotInfo, SnapshotStore, checked, damaged, first_whole, key_from, vector_of,
};
use crate::embedded::{
    Database, DocumentColumns, counter, database_error, integer, log_id_bytes, log_id_from, unsigned,
};
use crate::ops::DocumentKey;
use crate::{Error, Position, Result};

const WHAT: &str = "snapshots";

/// The snapshots of a data folder.
pub(crate) struct SqliteSnapshots {
    database: Arc<Database>,
}

impl SqliteSnapshots {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    async fn row(&self, key: &DocumentKey, version: u64) -> Result<Option<SqliteRow>> {
        let columns = DocumentColumns::of(key)?;
        sqlx::query("SELECT * FROM snapshots WHERE document = ? AND generation = ? AND version = ?")
            .bind(columns.document)
            .bind(columns.generation)
            .bind(integer(version)?)
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)
    }

    /// Version numbers, newest first.
    async fn numbers(&self, key: &DocumentKey) -> Result<Vec<u64>> {
        let columns = DocumentColumns::of(key)?;
        let rows =
            sqlx::query("SELECT version FROM snapshots WHERE document = ? AND generation = ? ORDER BY version DESC")
                .bind(columns.document)
                .bind(columns.generation)
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
        rows.iter().map(|row| unsigned(row, "version")).collect()
    }

    async fn execute(&self, sql: &'static str, key: &DocumentKey, number: Option<u64>) -> Result<u64> {
        let columns = DocumentColumns::of(key)?;
        let mut transaction = self.database.begin(WHAT).await?;
        let mut query = sqlx::query(sql).bind(columns.document).bind(columns.generation);
        if let Some(number) = number {
            query = query.bind(integer(number)?);
        }
        let done = query.execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }
}

impl SnapshotStore for SqliteSnapshots {
    fn put<'a>(
        &'a self,
        key: &'a DocumentKey,
        expected: Option<u64>,
        snapshot: &'a Snapshot,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let mut transaction = self.database.begin(WHAT).await?;
            let newest = newest(&mut transaction, &columns).await?;
            let covers = newest.as_ref().is_none_or(|(_, vector)| snapshot.vector.dominates(vector));
            if newest.as_ref().map(|(version, _)| *version) != expected || !covers {
                return Err(Error::Conflict { what: format!("the snapshot of {}", key.document) });
            }
            let version = next_version(&mut transaction, &columns).await?;
            insert(&mut transaction, &columns, version, snapshot).await?;
            transaction.commit().await?;
            Ok(version)
        })
    }

    fn latest<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<Option<LatestSnapshot>>> {
        Box::pin(async move {
            let read = |version| async move {
                let row = self.row(key, version).await?;
                row.map(|row| snapshot_from(key, &row)).transpose()
            };
            first_whole(key, self.numbers(key).await?, read).await
        })
    }

    fn versions<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<Vec<SnapshotInfo>>> {
        Box::pin(async move {
            let columns = DocumentColumns::of(key)?;
            let rows = sqlx::query(
                "SELECT version, vector, position_log, position_offset, length, checksum FROM snapshots \
                 WHERE document = ? AND generation = ? ORDER BY version DESC",
            )
            .bind(columns.document)
            .bind(columns.generation)
            .fetch_all(self.database.readers())
            .await
            .map_err(failed)?;
            rows.iter().map(|row| info_from(key, row)).collect()
        })
    }

    fn load<'a>(&'a self, key: &'a DocumentKey, version: u64) -> BoxFuture<'a, Result<Snapshot>> {
        Box::pin(async move {
            let row = self.row(key, version).await?;
            let row = row.ok_or_else(|| Error::NotFound { what: format!("snapshot {version} of {}", key.document) })?;
            snapshot_from(key, &row)
        })
    }

    fn prune<'a>(&'a self, key: &'a DocumentKey, keep: usize) -> BoxFuture<'a, Result<u64>> {
        let sql = "DELETE FROM snapshots WHERE document = ?1 AND generation = ?2 AND version NOT IN (SELECT version FROM \
                   snapshots WHERE document = ?1 AND generation = ?2 ORDER BY version DESC LIMIT ?3)";
        Box::pin(self.execute(sql, key, Some(keep.max(1) as u64)))
    }

    fn discard<'a>(&'a self, key: &'a DocumentKey, version: u64) -> BoxFuture<'a, Result<()>> {
        let sql = "DELETE FROM snapshots WHERE document = ? AND generation = ? AND version = ?";
        Box::pin(async move { self.execute(sql, key, Some(version)).await.map(|_| ()) })
    }

    fn erase<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<()>> {
        let sql = "DELETE FROM snapshots WHERE document = ? AND generation = ?";
        Box::pin(async move { self.execute(sql, key, None).await.map(|_| ()) })
    }

    fn documents<'a>(
        &'a self,
        after: Option<&'a DocumentKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<DocumentKey>>> {
        Box::pin(async move {
            // No document's name is empty, so that everything lies after it.
            let after =
                after.map(DocumentColumns::of).transpose()?.unwrap_or(DocumentColumns { document: "", generation: 0 });
            let rows = sqlx::query(
                "SELECT DISTINCT document, generation FROM snapshots WHERE (document, generation) > (?, ?) \
                 ORDER BY document, generation LIMIT ?",
            )
            .bind(after.document)
            .bind(after.generation)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.database.readers())
            .await
            .map_err(failed)?;
            let key =
                |row: &SqliteRow| key_from(row.try_get("document").map_err(failed)?, unsigned(row, "generation")?);
            rows.iter().map(key).collect()
        })
    }
}

/// The newest version and its vector. A vector that cannot be read covers nothing: its version has to be discarded first.
async fn newest(
    connection: &mut SqliteConnection,
    columns: &DocumentColumns<'_>,
) -> Result<Option<(u64, VersionVector)>> {
    let row = sqlx::query(
        "SELECT version, vector FROM snapshots WHERE document = ? AND generation = ? ORDER BY version DESC LIMIT 1",
    )
    .bind(columns.document)
    .bind(columns.generation)
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let vector: Vec<u8> = row.try_get("vector").map_err(failed)?;
    Ok(Some((unsigned(&row, "version")?, vector_of(columns.document, &vector)?)))
}

async fn next_version(connection: &mut SqliteConnection, columns: &DocumentColumns<'_>) -> Result<u64> {
    let version: i64 = sqlx::query_scalar(
        "INSERT INTO snapshot_versions (document, generation, version) VALUES (?, ?, 1) \
         ON CONFLICT (document, generation) DO UPDATE SET version = version + 1 RETURNING version",
    )
    .bind(columns.document)
    .bind(columns.generation)
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    Ok(version.cast_unsigned())
}

async fn insert(
    connection: &mut SqliteConnection,
    columns: &DocumentColumns<'_>,
    version: u64,
    snapshot: &Snapshot,
) -> Result<()> {
    let position_log = snapshot.position.map(|position| log_id_bytes(position.log));
    let position_offset = snapshot.position.map(|position| integer(position.offset)).transpose()?;
    sqlx::query(
        "INSERT INTO snapshots \
         (document, generation, version, vector, position_log, position_offset, length, checksum, bytes) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(columns.document)
    .bind(columns.generation)
    .bind(integer(version)?)
    .bind(snapshot.vector.encode())
    .bind(position_log)
    .bind(position_offset)
    .bind(integer(snapshot.bytes.len() as u64)?)
    .bind(snapshot.checksum().to_vec())
    .bind(snapshot.bytes.as_slice())
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

fn snapshot_from(key: &DocumentKey, row: &SqliteRow) -> Result<Snapshot> {
    let vector: Vec<u8> = row.try_get("vector").map_err(failed)?;
    let bytes: Vec<u8> = row.try_get("bytes").map_err(failed)?;
    let kept: Vec<u8> = row.try_get("checksum").map_err(failed)?;
    let document = key.document.as_str();
    checked(document, &vector, position_from(row)?, bytes, &kept)
}

fn info_from(key: &DocumentKey, row: &SqliteRow) -> Result<SnapshotInfo> {
    let document = key.document.as_str();
    let vector: Vec<u8> = row.try_get("vector").map_err(failed)?;
    let checksum: Vec<u8> = row.try_get("checksum").map_err(failed)?;
    Ok(SnapshotInfo {
        version: unsigned(row, "version")?,
        vector: vector_of(document, &vector)?,
        position: position_from(row)?,
        length: unsigned(row, "length")?,
        checksum: checksum.try_into().map_err(|_| damaged(document, "its checksum is not 32 bytes"))?,
    })
}

fn position_from(row: &SqliteRow) -> Result<Option<Position>> {
    let log: Option<Vec<u8>> = row.try_get("position_log").map_err(failed)?;
    let (Some(log), Some(offset)) = (log, counter(row, "position_offset")?) else {
        return Ok(None);
    };
    Ok(Some(Position { log: log_id_from(&log)?, partition: 0, offset }))
}

fn failed(error: sqlx::Error) -> Error {
    database_error(WHAT, error)
}
