//! The native client against a real relay: edits, offline, reconnects, refusals, close codes, TLS.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Relay, TlsDoor, open, within};
use selvedge_client::{AckLevel, ClientOptions, CloseCode, Doc, Error, FileStore, Handle, OpenOptions, Status, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn saved(doc: &Doc) {
    within("saved", doc.when_saved(AckLevel::Region)).await.unwrap();
}

async fn text(doc: &Doc, expected: &str) {
    within(expected, doc.when_text(|text| text == expected)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_edit_one_text() {
    let relay = Relay::start().await;
    let (ada, ben) = (relay.connect(), relay.connect());
    let (a, b) = (open(&ada, "shared").await, open(&ben, "shared").await);
    within("synced", a.when_synced()).await.unwrap();
    a.replace(0, 0, "Hello, world").unwrap();
    text(&b, "Hello, world").await;
    b.replace(5, 7, "!").unwrap();
    text(&a, "Hello!").await;
    b.undo().unwrap();
    text(&a, "Hello, world").await;
    a.set_meta("title", Some(b"Greetings")).unwrap();
    saved(&a).await;
    let titled = async {
        while b.with_document(|document| document.meta_value("title").is_none()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the title", titled).await;
    a.close().await.unwrap();
    ada.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_offline_outlives_the_process_and_is_sent_by_the_next_one() {
    let relay = Relay::start().await;
    let folder = tempfile::tempdir().unwrap();
    let files = || FileStore::open(folder.path()).unwrap();
    let options = |store: FileStore| {
        let principal = Some(store.principal().unwrap());
        let open = OpenOptions { store: Some(Arc::new(store) as Arc<dyn Store>), ..OpenOptions::default() };
        (ClientOptions { principal, offline: true, ..ClientOptions::default() }, open)
    };
    let (client, opening) = options(files());
    let ada = Handle::connect(&relay.url(), client).unwrap();
    let a = ada.open("travel", opening).await.unwrap();
    a.replace(0, 0, "written on the train").unwrap();
    within("stored", a.when_saved(AckLevel::Device)).await.unwrap();
    a.close().await.unwrap();
    ada.close().await;

    let (client, opening) = options(files());
    let ada = Handle::connect(&relay.url(), client).unwrap();
    let a = ada.open("travel", opening).await.unwrap();
    assert_eq!((a.text().as_str(), a.status()), ("written on the train", Status::Offline));
    ada.go_online();
    saved(&a).await;
    let b = open(&relay.connect(), "travel").await;
    text(&b, "written on the train").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_restarts_is_found_again_and_nothing_is_lost() {
    let relay = Relay::start().await;
    let ada = relay.connect();
    let a = open(&ada, "kept").await;
    a.replace(0, 0, "before ").unwrap();
    saved(&a).await;
    let relay = relay.restart().await;
    a.replace(7, 0, "meanwhile ").unwrap();
    saved(&a).await;
    assert_eq!(a.status(), Status::Connected);
    let b = open(&relay.connect(), "kept").await;
    text(&b, "before meanwhile ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_over_its_quota_keeps_what_it_refused_and_takes_deletes() {
    let relay = Relay::start_with(|config| config.room.document_bytes_max = 100).await;
    let (ada, ben) = (relay.connect(), relay.connect());
    let (a, b) = (open(&ada, "full").await, open(&ben, "full").await);
    a.replace(0, 0, &"x".repeat(90)).unwrap();
    saved(&a).await;
    a.replace(90, 0, &"y".repeat(50)).unwrap();
    let refused = within("refused", a.when_saved(AckLevel::Region)).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { code: CloseCode::TOO_LARGE, .. }), "{refused}");
    assert_eq!(a.text().len(), 140, "what was written stays");
    let more = a.replace(0, 0, "z").unwrap_err();
    assert!(matches!(more, Error::Client(_)), "{more}");
    a.replace(0, 60, "").unwrap();
    text(&b, &"x".repeat(30)).await;
    // There is room now: what was refused is tried again by itself.
    text(&b, &("x".repeat(30) + &"y".repeat(50))).await;
    saved(&a).await;
    assert_eq!(a.status(), Status::Connected);
    a.replace(0, 0, "z").unwrap();
    saved(&a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_document_is_closed_with_its_code_and_can_still_be_read() {
    let relay = Relay::start().await;
    let ada = relay.connect();
    let a = open(&ada, "gone").await;
    a.replace(0, 0, "text").unwrap();
    saved(&a).await;
    let mut stream = TcpStream::connect(relay.running.address).await.unwrap();
    let request = format!(
        "DELETE /v1/docs/default/gone HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        relay.running.address
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let closed = within("closed", a.when_text(|_| false)).await.unwrap_err();
    assert!(matches!(closed, Error::Closed { code: CloseCode::DELETED, .. }), "{closed}");
    assert_eq!((a.text().as_str(), a.status()), ("text", Status::Closed));
    assert!(a.replace(0, 0, "x").is_err());
    let again = open(&ada, "other").await;
    again.replace(0, 0, "goes on").unwrap();
    saved(&again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_initial_texts_of_two_devices_are_one_text() {
    let relay = Relay::start().await;
    let device = |initial: &str| {
        let handle =
            Handle::connect(&relay.url(), ClientOptions { offline: true, ..ClientOptions::default() }).unwrap();
        let options = OpenOptions { initial_text: Some(initial.to_owned()), ..OpenOptions::default() };
        async move {
            let doc = handle.open("minutes", options).await.unwrap();
            (handle, doc)
        }
    };
    let ((ada, a), (ben, b)) = (device("Agenda:\n").await, device("Agenda:\n").await);
    assert_eq!((a.text().as_str(), b.text().as_str()), ("Agenda:\n", "Agenda:\n"));
    a.replace(8, 0, "- bread\n").unwrap();
    b.replace(0, 6, "Topics").unwrap();
    ada.go_online();
    ben.go_online();
    text(&a, "Topics:\n- bread\n").await;
    text(&b, "Topics:\n- bread\n").await;
    // Who comes with another beginning finds the document begun: its own is given up, what it wrote stays.
    let (cy, c) = device("Something else\n").await;
    c.replace(0, 0, "cy: ").unwrap();
    cy.go_online();
    saved(&c).await;
    // Cy and Ben wrote at the same place, before the first character of a beginning: either may be first, neither is torn.
    let both = ["cy: Topics:\n- bread\n", "Topicscy: :\n- bread\n"];
    within("both", c.when_text(|text| both.contains(&text))).await.unwrap();
    let expected = c.text();
    text(&a, &expected).await;
    let reader = open(&relay.connect(), "minutes").await;
    text(&reader, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_to_whom_an_authority_vouches_for() {
    let relay = Relay::start_with(|config| config.listen.allow_origin = vec!["*".to_owned()]).await;
    let door = TlsDoor::before(relay.running.address).await;
    let url = format!("https://localhost:{}", door.address.port());
    let trusting = ClientOptions { ca: Some(door.ca.clone()), ..ClientOptions::default() };
    let ada = Handle::connect(&url, trusting).unwrap();
    let a = open(&ada, "secret").await;
    a.replace(0, 0, "over TLS").unwrap();
    saved(&a).await;
    assert!(ada.link().unwrap().url.starts_with("wss://localhost:"));
    let b = open(&relay.connect(), "secret").await;
    text(&b, "over TLS").await;

    let wary = Handle::connect(&url, ClientOptions::default()).unwrap();
    let w = open(&wary, "secret").await;
    let synced = tokio::time::timeout(Duration::from_secs(2), w.when_synced()).await;
    assert!(synced.is_err() && wary.link().is_none(), "nobody vouches for this certificate");

    let error = Handle::connect(&url, ClientOptions { ca: Some("/nowhere.pem".into()), ..ClientOptions::default() });
    assert!(error.err().unwrap().to_string().contains("/nowhere.pem"));
}
