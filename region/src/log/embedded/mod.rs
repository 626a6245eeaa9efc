//! The log on SQLite: one partition, group commits.
//!
//! One committer task owns the order. It takes everything that waits, up to a bound, writes it as one multi-row insert in
//! one transaction, and answers each caller when SQLite has synced; what arrives meanwhile goes together in the next. So
//! one commit is in flight, an idle log answers after one sync, and a busy one spends 2-4 us of processor a row.

mod committer;
mod pages;
mod reader;

use std::sync::Arc;

use committer::{Append, Committer, LogRow, head_on_disk};
use futures_util::future::BoxFuture;
use pages::{Pages, row_limit};
use reader::Groups;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::{DeadLetter, LogBounds, LogPage, LogReader, RegionLog};
use crate::embedded::{Database, database_error, integer, log_id_bytes, log_id_from, unsigned};
use crate::record::LogRecord;
use crate::{DocumentId, Error, LogId, Position, Result};

/// Appends that may wait for the committer. When it is full, `append` waits: the caller's own queue is the bound.
const WAITING_APPENDS_MAX: usize = 4096;
const PARTITION: u32 = 0;
const WHAT: &str = "log";

/// The log of a data folder.
pub(crate) struct SqliteLog {
    pages: Pages,
    /// `None` once closed.
    appends: Mutex<Option<mpsc::Sender<Append>>>,
    committer: Mutex<Option<JoinHandle<()>>>,
    groups: Arc<Groups>,
}

impl SqliteLog {
    /// Starts the committer on the log as it is on the disk.
    pub(crate) async fn start(database: Arc<Database>, id: LogId) -> Result<Self> {
        let (sender, head) = watch::channel(head_on_disk(&database).await?);
        let (appends, waiting) = mpsc::channel(WAITING_APPENDS_MAX);
        let committer = Committer { database: Arc::clone(&database), id, head: sender, certain: true };
        let task = tokio::spawn(committer.run(waiting));
        let pages = Pages { database, id, head };
        let (appends, committer) = (Mutex::new(Some(appends)), Mutex::new(Some(task)));
        Ok(Self { pages, appends, committer, groups: Arc::default() })
    }

    /// Lets the committer finish what waits, then ends it.
    pub(crate) async fn close(&self) {
        self.appends.lock().await.take();
        if let Some(task) = self.committer.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the log's committer ended by a fault");
        }
    }

    /// Hands rows to the committer and waits for its answer.
    async fn enqueue(&self, rows: Vec<LogRow>) -> Result<Vec<Position>> {
        let bytes = rows.iter().map(|row| row.record.len()).sum();
        let (done, answer) = oneshot::channel();
        let closed = || Error::Closed { what: WHAT };
        // The lock is held over the send, so that calls enter the queue in the order in which they came.
        let appends = self.appends.lock().await;
        let queue = appends.as_ref().ok_or_else(closed)?;
        let append = Append { rows, bytes, done };
        queue.send(append).await.map_err(|_| closed())?;
        drop(appends);
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Appends bytes that may be no record at all: damage, for the contract suite.
    pub(crate) async fn append_raw(&self, document: DocumentId, record: Vec<u8>) -> Result<Vec<Position>> {
        self.enqueue(vec![LogRow { document, record }]).await
    }
}

impl RegionLog for SqliteLog {
    fn log_id(&self) -> LogId {
        self.pages.id
    }

    fn partitions(&self) -> u32 {
        1
    }

    fn partition(&self, _document: &DocumentId) -> u32 {
        PARTITION
    }

    fn append(&self, batch: Vec<LogRecord>) -> BoxFuture<'_, Result<Vec<Position>>> {
        Box::pin(async move {
            let mut rows = Vec::with_capacity(batch.len());
            for record in batch {
                record.check().map_err(|error| Error::Invalid(error.to_string()))?;
                rows.push(LogRow { record: record.encode(), document: record.document });
            }
            self.enqueue(rows).await
        })
    }

    fn tail<'a>(
        &'a self,
        document: &'a DocumentId,
        from: Option<Position>,
        limit: usize,
    ) -> BoxFuture<'a, Result<LogPage>> {
        Box::pin(self.pages.tail(document, from, limit))
    }

    fn read(&self, partition: u32, from: u64, limit: usize) -> BoxFuture<'_, Result<LogPage>> {
        Box::pin(self.pages.read(partition, from, limit))
    }

    fn head<'a>(&'a self, _document: &'a DocumentId) -> BoxFuture<'a, Result<Position>> {
        Box::pin(async move { Ok(self.pages.end()) })
    }

    fn bounds(&self, partition: u32) -> BoxFuture<'_, Result<LogBounds>> {
        Box::pin(self.pages.bounds(partition))
    }

    fn join<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<Box<dyn LogReader>>> {
        Box::pin(async move { Ok(Groups::join(&self.groups, group, self.pages.clone())) })
    }

    fn trim(&self, partition: u32, below: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let (asked, end) = (Position { log: self.pages.id, partition, offset: below }, self.pages.end());
            if partition != PARTITION || below > end.offset {
                return Err(Error::BeyondEnd { asked, end });
            }
            let below = integer(below)?;
            let mut transaction = self.pages.database.begin(WHAT).await?;
            for sql in ["DELETE FROM log WHERE offset < ?", "UPDATE region SET log_floor = MAX(log_floor, ?)"] {
                let done = sqlx::query(sql).bind(below).execute(&mut *transaction).await;
                done.map_err(|error| database_error(WHAT, error))?;
            }
            transaction.commit().await
        })
    }

    fn dead_letter<'a>(&'a self, letter: DeadLetter) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut transaction = self.pages.database.begin("dead letters").await?;
            sqlx::query("INSERT OR IGNORE INTO dead_letters (log_id, offset, reason, bytes) VALUES (?, ?, ?, ?)")
                .bind(log_id_bytes(letter.position.log))
                .bind(integer(letter.position.offset)?)
                .bind(letter.reason)
                .bind(letter.bytes)
                .execute(&mut *transaction)
                .await
                .map_err(|error| database_error("dead letters", error))?;
            transaction.commit().await
        })
    }

    fn dead_letters(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        Box::pin(async move {
            let failed = |error| database_error("dead letters", error);
            let rows = sqlx::query("SELECT log_id, offset, reason, bytes FROM dead_letters ORDER BY rowid LIMIT ?")
                .bind(row_limit(limit))
                .fetch_all(self.pages.database.readers())
                .await
                .map_err(failed)?;
            let letter = |row: &SqliteRow| {
                let log = log_id_from(row.try_get("log_id").map_err(failed)?)?;
                Ok(DeadLetter {
                    position: Position { log, partition: PARTITION, offset: unsigned(row, "offset")? },
                    reason: row.try_get("reason").map_err(failed)?,
                    bytes: row.try_get("bytes").map_err(failed)?,
                })
            };
            rows.iter().take(limit).map(letter).collect()
        })
    }

    fn commit_progress<'a>(&'a self, reader: &'a str, partition: u32, offset: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if self.groups.has_members(reader) {
                return Err(Error::Conflict { what: format!("the progress of {reader}, a group with members,") });
            }
            self.pages.commit_progress(reader, partition, offset).await
        })
    }

    fn progress<'a>(&'a self, reader: &'a str, _partition: u32) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(self.pages.progress(reader))
    }
}
