//! The bus on Redis: a channel a document, and its hot tail in a sorted set beside it.
//!
//! What sessions show is told on a channel beside it, too: who carries presence to another region listens to those alone, and tells the
//! relays there by the document's channel, so that nothing is carried back.
//!
//! One connection of a process listens for all its subscriptions and shares each message out to them through bounded
//! channels. When it is lost, every subscription is told, and the next one opens another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, PubSubSink};
use redis::{Client, Script};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinHandle;

use super::codec::{decode, encode};
use super::{Bus, BusMessage, Heard, Subscription};
use crate::{DocumentId, Error, Position, Result};

const WHAT: &str = "bus";
/// Messages a slow subscriber may be behind before it loses the oldest and is told.
const BEHIND_MAX: usize = 1024;
/// Records of a hot tail, and their bytes.
const TAIL_RECORDS_MAX: usize = 256;
const TAIL_BYTES_MAX: usize = 256 * 1024;
/// A tail that nothing was added to for so long, in seconds, goes.
const TAIL_SECONDS: u64 = 3600;
/// Begins the channels of what sessions of this region's relays show.
const PRESENCE: &str = "presence:";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Adds a record to the tail and tells it. `KEYS` tail, facts; `ARGV` channel, log, offset, message, records, bytes, seconds.
/// The facts are the log the tail is of, the offset from which it has all that was told, and its bytes. Where Redis has no memory
/// for the record, the tail goes, because it would have a hole, and the record is told all the same: that takes none.
const PUBLISH_RECORD: &str = r"
local function keep()
    if redis.call('HGET', KEYS[2], 'log') ~= ARGV[2] then
        redis.call('HSET', KEYS[2], 'log', ARGV[2], 'reaches', ARGV[3], 'bytes', 0)
        redis.call('DEL', KEYS[1])
    end
    if redis.call('ZADD', KEYS[1], 'NX', ARGV[3], ARGV[4]) == 1 then
        redis.call('HINCRBY', KEYS[2], 'bytes', #ARGV[4])
    end
    while redis.call('ZCARD', KEYS[1]) > tonumber(ARGV[5])
        or tonumber(redis.call('HGET', KEYS[2], 'bytes')) > tonumber(ARGV[6]) do
        local evicted = redis.call('ZPOPMIN', KEYS[1])
        if #evicted == 0 then break end
        redis.call('HINCRBY', KEYS[2], 'bytes', -#evicted[1])
        redis.call('HSET', KEYS[2], 'reaches', string.format('%.0f', tonumber(evicted[2]) + 1))
    end
    redis.call('EXPIRE', KEYS[1], ARGV[7])
    redis.call('EXPIRE', KEYS[2], ARGV[7])
end
if not pcall(keep) then redis.call('DEL', KEYS[1], KEYS[2]) end
return redis.call('PUBLISH', ARGV[1], ARGV[4])
";

/// The records from an offset on, or nothing where the tail does not reach. `KEYS` tail, facts; `ARGV` log, offset.
const RECENT: &str = r"
local facts = redis.call('HMGET', KEYS[2], 'log', 'reaches')
if facts[1] ~= ARGV[1] or not facts[2] or tonumber(facts[2]) > tonumber(ARGV[2]) then return false end
return redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], '+inf')
";

/// Takes or renews a lock. `KEYS` lock; `ARGV` holder, milliseconds.
const LOCK: &str = r"
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
";

/// Gives a lock back. `KEYS` lock; `ARGV` holder.
const UNLOCK: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
";

/// Where the region's Redis is.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://host:port`.
    pub url: String,
    /// Put before every key and channel; empty in production.
    pub prefix: String,
}

impl RedisOptions {
    /// That Redis.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), prefix: String::new() }
    }
}

/// The bus of a region on Redis.
pub struct RedisBus {
    client: Client,
    prefix: String,
    connection: ConnectionManager,
    hub: Arc<tokio::sync::Mutex<Option<Hub>>>,
    topics: Arc<Mutex<Topics>>,
    publish_record: Script,
    recent: Script,
    lock: Script,
    unlock: Script,
}

/// The channels that somebody of this process listens to.
#[derive(Default)]
struct Topics {
    /// Counts connections: what listened on an older one is told by its channel's end.
    connection: u64,
    channels: HashMap<String, Channel>,
}

