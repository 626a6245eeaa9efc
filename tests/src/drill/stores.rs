//! A document from one part of a region alone: the snapshot, the op store, the log. Each has to make the same text.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use selvedge_engine::Delta;
use selvedge_region::fold::Fold;
use selvedge_region::history::fold_history;
use selvedge_region::{DocumentKey, EntryContent, Error, Position, Region};

use crate::history::{Ranges, ranges};

/// Entries read at once.
const PAGE: usize = 1_000;

/// What a part makes of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreReading {
    /// The text.
    pub text: String,
    /// What it covers, by site.
    pub vector: BTreeMap<String, u64>,
}

impl StoreReading {
    fn of(fold: &Fold) -> Self {
        let vector = fold.vector().iter().map(|(site, counter)| (site.to_string(), counter)).collect();
        Self { text: fold.document().text(), vector }
    }
}

/// What the newest snapshot says, and nothing else; `None`: there is none.
///
/// # Errors
/// When it cannot be read.
pub async fn from_snapshot(region: &Region, key: &DocumentKey) -> anyhow::Result<Option<StoreReading>> {
    let Some(latest) = region.snapshots.latest(key).await? else { return Ok(None) };
    let fold = Fold::from_snapshot(&latest.snapshot).with_context(|| format!("the snapshot of {}", key.document))?;
    Ok(Some(StoreReading::of(&fold)))
}

/// What the op store's runs make with the segments of what was moved from there, without snapshot and log.
///
/// # Errors
/// When one cannot be read or folded.
pub async fn from_ops(region: &Region, key: &DocumentKey) -> anyhow::Result<StoreReading> {
    let mut fold = Fold::new();
    fold_history(region, key, &mut fold).await.with_context(|| format!("the history of {}", key.document))?;
    Ok(StoreReading::of(&fold))
}

/// What the log's records make, without snapshot and op store.
///
/// # Errors
/// When one cannot be read or folded; a log that was trimmed cannot do this alone.
pub async fn from_log(region: &Region, key: &DocumentKey) -> anyhow::Result<StoreReading> {
    let (mut fold, mut from) = (Fold::new(), None);
    loop {
        let page = match region.log.tail(&key.document, from, PAGE).await {
            Err(Error::Gone { .. }) => anyhow::bail!("the log of {} was trimmed", key.document),
            page => page?,
        };
        for entry in &page.entries {
            if matches!(&entry.content, EntryContent::Record(record) if record.generation == key.generation) {
                fold.integrate_entry(entry).with_context(|| format!("the record at {}", entry.position.offset))?;
            }
        }
        if page.at_end {
            return Ok(StoreReading::of(&fold));
        }
        from = Some(page.next);
    }
}

/// The counters of each site that the log holds, and how many of its records of the document say what earlier ones said.
///
/// # Errors
/// When the log cannot be read.
pub async fn logged(region: &Region, key: &DocumentKey) -> anyhow::Result<BTreeMap<String, Ranges>> {
    let mut counters: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut from: Option<Position> = None;
    loop {
        let page = region.log.tail(&key.document, from, PAGE).await?;
        for entry in &page.entries {
            let EntryContent::Record(record) = &entry.content else { continue };
            if record.generation != key.generation {
                continue;
            }
            let delta =
                Delta::decode(&record.delta).with_context(|| format!("the record at {}", entry.position.offset))?;
            counters.entry(delta.site.to_string()).or_default().extend(delta.first..=delta.last());
        }
        if page.at_end {
            break;
        }
        from = Some(page.next);
    }
    Ok(counters.into_iter().map(|(site, counters)| (site, ranges(&counters))).collect())
}
