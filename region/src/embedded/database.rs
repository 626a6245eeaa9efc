//! The SQLite database: one writing connection, a few reading ones, and how Rust's numbers lie in its columns.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use selvedge_engine::SiteId;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqlSafeStr, SqliteConnection, SqlitePool};
use tokio::sync::{Mutex, MutexGuard};

use super::lock::FolderLock;
use crate::ops::DocumentKey;
use crate::{Error, LogId, Result};

/// Reading connections: enough that a slow read does not stop the others.
const READERS_MAX: u32 = 4;
/// Only a backup or a checkpoint ever holds the file against the writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "initial", include_str!("../../migrations/0001_initial.sql")),
    (2, "ops trimmed", include_str!("../../migrations/0002_ops_trimmed.sql")),
];

/// What a new folder begins with; `?1` is its log id.
const CREATED: &[&str] = &["INSERT INTO region (id, log_id, log_floor, lease_floor) VALUES (1, ?1, 0, 0)"];
/// What a folder put back from a backup changes; `?1` is its new log id. Sites leased or leased again since the backup was
/// taken live on in clients, so none of their numbers may be given out: no released one, and far fewer than 2^16 new ones
/// of a document lie between two backups.
const RESTORED: &[&str] = &[
    "UPDATE region SET log_id = ?1, lease_floor = lease_floor + 65536",
    "UPDATE lease_index SET next = next + 65536",
    "UPDATE sites SET released = NULL",
];

/// The database of one data folder.
pub(crate) struct Database {
    writer: Mutex<Writer>,
    readers: SqlitePool,
}

/// The writing connection; `None` once closed.
struct Writer {
    connection: Option<SqliteConnection>,
    /// A transaction was begun and its caller went away before it ended.
    dirty: bool,
    /// Held as long as the connection is.
    lock: Option<FolderLock>,
}

impl Database {
    /// Opens or creates the file and runs the migrations.
    pub(crate) async fn open(file: &Path, lock: Option<FolderLock>) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let mut connection = options.connect().await.map_err(|error| database_error("data folder", error))?;
        migrator()
            .run_direct(None, &mut connection, false)
            .await
            .map_err(|error| Error::Failed { what: "migration of the data folder", source: error.into() })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .connect_with(options.read_only(true))
            .await
            .map_err(|error| database_error("data folder", error))?;
        let writer = Mutex::new(Writer { connection: Some(connection), dirty: false, lock });
        Ok(Self { writer, readers })
    }

    /// The connections to read with.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Waits for its turn and begins a writing transaction. Dropped without a commit, it is rolled back.
    pub(crate) async fn begin(&self, what: &'static str) -> Result<Transaction<'_>> {
        let mut writer = self.writer.lock().await;
        let roll_back = std::mem::replace(&mut writer.dirty, true);
        let Some(connection) = writer.connection.as_mut() else {
            return Err(Error::Closed { what });
        };
        if roll_back {
            // Fails when SQLite has rolled back already, e.g. because the disk was full.
            let _ = sqlx::query("ROLLBACK").execute(&mut *connection).await;
        }
        let begun = sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await;
        begun.map_err(|error| database_error(what, error))?;
        Ok(Transaction { writer, what })
    }

    /// This folder's log id: made at creation, and anew when the folder was put back from a backup.
    pub(crate) async fn log_id(&self, restored: bool) -> Result<LogId> {
        let mut transaction = self.begin("log").await?;
        let known: Option<Vec<u8>> = sqlx::query_scalar("SELECT log_id FROM region")
            .fetch_optional(&mut *transaction)
            .await
            .map_err(|error| database_error("log", error))?;
        if let Some(bytes) = known.as_deref().filter(|_| !restored) {
            return log_id_from(bytes);
        }
        let id = LogId(rand::random::<u128>().max(1));
        let statements = if known.is_none() { CREATED } else { RESTORED };
        for sql in statements {
            let done = sqlx::query(*sql).bind(log_id_bytes(id)).execute(&mut *transaction).await;
            done.map_err(|error| database_error("log", error))?;
        }
        transaction.commit().await?;
        Ok(id)
    }

    /// From now on the database may not grow past its present size, or may again: a full disk, for the contract suites.
    pub(crate) async fn limit_to_present_size(&self, limited: bool) -> Result<()> {
        let mut writer = self.writer.lock().await;
        let connection = writer.connection.as_mut().ok_or(Error::Closed { what: "fault" })?;
        let failed = |error| database_error("fault", error);
        let pages: i64 = if limited {
            // Free pages would be room to grow.
            sqlx::query("VACUUM").execute(&mut *connection).await.map_err(failed)?;
            sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *connection).await.map_err(failed)?
        } else {
            i64::from(u32::MAX) - 1
        };
        let limit = AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        sqlx::query(limit).execute(connection).await.map_err(failed)?;
        Ok(())
    }

    /// Closes all connections; the last one folds the write-ahead log into the database.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        let mut writer = self.writer.lock().await;
        if let Some(connection) = writer.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "closing the database failed; nothing is lost, the next start recovers it");
        }
        writer.lock = None;
    }
}

