//! Which relay a client goes to, over which transport, and when: by suspicion, race and the list that servers name.

use selvedge_protocol::client::*;
use selvedge_protocol::message::{Drain, HelloOk, Limits, PingPolicy, SignedEndpoints};
use selvedge_protocol::{
    Address, Channel, ClientMessage, CloseCode, Endpoint, EndpointList, Features, Frame, Instant, ServerMessage,
    Transport,
};

/// A client with one open document, its clock, and what it wants connected.
struct Bench {
    client: Client,
    now: u64,
    connects: Vec<(u64, String, Transport)>,
    disconnected: Vec<u64>,
    link: Option<LinkInfo>,
    /// What was sent by each attempt, the hello first.
    sent: Vec<(u64, Vec<u8>)>,
    /// Lists to be verified, those to be kept, and why others were refused.
    verify: Vec<String>,
    kept: Vec<(String, u64)>,
    refused: Vec<ListFault>,
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
        let transports = transports.to_vec();
        Self::with(ClientConfig { endpoints, transports, online: true, ..ClientConfig::default() })
    }

    /// Of a client that has a key to verify lists by.
    fn signed(endpoints: Vec<Endpoint>) -> Self {
        let transports = BOTH.to_vec();
        Self::with(ClientConfig { endpoints, transports, online: true, signed: true, ..ClientConfig::default() })
    }

    fn with(config: ClientConfig) -> Self {
        let mut client = Client::new(config, Instant(1_000));
        client
            .open(ReplicaConfig::new("t/doc".parse().expect("a name"), "ann", 5), Instant(1_000))
            .expect("the first document");
        let mut bench = Self {
            client,
            now: 1_000,
            connects: Vec::new(),
            disconnected: Vec::new(),
            link: None,
            sent: Vec::new(),
            verify: Vec::new(),
            kept: Vec::new(),
            refused: Vec::new(),
        };
        bench.pump();
        bench
    }

    fn pump(&mut self) {
        while let Some(effect) = self.client.poll_effect() {
            match effect {
                Effect::Connect { attempt, url, transport, .. } => self.connects.push((attempt, url, transport)),
                Effect::Disconnect { attempt, .. } => self.disconnected.push(attempt),
                Effect::Link { link } => self.link = link,
                Effect::Send { attempt, bytes } => self.sent.push((attempt, bytes)),
                Effect::VerifyEndpoints { signed } => self.verify.push(signed),
                Effect::KeepEndpoints { signed, stamp } => self.kept.push((signed, stamp.epoch)),
                Effect::EndpointsRefused { fault } => self.refused.push(fault),
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

    /// The connection `id` tells a signed list, and the shell finds it signed by a trusted key, or not.
    fn tell(&mut self, id: u64, list: &EndpointList, genuine: bool) {
        let signed = format!("of epoch {} {genuine}", list.epoch);
        self.say(id, SignedEndpoints { signed: signed.clone() }.into());
        assert_eq!(std::mem::take(&mut self.verify), [signed]);
        let bytes = list.encode();
        self.act(|client, now| match genuine {
            true => client.endpoints_verified(&bytes, now),
            false => client.endpoints_forged(now),
        });
    }

    fn features(&self, id: u64) -> Features {
        let (_, bytes) = self.sent.iter().find(|(attempt, _)| *attempt == id).expect("a hello");
        match ClientMessage::decode(&Frame::parse(bytes).expect("a frame").0) {
            Ok(Some(ClientMessage::Hello(hello))) => Features(hello.features),
            other => panic!("{other:?}"),
        }
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

fn list(epoch: u64, relays: &[&str]) -> EndpointList {
    let endpoints = relays.iter().map(|name| relay(name)).collect();
    EndpointList { format: 1, epoch, issue: 1, home: relays[0][..1].into(), endpoints }
}

#[test]
fn whoever_has_a_key_goes_by_signed_lists_alone() {
    let mut bench = Bench::signed(vec![relay("a1")]);
    bench.answer(1, "a", &[relay("a1"), relay("evil"), relay("x1")]);
    assert!(bench.features(1).contains(Features::SIGNED_ENDPOINTS));
    bench.tell(1, &list(3, &["a1", "a2", "b1"]), true);
    assert_eq!(bench.kept, [("of epoch 3 true".to_owned(), 3)]);
    bench.urls();
    bench.say(1, Drain { endpoints: vec![relay("evil"), relay("b1")], after_ms: 0 }.into());
    bench.pass(1);
    assert_eq!(bench.urls(), ["https://b1"], "a relay that goes away chooses among what is signed");
    bench.act(|client, now| client.closed(1, CloseCode::ABNORMAL, "", now));
    let mut tried = Vec::new();
    for _ in 0..40 {
        bench.pass(1_000);
        tried.extend(bench.urls());
    }
    let known = |url: &String| ["a1", "a2", "b1"].iter().any(|name| url.ends_with(name));
    assert!(tried.iter().all(known), "an address that no key has signed is never tried: {tried:?}");
    assert!(tried.iter().any(|url| url.ends_with("a2")), "{tried:?}");
}

#[test]
fn a_page_whose_region_is_lost_finds_the_other_one_by_the_list() {
    let mut bench = Bench::signed(vec![relay("a1")]);
    bench.answer(1, "a", &[relay("a1")]);
    bench.tell(1, &list(1, &["a1", "b1"]), true);
    bench.urls();
    bench.act(|client, now| client.closed(1, CloseCode::ABNORMAL, "", now));
    for _ in 0..100 {
        bench.pass(10);
        if let Some((id, _, _)) = bench.connects.iter().find(|(_, url, _)| url == "https://b1").cloned() {
            bench.answer(id, "b", &[relay("b1")]);
            bench.tell(id, &list(2, &["b1", "a1"]), true);
            break;
        }
    }
    assert_eq!(bench.url(), Some("https://b1"));
    assert_eq!(bench.client.endpoints().map(|held| held.epoch), Some(2));
}

#[test]
fn a_list_that_is_refused_costs_nothing_but_the_list() {
    let mut bench = Bench::signed(vec![relay("a1")]);
    bench.answer(1, "a", &[relay("a1")]);
    bench.tell(1, &list(5, &["a1", "a2"]), true);
    bench.tell(1, &list(9, &["x1"]), false);
    bench.tell(1, &list(4, &["x2"]), true);
    assert!(matches!(bench.refused[..], [ListFault::Forged, ListFault::Older { .. }]), "{:?}", bench.refused);
    assert_eq!(bench.url(), Some("https://a1"), "the connection goes on");
    assert_eq!(bench.client.endpoints().map(|held| held.epoch), Some(5));
    assert_eq!(bench.kept.len(), 1);
}

#[test]
fn the_next_load_begins_with_the_list_that_was_kept() {
    let kept = list(5, &["b1", "b2"]);
    let mut bench = Bench::signed(vec![relay("a1")]);
    bench.act(|client, now| client.restore_endpoints("kept".into(), &kept.encode(), now));
    bench.act(|client, now| client.connect_failed(1, now));
    bench.pass(2_000);
    let found = bench.connects.iter().find(|(_, url, _)| url.starts_with("https://b"));
    let id = found.expect("the service's address does not answer, and the list is known").0;
    bench.answer(id, "b", &[relay("b1")]);
    bench.tell(id, &list(4, &["a1"]), true);
    assert!(matches!(bench.refused[..], [ListFault::Older { .. }]), "an earlier load has seen epoch 5");
}

#[test]
fn whoever_has_no_key_takes_lists_as_they_come() {
    let mut bench = Bench::new(vec![relay("a1")], &BOTH);
    bench.answer(1, "a", &[relay("a1"), relay("a2")]);
    assert!(!bench.features(1).contains(Features::SIGNED_ENDPOINTS));
    bench.say(1, SignedEndpoints { signed: "h.l.s".into() }.into());
    assert!(bench.verify.is_empty(), "nobody could verify it");
    assert_eq!(bench.url(), Some("https://a1"));
}