struct Channel {
    sender: broadcast::Sender<Arc<BusMessage>>,
    /// Redis has confirmed the subscription.
    confirmed: bool,
}

/// The listening connection.
struct Hub {
    sink: PubSubSink,
    task: JoinHandle<()>,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RedisBus {
    /// Connects.
    ///
    /// # Errors
    /// `Unavailable` when Redis does not answer; `Invalid` when the address is none.
    pub fn open(options: RedisOptions) -> BoxFuture<'static, Result<Self>> {
        Box::pin(async move {
            let client = Client::open(options.url.as_str())
                .map_err(|error| Error::Invalid(format!("the Redis address {:?}: {error}", options.url)))?;
            let config = ConnectionManagerConfig::new()
                .set_connection_timeout(Some(ANSWER_TIMEOUT))
                .set_response_timeout(Some(ANSWER_TIMEOUT))
                .set_number_of_retries(2);
            let connection = client.get_connection_manager_with_config(config).await.map_err(redis_error)?;
            Ok(Self {
                client,
                prefix: options.prefix,
                connection,
                hub: Arc::default(),
                topics: Arc::default(),
                publish_record: Script::new(PUBLISH_RECORD),
                recent: Script::new(RECENT),
                lock: Script::new(LOCK),
                unlock: Script::new(UNLOCK),
            })
        })
    }

    /// Removes every hot tail under this bus's prefix: for the contract suite, and for whoever distrusts them.
    ///
    /// # Errors
    /// As Redis says.
    pub async fn evict(&self) -> Result<()> {
        let mut connection = self.connection.clone();
        let pattern = format!("{}tail:*", self.prefix);
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.map_err(redis_error)?;
        if keys.is_empty() {
            return Ok(());
        }
        redis::cmd("DEL").arg(keys).query_async(&mut connection).await.map_err(redis_error)
    }

    fn channel(&self, document: &DocumentId) -> String {
        format!("{}doc:{document}", self.prefix)
    }

    fn presence_channel(&self, document: &DocumentId) -> String {
        format!("{}{PRESENCE}{document}", self.prefix)
    }

    /// The keys of a document's tail and of what is known of it; the braces keep them on one shard of a cluster.
    fn tail(&self, document: &DocumentId) -> [String; 2] {
        [format!("{}tail:{{{document}}}", self.prefix), format!("{}tail:{{{document}}}:facts", self.prefix)]
    }

    /// Listens to a channel, over a new connection if there is none.
    async fn listen(&self, channel: &str) -> Result<broadcast::Receiver<Arc<BusMessage>>> {
        let mut hub = self.hub.lock().await;
        if hub.as_ref().is_none_or(|hub| hub.task.is_finished()) {
            *hub = Some(self.connect().await?);
        }
        // Entered first: what is told right after Redis has confirmed must not be missed. One that was left unconfirmed, by a
        // caller that went away, is asked for again.
        let (receiver, confirmed) = {
            let mut topics = locked(&self.topics);
            let entry = topics.channels.entry(channel.to_owned());
            let known = entry.or_insert_with(|| Channel { sender: broadcast::channel(BEHIND_MAX).0, confirmed: false });
            (known.sender.subscribe(), known.confirmed)
        };
        if confirmed {
            return Ok(receiver);
        }
        let Some(open) = hub.as_mut() else { return Err(Error::Closed { what: WHAT }) };
        if let Err(error) = open.sink.subscribe(channel).await {
            *hub = None;
            return Err(redis_error(error));
        }
        if let Some(known) = locked(&self.topics).channels.get_mut(channel) {
            known.confirmed = true;
        }
        Ok(receiver)
    }

    async fn connect(&self) -> Result<Hub> {
        let pubsub = tokio::time::timeout(ANSWER_TIMEOUT, self.client.get_async_pubsub()).await;
        let pubsub = pubsub.map_err(|error| Error::Unavailable { what: WHAT, source: Some(error.into()) })?;
        let (sink, mut stream) = pubsub.map_err(redis_error)?.split();
        let connection = {
            let mut topics = locked(&self.topics);
            topics.channels.clear();
            topics.connection += 1;
            topics.connection
        };
        let topics = Arc::clone(&self.topics);
        let task = tokio::spawn(async move {
            while let Some(message) = stream.next().await {
                // What another version of the relay tells is passed over.
                let Some(decoded) = decode(message.get_payload_bytes()) else { continue };
                if let Some(channel) = locked(&topics).channels.get(message.get_channel_name()) {
                    // The last subscriber may be leaving.
                    let _ = channel.sender.send(Arc::new(decoded));
                }
            }
            let mut topics = locked(&topics);
            if topics.connection == connection {
                topics.channels.clear();
            }
        });
        Ok(Hub { sink, task })
    }

