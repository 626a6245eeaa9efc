//! Members of a consumer group with cooperative rebalancing.
//!
//! Kafka's client asks for partitions back in a callback and lets the program say later that it has given them up. So a
//! partition that is asked back stays the member's, commits included, until it calls for the next reading.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};

use super::{KafkaOptions, REQUEST_TIMEOUT, Topic, WHAT, blocking, decode, errors, kafka_error, list, offset};
use crate::log::{Assignment, LogEntry, LogPage, LogReader, Reading};
use crate::{Error, Position, Result};

/// What one look takes at most.
const PAGE_ENTRIES: usize = 1000;
const PAGE_BYTES: usize = 1024 * 1024;

/// Hears what the group decides.
#[derive(Default)]
struct GroupContext {
    decisions: Mutex<VecDeque<Decision>>,
    /// The member leaves: whatever is asked is done at once.
    closing: AtomicBool,
}

enum Decision {
    Assign(TopicPartitionList),
    Revoke { partitions: TopicPartitionList, lost: bool },
}

impl ClientContext for GroupContext {
    fn error(&self, error: KafkaError, reason: &str) {
        errors::note(&error, reason);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let assigned = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            let done = if assigned {
                consumer.incremental_assign(partitions)
            } else {
                consumer.incremental_unassign(partitions)
            };
            if let Err(error) = done {
                tracing::debug!(%error, "a group was left untidily");
            }
            return;
        }
        let decision = if assigned {
            Decision::Assign(partitions.clone())
        } else {
            Decision::Revoke { partitions: partitions.clone(), lost: consumer.assignment_lost() }
        };
        locked(&self.decisions).push_back(decision);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is whole, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A member of a group of one log's readers.
pub(super) struct Member {
    shared: Arc<Shared>,
    group: String,
    /// Where each own partition's next page begins, as the caller was told.
    at: BTreeMap<u32, u64>,
    /// Asked back by the last reading.
    revoked: Vec<u32>,
}

struct Shared {
    topic: Topic,
    consumer: BaseConsumer<GroupContext>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the caller has not been told yet.
    ready: VecDeque<Reading>,
    /// Asked back, told, and not given up yet.
    leaving: Option<TopicPartitionList>,
    /// Where each partition will be read next.
    next: BTreeMap<u32, u64>,
    /// Partitions read to their end.
    ended: BTreeSet<u32>,
}

impl Member {
    pub(super) fn join(options: &KafkaOptions, topic: &Topic, group: &str) -> Result<Box<dyn LogReader>> {
        let mut config = options.client();
        config
            .set("group.id", options.named(group))
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "1000")
            .set("max.poll.interval.ms", "60000")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.message.max.bytes", "1048576")
            .set("queued.max.messages.kbytes", "16384");
        let failed = |error| kafka_error(WHAT, error);
        let consumer: BaseConsumer<GroupContext> =
            config.create_with_context(GroupContext::default()).map_err(failed)?;
        consumer.subscribe(&[&topic.name]).map_err(failed)?;
        let shared = Shared { topic: topic.clone(), consumer, state: Mutex::default() };
        Ok(Box::new(Self {
            shared: Arc::new(shared),
            group: group.to_owned(),
            at: BTreeMap::new(),
            revoked: Vec::new(),
        }))
    }

    /// Notes what the caller is told.
    fn tell(&mut self, reading: Reading) -> Reading {
        match &reading {
            Reading::Assigned(assignments) => {
                self.at.extend(assignments.iter().map(|assignment| (assignment.partition, assignment.from)));
            }
            Reading::Lost(partitions) => self.at.retain(|partition, _| !partitions.contains(partition)),
            Reading::Page(page) => {
                self.at.insert(page.next.partition, page.next.offset);
            }
            Reading::Revoked(partitions) => self.revoked.clone_from(partitions),
            Reading::Idle => {}
        }
        reading
    }

    fn own(&self, partition: u32) -> Result<u64> {
        self.at.get(&partition).copied().ok_or_else(|| Error::Conflict {
            what: format!("partition {partition} of group {}, which is another member's,", self.group),
        })
    }
}

