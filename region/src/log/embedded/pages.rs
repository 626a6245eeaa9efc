//! The read side of the log on SQLite: pages of it, its bounds, and how far readers have come.

use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokio::sync::watch;

use super::{PARTITION, WHAT};
use crate::embedded::{Database, database_error, integer, unsigned};
use crate::log::{EntryContent, LogBounds, LogEntry, LogPage};
use crate::record::LogRecord;
use crate::{DocumentId, Error, LogId, Position, Result};

/// Bytes of one page.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Entries of one page.
const PAGE_ENTRIES_MAX: usize = 10_000;

/// What reads the log. Clones read the same one.
#[derive(Clone)]
pub(super) struct Pages {
    pub(super) database: Arc<Database>,
    pub(super) id: LogId,
    /// One past the last durable offset.
    pub(super) head: watch::Receiver<u64>,
}

impl Pages {
    pub(super) fn at(&self, offset: u64) -> Position {
        Position { log: self.id, partition: PARTITION, offset }
    }

    /// One past the last record that readers are shown. A commit is on the disk a moment before it is told here: a reader
    /// that took rows from beyond would next ask beyond the end.
    pub(super) fn end(&self) -> Position {
        self.at(*self.head.borrow())
    }

    /// The offset a reader begins at, if the log can serve it.
    async fn start_of(&self, from: Option<Position>) -> Result<i64> {
        let floor = self.floor().await?;
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
            let content = match LogRecord::decode(&bytes) {
                Ok(record) => EntryContent::Record(record),
                Err(reason) => EntryContent::Undecodable { bytes, reason },
            };
            page.entries.push(LogEntry { position, content });
        }
        Ok(page)
    }
    async fn floor(&self) -> Result<i64> {
        sqlx::query_scalar("SELECT log_floor FROM region")
            .fetch_one(self.database.readers())
            .await
            .map_err(|error| database_error(WHAT, error))
    }

    pub(super) async fn bounds(&self, partition: u32) -> Result<LogBounds> {
        if partition != PARTITION {
            return Err(Error::Invalid(format!("there is no partition {partition}: this log has one, {PARTITION}")));
        }
        let start = self.at(self.floor().await?.cast_unsigned());
        Ok(LogBounds { start, end: self.end() })
    }

    pub(super) async fn tail(&self, document: &DocumentId, from: Option<Position>, limit: usize) -> Result<LogPage> {
        let limit = limit.clamp(1, PAGE_ENTRIES_MAX);
        let start = self.start_of(from).await?;
        let end = self.end();
        let rows = sqlx::query(
            "SELECT offset, record FROM log WHERE document = ? AND offset >= ? AND offset < ? ORDER BY offset LIMIT ?",
        )
        .bind(document.as_str())
        .bind(start)
        .bind(integer(end.offset)?)
        .bind(row_limit(limit))
        .fetch_all(self.database.readers())
        .await
        .map_err(|error| database_error(WHAT, error))?;
        self.page(rows, limit, end)
    }

    pub(super) async fn read(&self, partition: u32, from: u64, limit: usize) -> Result<LogPage> {
        let limit = limit.clamp(1, PAGE_ENTRIES_MAX);
        let start = self.start_of(Some(Position { log: self.id, partition, offset: from })).await?;
        let end = self.end();
        let rows =
            sqlx::query("SELECT offset, record FROM log WHERE offset >= ? AND offset < ? ORDER BY offset LIMIT ?")
                .bind(start)
                .bind(integer(end.offset)?)
                .bind(row_limit(limit))
                .fetch_all(self.database.readers())
                .await
                .map_err(|error| database_error(WHAT, error))?;
        self.page(rows, limit, end)
    }

    pub(super) async fn commit_progress(&self, reader: &str, partition: u32, offset: u64) -> Result<()> {
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
    }

    pub(super) async fn progress(&self, reader: &str) -> Result<Option<u64>> {
        // A folder put back from a backup has a new log id over the same rows, so what was read of them stays read.
        let row = sqlx::query("SELECT offset FROM progress WHERE reader = ?")
            .bind(reader)
            .fetch_optional(self.database.readers())
            .await
            .map_err(|error| database_error("progress", error))?;
        row.map(|row| unsigned(&row, "offset")).transpose()
    }
}

/// One more row than asked for tells whether there are more.
pub(super) fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).map_or(i64::MAX, |limit| limit.saturating_add(1))
}