    async fn tell(&self, document: &DocumentId, message: &BusMessage) -> Result<()> {
        let mut connection = self.connection.clone();
        let (channel, bytes) = (self.channel(document), encode(message));
        let told: redis::RedisResult<i64> = match message {
            BusMessage::Logged { position, .. } => {
                let [tail, facts] = self.tail(document);
                let mut call = self.publish_record.key(tail);
                call.key(facts).arg(channel).arg(log_of(*position)).arg(position.offset).arg(bytes);
                call.arg(TAIL_RECORDS_MAX).arg(TAIL_BYTES_MAX).arg(TAIL_SECONDS);
                call.invoke_async(&mut connection).await
            }
            BusMessage::Presence { .. } => {
                let mut both = redis::pipe();
                both.cmd("PUBLISH").arg(channel).arg(&bytes[..]);
                both.cmd("PUBLISH").arg(self.presence_channel(document)).arg(&bytes[..]);
                both.query_async(&mut connection).await.map(|(heard, _): (i64, i64)| heard)
            }
            _ => redis::cmd("PUBLISH").arg(channel).arg(bytes).query_async(&mut connection).await,
        };
        told.map(|_| ()).map_err(redis_error)
    }
}

/// Carries what sessions of one region show to the relays of another, from now on, until a connection is lost. What is lost with it
/// is shown there again when the session shows something else.
///
/// # Errors
/// `Unavailable` when either Redis does not answer any more.
pub async fn carry_presence(from: &RedisOptions, to: &RedisOptions) -> Result<()> {
    let target = RedisBus::open(to.clone()).await?;
    let source = Client::open(from.url.as_str())
        .map_err(|error| Error::Invalid(format!("the Redis address {:?}: {error}", from.url)))?;
    let lost = |source: &str| Error::Unavailable { what: WHAT, source: Some(source.into()) };
    let listening = tokio::time::timeout(ANSWER_TIMEOUT, source.get_async_pubsub()).await;
    let (mut sink, mut told) = listening.map_err(|_| lost("Redis does not answer"))?.map_err(redis_error)?.split();
    let channels = format!("{}{PRESENCE}", from.prefix);
    sink.psubscribe(format!("{}*", globbed(&channels))).await.map_err(redis_error)?;
    while let Some(message) = told.next().await {
        let Some(document) = message.get_channel_name().strip_prefix(&channels) else { continue };
        let Ok(document) = document.parse::<DocumentId>() else { continue };
        let mut connection = target.connection.clone();
        let bytes = message.get_payload_bytes();
        let _: i64 = redis::cmd("PUBLISH")
            .arg(target.channel(&document))
            .arg(bytes)
            .query_async(&mut connection)
            .await
            .map_err(redis_error)?;
    }
    Err(lost("the connection to Redis was lost"))
}

