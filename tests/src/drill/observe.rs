//! Watching who holds the control plane.

use std::time::Duration;

use serde::Deserialize;
use tokio::task::JoinHandle;

use super::Recorder;
use crate::fleet;
use crate::history::Event;

/// How often each observer is asked; promotion times are as exact as this.
const PAUSE: Duration = Duration::from_millis(100);
/// How long an answer may take: one that is halted answers nothing.
const WITHIN: Duration = Duration::from_secs(1);

/// What a replicator says of the control plane.
#[derive(Debug, Deserialize)]
struct Standing {
    epoch: u64,
    holder: Option<String>,
}

/// Asks a replicator until the task is aborted, and notes each change of what it says.
pub(super) fn observe(observer: String, admin: String, recorder: Recorder) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut last = None;
        loop {
            if let Some(standing) = ask(&admin).await
                && last.as_ref() != Some(&standing)
            {
                let (epoch, holder) = standing.clone();
                recorder.note(|at| Event::Reigns { at, observer: observer.clone(), epoch, holder });
                last = Some(standing);
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
}

/// The epoch and its holder; `None` while it does not answer or nobody holds it.
async fn ask(admin: &str) -> Option<(u64, String)> {
    let answer = tokio::time::timeout(WITHIN, fleet::get(admin, "/v1/control")).await.ok()?.ok()?;
    let standing: Standing = serde_json::from_str(&answer).ok()?;
    Some((standing.epoch, standing.holder?))
}
