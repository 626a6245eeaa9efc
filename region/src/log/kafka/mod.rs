//! The log on Apache Kafka: topic `ops`, keyed by document, a fixed number of virtual partitions, no retention by time.
//!
//! The log's id is the topic's own id, which Kafka makes when a topic is created: a broker that was wiped has another log.
//! Appends go through one idempotent producer with `acks=all`; what one caller appends in turn stays in turn.

mod errors;
mod partitioner;
mod producer;
mod reader;
mod recent;
mod scan;
mod told;
mod topic;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) use errors::{blocking, kafka_error};
use futures_util::future::BoxFuture;
pub(crate) use producer::{Outgoing, Producer};
use rdkafka::ClientConfig;
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use recent::{Kept, Recent};
pub(crate) use scan::{Limits, Scanner};
pub(crate) use topic::{Admin, Topic, TopicKind, delete_all};

use super::letter::{letter_bytes, letter_from};
use super::{DeadLetter, EntryContent, LogBounds, LogEntry, LogPage, LogReader, RegionLog};
use crate::record::LogRecord;
use crate::{DocumentId, Error, LogId, Position, Result};

pub(crate) const WHAT: &str = "log";
/// How long a request that a person or a room waits for may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one page, and of what is looked through for one.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
const LOOKED_BYTES_MAX: usize = 16 * 1024 * 1024;
const PAGE_ENTRIES_MAX: usize = 10_000;

/// How to reach Kafka, and how its topics are laid out.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// `host:port` of some brokers, separated by commas.
    pub bootstrap: String,
    /// Put before the names of topics and groups; empty in production.
    pub prefix: String,
    /// Virtual partitions of `ops`: fixed for the life of the log, the same in every region.
    pub partitions: u32,
    /// Copies of each partition: 3, with 2 in sync; one broker can hold one.
    pub replicas: u32,
    /// A record that is not confirmed by then, in milliseconds, is refused to its caller.
    pub message_timeout_ms: u64,
    /// How long a record waits for others to go with it, in milliseconds.
    pub linger_ms: u64,
    /// Bytes of records that may be on their way; more is refused with `Full`.
    pub in_flight_bytes_max: usize,
}

impl KafkaOptions {
    /// The layout of production, at those brokers.
    #[must_use]
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            prefix: String::new(),
            partitions: 64,
            replicas: 3,
            message_timeout_ms: 10_000,
            linger_ms: 2,
            in_flight_bytes_max: 64 * 1024 * 1024,
        }
    }

    /// What every client of these brokers is configured with.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            // What a quota is given to.
            .set("client.id", self.named("selvedge"))
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", "30000");
        config
    }

    /// The full name of a topic or group.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// The log of a region on Kafka.
pub struct KafkaLog {
    options: KafkaOptions,
    ops: Topic,
    dead: Topic,
    producer: Producer,
    dead_producer: Producer,
    scanner: Scanner,
    dead_scanner: Scanner,
    admin: Admin,
    /// The newest records of each partition, for all who follow documents there.
    recent: Vec<tokio::sync::Mutex<Recent>>,
    /// Counts those who ask for them.
    asked: AtomicU64,
    /// A client for each group whose progress was asked for.
    groups: Mutex<HashMap<String, Arc<BaseConsumer>>>,
}

