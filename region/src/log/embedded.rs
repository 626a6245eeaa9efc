//! The log on SQLite: one partition, group commits.
//!
//! One committer task owns the order. It takes everything that waits, up to a bound, writes it as one multi-row insert in
//! one transaction, and answers each caller when SQLite has synced; what arrives meanwhile goes together in the next. So
//! one commit is in flight, an idle log answers after one sync, and a busy one spends 2-4 us of processor a row.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{DeadLetter, EntryContent, LogEntry, LogPage, RegionLog};
use crate::embedded::{Database, database_error, integer, log_id_bytes, log_id_from, unsigned};
use crate::record::LogRecord;
use crate::{DocumentId, Error, LogId, Position, Result};

/// Appends that may wait for the committer. When it is full, `append` waits: the caller's own queue is the bound.
const WAITING_APPENDS_MAX: usize = 4096;
/// Rows of one statement, and of a group commit of several calls: three variables a row, and SQLite takes 32,766.
const COMMIT_ROWS_MAX: usize = 8192;
/// Bytes of one group commit, so that one of them never blocks the disk for long.
const COMMIT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one page.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Entries of one page.
const PAGE_ENTRIES_MAX: usize = 10_000;
const PARTITION: u32 = 0;
const WHAT: &str = "log";

/// One call of `append`, on its way to the committer.
struct Append {
    rows: Vec<LogRow>,
    bytes: usize,
    done: oneshot::Sender<Result<Vec<Position>>>,
}

struct LogRow {
    document: DocumentId,
    record: Vec<u8>,
}

/// The log of a data folder.
pub(crate) struct SqliteLog {
    database: Arc<Database>,
    id: LogId,
    /// `None` once closed.
    appends: Mutex<Option<mpsc::Sender<Append>>>,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// One past the last durable offset.
    head: Arc<AtomicU64>,
}

impl SqliteLog {
    /// Starts the committer on the log as it is on the disk.
    pub(crate) async fn start(database: Arc<Database>, id: LogId) -> Result<Self> {
        let head = Arc::new(AtomicU64::new(head_on_disk(&database).await?));
        let (appends, waiting) = mpsc::channel(WAITING_APPENDS_MAX);
        let committer = Committer { database: Arc::clone(&database), id, head: Arc::clone(&head), certain: true };
        let task = tokio::spawn(committer.run(waiting));
        Ok(Self { database, id, appends: Mutex::new(Some(appends)), committer: Mutex::new(Some(task)), head })
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

    fn at(&self, offset: u64) -> Position {
        Position { log: self.id, partition: PARTITION, offset }
    }

    fn end(&self) -> Position {
        self.at(self.head.load(Ordering::Acquire))
    }

    /// The offset a reader begins at, if the log can serve it.
    async fn start_of(&self, from: Option<Position>) -> Result<i64> {
        let floor: i64 = sqlx::query_scalar("SELECT log_floor FROM region")
            .fetch_one(self.database.readers())
            .await
            .map_err(|error| database_error(WHAT, error))?;
        let Some(from) = from else { return Ok(floor) };
        let end = self.end();
        if from.log != end.log || from.partition != PARTITION || from.offset > end.offset {
            return Err(Error::BeyondEnd { asked: from, end });
        }
        let offset = integer(from.offset)?;
        if offset < floor {
            let earliest = Some(self.at(floor.cast_unsigned()));
            return Err(Error::Gone { what: format!("log before offset {floor}"), earliest });
        }
        Ok(offset)
    }

    /// Turns rows `(offset, record)`, one more than `limit` if there are more, into a page.
    fn page(&self, rows: Vec<SqliteRow>, limit: usize, end: Position) -> Result<LogPage> {
        let mut page = LogPage { entries: Vec::with_capacity(rows.len().min(limit)), next: end, at_end: true };
        let mut bytes_in_page = 0;
        for row in rows {
            let position = self.at(unsigned(&row, "offset")?);
            let bytes: Vec<u8> = row.try_get("record").map_err(|error| database_error(WHAT, error))?;
            let full =
                page.entries.len() == limit || (bytes_in_page + bytes.len() > PAGE_BYTES_MAX && bytes_in_page > 0);
            if full {
                page.next = position;
                page.at_end = false;
                break;
            }
            bytes_in_page += bytes.len();
            // A row that another process put there since `end` was read.
            page.next.offset = page.next.offset.max(position.offset + 1);
            let content = match LogRecord::decode(&bytes) {
                Ok(record) => EntryContent::Record(record),
                Err(reason) => EntryContent::Undecodable { bytes, reason },
            };
            page.entries.push(LogEntry { position, content });
        }
        Ok(page)
    }
}

impl RegionLog for SqliteLog {
    fn log_id(&self) -> LogId {
        self.id
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
        Box::pin(async move {
            let limit = limit.clamp(1, PAGE_ENTRIES_MAX);
            let start = self.start_of(from).await?;
            let end = self.end();
            let rows = sqlx::query(
                "SELECT offset, record FROM log WHERE document = ? AND offset >= ? ORDER BY offset LIMIT ?",
            )
            .bind(document.as_str())
            .bind(start)
            .bind(row_limit(limit))
            .fetch_all(self.database.readers())
            .await
            .map_err(|error| database_error(WHAT, error))?;
            self.page(rows, limit, end)
        })
    }

