//! Relays on a region's services: several serve one document, and each of them keeps nothing.
//!
//! `cargo xtask test --only region` starts the services and runs this; by hand, `cargo xtask stack up` and the environment that
//! `cargo xtask stack env` prints. Without services named there the tests are skipped by name. Every test works under a prefix
//! of its own.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod bus;
mod cold;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../harness/issuer.rs"]
mod issuer;
mod parts;
mod revocation;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::http::ask;
use harness::raw::{Raw, hello};
use harness::{Peer, Relay};
use selvedge_protocol::message::Hello;
use selvedge_protocol::{
    AckLevel, Channel, ClientMessage, CloseCode, DocumentId, EndpointList, Features, ListKey, Position, ServerMessage,
    SignedList, relays_at,
};
use selvedge_region::regional::{Proxy, RegionalArgs, RegionalRegion, Way};
use selvedge_region::{BusMessage, REPLICATED_READER};
use selvedge_relay::{StartError, run};
use serde_json::{Value, json};

/// Region A's services under a prefix of their own, or the reason to skip.
fn services(test: &str) -> Option<RegionalArgs> {
    services_of('A', test)
}

/// A region's services under a prefix of their own, or the reason to skip.
fn services_of(region: char, test: &str) -> Option<RegionalArgs> {
    let named = |service: &str| {
        let variable = format!("SELVEDGE_STACK_{service}");
        let address = std::env::var(&variable).ok().filter(|address| !address.is_empty());
        if address.is_none() {
            eprintln!("skipped: {test} ({variable} names no service; `cargo xtask stack up` starts one)");
        }
        address
    };
    let own = |service: &str| named(&format!("{region}_{service}"));
    let bucket = std::env::var(format!("SELVEDGE_STACK_{region}_BUCKET"));
    Some(RegionalArgs {
        kafka: Some(own("KAFKA")?),
        kafka_partitions: 4,
        kafka_replicas: 1,
        kafka_timeout_ms: 3_000,
        postgres: vec![own("POSTGRES")?],
        postgres_connections: 4,
        redis: Some(own("REDIS")?),
        dynamodb: Some(own("DYNAMODB")?),
        s3: Some(named("AWS")?),
        s3_bucket: Some(bucket.unwrap_or_else(|_| format!("selvedge-{}", region.to_ascii_lowercase()))),
        prefix: format!("relay-{:08x}-", rand::random::<u32>()),
        ..RegionalArgs::default()
    })
}

async fn relay(services: &RegionalArgs, peer: Option<&str>) -> Relay {
    Relay::start_with(|config| {
        config.region = "a".to_owned();
        config.peer_region = peer.map(str::to_owned);
        config.services = services.clone();
    })
    .await
}

/// The region as the replicator has it.
async fn region(services: &RegionalArgs) -> RegionalRegion {
    RegionalRegion::open(services.options("a", "a").unwrap().unwrap()).await.unwrap()
}

fn host(address: &str) -> String {
    address.split_once("://").unwrap().1.to_owned()
}

async fn saved(peer: &Peer, channel: Channel, level: AckLevel) -> bool {
    peer.with(move |client, now| {
        let replica = client.replica(channel).unwrap();
        // Only what this deployment can reach counts; until it is known, nothing does.
        let saved = replica.saved(now);
        saved.highest >= level && saved.is_saved(level)
    })
    .await
}

