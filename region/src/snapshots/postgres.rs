//! Snapshots on PostgreSQL: one row a version, large ones' bytes in a blob beside it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use selvedge_engine::VersionVector;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row, SqlSafeStr};

use super::{
    LatestSnapshot, Snapshot, SnapshotInfo, SnapshotStore, checked, damaged, first_whole, key_from, vector_of,
};
use crate::embedded::{integer, log_id_bytes, log_id_from};
use crate::ops::DocumentKey;
use crate::regional::postgres::{Postgres, counter, postgres_error, shard, unsigned};
use crate::{BlobKey, Blobs, Error, Position, Result};

const WHAT: &str = "snapshots";
/// Snapshots with more bytes than this go to the blobs: rows stay small enough to be copied by replication at once.
pub const INLINE_BYTES_MAX: usize = 512 * 1024;

/// What the keys of a region's snapshot blobs begin with. Only that region writes there.
#[must_use]
pub fn snapshot_blobs(region: u8) -> String {
    format!("snapshots/r-{region}/")
}

/// The snapshots of a region on PostgreSQL.
pub struct PostgresSnapshots {
    postgres: Postgres,
    blobs: Arc<dyn Blobs>,
    /// Snapshots with more bytes go to the blobs.
    inline_bytes_max: usize,
}

impl PostgresSnapshots {
    /// Snapshots on those servers, with large ones in those blobs.
    #[must_use]
    pub fn new(postgres: Postgres, blobs: Arc<dyn Blobs>, inline_bytes_max: usize) -> Self {
        Self { postgres, blobs, inline_bytes_max }
    }

    /// A statement on this region's tables, which stand as `{t}` and `{v}` in it.
    pub(crate) fn sql(&self, sql: &str) -> sqlx::SqlStr {
        let region = self.postgres.region();
        let sql = sql.replace("{t}", &format!("snapshots_{region}"));
        // Safe: a region is a number.
        AssertSqlSafe(sql.replace("{v}", &format!("snapshot_versions_{region}"))).into_sql_str()
    }

    async fn row(&self, key: &DocumentKey, version: u64) -> Result<Option<PgRow>> {
        sqlx::query(self.sql("SELECT * FROM {t} WHERE document = $1 AND generation = $2 AND version = $3"))
            .bind(key.document.as_str())
            .bind(integer(key.generation)?)
            .bind(integer(version)?)
            .fetch_optional(self.postgres.of(&key.document))
            .await
            .map_err(failed)
    }

    /// Version numbers, newest first.
    async fn numbers(&self, key: &DocumentKey) -> Result<Vec<u64>> {
        let sql = self.sql("SELECT version FROM {t} WHERE document = $1 AND generation = $2 ORDER BY version DESC");
        let rows = sqlx::query(sql)
            .bind(key.document.as_str())
            .bind(integer(key.generation)?)
            .fetch_all(self.postgres.of(&key.document))
            .await
            .map_err(failed)?;
        rows.iter().map(|row| unsigned(row, "version")).collect()
    }

    /// Deletes rows, then the blobs they named: a blob without a row is litter, a row without its blob is damage.
    async fn remove(&self, sql: &str, key: &DocumentKey, number: Option<u64>) -> Result<u64> {
        let mut query = sqlx::query(self.sql(sql)).bind(key.document.as_str()).bind(integer(key.generation)?);
        if let Some(number) = number {
            query = query.bind(integer(number)?);
        }
        let rows = query.fetch_all(self.postgres.of(&key.document)).await.map_err(failed)?;
        for row in &rows {
            let blob: Option<String> = row.try_get("blob").map_err(failed)?;
            if let Some(blob) = blob.and_then(|blob| blob.parse::<BlobKey>().ok())
                && let Err(error) = self.blobs.delete(&blob).await
            {
                tracing::warn!(%error, %blob, "the blob of a removed snapshot stays behind");
            }
        }
        Ok(rows.len() as u64)
    }

    async fn snapshot_from(&self, key: &DocumentKey, row: &PgRow) -> Result<Snapshot> {
        let vector: Vec<u8> = row.try_get("vector").map_err(failed)?;
        let kept: Vec<u8> = row.try_get("checksum").map_err(failed)?;
        let document = key.document.as_str();
        let bytes = match row.try_get::<Option<Vec<u8>>, _>("bytes").map_err(failed)? {
            Some(bytes) => bytes,
            None => self.blob(document, row).await?,
        };
        checked(document, &vector, position_from(row)?, bytes, &kept)
    }