    fn read(&self, partition: u32, from: u64, limit: usize) -> BoxFuture<'_, Result<LogPage>> {
        Box::pin(async move {
            let limit = limit.clamp(1, PAGE_ENTRIES_MAX);
            let start = self.start_of(Some(Position { log: self.id, partition, offset: from })).await?;
            let end = self.end();
            let rows = sqlx::query("SELECT offset, record FROM log WHERE offset >= ? ORDER BY offset LIMIT ?")
                .bind(start)
                .bind(row_limit(limit))
                .fetch_all(self.database.readers())
                .await
                .map_err(|error| database_error(WHAT, error))?;
            self.page(rows, limit, end)
        })
    }

    fn head<'a>(&'a self, _document: &'a DocumentId) -> BoxFuture<'a, Result<Position>> {
        Box::pin(async move { Ok(self.end()) })
    }

    fn trim(&self, partition: u32, below: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let (asked, end) = (Position { log: self.id, partition, offset: below }, self.end());
            if partition != PARTITION || below > end.offset {
                return Err(Error::BeyondEnd { asked, end });
            }
            let below = integer(below)?;
            let mut transaction = self.database.begin(WHAT).await?;
            for sql in ["DELETE FROM log WHERE offset < ?", "UPDATE region SET log_floor = MAX(log_floor, ?)"] {
                let done = sqlx::query(sql).bind(below).execute(&mut *transaction).await;
                done.map_err(|error| database_error(WHAT, error))?;
            }
            transaction.commit().await
        })
    }

    fn dead_letter<'a>(&'a self, letter: DeadLetter) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut transaction = self.database.begin("dead letters").await?;
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
                .fetch_all(self.database.readers())
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
            let (asked, end) = (Position { log: self.id, partition, offset }, self.end());
            if partition != PARTITION || offset > end.offset {
                return Err(Error::BeyondEnd { asked, end });
            }
            let mut transaction = self.database.begin("progress").await?;
            sqlx::query(
                "INSERT INTO progress (reader, offset) VALUES (?, ?) \
                 ON CONFLICT (reader) DO UPDATE SET offset = excluded.offset",
            )
            .bind(reader)
            .bind(integer(offset)?)
            .execute(&mut *transaction)
            .await
            .map_err(|error| database_error("progress", error))?;
            transaction.commit().await
        })
    }

    fn progress<'a>(&'a self, reader: &'a str, _partition: u32) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(async move {
            // A folder put back from a backup has a new log id over the same rows, so what was read of them stays read.
            let row = sqlx::query("SELECT offset FROM progress WHERE reader = ?")
                .bind(reader)
                .fetch_optional(self.database.readers())
                .await
                .map_err(|error| database_error("progress", error))?;
            row.map(|row| unsigned(&row, "offset")).transpose()
        })
    }
}

