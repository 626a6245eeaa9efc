//! The contract of [`Bus`].

use std::sync::Arc;

use super::{Bus, BusMessage, Heard, Subscription};
use crate::contract::{Fault, Faults, document, injected};
use crate::{DocumentId, Error, LogId, LogRecord, Position};

/// More than any implementation lets a subscriber be behind.
const FLOOD: u64 = 5000;

/// Holds a bus to its contract.
///
/// # Panics
/// Where the contract is broken.
pub async fn bus(bus: &dyn Bus, faults: &dyn Faults) {
    everyone_hears(bus).await;
    slow_subscribers_are_told(bus).await;
    hot_tail(bus, faults).await;
    locks(bus).await;
}

fn logged(document: &DocumentId, offset: u64) -> Arc<BusMessage> {
    let record = Arc::new(LogRecord::new(document.clone(), 1, "anon:contract".to_owned(), vec![1; 8]));
    Arc::new(BusMessage::Logged { position: Position { log: LogId(5), partition: 0, offset }, record })
}

fn presence(session: u64) -> Arc<BusMessage> {
    Arc::new(BusMessage::Presence { relay: 1, session, data: Some(vec![9]), user: None })
}

async fn message(subscription: &mut Box<dyn Subscription>) -> Arc<BusMessage> {
    match subscription.heard().await.expect("the bus is there") {
        Heard::Message(message) => message,
        Heard::Lagged(missed) => panic!("nobody lags here, but {missed} were missed"),
    }
}

async fn everyone_hears(bus: &dyn Bus) {
    let (one, other) = (document("bus-one"), document("bus-other"));
    bus.publish(&one, logged(&one, 0)).await.expect("nobody listening is no fault");
    let mut first = bus.subscribe(&one).await.expect("subscribe");
    let mut second = bus.subscribe(&one).await.expect("subscribe");
    let mut elsewhere = bus.subscribe(&other).await.expect("subscribe");
    let messages = [
        logged(&one, 1),
        presence(4),
        Arc::new(BusMessage::Deleted { generation: 1 }),
        Arc::new(BusMessage::Replicated { watermark: Position { log: LogId(5), partition: 0, offset: 2 } }),
    ];
    for message in &messages {
        bus.publish(&one, Arc::clone(message)).await.expect("publish");
    }
    for told in &messages {
        assert_eq!(message(&mut first).await, *told, "in order, and only what was told after subscribing");
        assert_eq!(message(&mut second).await, *told, "every subscriber");
    }
    bus.publish(&other, presence(7)).await.expect("publish");
    assert_eq!(message(&mut elsewhere).await, presence(7), "documents do not mix");
    drop((first, second));
    bus.publish(&one, presence(5)).await.expect("the last one leaving is no fault");
    // What is on its way when somebody subscribes may still be heard: it has passed when what was told after it is here.
    bus.publish(&other, presence(8)).await.expect("publish");
    assert_eq!(message(&mut elsewhere).await, presence(8));
    let mut again = bus.subscribe(&one).await.expect("subscribe");
    bus.publish(&one, presence(6)).await.expect("publish");
    assert_eq!(message(&mut again).await, presence(6), "a new subscriber hears nothing old");
}

async fn slow_subscribers_are_told(bus: &dyn Bus) {
    let flooded = document("bus-flooded");
    let mut slow = bus.subscribe(&flooded).await.expect("subscribe");
    for session in 0..FLOOD {
        bus.publish(&flooded, presence(session)).await.expect("a slow subscriber stops nobody");
    }
    let mut missed = 0;
    let next = loop {
        match slow.heard().await.expect("the bus is there") {
            // The last of the flood may still be arriving, and push out more.
            Heard::Lagged(more) => missed += more,
            Heard::Message(message) => break message,
        }
    };
    assert!(missed > 0 && missed < FLOOD, "a subscriber hears first what it missed; what fits is kept: {missed}");
    assert_eq!(next, presence(missed), "then the rest, without another hole");
}

async fn locks(bus: &dyn Bus) {
    let lock = |name, holder, for_ms| async move { bus.lock(name, holder, for_ms).await.expect("lock") };
    assert!(lock("contract-lock", 1, 60_000).await, "a free lock is taken");
    assert!(lock("contract-lock", 1, 60_000).await, "and renewed by its holder");
    assert!(!lock("contract-lock", 2, 60_000).await, "by nobody else");
    assert!(lock("contract-other", 2, 60_000).await, "another lock is another");
    bus.unlock("contract-lock", 2).await.expect("unlock");
    assert!(!lock("contract-lock", 2, 60_000).await, "who does not hold it cannot give it back");
    bus.unlock("contract-lock", 1).await.expect("unlock");
    assert!(lock("contract-lock", 2, 1).await, "given back, it is free");
    while !lock("contract-lock", 3, 60_000).await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for name in ["contract-lock", "contract-other"] {
        for holder in [2, 3] {
            bus.unlock(name, holder).await.expect("unlock");
        }
    }
}

async fn hot_tail(bus: &dyn Bus, faults: &dyn Faults) {
    let hot = document("bus-hot");
    let at = |offset| Position { log: LogId(5), partition: 0, offset };
    let evicted = |answer: crate::Result<Vec<Arc<BusMessage>>>, why: &str| {
        assert!(matches!(answer, Err(Error::Evicted { .. })), "{why}: {answer:?}");
    };
    evicted(bus.recent(&hot, at(0)).await, "a tail that was never written reaches nowhere");
    let _listening = bus.subscribe(&hot).await.expect("subscribe");
    for offset in [10, 12, 11, 15] {
        bus.publish(&hot, logged(&hot, offset)).await.expect("publish");
    }
    bus.publish(&hot, presence(1)).await.expect("publish");
    let recent = bus.recent(&hot, at(11)).await.expect("the tail reaches there");
    assert_eq!(recent, [logged(&hot, 11), logged(&hot, 12), logged(&hot, 15)], "records only, in order of position");
    assert_eq!(bus.recent(&hot, at(16)).await.expect("the end"), [], "nothing is newer");
    evicted(bus.recent(&hot, at(9)).await, "before the first record told");
    evicted(bus.recent(&hot, Position { log: LogId(6), ..at(12) }).await, "another log");
    for offset in 100..100 + FLOOD {
        bus.publish(&hot, logged(&hot, offset)).await.expect("publish");
    }
    evicted(bus.recent(&hot, at(11)).await, "the tail is bounded");
    let newest = bus.recent(&hot, at(99 + FLOOD)).await.expect("the newest stays");
    assert_eq!(newest, [logged(&hot, 99 + FLOOD)]);
    if injected(faults, Fault::Evicted, "an evicted tail").await {
        evicted(bus.recent(&hot, at(99 + FLOOD)).await, "an evicted tail says so");
    }
}
