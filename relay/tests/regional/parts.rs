//! A region with a document in it, whose parts are taken away one by one.

use std::process::Stdio;
use std::time::{Duration, Instant};

use selvedge_engine::Document;
use selvedge_protocol::{AckLevel, DocumentId};
use selvedge_region::DocumentKey;
use selvedge_region::fold::PERSIST_READER;
use selvedge_region::regional::{Proxy, RedisBus, RegionalArgs, RegionalRegion, Way};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::harness::{Peer, Relay};
use super::{region, relay, wait_saved};

/// A machine under load takes long; a test that has to wait longer than this has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `host:port` of an address.
pub(super) fn place(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let place = rest.split_once('@').map_or(rest, |(_, place)| place);
    place.split('/').next().unwrap().to_owned()
}

/// The region's replicator: a process, killed when dropped.
struct Replicator(Child);

impl Replicator {
    /// Starts the program that was built beside the relay, and waits until it is ready.
    async fn start(services: &RegionalArgs) -> Self {
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_selvedge-relay")).with_file_name("selvedge-replicator");
        assert!(program.is_file(), "{} is not built: `cargo build --workspace --bins` builds it", program.display());
        let settings = [
            ("REGION", "a".to_owned()),
            ("REPLICATOR_ADMIN", "127.0.0.1:0".to_owned()),
            ("LOG_LEVEL", "warn".to_owned()),
            ("KAFKA", services.kafka.clone().unwrap()),
            ("KAFKA_PARTITIONS", services.kafka_partitions.to_string()),
            ("KAFKA_REPLICAS", services.kafka_replicas.to_string()),
            ("POSTGRES", services.postgres[0].clone()),
            ("REDIS", services.redis.clone().unwrap()),
            ("DYNAMODB", services.dynamodb.clone().unwrap()),
            ("S3", services.s3.clone().unwrap()),
            ("S3_BUCKET", services.s3_bucket.clone().unwrap()),
            ("PREFIX", services.prefix.clone()),
            ("GATHER_MS", "200".to_owned()),
            ("SNAPSHOT_AGE_MS", "500".to_owned()),
        ];
        let mut command = Command::new(program);
        command.arg("run").envs(settings.map(|(name, value)| (format!("SELVEDGE_{name}"), value)));
        command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it gets ready").unwrap();
        assert!(ready.is_some(), "the replicator ended before it was ready");
        Self(child)
    }

    /// Asks it to end, and waits until it has.
    async fn end(mut self) {
        let id = self.0.id().expect("it runs").to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        tokio::time::timeout(PATIENCE, self.0.wait()).await.expect("it ends").unwrap();
    }
}

/// A region under a prefix of its own, seen as its programs see it.
pub(super) struct Home {
    pub(super) services: RegionalArgs,
    pub(super) region: RegionalRegion,
}

impl Home {
    pub(super) async fn new(services: RegionalArgs) -> Self {
        let region = region(&services).await;
        Self { services, region }
    }

    pub(super) fn key(document: &str) -> DocumentKey {
        DocumentKey::new(DocumentId::new("default", document).unwrap(), 1)
    }

    /// Appends to documents through a relay, until the log has it, and ends the relay. Answers the whole texts.
    pub(super) async fn write(&self, documents: &[(&str, &str)]) -> Vec<String> {
        let relay = relay(&self.services, None).await;
        let mut texts = Vec::new();
        for (number, (document, text)) in (1..).zip(documents) {
            let peer = Peer::start(&relay.socket(), number);
            let channel = peer.open(document, number).await;
            peer.wait(move |client| client.status(channel).is_some_and(|status| status.name() == "connected")).await;
            let end = peer.text(channel).await.len();
            peer.edit(channel, end, 0, text).await;
            wait_saved(&peer, channel, AckLevel::Region).await;
            texts.push(peer.text(channel).await);
        }
        assert!(relay.running.drain().await, "a relay leaves nothing behind");
        texts
    }

    /// Has a replicator persist all that the log holds, with snapshots of these texts.
    pub(super) async fn persist(&self, documents: &[(&str, &String)]) {
        let replicator = Replicator::start(&self.services).await;
        let parts = self.region.region();
        for (document, text) in documents {
            let key = Self::key(document);
            let partition = parts.log.partition(&key.document);
            until("everything is persisted", async || {
                let done = parts.log.progress(PERSIST_READER, partition).await.unwrap();
                done == Some(parts.log.bounds(partition).await.unwrap().end.offset)
            })
            .await;
            until("a snapshot has everything", async || match parts.snapshots.latest(&key).await.unwrap() {
                Some(latest) => Document::load(&latest.snapshot.bytes).unwrap().text() == **text,
                None => false,
            })
            .await;
        }
        replicator.end().await;
    }

    /// Removes all records from the log.
    pub(super) async fn wipe_log(&self) {
        let log = &self.region.region().log;
        for partition in 0..log.partitions() {
            let end = log.bounds(partition).await.unwrap().end.offset;
            log.trim(partition, end).await.unwrap();
        }
    }

    /// Removes every hot tail.
    pub(super) async fn wipe_tails(&self) {
        RedisBus::open(self.region.options().redis.clone()).await.unwrap().evict().await.unwrap();
    }

    pub(super) async fn wipe_ops(&self, document: &str) {
        self.region.region().ops.erase(&Self::key(document)).await.unwrap();
    }

    pub(super) async fn wipe_snapshots(&self, document: &str) {
        self.region.region().snapshots.erase(&Self::key(document)).await.unwrap();
    }
}

/// Ways to a region's services that can be cut, and a relay that goes by them.
pub(super) struct Ways {
    pub(super) postgres: Proxy,
    pub(super) dynamodb: Proxy,
    pub(super) redis: Proxy,
    pub(super) s3: Proxy,
    pub(super) kafka: Option<Proxy>,
    pub(super) relay: Relay,
}

impl Ways {
    /// `link`: where Kafka tells those to connect who come by the address behind it; `None`: the way to Kafka cannot be cut.
    pub(super) async fn to(services: &RegionalArgs, link: Option<(String, String)>) -> Self {
        let way = async |address: &str| {
            let way = Proxy::to(place(address)).await.unwrap();
            let through = address.replace(&place(address), &way.address());
            (way, through)
        };
        let (postgres, by_postgres) = way(&services.postgres[0]).await;
        let (dynamodb, by_dynamodb) = way(services.dynamodb.as_deref().unwrap()).await;
        let (redis, by_redis) = way(services.redis.as_deref().unwrap()).await;
        let (s3, by_s3) = way(services.s3.as_deref().unwrap()).await;
        let kafka = match &link {
            Some((begin, broker)) => Some(Proxy::at(begin, broker.clone()).await.unwrap()),
            None => None,
        };
        let through = RegionalArgs {
            kafka: link.map(|(begin, _)| begin).or(services.kafka.clone()),
            postgres: vec![by_postgres],
            dynamodb: Some(by_dynamodb),
            redis: Some(by_redis),
            s3: Some(by_s3),
            ..services.clone()
        };
        let relay = relay(&through, None).await;
        Self { postgres, dynamodb, redis, s3, kafka, relay }
    }

    pub(super) fn cut(ways: &[&Proxy]) {
        ways.iter().for_each(|way| way.set(Way::Cut));
    }
}