    async fn blob(&self, document: &str, row: &PgRow) -> Result<Vec<u8>> {
        let blob: Option<String> = row.try_get("blob").map_err(failed)?;
        let blob = blob.and_then(|blob| blob.parse::<BlobKey>().ok());
        let blob = blob.ok_or_else(|| damaged(document, "it has neither bytes nor a blob"))?;
        match self.blobs.get(&blob).await {
            Err(Error::NotFound { .. }) => Err(damaged(document, "its blob is missing")),
            bytes => bytes,
        }
    }
}

impl SnapshotStore for PostgresSnapshots {
    fn put<'a>(
        &'a self,
        key: &'a DocumentKey,
        expected: Option<u64>,
        snapshot: &'a Snapshot,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let conflict = || Error::Conflict { what: format!("the snapshot of {}", key.document) };
            let mut transaction = self.postgres.of(&key.document).begin().await.map_err(failed)?;
            // The row is locked from here on: writers of one document take turns.
            let version: i64 = sqlx::query_scalar(self.sql(
                "INSERT INTO {v} AS v (document, generation, version) VALUES ($1, $2, 1) \
                 ON CONFLICT (document, generation) DO UPDATE SET version = v.version + 1 RETURNING version",
            ))
            .bind(key.document.as_str())
            .bind(integer(key.generation)?)
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
            let newest = self.newest(&mut transaction, key).await?;
            let covers = newest.as_ref().is_none_or(|(_, vector)| snapshot.vector.dominates(vector));
            if newest.map(|(version, _)| version) != expected || !covers {
                return Err(conflict());
            }
            let blob = self.keep_large(key, snapshot).await?;
            self.insert(&mut transaction, key, version, snapshot, blob.as_ref()).await?;
            transaction.commit().await.map_err(failed)?;
            Ok(version.cast_unsigned())
        })
    }

    fn latest<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<Option<LatestSnapshot>>> {
        Box::pin(async move {
            let read = |version| async move {
                match self.row(key, version).await? {
                    Some(row) => self.snapshot_from(key, &row).await.map(Some),
                    None => Ok(None),
                }
            };
            first_whole(key, self.numbers(key).await?, read).await
        })
    }

    fn versions<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<Vec<SnapshotInfo>>> {
        Box::pin(async move {
            let sql = self.sql(
                "SELECT version, vector, position_log, position_partition, position_offset, length, checksum FROM {t} \
                 WHERE document = $1 AND generation = $2 ORDER BY version DESC",
            );
            let rows = sqlx::query(sql)
                .bind(key.document.as_str())
                .bind(integer(key.generation)?)
                .fetch_all(self.postgres.of(&key.document))
                .await
                .map_err(failed)?;
            rows.iter().map(|row| info_from(key, row)).collect()
        })
    }

    fn load<'a>(&'a self, key: &'a DocumentKey, version: u64) -> BoxFuture<'a, Result<Snapshot>> {
        Box::pin(async move {
            let row = self.row(key, version).await?;
            let row = row.ok_or_else(|| Error::NotFound { what: format!("snapshot {version} of {}", key.document) })?;
            self.snapshot_from(key, &row).await
        })
    }

    fn prune<'a>(&'a self, key: &'a DocumentKey, keep: usize) -> BoxFuture<'a, Result<u64>> {
        let sql = "DELETE FROM {t} WHERE document = $1 AND generation = $2 AND version NOT IN (SELECT version FROM {t} \
                   WHERE document = $1 AND generation = $2 ORDER BY version DESC LIMIT $3) RETURNING blob";
        Box::pin(self.remove(sql, key, Some(keep.max(1) as u64)))
    }

    fn discard<'a>(&'a self, key: &'a DocumentKey, version: u64) -> BoxFuture<'a, Result<()>> {
        let sql = "DELETE FROM {t} WHERE document = $1 AND generation = $2 AND version = $3 RETURNING blob";
        Box::pin(async move { self.remove(sql, key, Some(version)).await.map(|_| ()) })
    }

    fn erase<'a>(&'a self, key: &'a DocumentKey) -> BoxFuture<'a, Result<()>> {
        let sql = "DELETE FROM {t} WHERE document = $1 AND generation = $2 RETURNING blob";
        Box::pin(async move { self.remove(sql, key, None).await.map(|_| ()) })
    }

    fn documents<'a>(
        &'a self,
        after: Option<&'a DocumentKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<DocumentKey>>> {
        Box::pin(async move {
            // No document's name is empty, so that everything lies after it.
            let (document, generation) = after.map_or(("", 0), |after| (after.document.as_str(), after.generation));
            let mut keys = Vec::new();
            for server in self.postgres.servers() {
                let rows = sqlx::query(self.sql(
                    "SELECT DISTINCT document, generation FROM {t} WHERE (document, generation) > ($1, $2) \
                     ORDER BY document, generation LIMIT $3",
                ))
                .bind(document)
                .bind(integer(generation)?)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(server)
                .await
                .map_err(failed)?;
                for row in &rows {
                    keys.push(key_from(row.try_get("document").map_err(failed)?, unsigned(row, "generation")?)?);
                }
            }
            keys.sort();
            // While documents move between servers, one may be on two.
            keys.dedup();
            keys.truncate(limit);
            Ok(keys)
        })
    }
}

