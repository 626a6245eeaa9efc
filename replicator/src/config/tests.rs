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
    let moving = config(&[&OWN, &["--segment-runs", "7", "--segment-bytes", "9"]]).rhythm.cleanup().unwrap().moving;
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
    let odd = |more: &[&str]| dns(&[whole.as_slice(), more].concat());
    refused(odd(&["--dns-health", "readyz"]), &["--dns-health readyz"]);
    refused(odd(&["--route53", "h:1"]), &["--route53 h:1", "http://"]);
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
}

#[test]
fn numbers_that_nothing_could_work_with_are_refused_and_not_mended() {
    let rhythm = |flag: &str, value: &str| config(&[&OWN, &[flag, value]]).check();
    let most = u64::MAX.to_string();
    let most = most.as_str();
    let refusals = [
        ("--gather-bytes", "0"),
        ("--gather-bytes", "32769"),
        ("--gather-ms", most),
        ("--writes", "0"),
        ("--writes", most),
        ("--snapshot-bytes", "0"),
        ("--snapshot-age-ms", "99"),
        ("--snapshots-kept", "0"),
        ("--hole-ms", "999"),
        ("--segment-runs", "0"),
        ("--segment-bytes", "0"),
        ("--cleanup-ms", "99"),
        ("--cleanup-ms", "0"),
        ("--deleted-days", most),
    ];
    for (flag, value) in refusals {
        refused(rhythm(flag, value), &[&format!("{flag} {value}: is out of range"), "give a number from"]);
    }
    let taken = [("--writes", "1"), ("--snapshots-kept", "1"), ("--cleanup-ms", "100"), ("--deleted-days", "0")];
    for (flag, value) in taken {
        rhythm(flag, value).unwrap();
    }
    let told = config(&[&OWN, &["--writes", "3", "--snapshots-kept", "2", "--cleanup-ms", "700"]]).rhythm;
    let (persist, cleanup) = (told.persist().unwrap(), told.cleanup().unwrap());
    assert_eq!((persist.writes_max, persist.snapshots_kept), (3, 2));
    assert_eq!((cleanup.pause_ms, cleanup.snapshots_kept), (700, 2));
}

#[test]
fn what_says_nothing_without_another_setting_is_refused() {
    config(&[&OWN]).check().unwrap();
    config(&[&OWN, &PEER]).check().unwrap();
    let without = |needed: &str, given: &[&str]| {
        let parts = [&given.join(" "), "says nothing without", needed].map(str::to_owned);
        refused(config(&[&OWN, given]).check(), &parts.each_ref().map(String::as_str));
    };
    without("--peer-region", &["--s3-replication-role", "arn:aws:iam::1:role/r"]);
    without("--peer-region", &["--peer-relays", "wss://b"]);
    without("--peer-region", &["--peer-dns-target", "b.x.org"]);
    without("--dns-zone", &["--dns-name", "edit.x.org"]);
    without("--dns-zone", &["--dns-target", "a.x.org"]);
    without("--dns-zone", &["--dns-health", "443/readyz"]);
    without("--dns-zone", &["--route53", "http://h:1"]);
    without("--endpoints-key", &["--relays", "wss://a"]);
    without("--witness", &["--observers", "3"]);
    without("--witness", &["--lease-ms", "9000"]);
    without("--witness", &["--promotion-pause-ms", "0"]);
    without("--witness", &["--witness-table", "mine"]);
    config(&[&OWN, &["--witness", "http://h:1", "--observers", "3"]]).check().unwrap();
    config(&[&OWN, &["--observers", "2"]]).check().unwrap();
}

#[test]
fn regions_are_named_and_the_home_is_one_of_them() {
    refused(config(&[&OWN, &["--home-region", "c"]]).check(), &["--home-region c", "--peer-region"]);
    refused(config(&[&OWN, &PEER, &["--home-region", "c"]]).check(), &["--home-region c"]);
    config(&[&OWN, &PEER, &["--home-region", "b"]]).check().unwrap();
    refused(config(&[&OWN[..8], &["--region", ""]]).check(), &["--region (empty)"]);
    refused(config(&[&OWN, &["--peer-region", ""]]).check(), &["--peer-region (empty)"]);
    let promote = |words: &[&str]| match Cli::try_parse_from([&["selvedge-replicator", "promote"][..], words].concat())
    {
        Ok(Cli { command: Command::Promote(config) }) => config.target(),
        other => panic!("{other:?}"),
    };
    let both = ["--region", "a", "--peer-region", "b"];
    refused(promote(&[&both[..], &["--to", "c"]].concat()), &["--to c", "--peer-region"]);
    assert_eq!(promote(&both).unwrap(), "a");
    assert_eq!(promote(&["--to", "b"]).unwrap(), "b");
}
