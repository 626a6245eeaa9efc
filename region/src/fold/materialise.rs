//! A document from what the region keeps: newest snapshot, then op store, then the tail of the log.

use selvedge_engine::{ApplyError, Delta};

use super::{Fold, PERSIST_READER};
use crate::ops::DocumentKey;
use crate::{EntryContent, Error, Position, Region, Result};

const PAGE_LIMIT: usize = 1000;

/// Folds a document up to the log's end as it was during the call. Everything below persist's committed offset is in the op
/// store, everything above it in the tail, so neither a missing snapshot nor a trimmed log loses text.
///
/// # Errors
/// As the parts. A damaged snapshot is passed over, one that is older and intact or none at all takes its place.
pub async fn materialise(region: &Region, key: &DocumentKey) -> Result<Fold> {
    // Before the op store is read: what persist writes meanwhile must not be taken for read.
    let log = region.log.log_id();
    let partition = region.log.partition(&key.document);
    let committed = region.log.progress(PERSIST_READER, partition).await?;
    let committed = committed.map(|offset| Position { log, partition, offset });
    let mut fold = newest_snapshot(region, key).await?;
    let hint = fold.position().filter(|position| position.log == log && position.partition == partition);
    read_ops(region, key, &mut fold).await?;
    let from = [committed, hint].into_iter().flatten().max_by_key(|position| position.offset);
    read_tail(region, key, &mut fold, from).await?;
    Ok(fold)
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

async fn read_ops(region: &Region, key: &DocumentKey, fold: &mut Fold) -> Result<()> {
    let since = fold.vector().clone();
    let mut cursor = None;
    loop {
        let page = region.ops.read(key, &since, cursor, PAGE_LIMIT).await?;
        for run in &page.runs {
            let folded = Delta::decode(&run.bytes).map_err(ApplyError::from).and_then(|delta| fold.integrate(delta));
            folded.map_err(|error| Error::Corrupt {
                what: format!("run {}..={} of site {} in {}", run.first, run.last, run.site, key.document),
                detail: error.to_string(),
            })?;
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

async fn read_tail(region: &Region, key: &DocumentKey, fold: &mut Fold, mut from: Option<Position>) -> Result<()> {
    loop {
        let page = match region.log.tail(&key.document, from, PAGE_LIMIT).await {
            // What is trimmed lies below persist's offset, so the op store had it.
            Err(Error::Gone { earliest: Some(earliest), .. }) if from != Some(earliest) => {
                from = Some(earliest);
                continue;
            }
            page => page?,
        };
        for entry in &page.entries {
            if matches!(&entry.content, EntryContent::Record(record) if record.generation == key.generation) {
                // A delta that no engine can read is put aside by persist, and passed over here.
                if let Err(error) = fold.integrate_entry(entry) {
                    tracing::warn!(document = %key.document, offset = entry.position.offset, %error, "record passed over");
                }
            }
        }
        fold.advance_to(page.next);
        if page.at_end {
            return Ok(());
        }
        from = Some(page.next);
    }
}
