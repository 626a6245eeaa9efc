//! Persist's shell: carries out on a region's parts what [`Persist`] decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use selvedge_engine::{Delta, Op};
use selvedge_region::fold::{Hole, PERSIST_READER, materialise, snapshot_document};
use selvedge_region::{
    AuditEntry, BusMessage, DocumentId, DocumentKey, EntryContent, Error, LogEntry, LogRecord, Reading, Region, Result,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::{Effect, Event, Persist, PersistConfig};
use crate::clock;
use crate::metrics::PersistMetrics;
use crate::reading::{Order, Readings, Told};

/// Time passes in steps of this.
const TICK: Duration = Duration::from_millis(50);
/// How long a member may take to settle partitions that are asked back, or everything at a stop.
const SETTLE: Duration = Duration::from_secs(10);
/// How long the bus may take for one page before the rest of it is left to the rooms' own healing.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);
/// Pages waiting to be told to the bus; more are left to the rooms' own healing.
const PUBLISH_PAGES_MAX: usize = 16;
/// Pause before a group is joined again after the log failed.
const REJOIN: Duration = Duration::from_secs(1);
/// Who writes what closes a hole.
const SYSTEM: &str = "system:persist";

/// What persist learns from the rest of the replicator.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The epoch in which this region holds the control plane, or `None`.
    pub deciding: watch::Receiver<Option<u64>>,
    /// Grows each time everything that any region's log held has been read here.
    pub regions_heard: watch::Receiver<u64>,
}

impl Surroundings {
    /// Of a region without a peer: it is always the one that decides, and has always heard every region.
    #[must_use]
    pub fn alone(epoch: u64) -> Self {
        Self { deciding: watch::channel(Some(epoch)).1, regions_heard: watch::channel(1).1 }
    }
}

/// Persist running in this process.
pub struct PersistTask {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl PersistTask {
    /// Joins the group of the region's persists and goes on until it is stopped.
    #[must_use]
    pub fn spawn(
        region: Region,
        config: PersistConfig,
        surroundings: Surroundings,
        metrics: Arc<PersistMetrics>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(run(region, config, surroundings, metrics, stopped)) }
    }

    /// Writes and commits what was read, makes the snapshots that wait, leaves the group, and ends. At most 10 s: what is not
    /// done by then is read again.
    pub async fn stop(self) {
        // It may have ended by itself; then there is nobody to tell.
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "persist ended by a fault");
        }
    }
}

async fn run(
    region: Region,
    config: PersistConfig,
    surroundings: Surroundings,
    metrics: Arc<PersistMetrics>,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        match Readings::join(&*region.log, PERSIST_READER).await {
            Ok(readings) => {
                let shell = Shell::new(region.clone(), &config, surroundings.clone(), Arc::clone(&metrics));
                if shell.run(readings, &mut stopped).await {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "the log cannot be read yet"),
        }
        metrics.rejoins.inc();
        tokio::select! {
            _ = &mut stopped => return,
            () = tokio::time::sleep(REJOIN) => {}
        }
    }
}

/// One membership of the group.
struct Shell {
    region: Region,
    machine: Persist,
    snapshots_kept: usize,
    surroundings: Surroundings,
    metrics: Arc<PersistMetrics>,
    /// Writes, snapshots and holes that are being carried out; bounded by the machine.
    work: JoinSet<Option<Event>>,
    publishing: mpsc::Sender<Vec<LogEntry>>,
    /// Until when partitions that are asked back may still be settled, and which they are.
    leaving: Option<(tokio::time::Instant, Vec<u32>)>,
}

impl Shell {
    fn new(region: Region, config: &PersistConfig, surroundings: Surroundings, metrics: Arc<PersistMetrics>) -> Self {
        let (publishing, pages) = mpsc::channel(PUBLISH_PAGES_MAX);
        let mut work = JoinSet::new();
        work.spawn(publish_pages(region.clone(), pages, Arc::clone(&metrics)));
        let machine = Persist::new(config.clone());
        let snapshots_kept = config.snapshots_kept;
        Self { region, machine, snapshots_kept, surroundings, metrics, work, publishing, leaving: None }
    }

