//! The task that writes the log: everything that waits goes into one multi-row insert in one transaction.

use std::sync::Arc;

use sqlx::{QueryBuilder, Sqlite};
use tokio::sync::{mpsc, oneshot, watch};

use super::{PARTITION, WHAT};
use crate::embedded::{Database, database_error, integer, unsigned};
use crate::{DocumentId, LogId, Position, Result};

/// Rows of one statement, and of a group commit of several calls: three variables a row, and SQLite takes 32,766.
const COMMIT_ROWS_MAX: usize = 8192;
/// Bytes of one group commit, so that one of them never blocks the disk for long.
const COMMIT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One call of `append`, on its way to the committer.
pub(super) struct Append {
    pub(super) rows: Vec<LogRow>,
    pub(super) bytes: usize,
    pub(super) done: oneshot::Sender<Result<Vec<Position>>>,
}

/// One record, encoded.
pub(super) struct LogRow {
    pub(super) document: DocumentId,
    pub(super) record: Vec<u8>,
}

/// One past the last offset ever given out.
pub(super) async fn head_on_disk(database: &Database) -> Result<u64> {
    let row = sqlx::query(
        "SELECT MAX(COALESCE((SELECT MAX(offset) + 1 FROM log), 0), (SELECT log_floor FROM region)) AS head",
    )
    .fetch_one(database.readers())
    .await
    .map_err(|error| database_error(WHAT, error))?;
    unsigned(&row, "head")
}

/// The task that writes.
pub(super) struct Committer {
    pub(super) database: Arc<Database>,
    pub(super) id: LogId,
    pub(super) head: watch::Sender<u64>,
    /// Whether `head` is what the disk has: not after a failed commit.
    pub(super) certain: bool,
}

impl Committer {
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Append>) {
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
            self.head.send_replace(head_on_disk(&self.database).await?);
            self.certain = true;
        }
        let first = *self.head.borrow();
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
        self.head.send_replace(first + count);
        Ok(first)
    }
}
