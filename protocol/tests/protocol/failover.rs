//! Which relay a client goes to, over which transport, and when: by suspicion, race and the list that servers name.

use selvedge_protocol::client::*;
use selvedge_protocol::message::{Drain, HelloOk, Limits, PingPolicy};
use selvedge_protocol::{Address, Channel, CloseCode, Endpoint, Instant, ServerMessage, Transport};

/// A client with one open document, its clock, and what it wants connected.
struct Bench {
    client: Client,
    now: u64,
    connects: Vec<(u64, String, Transport)>,
    disconnected: Vec<u64>,
    link: Option<LinkInfo>,
}

const BOTH: [Transport; 2] = [Transport::WebTransport, Transport::WebSocket];

/// The relay `name` of region `name[..1]`, by WebTransport and WebSocket.
fn relay(name: &str) -> Endpoint {
    let address =
        |transport, scheme| Address { transport, url: format!("{scheme}://{name}"), certificates: vec![[7; 32]] };
    let addresses = vec![address(Transport::WebTransport, "https"), address(Transport::WebSocket, "wss")];
    Endpoint { relay: name.into(), region: name[..1].into(), addresses }
}

impl Bench {
    fn new(endpoints: Vec<Endpoint>, transports: &[Transport]) -> Self {
        let config =
            ClientConfig { endpoints, transports: transports.to_vec(), online: true, ..ClientConfig::default() };
        let mut client = Client::new(config, Instant(1_000));
        client
            .open(ReplicaConfig::new("t/doc".parse().expect("a name"), "ann", 5), Instant(1_000))
            .expect("the first document");
        let mut bench = Self { client, now: 1_000, connects: Vec::new(), disconnected: Vec::new(), link: None };
        bench.pump();
        bench
    }

    fn pump(&mut self) {
        while let Some(effect) = self.client.poll_effect() {
            match effect {
                Effect::Connect { attempt, url, transport, .. } => self.connects.push((attempt, url, transport)),
                Effect::Disconnect { attempt, .. } => self.disconnected.push(attempt),
                Effect::Link { link } => self.link = link,
                _ => {}
            }
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut Client, Instant)) {
        act(&mut self.client, Instant(self.now));
        self.pump();
    }

    /// Lets time pass, as a shell does: the machine is called when it wants to be.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(due) = self.client.deadline().filter(|due| due.0 <= end) {
            self.now = due.0.max(self.now);
            self.act(Client::tick);
        }
        self.now = end;
        self.act(Client::tick);
    }

    /// The addresses connected to since the last look.
    fn urls(&mut self) -> Vec<String> {
        std::mem::take(&mut self.connects).into_iter().map(|(_, url, _)| url).collect()
    }

    /// Attempt `id` opens and says hello-ok, naming these relays.
    fn answer(&mut self, id: u64, region: &str, endpoints: &[Endpoint]) {
        self.act(|client, now| client.connect_opened(id, now));
        let hello = HelloOk {
            format: 1,
            version: 1,
            features: 0,
            session: id,
            region: region.into(),
            endpoints: endpoints.to_vec(),
            limits: Limits::default(),
            ping: PingPolicy::default(),
        };
        self.say(id, hello.into());
    }

    fn say(&mut self, id: u64, message: ServerMessage) {
        let bytes = message.to_frame(Channel::CONNECTION).expect("a small message");
        self.act(|client, now| client.received(id, &bytes, now));
    }

    fn last(&self) -> u64 {
        self.connects.last().expect("something is being connected to").0
    }

    fn url(&self) -> Option<&str> {
        self.link.as_ref().map(|link| link.url.as_str())
    }
}

#[test]
fn with_udp_blocked_websocket_is_there_half_a_second_later_and_first_the_next_time() {
    let mut bench = Bench::new(vec![Endpoint::at("https://service", &BOTH)], &BOTH);
    assert_eq!(bench.connects[0].2, Transport::WebTransport);
    bench.pass(499);
    assert_eq!(bench.connects.len(), 1);
    bench.pass(1);
    let (socket, _, transport) = bench.connects[1].clone();
    assert_eq!(transport, Transport::WebSocket);
    bench.pass(30);
    bench.answer(socket, "a", &[relay("a1")]);
    assert_eq!(bench.url(), Some("https://service"));
    assert_eq!(bench.disconnected, [1], "the one that lost is ended");
    bench.urls();
    bench.act(|client, now| client.closed(socket, CloseCode::ABNORMAL, "", now));
    bench.pass(1_000);
    assert_eq!(bench.urls()[0], "wss://a1", "no time is lost on the transport that does not work here");
}

