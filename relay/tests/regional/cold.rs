//! A room opens from whichever part of its region still has the document: the snapshot in PostgreSQL or in S3, the op store, the
//! log, the hot tail.
//!
//! A document is written through a relay and persisted by a replicator; then all that holds it is taken away but one part, what can be
//! cut off is cut off, and a relay that was never asked for the document opens it.

use std::time::{Duration, Instant};

use rand::RngExt;
use selvedge_protocol::message::Closed;
use selvedge_protocol::{AckLevel, Channel, CloseCode, ServerMessage};
use selvedge_region::regional::{INLINE_BYTES_MAX, Way, snapshot_blobs};

use super::harness::Peer;
use super::harness::raw::{Raw, open};
use super::parts::{Home, PATIENCE, Ways, until};
use super::{relay, saved, services, wait_saved};

const DOCUMENT: &str = "cold";
const MORE: &str = " and on";

/// A region that holds a persisted document, which nobody has open; its text.
async fn persisted(test: &str, text: &str) -> Option<(Home, String)> {
    let home = Home::new(services(test)?).await;
    let text = home.write(&[(DOCUMENT, text)]).await.remove(0);
    home.persist(&[(DOCUMENT, &text)]).await;
    Some((home, text))
}

/// Waits for a text; a part that is away may hold up its room for seconds.
async fn wait_text(peer: &Peer, channel: Channel, expected: &str) {
    let begin = Instant::now();
    while peer.text(channel).await != expected {
        let length = peer.text(channel).await.len();
        assert!(begin.elapsed() < PATIENCE, "{length} of {} bytes of the text came", expected.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A client of a relay without those ways has the whole text, writes on, and is acknowledged; whoever comes later, to another relay
/// without these, has that, too.
async fn opens_and_goes_on(home: Home, cut: impl Fn(&Ways), later_cut: impl Fn(&Ways), text: &str) {
    let ways = Ways::to(&home.services, None).await;
    cut(&ways);
    let ben = Peer::start(&ways.relay.socket(), 2);
    let b = ben.open(DOCUMENT, 22).await;
    wait_text(&ben, b, text).await;
    ben.edit(b, text.len(), 0, MORE).await;
    wait_saved(&ben, b, AckLevel::Region).await;
    let later = Ways::to(&home.services, None).await;
    later_cut(&later);
    let eve = Peer::start(&later.relay.socket(), 3);
    let e = eve.open(DOCUMENT, 33).await;
    wait_text(&eve, e, &format!("{text}{MORE}")).await;
    home.region.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_opens_from_the_snapshot_in_postgresql_alone() {
    let Some((home, text)) = persisted("a_room_opens_from_the_snapshot_in_postgresql_alone", "in a row").await else {
        return;
    };
    home.wipe_log().await;
    home.wipe_tails().await;
    home.wipe_ops(DOCUMENT).await;
    let cut = |ways: &Ways| Ways::cut(&[&ways.dynamodb, &ways.s3, &ways.redis]);
    opens_and_goes_on(home, cut, |_| {}, &text).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_opens_from_the_snapshot_in_s3_alone() {
    const TEST: &str = "a_room_opens_from_the_snapshot_in_s3_alone";
    // Signs of which little can be left out: 6.6 bits each.
    let sign = |_| char::from(rand::rng().random_range(b' '..=b'~'));
    let long: String = (0..INLINE_BYTES_MAX * 11 / 8).map(sign).collect();
    let Some((home, text)) = persisted(TEST, &long).await else { return };
    let blobs = home.region.region().blobs.list(&snapshot_blobs(1), None, 10).await.unwrap();
    assert!(!blobs.keys.is_empty(), "the snapshot's bytes are in S3; PostgreSQL has a row that names them");
    home.wipe_log().await;
    home.wipe_tails().await;
    home.wipe_ops(DOCUMENT).await;
    let cut = |ways: &Ways| Ways::cut(&[&ways.dynamodb, &ways.redis]);
    opens_and_goes_on(home, cut, |_| {}, &text).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_opens_from_the_op_store_alone() {
    let Some((home, text)) = persisted("a_room_opens_from_the_op_store_alone", "in runs").await else { return };
    home.wipe_log().await;
    home.wipe_tails().await;
    home.wipe_snapshots(DOCUMENT).await;
    let cut = |ways: &Ways| Ways::cut(&[&ways.postgres, &ways.s3, &ways.redis]);
    opens_and_goes_on(home, cut, |_| {}, &text).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_opens_from_the_log_alone() {
    let Some((home, text)) = persisted("a_room_opens_from_the_log_alone", "in records").await else { return };
    home.wipe_tails().await;
    home.wipe_ops(DOCUMENT).await;
    home.wipe_snapshots(DOCUMENT).await;
    // Persist has said that everything is in the op store: one that answers is believed.
    let cut = |ways: &Ways| Ways::cut(&[&ways.postgres, &ways.dynamodb, &ways.s3, &ways.redis]);
    opens_and_goes_on(home, cut, |ways| Ways::cut(&[&ways.dynamodb]), &text).await;
}

/// Nothing is acknowledged that the log has not confirmed, however long it is watched.
async fn stays_unsaved(peer: &Peer, channel: Channel) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        assert!(!saved(peer, channel, AckLevel::Region).await, "acknowledged, and no log has it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_opens_from_the_hot_tail_while_the_log_is_away_and_acknowledges_nothing() {
    const TEST: &str = "a_room_opens_from_the_hot_tail";
    // In the tail alone, with nothing that it could follow on.
    const BARE: &str = "bare";
    let Some(services) = services(TEST) else { return };
    let link = ["A_KAFKA_LINK", "A_KAFKA_LINKED"].map(|name| std::env::var(format!("SELVEDGE_STACK_{name}")));
    let [Ok(begin), Ok(broker)] = link else {
        eprintln!("skipped: {TEST} (SELVEDGE_STACK_A_KAFKA_LINK names no way to the broker that can be cut)");
        return;
    };
    let home = Home::new(services).await;
    let early = home.write(&[(DOCUMENT, "in a row")]).await.remove(0);
    home.persist(&[(DOCUMENT, &early)]).await;
    let texts = home.write(&[(DOCUMENT, ", and in the tail"), (BARE, "in the tail alone")]).await;
    let parts = home.region.region();
    for document in [DOCUMENT, BARE] {
        let key = Home::key(document);
        let end = parts.log.bounds(parts.log.partition(&key.document)).await.unwrap().end;
        let last = selvedge_region::Position { offset: end.offset - 1, ..end };
        until("the tail has what was written last", async || parts.bus.recent(&key.document, last).await.is_ok()).await;
    }
    home.wipe_ops(DOCUMENT).await;
    let ways = Ways::to(&home.services, Some((begin, broker))).await;
    let kafka = ways.kafka.as_ref().unwrap();
    Ways::cut(&[&ways.dynamodb, &ways.s3, kafka]);

    let mut raw = Raw::hello(&ways.relay.socket(), "cyd").await;
    raw.send(Channel(1), open(BARE)).await;
    let ben = Peer::start(&ways.relay.socket(), 2);
    let b = ben.open(DOCUMENT, 22).await;
    // A tail does not say whether it is all there is of a document: it is asked for again, and nothing is shown for the whole.
    match raw.expect(|message| matches!(message, ServerMessage::OpenOk(_) | ServerMessage::Closed(_))).await {
        (_, ServerMessage::Closed(Closed { code, .. })) => assert_eq!(CloseCode(code), CloseCode::DRAINING),
        other => panic!("{other:?}"),
    }
    wait_text(&ben, b, &texts[0]).await;
    ben.edit(b, texts[0].len(), 0, MORE).await;
    stays_unsaved(&ben, b).await;
    let cyd = Peer::start(&ways.relay.socket(), 3);
    let c = cyd.open(BARE, 33).await;

    kafka.set(Way::Open);
    let begin = Instant::now();
    while !saved(&ben, b, AckLevel::Region).await {
        assert!(begin.elapsed() < PATIENCE, "the log is back, and nothing is acknowledged");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wait_text(&cyd, c, &texts[1]).await;
    cyd.edit(c, texts[1].len(), 0, MORE).await;
    wait_saved(&cyd, c, AckLevel::Region).await;
    let later = relay(&home.services, None).await;
    let eve = Peer::start(&later.socket(), 4);
    let (e, f) = (eve.open(DOCUMENT, 44).await, eve.open(BARE, 45).await);
    wait_text(&eve, e, &format!("{}{MORE}", texts[0])).await;
    wait_text(&eve, f, &format!("{}{MORE}", texts[1])).await;
    home.region.close().await;
}
