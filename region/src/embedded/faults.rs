//! Faults for the contract suites: damage done to a data folder behind its owner's back.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{BLOBS_FOLDER, Database, EmbeddedRegion};
use crate::blobs::embedded::blob_file;
use crate::contract::{Fault, Faults};
use crate::log::embedded::SqliteLog;
use crate::{DocumentId, Result};

/// Flips the last byte of a document's newest snapshot.
const DAMAGE_SNAPSHOT: &str = "UPDATE snapshots SET bytes = CAST(substr(bytes, 1, length(bytes) - 1) || x'fe' AS BLOB) \
    WHERE document = ?1 AND generation = 1 AND version = \
    (SELECT MAX(version) FROM snapshots WHERE document = ?1 AND generation = 1)";

/// The faults that the database of a data folder can suffer.
pub struct DatabaseFaults {
    database: Arc<Database>,
    log: Arc<SqliteLog>,
}

impl DatabaseFaults {
    /// Faults of that region.
    #[must_use]
    pub fn new(region: &EmbeddedRegion) -> Self {
        Self { database: Arc::clone(&region.database), log: Arc::clone(&region.log) }
    }

    async fn damage_snapshot(&self, document: &DocumentId) -> Result<u64> {
        let mut transaction = self.database.begin("fault").await?;
        let done = sqlx::query(DAMAGE_SNAPSHOT).bind(document.as_str()).execute(&mut *transaction).await;
        let done = done.map_err(|error| super::database_error("fault", error))?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }
}

impl Faults for DatabaseFaults {
    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match fault {
                Fault::Full => self.database.limit_to_present_size(true).await.is_ok(),
                Fault::Healed => self.database.limit_to_present_size(false).await.is_ok(),
                Fault::RawRecord(document, bytes) => self.log.append_raw(document, bytes).await.is_ok(),
                Fault::DamagedSnapshot(document) => self.damage_snapshot(&document).await.is_ok_and(|rows| rows > 0),
                Fault::Throttled | Fault::Unavailable | Fault::DamagedBlob(_) | Fault::Evicted => false,
            }
        })
    }
}

/// The faults that the files of a data folder can suffer.
pub struct FileFaults {
    blobs: PathBuf,
}

impl FileFaults {
    /// Faults of that region.
    #[must_use]
    pub fn new(region: &EmbeddedRegion) -> Self {
        Self { blobs: region.folder().join(BLOBS_FOLDER) }
    }
}

impl Faults for FileFaults {
    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let Fault::DamagedBlob(key) = fault else {
                return false;
            };
            let Ok(key) = key.parse() else { return false };
            let file = blob_file(&self.blobs, &key);
            let Ok(mut bytes) = std::fs::read(&file) else {
                return false;
            };
            let Some(last) = bytes.last_mut() else {
                return false;
            };
            *last ^= 1;
            std::fs::write(&file, bytes).is_ok()
        })
    }
}
