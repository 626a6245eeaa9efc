//! A document opened while a part of its region is away.

use std::sync::Arc;

use selvedge_engine::{Document, SiteId};
use selvedge_region::fold::{PERSIST_READER, materialise};
use selvedge_region::regional::{Proxy, RegionalArgs, RegionalRegion, Way, stack_process};
use selvedge_region::{BusMessage, DocumentKey, LogRecord, OpRun};

use super::{KAFKA, REDIS, address, host, unique};

/// A region whose services but Kafka are reached by ways that can be cut.
struct Cuttable {
    region: RegionalRegion,
    postgres: Proxy,
    dynamodb: Proxy,
    s3: Proxy,
    redis: Proxy,
}

async fn cuttable(test: &str) -> Option<Cuttable> {
    let [kafka, postgres, dynamodb, redis, aws] =
        ["A_KAFKA", "A_POSTGRES", "A_DYNAMODB", "A_REDIS", "AWS"].map(|service| address(service, test));
    let (server, dynamodb, redis, aws) = (postgres?, dynamodb?, redis?, aws?);
    let postgres = Proxy::to(host(&server)).await.unwrap();
    let dynamodb = Proxy::to(host(&dynamodb)).await.unwrap();
    let s3 = Proxy::to(host(&aws)).await.unwrap();
    let redis = Proxy::to(host(&redis)).await.unwrap();
    let args = RegionalArgs {
        kafka: Some(kafka?),
        kafka_partitions: 4,
        kafka_replicas: 1,
        kafka_timeout_ms: 3_000,
        postgres: vec![server.replace(&host(&server), &postgres.address())],
        redis: Some(format!("redis://{}", redis.address())),
        dynamodb: Some(format!("http://{}", dynamodb.address())),
        s3: Some(format!("http://{}", s3.address())),
        s3_bucket: Some(std::env::var("SELVEDGE_STACK_A_BUCKET").unwrap_or_else(|_| "selvedge-a".to_owned())),
        prefix: unique(),
        ..RegionalArgs::default()
    };
    let region = RegionalRegion::open(args.options("a", "a").unwrap().unwrap()).await.unwrap();
    Some(Cuttable { region, postgres, dynamodb, s3, redis })
}

/// Writes a word, and has it in the log and on the bus.
async fn write(region: &RegionalRegion, key: &DocumentKey, text: &mut Document, word: &str) {
    text.replace(text.len_utf16(), 0, word).unwrap();
    for delta in text.seal() {
        let record = LogRecord::new(key.document.clone(), key.generation, "ann".to_owned(), delta.encode());
        let position = region.region().log.append(vec![record.clone()]).await.unwrap()[0];
        let message = Arc::new(BusMessage::Logged { position, record: Arc::new(record) });
        region.region().bus.publish(&key.document, message).await.unwrap();
    }
}

/// Has everything so far in the op store, as persist does.
async fn persist(region: &RegionalRegion, key: &DocumentKey, text: &Document) {
    let parts = region.region();
    let runs = text.deltas_since(&Document::new()).into_iter().map(|delta| OpRun {
        site: delta.site,
        first: delta.first,
        last: delta.last(),
        bytes: delta.encode(),
    });
    parts.ops.put(key, runs.collect()).await.unwrap();
    let head = parts.log.head(&key.document).await.unwrap();
    parts.log.commit_progress(PERSIST_READER, head.partition, head.offset).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_opens_while_any_part_is_away() {
    let Some(own) = cuttable("a_document_opens_while_any_part_is_away").await else { return };
    let (_halts, _needs) = (KAFKA.write().await, REDIS.read().await);
    let region = &own.region;
    let key = DocumentKey::new("contract/cold".parse().unwrap(), 1);
    let _listening = region.region().bus.subscribe(&key.document).await.unwrap();
    let mut text = Document::new();
    text.begin_writing(SiteId::random(5), 1).unwrap();
    write(region, &key, &mut text, "snapshot ").await;
    let fold = materialise(region.region(), &key).await.unwrap();
    persist(region, &key, &text).await;
    region.region().snapshots.put(&key, None, &fold.snapshot()).await.unwrap();
    write(region, &key, &mut text, "ops ").await;
    persist(region, &key, &text).await;
    write(region, &key, &mut text, "tail").await;
    let opened = async || materialise(region.region(), &key).await.unwrap().document().text();
    assert_eq!(opened().await, "snapshot ops tail");
    let ways = [("PostgreSQL", &own.postgres), ("DynamoDB", &own.dynamodb), ("S3", &own.s3), ("Redis", &own.redis)];
    for (part, way) in ways {
        way.set(Way::Cut);
        assert_eq!(opened().await, "snapshot ops tail", "without {part}");
        way.set(Way::Open);
    }
    // The log is what nothing replaces: its tail comes from the bus, and the fold says that it may lack something.
    let Some(process) = stack_process("a-kafka") else {
        eprintln!("skipped: without Kafka (its process is not known)");
        return;
    };
    let _halted = Halted::new(process);
    let fold = materialise(region.region(), &key).await.unwrap();
    assert_eq!((fold.document().text().as_str(), fold.read_to()), ("snapshot ops tail", None));
    own.redis.set(Way::Cut);
    let fold = materialise(region.region(), &key).await.unwrap();
    assert_eq!(fold.document().text(), "snapshot ops ");
    own.postgres.set(Way::Cut);
    own.dynamodb.set(Way::Cut);
    assert!(materialise(region.region(), &key).await.is_err(), "nothing is left");
}

/// A halted process, until this is dropped.
struct Halted(u32);

impl Halted {
    fn new(process: u32) -> Self {
        signal(process, "STOP");
        // A process of many threads goes on for a moment.
        while !is_stopped(process) {
            std::thread::yield_now();
        }
        Self(process)
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        signal(self.0, "CONT");
    }
}

/// Whether all threads of a process are stopped, by the state that the kernel tells of each.
fn is_stopped(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.flatten().all(|thread| {
        // PID (NAME) STATE ...; a name may hold anything.
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}

fn signal(process: u32, signal: &str) {
    let sent = std::process::Command::new("kill").args([format!("-{signal}"), process.to_string()]).status();
    assert!(sent.unwrap().success());
}
