//! The embedded region: everything in one locked data folder, on SQLite and plain files.
//!
//! ```text
//! selvedge-data/
//!   lock            held by the process that owns the folder
//!   selvedge.db     log, op store, snapshots, control (SQLite, WAL, synchronous = FULL)
//!   blobs/          one file a blob
//! ```
//!
//! All writes go through one connection, one transaction at a time; reads have connections of their own and never wait for
//! a writer. A call answers after its transaction is on the disk.

mod backup;
mod database;
mod faults;
mod lock;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use backup::backup;
pub(crate) use database::{
    Database, DocumentColumns, SiteColumn, counter, database_error, integer, log_id_bytes, log_id_from, unsigned,
};
pub use faults::{DatabaseFaults, FileFaults};

use crate::blobs::embedded::FileBlobs;
use crate::bus::embedded::LocalBus;
use crate::control::embedded::SqliteControl;
use crate::log::embedded::SqliteLog;
use crate::ops::embedded::SqliteOps;
use crate::snapshots::embedded::SqliteSnapshots;
use crate::{Error, LogId, Region, Result};
use lock::FolderLock;

/// Name of the database inside the data folder.
pub const DATABASE_FILE: &str = "selvedge.db";
const BLOBS_FOLDER: &str = "blobs";

/// How to open a data folder.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The folder; created when missing.
    pub folder: PathBuf,
    /// The folder was put back from a backup: it takes a new log id, so that no position of before is mistaken for one of now.
    pub restored: bool,
}

impl EmbeddedOptions {
    /// That folder, as it is.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), restored: false }
    }
}

/// A region in one data folder. The folder stays locked until [`EmbeddedRegion::close`], or until this and all clones of its
/// parts are dropped.
pub struct EmbeddedRegion {
    region: Region,
    log: Arc<SqliteLog>,
    database: Arc<Database>,
    folder: PathBuf,
}

impl EmbeddedRegion {
    /// Opens the folder, creates what is missing, and runs the migrations.
    ///
    /// # Errors
    /// `Locked` when another process owns the folder; `Unavailable`, `Full` or `Corrupt` as the disk says.
    pub fn open(options: EmbeddedOptions) -> BoxFuture<'static, Result<Self>> {
        Box::pin(async move {
            let EmbeddedOptions { folder, restored } = options;
            std::fs::create_dir_all(&folder).map_err(|source| folder_error(&folder, source))?;
            let lock = FolderLock::take(&folder)?;
            let database = Arc::new(Database::open(&folder.join(DATABASE_FILE), Some(lock)).await?);
            sync_folder(&folder).map_err(|source| folder_error(&folder, source))?;
            let log_id = database.log_id(restored).await?;
            let log = Arc::new(SqliteLog::start(Arc::clone(&database), log_id).await?);
            let region = Region {
                log: Arc::clone(&log) as _,
                ops: Arc::new(SqliteOps::new(Arc::clone(&database))),
                snapshots: Arc::new(SqliteSnapshots::new(Arc::clone(&database))),
                bus: Arc::new(LocalBus::default()),
                blobs: Arc::new(FileBlobs::open(folder.join(BLOBS_FOLDER))?),
                control: Arc::new(SqliteControl::new(Arc::clone(&database))),
            };
            Ok(Self { region, log, database, folder })
        })
    }

    /// The parts, to be cloned and handed on.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Names the log of this folder.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        crate::RegionLog::log_id(&*self.log)
    }

    /// The data folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Copies the database to a new file while it is in use.
    ///
    /// # Errors
    /// As [`backup`].
    pub fn backup<'a>(&'a self, file: &'a Path) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { backup(&self.folder, file).await })
    }

    /// Finishes the appends that wait, closes the database and unlocks the folder. Clones of the parts answer `Closed`
    /// from then on.
    pub fn close(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.log.close().await;
            self.database.close().await;
        })
    }
}

/// Makes new names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn folder_error(folder: &Path, source: std::io::Error) -> Error {
    if source.kind() == std::io::ErrorKind::StorageFull {
        return Error::Full { what: "data folder", source: Some(source.into()) };
    }
    let source = format!("{}: {source}", folder.display());
    Error::Unavailable { what: "data folder", source: Some(source.into()) }
}