impl Shared {
    /// Looks for something to tell, at most so long; what it finds is put into the state.
    fn look(&self, wait: Duration) -> Result<()> {
        let deadline = Instant::now() + wait;
        let mut state = locked(&self.state);
        if let Some(partitions) = state.leaving.take() {
            self.consumer.incremental_unassign(&partitions).map_err(|error| kafka_error(WHAT, error))?;
        }
        loop {
            if !state.ready.is_empty() {
                return Ok(());
            }
            let decision = locked(&self.consumer.context().decisions).pop_front();
            match decision {
                Some(Decision::Assign(partitions)) => {
                    if let Err(error) = self.assign(&partitions, &mut state) {
                        locked(&self.consumer.context().decisions).push_front(Decision::Assign(partitions));
                        return Err(error);
                    }
                }
                Some(Decision::Revoke { partitions, lost }) => self.revoke(partitions, lost, &mut state)?,
                None => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.gather(left.min(Duration::from_millis(250)), &mut state)?;
                    if left.is_zero() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn assign(&self, partitions: &TopicPartitionList, state: &mut State) -> Result<()> {
        let failed = |error| kafka_error(WHAT, error);
        let mut asked = TopicPartitionList::new();
        for own in partitions.elements() {
            asked.add_partition(own.topic(), own.partition());
        }
        let committed = if asked.count() == 0 {
            asked
        } else {
            self.consumer.committed_offsets(asked, REQUEST_TIMEOUT).map_err(failed)?
        };
        let (mut told, mut begin) = (Vec::new(), TopicPartitionList::new());
        for own in committed.elements() {
            let committed = match own.offset() {
                Offset::Offset(offset) => Some(offset.cast_unsigned()),
                _ => None,
            };
            let bounds = || self.consumer.fetch_watermarks(own.topic(), own.partition(), REQUEST_TIMEOUT);
            let (low, _) = errors::when_led(bounds).map_err(failed)?;
            let low = low.max(0).cast_unsigned();
            let from = committed.map_or(low, |committed| committed.max(low));
            begin.add_partition_offset(own.topic(), own.partition(), offset(from)).map_err(failed)?;
            told.push(Assignment { partition: own.partition().cast_unsigned(), from, committed });
        }
        self.consumer.incremental_assign(&begin).map_err(failed)?;
        for assignment in &told {
            state.next.insert(assignment.partition, assignment.from);
            state.ended.remove(&assignment.partition);
        }
        if !told.is_empty() {
            state.ready.push_back(Reading::Assigned(told));
        }
        Ok(())
    }

    fn revoke(&self, partitions: TopicPartitionList, lost: bool, state: &mut State) -> Result<()> {
        let numbers: Vec<u32> = partitions.elements().iter().map(|own| own.partition().cast_unsigned()).collect();
        state.next.retain(|partition, _| !numbers.contains(partition));
        // Pages not told yet are the next owner's to read.
        state.ready.retain(|reading| !matches!(reading, Reading::Page(page) if numbers.contains(&page.next.partition)));
        if numbers.is_empty() || lost {
            self.consumer.incremental_unassign(&partitions).map_err(|error| kafka_error(WHAT, error))?;
        } else {
            state.leaving = Some(partitions);
        }
        if !numbers.is_empty() {
            state.ready.push_back(if lost { Reading::Lost(numbers) } else { Reading::Revoked(numbers) });
        }
        Ok(())
    }

    /// Takes what has arrived, waiting for the first of it, and makes one page a partition of it.
    fn gather(&self, wait: Duration, state: &mut State) -> Result<()> {
        let mut pages: BTreeMap<u32, Vec<LogEntry>> = BTreeMap::new();
        let (mut entries, mut bytes) = (0, 0);
        let mut caught_up = BTreeSet::new();
        let mut wait = wait;
        while entries < PAGE_ENTRIES && bytes < PAGE_BYTES {
            match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    let (partition, own) = (message.partition().cast_unsigned(), message.offset().cast_unsigned());
                    // Of a partition given up, or from before it was wound back.
                    if state.next.get(&partition).is_none_or(|next| *next > own) {
                        continue;
                    }
                    let value = message.payload().unwrap_or_default();
                    bytes += value.len();
                    entries += 1;
                    let position = Position { log: self.topic.id, partition, offset: own };
                    let entry = LogEntry { position, content: decode(value.to_vec()) };
                    pages.entry(partition).or_default().push(entry);
                    state.next.insert(partition, own + 1);
                    state.ended.remove(&partition);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    let partition = partition.cast_unsigned();
                    if state.next.contains_key(&partition) && state.ended.insert(partition) {
                        caught_up.insert(partition);
                    }
                }
                Some(Err(error)) => match kafka_error(WHAT, error) {
                    // The client mends what it can by itself and only tells of it.
                    Error::Unavailable { .. } if entries > 0 => break,
                    error => return self.told(error),
                },
            }
            if !locked(&self.consumer.context().decisions).is_empty() {
                break;
            }
            wait = Duration::ZERO;
        }
        for partition in caught_up {
            pages.entry(partition).or_default();
        }
        for (partition, entries) in pages {
            let Some(&next) = state.next.get(&partition) else { continue };
            let next = Position { log: self.topic.id, partition, offset: next };
            let at_end = state.ended.contains(&partition);
            state.ready.push_back(Reading::Page(LogPage { entries, next, at_end }));
        }
        Ok(())
    }

    /// A fault the client only tells of is no answer; one that lasts shows in what the caller does next.
    fn told(&self, error: Error) -> Result<()> {
        if error.retryable() {
            tracing::debug!(%error, topic = self.topic.name, "the group's client goes on");
            return Ok(());
        }
        Err(error)
    }
}

impl LogReader for Member {
    fn next(&mut self, wait: Duration) -> BoxFuture<'_, Result<Reading>> {
        Box::pin(async move {
            // What the caller gives up by calling again.
            let leaving = std::mem::take(&mut self.revoked);
            self.at.retain(|partition, _| !leaving.contains(partition));
            let shared = Arc::clone(&self.shared);
            let looked = tokio::task::spawn_blocking(move || shared.look(wait)).await;
            looked.unwrap_or_else(|error| Err(Error::Failed { what: WHAT, source: error.into() }))?;
            let reading = locked(&self.shared.state).ready.pop_front();
            Ok(self.tell(reading.unwrap_or(Reading::Idle)))
        })
    }

