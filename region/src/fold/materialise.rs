//! A document from what the region keeps: newest snapshot, then op store, then the tail of the log; from fewer of them while
//! one is away.
//!
//! | away | what stands in |
//! |---|---|
//! | snapshots (PostgreSQL, or S3 for a large one) | the op store, from its first run, and the segments of what was trimmed from it |
//! | segments (S3) | nothing is lacking while there is a snapshot; without one, the log if it still reaches back to its beginning |
//! | op store (DynamoDB) | the log, from the snapshot's position on, if it still reaches back there |
//! | log (Kafka) | the hot tail; what neither it nor persist has is missing until the log is back, and the fold says so |

use std::time::Duration;

use futures_util::future::BoxFuture;
use selvedge_engine::VersionVector;

use super::{Fold, PERSIST_READER};
use crate::history::{fold_history, fold_run};
use crate::ops::DocumentKey;
use crate::{BusMessage, EntryContent, Error, LogEntry, Position, Region, Result};

const PAGE_LIMIT: usize = 1000;
/// A log that has not said by then how far persist is, is away.
const LOG_ANSWERS_WITHIN: Duration = Duration::from_secs(4);

/// Folds a document up to the log's end as it was during the call. Everything below persist's committed offset is in the op
/// store, everything above it in the tail, so neither a missing snapshot nor a trimmed log loses text.
///
/// While the log is away the fold is of what else there is, and its [`Fold::read_to`] is unknown.
///
/// # Errors
/// As the parts, when too many are away for a whole document. A damaged snapshot is passed over, one that is older and
/// intact or none at all takes its place.
pub fn materialise<'a>(region: &'a Region, key: &'a DocumentKey) -> BoxFuture<'a, Result<Fold>> {
    Box::pin(async move {
        // Before the op store is read: what persist writes meanwhile must not be taken for read.
        let committed = committed(region, key).await;
        let (mut fold, no_snapshot) = match newest_snapshot(region, key).await {
            Ok(fold) => (fold, None),
            Err(error) => (Fold::new(), Some(away(key, "snapshot", error)?)),
        };
        let at = Position { log: region.log.log_id(), partition: region.log.partition(&key.document), offset: 0 };
        let hint = fold.position().filter(|hint| (hint.log, hint.partition) == (at.log, at.partition));
        let mut trimmed = VersionVector::new();
        let no_ops = match read_ops(region, key, &mut fold, &mut trimmed).await {
            Ok(()) => None,
            Err(error) => Some(away(key, "op store", error)?),
        };
        let tail = match committed {
            Ok(committed) => {
                // Without the op store nothing but a snapshot stands for what lies below persist's offset.
                let committed = committed.filter(|_| no_ops.is_none()).map(|offset| Position { offset, ..at });
                let from = [committed, hint].into_iter().flatten().max_by_key(|position| position.offset);
                read_tail(region, key, &mut fold, from).await
            }
            Err(error) => Err(error),
        };
        let whole = match tail {
            Ok(whole) => whole,
            Err(error) => {
                let error = away(key, "log", error)?;
                if fold.vector().is_empty() || (no_ops.is_some() && no_snapshot.is_some()) {
                    return Err(error);
                }
                return without_log(region, key, fold, hint).await;
            }
        };
        let lacking = !fold.vector().dominates(&trimmed);
        match no_ops {
            Some(error) if !whole || lacking => Err(error),
            None if lacking => {
                tracing::error!(document = %key.document, "neither snapshots nor segments have all that was trimmed");
                Ok(fold)
            }
            _ => Ok(fold),
        }
    })
}

/// Passes an error on, unless it says that a part is away.
fn away(key: &DocumentKey, part: &'static str, error: Error) -> Result<Error> {
    if !matches!(error, Error::Unavailable { .. } | Error::Throttled { .. }) {
        return Err(error);
    }
    tracing::warn!(
        document = %key.document,
        part,
        error = &error as &dyn std::error::Error,
        "the document is made without a part that is away"
    );
    Ok(error)
}

