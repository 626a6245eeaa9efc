//! Appending: one idempotent producer, so many bytes on their way and no more, and a new producer after a fatal fault.
//!
//! Brokers that hold a producer back refuse nothing: they answer late. What is not confirmed in time, or finds no room because of
//! that, is refused as throttled.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use tokio::sync::Mutex;

use super::told::{Doubt, TOLD_EVERY_MS, Told};
use super::{KafkaOptions, blocking, kafka_error};
use crate::{Error, Result};

/// How long records on their way may take at a shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);
/// What one record is counted for beside its key and value.
const RECORD_OVERHEAD_BYTES: usize = 128;

/// One record to be written.
pub(crate) struct Outgoing {
    pub(crate) partition: u32,
    pub(crate) key: Vec<u8>,
    /// Empty: it erases the record of that key in a compacted topic.
    pub(crate) value: Vec<u8>,
}

/// A producer of one part.
pub(crate) struct Producer {
    options: KafkaOptions,
    what: &'static str,
    current: RwLock<Arc<FutureProducer<Told>>>,
    told: Told,
    in_flight_bytes: AtomicUsize,
    /// Held while a batch is handed over, so that batches do not mix.
    turn: Mutex<()>,
}

impl Producer {
    pub(crate) fn new(options: &KafkaOptions, what: &'static str) -> Result<Self> {
        let told = Told::default();
        Ok(Self {
            options: options.clone(),
            what,
            current: RwLock::new(Arc::new(create(options, what, &told)?)),
            told,
            in_flight_bytes: AtomicUsize::new(0),
            turn: Mutex::default(),
        })
    }

    /// What has to be looked into before the next records: something went wrong, or a connection was lost.
    pub(crate) fn doubtful(&self) -> Option<Doubt> {
        self.told.doubtful()
    }

    /// How it reaches its brokers.
    pub(crate) fn options(&self) -> &KafkaOptions {
        &self.options
    }

    /// Whether the brokers hold it back, as far as they have said.
    pub(crate) fn is_throttled(&self) -> bool {
        self.told.held_back_ms().is_some()
    }

    /// A look after that doubt found the same log as before.
    pub(crate) fn trust(&self, doubt: Doubt) {
        self.told.trust(doubt);
    }

    /// Writes the records in order and answers each one's partition and offset once all are confirmed.
    pub(crate) async fn send(&self, topic: &str, batch: Vec<Outgoing>) -> Result<Vec<(u32, u64)>> {
        let bytes = batch.iter().map(|one| one.key.len() + one.value.len() + RECORD_OVERHEAD_BYTES).sum();
        let _room = self.reserve(bytes)?;
        let producer = self.current();
        let waiting = {
            let _turn = self.turn.lock().await;
            let mut waiting = Vec::with_capacity(batch.len());
            for one in &batch {
                let mut record = FutureRecord::to(topic).partition(one.partition.cast_signed()).key(&one.key);
                if !one.value.is_empty() {
                    record = record.payload(&one.value);
                }
                waiting.push(producer.send_result(record).map_err(|(error, _)| error));
            }
            waiting
        };
        // All are waited for, also after a failure: what is on its way keeps its room until it is settled.
        let confirmed = join_all(waiting.into_iter().map(|sent| async {
            match sent?.await {
                Ok(Ok(delivery)) => Ok((delivery.partition.cast_unsigned(), delivery.offset.cast_unsigned())),
                Ok(Err((error, _))) => Err(error),
                Err(_) => Err(KafkaError::Canceled),
            }
        }));
        let confirmed: std::result::Result<Vec<_>, KafkaError> = confirmed.await.into_iter().collect();
        if confirmed.is_ok() {
            self.told.confirmed();
        }
        confirmed.map_err(|error| self.refused(&producer, error))
    }

    /// Waits for what is on its way.
    pub(crate) async fn close(&self) {
        let producer = self.current();
        if let Err(error) = blocking(self.what, move || producer.flush(FLUSH_TIMEOUT)).await {
            tracing::warn!(%error, what = self.what, "records were still on their way at the end");
        }
    }

    /// Takes all room there is, or gives it back.
    pub(crate) fn fill(&self, full: bool) {
        let all = self.options.in_flight_bytes_max;
        if full {
            self.in_flight_bytes.fetch_add(all, Ordering::AcqRel);
        } else {
            let _ = self
                .in_flight_bytes
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| Some(now.saturating_sub(all)));
        }
    }

    fn current(&self) -> Arc<FutureProducer<Told>> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn reserve(&self, bytes: usize) -> Result<Room<'_>> {
        let max = self.options.in_flight_bytes_max;
        // A batch larger than the bound goes alone rather than never.
        let fits = |now: usize| (now + bytes <= max || now == 0).then_some(now + bytes);
        match self.in_flight_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits) {
            Ok(_) => Ok(Room { of: &self.in_flight_bytes, bytes }),
            Err(_) => Err(self.held_back(Error::Full { what: self.what, source: None })),
        }
    }

    /// What could not be done, in terms of why: the brokers hold this producer back.
    fn held_back(&self, error: Error) -> Error {
        match (error, self.told.held_back_ms()) {
            (Error::Full { what, .. } | Error::Unavailable { what, .. }, Some(retry_after_ms)) => {
                Error::Throttled { what, retry_after_ms }
            }
            (error, _) => error,
        }
    }

    /// Notes a failure; a producer that can never write again is replaced.
    fn refused(&self, producer: &Arc<FutureProducer<Told>>, error: KafkaError) -> Error {
        self.told.doubt();
        let Some((code, reason)) = producer.client().fatal_error() else {
            return self.held_back(kafka_error(self.what, error));
        };
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, producer) {
            tracing::warn!(%code, reason, what = self.what, "the producer is replaced after a fatal fault");
            match create(&self.options, self.what, &self.told) {
                Ok(fresh) => *current = Arc::new(fresh),
                Err(error) => return error,
            }
        }
        // Repeating is harmless: records are idempotent.
        Error::Unavailable { what: self.what, source: Some(error.into()) }
    }
}

/// Room taken; given back when dropped.
struct Room<'a> {
    of: &'a AtomicUsize,
    bytes: usize,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

fn create(options: &KafkaOptions, what: &'static str, told: &Told) -> Result<FutureProducer<Told>> {
    let mut config = options.client();
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", options.linger_ms.to_string())
        .set("message.timeout.ms", options.message_timeout_ms.to_string())
        .set("request.timeout.ms", options.message_timeout_ms.min(5_000).to_string())
        .set("retry.backoff.ms", "50")
        .set("statistics.interval.ms", TOLD_EVERY_MS.to_string())
        // The bound is `in_flight_bytes_max`; the client's own is only there so as not to be in the way.
        .set("queue.buffering.max.messages", "10000000")
        .set("queue.buffering.max.kbytes", "2097151");
    config.create_with_context(told.clone()).map_err(|error| kafka_error(what, error))
}
