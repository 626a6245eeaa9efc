//! Bad input on the real WebSocket: the close codes, nothing lost, others unaffected.

use std::time::{Duration, Instant};

use crate::harness::http::ask;
use crate::harness::raw::{Raw, hello, open, words};
use crate::harness::{Peer, Relay};
use futures_util::{SinkExt, StreamExt};
use selvedge_engine::SiteId;
use selvedge_protocol::message::Push;
use selvedge_protocol::{Channel, ClientMessage, CloseCode, ServerMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;

/// Two honest clients on a document, to be looked at after somebody misbehaved.
struct Honest {
    ada: Peer,
    ben: Peer,
    channels: (Channel, Channel),
    text: String,
}

impl Honest {
    async fn start(relay: &Relay) -> Self {
        let (ada, ben) = (Peer::start(&relay.socket(), 1), Peer::start(&relay.socket(), 2));
        let channels = (ada.open("honest", 11).await, ben.open("honest", 22).await);
        let mut honest = Honest { ada, ben, channels, text: String::new() };
        honest.go_on("before ").await;
        honest
    }

    /// They still write to each other, and everything is still there.
    async fn go_on(&mut self, word: &str) {
        self.ada.edit(self.channels.0, self.text.len(), 0, word).await;
        self.text.push_str(word);
        self.ben.wait_text(self.channels.1, &self.text).await;
        self.ada.wait_saved(self.channels.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_input_closes_with_its_code_and_harms_nobody() {
    let relay = Relay::start().await;
    let mut honest = Honest::start(&relay).await;
    let url = relay.socket();
    let first = |bytes: Vec<u8>| {
        let url = url.clone();
        async move {
            let mut raw = Raw::connect(&url).await;
            raw.bytes(bytes).await;
            raw.closed().await
        }
    };
    assert_eq!(first(vec![0xff; 100]).await, CloseCode::MALFORMED, "garbage");
    assert_eq!(first(vec![0, 1, 200, 1]).await, CloseCode::MALFORMED, "a frame beyond its message");
    assert_eq!(first(vec![1, 2, 0x80, 0x80, 0x08]).await, CloseCode::TOO_LARGE, "a length of 128 KiB");
    assert_eq!(first(vec![0; 300 * 1024]).await, CloseCode::TOO_LARGE, "a message of 300 KiB");
    assert_eq!(first(vec![0; 2 * 1024 * 1024]).await, CloseCode::TOO_LARGE, "a message of 2 MiB");
    let unknown = ClientMessage::from(hello(&[99], None)).to_frame(Channel::CONNECTION).unwrap();
    assert_eq!(first(unknown).await, CloseCode::UPGRADE, "a version nobody knows");
    let early = ClientMessage::from(open("x")).to_frame(Channel(1)).unwrap();
    assert_eq!(first(early).await, CloseCode::MALFORMED, "open before hello");

    let mut raw = Raw::connect(&url).await;
    raw.socket.send(Message::Text("{}".into())).await.unwrap();
    assert_eq!(raw.closed().await, CloseCode::MALFORMED, "text");

    let mut raw = Raw::hello(&url, "mallory").await;
    raw.open(1, "honest").await;
    raw.open(2, "other").await;
    raw.send(Channel(1), Push { seq: 0, tag: None, deltas: vec![7; 500].into() }).await;
    let (channel, told) = raw.expect(|message| matches!(message, ServerMessage::Closed(_))).await;
    let ServerMessage::Closed(closed) = told else { unreachable!() };
    assert_eq!((channel, CloseCode(closed.code)), (Channel(1), CloseCode::MALFORMED), "a push of garbage");
    raw.push(2, &words(SiteId::random(5), &["of the same connection"])).await;
    raw.expect(|message| matches!(message, ServerMessage::Ack(_))).await;

    let mut raw = Raw::hello(&url, "mallory").await;
    raw.send(Channel(9), Push { seq: 0, tag: None, deltas: Vec::new().into() }).await;
    assert_eq!(raw.closed().await, CloseCode::MALFORMED, "a push on a channel without a document");
    honest.go_on("after").await;
}

/// A peer that is still sending when it is refused reads the close all the same: no reset takes it away.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_still_sends_learns_why_it_is_closed() {
    let relay = Relay::start().await;
    for _ in 0..5 {
        let mut stream = TcpStream::connect(relay.running.address).await.unwrap();
        let upgrade = format!(
            "GET /v1/connect HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            relay.running.address
        );
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        let mut head = [0; 1];
        stream.read_exact(&mut head).await.unwrap();
        // A binary frame of 6 MiB, its mask zero, its head refused at once.
        let mut frame = vec![0x82, 0xff, 0, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 0, 0];
        frame.resize(frame.len() + 6 * 1024 * 1024, 0);
        stream.write_all(&frame).await.expect("what is under way is taken until its end");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("the connection ends in order");
        let code = CloseCode::TOO_LARGE.0.to_be_bytes();
        assert!(answer.windows(2).any(|window| window == code), "the close frame is among {} bytes", answer.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_document_name_closes_that_channel_alone() {
    let relay = Relay::start().await;
    let mut raw = Raw::hello(&relay.socket(), "mallory").await;
    raw.send(Channel(1), open("no/such/name")).await;
    let (channel, message) = raw.expect(|message| matches!(message, ServerMessage::Closed(_))).await;
    let ServerMessage::Closed(closed) = message else { unreachable!() };
    assert_eq!((channel, CloseCode(closed.code)), (Channel(1), CloseCode::MALFORMED));
    raw.open(2, "fine").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_sites_replays_and_gaps_change_nothing() {
    let relay = Relay::start().await;
    let mut honest = Honest::start(&relay).await;
    let url = relay.socket();
    let site = SiteId::random(4242);
    let deltas = words(site, &["mine ", "too "]);
    let mut owner = Raw::hello(&url, "owner").await;
    owner.open(1, "contested").await;
    let acked = |raw: Raw| async move {
        let mut raw = raw;
        loop {
            let (_, message) = raw.expect(|message| matches!(message, ServerMessage::Ack(_))).await;
            let ServerMessage::Ack(ack) = message else { unreachable!() };
            if ack.region == 9 {
                return raw;
            }
        }
    };
    owner.push(1, &deltas[1..]).await;
    let (_, gap) = owner.expect(|message| matches!(message, ServerMessage::Gap(_))).await;
    assert!(matches!(gap, ServerMessage::Gap(gap) if gap.site == site && gap.have == 0));
    owner.push(1, &deltas).await;
    let mut owner = acked(owner).await;
    for _ in 0..10 {
        owner.push(1, &deltas).await;
    }
    let mut owner = acked(owner).await;

    let mut thief = Raw::hello(&url, "thief").await;
    thief.open(1, "contested").await;
    let stolen = words(site, &["mine ", "too ", "stolen "]);
    thief.push(1, &stolen[2..]).await;
    let (_, refused) = thief.expect(|message| matches!(message, ServerMessage::Refused(_))).await;
    let ServerMessage::Refused(refused) = refused else { unreachable!() };
    assert_eq!((refused.site, CloseCode(refused.code)), (site, CloseCode::CONFLICT));
    let forged = words(site, &["fake "]);
    owner.push(1, &forged).await;
    let (_, refused) = owner.expect(|message| matches!(message, ServerMessage::Refused(_))).await;
    assert!(matches!(refused, ServerMessage::Refused(refused) if refused.code == CloseCode::CONFLICT.0));
    let unleased = words(SiteId::leased(0, 77), &["squatter"]);
    thief.push(1, &unleased).await;
    let (_, refused) = thief.expect(|message| matches!(message, ServerMessage::Refused(_))).await;
    assert!(matches!(refused, ServerMessage::Refused(refused) if refused.code == CloseCode::CONFLICT.0));

    let answer = ask(relay.running.address, "GET", "/v1/docs/default/contested/text", &[], b"").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "mine too "));
    honest.go_on("after").await;
    let metrics = ask(relay.running.admin, "GET", "/metrics", &[], b"").await.text();
    assert!(metrics.contains("selvedge_relay_pushes_refused_total 3"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_refused_after_accepting() {
    let relay = Relay::start_with(|config| config.listen.allow_origin = vec!["https://friend.example".into()]).await;
    let refused = |origin: &'static str| {
        let url = relay.socket();
        async move { Raw::connect_with(&url, &[("origin", origin)]).await.closed().await }
    };
    assert_eq!(refused("https://evil.example").await, CloseCode::FORBIDDEN);
    assert_eq!(refused("null").await, CloseCode::FORBIDDEN);
    for origin in ["https://friend.example".to_owned(), format!("http://{}", relay.running.address)] {
        let mut raw = Raw::connect_with(&relay.socket(), &[("origin", &origin)]).await;
        raw.send(Channel::CONNECTION, hello(&[1], None)).await;
        raw.expect(|message| matches!(message, ServerMessage::HelloOk(_))).await;
    }
    let mut rebound =
        Raw::connect_with(&relay.socket(), &[("host", "evil.example"), ("origin", "http://evil.example")]).await;
    assert_eq!(rebound.closed().await, CloseCode::FORBIDDEN, "a name that points here");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_is_sent_away() {
    let relay = Relay::start_with(|config| {
        config.limits.hello_ms = 300;
        config.listen.http_head_ms = 300;
    })
    .await;
    let mut silent = Raw::connect(&relay.socket()).await;
    assert_eq!(silent.closed().await, CloseCode::TOO_SLOW, "no hello");

    let mut slow = Raw::connect(&relay.socket()).await;
    let bytes = ClientMessage::from(hello(&[1], None)).to_frame(Channel::CONNECTION).unwrap();
    let began = Instant::now();
    let _ = slow.socket.send(Message::Ping(Vec::new().into())).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let _ = slow.socket.send(Message::Binary(bytes.into())).await;
    assert_eq!(slow.closed().await, CloseCode::TOO_SLOW, "hello after its time");
    assert!(began.elapsed() < Duration::from_secs(5));

    let mut half = TcpStream::connect(relay.running.address).await.unwrap();
    half.write_all(b"GET /v1/connect HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), half.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "half a head is not waited for");

    let mut long = TcpStream::connect(relay.running.address).await.unwrap();
    let _ = long.write_all(format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(40_000)).as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), long.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "a head of 40 kB is refused");
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
    })
    .await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(relay.running.address).await.unwrap();
    let (mut deaf, _) = tokio_tungstenite::client_async(relay.socket(), stream).await.unwrap();
    for (channel, message) in [
        (Channel::CONNECTION, ClientMessage::from(hello(&[1], Some("deaf")))),
        (Channel(1), ClientMessage::from(open("loud"))),
    ] {
        deaf.send(Message::Binary(message.to_frame(channel).unwrap().into())).await.unwrap();
    }
    let (ada, ben) = (Peer::start(&relay.socket(), 1), Peer::start(&relay.socket(), 2));
    let (a, b) = (ada.open("loud", 11).await, ben.open("loud", 22).await);
    ben.wait_text(b, "").await;
    let began = Instant::now();
    let mut expected = String::new();
    // Text that is taken away again: the document stays small, what is sent does not.
    for n in 0..250 {
        let word = format!("{n};");
        ada.edit(a, expected.len(), 0, &"z".repeat(30_000)).await;
        ada.edit(a, expected.len(), 30_000, &word).await;
        expected.push_str(&word);
        if n % 25 == 0 {
            ada.wait_saved(a).await;
        }
    }
    ada.wait_saved(a).await;
    ben.wait_text(b, &expected).await;
    wait_connections(&relay, 2, Duration::from_secs(20)).await;
    assert!(began.elapsed() < Duration::from_secs(60));
    let metrics = ask(relay.running.admin, "GET", "/metrics", &[], b"").await.text();
    assert!(!metrics.contains("selvedge_relay_resyncs_total 0"), "the deaf one was never resynced: {metrics}");
    drop(deaf);
}

/// Waits until so many connections are left.
async fn wait_connections(relay: &Relay, connections: usize, patience: Duration) {
    let began = Instant::now();
    while relay.running.connections() != connections {
        assert!(began.elapsed() < patience, "{} connections are left", relay.running.connections());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_too_much_is_slowed_then_told_when_to_return() {
    let relay = Relay::start_with(|config| {
        config.limits.frames_per_second = 20;
        config.limits.frames_burst = 20;
        config.limits.rate_delay_ms_max = 500;
    })
    .await;
    let mut honest = Honest::start(&relay).await;
    let mut flood = Raw::hello(&relay.socket(), "flood").await;
    flood.open(1, "flooded").await;
    let mut encoder = selvedge_protocol::stream::StreamEncoder::new();
    let mut message = Vec::new();
    for (seq, delta) in (0..).zip(words(SiteId::random(9), &["x"; 400])) {
        let mut bytes = Vec::new();
        encoder.push(&delta, &mut bytes);
        let push = Push { seq, tag: None, deltas: bytes.into() };
        ClientMessage::from(push).write(Channel(1), &mut message).unwrap();
    }
    flood.bytes(message).await;
    let (_, failure) = flood.expect(|message| matches!(message, ServerMessage::Error(_))).await;
    let ServerMessage::Error(failure) = failure else { unreachable!() };
    assert!(failure.retryable && failure.retry_after_ms > 0);
    assert_eq!(CloseCode(failure.code), CloseCode::RATE_LIMITED);
    assert_eq!(flood.closed().await, CloseCode::RATE_LIMITED);
    honest.go_on("after").await;
}

/// Messages one by one are read at their rate, and whoever goes on pouring is told when to return: the same as in one message.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_single_messages_is_slowed_and_then_ended() {
    let relay = Relay::start_with(|config| {
        config.limits.frames_per_second = 100;
        config.limits.frames_burst = 20;
        config.limits.rate_delay_ms_max = 500;
    })
    .await;
    let mut honest = Honest::start(&relay).await;
    let mut flood = Raw::hello(&relay.socket(), "flood").await;
    flood.open(1, "flooded").await;
    let mut encoder = selvedge_protocol::stream::StreamEncoder::new();
    let deltas = words(SiteId::random(9), &["x"; 2_000]);
    let (mut sink, mut stream) = flood.socket.split();
    let pour = async {
        for (seq, delta) in (0..).zip(deltas) {
            let mut bytes = Vec::new();
            encoder.push(&delta, &mut bytes);
            let push = ClientMessage::from(Push { seq, tag: None, deltas: bytes.into() });
            let frame = push.to_frame(Channel(1)).unwrap();
            if sink.send(Message::Binary(frame.into())).await.is_err() {
                return;
            }
        }
    };
    let end = async {
        loop {
            match tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("it was never ended") {
                Some(Ok(Message::Close(Some(frame)))) => return CloseCode(frame.code.into()),
                Some(Ok(_)) => {}
                other => panic!("no close: {other:?}"),
            }
        }
    };
    let began = Instant::now();
    let ((), code) = tokio::join!(pour, end);
    assert_eq!(code, CloseCode::RATE_LIMITED);
    assert!(began.elapsed() >= Duration::from_millis(400), "it was delayed first");
    honest.go_on("after").await;
}
