//! Faults for the contract suites: damage done to a data folder behind its owner's back.

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};

use super::{BLOBS_FOLDER, DATABASE_FILE, EmbeddedRegion};
use crate::blobs::embedded::blob_file;
use crate::contract::{Fault, Faults};

/// Injects the faults that a data folder can suffer.
pub struct EmbeddedFaults {
    folder: PathBuf,
}

impl EmbeddedFaults {
    /// Faults of that region.
    #[must_use]
    pub fn new(region: &EmbeddedRegion) -> Self {
        Self {
            folder: region.folder().to_owned(),
        }
    }

    async fn connect(&self) -> Option<SqliteConnection> {
        let file = self.folder.join(DATABASE_FILE);
        SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(false)
            .connect()
            .await
            .ok()
    }

    async fn execute(&self, sql: &'static str, document: String, bytes: Vec<u8>) -> bool {
        let Some(mut connection) = self.connect().await else {
            return false;
        };
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(document)
            .bind(bytes)
            .execute(&mut connection)
            .await;
        let _ = connection.close().await;
        done.is_ok_and(|done| done.rows_affected() > 0)
    }
}

impl Faults for EmbeddedFaults {
    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match fault {
                Fault::RawRecord(document, bytes) => {
                    let sql = "INSERT INTO log (offset, document, record) \
                               SELECT COALESCE(MAX(offset) + 1, 0), ?, ? FROM log";
                    self.execute(sql, document.to_string(), bytes).await
                }
                Fault::DamagedSnapshot(document) => {
                    // `?2` is a byte string of another content but of the same length, as a flipped bit would leave it.
                    let sql = "UPDATE snapshots SET bytes = CAST(substr(bytes, 1, length(bytes) - 1) || ?2 AS BLOB) \
                               WHERE document = ?1 AND generation = 1 AND version = \
                               (SELECT MAX(version) FROM snapshots WHERE document = ?1 AND generation = 1)";
                    self.execute(sql, document.to_string(), vec![0x5a]).await
                }
                Fault::DamagedBlob(key) => {
                    let Ok(key) = key.parse() else { return false };
                    let file = blob_file(&self.folder.join(BLOBS_FOLDER), &key);
                    let Ok(mut bytes) = std::fs::read(&file) else {
                        return false;
                    };
                    let Some(last) = bytes.last_mut() else {
                        return false;
                    };
                    *last ^= 1;
                    std::fs::write(&file, bytes).is_ok()
                }
                Fault::Full
                | Fault::Throttled
                | Fault::Unavailable
                | Fault::Healed
                | Fault::Evicted => false,
            }
        })
    }
}
