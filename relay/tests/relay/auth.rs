//! Tokens, rights and tickets with real keys against a real relay.

#[path = "../harness/issuer.rs"]
mod issuer;

use std::time::{Duration, Instant};

use crate::harness::Relay;
use crate::harness::http::ask;
use crate::harness::raw::{Raw, hello, open, words};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use issuer::{AUDIENCE, Issuer, Key, now_s};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use selvedge_engine::SiteId;
use selvedge_protocol::message::Token;
use selvedge_protocol::{Channel, CloseCode, Rights, ServerMessage};
use selvedge_relay::auth::config::SigningAlgorithm;
use serde_json::{Value, json};

async fn relay(issuer: &Issuer, change: impl FnOnce(&mut selvedge_relay::Config)) -> Relay {
    let url = issuer.url.clone();
    Relay::start_with(move |config| {
        config.auth.jwt_issuer = Some(url);
        config.auth.jwt_audience = vec![AUDIENCE.to_owned()];
        config.auth.jwt_algorithm = SigningAlgorithm::Es256;
        change(config);
    })
    .await
}

async fn connect(relay: &Relay, token: &str) -> Raw {
    let mut raw = Raw::connect(&relay.socket()).await;
    let mut first = hello(&[1], None);
    first.token = Some(token.to_owned());
    raw.send(Channel::CONNECTION, first).await;
    raw
}

async fn enter(relay: &Relay, token: &str) -> Raw {
    let mut raw = connect(relay, token).await;
    raw.expect(|message| matches!(message, ServerMessage::HelloOk(_))).await;
    raw
}

/// The code a document is closed with.
async fn closed(raw: &mut Raw) -> CloseCode {
    let (_, message) = raw.expect(|message| matches!(message, ServerMessage::Closed(_))).await;
    let ServerMessage::Closed(closed) = message else { unreachable!() };
    CloseCode(closed.code)
}

async fn rest(relay: &Relay, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let fields: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("authorization", &bearer)] };
    let answer = ask(relay.running.address, method, path, fields, body.as_bytes()).await;
    (answer.status, serde_json::from_str(&answer.text()).unwrap_or(Value::Null))
}

