//! `cargo xtask stack`: up, down, status, env.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use crate::chore::{Stack, Told, lives, signal, variable};

/// Cheap ones, of every kind of process: one that forks, a virtual machine, a plain one.
const SOME: &[&str] = &["--region", "a", "--only", "postgres,witness,redis"];

fn some<'a>(verb: &[&'a str]) -> Vec<&'a str> {
    [&["stack"], verb, SOME].concat()
}

/// The services that were started anew.
fn started(told: &Told) -> Vec<&str> {
    told.said.lines().filter(|line| line.contains(": answers at ")).collect()
}

#[test]
fn up_again_leaves_everything_as_it_is() {
    let Some((stack, _alone)) = Stack::running("up_again_leaves_everything_as_it_is") else { return };
    let before = stack.status();
    assert_eq!(before.len(), 10, "{before:?}");
    assert!(before.values().all(|found| found.standing == "healthy"), "{before:?}");
    let told = stack.done(&["stack", "up"]);
    assert_eq!(started(&told), Vec::<&str>::new(), "nothing is started");
    assert!(!told.said.contains("without an index"), "{}", told.said);
    assert_eq!(stack.status(), before, "every process is the same");
    for service in before.keys() {
        assert!(told.out.contains(&format!("export {}=", variable(service))), "{service}: {}", told.out);
    }
    assert_eq!(stack.done(&["stack", "env"]).out, told.out, "up prints what env prints");
}

#[test]
fn one_that_was_killed_is_started_and_the_others_go_on() {
    let Some((stack, _alone)) = Stack::running("one_that_was_killed_is_started") else { return };
    let before = stack.status();
    signal(stack.process("b-redis"), "KILL");
    stack.until("b-redis", "down");
    let told = stack.done(&["stack", "up"]);
    let started = started(&told);
    assert!(started.len() == 1 && started[0].contains("b-redis"), "{started:?}");
    let mut after = stack.status();
    assert_ne!(after.remove("b-redis"), before.get("b-redis").cloned());
    assert!(after.iter().all(|(service, found)| before[service] == *found), "{before:?} {after:?}");
}

#[test]
fn after_a_half_dead_run_everything_is_started_and_no_stranger_is_touched() {
    let Some((stack, _alone)) = Stack::fresh("after_a_half_dead_run") else { return };
    stack.done(&some(&["up"]));
    let [postgres, witness, redis] = ["a-postgres", "witness", "a-redis"].map(|service| stack.process(service));
    // Killed with its sessions; halted; gone, and its number is somebody else's now.
    signal(postgres, "KILL");
    signal(witness, "STOP");
    signal(redis, "KILL");
    stack.until("a-redis", "down");
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    fs::write(stack.pid_file("a-redis"), format!("{} 1\n", stranger.id())).unwrap();
    stack.until("a-postgres", "down");
    stack.until("witness", "silent");

    let told = stack.done(&some(&["up"]));
    assert_eq!(started(&told).len(), 3, "{}", told.said);
    assert!(
        told.said.contains(&format!("witness: process {witness} of an earlier run does not answer")),
        "{}",
        told.said
    );
    for service in ["a-postgres", "witness", "a-redis"] {
        assert!(![postgres, witness, redis].contains(&stack.process(service)), "{service} is another process");
    }
    assert!(!lives(witness), "the halted one is not left behind");
    assert_eq!(stranger.try_wait().unwrap(), None, "the stranger goes on");

    // Ended, some of them dead already: nothing of it is left, and nobody else is ended.
    let left: Vec<u64> = ["a-postgres", "witness", "a-redis"].map(|service| stack.process(service)).into();
    signal(left[2], "KILL");
    stack.done(&some(&["down"]));
    assert!(left.iter().all(|process| !lives(*process)), "{left:?}");
    for service in ["a-postgres", "witness", "a-redis"] {
        assert!(!stack.pid_file(service).exists(), "{service} left its pid file");
        assert_eq!(stack.status()[service].standing, "down");
    }
    stack.done(&some(&["down"]));
    // What it kept is there until it is to go, too.
    assert!(stack.folder().join("a-postgres/data/PG_VERSION").is_file());
    stack.done(&["stack", "down", "--wipe"]);
    assert!(!stack.folder().exists(), "nothing is left of the stack");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_port_that_a_stranger_has_is_named_with_what_to_do() {
    let Some((stack, _alone)) = Stack::fresh("a_port_that_a_stranger_has") else { return };
    let port = stack.base() + 14;
    let stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let told = stack.run(&["stack", "up", "--region", "a", "--only", "redis"]);
    assert!(!told.succeeded);
    for part in ["a-redis: ", &format!("port {port} is taken"), "--ports BASE", &variable("a-redis")] {
        assert!(told.said.contains(part), "{part:?} is missing in: {}", told.said);
    }
    assert_eq!(stack.status()["a-redis"].standing, "down");
    drop(stranger);
    stack.done(&["stack", "up", "--region", "a", "--only", "redis"]);
    stack.process("a-redis");
}

#[test]
fn an_address_that_is_given_is_used_and_nothing_started() {
    const TEST: &str = "an_address_that_is_given_is_used";
    let Some((stack, _alone)) = Stack::fresh(TEST) else { return };
    let address = std::env::var(variable("a-redis")).unwrap();
    let stack = stack.given("a-redis", &address);
    let told = stack.done(&["stack", "up", "--region", "a", "--only", "redis"]);
    assert!(told.said.contains(&format!("{} names {address}, which is used", variable("a-redis"))), "{}", told.said);
    assert!(told.out.contains(&format!("export {}='{address}'", variable("a-redis"))), "{}", told.out);
    assert_eq!(started(&told), Vec::<&str>::new());
    assert!(!stack.pid_file("a-redis").exists());
    assert!(TcpListener::bind(("127.0.0.1", stack.base() + 14)).is_ok(), "nobody listens where it would");
    let found = stack.status()["a-redis"].clone();
    assert_eq!((found.standing.as_str(), found.process), ("given", None));
    stack.done(&["doctor", "--region", "a", "--only", "redis"]);
    stack.done(&["stack", "down", "--region", "a", "--only", "redis"]);
}