impl KafkaLog {
    /// Creates the topics that are missing and learns the log's id.
    ///
    /// # Errors
    /// `Unavailable` when no broker answers; `Invalid` when the topic has another number of partitions than configured.
    pub fn open(options: KafkaOptions) -> BoxFuture<'static, Result<Self>> {
        Box::pin(async move {
            let admin = Arc::new(options.client().create().map_err(|error| kafka_error(WHAT, error))?);
            let ops = Topic::ensure(&options, &admin, TopicKind::Ops).await?;
            let dead = Topic::ensure(&options, &admin, TopicKind::DeadLetters).await?;
            let producer = Producer::new(&options, WHAT)?;
            let dead_producer = Producer::new(&options, "dead letters")?;
            let scanner = Scanner::new(&options, &ops)?;
            let dead_scanner = Scanner::new(&options, &dead)?;
            let groups = Mutex::default();
            let (recent, asked) = ((0..ops.partitions).map(|_| Default::default()).collect(), AtomicU64::new(0));
            Ok(Self {
                recent,
                asked,
                options,
                ops,
                dead,
                producer,
                dead_producer,
                scanner,
                dead_scanner,
                admin,
                groups,
            })
        })
    }

    /// Waits for what is on its way.
    pub async fn close(&self) {
        self.producer.close().await;
        self.dead_producer.close().await;
    }

    /// Appends bytes that may be no record at all: damage, for the contract suite.
    pub(crate) async fn append_raw(&self, document: &DocumentId, bytes: Vec<u8>) -> Result<()> {
        let partition = self.partition(document);
        let key = document.as_str().as_bytes().to_vec();
        self.producer.send(&self.ops.name, vec![Outgoing { partition, key, value: bytes }]).await.map(|_| ())
    }

    /// From now on there is no room for anything, or there is again: a full queue, for the contract suite.
    pub(crate) fn fill(&self, full: bool) {
        self.producer.fill(full);
    }

    /// Whether the brokers hold appends back, as far as they have said: for the contract suite.
    pub(crate) fn is_throttled(&self) -> bool {
        self.producer.is_throttled()
    }

    /// How it reaches its brokers.
    pub(crate) fn options(&self) -> &KafkaOptions {
        &self.options
    }

    fn at(&self, partition: u32, offset: u64) -> Position {
        Position { log: self.ops.id, partition, offset }
    }

    /// Whether the log is the one that was opened. Takes no longer than an append may.
    async fn check_same(&self) -> Result<()> {
        let within = Duration::from_millis(self.options.message_timeout_ms);
        let checked = tokio::time::timeout(within, self.ops.check(&self.admin)).await;
        checked.unwrap_or_else(|late| Err(Error::Unavailable { what: WHAT, source: Some(late.into()) }))
    }

    fn check_partition(&self, partition: u32) -> Result<()> {
        if partition < self.ops.partitions {
            return Ok(());
        }
        Err(Error::Invalid(format!("there is no partition {partition}: this log has {}", self.ops.partitions)))
    }

    async fn page(
        &self,
        partition: u32,
        from: Option<u64>,
        limit: usize,
        only: Option<&DocumentId>,
    ) -> Result<LogPage> {
        self.check_partition(partition)?;
        let key = only.map(|document| document.as_str().as_bytes().to_vec());
        let limits =
            Limits { entries: limit.clamp(1, PAGE_ENTRIES_MAX), bytes: PAGE_BYTES_MAX, looked_bytes: LOOKED_BYTES_MAX };
        let found = self.scanner.read(partition, from, limits, key).await?;
        Ok(LogPage {
            entries: self.entries(partition, found.records, only),
            next: self.at(partition, found.next),
            at_end: found.at_end,
        })
    }

    fn entries(&self, partition: u32, records: Vec<(u64, Vec<u8>)>, only: Option<&DocumentId>) -> Vec<LogEntry> {
        let entry = |(offset, bytes): (u64, Vec<u8>)| {
            let content = decode(bytes);
            let of_other = |record: &LogRecord| only.is_some_and(|document| *document != record.document);
            // Somebody wrote a record under another document's key: it is no record of this document.
            let foreign = matches!(&content, EntryContent::Record(record) if of_other(record));
            (!foreign).then(|| LogEntry { position: self.at(partition, offset), content })
        };
        records.into_iter().filter_map(entry).collect()
    }

    /// A page of a document from the newest records of its partition, which are read on first unless somebody did so since this
    /// was asked for. `None`: they do not reach back there.
    async fn recent_page(
        &self,
        document: &DocumentId,
        partition: u32,
        from: u64,
        limit: usize,
    ) -> Result<Option<LogPage>> {
        let asked = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut recent = self.recent[partition as usize].lock().await;
        if !recent.reaches(from) {
            return Ok(None);
        }
        let mut at_end = true;
        if recent.reads < asked {
            let reads = self.asked.load(Ordering::Acquire);
            at_end = self.read_on(partition, &mut recent).await?;
            recent.reads = if at_end { reads } else { recent.reads };
            if !recent.reaches(from) {
                return Ok(None);
            }
        }
        let key = document.as_str().as_bytes();
        let taken = recent.take(key, from, limit.clamp(1, PAGE_ENTRIES_MAX), PAGE_BYTES_MAX);
        drop(recent);
        Ok(Some(LogPage {
            entries: self.entries(partition, taken.records, Some(document)),
            next: self.at(partition, taken.next),
            at_end: at_end && taken.whole,
        }))
    }

    /// Reads a partition on to its end, or as far as one may look at once; answers whether that was the end.
    async fn read_on(&self, partition: u32, recent: &mut Recent) -> Result<bool> {
        let limits = Limits { entries: PAGE_ENTRIES_MAX, bytes: LOOKED_BYTES_MAX, looked_bytes: LOOKED_BYTES_MAX };
        let found = self.scanner.read(partition, Some(recent.next()), limits, None).await?;
        let records = found.records.into_iter().zip(found.keys);
        let kept = records.map(|((offset, value), key)| Kept { offset, key, value });
        recent.extend(kept.collect(), found.next);
        Ok(found.at_end)
    }

    /// From here on the newest records are kept, unless they are kept from somewhere that reaches here already.
    async fn keep_recent(&self, partition: u32, from: u64) {
        let mut recent = self.recent[partition as usize].lock().await;
        if recent.next() < from {
            recent.begin(from);
        }
    }

    /// The client that knows a group's offsets without being a member.
    fn group(&self, reader: &str) -> Result<Arc<BaseConsumer>> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(consumer) = groups.get(reader) {
            return Ok(Arc::clone(consumer));
        }
        let mut config = self.options.client();
        config.set("group.id", self.options.named(reader)).set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().map_err(|error| kafka_error("progress", error))?;
        let consumer = Arc::new(consumer);
        groups.insert(reader.to_owned(), Arc::clone(&consumer));
        Ok(consumer)
    }

    fn list(&self, partition: u32, offset: Offset) -> Result<TopicPartitionList> {
        list(&self.ops.name, partition, offset)
    }
}