async fn wait_saved(peer: &Peer, channel: Channel, level: AckLevel) {
    let began = Instant::now();
    while !saved(peer, channel, level).await {
        assert!(began.elapsed() < harness::PATIENCE, "it is not {level:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_serve_one_document_and_a_third_finds_it() {
    let Some(services) = services("two_relays_serve_one_document_and_a_third_finds_it") else { return };
    let (one, two) = (relay(&services, None).await, relay(&services, None).await);
    let (ada, ben) = (Peer::start(&one.socket(), 1), Peer::start(&two.socket(), 2));
    let (a, b) = (ada.open("shared", 11).await, ben.open("shared", 22).await);
    ada.edit(a, 0, 0, "hello").await;
    ben.wait_text(b, "hello").await;
    ben.edit(b, 5, 0, " world").await;
    ada.wait_text(a, "hello world").await;
    let mut expected = "hello world".to_owned();
    for number in 0..20 {
        let (peer, channel) = if number % 2 == 0 { (&ada, a) } else { (&ben, b) };
        peer.wait_text(channel, &expected).await;
        let word = format!(" {number}");
        peer.edit(channel, expected.len(), 0, &word).await;
        expected.push_str(&word);
    }
    ada.wait_text(a, &expected).await;
    ben.wait_text(b, &expected).await;
    wait_saved(&ada, a, AckLevel::Region).await;
    wait_saved(&ben, b, AckLevel::Region).await;
    assert!(one.running.drain().await, "a relay leaves nothing behind");
    let three = relay(&services, None).await;
    let eve = Peer::start(&three.socket(), 3);
    let e = eve.open("shared", 33).await;
    eve.wait_text(e, &expected).await;
    eve.edit(e, 0, 0, "> ").await;
    ben.wait_text(b, &format!("> {expected}")).await;
    assert!(two.running.drain().await && three.running.drain().await);
}

/// A list of that epoch, under a signature that only clients would look at.
fn signed(epoch: u64, issue: u64) -> String {
    let key = ListKey::from_point(&[[4].as_slice(), &[7; 64]].concat()).unwrap();
    let endpoints = relays_at([("a", "wss://a.example"), ("b", "wss://b.example")]);
    let list = EndpointList { format: 1, epoch, issue, home: "a".to_owned(), endpoints };
    SignedList::join(&list.signing_input(&key), &[1; 64]).unwrap()
}

async fn told(raw: &mut Raw) -> String {
    match raw.expect(|message| matches!(message, ServerMessage::Endpoints(_))).await {
        (Channel::CONNECTION, ServerMessage::Endpoints(told)) => told.signed,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_signed_list_is_told_after_hello_and_whenever_there_is_a_newer_one() {
    let Some(services) = services("the_signed_list_is_told") else { return };
    let (relay, home) = (relay(&services, None).await, region(&services).await);
    let control = &home.region().control;
    control.publish_endpoints(0, &signed(0, 1)).await.unwrap();
    let verifies = ClientMessage::from(Hello {
        format: 1,
        versions: vec![1],
        features: Features::SIGNED_ENDPOINTS.0,
        client: "test".to_owned(),
        token: Some("anon:ada".to_owned()),
    });
    let mut early = Raw::connect(&relay.socket()).await;
    early.send(Channel::CONNECTION, verifies.clone()).await;
    assert_eq!(told(&mut early).await, signed(0, 1));
    let mut old = Raw::hello(&relay.socket(), "anon:ben").await;

    control.publish_endpoints(0, &signed(0, 2)).await.unwrap();
    assert_eq!(told(&mut early).await, signed(0, 2), "whoever is connected hears of it");
    let mut late = Raw::connect(&relay.socket()).await;
    late.send(Channel::CONNECTION, verifies).await;
    assert_eq!(told(&mut late).await, signed(0, 2));

    let rest = ask(relay.running.address, "GET", "/v1/endpoints", &[], b"").await.json();
    assert_eq!(rest["signed"], signed(0, 2));
    assert_eq!(
        (&rest["list"]["home"], &rest["list"]["epoch"], &rest["list"]["issue"]),
        (&json!("a"), &json!(0), &json!(2))
    );
    assert_eq!(rest["list"]["endpoints"][1]["region"], "b");
    assert!(rest["endpoints"][0]["addresses"].is_array(), "pages find this relay's own addresses as before");
    // Everything that was told before the pong has come.
    old.send(Channel::CONNECTION, selvedge_protocol::message::Ping { nonce: 5 }).await;
    let (_, answer) = old.expect(|_| true).await;
    assert!(matches!(answer, ServerMessage::Pong(_)), "who cannot verify a list is not told one: {answer:?}");
    home.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_bus_loses_is_read_from_the_log() {
    let Some(services) = services("what_the_bus_loses_is_read_from_the_log") else { return };
    let way = Proxy::to(host(services.redis.as_deref().unwrap())).await.unwrap();
    let deaf = RegionalArgs { redis: Some(format!("redis://{}", way.address())), ..services.clone() };
    let (one, two) = (relay(&services, None).await, relay(&deaf, None).await);
    let (ada, ben) = (Peer::start(&one.socket(), 1), Peer::start(&two.socket(), 2));
    let (a, b) = (ada.open("heard", 11).await, ben.open("heard", 22).await);
    ada.edit(a, 0, 0, "one").await;
    ben.wait_text(b, "one").await;
    way.set(Way::Cut);
    ada.edit(a, 3, 0, " two").await;
    ben.wait_text(b, "one two").await;
    // And the other way: what this relay cannot tell is found by the others.
    ben.edit(b, 7, 0, " three").await;
    wait_saved(&ben, b, AckLevel::Region).await;
    ada.wait_text(a, "one two three").await;
    way.set(Way::Open);
    ada.edit(a, 13, 0, " four").await;
    ben.wait_text(b, "one two three four").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_is_replicated_when_the_watermark_says_so() {
    let Some(services) = services("an_edit_is_replicated_when_the_watermark_says_so") else { return };
    let region = region(&services).await;
    let log = Arc::clone(&region.region().log);
    let document: DocumentId = "default/far".parse().unwrap();
    let partition = log.partition(&document);
    let one = relay(&services, Some("b")).await;
    let ada = Peer::start(&one.socket(), 1);
    let a = ada.open("far", 11).await;
    ada.edit(a, 0, 0, "first").await;
    wait_saved(&ada, a, AckLevel::Region).await;
    assert!(!saved(&ada, a, AckLevel::Replicated).await, "nobody has copied it");
    // The bus tells it.
    let watermark = log.head(&document).await.unwrap();
    let told = Arc::new(BusMessage::Replicated { watermark });
    region.region().bus.publish(&document, told).await.unwrap();
    wait_saved(&ada, a, AckLevel::Replicated).await;
    // The bus does not, and a room that comes late has not heard it either: it is kept in the log's progress.
    ada.edit(a, 5, 0, " second").await;
    wait_saved(&ada, a, AckLevel::Region).await;
    assert!(!saved(&ada, a, AckLevel::Replicated).await);
    let Position { offset, .. } = log.head(&document).await.unwrap();
    log.commit_progress(REPLICATED_READER, partition, offset).await.unwrap();
    wait_saved(&ada, a, AckLevel::Replicated).await;
    region.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_goes_on_while_postgres_is_away() {
    let Some(services) = services("a_document_goes_on_while_postgres_is_away") else { return };
    let server = services.postgres[0].clone();
    let place = server.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let way = Proxy::to(place.clone()).await.unwrap();
    let served = RegionalArgs { postgres: vec![server.replace(&place, &way.address())], ..services.clone() };
    let one = relay(&served, None).await;
    let ada = Peer::start(&one.socket(), 1);
    let a = ada.open("before", 11).await;
    ada.edit(a, 0, 0, "before").await;
    wait_saved(&ada, a, AckLevel::Region).await;
    way.set(Way::Cut);
    ada.edit(a, 6, 0, " and after").await;
    wait_saved(&ada, a, AckLevel::Region).await;
    // A document that is made, and one that is opened, without the index.
    let fresh = ada.open("fresh", 12).await;
    ada.edit(fresh, 0, 0, "fresh").await;
    wait_saved(&ada, fresh, AckLevel::Region).await;
    let ben = Peer::start(&one.socket(), 2);
    let b = ben.open("before", 22).await;
    ben.wait_text(b, "before and after").await;
    way.set(Way::Open);
    let two = relay(&services, None).await;
    let eve = Peer::start(&two.socket(), 3);
    let (e, f) = (eve.open("before", 33).await, eve.open("fresh", 34).await);
    eve.wait_text(e, "before and after").await;
    eve.wait_text(f, "fresh").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_service_is_named() {
    let Some(services) = services("a_missing_service_is_named") else { return };
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = selvedge_relay::Config { services, data: folder.path().to_owned(), ..Default::default() };
    config.services.redis = Some(format!("redis://{free}"));
    config.listen.listen = "127.0.0.1:0".parse().unwrap();
    config.listen.admin = "127.0.0.1:0".parse().unwrap();
    let Err(error @ StartError::Service(_)) = run(config).await else { panic!("it started without Redis") };
    let message = error.to_string();
    for part in ["--redis", &format!("redis://{free}"), "fix:", "cargo xtask stack up"] {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }
}

/// A user pool of Cognito with one person in it.
struct Pool {
    id: String,
    client: String,
    service: SocketAddr,
}

impl Pool {
    const PERSON: &str = "ada";
    const PASSWORD: &str = "Correct-Horse-7";

    async fn make(service: SocketAddr) -> Self {
        let mut pool = Pool { id: String::new(), client: String::new(), service };
        let made = pool.ask("CreateUserPool", json!({ "PoolName": "writers" })).await;
        pool.id = word(&made["UserPool"]["Id"]);
        let flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"];
        let app = json!({ "UserPoolId": pool.id, "ClientName": "web", "ExplicitAuthFlows": flows });
        pool.client = word(&pool.ask("CreateUserPoolClient", app).await["UserPoolClient"]["ClientId"]);
        let person = json!({ "UserPoolId": pool.id, "Username": Self::PERSON, "MessageAction": "SUPPRESS" });
        pool.ask("AdminCreateUser", person).await;
        let password = json!({
            "UserPoolId": pool.id, "Username": Self::PERSON, "Password": Self::PASSWORD, "Permanent": true
        });
        pool.ask("AdminSetUserPassword", password).await;
        pool
    }

    async fn ask(&self, operation: &str, body: Value) -> Value {
        let target = format!("AWSCognitoIdentityProviderService.{operation}");
        // Nobody checks the signature here; the service is chosen by what it says.
        let scope = "Credential=test/20260101/us-east-1/cognito-idp/aws4_request";
        let authorization = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=00");
        let fields = [
            ("x-amz-target", &*target),
            ("content-type", "application/x-amz-json-1.1"),
            ("authorization", &*authorization),
        ];
        let answer = ask(self.service, "POST", "/", &fields, body.to_string().as_bytes()).await;
        assert_eq!(answer.status, 200, "{operation}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// The access token and the identity token of the person, who signs in by password.
    async fn sign_in(&self) -> [String; 2] {
        let parameters = json!({ "USERNAME": Self::PERSON, "PASSWORD": Self::PASSWORD });
        let body = json!({ "AuthFlow": "USER_PASSWORD_AUTH", "ClientId": self.client, "AuthParameters": parameters });
        let tokens = self.ask("InitiateAuth", body).await;
        ["AccessToken", "IdToken"].map(|name| word(&tokens["AuthenticationResult"][name]))
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no word")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_in_at_cognito_is_let_in_and_who_signs_in_at_another_pool_is_not() {
    let Some(services) = services("who_signs_in_at_cognito_is_let_in") else { return };
    let service: SocketAddr = host(services.s3.as_deref().unwrap()).parse().unwrap();
    let (pool, other) = (Pool::make(service).await, Pool::make(service).await);
    let relay = Relay::start_with(|config| {
        config.region = "a".to_owned();
        config.services = services.clone();
        config.auth.jwt_issuer = Some(format!("https://cognito-idp.us-east-1.amazonaws.com/{}", pool.id));
        config.auth.jwt_audience = vec![pool.client.clone()];
        config.auth.jwks_url = Some(format!("http://{service}/{}/.well-known/jwks.json", pool.id));
    })
    .await;
    let tokens = pool.sign_in().await;
    let mut text = String::new();
    for (number, token) in (1..).zip(&tokens) {
        let peer = Peer::start_as(&relay.socket(), number, Some(token));
        let channel = peer.open("minutes", number).await;
        peer.wait_text(channel, &text).await;
        peer.edit(channel, 0, 0, &format!("{number} ")).await;
        text.insert_str(0, &format!("{number} "));
        wait_saved(&peer, channel, AckLevel::Region).await;
    }
    let peer = Peer::start_as(&relay.socket(), 3, Some(&tokens[0]));
    let channel = peer.open("minutes", 3).await;
    peer.wait_text(channel, &text).await;
    let mut refused = other.sign_in().await.to_vec();
    // Signed by nobody who is asked, or not what was signed.
    refused.push(format!("{}x", tokens[0]));
    for token in refused {
        let mut raw = Raw::connect(&relay.socket()).await;
        raw.send(Channel::CONNECTION, Hello { token: Some(token), ..hello(&[1], None) }).await;
        assert_eq!(raw.closed().await, CloseCode::TOKEN);
    }
}
