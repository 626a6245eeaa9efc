//! WebTransport and native QUIC on one socket: the same conversation, on streams of its own for each document.

use std::time::{Duration, Instant};

use crate::harness::http::ask;
use crate::harness::quic::{BOTH, Quic, Speaks, client_config, hashes, one_way};
use crate::harness::raw::{hello, open, words};
use crate::harness::{Peer, Relay};
use selvedge_engine::SiteId;
use selvedge_protocol::message::{Bye, Presence, Push};
use selvedge_protocol::{Channel, ClientMessage, CloseCode, ServerMessage};

/// What the relay counts under a name and labels.
async fn count(relay: &Relay, line: &str) -> u64 {
    let metrics = ask(relay.running.address, "GET", "/metrics", &[], b"").await.text();
    let found = metrics.lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or(0)
}

async fn wait_for(mut done: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !done().await {
        assert!(began.elapsed() < Duration::from_secs(30), "it never happened");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn presence(text: &str) -> Presence {
    Presence { session: 0, data: Some(text.as_bytes().to_vec().into()), user: None }
}

fn is_presence(message: &ServerMessage, text: &str) -> bool {
    matches!(message, ServerMessage::Presence(presence) if presence.data.as_deref() == Some(text.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn both_carriers_carry_what_a_websocket_does() {
    let relay = Relay::start().await;
    let ben = Peer::start(&relay.socket(), 2);
    let b = ben.open("carried", 22).await;
    for (seen, speaks) in (1..).zip(BOTH) {
        let (quic, mut control) = Quic::hello(&relay, speaks, "ada").await;
        let (mut document, _) = quic.open(1, "carried").await;
        let deltas = words(SiteId::random(6 + seen), &["one ", "two "]);
        document.push(&deltas).await;
        let last = deltas.last().unwrap().last();
        document.expect(|message| matches!(message, ServerMessage::Ack(ack) if ack.region == last)).await;
        wait_for(async || ben.text(b).await.matches("one two ").count() as u64 == seen).await;
        control.say(selvedge_protocol::message::Ping { nonce: 5 }).await;
        control.expect(|message| matches!(message, ServerMessage::Pong(pong) if pong.nonce == 5)).await;
        let word = if speaks == Speaks::Selvedge { "Quic" } else { "WebTransport" };
        let carried = count(&relay, &format!("selvedge_relay_connections{{transport=\"{word}\"}}")).await;
        assert_eq!(carried, 1, "{word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_goes_by_datagram_and_once_more_by_the_stream() {
    let relay = Relay::start().await;
    for speaks in BOTH {
        let (ada, _control_a) = Quic::hello(&relay, speaks, "ada").await;
        let (ben, _control_b) = Quic::hello(&relay, speaks, "ben").await;
        let (_a, _) = ada.open(1, "shown").await;
        let (mut b, _) = ben.open(3, "shown").await;
        b.expect(|message| matches!(message, ServerMessage::Synced(_))).await;
        let frame = ClientMessage::from(presence("here")).to_frame(Channel(1)).unwrap();
        ada.session.send_datagram(frame.into()).unwrap();
        let datagram = tokio::time::timeout(Duration::from_secs(20), ben.session.read_datagram()).await;
        let datagram = datagram.expect("no datagram came").unwrap();
        let (frame, taken) = selvedge_protocol::Frame::parse(&datagram).unwrap();
        assert_eq!((frame.channel, taken), (Channel(3), datagram.len()));
        assert!(is_presence(&ServerMessage::decode(&frame).unwrap().unwrap(), "here"));
        b.expect(|message| is_presence(message, "here")).await;
        ada.session.close(1000, b"");
        let gone = |message: &ServerMessage| matches!(message, ServerMessage::Presence(one) if one.data.is_none());
        b.expect(gone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_one_document_closes_its_stream_alone() {
    let relay = Relay::start().await;
    for speaks in BOTH {
        let (quic, mut control) = Quic::hello(&relay, speaks, "mallory").await;
        let (mut good, _) = quic.open(1, "good").await;
        let faults: [(&str, Vec<u8>, CloseCode); 5] = [
            ("a push of garbage", push(2, &[7; 500]), CloseCode::MALFORMED),
            ("a frame of another channel", push(1, &[]), CloseCode::MALFORMED),
            ("a length of 128 KiB", vec![2, 0x14, 0x80, 0x80, 0x08], CloseCode::TOO_LARGE),
            ("a message of servers", vec![2, 0x12, 3, 0, 0, 0], CloseCode::MALFORMED),
            ("hello again", ClientMessage::from(hello(&[1], None)).to_frame(Channel(2)).unwrap(), CloseCode::MALFORMED),
        ];
        for (number, (what, mut bytes, code)) in (10..).zip(faults) {
            let (mut bad, _) = quic.open(number, "bad").await;
            if bytes[0] == 2 {
                bytes[0] = u8::try_from(number).unwrap();
            }
            bad.bytes(&bytes).await;
            let closed = bad.expect(|message| matches!(message, ServerMessage::Closed(_))).await;
            let ServerMessage::Closed(closed) = closed else { unreachable!() };
            assert_eq!(CloseCode(closed.code), code, "{what}");
            assert!(bad.next().await.is_none(), "{what}: the stream ends after it");
        }
        let (mut cut, _) = quic.open(20, "bad").await;
        cut.bytes(&[20, 0x14, 9, 1]).await;
        cut.send.finish().unwrap();
        cut.expect(|message| matches!(message, ServerMessage::Closed(closed) if closed.code == 4400)).await;
        let deltas = words(SiteId::random(5), &["still here"]);
        good.push(&deltas).await;
        good.expect(|message| matches!(message, ServerMessage::Ack(_))).await;
        control.say(selvedge_protocol::message::Ping { nonce: 6 }).await;
        control.expect(|message| matches!(message, ServerMessage::Pong(_))).await;
    }
}

fn push(channel: u32, deltas: &[u8]) -> Vec<u8> {
    let push = Push { seq: 0, tag: None, deltas: deltas.to_vec().into() };
    ClientMessage::from(push).to_frame(Channel(channel)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_connection_close_it_with_code_and_reason() {
    let relay = Relay::start().await;
    let hurried = Relay::start_with(|config| config.limits.hello_ms = 400).await;
    for speaks in BOTH {
        let first = async |bytes: &[u8]| {
            let quic = Quic::connect(&relay, speaks).await;
            let mut control = quic.wire(Channel::CONNECTION).await;
            control.bytes(bytes).await;
            let (code, reason) = quic.closed().await;
            assert!(!reason.is_empty(), "{code:?} says nothing");
            code
        };
        assert_eq!(first(&[0xff; 100]).await, CloseCode::MALFORMED, "garbage");
        assert_eq!(first(&[0, 2, 0x80, 0x80, 0x08]).await, CloseCode::TOO_LARGE, "a length of 128 KiB");
        let unknown = ClientMessage::from(hello(&[99], None)).to_frame(Channel::CONNECTION).unwrap();
        assert_eq!(first(&unknown).await, CloseCode::UPGRADE, "a version nobody knows");
        let early = ClientMessage::from(open("x")).to_frame(Channel(1)).unwrap();
        assert_eq!(first(&early).await, CloseCode::MALFORMED, "open before hello");

        let silent = Quic::connect(&hurried, speaks).await;
        assert_eq!(silent.closed().await.0, CloseCode::TOO_SLOW, "hello after its time");

        let (stray, _control) = Quic::hello(&relay, speaks, "mallory").await;
        let mut one_way = stray.session.open_uni().await.unwrap();
        one_way.write_all(b"?").await.unwrap();
        assert_eq!(stray.closed().await.0, CloseCode::MALFORMED, "a unidirectional stream");

        let (twice, _control) = Quic::hello(&relay, speaks, "mallory").await;
        let (_document, _) = twice.open(4, "twice").await;
        let mut again = twice.wire(Channel(4)).await;
        again.say(open("twice")).await;
        assert_eq!(twice.closed().await.0, CloseCode::MALFORMED, "two streams of one channel");
    }
    wait_for(async || relay.running.connections() + hurried.running.connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_strangers_and_other_paths_are_refused() {
    let relay = Relay::start().await;
    let from = async |origin: &str, path: &str| {
        Quic::connect_from(&relay, Speaks::WebTransport, path, &[("origin", origin)]).await
    };
    let port = relay.running.address.port();
    let evil = from("http://evil.example", "/v1/connect").await.unwrap();
    assert_eq!(evil.closed().await.0, CloseCode::FORBIDDEN);
    for host in ["127.0.0.1", "localhost"] {
        let own = from(&format!("http://{host}:{port}"), "/v1/connect").await.unwrap();
        let mut control = own.wire(Channel::CONNECTION).await;
        control.say(hello(&[1], None)).await;
        control.expect(|message| matches!(message, ServerMessage::HelloOk(_))).await;
    }
    assert!(from(&format!("http://127.0.0.1:{port}"), "/elsewhere").await.is_err());
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let foreign = client_config(hashes(&relay).await, b"smtp");
    let connecting = endpoint.connect_with(foreign, relay.running.quic.unwrap(), "localhost").unwrap();
    assert!(connecting.await.is_err(), "a protocol nobody speaks here");
    let mistrustful = client_config(vec![[0; 32]], b"selvedge/1");
    let connecting = endpoint.connect_with(mistrustful, relay.running.quic.unwrap(), "localhost").unwrap();
    assert!(connecting.await.is_err(), "the certificate is the one that was told of");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_their_places_given_back() {
    let relay = Relay::start_with(|config| {
        config.quic.quic_streams_max = 6;
        config.room.idle_unload_ms = 5;
    })
    .await;
    let (quic, _control) = Quic::hello(&relay, Speaks::Selvedge, "opener").await;
    for number in 1..40 {
        let (mut document, _) = quic.open(number, &format!("opened{number}")).await;
        match number % 3 {
            // Leaves with a word, without one, and by a fault.
            0 => document.say(Bye::default()).await,
            1 => {}
            _ => {
                document.bytes(&push(number, &[7; 9])).await;
                document.expect(|message| matches!(message, ServerMessage::Closed(_))).await;
            }
        }
        document.send.finish().unwrap();
        while document.next().await.is_some() {}
    }
    let mut open = Vec::new();
    for number in 100..105 {
        open.push(quic.open(number, "many").await);
    }
    let more = tokio::time::timeout(Duration::from_millis(300), quic.session.open_bi()).await;
    assert!(more.is_err(), "a seventh stream has to wait");
    drop(open);
    drop(more);
    quic.open(200, "after").await;
    quic.session.close(1000, b"");
    wait_for(async || relay.running.rooms() == 0 && relay.running.connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_datagrams_is_dropped() {
    let relay = Relay::start().await;
    let (quic, mut control) = Quic::hello(&relay, Speaks::Selvedge, "flood").await;
    let (_document, _) = quic.open(1, "flooded").await;
    let good = ClientMessage::from(presence("x")).to_frame(Channel(1)).unwrap();
    let elsewhere = ClientMessage::from(presence("x")).to_frame(Channel(9)).unwrap();
    for _ in 0..300 {
        for datagram in [good.clone(), elsewhere.clone(), push(1, &[1, 2, 3]), vec![0xff; 1000]] {
            quic.session.send_datagram_wait(datagram.into()).await.unwrap();
        }
    }
    control.say(selvedge_protocol::message::Ping { nonce: 1 }).await;
    control.expect(|message| matches!(message, ServerMessage::Pong(_))).await;
    let dropped = async || count(&relay, "selvedge_relay_presence_dropped_total").await;
    wait_for(async || dropped().await >= 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_handshakes_are_bounded_and_honest_clients_get_through() {
    let relay = Relay::start_with(|config| {
        config.quic.quic_retry_above = 4;
        config.quic.quic_handshakes_max = 8;
        config.listen.handshake_ms = 1_500;
    })
    .await;
    let hole = one_way(relay.running.quic.unwrap()).await;
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let known = hashes(&relay).await;
    let mut half_open = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let connecting = endpoint.connect_with(client_config(known.clone(), b"selvedge/1"), hole, "localhost").unwrap();
        half_open.spawn(async move { connecting.await.is_ok() });
    }
    wait_for(async || count(&relay, "selvedge_relay_quic_retries_total").await >= 36).await;
    // Whoever answers from where it says it is, is let in meanwhile.
    let (quic, _control) = Quic::hello(&relay, Speaks::Selvedge, "honest").await;
    quic.open(1, "honest").await;
    half_open.abort_all();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_moves_to_another_address_keeps_its_session() {
    let relay = Relay::start().await;
    let ben = Peer::start(&relay.socket(), 2);
    let b = ben.open("moved", 22).await;
    let (quic, mut control) = Quic::hello(&relay, Speaks::Selvedge, "ada").await;
    let (mut document, _) = quic.open(1, "moved").await;
    let deltas = words(SiteId::random(3), &["before ", "after"]);
    document.push(&deltas[..1]).await;
    ben.wait_text(b, "before ").await;
    let before = quic.endpoint.local_addr().unwrap();
    quic.endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    assert_ne!(quic.endpoint.local_addr().unwrap(), before);
    document.push(&deltas[1..]).await;
    ben.wait_text(b, "before after").await;
    document.expect(|message| matches!(message, ServerMessage::Ack(ack) if ack.region == deltas[1].last())).await;
    control.say(selvedge_protocol::message::Ping { nonce: 8 }).await;
    control.expect(|message| matches!(message, ServerMessage::Pong(_))).await;
    assert_eq!(count(&relay, "selvedge_relay_connections_opened_total{transport=\"Quic\"}").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_reads_is_given_up_and_nobody_waits() {
    let relay = Relay::start_with(|config| {
        config.limits.outbound_bytes_max = 64 * 1024;
        config.limits.outbound_ms_max = 500;
        config.room.resync_ms_max = 1_000;
        config.limits.bytes_per_second = 1 << 30;
        config.limits.bytes_burst = 1 << 30;
        config.limits.frames_per_second = 100_000;
        config.limits.frames_burst = 100_000;
        config.limits.ops_per_second = 100_000;
        config.limits.ops_burst = 100_000;
        config.quic.quic_window_bytes = 64 * 1024;
    })
    .await;
    let (deaf, _control) = Quic::hello(&relay, Speaks::Selvedge, "deaf").await;
    let (_unread, _) = deaf.open(1, "loud").await;
    let (ada, ben) = (Peer::start(&relay.socket(), 1), Peer::start(&relay.socket(), 2));
    let (a, b) = (ada.open("loud", 11).await, ben.open("loud", 22).await);
    let began = Instant::now();
    let mut expected = String::new();
    // Text that is taken away again: the document stays small, what is sent does not. A client's window is 1.25 MB.
    while deaf.session.close_reason().is_none() {
        assert!(began.elapsed() < Duration::from_secs(60), "it is never given up");
        let text = "loud and louder ".repeat(2_000);
        ada.edit(a, 0, expected.len(), &text).await;
        expected = text;
        ben.wait_text(b, &expected).await;
    }
    assert_eq!(deaf.closed().await.0, CloseCode::TOO_SLOW);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_sends_them_away_with_its_code() {
    for speaks in BOTH {
        let relay = Relay::start().await;
        let (quic, mut control) = Quic::hello(&relay, speaks, "stubborn").await;
        let Relay { running, folder: _folder } = relay;
        let draining = tokio::spawn(running.drain());
        control.expect(|message| matches!(message, ServerMessage::Drain(_))).await;
        let failure = quic.closed().await;
        assert_eq!(failure.0, CloseCode::DRAINING);
        assert!(draining.await.unwrap());
    }
}
