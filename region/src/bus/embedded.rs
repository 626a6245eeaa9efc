//! The bus inside one process: a bounded channel a document, there while somebody listens.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;

use super::{Bus, BusMessage, Heard, Subscription};
use crate::{DocumentId, Error, Position, Result};

/// Messages a slow subscriber may be behind before it loses the oldest and is told.
const BEHIND_MAX: usize = 1024;
/// Records of a hot tail, and their bytes.
const TAIL_RECORDS_MAX: usize = 256;
const TAIL_BYTES_MAX: usize = 256 * 1024;

/// The bus of one process.
#[derive(Default)]
pub(crate) struct LocalBus {
    topics: Arc<Mutex<HashMap<DocumentId, Topic>>>,
    /// Who holds a lock, and until when.
    locks: Mutex<HashMap<String, (u64, Instant)>>,
}

type Topics = HashMap<DocumentId, Topic>;

struct Topic {
    sender: broadcast::Sender<Arc<BusMessage>>,
    tail: Tail,
}

/// The last records told, each with its position.
#[derive(Default)]
struct Tail {
    records: VecDeque<(Position, Arc<BusMessage>)>,
    bytes: usize,
    /// The tail has every record told at or past this position; `None` before the first.
    reaches: Option<Position>,
}

impl Tail {
    fn push(&mut self, position: Position, bytes: usize, message: Arc<BusMessage>) {
        if self.reaches.is_some_and(|reaches| reaches.log != position.log) {
            *self = Self::default();
        }
        self.reaches.get_or_insert(position);
        let at = self.records.partition_point(|(other, _)| other.offset <= position.offset);
        self.records.insert(at, (position, message));
        self.bytes += bytes;
        while self.records.len() > TAIL_RECORDS_MAX || self.bytes > TAIL_BYTES_MAX {
            let Some((evicted, message)) = self.records.pop_front() else {
                break;
            };
            self.bytes -= record_bytes(&message);
            self.reaches = Some(Position { offset: evicted.offset + 1, ..evicted });
        }
    }

    fn since(&self, from: Position) -> Option<Vec<Arc<BusMessage>>> {
        let reaches = self.reaches?;
        let within = from.log == reaches.log && from.offset >= reaches.offset;
        let newer = |(position, message): &(Position, Arc<BusMessage>)| {
            (position.offset >= from.offset).then(|| Arc::clone(message))
        };
        within.then(|| self.records.iter().filter_map(newer).collect())
    }
}

fn record_bytes(message: &BusMessage) -> usize {
    match message {
        BusMessage::Logged { record, .. } => record.delta.len(),
        _ => 0,
    }
}

fn locked<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    // The maps are whole after every step, so a panic elsewhere under the lock leaves nothing half done.
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bus for LocalBus {
    fn publish<'a>(&'a self, document: &'a DocumentId, message: Arc<BusMessage>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if let Some(topic) = locked(&self.topics).get_mut(document) {
                if let BusMessage::Logged { position, .. } = &*message {
                    topic.tail.push(*position, record_bytes(&message), Arc::clone(&message));
                }
                // Nobody listening is no fault.
                let _ = topic.sender.send(message);
            }
            Ok(())
        })
    }

    fn subscribe<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Box<dyn Subscription>>> {
        Box::pin(async move {
            let mut topics = locked(&self.topics);
            let topic = topics
                .entry(document.clone())
                .or_insert_with(|| Topic { sender: broadcast::channel(BEHIND_MAX).0, tail: Tail::default() });
            let receiver = Some(topic.sender.subscribe());
            let subscription =
                LocalSubscription { receiver, document: document.clone(), topics: Arc::clone(&self.topics) };
            Ok(Box::new(subscription) as Box<dyn Subscription>)
        })
    }

    fn recent<'a>(&'a self, document: &'a DocumentId, from: Position) -> BoxFuture<'a, Result<Vec<Arc<BusMessage>>>> {
        Box::pin(async move {
            let topics = locked(&self.topics);
            topics
                .get(document)
                .and_then(|topic| topic.tail.since(from))
                .ok_or_else(|| Error::Evicted { what: format!("the tail of {document} before what is kept") })
        })
    }

    fn lock<'a>(&'a self, name: &'a str, holder: u64, for_ms: u64) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let (mut locks, now) = (locked(&self.locks), Instant::now());
            locks.retain(|_, (_, until)| *until > now);
            let until = now + Duration::from_millis(for_ms);
            let held = locks.entry(name.to_owned()).or_insert((holder, until));
            if held.0 == holder {
                held.1 = until;
            }
            Ok(held.0 == holder)
        })
    }

    fn unlock<'a>(&'a self, name: &'a str, holder: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            locked(&self.locks).retain(|held, (by, _)| held != name || *by != holder);
            Ok(())
        })
    }
}

struct LocalSubscription {
    /// `None` only while it is dropped.
    receiver: Option<broadcast::Receiver<Arc<BusMessage>>>,
    document: DocumentId,
    topics: Arc<Mutex<Topics>>,
}

impl Subscription for LocalSubscription {
    fn heard(&mut self) -> BoxFuture<'_, Result<Heard>> {
        Box::pin(async move {
            let Some(receiver) = &mut self.receiver else {
                return Err(Error::Closed { what: "bus" });
            };
            match receiver.recv().await {
                Ok(message) => Ok(Heard::Message(message)),
                Err(RecvError::Lagged(missed)) => Ok(Heard::Lagged(missed)),
                Err(RecvError::Closed) => Err(Error::Closed { what: "bus" }),
            }
        })
    }
}

impl Drop for LocalSubscription {
    fn drop(&mut self) {
        let mut topics = locked(&self.topics);
        self.receiver.take();
        if topics.get(&self.document).is_some_and(|topic| topic.sender.receiver_count() == 0) {
            topics.remove(&self.document);
        }
    }
}