    /// Reads until told to stop (true) or until the log ends (false).
    async fn run(mut self, mut readings: Readings, stopped: &mut oneshot::Receiver<()>) -> bool {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let deciding = *self.surroundings.deciding.borrow_and_update();
        self.on(Event::Deciding(deciding), &readings);
        let mut heard_before = 0;
        let mut ending: Option<tokio::time::Instant> = None;
        loop {
            tokio::select! {
                told = readings.told() => {
                    if let Told::Ended(error) = told {
                        tracing::warn!(%error, "the log ended; joining again");
                        return false;
                    }
                    self.heard(told, &readings);
                }
                Some(done) = self.work.join_next() => match done {
                    Ok(Some(event)) => self.on(event, &readings),
                    Ok(None) => {}
                    Err(error) => tracing::error!(%error, "a part of persist ended by a fault"),
                },
                _ = &mut *stopped, if ending.is_none() => {
                    ending = Some(tokio::time::Instant::now() + SETTLE);
                    self.on(Event::Stop, &readings);
                }
                _ = ticks.tick() => self.tick(&readings, &mut heard_before),
            }
            self.give_up(&readings);
            if let Some(deadline) = ending
                && (self.machine.is_idle() || tokio::time::Instant::now() >= deadline)
            {
                readings.leave().await;
                return true;
            }
        }
    }

    fn tick(&mut self, readings: &Readings, heard_before: &mut u64) {
        if self.surroundings.deciding.has_changed().unwrap_or(false) {
            let deciding = *self.surroundings.deciding.borrow_and_update();
            self.on(Event::Deciding(deciding), readings);
        }
        let heard = *self.surroundings.regions_heard.borrow();
        if heard != *heard_before {
            *heard_before = heard;
            self.on(Event::RegionsHeard, readings);
        }
        self.on(Event::Tick, readings);
        self.metrics.held_bytes.set(i64::try_from(self.machine.held_bytes()).unwrap_or(i64::MAX));
        self.metrics.holes.set(i64::try_from(self.machine.holes()).unwrap_or(i64::MAX));
    }

    fn heard(&mut self, told: Told, readings: &Readings) {
        let event = match told {
            Told::Reading(Reading::Assigned(assignments)) => {
                for own in assignments.iter().filter(|own| own.committed.is_some_and(|committed| committed < own.from))
                {
                    let (partition, from) = (own.partition, own.from);
                    tracing::error!(
                        partition,
                        from,
                        committed = own.committed,
                        "the log was trimmed before it was read"
                    );
                }
                Event::Assigned(assignments)
            }
            Told::Reading(Reading::Revoked(partitions)) => {
                self.leaving = Some((tokio::time::Instant::now() + SETTLE, partitions.clone()));
                Event::Revoked(partitions)
            }
            Told::Reading(Reading::Lost(partitions)) => Event::Lost(partitions),
            Told::Reading(Reading::Page(page)) => {
                self.metrics.records.inc_by(page.entries.len() as u64);
                Event::Page(page)
            }
            Told::Reading(Reading::Idle) | Told::Ended(_) => return,
            Told::Committed { partition, offset, outcome } => {
                if let Err(error) = &outcome {
                    tracing::debug!(partition, offset, %error, "a commit is repeated");
                }
                Event::Committed { partition, offset, done: outcome.is_ok() }
            }
            Told::Rewound { partition, outcome } => Event::Rewound { partition, done: outcome.is_ok() },
            Told::Trouble(error) => {
                tracing::warn!(%error, "the log does not answer");
                return;
            }
        };
        self.on(event, readings);
    }

    /// Gives up what was asked back once it is settled, or when that takes too long.
    fn give_up(&mut self, readings: &Readings) {
        let Some((deadline, partitions)) = &self.leaving else { return };
        if self.machine.has_left() || tokio::time::Instant::now() >= *deadline {
            let gone = Event::Lost(partitions.clone());
            self.leaving = None;
            self.on(gone, readings);
            readings.order(Order::Proceed);
        }
    }

    fn on(&mut self, event: Event, readings: &Readings) {
        for effect in self.machine.on(event, clock::now()) {
            self.carry_out(effect, readings);
        }
    }

