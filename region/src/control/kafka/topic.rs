//! The topic `control`: one partition, so that its offsets are one order, compacted by erasing records by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::record::ControlRecord;
use crate::log::kafka::{Admin, KafkaOptions, Limits, Outgoing, Producer, Scanner, Topic, TopicKind, kafka_error};
use crate::{LogId, Result};

pub(super) const WHAT: &str = "control plane";
/// Own records kept until they are applied.
const OWN_MAX: usize = 1_000;
/// Records and bytes read at once.
const PAGE_RECORDS: usize = 1_000;
const PAGE_BYTES: usize = 1024 * 1024;

/// A part of the topic.
pub(super) struct Page {
    /// Offset and bytes; erased records have none.
    pub(super) records: Vec<(u64, Vec<u8>)>,
    pub(super) next: u64,
    pub(super) at_end: bool,
}

pub(super) struct ControlTopic {
    topic: Topic,
    admin: Admin,
    producer: Producer,
    scanner: Scanner,
    /// What this process appended lately, by offset: it need not be read back to be applied.
    own: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl ControlTopic {
    pub(super) async fn open(options: &KafkaOptions) -> Result<Self> {
        let admin = Arc::new(options.client().create().map_err(|error| kafka_error(WHAT, error))?);
        let topic = Topic::ensure(options, &admin, TopicKind::Control).await?;
        let producer = Producer::new(options, WHAT)?;
        let scanner = Scanner::new(options, &topic)?;
        Ok(Self { topic, admin, producer, scanner, own: Mutex::default() })
    }

    pub(super) fn id(&self) -> LogId {
        self.topic.id
    }

    /// Appends records in order, durable before it answers with their offsets.
    pub(super) async fn append(&self, records: &[ControlRecord]) -> Result<Vec<u64>> {
        if let Some(doubt) = self.producer.doubtful() {
            self.topic.check(&self.admin).await?;
            self.producer.trust(doubt);
        }
        let mut outgoing = Vec::with_capacity(records.len());
        let mut values = Vec::with_capacity(records.len());
        for record in records {
            let value = record.encode()?;
            values.push(value.clone());
            outgoing.push(Outgoing { partition: 0, key: ControlRecord::key(record.nonce), value });
        }
        let placed = self.producer.send(&self.topic.name, outgoing).await?;
        let offsets: Vec<u64> = placed.into_iter().map(|(_, offset)| offset).collect();
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.extend(offsets.iter().copied().zip(values));
        while own.len() > OWN_MAX {
            own.pop_first();
        }
        Ok(offsets)
    }

    /// The next records, out of this process' memory if it appended them itself.
    pub(super) async fn next(&self, from: u64, limit: usize) -> Result<Page> {
        match self.own_page(from) {
            Some(page) => Ok(page),
            None => self.read(from, limit).await,
        }
    }

    /// What this process appended at `from` and right behind it; what it appended before is let go.
    fn own_page(&self, from: u64) -> Option<Page> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        *own = own.split_off(&from);
        let run = (from..).map_while(|offset| own.get(&offset).map(|bytes| (offset, bytes.clone())));
        let records: Vec<(u64, Vec<u8>)> = run.collect();
        let next = records.last()?.0 + 1;
        Some(Page { records, next, at_end: false })
    }

    /// Erases records by name. One that is not erased is only litter.
    pub(super) async fn erase(&self, nonces: &[u64]) {
        if let Err(error) = self.try_erase(nonces).await {
            tracing::debug!(%error, "records without effect stay in the topic");
        }
    }

    pub(super) async fn try_erase(&self, nonces: &[u64]) -> Result<()> {
        let erased = |&nonce| Outgoing { partition: 0, key: ControlRecord::key(nonce), value: Vec::new() };
        self.producer.send(&self.topic.name, nonces.iter().map(erased).collect()).await.map(|_| ())
    }

    /// One past the last record.
    pub(super) async fn head(&self) -> Result<u64> {
        Ok(self.scanner.bounds(0).await?.1)
    }

    pub(super) async fn read(&self, from: u64, limit: usize) -> Result<Page> {
        let limits = Limits { entries: limit.clamp(1, PAGE_RECORDS), bytes: PAGE_BYTES, looked_bytes: PAGE_BYTES };
        let found = self.scanner.read(0, Some(from), limits, None).await?;
        Ok(Page { records: found.records, next: found.next, at_end: found.at_end })
    }

    pub(super) fn is_throttled(&self) -> bool {
        self.producer.is_throttled()
    }

    pub(super) fn options(&self) -> &KafkaOptions {
        self.producer.options()
    }

    pub(super) fn fill(&self, full: bool) {
        self.producer.fill(full);
    }

    pub(super) async fn close(&self) {
        self.producer.close().await;
    }
}