async fn committed(region: &Region, key: &DocumentKey) -> Result<Option<u64>> {
    let partition = region.log.partition(&key.document);
    let asked = tokio::time::timeout(LOG_ANSWERS_WITHIN, region.log.progress(PERSIST_READER, partition)).await;
    asked.unwrap_or_else(|late| Err(Error::Unavailable { what: "log", source: Some(late.into()) }))
}

async fn newest_snapshot(region: &Region, key: &DocumentKey) -> Result<Fold> {
    let latest = match region.snapshots.latest(key).await {
        Err(Error::Corrupt { what, detail }) => {
            tracing::error!(document = %key.document, what, detail, "rebuilding from op store and log");
            None
        }
        latest => latest?,
    };
    let Some(latest) = latest else {
        return Ok(Fold::new());
    };
    if !latest.damaged.is_empty() {
        tracing::error!(document = %key.document, versions = ?latest.damaged, "damaged snapshots passed over");
    }
    Fold::from_snapshot(&latest.snapshot).or_else(|error| {
        tracing::error!(document = %key.document, version = latest.version, %error, "unreadable snapshot passed over");
        Ok(Fold::new())
    })
}

/// Folds the op store's runs in, and where snapshots do not stand for what was trimmed from it, the segments, too. `trimmed` is
/// told what was.
async fn read_ops(region: &Region, key: &DocumentKey, fold: &mut Fold, trimmed: &mut VersionVector) -> Result<()> {
    let since = fold.vector().clone();
    let mut cursor = None;
    loop {
        let page = region.ops.read(key, &since, cursor, PAGE_LIMIT).await?;
        for run in &page.runs {
            fold_run(key, fold, run)?;
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    // After the runs: what was trimmed while they were read is noted by now.
    *trimmed = region.ops.trimmed(key).await?;
    if !fold.vector().dominates(trimmed) {
        tracing::warn!(document = %key.document, "no snapshot covers what was trimmed: reading the segments");
        fold_history(region, key, fold).await?;
    }
    Ok(())
}

/// Reads the log to its end; answers whether it reached back to `from`, or to its own first record where there is no `from`.
async fn read_tail(region: &Region, key: &DocumentKey, fold: &mut Fold, mut from: Option<Position>) -> Result<bool> {
    let mut whole = match from {
        Some(_) => true,
        None => region.log.bounds(region.log.partition(&key.document)).await?.start.offset == 0,
    };
    loop {
        let page = match region.log.tail(&key.document, from, PAGE_LIMIT).await {
            // What is trimmed lies below persist's offset, so the op store had it.
            Err(Error::Gone { earliest: Some(earliest), .. }) if from != Some(earliest) => {
                from = Some(earliest);
                whole = false;
                continue;
            }
            page => page?,
        };
        for entry in &page.entries {
            integrate(key, fold, entry);
        }
        fold.advance_to(page.next);
        if page.at_end {
            return Ok(whole);
        }
        from = Some(page.next);
    }
}

fn integrate(key: &DocumentKey, fold: &mut Fold, entry: &LogEntry) {
    if matches!(&entry.content, EntryContent::Record(record) if record.generation == key.generation) {
        // A delta that no engine can read is put aside by persist, and passed over here.
        if let Err(error) = fold.integrate_entry(entry) {
            tracing::warn!(document = %key.document, offset = entry.position.offset, %error, "record passed over");
        }
    }
}

/// Adds what the hot tail has. It says nothing of what it lacks, so the fold's position stays the snapshot's.
async fn without_log(region: &Region, key: &DocumentKey, mut fold: Fold, hint: Option<Position>) -> Result<Fold> {
    let Some(hint) = hint else { return Ok(fold.without_position()) };
    let recent = match region.bus.recent(&key.document, hint).await {
        // The first call after a connection was lost finds that out; the next one has a new connection.
        Err(Error::Unavailable { .. }) => region.bus.recent(&key.document, hint).await,
        recent => recent,
    };
    match recent {
        Ok(recent) => {
            for message in recent {
                if let BusMessage::Logged { position, record } = &*message {
                    let content = EntryContent::Record((**record).clone());
                    integrate(key, &mut fold, &LogEntry { position: *position, content });
                }
            }
        }
        Err(error) => tracing::debug!(document = %key.document, %error, "the hot tail does not help"),
    }
    Ok(fold.without_position())
}
