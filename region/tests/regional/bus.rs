//! The bus on Redis: its contract, presence between regions, and a Redis that is gone, full or slow.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_region::regional::{Proxy, RedisBus, RedisFaults, RedisOptions, Way, carry_presence};
use selvedge_region::{
    Bus, BusMessage, DocumentId, Error, Heard, LogId, LogRecord, Position, Result, Subscription, contract,
};

use super::{REDIS, address, host, unique};

/// A machine under load takes long; a test that has to wait longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bus() {
    let Some(url) = address("A_REDIS", "bus") else { return };
    let _needs = REDIS.read().await;
    let bus = Arc::new(RedisBus::open(RedisOptions { prefix: unique(), ..RedisOptions::new(url) }).await.unwrap());
    contract::bus(&*bus, &RedisFaults(Arc::clone(&bus))).await;
}

/// The next session whose presence a subscriber hears of.
async fn next_shown(subscription: &mut Box<dyn Subscription>) -> u64 {
    match subscription.heard().await.unwrap() {
        Heard::Message(message) => match &*message {
            BusMessage::Presence { session, .. } => *session,
            other => panic!("nothing else was told: {other:?}"),
        },
        Heard::Lagged(missed) => panic!("{missed} were missed"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_is_carried_to_the_other_region_and_not_back() {
    const TEST: &str = "presence_is_carried";
    let (Some(a), Some(b)) = (address("A_REDIS", TEST), address("B_REDIS", TEST)) else { return };
    let _needs = REDIS.read().await;
    // Letters that mean something in a pattern.
    let prefix = format!("{}[*]", unique());
    let [a, b] = [a, b].map(|url| RedisOptions { prefix: prefix.clone(), ..RedisOptions::new(url) });
    let (bus_a, bus_b) = (RedisBus::open(a.clone()).await.unwrap(), RedisBus::open(b.clone()).await.unwrap());
    let document = "t/carried".parse().unwrap();
    let (mut at_a, mut at_b) = (bus_a.subscribe(&document).await.unwrap(), bus_b.subscribe(&document).await.unwrap());
    let shows = |session| {
        Arc::new(BusMessage::Presence { relay: 1, session, data: Some(vec![7]), user: Some("ada".to_owned()) })
    };
    let mut carriers = tokio::task::JoinSet::new();
    for (from, to) in [(a.clone(), b.clone()), (b, a)] {
        carriers.spawn(async move { carry_presence(&from, &to).await });
    }
    // Until both carriers listen.
    for (bus, far) in [(&bus_a, &mut at_b), (&bus_b, &mut at_a)] {
        loop {
            bus.publish(&document, shows(1)).await.unwrap();
            if tokio::time::timeout(Duration::from_millis(100), next_shown(far)).await.is_ok() {
                break;
            }
        }
    }
    bus_a.publish(&document, shows(2)).await.unwrap();
    while next_shown(&mut at_b).await != 2 {}
    bus_b.publish(&document, shows(3)).await.unwrap();
    let mut heard = Vec::new();
    while heard.last() != Some(&3) {
        heard.push(next_shown(&mut at_a).await);
    }
    assert_eq!(heard.iter().filter(|session| **session == 2).count(), 1, "what A told comes back to A: {heard:?}");
    carriers.shutdown().await;
}

fn at(offset: u64) -> Position {
    Position { log: LogId(5), partition: 0, offset }
}

fn logged(document: &DocumentId, offset: u64) -> Arc<BusMessage> {
    let record = Arc::new(LogRecord::new(document.clone(), 1, "anon:test".to_owned(), vec![1; 8]));
    Arc::new(BusMessage::Logged { position: at(offset), record })
}

fn shown(session: u64) -> Arc<BusMessage> {
    Arc::new(BusMessage::Presence { relay: 1, session, data: Some(vec![7]), user: None })
}

/// Asks until it is answered: who finds a connection lost connects anew for the next one.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T>) -> T {
    let begin = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(begin.elapsed() < PATIENCE && error.retryable(), "{what}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn message(subscription: &mut Box<dyn Subscription>) -> Arc<BusMessage> {
    match tokio::time::timeout(PATIENCE, subscription.heard()).await.expect("it is told").unwrap() {
        Heard::Message(message) => message,
        Heard::Lagged(missed) => panic!("{missed} were missed"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_gone_is_told_by_every_call_and_serves_again_when_it_is_back() {
    let Some(url) = address("A_REDIS", "a_redis_that_is_gone") else { return };
    let _needs = REDIS.read().await;
    let way = Proxy::to(host(&url)).await.unwrap();
    let through = RedisOptions { prefix: unique(), ..RedisOptions::new(format!("redis://{}", way.address())) };
    let bus = RedisBus::open(through).await.unwrap();
    let document: DocumentId = "t/gone".parse().unwrap();
    let mut early = bus.subscribe(&document).await.unwrap();
    bus.publish(&document, logged(&document, 1)).await.unwrap();
    assert_eq!(message(&mut early).await, logged(&document, 1));
    way.set(Way::Cut);
    let answers = [
        ("a subscriber", early.heard().await.map(drop)),
        ("subscribe", bus.subscribe(&document).await.map(drop)),
        ("publish", bus.publish(&document, logged(&document, 2)).await),
        ("recent", bus.recent(&document, at(1)).await.map(drop)),
        ("lock", bus.lock("gone", 1, 60_000).await.map(drop)),
        ("unlock", bus.unlock("gone", 1).await),
    ];
    for (call, answer) in answers {
        let Err(error @ Error::Unavailable { .. }) = answer else { panic!("{call}: {answer:?}") };
        assert!(error.retryable(), "{call}: {error}");
    }
    way.set(Way::Open);
    let mut again = until("subscribe", async || bus.subscribe(&document).await).await;
    until("publish", async || bus.publish(&document, logged(&document, 3)).await).await;
    assert_eq!(message(&mut again).await, logged(&document, 3));
    // What could not be told is missing there: it says of what comes before that it was told, and not that it is all.
    assert_eq!(bus.recent(&document, at(1)).await.unwrap(), [logged(&document, 1), logged(&document, 3)]);
    assert!(bus.lock("gone", 2, 60_000).await.unwrap(), "nobody had it");
}

/// A Redis with a setting that it does not keep beyond this.
struct Set {
    client: redis::Client,
    name: &'static str,
    before: String,
}

impl Set {
    async fn to(url: &str, name: &'static str, value: &str) -> Self {
        let client = redis::Client::open(url).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let (_, before): (String, String) =
            redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection).await.unwrap();
        let () = redis::cmd("CONFIG").arg("SET").arg(name).arg(value).query_async(&mut connection).await.unwrap();
        Self { client, name, before }
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        let set = self.client.get_connection().and_then(|mut connection| {
            redis::cmd("CONFIG").arg("SET").arg(self.name).arg(&self.before).exec(&mut connection)
        });
        // A panic while a test unwinds would hide what failed.
        if let Err(error) = set {
            eprintln!("{} stays set: {error}", self.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_memory_keeps_no_tail_and_tells_everything_all_the_same() {
    let Some(url) = address("A_REDIS", "a_redis_without_memory") else { return };
    let _alone = REDIS.write().await;
    let bus = RedisBus::open(RedisOptions { prefix: unique(), ..RedisOptions::new(url.clone()) }).await.unwrap();
    let document: DocumentId = "t/full".parse().unwrap();
    let mut listening = bus.subscribe(&document).await.unwrap();
    bus.publish(&document, logged(&document, 1)).await.unwrap();
    assert_eq!(bus.recent(&document, at(1)).await.unwrap(), [logged(&document, 1)]);
    let full = Set::to(&url, "maxmemory", "1").await;
    for told in [logged(&document, 2), shown(3), logged(&document, 4)] {
        bus.publish(&document, told).await.unwrap();
    }
    for told in [logged(&document, 1), logged(&document, 2), shown(3), logged(&document, 4)] {
        assert_eq!(message(&mut listening).await, told);
    }
    // A tail with a hole in it would be taken for whole.
    let evicted = bus.recent(&document, at(1)).await;
    assert!(matches!(evicted, Err(Error::Evicted { .. })), "{evicted:?}");
    let refused = bus.lock("full", 1, 60_000).await;
    assert!(matches!(&refused, Err(error @ Error::Full { .. }) if error.retryable()), "{refused:?}");
    drop(full);
    bus.publish(&document, logged(&document, 5)).await.unwrap();
    assert_eq!(bus.recent(&document, at(5)).await.unwrap(), [logged(&document, 5)], "a tail begins anew");
    let evicted = bus.recent(&document, at(4)).await;
    assert!(matches!(evicted, Err(Error::Evicted { .. })), "it does not reach back over the hole: {evicted:?}");
    assert!(bus.lock("full", 1, 60_000).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_holds_its_clients_back_delays_what_is_told_and_loses_nothing() {
    const HELD_MS: u64 = 1_500;
    const MESSAGES: u64 = 200;
    let Some(url) = address("A_REDIS", "a_redis_that_holds_its_clients_back") else { return };
    let _alone = REDIS.write().await;
    let bus = RedisBus::open(RedisOptions { prefix: unique(), ..RedisOptions::new(url.clone()) }).await.unwrap();
    let document: DocumentId = "t/held".parse().unwrap();
    let mut listening = bus.subscribe(&document).await.unwrap();
    let mut asking = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let begin = Instant::now();
    // What was told before this is answered has to wait, too: Redis counts from when it is asked.
    let () = redis::cmd("CLIENT").arg("PAUSE").arg(HELD_MS).arg("WRITE").query_async(&mut asking).await.unwrap();
    let telling = (0..MESSAGES).map(|session| bus.publish(&document, shown(session)));
    for told in futures_util::future::join_all(telling).await {
        told.unwrap();
    }
    assert!(begin.elapsed() >= Duration::from_millis(HELD_MS), "it was not held back");
    // Told all at once, they come in any order.
    let mut heard = BTreeSet::new();
    while heard.len() < MESSAGES as usize {
        let message = message(&mut listening).await;
        let BusMessage::Presence { session, .. } = &*message else { panic!("{message:?}") };
        assert!(heard.insert(*session), "{session} twice");
    }
    assert_eq!(heard, (0..MESSAGES).collect());
}