async fn set_rights(relay: &Relay, admin: &str, principal: &str, rights: &str) {
    let body = json!({ "rights": rights }).to_string();
    let path = format!("/v1/docs/t/notes/rights/{principal}");
    assert_eq!(rest(relay, "PUT", &path, admin, &body).await.0, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_checked_where_a_document_is_opened_and_at_every_push() {
    let key = Key::elliptic("one");
    let issuer = Issuer::start(&[&key]).await;
    let relay = relay(&issuer, |_| {}).await;
    let token = |subject: &str, tenant: &str| key.sign(&issuer.claims(subject, tenant));
    let admin = token("ada", "t");
    let mut ada = enter(&relay, &admin).await;
    assert_eq!(ada.open(1, "notes").await.rights, Rights::Admin, "who makes a document decides about it");
    ada.push(1, &words(SiteId::random(1), &["text "])).await;
    ada.expect(|message| matches!(message, ServerMessage::Ack(_))).await;

    for (subject, tenant) in [("ben", "t"), ("eve", "other")] {
        let mut stranger = enter(&relay, &token(subject, tenant)).await;
        stranger.send(Channel(1), open("t/notes")).await;
        assert_eq!(closed(&mut stranger).await, CloseCode::FORBIDDEN, "{subject}");
        stranger.send(Channel(2), open("other2/nowhere")).await;
        assert_eq!(closed(&mut stranger).await, CloseCode::FORBIDDEN, "not there, and told alike");
        let (status, body) = rest(&relay, "GET", "/v1/docs/t/notes/text", &token(subject, tenant), "").await;
        assert_eq!((status, body["error"]["code"].as_str()), (404, Some("doc_not_found")));
    }

    set_rights(&relay, &admin, "user:ben", "write").await;
    let mut ben = enter(&relay, &token("ben", "t")).await;
    assert_eq!(ben.open(1, "notes").await.rights, Rights::Write);
    let deltas = words(SiteId::random(2), &["a", "b", "c"]);
    ben.push(1, &deltas[..1]).await;
    ben.expect(|message| matches!(message, ServerMessage::Ack(_))).await;

    let began = Instant::now();
    set_rights(&relay, &admin, "user:ben", "read").await;
    let (_, told) = ben.expect(|message| matches!(message, ServerMessage::Rights(_))).await;
    assert!(matches!(told, ServerMessage::Rights(changed) if changed.rights == Rights::Read));
    ben.push(1, &deltas[1..2]).await;
    let (_, refused) = ben.expect(|message| matches!(message, ServerMessage::Refused(_))).await;
    assert!(matches!(refused, ServerMessage::Refused(refused) if CloseCode(refused.code) == CloseCode::FORBIDDEN));
    let (status, _) = rest(&relay, "PUT", "/v1/docs/t/notes/text", &token("ben", "t"), "mine").await;
    assert_eq!(status, 403);
    set_rights(&relay, &admin, "user:ben", "none").await;
    assert_eq!(closed(&mut ben).await, CloseCode::FORBIDDEN);
    assert!(began.elapsed() < Duration::from_secs(5), "revoked within {:?}", began.elapsed());
    let (status, body) = rest(&relay, "GET", "/v1/docs/t/notes/text", &admin, "").await;
    assert_eq!((status, body), (200, Value::Null), "the text is no JSON");
    let (_, list) = rest(&relay, "GET", "/v1/docs", &token("ben", "t"), "").await;
    assert_eq!(list["documents"], json!([]), "what may not be read is not listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_grant_documents_by_itself() {
    let key = Key::elliptic("one");
    let issuer = Issuer::start(&[&key]).await;
    let relay = relay(&issuer, |_| {}).await;
    let mut claims = issuer.claims("app", "t");
    claims["docs"] = json!({ "team-*": "write", "shared": "read" });
    let mut raw = enter(&relay, &key.sign(&claims)).await;
    assert_eq!(raw.open(1, "team-1").await.rights, Rights::Admin, "it made it");
    let other = {
        claims["sub"] = json!("guest");
        key.sign(&claims)
    };
    let mut guest = enter(&relay, &other).await;
    assert_eq!(guest.open(1, "t/team-1").await.rights, Rights::Write);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_expired_and_foreign_tokens_are_refused() {
    let (key, other) = (Key::elliptic("one"), Key::elliptic("one"));
    let issuer = Issuer::start(&[&key]).await;
    let relay = relay(&issuer, |_| {}).await;
    let honest = issuer.claims("ada", "t");
    let with = |name: &str, value: Value| {
        let mut claims = honest.clone();
        claims[name] = value;
        key.sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = honest.clone();
        claims.as_object_mut().unwrap().remove(name);
        key.sign(&claims)
    };
    let base64 = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let good = key.sign(&honest);
    let payload = good.split('.').nth(1).unwrap();
    let public = serde_json::to_string(&key.public).unwrap();
    let secret = EncodingKey::from_secret(public.as_bytes());
    let symmetric = Header { kid: Some("one".into()), ..Header::new(Algorithm::HS256) };
    let own_keys = Header { jku: Some("http://evil.example/keys".into()), ..key.header() };
    let brought = Header { jwk: Some(other.public.clone()), ..key.header() };
    let nameless = Header { kid: None, ..key.header() };
    let path = Header { kid: Some("../../etc/passwd".into()), ..key.header() };
    let now = now_s();
    let hostile: Vec<(&str, String)> = vec![
        ("no token", String::new()),
        ("garbage", "garbage".into()),
        ("three words", "a.b.c".into()),
        ("alg none", format!("{}.{payload}.", base64(&json!({ "alg": "none", "kid": "one" })))),
        ("alg None", format!("{}.{payload}.", base64(&json!({ "alg": "None" })))),
        ("HS256 with the public key", encode(&symmetric, &honest, &secret).unwrap()),
        (
            "RS256 said of an elliptic key",
            format!("{}.{payload}.AAAA", base64(&json!({ "alg": "RS256", "kid": "one" }))),
        ),
        ("another key under the name", other.sign(&honest)),
        ("a key nobody published", Key::elliptic("two").sign(&honest)),
        ("a path for a key", encode(&path, &honest, &key.signing).unwrap()),
        ("keys of its own by address", encode(&own_keys, &honest, &other.signing).unwrap()),
        ("keys of its own", encode(&brought, &honest, &other.signing).unwrap()),
        (
            "changed claims",
            format!(
                "{}.{}.{}",
                good.split('.').next().unwrap(),
                base64(&issuer.claims("root", "t")),
                good.split('.').nth(2).unwrap()
            ),
        ),
        ("no signature", format!("{}.{payload}.", good.split('.').next().unwrap())),
        ("expired", with("exp", json!(now - 61))),
        ("without an end", without("exp")),
        ("an end that is no number", with("exp", json!("soon"))),
        ("an end far ahead", with("exp", json!(now + 10 * 86_400))),
        ("not yet", with("nbf", json!(now + 600))),
        ("issued tomorrow", with("iat", json!(now + 86_400))),
        ("another issuer", with("iss", json!("https://evil.example"))),
        ("without an issuer", without("iss")),
        ("another audience", with("aud", json!("other"))),
        ("without an audience", without("aud")),
        ("a client for an audience", {
            let mut claims = honest.clone();
            claims["token_use"] = json!("access");
            key.sign(&claims)
        }),
        ("without a subject", without("sub")),
        ("a subject of blanks", with("sub", json!("a b"))),
        ("a tenant that is a path", with("tenant", json!("t/x"))),
        ("a false ticket", with("iss", json!("selvedge-relay"))),
    ];
    for (what, token) in &hostile {
        let mut raw = connect(&relay, token).await;
        assert_eq!(raw.closed().await, CloseCode::TOKEN, "{what}");
        assert_eq!(rest(&relay, "GET", "/v1/docs/t/notes", token, "").await.0, 401, "{what}");
    }
    // Without a name the only key is meant.
    enter(&relay, &encode(&nameless, &honest, &key.signing).unwrap()).await;
    enter(&relay, &good).await.open(1, "notes").await;
    let metrics = ask(relay.running.admin, "GET", "/metrics", &[], b"").await.text();
    for reason in [
        "missing",
        "malformed",
        "algorithm",
        "unknown_key",
        "signature",
        "expired",
        "not_now",
        "issuer",
        "audience",
        "claims",
    ] {
        assert!(metrics.contains(&format!("tokens_refused_total{{reason=\"{reason}\"}}")), "{reason}: {metrics}");
    }
    assert!(issuer.fetches() <= 2, "unknown keys lead to no flood: {} fetches", issuer.fetches());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_while_tokens_go_on_counting() {
    let (old, new) = (Key::elliptic("old"), Key::elliptic("new"));
    let issuer = Issuer::start(&[&old]).await;
    let relay = relay(&issuer, |config| {
        config.auth.jwks_pause_ms_min = 50;
        config.auth.jwks_age_ms_max = 300;
    })
    .await;
    let token = |key: &Key| key.sign(&issuer.claims("ada", "t"));
    enter(&relay, &token(&old)).await;
    assert_eq!(connect(&relay, &token(&new)).await.closed().await, CloseCode::TOKEN);
    issuer.publish(&[&old, &new]);
    tokio::time::sleep(Duration::from_millis(60)).await;
    enter(&relay, &token(&new)).await;
    enter(&relay, &token(&old)).await;
    issuer.publish(&[&new]);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(connect(&relay, &token(&old)).await.closed().await, CloseCode::TOKEN, "taken back");
    // An issuer that answers nonsense, or nothing, shuts nobody out.
    *issuer.published.lock().unwrap() = "<html>".into();
    tokio::time::sleep(Duration::from_millis(400)).await;
    enter(&relay, &token(&new)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_cognito_name_their_client() {
    let key = Key::rsa("pool-key");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, Key::set(&[&key])).unwrap();
    let issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab12";
    let relay = Relay::start_with(|config| {
        config.auth.jwt_issuer = Some(issuer.to_owned());
        config.auth.jwt_audience = vec!["client9".to_owned()];
        config.auth.jwt_tenant_claim = "custom:tenant".to_owned();
        config.auth.jwks_file = Some(file.clone());
    })
    .await;
    let now = now_s();
    let mut access = json!({ "iss": issuer, "sub": "aaaa-bbbb", "client_id": "client9", "token_use": "access", "scope": "openid",
        "username": "ada", "origin_jti": "x", "auth_time": now, "exp": now + 3600, "iat": now, "jti": "y", "version": 2 });
    enter(&relay, &key.sign(&access)).await.open(1, "default/notes").await;
    let id = json!({ "iss": issuer, "sub": "aaaa-bbbb", "aud": "client9", "token_use": "id", "cognito:username": "ada",
        "email_verified": true, "custom:tenant": "acme", "exp": now + 3600, "iat": now });
    enter(&relay, &key.sign(&id)).await.open(1, "acme/notes").await;
    access["client_id"] = json!("another");
    assert_eq!(connect(&relay, &key.sign(&access)).await.closed().await, CloseCode::TOKEN);
    access["client_id"] = json!("client9");
    access["token_use"] = json!("refresh");
    assert_eq!(connect(&relay, &key.sign(&access)).await.closed().await, CloseCode::TOKEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_asked_for_its_next_token_and_goes_on_with_it() {
    let key = Key::elliptic("one");
    let issuer = Issuer::start(&[&key]).await;
    let relay = relay(&issuer, |config| config.auth.jwt_leeway_s = 0).await;
    let short = |subject: &str, seconds: u64| {
        let mut claims = issuer.claims(subject, "t");
        claims["exp"] = json!(now_s() + seconds);
        key.sign(&claims)
    };
    let (mut ada, mut ben, mut cy) = (
        enter(&relay, &short("ada", 4)).await,
        enter(&relay, &short("ben", 4)).await,
        enter(&relay, &short("cy", 4)).await,
    );
    ada.open(1, "notes").await;
    for raw in [&mut ada, &mut ben, &mut cy] {
        let (channel, asked) = raw.expect(|message| matches!(message, ServerMessage::TokenExpiring(_))).await;
        assert!(
            channel == Channel::CONNECTION && matches!(asked, ServerMessage::TokenExpiring(asked) if asked.in_ms > 0)
        );
    }
    ada.send(Channel::CONNECTION, Token { token: short("ada", 60) }).await;
    cy.send(Channel::CONNECTION, Token { token: short("ada", 60) }).await;
    assert_eq!(cy.closed().await, CloseCode::TOKEN, "somebody else's token");
    assert_eq!(ben.closed().await, CloseCode::TOKEN, "no other came");
    tokio::time::sleep(Duration::from_millis(500)).await;
    ada.push(1, &words(SiteId::random(1), &["still here"])).await;
    ada.expect(|message| matches!(message, ServerMessage::Ack(_))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_its_document_alone_and_is_renewed() {
    let key = Key::elliptic("one");
    let issuer = Issuer::start(&[&key]).await;
    let relay = relay(&issuer, |_| {}).await;
    let token = key.sign(&issuer.claims("ada", "t"));
    enter(&relay, &token).await.open(1, "notes").await;
    let (status, made) = rest(&relay, "POST", "/v1/docs/t/notes/tickets", &token, "").await;
    assert_eq!((status, made["rights"].as_str()), (200, Some("admin")), "{made}");
    let ticket = made["ticket"].as_str().unwrap();
    assert!(made["expiresMs"].as_u64().unwrap() <= (now_s() + 301) * 1000);
    let mut bearer = enter(&relay, ticket).await;
    assert_eq!(bearer.open(1, "t/notes").await.rights, Rights::Admin);
    bearer.send(Channel(2), open("t/others")).await;
    assert_eq!(closed(&mut bearer).await, CloseCode::FORBIDDEN);
    let (status, again) = rest(&relay, "POST", "/v1/docs/t/notes/tickets", ticket, "").await;
    assert_eq!(status, 200, "{again}");
    assert_eq!(rest(&relay, "POST", "/v1/docs/t/others/tickets", ticket, "").await.0, 404);
    // What the control plane takes back, a ticket does not keep.
    set_rights(&relay, &token, "user:ada", "read").await;
    let (_, told) = bearer.expect(|message| matches!(message, ServerMessage::Rights(_))).await;
    assert!(matches!(told, ServerMessage::Rights(changed) if changed.rights == Rights::Read));
    let mut later = enter(&relay, ticket).await;
    assert_eq!(later.open(1, "t/notes").await.rights, Rights::Read);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_made_by_the_command_are_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let run = |arguments: Vec<String>| async move {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = crate::harness::process::relay(&arguments).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (key, set) = (path("key.pem"), path("jwks.json"));
    run(words(&format!("token key {key}"))).await;
    std::fs::write(&set, run(words(&format!("token jwks --key {key}"))).await).unwrap();
    let mint = format!(
        "token mint --key {key} --jwt-issuer dev --jwt-audience app --subject ada --grant t/*=write --tenant t"
    );
    let token = run(words(&mint)).await;
    let relay = Relay::start_with(|config| {
        config.auth.jwt_issuer = Some("dev".to_owned());
        config.auth.jwt_audience = vec!["app".to_owned()];
        config.auth.jwt_algorithm = SigningAlgorithm::Es256;
        config.auth.jwks_file = Some(set.into());
        config.auth.ticket_key = Some(key.into());
    })
    .await;
    enter(&relay, &token).await.open(1, "t/x").await;
}
