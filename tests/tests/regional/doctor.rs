//! `cargo xtask doctor`: which service is missing, what was tried, how to start it, what works meanwhile.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;

use crate::chore::{Stack, signal, variable};

/// The lines about one service.
fn about<'a>(text: &'a str, service: &str) -> Vec<&'a str> {
    let mut lines = text.lines().skip_while(|line| line.split_whitespace().next() != Some(service));
    let first = lines.next().unwrap_or_else(|| panic!("nothing is said of {service} in: {text}"));
    [first].into_iter().chain(lines.take_while(|line| line.starts_with(' '))).collect()
}

#[track_caller]
fn says(text: &str, service: &str, parts: &[&str]) {
    let said = about(text, service).join("\n");
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
}

/// What is gone, what it is asked for, and the words by which a person knows what goes on without it.
const GONE: [(&str, &str, &str, &[&str]); 6] = [
    (
        "a-kafka",
        "its API versions",
        " --region a --only kafka",
        &["nothing is acknowledged in this region", "wait on their devices"],
    ),
    (
        "b-dynamodb",
        "anything over HTTP",
        " --region b --only dynamodb",
        &["edits are acknowledged", "catches up when it is back"],
    ),
    (
        "a-postgres",
        "to let the user selvedge in",
        " --region a --only postgres",
        &["edits are acknowledged", "no new snapshots"],
    ),
    (
        "b-redis",
        "PING",
        " --region b --only redis",
        &["edits are acknowledged", "within 3 s", "no cursors across relays"],
    ),
    (
        "aws",
        "anything over HTTP",
        " --only aws",
        &["edits are acknowledged", "large snapshots and assets wait", "DNS stays"],
    ),
    ("witness", "anything over HTTP", " --only witness", &["in both regions", "no region is promoted"]),
];

#[test]
fn each_service_that_is_gone_is_said_with_what_was_tried_how_to_start_it_and_what_goes_on() {
    let Some((stack, _alone)) = Stack::fresh("each_service_that_is_gone_is_said") else { return };
    let told = stack.run(&["doctor"]);
    assert!(!told.succeeded && told.said.contains("10 of 10 services are missing"), "{}", told.said);
    let choice = format!(" --ports {} --data {}", stack.base(), stack.folder().display());
    for (service, asked, start, meanwhile) in GONE {
        let tried = format!("tried: asked it for {asked}; nobody listens there");
        let start = format!("start: cargo xtask stack up{start}{choice}");
        says(&told.out, service, &["MISSING at ", &tried, &start, "meanwhile: "]);
        says(&told.out, service, meanwhile);
    }
    let rows: Vec<Value> = serde_json::from_str(&stack.run(&["doctor", "--json"]).out).unwrap();
    assert_eq!(rows.len(), 10);
    let whole = |row: &Value| ["tried", "trouble", "start", "meanwhile"].iter().all(|name| row[name].is_string());
    assert!(rows.iter().all(|row| row["answers"] == false && whole(row)), "{rows:?}");
}

#[test]
fn what_answers_is_told_from_what_is_halted_and_from_what_is_dead() {
    let Some((stack, _alone)) = Stack::running("what_answers_is_told_from_what_is_halted") else { return };
    let told = stack.done(&["doctor"]);
    assert_eq!(told.out.matches("  answers at ").count(), 10, "{}", told.out);

    let process = stack.process("a-redis");
    signal(process, "STOP");
    let halted = stack.run(&["doctor"]);
    let standing = stack.status()["a-redis"].clone();
    signal(process, "CONT");
    assert!(!halted.succeeded && halted.said.contains("1 of 10"), "{}", halted.said);
    says(
        &halted.out,
        "a-redis",
        &["MISSING", "says nothing for 2 s", &format!("its process {process} runs"), "its last log is "],
    );
    assert_eq!((standing.standing.as_str(), standing.process), ("silent", Some(process)));
    stack.until("a-redis", "healthy");
    stack.done(&["doctor"]);

    signal(process, "KILL");
    stack.until("a-redis", "down");
    says(&stack.run(&["doctor"]).out, "a-redis", &["MISSING", "nobody listens there", "its last log is "]);
    stack.done(&["stack", "up", "--region", "a", "--only", "redis"]);
    stack.done(&["doctor"]);
}

#[test]
fn a_stranger_and_an_address_that_leads_nowhere_are_told_apart() {
    let Some((stack, _alone)) = Stack::fresh("a_stranger_and_an_address_that_leads_nowhere") else { return };
    // It speaks HTTP, which is no Redis.
    let stranger = without_buckets().replace("http://", "redis://");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stack = stack
        .given("a-redis", &stranger)
        .given("a-kafka", "nowhere.invalid:9092")
        .given("witness", &format!("http://{free}"));
    let told = stack.run(&["doctor", "--region", "a", "--only", "redis,kafka,witness"]);
    says(
        &told.out,
        "a-redis",
        &["answers as no such service does", &format!("the service that {} names", variable("a-redis"))],
    );
    says(&told.out, "a-kafka", &["leads nowhere", "nowhere.invalid:9092", &variable("a-kafka")]);
    says(&told.out, "witness", &["nobody listens there", "correct the address, or unset it for a local one"]);
}

/// A bucket is not made by who uses it: that it is missing is said here, before a relay refuses to start.
#[test]
fn a_bucket_that_is_missing_is_said() {
    let Some((stack, _alone)) = Stack::fresh("a_bucket_that_is_missing_is_said") else { return };
    let stack = stack.given("aws", &without_buckets());
    let told = stack.run(&["doctor", "--only", "aws"]);
    assert!(!told.succeeded && told.said.contains("1 of 1 services are missing or lack something"), "{}", told.said);
    says(&told.out, "aws", &["INCOMPLETE", "asked it for the bucket selvedge-a; it is not there"]);
    says(&told.out, "aws", &["start: aws s3 mb s3://selvedge-a --endpoint-url http://127", "meanwhile: "]);
}

/// The address of an S3 that has nothing, for as long as this program runs.
fn without_buckets() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            // Whoever hangs up before the answer wanted none.
            let _ = connection.read(&mut [0; 1024]);
            let _ = connection.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    format!("http://{address}")
}
