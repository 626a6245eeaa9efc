//! Documents over HTTP, beside clients that have them open.

use std::time::Duration;

use crate::harness::http::{Answer, ask};
use crate::harness::{Peer, Relay};
use serde_json::json;

async fn get(relay: &Relay, path: &str) -> Answer {
    ask(relay.running.address, "GET", path, &[], b"").await
}

async fn create(relay: &Relay, id: &str, text: Option<&str>) -> Answer {
    let body = json!({ "id": id, "text": text }).to_string();
    ask(relay.running.address, "POST", "/v1/docs", &[], body.as_bytes()).await
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let error = &answer.json()["error"];
    assert_eq!(error["code"], code);
    assert!(error["message"].as_str().unwrap().ends_with(['.', ':']), "{error}");
    assert!(error["retryable"].is_boolean() && error["requestId"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_made_with_its_text_exactly_once() {
    let relay = Relay::start().await;
    let answer = create(&relay, "plan", Some("line one\nline two\n")).await;
    assert_eq!((answer.status, answer.json()["created"].clone()), (201, json!(true)), "{}", answer.text());
    let again = create(&relay, "plan", Some("line one\nline two\n")).await;
    assert_eq!((again.status, again.json()["created"].clone()), (200, json!(false)));
    refused(&create(&relay, "plan", Some("another")).await, 409, "doc_exists");
    refused(&create(&relay, "plan", None).await, 409, "doc_exists");
    let text = get(&relay, "/v1/docs/default/plan/text").await;
    assert_eq!(text.text(), "line one\nline two\n");
    let long = "0123456789abcdef\n".repeat(20_000);
    assert_eq!(create(&relay, "acme/long", Some(&long)).await.status, 201);
    assert_eq!(get(&relay, "/v1/docs/acme/long/text").await.text(), long);
    let listed = get(&relay, "/v1/docs?prefix=pl").await.json();
    assert_eq!(listed["documents"][0]["id"], "default/plan");
    let stats = get(&relay, "/v1/docs/default/plan").await.json();
    assert_eq!((stats["bytes"].as_u64(), stats["generation"].as_u64()), (Some(18), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_replaced_by_what_differs_and_clients_see_it() {
    let relay = Relay::start().await;
    create(&relay, "shared", Some("alpha\nbeta\ngamma\n")).await;
    let ada = Peer::start(&relay.socket(), 1);
    let a = ada.open("shared", 11).await;
    ada.wait_text(a, "alpha\nbeta\ngamma\n").await;
    let before = get(&relay, "/v1/docs/default/shared/text").await;
    let tag = before.field("etag").unwrap();
    let path = "/v1/docs/default/shared/text";
    let fields = [("If-Match", tag.as_str()), ("Selvedge-Author", "bot")];
    let put = ask(relay.running.address, "PUT", path, &fields, b"alpha\nBETA\ngamma\ndelta\n").await;
    assert_eq!((put.status, put.json()["edits"].as_u64()), (200, Some(2)), "{}", put.text());
    ada.wait_text(a, "alpha\nBETA\ngamma\ndelta\n").await;
    let stale = ask(relay.running.address, "PUT", path, &fields, b"lost").await;
    refused(&stale, 412, "version_mismatch");
    ada.edit(a, 0, 0, "zero\n").await;
    ada.wait_saved(a).await;
    let edits = json!([{ "at": 0, "delete": 4, "insert": "nil" }, { "at": 3, "insert": "!" }]).to_string();
    let path = "/v1/docs/default/shared/edits?wait=region";
    let edited = ask(relay.running.address, "POST", path, &[], edits.as_bytes()).await;
    assert_eq!((edited.status, edited.json()["ack"].clone()), (200, json!("region")), "{}", edited.text());
    ada.wait_text(a, "nil!\nalpha\nBETA\ngamma\ndelta\n").await;
    for n in 0..20 {
        let edits = json!([{ "at": 0, "insert": format!("{n},") }]).to_string();
        assert_eq!(ask(relay.running.address, "POST", path, &[], edits.as_bytes()).await.status, 200);
    }
    let stats = get(&relay, "/v1/docs/default/shared").await.json();
    assert!(stats["sites"].as_u64().unwrap() <= 5, "a server-side author's site is leased again: {stats}");
    let same = ask(relay.running.address, "GET", "/v1/docs/default/shared/text", &[], b"").await;
    let tag = same.field("etag").unwrap();
    let fields = [("If-None-Match", tag.as_str())];
    let unchanged = ask(relay.running.address, "GET", "/v1/docs/default/shared/text", &fields, b"").await;
    assert_eq!(unchanged.status, 304);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_read_as_it_was() {
    let relay = Relay::start().await;
    create(&relay, "diary", Some("monday\n")).await;
    let mut versions = Vec::new();
    for text in ["monday\ntuesday\n", "tuesday, rain\n", ""] {
        let stats = get(&relay, "/v1/docs/default/diary").await.json();
        versions.push(stats["vector"].as_str().unwrap().to_owned());
        let put = ask(relay.running.address, "PUT", "/v1/docs/default/diary/text", &[], text.as_bytes()).await;
        assert_eq!(put.status, 200, "{}", put.text());
    }
    for (version, text) in versions.iter().zip(["monday\n", "monday\ntuesday\n", "tuesday, rain\n"]) {
        let path = format!("/v1/docs/default/diary/text?at={version}");
        // The newest may not have come from the log to the history yet.
        let mut answer = get(&relay, &path).await;
        for _ in 0..200 {
            if answer.status != 404 {
                break;
            }
            refused(&answer, 404, "version_not_found");
            tokio::time::sleep(Duration::from_millis(50)).await;
            answer = get(&relay, &path).await;
        }
        assert_eq!((answer.status, answer.text().as_str()), (200, text));
    }
    assert_eq!(get(&relay, "/v1/docs/default/diary/text").await.text(), "");
    let nothing = get(&relay, "/v1/docs/default/diary/text?at=AA").await;
    assert_eq!((nothing.status, nothing.text().as_str()), (200, ""), "before anybody wrote");
    create(&relay, "other", Some("of another site")).await;
    let strange = get(&relay, "/v1/docs/default/other").await.json()["vector"].as_str().unwrap().to_owned();
    refused(&get(&relay, &format!("/v1/docs/default/diary/text?at={strange}")).await, 404, "version_not_found");
    refused(&get(&relay, "/v1/docs/default/diary/text?at=no!").await, 400, "bad_version");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_documents_are_gone_for_everybody() {
    let relay = Relay::start().await;
    create(&relay, "doomed", Some("text")).await;
    let ada = Peer::start(&relay.socket(), 1);
    let a = ada.open("doomed", 11).await;
    ada.wait_text(a, "text").await;
    let deleted = ask(relay.running.address, "DELETE", "/v1/docs/default/doomed", &[], b"").await;
    assert_eq!(deleted.status, 204);
    ada.wait(move |client| client.status(a).is_none_or(|status| status.name() == "closed")).await;
    refused(&get(&relay, "/v1/docs/default/doomed/text").await, 410, "doc_deleted");
    assert_eq!(get(&relay, "/v1/docs").await.json()["documents"].as_array().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_made_again_opens_at_once() {
    let relay = Relay::start().await;
    for round in 0..3 {
        let text = format!("text {round}");
        create(&relay, "again", Some(&text)).await;
        let ada = Peer::start(&relay.socket(), 100 + round);
        let a = ada.open("again", 11 + round).await;
        ada.wait_text(a, &text).await;
        let deleted = ask(relay.running.address, "DELETE", "/v1/docs/default/again", &[], b"").await;
        assert_eq!(deleted.status, 204);
        ada.wait(move |client| client.status(a).is_none_or(|status| status.name() == "closed")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_one_shape() {
    let relay = Relay::start_with(|config| config.listen.http_body_bytes_max = 10_000).await;
    let address = relay.running.address;
    refused(&get(&relay, "/v1/docs/default/nowhere/text").await, 404, "doc_not_found");
    refused(&get(&relay, "/v1/docs/default/nowhere").await, 404, "doc_not_found");
    refused(&get(&relay, "/v1/nonsense").await, 404, "not_found");
    refused(&get(&relay, "/v1/docs/bad%20tenant/x/text").await, 400, "bad_id");
    refused(&ask(address, "PATCH", "/v1/docs", &[], b"").await, 405, "method_not_allowed");
    refused(&ask(address, "POST", "/v1/docs", &[], b"{nonsense").await, 400, "bad_json");
    refused(&ask(address, "POST", "/v1/docs", &[], br#"{"id":"a","unknown":1}"#).await, 400, "bad_json");
    refused(&ask(address, "POST", "/v1/docs", &[], &vec![b'x'; 20_000]).await, 413, "too_large");
    create(&relay, "edits", Some("abc")).await;
    let path = "/v1/docs/default/edits/edits";
    refused(&ask(address, "POST", path, &[], br#"[{"at":9,"insert":"x"}]"#).await, 400, "out_of_range");
    refused(&ask(address, "PUT", "/v1/docs/default/edits/text", &[], &[0xff]).await, 400, "bad_text");
    refused(&ask(address, "PUT", "/v1/docs/default/other/text", &[], b"x").await, 404, "doc_not_found");
    let foreign = [("Origin", "https://evil.example")];
    refused(&ask(address, "PUT", "/v1/docs/default/edits/text", &foreign, b"x").await, 403, "forbidden");
    let rebound = [("Host", "evil.example")];
    refused(&ask(address, "GET", "/v1/docs/default/edits/text", &rebound, b"").await, 403, "forbidden");
    assert_eq!(get(&relay, "/v1/docs/default/edits/text").await.text(), "abc");
    let probe = get(&relay, "/v1/probe").await;
    assert_eq!(probe.status, 204);
    let relays = get(&relay, "/v1/relays").await.json();
    assert!(relays["relays"][0]["url"].as_str().unwrap().starts_with("ws://127.0.0.1:"));
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(&relay, path).await.status, 200);
        assert_eq!(ask(relay.running.admin, "GET", path, &[], b"").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_served_with_its_types_and_guards() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("assets")).unwrap();
    std::fs::write(folder.path().join("index.html"), "<!doctype html>page").unwrap();
    std::fs::write(folder.path().join("assets/engine-1a2b.wasm"), b"\0asm").unwrap();
    std::fs::write(folder.path().join("assets/app-3c4d.js"), "1").unwrap();
    let web = folder.path().to_owned();
    let relay = Relay::start_with(move |config| config.listen.web = Some(web)).await;
    let page = get(&relay, "/").await;
    assert_eq!((page.status, page.text().as_str()), (200, "<!doctype html>page"));
    assert!(page.field("content-security-policy").unwrap().contains("'wasm-unsafe-eval'"));
    assert_eq!(page.field("x-content-type-options").unwrap(), "nosniff");
    assert_eq!(page.field("cache-control").unwrap(), "no-cache");
    let wasm = get(&relay, "/assets/engine-1a2b.wasm").await;
    assert_eq!(wasm.field("content-type").unwrap(), "application/wasm");
    assert!(wasm.field("cache-control").unwrap().contains("immutable"));
    assert!(get(&relay, "/assets/app-3c4d.js").await.field("content-type").unwrap().starts_with("text/javascript"));
    let inside = get(&relay, "/some/place/in/the/app").await;
    assert_eq!((inside.status, inside.text().as_str()), (200, "<!doctype html>page"));
    assert_eq!(get(&relay, "/assets/missing.js").await.status, 404);
    assert_eq!(get(&relay, "/../../etc/passwd").await.status, 200, "outside of the folder there is only the page");
}
