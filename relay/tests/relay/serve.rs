//! The binary: one line when ready, one owner of the folder, drains when told, mistakes named.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::harness::http::ask;
use crate::harness::process::{Process, free_port, relay};
use crate::harness::raw::Raw;
use crate::harness::{Peer, Relay};
use selvedge_protocol::{CloseCode, ServerMessage};
use sqlx::Connection;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

async fn output(arguments: &[&str]) -> Output {
    let run = relay(arguments).output();
    tokio::time::timeout(Duration::from_secs(60), run).await.expect("it did not end").unwrap()
}

async fn refused(arguments: &[&str], parts: &[&str]) {
    let output = output(arguments).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{arguments:?} was accepted");
    for part in parts {
        assert!(said.contains(part), "{arguments:?}: {part:?} is missing in {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_sends_clients_away_and_exits_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(&folder.path().join("data"), free_port(), &["--drain-ms", "4000"]).await;
    let address = process.address();
    let url = format!("ws://{address}/v1/connect");
    let ada = Peer::start(&url, 1);
    let a = ada.open("drained", 11).await;
    ada.edit(a, 0, 0, "kept").await;
    ada.wait_saved(a).await;
    let mut stubborn = Raw::hello(&url, "stubborn").await;
    let began = Instant::now();
    process.signal("TERM");
    stubborn.expect(|message| matches!(message, ServerMessage::Drain(drain) if drain.after_ms > 0)).await;
    assert_eq!(ask(address, "GET", "/readyz", &[], b"").await.status, 503);
    assert_eq!(stubborn.closed().await, CloseCode::DRAINING);
    assert_eq!(process.exit().await, 0);
    assert!(began.elapsed() < Duration::from_secs(10));
    let process = Process::start(&folder.path().join("data"), free_port(), &[]).await;
    let text = ask(process.address(), "GET", "/v1/docs/default/drained/text", &[], b"").await;
    assert_eq!(text.text(), "kept");
}

/// Where a relay listens that nobody tells where to.
const USUAL: &str = "127.0.0.1:4400";

#[tokio::test(flavor = "multi_thread")]
async fn without_a_flag_it_serves_and_prints_one_line() {
    if std::net::TcpListener::bind(USUAL).is_err() {
        eprintln!("skipped: without_a_flag_it_serves_and_prints_one_line (somebody listens on {USUAL})");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = relay(&["serve"]);
    for home in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
        command.env(home, folder.path());
    }
    let mut child = command.current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    tokio::time::timeout(Duration::from_secs(60), out.read_line(&mut line)).await.expect("it becomes ready").unwrap();
    assert_eq!(line, format!("http://{USUAL}/\n"));
    let address = USUAL.parse().unwrap();
    assert_eq!(ask(address, "POST", "/v1/docs", &[], br#"{"id":"notes"}"#).await.status, 201);
    let id = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let mut rest = String::new();
    tokio::time::timeout(Duration::from_secs(60), out.read_to_string(&mut rest)).await.expect("it ends").unwrap();
    assert_eq!(rest, "", "one line and no more");
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn told_twice_it_leaves_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(&folder.path().join("data"), free_port(), &[]).await;
    let url = format!("ws://{}/v1/connect", process.address());
    let mut stubborn = Raw::hello(&url, "stubborn").await;
    let began = Instant::now();
    process.signal("TERM");
    stubborn.expect(|message| matches!(message, ServerMessage::Drain(_))).await;
    process.signal("TERM");
    assert_eq!(process.exit().await, 1);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_has_one_owner_and_can_be_copied_hot() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::start(&data, free_port(), &[]).await;
    let url = format!("ws://{}/v1/connect", process.address());
    let data = data.to_str().unwrap();
    let free = free_port().to_string();
    let second = ["serve", "--data", data, "--listen", &free, "--admin", "127.0.0.1:0"];
    refused(&second, &["--data", data, "in use"]).await;
    let ada = Peer::start(&url, 1);
    let a = ada.open("copied", 11).await;
    ada.edit(a, 0, 0, "before the copy").await;
    ada.wait_saved(a).await;
    let copy = folder.path().join("copy.db");
    let copied = output(&["backup", copy.to_str().unwrap(), "--data", data]).await;
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    refused(&["backup", copy.to_str().unwrap(), "--data", data], &["copy.db"]).await;
    ada.edit(a, 0, 0, "after, not ").await;
    ada.wait_saved(a).await;
    process.kill().await;
    let restored = folder.path().join("restored");
    std::fs::create_dir(&restored).unwrap();
    std::fs::copy(&copy, restored.join("selvedge.db")).unwrap();
    let process = Process::start(&restored, free_port(), &["--restored"]).await;
    let text = ask(process.address(), "GET", "/v1/docs/default/copied/text", &[], b"").await;
    assert_eq!(text.text(), "before the copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_folder_refuses_until_told_and_then_takes_back_what_it_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy.db"));
    let address = free_port();
    let url = format!("ws://{address}/v1/connect");
    let process = Process::start(&data, address, &[]).await;
    let (ada, ben) = (Peer::start(&url, 1), Peer::start(&url, 2));
    let (a, b) = (ada.open("rolled", 11).await, ben.open("rolled", 22).await);
    ada.edit(a, 0, 0, "one ").await;
    ben.wait_text(b, "one ").await;
    ada.wait_saved(a).await;
    let arguments = ["backup", copy.to_str().unwrap(), "--data", data.to_str().unwrap()];
    assert!(output(&arguments).await.status.success());
    ada.edit(a, 4, 0, "two ").await;
    ben.wait_text(b, "one two ").await;
    ben.edit(b, 0, 4, "").await;
    ada.wait_text(a, "two ").await;
    ben.wait_saved(b).await;
    ada.wait_saved(a).await;
    process.kill().await;
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    std::fs::copy(&copy, data.join("selvedge.db")).unwrap();
    let process = Process::start(&data, address, &[]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let text = ask(address, "GET", "/v1/docs/default/rolled/text", &[], b"").await;
    assert_eq!(text.text(), "one ", "nothing is taken before the operator said so");
    assert_eq!((ada.text(a).await, ben.text(b).await), ("two ".to_owned(), "two ".to_owned()));
    process.kill().await;
    let process = Process::start(&data, address, &["--restored"]).await;
    let began = Instant::now();
    loop {
        let text = ask(process.address(), "GET", "/v1/docs/default/rolled/text", &[], b"").await;
        if text.text() == "two " {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the text is {:?}", text.text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let eve = Peer::start(&url, 3);
    let e = eve.open("rolled", 33).await;
    eve.wait_text(e, "two ").await;
    eve.edit(e, 4, 0, "three").await;
    ada.wait_text(a, "two three").await;
    ben.wait_text(b, "two three").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_name_the_flag_the_value_and_the_fix() {
    refused(&["serve", "--listen", "0.0.0.0:4400"], &["--listen", "0.0.0.0:4400", "fix:"]).await;
    refused(&["serve", "--web", "/nowhere"], &["--web", "/nowhere", "fix:"]).await;
    refused(&["serve", "--hello-ms", "soon"], &["--hello-ms", "soon"]).await;
    refused(&["serve", "--nonsense"], &["--nonsense"]).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&["serve", "--listen", &address, "--admin", "127.0.0.1:0"], &["--listen", &address, "fix:"]).await;
    let printed = output(&["config", "print", "--hello-ms", "1234"]).await;
    let said = String::from_utf8(printed.stdout).unwrap();
    assert!(said.contains("hello-ms = \"1234\" # flag"), "{said}");
    assert!(said.contains("listen = \"127.0.0.1:4400\" # default"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_times_opened_and_closed_nothing_is_left() {
    let relay = Relay::start_with(|config| {
        config.room.idle_unload_ms = 5;
        config.limits.outbound_bytes_max = 4 * 1024 * 1024;
    })
    .await;
    let mut raw = Raw::hello(&relay.socket(), "opener").await;
    let mut channel = 0;
    for _ in 0..200 {
        let begin = channel + 1;
        for n in 0..50 {
            channel += 1;
            raw.send(selvedge_protocol::Channel(channel), crate::harness::raw::open(&format!("leak{n}"))).await;
        }
        for _ in 0..50 {
            raw.expect(|message| matches!(message, ServerMessage::OpenOk(_))).await;
        }
        for channel in begin..=channel {
            raw.send(selvedge_protocol::Channel(channel), selvedge_protocol::message::Bye::default()).await;
        }
    }
    let began = Instant::now();
    while relay.running.rooms() > 0 || relay.running.room_tasks() > 0 {
        let left = (relay.running.rooms(), relay.running.room_tasks());
        assert!(began.elapsed() < Duration::from_secs(20), "{left:?} rooms and tasks are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(raw);
    while relay.running.connections() > 0 {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(relay.running.drain().await);
}

/// Another process holds the write lock of the log: appends are refused, and taken again when it lets go.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_says_when_the_log_takes_no_appends_and_when_it_does_again() {
    let relay = Relay::start().await;
    let ada = Peer::start(&relay.socket(), 1);
    let a = ada.open("blocked", 11).await;
    ada.edit(a, 0, 0, "before ").await;
    ada.wait_saved(a).await;
    let ready = async || ask(relay.running.admin, "GET", "/readyz", &[], b"").await;
    assert_eq!(ready().await.status, 200);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(relay.folder.path().join("data/selvedge.db"));
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    ada.edit(a, 7, 0, "after").await;
    let mut answer = ready().await;
    let began = Instant::now();
    while answer.status == 200 {
        assert!(began.elapsed() < Duration::from_secs(60), "it stayed ready");
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer = ready().await;
    }
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("the log takes no appends"), "{}", answer.text());
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    ada.wait_saved(a).await;
    assert_eq!(ready().await.status, 200);
}
