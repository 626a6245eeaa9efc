//! Settings that are taken and settings that are refused.

use clap::Parser;

use super::{Cli, Command, Config};

const OWN: [&str; 10] = [
    "--kafka",
    "h:9092",
    "--postgres",
    "postgres://u@h/d",
    "--redis",
    "redis://h",
    "--s3-bucket",
    "bucket",
    "--region",
    "a",
];
const PEER: [&str; 12] = [
    "--peer-kafka",
    "i:9092",
    "--peer-postgres",
    "postgres://u@i/d",
    "--peer-redis",
    "redis://i",
    "--peer-s3-bucket",
    "other",
    "--peer-region",
    "b",
    "--peer-region-number",
    "2",
];

fn config(arguments: &[&[&str]]) -> Config {
    let all = ["selvedge-replicator", "run"].iter().chain(arguments.iter().copied().flatten());
    match Cli::try_parse_from(all).unwrap().command {
        Command::Run(config) => *config,
        other => panic!("{other:?}"),
    }
}

fn refused<T>(outcome: Result<T, selvedge_region::regional::SettingError>, parts: &[&str]) {
    let message = outcome.map(drop).unwrap_err().to_string();
    for part in parts.iter().chain(&["fix:"]) {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }
}

#[test]
fn a_whole_configuration_is_taken() {
    let own = config(&[&OWN, &PEER]);
    assert_eq!(own.own().unwrap().region, "a");
    assert_eq!(own.other().unwrap().unwrap().region, "b");
    assert_eq!(own.route53().unwrap(), None);
    assert!(own.failover().unwrap().home);
    let moving = config(&[&OWN, &["--segment-runs", "7", "--segment-bytes", "9"]]).cleanup().moving;
    assert_eq!((moving.runs, moving.bytes), (7, 9));
    assert!(config(&[&OWN]).other().unwrap().is_none());
    assert_eq!(own.endpoints().unwrap(), None);
    let listed = ["--endpoints-key", "k.pem", "--relays", "wss://a,quic://a,wss://a2", "--peer-relays", "wss://b"];
    let relays = config(&[&OWN, &PEER, &listed]).endpoints().unwrap().unwrap().relays;
    let named: Vec<_> = relays.iter().map(|relay| (&*relay.relay, &*relay.region, relay.addresses.len())).collect();
    assert_eq!(named, [("a", "a", 2), ("a2", "a", 1), ("b", "b", 1)]);
    let dns = [
        "--dns-zone",
        "x.org.",
        "--dns-name",
        "edit.x.org",
        "--dns-target",
        "a.x.org",
        "--peer-dns-target",
        "b.x.org",
        "--dns-health",
        "443/readyz",
    ];
    let route53 = config(&[&OWN, &PEER, &dns]).route53().unwrap().unwrap();
    assert_eq!(
        (route53.zone.as_str(), route53.regions[1].health.clone()),
        ("x.org", Some((443, "/readyz".to_owned())))
    );
}

#[test]
fn mistakes_name_flag_value_and_fix() {
    refused(config(&[]).own(), &["--kafka (none)"]);
    refused(config(&[&OWN, &["--peer-region", "b"]]).other(), &["--peer-region b"]);
    refused(config(&[&OWN, &PEER[..8]]).other(), &["--peer-kafka i:9092", "--peer-region"]);
    refused(config(&[&OWN, &PEER[..8], &["--peer-region", "a"]]).other(), &["--peer-region a"]);
    refused(config(&[&OWN, &PEER[..10]]).other(), &["--peer-region-number 1"]);
    refused(config(&[&OWN, &PEER, &["--peer-kafka-partitions", "8"]]).other(), &["--peer-kafka-partitions 8", "64"]);
    let dns = |more: &[&str]| config(&[&OWN, &PEER, &["--dns-zone", "x.org"], more]).route53();
    refused(dns(&[]), &["--dns-name (none)"]);
    refused(dns(&["--dns-name", "edit.y.org"]), &["--dns-name edit.y.org", ".x.org"]);
    refused(dns(&["--dns-name", "edit.x.org"]), &["--dns-target (none)"]);
    let whole = ["--dns-name", "edit.x.org", "--dns-target", "a.x.org", "--peer-dns-target", "b.x.org"];
    let odd = [whole.as_slice(), &["--dns-health", "readyz"]].concat();
    refused(dns(&odd), &["--dns-health readyz"]);
    let listed = |more: &[&str]| config(&[&OWN, &PEER, &["--endpoints-key", "k.pem"], more]).endpoints();
    refused(listed(&[]), &["--relays (none)"]);
    refused(listed(&["--relays", "wss://a"]), &["--peer-relays (none)"]);
    refused(listed(&["--relays", "wss://a", "--peer-relays", "ftp://b"]), &["--peer-relays ftp://b", "wss://"]);
    let many: Vec<String> = (0..70).map(|number| format!("wss://r{number}")).collect();
    refused(listed(&["--relays", &many.join(","), "--peer-relays", "wss://b"]), &["--relays", "64"]);
    refused(config(&[&OWN, &["--witness", "h:1"]]).witness.required(), &["--witness h:1"]);
    refused(config(&[&OWN]).witness.required(), &["--witness (none)"]);
    refused(config(&[&OWN, &["--lease-ms", "5"]]).failover(), &["--lease-ms 5"]);
    refused(config(&[&OWN, &["--observers", "0"]]).failover(), &["--observers 0"]);
    for flag in ["--segment-runs", "--segment-bytes"] {
        let told = Cli::try_parse_from(["selvedge-replicator", "run", flag, "0"]).unwrap_err().to_string();
        assert!(told.contains(flag) && told.contains("'0'"), "{told}");
    }
}
