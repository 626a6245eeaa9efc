//! How relay and replicator start where something is wrong: with a message of flag, value and fix, or with a warning.

use std::path::Path;

use selvedge_tests::fleet::{Program, Spec, program};
use tokio::process::Command;

/// Nobody listens on the discard port.
const NOBODY: &str = "http://127.0.0.1:9";

/// Region A's services as settings, under a prefix of their own, with others in place of some; `None`, said by name: there are none.
fn settings(test: &str, others: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    let named = |name: &str| {
        let variable = format!("SELVEDGE_STACK_{name}");
        let value = std::env::var(&variable).ok().filter(|value| !value.is_empty());
        if value.is_none() {
            eprintln!("skipped: {test} ({variable} names no service; `cargo xtask stack up` starts one)");
        }
        value
    };
    let own = [
        ("KAFKA", named("A_KAFKA")?),
        ("POSTGRES", named("A_POSTGRES")?),
        ("REDIS", named("A_REDIS")?),
        ("DYNAMODB", named("A_DYNAMODB")?),
        ("S3", named("AWS")?),
        ("S3_BUCKET", named("A_BUCKET")?),
        ("KAFKA_PARTITIONS", "4".to_owned()),
        ("KAFKA_REPLICAS", "1".to_owned()),
        ("PREFIX", format!("start-{:08x}-", rand::random::<u32>())),
        ("REGION", "a".to_owned()),
    ];
    let mut all: Vec<(String, String)> =
        own.into_iter().map(|(name, value)| (format!("SELVEDGE_{name}"), value)).collect();
    for (name, value) in others {
        let name = format!("SELVEDGE_{name}");
        all.retain(|(own, _)| *own != name);
        all.push((name, (*value).to_owned()));
    }
    Some(all)
}

/// Both programs, with what they are started by.
fn both(folder: &Path) -> [(&'static str, Vec<String>); 2] {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let data = folder.join("data").display().to_string();
    [
        ("selvedge-relay", words(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", &data])),
        ("selvedge-replicator", words(&["run", "--admin", "127.0.0.1:0"])),
    ]
}

/// What a program says that does not start, and how it ends.
async fn refusal(name: &str, arguments: &[String], settings: &[(String, String)]) -> (Option<i32>, String) {
    let mut command = Command::new(program(name).unwrap());
    command.args(arguments).envs(settings.iter().cloned()).env("RUST_BACKTRACE", "0").kill_on_drop(true);
    let output = command.output().await.unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_starts_on_a_bucket_that_is_not_there() {
    const TEST: &str = "nobody_starts_on_a_bucket_that_is_not_there";
    let Some(settings) = settings(TEST, &[("S3_BUCKET", "selvedge-nowhere")]) else { return };
    let place = &settings.iter().find(|(name, _)| name == "SELVEDGE_S3").unwrap().1;
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in both(folder.path()) {
        let (code, said) = refusal(name, &arguments, &settings).await;
        assert_eq!(code, Some(1), "{name}: {said}");
        let value = format!("--s3-bucket selvedge-nowhere at {place}: the bucket cannot be used");
        for part in [value.as_str(), "fix: make the bucket there", "s3:PutObject", "there is no such bucket"] {
            assert!(said.contains(part), "{name}: {part:?} is missing in: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_start_while_s3_is_away_and_say_what_waits() {
    let Some(settings) = settings("both_start_while_s3_is_away", &[("S3", NOBODY)]) else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in both(folder.path()) {
        let log = folder.path().join(format!("{name}.log"));
        let spec = Spec {
            name: name.to_owned(),
            program: name,
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: settings.clone(),
            log: log.clone(),
        };
        let mut program = Program::new(spec);
        program.start().await.unwrap();
        program.stop().await.unwrap();
        let said = std::fs::read_to_string(log).unwrap();
        let warned = said.lines().find(|line| line.contains("S3 does not answer")).expect("it warns").to_owned();
        for part in ["WARN", NOBODY, "large snapshots and assets wait", "everything else goes on"] {
            assert!(warned.contains(part), "{name}: {part:?} is missing in: {warned}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_nothing_could_work_with_is_refused_before_a_service_is_asked() {
    let nowhere = [
        ("SELVEDGE_KAFKA", "127.0.0.1:9"),
        ("SELVEDGE_POSTGRES", "postgres://selvedge@127.0.0.1:9/selvedge"),
        ("SELVEDGE_REDIS", "redis://127.0.0.1:9"),
        ("SELVEDGE_DYNAMODB", NOBODY),
        ("SELVEDGE_S3", NOBODY),
        ("SELVEDGE_S3_BUCKET", "selvedge-nowhere"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let folder = tempfile::tempdir().unwrap();
    let [(relay, serve), (replicator, run)] = both(folder.path());
    let cases = [
        (relay, &serve, "--frames-per-second", "0"),
        (relay, &serve, "--unauthenticated-percent", "0"),
        (replicator, &run, "--writes", "0"),
        (replicator, &run, "--snapshots-kept", "0"),
        (replicator, &run, "--cleanup-ms", "99"),
    ];
    for (name, arguments, flag, value) in cases {
        let arguments = [&arguments[..], &[flag.to_owned(), value.to_owned()]].concat();
        let (code, said) = refusal(name, &arguments, &nowhere).await;
        assert_eq!(code, Some(2), "{name}: {said}");
        for part in [format!("{flag} {value}: is out of range"), "fix: give a number from".to_owned()] {
            assert!(said.contains(&part), "{name}: {part:?} is missing in: {said}");
        }
    }
}
