//! Failover's shell: speaks to the witness, and carries a promotion out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use selvedge_protocol::Instant;
use selvedge_region::Error;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::promotion::{Progress, Step, promote};
use super::witness::Witness;
use super::{Effect, Event, Failover, FailoverConfig, Lease, Outcome};
use crate::clock;
use crate::metrics::FailoverMetrics;

/// Time passes in steps of this.
const TICK: Duration = Duration::from_millis(50);
/// How long the witness may take to answer; a write that took longer may or may not stand.
const ANSWER: Duration = Duration::from_millis(1500);

/// Waits until another region has everything that the control plane needs there.
pub trait Drain: Send + Sync {
    /// Answers when that region has all that was logged here before the call.
    fn drain<'a>(&'a self, to: &'a str) -> BoxFuture<'a, ()>;
}

/// What may be known of it from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The lease as it was seen last.
    pub lease: Option<Lease>,
    /// When it was seen to move last.
    pub seen: Instant,
    /// The epoch in which this process holds the control plane, from when it is begun there.
    pub deciding: Option<u64>,
    /// Its newest promotion here.
    pub promotion: Progress,
}

/// Failover running in this process.
pub struct FailoverTask {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    deciding: watch::Receiver<Option<u64>>,
    standing: watch::Receiver<Standing>,
}

impl FailoverTask {
    /// Begins to look at the witness. `steps` are gone through whenever this process takes the lease; the first one begins the
    /// epoch in the control plane.
    #[must_use]
    pub fn spawn(
        config: FailoverConfig,
        witness: Arc<dyn Witness>,
        steps: Vec<Box<dyn Step>>,
        drain: Arc<dyn Drain>,
        metrics: Arc<FailoverMetrics>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (deciding_tell, deciding) = watch::channel(None);
        let (standing_tell, standing) = watch::channel(Standing::default());
        let shell = Shell {
            machine: Failover::new(config),
            witness,
            steps: steps.into(),
            drain,
            metrics,
            answers: JoinSet::new(),
            promotion: None,
            progress: watch::channel(Progress::default()).0,
            deciding: deciding_tell,
            standing: standing_tell,
        };
        Self { stop, task: tokio::spawn(shell.run(stopped)), deciding, standing }
    }

    /// The epoch in which this process holds the control plane.
    #[must_use]
    pub fn deciding(&self) -> watch::Receiver<Option<u64>> {
        self.deciding.clone()
    }

    /// How everything stands.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Ends it. The lease runs out by itself, or the region's next process takes it up.
    pub async fn stop(self) {
        // It may have ended by itself; then there is nobody to tell.
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "failover ended by a fault");
        }
    }
}

struct Shell {
    machine: Failover,
    witness: Arc<dyn Witness>,
    steps: Arc<[Box<dyn Step>]>,
    drain: Arc<dyn Drain>,
    metrics: Arc<FailoverMetrics>,
    /// Requests on their way; the machine has at most one of each kind.
    answers: JoinSet<Option<Event>>,
    promotion: Option<JoinHandle<()>>,
    progress: watch::Sender<Progress>,
    deciding: watch::Sender<Option<u64>>,
    standing: watch::Sender<Standing>,
}

impl Shell {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                Some(answer) = self.answers.join_next() => match answer {
                    Ok(Some(event)) => self.on(event),
                    Ok(None) => {}
                    Err(error) => tracing::error!(%error, "a question to the witness ended by a fault"),
                },
                _ = ticks.tick() => self.on(Event::Tick),
            }
            self.show();
        }
        self.end_promotion();
    }

    fn on(&mut self, event: Event) {
        for effect in self.machine.on(event, clock::now()) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let (witness, metrics) = (Arc::clone(&self.witness), Arc::clone(&self.metrics));
        match effect {
            Effect::Look => {
                self.answers.spawn(async move {
                    let looked = tokio::time::timeout(ANSWER, witness.look()).await;
                    Some(match looked {
                        Ok(Ok(view)) => Event::Looked { view, wall_ms: clock::wall_ms() },
                        _ => {
                            metrics.witness_failures.inc();
                            Event::LookFailed
                        }
                    })
                });
            }
            Effect::Observe(observation) => {
                self.answers.spawn(async move {
                    // What is not heard counts as silence.
                    let _ = tokio::time::timeout(ANSWER, witness.observe(&observation)).await;
                    None
                });
            }
            Effect::Write { expected, lease } => {
                let asked = clock::now();
                self.answers.spawn(async move {
                    let outcome = match tokio::time::timeout(ANSWER, witness.write(expected, &lease)).await {
                        Ok(Ok(())) => Outcome::Done,
                        Ok(Err(Error::Conflict { .. })) => Outcome::Conflict,
                        _ => {
                            metrics.witness_failures.inc();
                            Outcome::Unknown
                        }
                    };
                    Some(Event::Wrote { lease, asked, outcome })
                });
            }
            Effect::Drain { to } => {
                let drain = Arc::clone(&self.drain);
                self.answers.spawn(async move {
                    drain.drain(&to).await;
                    Some(Event::Drained)
                });
            }
            Effect::Began { epoch } => self.begin(epoch),
            Effect::Ended { epoch } => {
                tracing::warn!(epoch, "the control plane is not held here any more");
                self.end_promotion();
            }
        }
    }

    fn begin(&mut self, epoch: u64) {
        tracing::warn!(epoch, "the control plane is held here");
        self.metrics.promotions.inc();
        self.end_promotion();
        let promotion = promote(Arc::clone(&self.steps), epoch, self.progress.clone(), self.deciding.clone());
        self.promotion = Some(tokio::spawn(promotion));
    }

    /// Decides nothing from here on. A step that is under way is dropped: whatever it still writes carries its epoch.
    fn end_promotion(&mut self) {
        if let Some(promotion) = self.promotion.take() {
            promotion.abort();
        }
        self.deciding.send_replace(None);
    }

    fn show(&mut self) {
        // The first step may have been done a moment before the lease ran out.
        let held = self.machine.deciding(clock::now());
        let deciding = self.deciding.borrow().filter(|epoch| held == Some(*epoch));
        let standing = Standing {
            lease: self.machine.lease().cloned(),
            seen: self.machine.seen(),
            deciding,
            promotion: self.progress.borrow().clone(),
        };
        self.metrics
            .epoch
            .set(standing.lease.as_ref().map_or(0, |lease| i64::try_from(lease.epoch).unwrap_or(i64::MAX)));
        self.metrics.holding.set(i64::from(deciding.is_some()));
        self.standing.send_if_modified(|shown| {
            let changed = *shown != standing;
            *shown = standing;
            changed
        });
    }
}
