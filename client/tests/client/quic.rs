//! The native client over QUIC, and from one address to another when the first goes away.

use std::time::{Duration, Instant};

use crate::harness::door::Door;
use crate::harness::{Relay, open, within};
use selvedge_client::{AckLevel, ClientOptions, Doc, Error, Handle, OpenOptions, Transport};

async fn saved(doc: &Doc) {
    within("saved", doc.when_saved(AckLevel::Region)).await.unwrap();
}

async fn text(doc: &Doc, expected: &str) {
    within(expected, doc.when_text(|text| text == expected)).await.unwrap();
}

fn carrier(handle: &Handle) -> Option<Transport> {
    handle.link().map(|link| link.transport)
}

fn by_quic(relay: &Relay, addresses: &str) -> Handle {
    let options = ClientOptions { certificate_hashes: relay.running.certificates(), ..ClientOptions::default() };
    Handle::connect(addresses, options).unwrap()
}

fn quic_url(relay: &Relay) -> String {
    format!("quic://{}", relay.running.quic.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn quic_carries_documents_presence_and_closes() {
    let relay = Relay::start().await;
    let (ada, ben) = (by_quic(&relay, &quic_url(&relay)), relay.connect());
    let (a, b) = (open(&ada, "carried").await, open(&ben, "carried").await);
    let other = open(&ada, "other").await;
    a.replace(0, 0, "over QUIC").unwrap();
    other.replace(0, 0, "another").unwrap();
    text(&b, "over QUIC").await;
    saved(&a).await;
    saved(&other).await;
    assert_eq!((carrier(&ada), carrier(&ben)), (Some(Transport::Quic), Some(Transport::WebSocket)));
    b.replace(0, 4, "by").unwrap();
    text(&a, "by QUIC").await;
    // Longer than any window: it arrives all the same.
    let long = "a paste that needs many frames. ".repeat(20_000);
    a.replace(0, 0, &long).unwrap();
    text(&b, &format!("{long}by QUIC")).await;
    for n in 0..20_u8 {
        a.set_presence(Some(vec![n])).unwrap();
    }
    let shown = async |data: Option<Vec<u8>>| {
        while b.presence().present.first().and_then(|one| one.data.clone()) != data {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the last presence", shown(Some(vec![19]))).await;
    other.close().await.unwrap();
    a.close().await.unwrap();
    within("that it is gone", shown(None)).await;
    let again = open(&ada, "carried").await;
    text(&again, &format!("{long}by QUIC")).await;
    ada.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_not_told_of_is_refused_and_another_address_taken() {
    let relay = Relay::start().await;
    let options = || ClientOptions { certificate_hashes: vec![[7; 32]], ..ClientOptions::default() };
    let both = Handle::connect(&format!("{},{}", quic_url(&relay), relay.url()), options()).unwrap();
    let doc = open(&both, "doubted").await;
    doc.replace(0, 0, "y").unwrap();
    saved(&doc).await;
    assert_eq!(carrier(&both), Some(Transport::WebSocket));
    let alone = Handle::connect(&quic_url(&relay), ClientOptions::default()).unwrap();
    let doc = open(&alone, "doubted").await;
    doc.replace(0, 0, "x").unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(700), doc.when_saved(AckLevel::Region)).await;
    assert!(waited.is_err(), "no authority vouches for it");
    for wrong in ["quic://", "quic://host:port", "http://a,gopher://b"] {
        assert!(matches!(Handle::connect(wrong, ClientOptions::default()), Err(Error::Url { .. })), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_udp_is_blocked_a_websocket_to_the_same_relay_is_there_within_a_second() {
    let relay = Relay::start().await;
    let door = Door::tcp(relay.running.address).await;
    // The relay tells of QUIC at an address where no datagram arrives.
    let told = vec![format!("ws://{}/v1/connect", door.address), format!("quic://{}", door.address)];
    let relay = relay.restart_with(|config| config.listen.advertise = told).await;
    let ada = Handle::connect(&format!("http://{}", door.address), ClientOptions::default()).unwrap();
    let doc = open(&ada, "blocked").await;
    doc.replace(0, 0, "one ").unwrap();
    saved(&doc).await;
    // It knows now that the relay has QUIC too, and tries that first at the next loss.
    let began = Instant::now();
    ada.go_offline();
    ada.go_online();
    doc.replace(4, 0, "two").unwrap();
    saved(&doc).await;
    let gap = began.elapsed();
    assert_eq!(carrier(&ada), Some(Transport::WebSocket));
    eprintln!("without UDP: connected again and saved after {} ms", gap.as_millis());
    assert!(gap < Duration::from_secs(5), "{gap:?}");
    drop(relay);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_falls_silent_mid_typing_is_left_for_another() {
    let relay = Relay::start().await;
    let first = Door::udp(relay.running.quic.unwrap()).await;
    let ada = by_quic(&relay, &format!("quic://{},{}", first.address, relay.url()));
    let ben = relay.connect();
    let (a, b) = (open(&ada, "typed").await, open(&ben, "typed").await);
    let mut written = String::new();
    let (mut began, mut gap) = (None, None);
    for n in 0..400 {
        if n == 30 {
            saved(&a).await;
            assert_eq!(carrier(&ada), Some(Transport::Quic));
            first.shut();
            began = Some(Instant::now());
        }
        let word = format!("{n} ");
        a.replace(written.len(), 0, &word).unwrap();
        written.push_str(&word);
        tokio::time::sleep(Duration::from_millis(10)).await;
        if let Some(began) = began
            && gap.is_none()
            && b.text().split_whitespace().last().and_then(|last| last.parse().ok()).is_some_and(|last: u32| last >= 30)
        {
            gap = Some(began.elapsed());
            break;
        }
    }
    let gap = match gap {
        Some(gap) => gap,
        None => {
            text(&b, &written).await;
            began.unwrap().elapsed()
        }
    };
    eprintln!("a silent way: others see what was written after {} ms", gap.as_millis());
    text(&b, &written).await;
    saved(&a).await;
    assert!(gap < Duration::from_secs(20), "{gap:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_goes_away_mid_typing_is_found_again_by_quic_and_nothing_is_lost() {
    let relay = Relay::start().await;
    // By QUIC alone: it would be a matter of luck, as what was sent while nobody listened is sent again after a second, and a WebSocket
    // is tried after half of one.
    let options = ClientOptions {
        certificate_hashes: relay.running.certificates(),
        transports: vec![Transport::Quic],
        ..ClientOptions::default()
    };
    let ada = Handle::connect(&quic_url(&relay), options).unwrap();
    let a = ada.open("kept", OpenOptions::default()).await.unwrap();
    a.replace(0, 0, "before ").unwrap();
    saved(&a).await;
    let relay = relay.restart().await;
    a.replace(7, 0, "meanwhile ").unwrap();
    saved(&a).await;
    assert_eq!(carrier(&ada), Some(Transport::Quic));
    let b = open(&relay.connect(), "kept").await;
    text(&b, "before meanwhile ").await;
    b.replace(0, 0, "and ").unwrap();
    text(&a, "and before meanwhile ").await;
}
