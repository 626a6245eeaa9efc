//! The replicator on real services: two regions of Kafka, DynamoDB, PostgreSQL, Redis and S3, a witness, and Route 53.
//!
//! `cargo xtask stack up` starts the services and `cargo xtask stack env` names them for the environment; without them every test
//! is skipped by name. Every run works on topics, tables, schemas and names of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cleanup;
mod failover;
mod garbage;
#[path = "../trimming/mod.rs"]
mod trimming;
mod wiped;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use selvedge_engine::{Delta, Document, SiteId, VersionVector};
use selvedge_region::fold::{DueConfig, PERSIST_READER, materialise};
use selvedge_region::regional::{DynamoDbOptions, DynamoOps, OpLayout, RegionalArgs, RegionalOptions, RegionalRegion};
use selvedge_region::{DocumentKey, EntryContent, LogRecord, NewDocument, OpRun, OpStore, REPLICATED_READER, Region};
use selvedge_replicator::link::side;
use selvedge_replicator::metrics::{PersistMetrics, ShipMetrics};
use selvedge_replicator::persist::{PersistConfig, PersistTask, Surroundings};
use selvedge_replicator::ship::{ShipConfig, ShipTask, buckets, control, mirror_blobs, postgres, reader_of, tables};
use tokio::process::Command;

/// A machine under load takes long; a test that has to wait longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(90);

/// The address of a service, or the reason to skip.
fn address(service: &str, test: &str) -> Option<String> {
    let variable = format!("SELVEDGE_STACK_{service}");
    let address = std::env::var(&variable).ok().filter(|address| !address.is_empty());
    if address.is_none() {
        eprintln!("skipped: {test} ({variable} names no service; `cargo xtask stack up` starts one)");
    }
    address
}

fn unique() -> String {
    format!("repl-{:08x}-", rand::random::<u32>())
}

/// The settings of both regions under one prefix, for the program's environment and for opening them here.
fn settings(letter: &str, number: u8, prefix: &str, test: &str) -> Option<RegionalArgs> {
    Some(RegionalArgs {
        kafka: Some(address(&format!("{letter}_KAFKA"), test)?),
        kafka_partitions: 4,
        kafka_replicas: 1,
        postgres: vec![address(&format!("{letter}_POSTGRES"), test)?],
        redis: Some(address(&format!("{letter}_REDIS"), test)?),
        dynamodb: Some(address(&format!("{letter}_DYNAMODB"), test)?),
        s3: Some(address("AWS", test)?),
        s3_bucket: Some(address(&format!("{letter}_BUCKET"), test)?),
        region_number: number,
        prefix: prefix.to_owned(),
        ..RegionalArgs::default()
    })
}

fn options(test: &str, prefix: &str) -> Option<[RegionalOptions; 2]> {
    let a = settings("A", 1, prefix, test)?.options("a", "a").unwrap().unwrap();
    let b = settings("B", 2, prefix, test)?.options("b", "a").unwrap().unwrap();
    Some([a, b])
}

