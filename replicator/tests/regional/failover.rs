//! Who holds the control plane: the witness, promotion, DNS, and the signed list of endpoints.

use std::process::Stdio;
use std::time::Instant;

use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use selvedge_protocol::{EndpointList, ListKey, SignedList, relays_at};
use selvedge_region::regional::{DynamoDbOptions, RegionalArgs, RegionalOptions, RegionalRegion};
use selvedge_replicator::failover::promotion::Step;
use selvedge_replicator::failover::promotion::endpoints::{Endpoints, Signer};
use selvedge_replicator::failover::promotion::route53::{Checked, Route53, Route53Options};
use selvedge_replicator::failover::promotion::routes::{epoch_of, home_of};
use selvedge_replicator::failover::witness::{DynamoWitness, contract};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{PATIENCE, address, options, regions, settings, unique, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_witness_in_dynamodb_keeps_the_contract() {
    let Some(address) = address("WITNESS", "the_witness_in_dynamodb_keeps_the_contract") else { return };
    let client = DynamoDbOptions::local(address).client().await;
    let witness = DynamoWitness::open(client, format!("{}witness", unique())).await.unwrap();
    contract(&witness).await;
}

async fn dns(region: &str, zone: &str) -> Option<Route53> {
    let place = DynamoDbOptions::local(address("AWS", "dns")?);
    let checked = |region: &str| Checked {
        region: region.to_owned(),
        targets: vec![format!("{region}.{zone}")],
        health: Some((443, "/readyz".to_owned())),
    };
    let options = Route53Options {
        zone: zone.to_owned(),
        name: format!("edit.{zone}"),
        regions: vec![checked("a"), checked("b")],
    };
    let client = aws_sdk_route53::Client::new(&place.sdk_config().await);
    Some(Route53::new(client, options, region.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dns_is_flipped_by_compare_and_set_and_read_back() {
    let zone = format!("{}example.org", unique());
    let Some(in_a) = dns("a", &zone).await else { return };
    let in_b = dns("b", &zone).await.unwrap();
    assert_eq!(in_a.plan(1).await.unwrap().len(), 3, "nothing is there yet");
    in_a.run(1).await.unwrap();
    in_a.run(1).await.unwrap();
    let told = async |healthy: bool| in_a.told(|_| healthy).await.unwrap();
    assert_eq!(told(true).await, (vec![format!("a.{zone}")], Some(1)));
    let plan = in_b.plan(2).await.unwrap();
    assert_eq!(plan.iter().filter(|line| line.starts_with("delete")).count(), 3, "{plan:?}");
    in_b.run(2).await.unwrap();
    assert_eq!(told(true).await, (vec![format!("b.{zone}")], Some(2)));
    assert!(in_a.run(1).await.unwrap_err().to_string().contains("epoch 2"), "whoever was overtaken changes nothing");
    let sets = in_a.record_sets().await.unwrap();
    let name = format!("edit.{zone}");
    assert_eq!((epoch_of(&sets, &name), home_of(&sets, &name).unwrap().as_str()), (Some(2), "b"));
}

/// The program in one region.
struct Program {
    child: Child,
    admin: String,
}

impl Program {
    async fn start(arguments: &[&str], environment: &[(String, String)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge-replicator"));
        command.args(arguments).args(["--admin", "127.0.0.1:0"]).envs(environment.iter().cloned());
        command.env("SELVEDGE_LOG_LEVEL", "info").kill_on_drop(true).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it gets ready").unwrap();
        let first = first.expect("it says where it listens");
        let admin = first.split_whitespace().find_map(|word| word.strip_prefix("http://")).unwrap().to_owned();
        Self { child, admin }
    }

    async fn ask(&self, path: &str) -> Option<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut connection = tokio::net::TcpStream::connect(&self.admin).await.ok()?;
        let question = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        connection.write_all(question.as_bytes()).await.ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.ok()?;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    async fn control(&self) -> serde_json::Value {
        self.ask("/v1/control").await.and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default()
    }

    async fn decides(&self, epoch: u64) -> bool {
        let control = self.control().await;
        control["deciding"] == true && control["epoch"] == epoch
    }
}

/// What both programs are told beside their own services.
fn environment(
    own: &RegionalArgs,
    peer: &RegionalArgs,
    names: [&str; 2],
    more: &[(&str, String)],
) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (prefix, args) in [("SELVEDGE_", own), ("SELVEDGE_PEER_", peer)] {
        let values = [
            ("KAFKA", args.kafka.clone().unwrap()),
            ("KAFKA_PARTITIONS", args.kafka_partitions.to_string()),
            ("KAFKA_REPLICAS", args.kafka_replicas.to_string()),
            ("POSTGRES", args.postgres[0].clone()),
            ("REDIS", args.redis.clone().unwrap()),
            ("DYNAMODB", args.dynamodb.clone().unwrap()),
            ("S3", args.s3.clone().unwrap()),
            ("S3_BUCKET", args.s3_bucket.clone().unwrap()),
            ("REGION_NUMBER", args.region_number.to_string()),
            ("PREFIX", args.prefix.clone()),
        ];
        all.extend(values.map(|(name, value)| (format!("{prefix}{name}"), value)));
    }
    all.extend([
        ("SELVEDGE_REGION".to_owned(), names[0].to_owned()),
        ("SELVEDGE_PEER_REGION".to_owned(), names[1].to_owned()),
    ]);
    all.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    all
}

/// What the control planes of both regions hold of the signed list, read beside the programs.
struct Lists {
    key: std::path::PathBuf,
    trusted: ListKey,
    regions: [RegionalRegion; 2],
}

impl Lists {
    async fn new(folder: &std::path::Path, [a, b]: [RegionalOptions; 2]) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = folder.join("endpoints.pem");
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        let trusted = ListKey::from_point(rcgen::PublicKeyData::der_bytes(&pair)).unwrap();
        let (a, b) = tokio::try_join!(RegionalRegion::open(a), RegionalRegion::open(b)).unwrap();
        Self { key, trusted, regions: [a, b] }
    }

    /// The list of that epoch, once both regions hold it; it is signed by the key.
    async fn both(&self, epoch: u64, home: &str) -> EndpointList {
        let mut found = None;
        for region in &self.regions {
            until("the list reaches the region", async || {
                found = self.list(region).await.filter(|list| list.epoch >= epoch);
                found.is_some()
            })
            .await;
        }
        let found = found.unwrap();
        assert_eq!((found.epoch, found.home.as_str()), (epoch, home));
        found
    }

    async fn list(&self, region: &RegionalRegion) -> Option<EndpointList> {
        let published = region.region().control.endpoints().await.unwrap()?;
        let parts = SignedList::parse(&published.signed).unwrap();
        assert!(parts.names(&self.trusted));
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.trusted.point());
        key.verify(parts.input.as_bytes(), &parts.signature).expect("it is signed by the key");
        let list = EndpointList::decode(&parts.list).unwrap();
        assert_eq!(list.epoch, published.epoch);
        Some(list)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_home_is_replaced_dns_is_flipped_the_list_signed_anew_and_a_switchover_brings_it_back() {
    const TEST: &str = "a_killed_home_is_replaced";
    let prefix = unique();
    let (Some(a), Some(b)) = (settings("A", 1, &prefix, TEST), settings("B", 2, &prefix, TEST)) else { return };
    let (Some(witness), Some(aws)) = (address("WITNESS", TEST), address("AWS", TEST)) else { return };
    let zone = format!("{prefix}example.org");
    let folder = tempfile::tempdir().unwrap();
    let lists = Lists::new(folder.path(), options(TEST, &prefix).unwrap()).await;
    let shared = |own: &str, peer: &str| {
        vec![
            ("SELVEDGE_HOME_REGION", "a".to_owned()),
            ("SELVEDGE_WITNESS", witness.clone()),
            ("SELVEDGE_WITNESS_TABLE", format!("{prefix}witness")),
            ("SELVEDGE_PROMOTION_PAUSE_MS", "0".to_owned()),
            ("SELVEDGE_DNS_ZONE", zone.clone()),
            ("SELVEDGE_DNS_NAME", format!("edit.{zone}")),
            ("SELVEDGE_DNS_TARGET", format!("{own}.{zone}")),
            ("SELVEDGE_PEER_DNS_TARGET", format!("{peer}.{zone}")),
            ("SELVEDGE_ROUTE53", aws.clone()),
            ("SELVEDGE_ENDPOINTS_KEY", lists.key.display().to_string()),
            ("SELVEDGE_RELAYS", format!("wss://{own}.{zone}/v1/connect,quic://{own}.{zone}")),
            ("SELVEDGE_PEER_RELAYS", format!("wss://{peer}.{zone}/v1/connect")),
        ]
    };
    let in_a = environment(&a, &b, ["a", "b"], &shared("a", "b"));
    let in_b = environment(&b, &a, ["b", "a"], &shared("b", "a"));
    let mut home = Program::start(&["run"], &in_a).await;
    let standby = Program::start(&["run"], &in_b).await;
    let observer_environment: Vec<_> =
        in_a.iter().filter(|(name, _)| name.starts_with("SELVEDGE_WITNESS")).cloned().collect();
    let observer = Program::start(&["observe"], &observer_environment).await;
    until("region a decides", async || home.decides(1).await).await;
    let dns = dns("b", &zone).await.unwrap();
    until("dns says a", async || {
        dns.told(|_| true).await.is_ok_and(|told| told == (vec![format!("a.{zone}")], Some(1)))
    })
    .await;
    let first = lists.both(1, "a").await;
    let places: Vec<_> = first.endpoints.iter().map(|relay| (&*relay.region, relay.addresses.len())).collect();
    assert_eq!(places, [("a", 2), ("b", 1)], "the home's relays come first");
    until("the observer sees a", async || observer.control().await["holder"] == "a").await;
    assert!(home.ask("/metrics").await.unwrap().contains("selvedge_replicator_persist_records_total"));

    home.child.kill().await.unwrap();
    let killed = Instant::now();
    until("region b decides", async || standby.decides(2).await).await;
    eprintln!("promoted after {:?}", killed.elapsed());
    until("dns says b", async || {
        dns.told(|_| true).await.is_ok_and(|told| told == (vec![format!("b.{zone}")], Some(2)))
    })
    .await;

    let second = lists.both(2, "b").await;
    assert!(second.issue > first.issue && second.endpoints[0].region == "b");

    let home = Program::start(&["run"], &in_a).await;
    let mut order = Command::new(env!("CARGO_BIN_EXE_selvedge-replicator"));
    let ordered = order.args(["switchover", "--to", "a"]).envs(in_a.iter().cloned()).output().await.unwrap();
    assert!(ordered.status.success(), "{}", String::from_utf8_lossy(&ordered.stderr));
    until("region a decides again", async || home.decides(3).await).await;
    assert_eq!(standby.control().await["deciding"], false);
    until("dns says a again", async || {
        dns.told(|_| true).await.is_ok_and(|told| told == (vec![format!("a.{zone}")], Some(3)))
    })
    .await;

    let third = lists.both(3, "a").await;
    assert_eq!(third.endpoints, first.endpoints);

    let mut dry = Command::new(env!("CARGO_BIN_EXE_selvedge-replicator"));
    let planned = dry.args(["promote", "--dry-run"]).envs(in_b.iter().cloned()).output().await.unwrap();
    let text = String::from_utf8_lossy(&planned.stdout);
    assert!(planned.status.success() && text.contains("epoch 4") && text.contains("delete edit."), "{text}");
    assert!(text.contains(&format!("sign epoch 4 with key {}", lists.trusted.name())), "{text}");
    assert!(home.decides(3).await, "a dry run changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_signed_again_only_when_it_says_something_else() {
    let Some([region, _]) = regions("a_list_is_signed_again").await else { return };
    let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let step = |pem: &str, urls: &[&str]| Endpoints {
        signer: Signer::new(pem.as_bytes()).unwrap(),
        home: "a".to_owned(),
        relays: relays_at(urls.iter().map(|url| ("a", *url))),
        region: region.region().clone(),
    };
    let published = async || region.region().control.endpoints().await.unwrap().unwrap().signed;
    let issue = |signed: &str| EndpointList::decode(&SignedList::parse(signed).unwrap().list).unwrap().issue;
    step(&pem, &["wss://a"]).run(0).await.unwrap();
    let first = published().await;
    step(&pem, &["wss://a"]).run(0).await.unwrap();
    assert_eq!(published().await, first, "a process that starts again changes nothing");
    step(&pem, &["wss://a", "wss://a2"]).run(0).await.unwrap();
    let second = published().await;
    assert!(issue(&second) > issue(&first), "a relay more");
    let next_key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    step(&next_key, &["wss://a", "wss://a2"]).run(0).await.unwrap();
    assert!(issue(&published().await) > issue(&second), "another key");
    assert!(step(&pem, &["wss://a"]).run(3).await.is_err(), "an epoch that has not begun");
    region.close().await;
}
