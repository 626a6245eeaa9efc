//! Carrying the control plane's topic to the other region: decisions to the standby, facts both ways. Which of them take
//! effect where they arrive is decided there.

use std::sync::Arc;
use std::time::Duration;

use selvedge_region::{ControlLog, Result};
use tokio::sync::watch;

/// Records carried at once.
const PAGE: usize = 500;
/// Pause at the end of the topic, and after a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// Carries records for ever. `carried` is told the offset below which every record has been.
pub async fn carry(source: Arc<dyn ControlLog>, target: Arc<dyn ControlLog>, carried: watch::Sender<u64>) {
    let mut from = None;
    loop {
        match page(&*source, &*target, &mut from).await {
            Ok((next, at_end)) => {
                carried.send_if_modified(|before| std::mem::replace(before, next) != next);
                if !at_end {
                    continue;
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the control plane's records are carried again"
                );
                // The target may be another one now.
                from = None;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn page(source: &dyn ControlLog, target: &dyn ControlLog, from: &mut Option<u64>) -> Result<(u64, bool)> {
    let begin = match *from {
        Some(from) => from,
        None => target.imported(source.log_id()).await?,
    };
    let page = source.records(begin, PAGE).await?;
    if !page.records.is_empty() {
        target.import(source.log_id(), page.records).await?;
    }
    *from = Some(page.next);
    Ok((page.next, page.at_end))
}