/// A text as a pattern that it alone fits.
fn globbed(text: &str) -> String {
    let special = |letter| matches!(letter, '*' | '?' | '[' | ']' | '\\');
    text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

fn locked(topics: &Mutex<Topics>) -> MutexGuard<'_, Topics> {
    // The map is whole after every step, so a panic elsewhere under the lock leaves nothing half done.
    topics.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bus for RedisBus {
    fn publish<'a>(&'a self, document: &'a DocumentId, message: Arc<BusMessage>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self.tell(document, &message).await {
                // The first call after a connection was lost finds that out; the next one has a new connection. Told twice is
                // told once.
                Err(Error::Unavailable { .. }) => self.tell(document, &message).await,
                told => told,
            }
        })
    }

    fn subscribe<'a>(&'a self, document: &'a DocumentId) -> BoxFuture<'a, Result<Box<dyn Subscription>>> {
        Box::pin(async move {
            let channel = self.channel(document);
            let receiver = Some(self.listen(&channel).await?);
            let (topics, hub) = (Arc::clone(&self.topics), Arc::clone(&self.hub));
            Ok(Box::new(RedisSubscription { receiver, channel, topics, hub }) as Box<dyn Subscription>)
        })
    }

    fn recent<'a>(&'a self, document: &'a DocumentId, from: Position) -> BoxFuture<'a, Result<Vec<Arc<BusMessage>>>> {
        Box::pin(async move {
            let mut connection = self.connection.clone();
            let [tail, facts] = self.tail(document);
            let mut call = self.recent.key(tail);
            call.key(facts).arg(log_of(from)).arg(from.offset);
            let found: Option<Vec<Vec<u8>>> = call.invoke_async(&mut connection).await.map_err(redis_error)?;
            let evicted = || Error::Evicted { what: format!("the tail of {document} before what is kept") };
            // A record that this version cannot read would be a hole.
            let decoded = found.and_then(|found| found.iter().map(|bytes| decode(bytes).map(Arc::new)).collect());
            decoded.ok_or_else(evicted)
        })
    }

    fn lock<'a>(&'a self, name: &'a str, holder: u64, for_ms: u64) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let mut connection = self.connection.clone();
            let mut call = self.lock.key(format!("{}lock:{name}", self.prefix));
            call.arg(holder).arg(for_ms.max(1));
            let taken: i64 = call.invoke_async(&mut connection).await.map_err(redis_error)?;
            Ok(taken == 1)
        })
    }

    fn unlock<'a>(&'a self, name: &'a str, holder: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut connection = self.connection.clone();
            let mut call = self.unlock.key(format!("{}lock:{name}", self.prefix));
            let _: i64 = call.arg(holder).invoke_async(&mut connection).await.map_err(redis_error)?;
            Ok(())
        })
    }
}

/// The log of a position and its partition: positions of another partition are of another tail.
fn log_of(position: Position) -> String {
    format!("{:032x}/{}", position.log.0, position.partition)
}

struct RedisSubscription {
    /// `None` only while it is dropped.
    receiver: Option<broadcast::Receiver<Arc<BusMessage>>>,
    channel: String,
    topics: Arc<Mutex<Topics>>,
    hub: Arc<tokio::sync::Mutex<Option<Hub>>>,
}

impl Subscription for RedisSubscription {
    fn heard(&mut self) -> BoxFuture<'_, Result<Heard>> {
        Box::pin(async move {
            let Some(receiver) = &mut self.receiver else {
                return Err(Error::Closed { what: WHAT });
            };
            match receiver.recv().await {
                Ok(message) => Ok(Heard::Message(message)),
                Err(RecvError::Lagged(missed)) => Ok(Heard::Lagged(missed)),
                Err(RecvError::Closed) => {
                    Err(Error::Unavailable { what: WHAT, source: Some("the connection to Redis was lost".into()) })
                }
            }
        })
    }
}

impl Drop for RedisSubscription {
    fn drop(&mut self) {
        self.receiver.take();
        let (channel, topics, hub) = (self.channel.clone(), Arc::clone(&self.topics), Arc::clone(&self.hub));
        // Without a runtime the process is ending, and the connection with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let mut hub = hub.lock().await;
            // Under the hub's lock nobody subscribes meanwhile.
            let unheard = {
                let mut topics = locked(&topics);
                let unheard = topics.channels.get(&channel).is_some_and(|known| known.sender.receiver_count() == 0);
                if unheard {
                    topics.channels.remove(&channel);
                }
                unheard
            };
            if unheard && let Some(open) = hub.as_mut() {
                // A connection that is gone listens to nothing.
                let _ = open.sink.unsubscribe(&channel).await;
            }
        });
    }
}

/// Redis' words in the region's.
fn redis_error(error: redis::RedisError) -> Error {
    match error.code() {
        Some("OOM") => Error::Full { what: WHAT, source: Some(error.into()) },
        Some("LOADING" | "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "READONLY") => {
            Error::Unavailable { what: WHAT, source: Some(error.into()) }
        }
        _ if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() => {
            Error::Unavailable { what: WHAT, source: Some(error.into()) }
        }
        _ => Error::Failed { what: WHAT, source: error.into() },
    }
}
