//! A promotion: what has to happen in a region once it holds the control plane, in order.
//!
//! Every step may be repeated: a process that takes the lease up again after a restart goes through all of them, and those that
//! were done find nothing to do. Every step carries the epoch, and whoever it writes to refuses an older one.

pub mod endpoints;
#[cfg(feature = "regional")]
pub mod route53;
pub mod routes;
#[cfg(feature = "regional")]
pub mod steps;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

/// Pause before a step that failed is tried again: the first one; doubled up to 32 times as much.
const RETRY: Duration = Duration::from_millis(200);

/// What went wrong in a step, for people.
pub type StepError = Box<dyn std::error::Error + Send + Sync>;

/// One step.
pub trait Step: Send + Sync {
    /// What it is called, e.g. `route 53`.
    fn name(&self) -> &'static str;

    /// What it would do in that epoch, a line each; nothing is changed.
    fn plan(&self, epoch: u64) -> BoxFuture<'_, Result<Vec<String>, StepError>>;

    /// Does it, if it is not done.
    fn run(&self, epoch: u64) -> BoxFuture<'_, Result<(), StepError>>;
}

/// How far a promotion has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The epoch; 0: there was none yet.
    pub epoch: u64,
    /// Steps that are done.
    pub done: Vec<&'static str>,
    /// The step that is being tried.
    pub doing: Option<&'static str>,
    /// What stood in its way last.
    pub trouble: Option<String>,
}

/// Does a step again until it is done; `trouble` hears what stood in its way each time.
pub async fn until_done(step: &dyn Step, epoch: u64, trouble: impl Fn(&StepError)) {
    let mut pause = RETRY;
    while let Err(error) = step.run(epoch).await {
        {
            let cause = &*error as &dyn std::error::Error;
            tracing::warn!(step = step.name(), epoch, error = cause, "a step of the promotion is tried again");
        }
        trouble(&error);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY * 32);
    }
    tracing::info!(step = step.name(), epoch, "done");
}

/// Goes through the steps, each until it is done. `begun` is told the epoch when the first one, which begins it in the control
/// plane, is: decisions may be made from then on.
pub(super) async fn promote(
    steps: Arc<[Box<dyn Step>]>,
    epoch: u64,
    progress: watch::Sender<Progress>,
    begun: watch::Sender<Option<u64>>,
) {
    progress.send_replace(Progress { epoch, ..Progress::default() });
    for (index, step) in steps.iter().enumerate() {
        progress.send_modify(|progress| progress.doing = Some(step.name()));
        let trouble = |error: &StepError| progress.send_modify(|progress| progress.trouble = Some(error.to_string()));
        until_done(&**step, epoch, trouble).await;
        progress.send_modify(|progress| {
            progress.done.push(step.name());
            (progress.doing, progress.trouble) = (None, None);
        });
        if index == 0 {
            begun.send_replace(Some(epoch));
        }
    }
    if steps.is_empty() {
        begun.send_replace(Some(epoch));
    }
}
