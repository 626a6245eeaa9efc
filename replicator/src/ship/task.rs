//! Ship's shell: carries out on two regions' parts what [`Ship`] decides.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use selvedge_region::{
    BusMessage, DocumentId, DocumentKey, EntryContent, Error, LogPage, Position, REPLICATED_READER, Reading, Region,
    Result,
};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::fill::{Waiting, fill_runs};
use super::{CopyId, Effect, Event, Ship, ShipConfig, reader_of, reseed};
use crate::clock;
use crate::latest::Latest;
use crate::metrics::ShipMetrics;
use crate::reading::{Order, Readings, Told};

/// Time passes in steps of this.
const TICK: Duration = Duration::from_millis(25);
/// How long a member may take to settle partitions that are asked back, or everything at a stop.
const SETTLE: Duration = Duration::from_secs(10);
/// How long the bus may take for one message.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long after it was shipped a document's op stores are compared, in milliseconds.
const FILL_AFTER_MS: u64 = 60_000;
/// Pause after something could not be told or kept.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a ship ended.
#[derive(Debug)]
pub enum ShipEnd {
    /// It was told to.
    Stopped,
    /// The peer's log is not the one it was: the peer has to be opened anew, and another ship started.
    PeerReplaced(Error),
    /// This region's log cannot be read: join again.
    SourceFailed(Error),
}

/// Ship running in this process, from one region's log to another's.
pub struct ShipTask {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<ShipEnd>,
}

impl ShipTask {
    /// Joins the group of the ships of this pair of logs.
    #[must_use]
    pub fn spawn(source: Region, target: Region, config: ShipConfig, metrics: Arc<ShipMetrics>) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop: Some(stop), task: tokio::spawn(run(source, target, config, metrics, stopped)) }
    }

    /// Waits until it ends by itself. Safe to drop before it answers.
    pub async fn ended(&mut self) -> ShipEnd {
        let fault =
            |error: tokio::task::JoinError| ShipEnd::SourceFailed(Error::Failed { what: "ship", source: error.into() });
        (&mut self.task).await.unwrap_or_else(fault)
    }

    /// Waits (at most 10 s) for what is on its way, commits it, leaves the group, and ends.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself; then there is nobody to tell.
            let _ = stop.send(());
        }
        if let ShipEnd::PeerReplaced(error) | ShipEnd::SourceFailed(error) = self.ended().await {
            tracing::warn!(%error, "ship had ended before");
        }
    }
}

async fn run(
    source: Region,
    target: Region,
    config: ShipConfig,
    metrics: Arc<ShipMetrics>,
    stopped: oneshot::Receiver<()>,
) -> ShipEnd {
    let (from, to) = (source.log.log_id(), target.log.log_id());
    match Readings::join(&*source.log, &reader_of(from, to)).await {
        Ok(readings) => Shell::new(source, target, Ship::new(config, from, to), metrics).run(readings, stopped).await,
        Err(error) => ShipEnd::SourceFailed(error),
    }
}

struct Shell {
    source: Region,
    target: Region,
    machine: Ship,
    metrics: Arc<ShipMetrics>,
    /// Polled by one task in the order they were made, so that the peer's log takes them in that order.
    copies: FuturesUnordered<BoxFuture<'static, (CopyId, Result<()>)>>,
    reseeds: JoinSet<Event>,
    /// Told to the rooms.
    announced: Latest<DocumentId, Position>,
    /// Kept for late rooms.
    marked: Latest<u32, u64>,
    telling: JoinSet<()>,
    leaving: Option<(tokio::time::Instant, Vec<u32>)>,
    /// Documents whose op stores are compared later.
    waiting: Waiting,
    filling: JoinSet<()>,
}

impl Shell {
    fn new(source: Region, target: Region, machine: Ship, metrics: Arc<ShipMetrics>) -> Self {
        let (announced, marked) = (Latest::new(), Latest::new());
        let mut telling = JoinSet::new();
        telling.spawn(announce(source.clone(), announced.clone()));
        telling.spawn(mark(source.clone(), marked.clone()));
        let (copies, reseeds) = (FuturesUnordered::new(), JoinSet::new());
        let (waiting, filling) = (Waiting::default(), JoinSet::new());
        Self {
            source,
            target,
            machine,
            metrics,
            copies,
            reseeds,
            announced,
            marked,
            telling,
            leaving: None,
            waiting,
            filling,
        }
    }

    async fn run(mut self, mut readings: Readings, mut stopped: oneshot::Receiver<()>) -> ShipEnd {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ending: Option<tokio::time::Instant> = None;
        loop {
            tokio::select! {
                told = readings.told() => {
                    if let Told::Ended(error) = told {
                        return ShipEnd::SourceFailed(error);
                    }
                    self.heard(told, &readings);
                }
                Some((copy, outcome)) = self.copies.next() => {
                    if let Err(error @ Error::Gone { .. }) = outcome {
                        readings.leave().await;
                        return ShipEnd::PeerReplaced(error);
                    }
                    self.copied(copy, outcome, &readings);
                }
                Some(done) = self.reseeds.join_next() => match done {
                    Ok(event) => self.on(event, &readings),
                    Err(error) => tracing::error!(%error, "feeding the peer ended by a fault"),
                },
                _ = &mut stopped, if ending.is_none() => {
                    ending = Some(tokio::time::Instant::now() + SETTLE);
                    self.on(Event::Stop, &readings);
                }
                _ = ticks.tick() => {
                    self.on(Event::Tick, &readings);
                    self.fill();
                }
            }
            self.metrics.held_bytes.set(i64::try_from(self.machine.held_bytes()).unwrap_or(i64::MAX));
            let lag = self.machine.lag_ms(clock::now());
            self.metrics.lag_ms.set(i64::try_from(lag).unwrap_or(i64::MAX));
            self.give_up(&readings);
            if let Some(deadline) = ending
                && (self.machine.is_idle() || tokio::time::Instant::now() >= deadline)
            {
                readings.leave().await;
                self.telling.shutdown().await;
                return ShipEnd::Stopped;
            }
        }
    }