async fn regions(test: &str) -> Option<[RegionalRegion; 2]> {
    let [a, b] = options(test, &unique())?;
    let (a, b) = tokio::try_join!(RegionalRegion::open(a), RegionalRegion::open(b)).unwrap();
    Some([a, b])
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

fn key(name: &str) -> DocumentKey {
    DocumentKey::new(format!("test/{name}").parse().unwrap(), 1)
}

struct Writer {
    document: Document,
    key: DocumentKey,
}

impl Writer {
    fn new(key: DocumentKey, region: u8, index: u32) -> Self {
        let mut document = Document::new();
        document.begin_writing(SiteId::leased(region, index), 1).unwrap();
        Self { document, key }
    }

    fn record(&mut self, text: &str) -> LogRecord {
        self.document.replace(self.document.len_utf16(), 0, text).unwrap();
        let delta = self.document.seal().remove(0);
        LogRecord::new(self.key.document.clone(), self.key.generation, "anon:test".to_owned(), delta.encode())
    }
}

fn persist(region: &Region) -> (PersistTask, Arc<PersistMetrics>) {
    let metrics = Arc::new(PersistMetrics::default());
    let due = DueConfig { bytes: 1 << 20, age_ms: 500, waiting_max: 100 };
    let config = PersistConfig { gather_ms: 300, due, ..PersistConfig::default() };
    (PersistTask::spawn(region.clone(), config, Surroundings::alone(0), Arc::clone(&metrics)), metrics)
}

/// Whether a reader is through with everything in the log.
async fn is_through(region: &Region, reader: &str) -> bool {
    for partition in 0..region.log.partitions() {
        let end = region.log.bounds(partition).await.unwrap().end.offset;
        if region.log.progress(reader, partition).await.unwrap().unwrap_or(0) < end {
            return false;
        }
    }
    true
}

async fn from_ops_alone(region: &Region, key: &DocumentKey) -> String {
    let (mut rebuilt, mut cursor) = (Document::new(), None);
    loop {
        let page = region.ops.read(key, &VersionVector::new(), cursor, 1000).await.unwrap();
        for run in &page.runs {
            rebuilt.apply(&Delta::decode(&run.bytes).unwrap()).unwrap();
        }
        cursor = page.next;
        if cursor.is_none() {
            return rebuilt.text();
        }
    }
}

async fn records(region: &Region) -> Vec<LogRecord> {
    let mut all = Vec::new();
    for partition in 0..region.log.partitions() {
        let mut from = region.log.bounds(partition).await.unwrap().start.offset;
        loop {
            let page = region.log.read(partition, from, 1000).await.unwrap();
            all.extend(page.entries.into_iter().filter_map(|entry| match entry.content {
                EntryContent::Record(record) => Some(record),
                EntryContent::Undecodable { .. } => None,
            }));
            if page.at_end {
                break;
            }
            from = page.next.offset;
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_persists_share_the_log_and_one_may_leave() {
    let Some([a, b]) = regions("two_persists_share_the_log_and_one_may_leave").await else { return };
    let region = a.region().clone();
    let mut writers: Vec<Writer> = (0..8).map(|number| Writer::new(key(&format!("shared-{number}")), 1, 1)).collect();
    let (first, _) = persist(&region);
    let mut first = Some(first);
    let (second, _) = persist(&region);
    for round in 0..40 {
        let batch = writers.iter_mut().map(|writer| writer.record(&format!("{round} "))).collect();
        region.log.append(batch).await.unwrap();
        if round == 20 && first.is_some() {
            first.take().unwrap().stop().await;
        }
    }
    until("the one that stayed writes everything", async || is_through(&region, PERSIST_READER).await).await;
    for writer in &writers {
        assert_eq!(from_ops_alone(&region, &writer.key).await, writer.document.text(), "{}", writer.key.document);
        until("a snapshot", async || {
            let latest = region.snapshots.latest(&writer.key).await.unwrap();
            latest.is_some_and(|latest| latest.snapshot.vector == *writer.document.vector())
        })
        .await;
    }
    second.stop().await;
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_regions_have_each_record_once_and_control_goes_over() {
    let Some([a, b]) = regions("two_regions_have_each_record_once_and_control_goes_over").await else { return };
    let (in_a, in_b) = (a.region().clone(), b.region().clone());
    let shared = key("both");
    let (mut writer_a, mut writer_b) = (Writer::new(shared.clone(), 1, 1), Writer::new(shared.clone(), 2, 1));
    let ships = [(&in_a, &in_b), (&in_b, &in_a)].map(|(source, target)| {
        ShipTask::spawn(source.clone(), target.clone(), ShipConfig::default(), Arc::new(ShipMetrics::default()))
    });
    let carrying = [(&a, &b), (&b, &a)].map(|(source, target)| {
        let carried = tokio::sync::watch::channel(0).0;
        tokio::spawn(control::carry(source.control_log(), target.control_log(), carried))
    });
    for round in 0..50 {
        in_a.log.append(vec![writer_a.record(&format!("a{round} "))]).await.unwrap();
        in_b.log.append(vec![writer_b.record(&format!("b{round} "))]).await.unwrap();
    }
    let document = shared.document.clone();
    in_a.control.create(NewDocument { document, creator: "user:ann".into(), now_ms: 5 }).await.unwrap();
    for (source, target) in [(&in_a, &in_b), (&in_b, &in_a)] {
        let reader = reader_of(source.log.log_id(), target.log.log_id());
        until("everything is shipped", async || {
            records(target).await.len() >= 100
                && is_through(source, &reader).await
                && is_through(source, REPLICATED_READER).await
        })
        .await;
        let there = records(target).await;
        assert_eq!(there.len(), 100, "each once");
        assert!(there.iter().all(|record| !record.came_from(target.log.log_id())), "nothing came back");
    }
    for ship in ships {
        ship.stop().await;
    }
    let texts = [&in_a, &in_b].map(async |region| materialise(region, &shared).await.unwrap().into_document().text());
    let [text_a, text_b] = texts;
    let (text_a, text_b) = tokio::join!(text_a, text_b);
    assert_eq!(text_a, text_b);
    assert!(text_a.len() >= 2 * 50 * 3, "both wrote");
    until("the control plane's record is in b", async || {
        in_b.control.document(&shared.document).await.unwrap().is_some_and(|info| info.creator == "user:ann")
    })
    .await;
    carrying.iter().for_each(tokio::task::JoinHandle::abort);
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_copied_by_postgresql_and_stand_by_themselves_when_their_region_is_lost() {
    let Some([a, b]) = regions("snapshots_are_copied_by_postgresql").await else { return };
    let (side_a, side_b) = (side(a.options()), side(b.options()));
    postgres::follow(&side_a, &side_b).await.unwrap();
    postgres::follow(&side_a, &side_b).await.unwrap();
    let mut writer = Writer::new(key("copied"), 1, 1);
    a.region().log.append(vec![writer.record("of region a")]).await.unwrap();
    let (task, _) = persist(a.region());
    until("persisted", async || is_through(a.region(), PERSIST_READER).await).await;
    task.stop().await;
    let adopted = async || {
        let blobs = Arc::clone(&b.region().blobs);
        postgres::adopt(b.region(), &side_b, 1, blobs).await.unwrap()
    };
    until("the copy arrives", async || adopted().await == 1).await;
    let own = b.region().snapshots.latest(&writer.key).await.unwrap().unwrap();
    assert_eq!(own.snapshot.vector, *writer.document.vector());
    assert_eq!(adopted().await, 0, "once");
    assert!(postgres::following(&side_a, &side_b).await.unwrap()[0].subscribed);
    postgres::detach(&side_a, &side_b).await.unwrap();
    assert!(!postgres::following(&side_a, &side_b).await.unwrap()[0].subscribed);
    // Region a is back: its standby follows again from the beginning.
    postgres::follow(&side_a, &side_b).await.unwrap();
    assert!(postgres::following(&side_a, &side_b).await.unwrap()[0].subscribed);
    postgres::detach(&side_a, &side_b).await.unwrap();
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_op_store_goes_over_by_its_stream_where_there_are_no_global_tables() {
    let Some([a, b]) = regions("the_op_store_goes_over_by_its_stream").await else { return };
    let client = a.options().dynamodb.client().await;
    assert_eq!(tables::ensure(&client, &a.options().table, "eu-central-1").await.unwrap(), tables::Way::Stream);
    let run = |first| OpRun { site: SiteId::leased(1, 1), first, last: first, bytes: vec![7; 20] };
    let key = key("streamed");
    a.region().ops.put(&key, (1..=30).map(run).collect()).await.unwrap();
    let stream = tables::Stream {
        tables: client,
        streams: aws_sdk_dynamodbstreams::Client::new(&a.options().dynamodb.sdk_config().await),
        table: a.options().table.clone(),
        target: b.options().dynamodb.client().await,
        target_table: b.options().table.clone(),
        blobs: Arc::clone(&a.region().blobs),
        to: "b".to_owned(),
    };
    let carrying = tokio::spawn(stream.carry(|_| {}));
    let arrived = async || b.region().ops.read(&key, &VersionVector::new(), None, 100).await.unwrap().runs.len();
    until("the items arrive", async || arrived().await == 30).await;
    a.region().ops.put(&key, (31..=40).map(run).collect()).await.unwrap();
    until("later ones, too", async || arrived().await == 40).await;
    carrying.abort();
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_op_store_is_a_global_table_where_the_endpoint_has_them() {
    let Some(address) = address("AWS", "the_op_store_is_a_global_table") else { return };
    let place = |region: &str| DynamoDbOptions { region: region.to_owned(), ..DynamoDbOptions::local(address.clone()) };
    let (here, there) = (place("us-east-1").client().await, place("eu-central-1").client().await);
    let table = format!("{}ops", unique());
    let ops = DynamoOps::open(here.clone(), table.clone(), OpLayout::Split).await.unwrap();
    for _ in 0..2 {
        assert_eq!(tables::ensure(&here, &table, "eu-central-1").await.unwrap(), tables::Way::GlobalTable);
    }
    let run = OpRun { site: SiteId::leased(1, 1), first: 1, last: 1, bytes: vec![7; 20] };
    ops.put(&key("global"), vec![run]).await.unwrap();
    until("the item arrives", async || {
        let found = there.scan().table_name(&table).send().await.unwrap();
        let runs = found.items().iter().filter(|item| matches!(item.get("run"), Some(AttributeValue::B(_))));
        runs.count() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_go_over_and_what_was_removed_goes_there_too() {
    let Some([a, b]) = regions("blobs_go_over_and_what_was_removed").await else { return };
    let prefix = "snapshots/r-1/";
    let name = |name: &str| format!("{prefix}{name}").parse().unwrap();
    a.region().blobs.put(&name("one"), b"1".to_vec()).await.unwrap();
    mirror_blobs(a.region(), b.region(), prefix).await.unwrap();
    assert_eq!(b.region().blobs.get(&name("one")).await.unwrap(), b"1");
    b.region().blobs.delete(&name("one")).await.unwrap();
    assert_eq!(mirror_blobs(a.region(), b.region(), prefix).await.unwrap(), 1, "filled in");
    a.region().blobs.put(&name("two"), b"2".to_vec()).await.unwrap();
    a.region().blobs.delete(&name("one")).await.unwrap();
    mirror_blobs(a.region(), b.region(), prefix).await.unwrap();
    assert!(b.region().blobs.get(&name("one")).await.is_err(), "what was removed goes there, too");
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_is_told_once_to_replicate_a_bucket_and_keeps_its_other_rules() {
    let Some([a, _]) = options("bucket replication", &unique()) else { return };
    let client = buckets::client(&a.s3).await;
    let names = ["a", "b", "c"].map(|letter| format!("{}{letter}", unique()));
    for name in &names {
        client.create_bucket().bucket(name).send().await.unwrap();
    }
    let without_versions = buckets::Rule {
        id: "selvedge-b".to_owned(),
        prefix: String::new(),
        target: names[1].clone(),
        role: "arn:aws:iam::000000000000:role/replication".to_owned(),
    };
    let refused = buckets::ensure(&client, &names[0], &without_versions).await;
    assert_eq!(refused.unwrap_err().kind(), "unavailable", "the other region has not turned its bucket's versions on");
    for target in &names[1..] {
        buckets::keep_versions(&client, target).await.unwrap();
    }
    assert_eq!(buckets::configured(&client, &names[0]).await.unwrap(), None);
    let role = "arn:aws:iam::000000000000:role/replication".to_owned();
    let rule = |id: &str, target: &String| buckets::Rule {
        id: id.to_owned(),
        prefix: "deployment/".to_owned(),
        target: target.clone(),
        role: role.clone(),
    };
    let (to_b, to_c) = (rule("selvedge-b", &names[1]), rule("selvedge-c", &names[2]));
    assert!(buckets::ensure(&client, &names[0], &to_b).await.unwrap());
    assert!(!buckets::ensure(&client, &names[0], &to_b).await.unwrap(), "it stands");
    assert!(buckets::ensure(&client, &names[0], &to_c).await.unwrap());
    assert!(!buckets::ensure(&client, &names[0], &to_b).await.unwrap(), "the other rule stays");
    let moved = buckets::Rule { prefix: String::new(), ..to_b };
    assert!(buckets::ensure(&client, &names[0], &moved).await.unwrap());
    let standing = buckets::configured(&client, &names[0]).await.unwrap().unwrap();
    let mut ids: Vec<_> = standing.rules().iter().filter_map(|rule| rule.id()).collect();
    ids.sort_unstable();
    assert_eq!((ids, standing.role()), (vec!["selvedge-b", "selvedge-c"], role.as_str()));
    let nowhere = buckets::ensure(&client, &unique(), &moved).await;
    assert_eq!(nowhere.unwrap_err().kind(), "unavailable", "a bucket that is not there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_that_every_region_covers_move_to_segments() {
    let Some([a, b]) = regions("operations_that_every_region_covers_move_to_segments").await else { return };
    trimming::operations_are_moved(&[a.region().clone(), b.region().clone()], "moved").await;
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_segments_are_filled_in_and_erased_ones_are_not() {
    let Some([a, b]) = regions("lost_segments_are_filled_in_and_erased_ones_are_not").await else { return };
    let carried = tokio::sync::watch::channel(0).0;
    let carrying = tokio::spawn(control::carry(a.control_log(), b.control_log(), carried));
    let delete = async |key: &DocumentKey| {
        let document = key.document.clone();
        a.region().control.create(NewDocument { document, creator: "user:ann".into(), now_ms: 1 }).await.unwrap();
        a.region().control.delete(key, 2).await.unwrap();
        until("the other region knows", async || {
            let info = b.region().control.document(&key.document).await.unwrap();
            info.is_some_and(|info| info.is_deleted(key.generation))
        })
        .await;
    };
    let regions = [a.region().clone(), b.region().clone()];
    trimming::segments_are_filled_in_and_erased(&regions, "erased", delete).await;
    carrying.abort();
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_setting_is_refused_by_flag_value_and_fix() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge-replicator"));
    let refused = command.args(["run", "--kafka", "nowhere"]).env_clear().output().await.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("--kafka nowhere") && said.contains("fix:"), "{said}");
}