#[test]
fn a_transport_that_fails_at_once_costs_nothing() {
    let mut bench = Bench::new(vec![Endpoint::at("https://service", &BOTH)], &BOTH);
    bench.act(|client, now| client.connect_failed(1, now));
    assert_eq!(bench.connects.len(), 2);
    assert_eq!(bench.connects[1].2, Transport::WebSocket);
}

#[test]
fn silence_races_a_relay_of_the_region_and_a_quarter_second_later_the_other_region() {
    let mut bench = Bench::new(vec![Endpoint::at("https://service", &BOTH)], &BOTH);
    bench.pass(40);
    bench.answer(1, "a", &[relay("a1"), relay("a2"), relay("b1")]);
    bench.urls();
    bench.pass(1_000); // a ping goes out, and nothing answers
    assert_eq!(bench.urls(), [""; 0]);
    bench.pass(1_500);
    assert_eq!(bench.urls(), ["https://a2"], "suspicion");
    bench.pass(249);
    assert_eq!(bench.urls(), [""; 0]);
    bench.pass(1);
    assert_eq!(bench.urls(), ["https://b1"], "the other region");
    bench.answer(3, "b", &[relay("b1"), relay("a1"), relay("a2")]);
    assert_eq!(bench.url(), Some("https://b1"));
    assert!(
        bench.disconnected.contains(&1) && bench.disconnected.contains(&2),
        "the silent one and the loser are left"
    );
    bench.pass(900);
    assert_eq!(bench.urls(), [""; 0], "and nothing else is tried");
}

#[test]
fn a_byte_ends_the_race() {
    let mut bench = Bench::new(vec![relay("a1"), relay("a2")], &BOTH);
    bench.answer(1, "a", &[relay("a1"), relay("a2")]);
    bench.urls();
    bench.pass(2_500);
    let racer = bench.last();
    bench.say(1, selvedge_protocol::message::Pong { nonce: 1 }.into());
    assert!(bench.disconnected.contains(&racer));
    assert_eq!(bench.url(), Some("https://a1"));
}

#[test]
fn a_region_killed_hard_is_left_within_a_race() {
    let mut bench = Bench::new(vec![relay("a1")], &BOTH);
    bench.answer(1, "a", &[relay("a1"), relay("a2"), relay("b1")]);
    bench.urls();
    let from = bench.now;
    bench.act(|client, now| client.closed(1, CloseCode::ABNORMAL, "", now));
    while bench.url() != Some("https://b1") {
        bench.pass(5);
        // Region a answers nothing and refuses nothing: the packets are lost. Region b answers after 80 ms.
        for (id, url, _) in std::mem::take(&mut bench.connects) {
            if url.ends_with("b1") {
                bench.pass(80);
                bench.answer(id, "b", &[relay("b1")]);
            }
        }
        assert!(bench.now - from < 600, "the gap is longer than it may be");
    }
}

#[test]
fn a_drain_is_followed_over_the_transport_of_choice() {
    let mut bench = Bench::new(vec![relay("a1")], &BOTH);
    bench.answer(1, "a", &[relay("a1"), relay("a2")]);
    bench.urls();
    bench.say(1, Drain { endpoints: vec![relay("a2")], after_ms: 0 }.into());
    bench.pass(1);
    assert_eq!(bench.urls(), ["https://a2"]);
    assert_eq!(bench.url(), Some("https://a1"), "the old one is left only when the new one has answered");
    bench.answer(2, "a", &[relay("a2")]);
    assert_eq!((bench.url(), &bench.disconnected[..]), (Some("https://a2"), &[1][..]));
}

#[test]
fn a_refused_token_is_asked_for_once_whatever_was_racing() {
    let mut bench = Bench::new(vec![relay("a1")], &BOTH);
    bench.pass(500);
    assert_eq!(bench.connects.len(), 2);
    bench.act(|client, now| client.connect_opened(1, now));
    bench.act(|client, now| client.closed(1, CloseCode::TOKEN, "", now));
    assert_eq!(bench.disconnected, [2], "the other address would say the same");
    bench.urls();
    bench.pass(10_000);
    assert_eq!(bench.urls(), [""; 0]);
    bench.act(|client, now| client.provide_token(None, Some("fresh".into()), now));
    assert_eq!(bench.urls(), ["https://a1"]);
}