/// One more row than asked for tells whether there are more.
fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).map_or(i64::MAX, |limit| limit.saturating_add(1))
}

async fn head_on_disk(database: &Database) -> Result<u64> {
    let row = sqlx::query(
        "SELECT MAX(COALESCE((SELECT MAX(offset) + 1 FROM log), 0), (SELECT log_floor FROM region)) AS head",
    )
    .fetch_one(database.readers())
    .await
    .map_err(|error| database_error(WHAT, error))?;
    unsigned(&row, "head")
}

/// The task that writes.
struct Committer {
    database: Arc<Database>,
    id: LogId,
    head: Arc<AtomicU64>,
    /// Whether `head` is what the disk has: not after a failed commit.
    certain: bool,
}

impl Committer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Append>) {
        // What did not fit into the commit before.
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(append) => append,
                None => match waiting.recv().await {
                    Some(append) => append,
                    None => return,
                },
            };
            let mut group = vec![first];
            let (mut rows, mut bytes) = (group[0].rows.len(), group[0].bytes);
            while let Ok(append) = waiting.try_recv() {
                if rows + append.rows.len() > COMMIT_ROWS_MAX || bytes + append.bytes > COMMIT_BYTES_MAX {
                    next = Some(append);
                    break;
                }
                rows += append.rows.len();
                bytes += append.bytes;
                group.push(append);
            }
            self.commit(group).await;
        }
    }

    /// Writes a group and answers its callers.
    async fn commit(&mut self, group: Vec<Append>) {
        let (rows, callers): (Vec<_>, Vec<_>) = group.into_iter().map(|append| (append.rows, append.done)).unzip();
        let counts: Vec<u64> = rows.iter().map(|rows| rows.len() as u64).collect();
        match self.write(rows.into_iter().flatten().collect()).await {
            Ok(mut offset) => {
                for (done, count) in callers.into_iter().zip(counts) {
                    let positions = (offset..offset + count)
                        .map(|offset| Position { log: self.id, partition: PARTITION, offset })
                        .collect();
                    offset += count;
                    // A caller that went away has no use for the answer; its records are kept all the same.
                    let _ = done.send(Ok(positions));
                }
            }
            Err(error) => {
                self.certain = false;
                tracing::warn!(%error, appends = callers.len(), "a group commit failed; nothing of it is acknowledged");
                for done in callers {
                    let _ = done.send(Err(error.share()));
                }
            }
        }
    }

    /// Writes the rows at the end of the log; answers the first one's offset.
    async fn write(&mut self, rows: Vec<LogRow>) -> Result<u64> {
        if !self.certain {
            // A commit that answered an error may be on the disk all the same.
            self.head.store(head_on_disk(&self.database).await?, Ordering::Release);
            self.certain = true;
        }
        let first = self.head.load(Ordering::Acquire);
        let count = rows.len() as u64;
        if rows.is_empty() {
            return Ok(first);
        }
        integer(first + count)?;
        let mut transaction = self.database.begin(WHAT).await?;
        let mut numbered = (first.cast_signed()..).zip(rows).peekable();
        // One statement, unless a single call brought more rows than one takes.
        while numbered.peek().is_some() {
            let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO log (offset, document, record) ");
            insert.push_values(numbered.by_ref().take(COMMIT_ROWS_MAX), |mut values, (offset, row)| {
                values.push_bind(offset).push_bind(row.document.to_string()).push_bind(row.record);
            });
            // Statements of every length would only push each other out of the cache.
            let written = insert.build().persistent(count == 1).execute(&mut *transaction).await;
            written.map_err(|error| database_error(WHAT, error))?;
        }
        transaction.commit().await?;
        self.head.store(first + count, Ordering::Release);
        Ok(first)
    }
}
