//! Reading pages: a few consumers that belong to no group, each pointed at a place for one page.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientContext, Message};
use tokio::sync::Semaphore;

use super::{KafkaOptions, REQUEST_TIMEOUT, Topic, WHAT, errors, kafka_error, list, offset};
use crate::{Error, Position, Result};

/// Pages read at one time.
const CONSUMERS_MAX: usize = 4;

/// What bounds a page.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) entries: usize,
    /// Of the records in it; the first one is always in.
    pub(crate) bytes: usize,
    /// Of the records looked at.
    pub(crate) looked_bytes: usize,
}

/// A page.
pub(crate) struct Found {
    /// Offset and value.
    pub(crate) records: Vec<(u64, Vec<u8>)>,
    /// The records' keys, in the same order.
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) next: u64,
    pub(crate) at_end: bool,
}

/// Hears what a reader's client says of its own accord.
struct ReadContext;

impl ClientContext for ReadContext {
    fn error(&self, error: KafkaError, reason: &str) {
        errors::note(&error, reason);
    }
}

impl ConsumerContext for ReadContext {}

/// The client of a reader.
type PageConsumer = BaseConsumer<ReadContext>;

/// The readers of one topic.
pub(crate) struct Scanner {
    options: KafkaOptions,
    topic: Topic,
    idle: Arc<Mutex<Vec<PageConsumer>>>,
    turns: Semaphore,
    /// Asks for bounds.
    asking: Arc<PageConsumer>,
}

impl Scanner {
    pub(crate) fn new(options: &KafkaOptions, topic: &Topic) -> Result<Self> {
        Ok(Self {
            options: options.clone(),
            topic: topic.clone(),
            idle: Arc::default(),
            turns: Semaphore::new(CONSUMERS_MAX),
            asking: Arc::new(create(options)?),
        })
    }

    /// First and one past the last offset of a partition.
    pub(crate) async fn bounds(&self, partition: u32) -> Result<(u64, u64)> {
        let (asking, topic) = (Arc::clone(&self.asking), self.topic.name.clone());
        super::blocking(WHAT, move || bounds(&asking, &topic, partition)).await
    }

    /// Reads a page from an offset on (`None`: from the first), only records of `key` if there is one.
    pub(crate) async fn read(
        &self,
        partition: u32,
        from: Option<u64>,
        limits: Limits,
        key: Option<Vec<u8>>,
    ) -> Result<Found> {
        let _turn = self.turns.acquire().await.map_err(|_| Error::Closed { what: WHAT })?;
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let consumer = match kept {
            Some(consumer) => consumer,
            None => create(&self.options)?,
        };
        let (idle, topic) = (Arc::clone(&self.idle), self.topic.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let found = read(&consumer, &topic, partition, from, limits, key.as_deref());
            if consumer.unassign().is_ok() {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(consumer);
            }
            found
        });
        reading.await.unwrap_or_else(|error| Err(Error::Failed { what: WHAT, source: error.into() }))
    }
}

fn bounds(consumer: &PageConsumer, topic: &str, partition: u32) -> KafkaResult<(u64, u64)> {
    let (low, high) = errors::when_led(|| consumer.fetch_watermarks(topic, partition.cast_signed(), REQUEST_TIMEOUT))?;
    Ok((low.max(0).cast_unsigned(), high.max(0).cast_unsigned()))
}

fn read(
    consumer: &PageConsumer,
    topic: &Topic,
    partition: u32,
    from: Option<u64>,
    limits: Limits,
    key: Option<&[u8]>,
) -> Result<Found> {
    let failed = |error| kafka_error(WHAT, error);
    let (low, high) = bounds(consumer, &topic.name, partition).map_err(failed)?;
    let at = |offset| Position { log: topic.id, partition, offset };
    let from = from.unwrap_or(low);
    if from > high {
        return Err(Error::BeyondEnd { asked: at(from), end: at(high) });
    }
    if from < low {
        return Err(Error::Gone { what: format!("log before offset {low}"), earliest: Some(at(low)) });
    }
    let mut found = Found { records: Vec::new(), keys: Vec::new(), next: from, at_end: from == high };
    if found.at_end {
        return Ok(found);
    }
    consumer.assign(&list(&topic.name, partition, offset(from))?).map_err(failed)?;
    let (mut bytes, mut looked) = (0, 0);
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    while !found.at_end && found.records.len() < limits.entries && looked < limits.looked_bytes {
        let left = deadline.saturating_duration_since(Instant::now());
        match consumer.poll(left.min(Duration::from_millis(500))) {
            // Left by an assignment before this one.
            Some(Ok(message)) if message.partition() != partition.cast_signed() => {}
            Some(Ok(message)) => {
                let own = message.offset().cast_unsigned();
                let value = message.payload().unwrap_or_default();
                let wanted = key.is_none_or(|key| message.key() == Some(key));
                if wanted && bytes + value.len() > limits.bytes && bytes > 0 {
                    break;
                }
                looked += value.len() + 1;
                if wanted {
                    bytes += value.len();
                    found.records.push((own, value.to_vec()));
                    found.keys.push(message.key().unwrap_or_default().to_vec());
                }
                found.next = own + 1;
                found.at_end = found.next >= high;
            }
            Some(Err(KafkaError::PartitionEOF(own))) if own == partition.cast_signed() => {
                // What is left up to the end are marks of Kafka's own.
                found.next = found.next.max(high);
                found.at_end = true;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) if left.is_zero() => return Err(failed(error)),
            Some(Err(error)) => tracing::debug!(%error, partition, "reading goes on"),
            None if left.is_zero() && found.next == from => {
                return Err(Error::Unavailable { what: WHAT, source: None });
            }
            None if left.is_zero() => break,
            None => {}
        }
    }
    Ok(found)
}

fn create(options: &KafkaOptions) -> Result<PageConsumer> {
    let mut config = options.client();
    config
        // Named because the client wants a name; it joins nothing and commits nothing.
        .set("group.id", options.named("reading"))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "50")
        .set("fetch.error.backoff.ms", "50")
        .set("fetch.message.max.bytes", "1048576")
        .set("queued.max.messages.kbytes", "4096");
    config.create_with_context(ReadContext).map_err(|error| kafka_error(WHAT, error))
}