/// A writing transaction. Queries go to the connection it derefs to.
pub(crate) struct Transaction<'a> {
    writer: MutexGuard<'a, Writer>,
    what: &'static str,
}

impl Transaction<'_> {
    /// Makes the transaction durable.
    pub(crate) async fn commit(mut self) -> Result<()> {
        let what = self.what;
        sqlx::query("COMMIT").execute(&mut *self).await.map_err(|error| database_error(what, error))?;
        self.writer.dirty = false;
        Ok(())
    }
}

impl Deref for Transaction<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.writer.connection.as_ref().expect("a transaction begins only on an open connection")
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.writer.connection.as_mut().expect("a transaction begins only on an open connection")
    }
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|&(version, name, sql)| {
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// SQLite's words in the region's.
pub(crate) fn database_error(what: &'static str, error: sqlx::Error) -> Error {
    // The low byte of SQLite's extended result code.
    let code = match &error {
        sqlx::Error::Database(database) => {
            database.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff)
        }
        _ => None,
    };
    match (code, error) {
        (_, sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed) => Error::Closed { what },
        // SQLITE_FULL
        (Some(13), error) => Error::Full { what, source: Some(error.into()) },
        // SQLITE_BUSY, SQLITE_LOCKED, SQLITE_READONLY, SQLITE_IOERR, SQLITE_CANTOPEN
        (Some(5 | 6 | 8 | 10 | 14), error) => Error::Unavailable { what, source: Some(error.into()) },
        (None, error @ (sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut)) => {
            Error::Unavailable { what, source: Some(error.into()) }
        }
        // SQLITE_CORRUPT, SQLITE_NOTADB
        (Some(11 | 26), error) => Error::Corrupt { what: what.to_owned(), detail: error.to_string() },
        (_, error) => Error::Failed { what, source: error.into() },
    }
}

pub(crate) fn log_id_bytes(id: LogId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

pub(crate) fn log_id_from(bytes: &[u8]) -> Result<LogId> {
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|bytes| LogId(u128::from_be_bytes(bytes)))
        .ok_or_else(|| Error::Corrupt { what: "log id".to_owned(), detail: "it is not 16 bytes".to_owned() })
}

/// SQLite's integers are signed.
///
/// # Errors
/// `Invalid` beyond 2^63 - 1, which no counter, offset, generation or instant reaches.
pub(crate) fn integer(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| Error::Invalid(format!("{value} is too large: at most 2^63 - 1")))
}

/// The number in a column that only [`integer`] writes.
pub(crate) fn unsigned(row: &sqlx::sqlite::SqliteRow, column: &str) -> Result<u64> {
    let value: i64 = row.try_get(column).map_err(|error| database_error("database", error))?;
    u64::try_from(value)
        .map_err(|_| Error::Corrupt { what: format!("column {column}"), detail: "it is negative".to_owned() })
}

/// A counter in a column that may be NULL.
pub(crate) fn counter(row: &sqlx::sqlite::SqliteRow, column: &str) -> Result<Option<u64>> {
    let value: Option<i64> = row.try_get(column).map_err(|error| database_error("database", error))?;
    Ok(value.and_then(|value| u64::try_from(value).ok()))
}

/// A site as a column: its top bit flipped, so that signed order is unsigned order.
pub(crate) struct SiteColumn;

impl SiteColumn {
    pub(crate) fn from_site(site: SiteId) -> i64 {
        (site.get() ^ (1 << 63)).cast_signed()
    }

    pub(crate) fn to_site(value: i64) -> SiteId {
        SiteId::new(value.cast_unsigned() ^ (1 << 63))
    }
}

/// The columns that name a generation of a document.
pub(crate) struct DocumentColumns<'a> {
    pub(crate) document: &'a str,
    pub(crate) generation: i64,
}

impl<'a> DocumentColumns<'a> {
    pub(crate) fn of(key: &'a DocumentKey) -> Result<Self> {
        Ok(Self { document: key.document.as_str(), generation: integer(key.generation)? })
    }
}