/// A list of one partition.
pub(crate) fn list(topic: &str, partition: u32, offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition.cast_signed(), offset).map_err(|error| kafka_error(WHAT, error))?;
    Ok(list)
}

/// Kafka's offsets are signed.
pub(crate) fn offset(value: u64) -> Offset {
    Offset::Offset(value.cast_signed())
}

/// What a group has committed of one partition. Blocks.
fn committed(consumer: &BaseConsumer, list: TopicPartitionList) -> KafkaResult<Offset> {
    let kept = consumer.committed_offsets(list, REQUEST_TIMEOUT)?;
    let Some(own) = kept.elements().into_iter().next() else { return Ok(Offset::Invalid) };
    // One partition's refusal comes in its place; taken for "nothing committed", everything would be read again.
    own.error().map(|()| own.offset())
}

fn decode(bytes: Vec<u8>) -> EntryContent {
    match LogRecord::decode(&bytes) {
        Ok(record) => EntryContent::Record(record),
        Err(reason) => EntryContent::Undecodable { bytes, reason },
    }
}

impl RegionLog for KafkaLog {
    fn log_id(&self) -> LogId {
        self.ops.id
    }

    fn partitions(&self) -> u32 {
        self.ops.partitions
    }

    fn partition(&self, document: &DocumentId) -> u32 {
        partitioner::partition(document, self.ops.partitions)
    }