impl PostgresSnapshots {
    /// The newest version and its vector. A vector that cannot be read covers nothing: its version has to be discarded first.
    async fn newest(&self, connection: &mut PgConnection, key: &DocumentKey) -> Result<Option<(u64, VersionVector)>> {
        let sql = self.sql(
            "SELECT version, vector FROM {t} WHERE document = $1 AND generation = $2 ORDER BY version DESC LIMIT 1",
        );
        let row = sqlx::query(sql)
            .bind(key.document.as_str())
            .bind(integer(key.generation)?)
            .fetch_optional(connection)
            .await
            .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let vector: Vec<u8> = row.try_get("vector").map_err(failed)?;
        Ok(Some((unsigned(&row, "version")?, vector_of(key.document.as_str(), &vector)?)))
    }

    /// Puts a large snapshot's bytes into a blob. Its key is its own for ever, so that a refused transaction's blob, which
    /// stays behind, is never taken for another's.
    async fn keep_large(&self, key: &DocumentKey, snapshot: &Snapshot) -> Result<Option<BlobKey>> {
        if snapshot.bytes.len() <= self.inline_bytes_max {
            return Ok(None);
        }
        let id = key.document.as_str();
        let (tenant, name) = id.split_once('/').unwrap_or(("", id));
        let random = rand::random::<u128>();
        let place = snapshot_blobs(self.postgres.region());
        let blob = format!("{place}t-{tenant}/n-{name}/{}/{random:032x}", key.generation).parse::<BlobKey>()?;
        self.blobs.put(&blob, snapshot.bytes.clone()).await?;
        Ok(Some(blob))
    }

    async fn insert(
        &self,
        connection: &mut PgConnection,
        key: &DocumentKey,
        version: i64,
        snapshot: &Snapshot,
        blob: Option<&BlobKey>,
    ) -> Result<()> {
        let position = snapshot.position;
        sqlx::query(self.sql(
            "INSERT INTO {t} (document, generation, version, shard, vector, position_log, position_partition, \
             position_offset, length, checksum, bytes, blob) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        ))
        .bind(key.document.as_str())
        .bind(integer(key.generation)?)
        .bind(version)
        .bind(shard(&key.document).cast_signed())
        .bind(snapshot.vector.encode())
        .bind(position.map(|position| log_id_bytes(position.log)))
        .bind(position.map(|position| i64::from(position.partition)))
        .bind(position.map(|position| integer(position.offset)).transpose()?)
        .bind(integer(snapshot.bytes.len() as u64)?)
        .bind(snapshot.checksum().to_vec())
        .bind(blob.is_none().then_some(snapshot.bytes.as_slice()))
        .bind(blob.map(BlobKey::as_str))
        .execute(connection)
        .await
        .map_err(failed)?;
        Ok(())
    }
}

fn info_from(key: &DocumentKey, row: &PgRow) -> Result<SnapshotInfo> {
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

fn position_from(row: &PgRow) -> Result<Option<Position>> {
    let log: Option<Vec<u8>> = row.try_get("position_log").map_err(failed)?;
    let partition = counter(row, "position_partition")?.and_then(|partition| u32::try_from(partition).ok());
    let (Some(log), Some(partition), Some(offset)) = (log, partition, counter(row, "position_offset")?) else {
        return Ok(None);
    };
    Ok(Some(Position { log: log_id_from(&log)?, partition, offset }))
}

fn failed(error: sqlx::Error) -> Error {
    postgres_error(WHAT, error)
}