    fn copied(&mut self, copy: CopyId, outcome: Result<()>, readings: &Readings) {
        if let Err(error) = &outcome {
            self.metrics.failures.inc();
            tracing::warn!(%error, "the peer's log took no copy; it is repeated");
        }
        self.on(Event::Copied { copy, done: outcome.is_ok() }, readings);
    }

    fn heard(&mut self, told: Told, readings: &Readings) {
        let event = match told {
            Told::Reading(Reading::Assigned(assignments)) => Event::Assigned(assignments),
            Told::Reading(Reading::Revoked(partitions)) => {
                self.leaving = Some((tokio::time::Instant::now() + SETTLE, partitions.clone()));
                Event::Revoked(partitions)
            }
            Told::Reading(Reading::Lost(partitions)) => Event::Lost(partitions),
            Told::Reading(Reading::Page(page)) => {
                self.metrics.records.inc_by(page.entries.len() as u64);
                self.note(&page);
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

    fn note(&mut self, page: &LogPage) {
        let now = clock::now();
        for entry in &page.entries {
            if let EntryContent::Record(record) = &entry.content {
                self.waiting.note(DocumentKey::new(record.document.clone(), record.generation), now);
            }
        }
    }

    /// Compares the op stores of one document, if that is due, one at a time.
    fn fill(&mut self) {
        while self.filling.try_join_next().is_some() {}
        if !self.filling.is_empty() {
            return;
        }
        let Some(key) = self.waiting.take(clock::now(), FILL_AFTER_MS) else { return };
        let (source, target, metrics) = (self.source.clone(), self.target.clone(), Arc::clone(&self.metrics));
        self.filling.spawn(async move {
            match fill_runs(&source, &target, &key).await {
                Ok(0) => {}
                Ok(filled) => {
                    metrics.filled.inc_by(filled);
                    tracing::info!(document = %key.document, filled, "runs that had not arrived were filled in");
                }
                // The next record of the document has it compared again.
                Err(error) => tracing::debug!(document = %key.document, %error, "op stores were not compared"),
            }
        });
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
        match effect {
            Effect::Commit { partition, offset } => readings.order(Order::Commit { partition, offset }),
            Effect::Rewind { partition, offset } => readings.order(Order::Rewind { partition, offset }),
            Effect::Mark { partition, offset } => self.marked.set(partition, offset),
            Effect::Announce { watermark, documents } => {
                for document in documents {
                    self.announced.set(document, watermark);
                }
            }
            Effect::Copy { copy, records, .. } => {
                let (log, metrics) = (Arc::clone(&self.target.log), Arc::clone(&self.metrics));
                let count = records.len() as u64;
                self.copies.push(Box::pin(async move {
                    let outcome = log.append(records).await.map(drop);
                    metrics.copied.inc_by(if outcome.is_ok() { count } else { 0 });
                    (copy, outcome)
                }));
            }
            Effect::Reseed { partition, below } => {
                let (source, target) = (self.source.clone(), self.target.clone());
                let metrics = Arc::clone(&self.metrics);
                self.reseeds.spawn(async move {
                    tracing::warn!(partition, below, "the peer is fed what the log may not hold");
                    let outcome = reseed(&source, &target, partition).await;
                    match &outcome {
                        Ok(given) => {
                            metrics.reseeded.inc_by(given.documents);
                            tracing::info!(partition, given.documents, given.runs, given.segments, "the peer was fed");
                        }
                        Err(error) => tracing::warn!(partition, %error, "feeding the peer is repeated"),
                    }
                    Event::Reseeded { partition, done: outcome.is_ok() }
                });
            }
        }
    }
}

/// Tells the rooms, for ever.
async fn announce(source: Region, announced: Latest<DocumentId, Position>) {
    loop {
        let (document, watermark) = announced.next().await;
        let message = Arc::new(BusMessage::Replicated { watermark });
        let telling = tokio::time::timeout(ANNOUNCE_TIMEOUT, source.bus.publish(&document, message)).await;
        if let Ok(Ok(())) = telling {
            continue;
        }
        tracing::debug!(%document, "the watermark is told again");
        announced.put_back(document, watermark);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Keeps the watermark for late rooms, for ever.
async fn mark(source: Region, marked: Latest<u32, u64>) {
    loop {
        let (partition, offset) = marked.next().await;
        if let Err(error) = source.log.commit_progress(REPLICATED_READER, partition, offset).await {
            tracing::debug!(partition, %error, "the watermark is kept again");
            marked.put_back(partition, offset);
            tokio::time::sleep(PAUSE).await;
        }
    }
}