    fn append(&self, batch: Vec<LogRecord>) -> BoxFuture<'_, Result<Vec<Position>>> {
        Box::pin(async move {
            let mut outgoing = Vec::with_capacity(batch.len());
            for record in &batch {
                record.check().map_err(|error| Error::Invalid(error.to_string()))?;
                outgoing.push(Outgoing {
                    partition: self.partition(&record.document),
                    key: record.document.as_str().as_bytes().to_vec(),
                    value: record.encode(),
                });
            }
            if let Some(doubt) = self.producer.doubtful() {
                // A broker that answers again after a fault, or after a connection was lost, may be another one.
                self.check_same().await?;
                self.producer.trust(doubt);
            }
            let placed = self.producer.send(&self.ops.name, outgoing).await?;
            Ok(placed.into_iter().map(|(partition, offset)| self.at(partition, offset)).collect())
        })
    }

    fn tail<'a>(
        &'a self,
        document: &'a DocumentId,
        from: Option<Position>,
        limit: usize,
    ) -> BoxFuture<'a, Result<LogPage>> {
        Box::pin(async move {
            let partition = self.partition(document);
            if let Some(asked) = from.filter(|from| from.log != self.ops.id || from.partition != partition) {
                return Err(Error::BeyondEnd { asked, end: self.head(document).await? });
            }
            let from = from.map(|from| from.offset);
            if let Some(from) = from {
                match self.recent_page(document, partition, from, limit).await {
                    Ok(Some(page)) => return Ok(page),
                    // What was trimmed or is beyond the end is told by a look of its own.
                    Ok(None) | Err(Error::Gone { .. } | Error::BeyondEnd { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            let page = self.page(partition, from, limit, Some(document)).await?;
            if page.at_end {
                self.keep_recent(partition, page.next.offset).await;
            }
            Ok(page)
        })
    }

    fn read(&self, partition: u32, from: u64, limit: usize) -> BoxFuture<'_, Result<LogPage>> {
        Box::pin(self.page(partition, Some(from), limit, None))
    }

    fn head<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Position>> {
        Box::pin(async move { Ok(self.bounds(self.partition(document)).await?.end) })
    }

    fn bounds(&self, partition: u32) -> BoxFuture<'_, Result<LogBounds>> {
        Box::pin(async move {
            self.check_partition(partition)?;
            let (start, end) = self.scanner.bounds(partition).await?;
            Ok(LogBounds { start: self.at(partition, start), end: self.at(partition, end) })
        })
    }

    fn join<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<Box<dyn LogReader>>> {
        Box::pin(async move { reader::Member::join(&self.options, &self.ops, group) })
    }

    fn trim(&self, partition: u32, below: u64) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let bounds = self.bounds(partition).await?;
            if below > bounds.end.offset {
                return Err(Error::BeyondEnd { asked: self.at(partition, below), end: bounds.end });
            }
            if below <= bounds.start.offset {
                return Ok(());
            }
            let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
            let trimmed = self.admin.delete_records(&self.list(partition, offset(below))?, &options).await;
            let trimmed = trimmed.map_err(|error| kafka_error(WHAT, error))?;
            *self.recent[partition as usize].lock().await = Recent::default();
            trimmed.elements().iter().try_for_each(|own| own.error().map_err(|error| kafka_error(WHAT, error)))
        })
    }

    fn commit_progress<'a>(&'a self, reader: &'a str, partition: u32, next: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let end = self.bounds(partition).await?.end;
            if next > end.offset {
                return Err(Error::BeyondEnd { asked: self.at(partition, next), end });
            }
            let (consumer, list) = (self.group(reader)?, self.list(partition, offset(next))?);
            blocking("progress", move || consumer.commit(&list, CommitMode::Sync)).await
        })
    }

    fn progress<'a>(&'a self, reader: &'a str, partition: u32) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(async move {
            let (consumer, list) = (self.group(reader)?, self.list(partition, Offset::Invalid)?);
            let kept = blocking("progress", move || {
                errors::when_coordinated(REQUEST_TIMEOUT, || committed(&consumer, list.clone()))
            });
            Ok(match kept.await? {
                Offset::Offset(next) => Some(next.cast_unsigned()),
                _ => None,
            })
        })
    }

    fn dead_letter<'a>(&'a self, letter: DeadLetter) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let Position { log, partition, offset } = letter.position;
            let key = format!("{:032x}/{partition}/{offset}", log.0).into_bytes();
            let outgoing = Outgoing { partition: 0, key, value: letter_bytes(&letter) };
            self.dead_producer.send(&self.dead.name, vec![outgoing]).await.map(|_| ())
        })
    }

    fn dead_letters(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        Box::pin(async move {
            let mut letters: Vec<DeadLetter> = Vec::new();
            let mut from = None;
            loop {
                let limits =
                    Limits { entries: PAGE_ENTRIES_MAX, bytes: LOOKED_BYTES_MAX, looked_bytes: LOOKED_BYTES_MAX };
                let found = self.dead_scanner.read(0, from, limits, None).await?;
                for (_, bytes) in &found.records {
                    let letter = letter_from(bytes)?;
                    if letters.len() < limit && !letters.iter().any(|kept| kept.position == letter.position) {
                        letters.push(letter);
                    }
                }
                if found.at_end || letters.len() >= limit {
                    return Ok(letters);
                }
                from = Some(found.next);
            }
        })
    }
}
