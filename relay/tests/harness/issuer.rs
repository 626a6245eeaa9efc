//! An issuer of tokens: keys, a page that publishes them, and tokens, honest and not.
#![allow(dead_code, unreachable_pub, reason = "a module of several test programs, none of which uses all of it")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::get;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const AUDIENCE: &str = "app";

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// One key of an issuer.
pub struct Key {
    pub name: String,
    pub algorithm: Algorithm,
    pub signing: EncodingKey,
    pub public: Jwk,
}

impl Key {
    pub fn elliptic(name: &str) -> Self {
        let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        Self::new(name, Algorithm::ES256, EncodingKey::from_ec_pem(pem.as_bytes()).unwrap())
    }

    pub fn rsa(name: &str) -> Self {
        let pem = include_bytes!("../keys/rsa.pem");
        Self::new(name, Algorithm::RS256, EncodingKey::from_rsa_pem(pem).unwrap())
    }

    fn new(name: &str, algorithm: Algorithm, signing: EncodingKey) -> Self {
        let mut public = Jwk::from_encoding_key(&signing, algorithm).unwrap();
        public.common.key_id = Some(name.to_owned());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Key { name: name.to_owned(), algorithm, signing, public }
    }

    pub fn header(&self) -> Header {
        Header { kid: Some(self.name.clone()), ..Header::new(self.algorithm) }
    }

    pub fn sign(&self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.signing).unwrap()
    }

    pub fn set(keys: &[&Key]) -> String {
        serde_json::to_string(&JwkSet { keys: keys.iter().map(|key| key.public.clone()).collect() }).unwrap()
    }
}

/// Publishes keys at an address of this machine.
pub struct Issuer {
    pub url: String,
    pub published: Arc<Mutex<String>>,
    pub fetches: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Issuer {
    pub async fn start(keys: &[&Key]) -> Self {
        let published = Arc::new(Mutex::new(Key::set(keys)));
        let fetches = Arc::new(AtomicUsize::new(0));
        let (page, count) = (Arc::clone(&published), Arc::clone(&fetches));
        let router = Router::new().route(
            "/pool/.well-known/jwks.json",
            get(async move || {
                count.fetch_add(1, Ordering::Relaxed);
                page.lock().unwrap().clone()
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url: format!("http://{address}/pool"), published, fetches, task }
    }

    pub fn publish(&self, keys: &[&Key]) {
        *self.published.lock().unwrap() = Key::set(keys);
    }

    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    /// What an honest token of `subject` says, for an hour.
    pub fn claims(&self, subject: &str, tenant: &str) -> Value {
        let now = now_s();
        json!({ "iss": self.url, "aud": AUDIENCE, "sub": subject, "tenant": tenant, "name": subject,
                "iat": now, "exp": now + 3600 })
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
