//! The distributed region held to the contracts of its parts, on real services.
//!
//! `cargo xtask stack up` starts the services and `cargo xtask stack env` names them for the environment; a part whose service
//! is not named there is skipped by name. Every run works on topics, tables and databases of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bus;
mod cold;
mod control;
mod garbage;
mod migrations;

use std::sync::Arc;

use selvedge_region::regional::{
    BlobFaults, DynamoDbOptions, DynamoOps, KafkaFaults, KafkaLog, KafkaOptions, OpFaults, OpLayout, Postgres,
    PostgresOptions, PostgresSnapshots, Proxy, S3Blobs, S3Options, SnapshotFaults, stack_process,
};
use selvedge_region::{DocumentKey, OpRun, OpStore, contract};
use tokio::sync::RwLock;

/// Held for writing by a test that halts Kafka, for reading by every other one that needs it.
static KAFKA: RwLock<()> = RwLock::const_new(());
/// The same for Redis.
static REDIS: RwLock<()> = RwLock::const_new(());

/// The address of region A's service, or the reason to skip.
fn address(service: &str, test: &str) -> Option<String> {
    let variable = format!("SELVEDGE_STACK_{service}");
    let address = std::env::var(&variable).ok().filter(|address| !address.is_empty());
    if address.is_none() {
        eprintln!("skipped: {test} ({variable} names no service; `cargo xtask stack up` starts one)");
    }
    address
}

fn unique() -> String {
    format!("contract-{:08x}-", rand::random::<u32>())
}

fn kafka(bootstrap: &str) -> KafkaOptions {
    KafkaOptions {
        prefix: unique(),
        partitions: 4,
        replicas: 1,
        message_timeout_ms: 3_000,
        ..KafkaOptions::new(bootstrap)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log() {
    let Some(bootstrap) = address("A_KAFKA", "log") else { return };
    let _halts = KAFKA.write().await;
    let log = Arc::new(KafkaLog::open(kafka(&bootstrap)).await.unwrap());
    let faults = KafkaFaults::new(Arc::clone(&log), stack_process("a-kafka"));
    contract::log(&*log, &faults).await;
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_readers() {
    let Some(bootstrap) = address("A_KAFKA", "log_readers") else { return };
    let _needs = KAFKA.read().await;
    let log = KafkaLog::open(kafka(&bootstrap)).await.unwrap();
    contract::log_readers(&log).await;
    log.close().await;
}

/// `host:port` of an address with a scheme.
fn host(address: &str) -> String {
    let (_, rest) = address.split_once("//").unwrap();
    let place = rest.split_once('@').map_or(rest, |(_, place)| place);
    place.split('/').next().unwrap().to_owned()
}

/// Blobs of the stack's emulator under a prefix of their own, and the way to them.
async fn blobs_of(address: &str) -> (Arc<S3Blobs>, Proxy) {
    let way = Proxy::to(host(address)).await.unwrap();
    let options = S3Options {
        bucket: std::env::var("SELVEDGE_STACK_A_BUCKET").unwrap_or_else(|_| "selvedge-a".to_owned()),
        region: "us-east-1".to_owned(),
        endpoint: Some(format!("http://{}", way.address())),
        keys: Some(("local".to_owned(), "local".to_owned())),
        prefix: format!("{}/", unique()),
    };
    (Arc::new(S3Blobs::new(options).unwrap()), way)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs() {
    let Some(address) = address("AWS", "blobs") else { return };
    let (blobs, way) = blobs_of(&address).await;
    contract::blobs(&*blobs, &BlobFaults { blobs: Arc::clone(&blobs), way }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots() {
    let Some(server) = address("A_POSTGRES", "snapshots") else { return };
    let Some(emulator) = address("AWS", "snapshots") else { return };
    // All in rows, then all in blobs.
    for inline_bytes_max in [usize::MAX, 0] {
        let (blobs, _way_to_blobs) = blobs_of(&emulator).await;
        let schema = unique().replace('-', "_");
        let direct = PostgresOptions { schema, ..PostgresOptions::new(server.clone()) };
        let way = Proxy::to(host(&server)).await.unwrap();
        let by_way =
            PostgresOptions { servers: vec![server.replace(&host(&server), &way.address())], ..direct.clone() };
        let (direct, postgres) = (Postgres::open(&direct, 1).await.unwrap(), Postgres::open(&by_way, 1).await.unwrap());
        let snapshots = Arc::new(PostgresSnapshots::new(postgres.clone(), blobs, inline_bytes_max));
        let faults = SnapshotFaults { snapshots: Arc::clone(&snapshots), direct: direct.clone(), way };
        contract::snapshots(&*snapshots, &faults).await;
        postgres.close().await;
        direct.close().await;
    }
}

async fn ops_of(address: &str, layout: OpLayout) -> (DynamoOps, Proxy) {
    let way = Proxy::to(host(address)).await.unwrap();
    let client = DynamoDbOptions::local(format!("http://{}", way.address())).client().await;
    (DynamoOps::open(client, format!("{}ops", unique()), layout).await.unwrap(), way)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn op_store() {
    let Some(address) = address("A_DYNAMODB", "op_store") else { return };
    for layout in [OpLayout::Split, OpLayout::Literal] {
        let (ops, way) = ops_of(&address, layout).await;
        contract::op_store(&ops, &OpFaults(way)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_document_is_spread_and_read_as_one() {
    let Some(address) = address("A_DYNAMODB", "a_hot_document_is_spread_and_read_as_one") else { return };
    let (ops, _way) = ops_of(&address, OpLayout::Split).await;
    let key = DocumentKey::new("contract/hot".parse().unwrap(), 1);
    let site = selvedge_engine::SiteId::leased(1, 7);
    let run = |first| OpRun { site, first, last: first, bytes: vec![7; 10] };
    ops.put(&key, (1..=20).map(run).collect()).await.unwrap();
    ops.spread(&key, 4).await.unwrap();
    ops.spread(&key, 2).await.unwrap();
    ops.put(&key, (10..=40).map(run).collect()).await.unwrap();
    let (mut runs, mut cursor) = (Vec::new(), None);
    loop {
        let page = ops.read(&key, &Default::default(), cursor, 7).await.unwrap();
        runs.extend(page.runs);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(runs, (1..=40).map(run).collect::<Vec<_>>(), "in order, each once");
    ops.erase(&key).await.unwrap();
    assert!(ops.read(&key, &Default::default(), None, 100).await.unwrap().runs.is_empty());
}
