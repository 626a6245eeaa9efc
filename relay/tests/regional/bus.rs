//! Relays without a bus: what they cannot tell each other is read from the log, and told again when the bus is back.

use std::time::Duration;

use selvedge_protocol::AckLevel;
use selvedge_region::regional::{Proxy, RegionalArgs, Way};
use selvedge_relay::{StartError, run};

use super::harness::{Peer, Relay};
use super::parts::{PATIENCE, place};
use super::{services, wait_saved};

/// The same services with a way to Redis that can be cut.
async fn through(services: &RegionalArgs) -> (Proxy, RegionalArgs) {
    let way = Proxy::to(place(services.redis.as_deref().unwrap())).await.unwrap();
    let redis = Some(format!("redis://{}", way.address()));
    (way, RegionalArgs { redis, ..services.clone() })
}

/// Two relays with a client each, on one way to Redis.
struct Two {
    relays: [Relay; 2],
    peers: [Peer; 2],
    channels: [selvedge_protocol::Channel; 2],
    text: String,
}

impl Two {
    /// `head_check_ms`: how often a room looks for what it was not told of.
    async fn start(services: &RegionalArgs, document: &str, head_check_ms: u64) -> Self {
        let relay = async || {
            Relay::start_with(|config| {
                config.region = "a".to_owned();
                config.services = services.clone();
                config.room.head_check_ms = head_check_ms;
            })
            .await
        };
        let relays = [relay().await, relay().await];
        let peers = [Peer::start(&relays[0].socket(), 1), Peer::start(&relays[1].socket(), 2)];
        let channels = [peers[0].open(document, 11).await, peers[1].open(document, 22).await];
        Self { relays, peers, channels, text: String::new() }
    }

    /// One writes a word, the log has it, and the other one sees it.
    async fn hop(&mut self, writer: usize) {
        let word = format!("{writer} ");
        let (peer, channel) = (&self.peers[writer], self.channels[writer]);
        peer.edit(channel, self.text.len(), 0, &word).await;
        self.text.push_str(&word);
        wait_saved(peer, channel, AckLevel::Region).await;
        self.peers[1 - writer].wait_text(self.channels[1 - writer], &self.text).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_two_relays_converge_while_redis_is_gone() {
    let Some(services) = services("writers_at_two_relays_converge_while_redis_is_gone") else { return };
    let (way, services) = through(&services).await;
    let mut two = Two::start(&services, "gone", 500).await;
    two.hop(0).await;
    way.set(Way::Cut);
    for writer in [0, 1, 1, 0] {
        two.hop(writer).await;
    }
    // Both at once, before either has seen the other's.
    for (number, word) in ["left", "right"].into_iter().enumerate() {
        two.peers[number].edit(two.channels[number], 0, 0, word).await;
    }
    for (peer, channel) in two.peers.iter().zip(two.channels) {
        wait_saved(peer, channel, AckLevel::Region).await;
    }
    let both = [format!("leftright{}", two.text), format!("rightleft{}", two.text)];
    let begin = std::time::Instant::now();
    loop {
        let texts = [two.peers[0].text(two.channels[0]).await, two.peers[1].text(two.channels[1]).await];
        if texts[0] == texts[1] && both.contains(&texts[0]) {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{texts:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Who opens it now hears of nothing, and finds everything.
    let late = Peer::start(&two.relays[0].socket(), 3);
    let channel = late.open("gone", 33).await;
    late.wait_text(channel, &two.peers[0].text(two.channels[0]).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_back_is_heard_again() {
    let Some(services) = services("a_redis_that_is_back_is_heard_again") else { return };
    let (way, services) = through(&services).await;
    // Nobody looks for what was not told: all that is seen of the other relay has come by the bus, or was read when it came back.
    let mut two = Two::start(&services, "back", 600_000).await;
    for writer in [0, 1] {
        two.hop(writer).await;
    }
    way.set(Way::Cut);
    for (number, word) in ["one ", "two "].into_iter().enumerate() {
        two.peers[number].edit(two.channels[number], two.text.len(), 0, word).await;
        wait_saved(&two.peers[number], two.channels[number], AckLevel::Region).await;
    }
    let begin = std::time::Instant::now();
    way.set(Way::Open);
    let both = [format!("{}one two ", two.text), format!("{}two one ", two.text)];
    loop {
        let texts = [two.peers[0].text(two.channels[0]).await, two.peers[1].text(two.channels[1]).await];
        if texts[0] == texts[1] && both.contains(&texts[0]) {
            two.text.clone_from(&texts[0]);
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{texts:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for writer in [0, 1, 0, 1] {
        two.hop(writer).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_started_while_redis_is_gone_says_so_and_starts_when_it_is_back() {
    let Some(services) = services("a_relay_that_is_started_while_redis_is_gone") else { return };
    let (way, services) = through(&services).await;
    way.set(Way::Cut);
    let folder = tempfile::tempdir().unwrap();
    let mut config = selvedge_relay::Config { services, data: folder.path().to_owned(), ..Default::default() };
    config.listen.listen = "127.0.0.1:0".parse().unwrap();
    config.listen.admin = "127.0.0.1:0".parse().unwrap();
    let Err(error @ StartError::Service(_)) = run(config.clone()).await else { panic!("it started without Redis") };
    assert!(error.to_string().contains(&format!("--redis redis://{}", way.address())), "{error}");
    way.set(Way::Open);
    let relay = Relay { running: run(config).await.unwrap(), folder };
    let ada = Peer::start(&relay.socket(), 1);
    let a = ada.open("late", 11).await;
    ada.edit(a, 0, 0, "late").await;
    wait_saved(&ada, a, AckLevel::Region).await;
}