    fn rewind(&mut self, partition: u32, to: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let to = self.own(partition)?.min(to);
            let shared = Arc::clone(&self.shared);
            blocking(WHAT, move || {
                let mut state = locked(&shared.state);
                state
                    .ready
                    .retain(|reading| !matches!(reading, Reading::Page(page) if page.next.partition == partition));
                state.next.insert(partition, to);
                state.ended.remove(&partition);
                shared.consumer.seek(&shared.topic.name, partition.cast_signed(), offset(to), REQUEST_TIMEOUT)
            })
            .await?;
            self.at.insert(partition, to);
            Ok(())
        })
    }

    fn commit(&mut self, partition: u32, next: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let at = self.own(partition)?;
            if next > at {
                let asked = Position { log: self.shared.topic.id, partition, offset: next };
                return Err(Error::BeyondEnd { asked, end: Position { offset: at, ..asked } });
            }
            let list = list(&self.shared.topic.name, partition, offset(next))?;
            let shared = Arc::clone(&self.shared);
            blocking("progress", move || shared.consumer.commit(&list, CommitMode::Sync)).await
        })
    }

    fn leave(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            let left = tokio::task::spawn_blocking(move || drop(self)).await;
            left.map_err(|error| Error::Failed { what: WHAT, source: error.into() })
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // From here on the client is closed by whoever drops it, and asks for all partitions back.
        self.consumer.context().closing.store(true, Ordering::Release);
        if let Some(partitions) = locked(&self.state).leaving.take() {
            let _ = self.consumer.incremental_unassign(&partitions);
        }
        let decisions: Vec<_> = locked(&self.consumer.context().decisions).drain(..).collect();
        for decision in decisions {
            // Best effort: an assignment that was never taken up is given back with the rest.
            let _ = match decision {
                Decision::Assign(partitions) => self.consumer.incremental_assign(&partitions),
                Decision::Revoke { partitions, .. } => self.consumer.incremental_unassign(&partitions),
            };
        }
    }
}