    fn carry_out(&mut self, effect: Effect, readings: &Readings) {
        let (region, metrics) = (self.region.clone(), Arc::clone(&self.metrics));
        match effect {
            Effect::Publish(entries) => {
                if self.publishing.try_send(entries).is_err() {
                    metrics.unpublished.inc();
                }
            }
            Effect::Commit { partition, offset } => readings.order(Order::Commit { partition, offset }),
            Effect::Rewind { partition, offset } => readings.order(Order::Rewind { partition, offset }),
            Effect::Write { write, key, runs } => {
                self.work.spawn(async move {
                    let (count, began) = (runs.len() as u64, tokio::time::Instant::now());
                    let done = kept(region.ops.put(&key, runs).await, &metrics);
                    if done {
                        metrics.runs.inc_by(count);
                        metrics.write_seconds.observe(began.elapsed().as_secs_f64());
                    }
                    Some(Event::Written { write, done })
                });
            }
            Effect::PutAside { write, letter } => {
                self.work.spawn(async move {
                    tracing::error!(offset = letter.position.offset, reason = letter.reason, "record put aside");
                    let done = kept(region.log.dead_letter(letter).await, &metrics);
                    metrics.dead_letters.inc_by(u64::from(done));
                    Some(Event::Written { write, done })
                });
            }
            Effect::Snapshot(key) => {
                let snapshots_kept = self.snapshots_kept;
                self.work.spawn(async move {
                    let holes = match snapshot_document(&region, &key, snapshots_kept).await {
                        Ok(holes) => {
                            metrics.snapshots.inc();
                            Some(holes)
                        }
                        Err(error) => {
                            tracing::warn!(document = %key.document, %error, "snapshot postponed");
                            metrics.failures.inc();
                            None
                        }
                    };
                    Some(Event::Snapshotted { key, holes })
                });
            }
            Effect::CloseHole { key, hole, epoch } => {
                self.work.spawn(async move {
                    match close_hole(&region, &key, hole, epoch).await {
                        Ok(true) => drop(metrics.holes_closed.inc()),
                        Ok(false) => {}
                        Err(error) => tracing::warn!(document = %key.document, %error, "a hole stays open"),
                    }
                    None
                });
            }
        }
    }
}

/// Whether a write is done with: also when what it brings is refused for ever because something else is kept there.
fn kept(outcome: Result<()>, metrics: &PersistMetrics) -> bool {
    match outcome {
        Ok(()) => true,
        // The first content is kept; repeating would find the same.
        Err(error @ Error::Divergence { .. }) => {
            tracing::error!(%error, "one dot, two contents");
            metrics.divergences.inc();
            true
        }
        Err(error) => {
            tracing::warn!(%error, "a write is repeated");
            metrics.failures.inc();
            false
        }
    }
}

/// Tells the bus of pages, one after the other, until nobody hands any over.
async fn publish_pages(
    region: Region,
    mut pages: mpsc::Receiver<Vec<LogEntry>>,
    metrics: Arc<PersistMetrics>,
) -> Option<Event> {
    while let Some(entries) = pages.recv().await {
        let told = tokio::time::timeout(PUBLISH_TIMEOUT, publish(&region, entries)).await;
        if !matches!(told, Ok(Ok(()))) {
            metrics.unpublished.inc();
        }
    }
    None
}

/// Tells the bus of one page, each document's records in order.
async fn publish(region: &Region, entries: Vec<LogEntry>) -> Result<()> {
    let mut documents: BTreeMap<DocumentId, Vec<Arc<BusMessage>>> = BTreeMap::new();
    for entry in entries {
        if let EntryContent::Record(record) = entry.content {
            let document = record.document.clone();
            let message = BusMessage::Logged { position: entry.position, record: Arc::new(record) };
            documents.entry(document).or_default().push(Arc::new(message));
        }
    }
    let telling = documents.iter().map(async |(document, messages)| {
        for message in messages {
            region.bus.publish(document, Arc::clone(message)).await?;
        }
        Ok(())
    });
    futures_util::future::try_join_all(telling).await.map(drop)
}

/// Closes a hole that is still there; answers whether it was. The `void` goes the way of every delta.
async fn close_hole(region: &Region, key: &DocumentKey, hole: Hole, epoch: u64) -> Result<bool> {
    let fold = materialise(region, key).await?;
    let found = fold.holes().into_iter().find(|now| now.site == hole.site && now.first == hole.first);
    let Some(Hole { site, first, last }) = found else { return Ok(false) };
    let void = Delta { site, first, ops: vec![Op::Void { length: last - first + 1 }] };
    let record =
        LogRecord { epoch, ..LogRecord::new(key.document.clone(), key.generation, SYSTEM.to_owned(), void.encode()) };
    region.log.append(vec![record]).await?;
    let entry = AuditEntry {
        at_ms: clock::wall_ms(),
        principal: SYSTEM.to_owned(),
        action: "hole.close".to_owned(),
        document: Some(key.document.clone()),
        detail: format!("site {site}, counters {first}..={last}, generation {}, epoch {epoch}", key.generation),
    };
    region.control.audit(entry).await?;
    tracing::warn!(document = %key.document, %site, first, last, epoch, "a hole nobody filled was closed");
    Ok(true)
}
