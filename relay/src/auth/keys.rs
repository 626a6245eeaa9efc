//! The keys of an issuer (a JSON Web Key Set, RFC 7517): fetched, kept, fetched again.
//!
//! A token that names an unknown key leads to a fetch, but not more often than the configured pause, whatever tokens come. Keys
//! older than the configured age are fetched again when one is needed; while that fails they go on counting for the longer
//! stale time, so that an issuer that is down shuts nobody out. A key the issuer has taken back ends with the next fetch.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::time::Instant;

use super::TokenFault;
use super::config::AuthConfig;

/// How long a fetch may take.
const FETCH: Duration = Duration::from_secs(5);
/// Longest set of keys that is read, in bytes.
const SET_BYTES_MAX: usize = 256 * 1024;
/// Keys of one issuer at most.
const KEYS_MAX: usize = 64;
/// Bytes of an RSA modulus at least: 2,048 bits.
const RSA_BYTES_MIN: usize = 256;
/// Pause between two looks at a file.
const FILE_PAUSE: Duration = Duration::from_millis(500);

/// Where the keys come from.
#[derive(Debug)]
pub(super) enum Source {
    File(PathBuf),
    Url { url: String, http: reqwest::Client },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Keys {
    source: Source,
    algorithm: Algorithm,
    age_max: Duration,
    stale_max: Duration,
    pause: Duration,
    state: RwLock<State>,
    /// One fetch at a time; whoever waited for it uses what it brought.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<String, Arc<DecodingKey>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

impl Keys {
    pub(super) fn new(source: Source, config: &AuthConfig) -> Self {
        let pause = match source {
            Source::File(_) => FILE_PAUSE,
            Source::Url { .. } => Duration::from_millis(config.jwks_pause_ms_min),
        };
        Keys {
            source,
            algorithm: config.jwt_algorithm.algorithm(),
            age_max: Duration::from_millis(config.jwks_age_ms_max),
            stale_max: Duration::from_millis(config.jwks_stale_ms_max),
            pause,
            state: RwLock::default(),
            fetching: tokio::sync::Mutex::new(()),
        }
    }

    /// The key of this name; a set of one key may leave it without a name.
    ///
    /// # Errors
    /// [`TokenFault::UnknownKey`], or [`TokenFault::NoKeys`] when the issuer cannot be asked.
    pub(super) async fn key(&self, name: Option<&str>) -> Result<Arc<DecodingKey>, TokenFault> {
        let name = name.unwrap_or_default();
        if let Some(key) = self.look(name, self.age_max) {
            return Ok(key);
        }
        self.renew(name).await;
        if let Some(key) = self.look(name, self.stale_max) {
            return Ok(key);
        }
        let state = self.state.read().expect("no code panics with this lock held");
        let usable = state.fetched.is_some_and(|fetched| fetched.elapsed() < self.stale_max);
        Err(if usable { TokenFault::UnknownKey } else { TokenFault::NoKeys })
    }

    fn look(&self, name: &str, age_max: Duration) -> Option<Arc<DecodingKey>> {
        let state = self.state.read().expect("no code panics with this lock held");
        let young = state.fetched.is_some_and(|fetched| fetched.elapsed() < age_max);
        state.keys.get(name).filter(|_| young).cloned()
    }

    /// Fetches, unless somebody just did.
    async fn renew(&self, name: &str) {
        let _fetching = self.fetching.lock().await;
        let tried = self.state.read().expect("no code panics with this lock held").tried;
        if self.look(name, self.age_max).is_some() || tried.is_some_and(|tried| tried.elapsed() < self.pause) {
            return;
        }
        if let Err(problem) = self.fetch().await {
            tracing::warn!(problem, "the keys of the token issuer were not renewed");
        }
    }

    /// Fetches now.
    ///
    /// # Errors
    /// What stands in the way, as a sentence.
    pub(super) async fn fetch(&self) -> Result<(), String> {
        self.state.write().expect("no code panics with this lock held").tried = Some(Instant::now());
        let bytes = match &self.source {
            Source::File(path) => tokio::fs::read(path).await.map_err(|error| error.to_string())?,
            Source::Url { url, http } => download(http, url).await?,
        };
        let keys = read_set(&bytes, self.algorithm)?;
        let mut state = self.state.write().expect("no code panics with this lock held");
        tracing::info!(keys = keys.len(), "keys of the token issuer");
        (state.keys, state.fetched) = (keys, Some(Instant::now()));
        Ok(())
    }
}

async fn download(http: &reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    let work = async {
        let mut answer = http.get(url).send().await?.error_for_status()?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > SET_BYTES_MAX {
                break;
            }
        }
        Ok::<_, reqwest::Error>(bytes)
    };
    match tokio::time::timeout(FETCH, work).await {
        Err(_) => Err(format!("no answer within {} s", FETCH.as_secs())),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Ok(Ok(bytes)) if bytes.len() > SET_BYTES_MAX => Err("the answer is too long".to_owned()),
        Ok(Ok(bytes)) => Ok(bytes),
    }
}

/// The keys that sign with this algorithm, by name; all under the empty name too, if there is one alone.
fn read_set(bytes: &[u8], algorithm: Algorithm) -> Result<HashMap<String, Arc<DecodingKey>>, String> {
    let set: JwkSet = serde_json::from_slice(bytes).map_err(|error| format!("it is no set of keys: {error}"))?;
    let usable = set.keys.iter().filter(|key| fits(key, algorithm)).take(KEYS_MAX);
    let mut keys = HashMap::new();
    for jwk in usable {
        let key = DecodingKey::from_jwk(jwk).map_err(|error| format!("a key of it cannot be read: {error}"))?;
        keys.insert(jwk.common.key_id.clone().unwrap_or_default(), Arc::new(key));
    }
    if keys.is_empty() {
        return Err(format!("it has no key that signs with {algorithm:?}"));
    }
    if keys.len() == 1
        && let Some(only) = keys.values().next().cloned()
    {
        keys.insert(String::new(), only);
    }
    Ok(keys)
}

/// Whether a key is for signatures of this algorithm and long enough.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let signs = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let said = key.common.key_algorithm.is_none_or(|said| said == KeyAlgorithm::from(algorithm));
    let kind = match (&key.algorithm, algorithm) {
        // Four digits of base64 are three bytes.
        (AlgorithmParameters::RSA(rsa), Algorithm::RS256) => rsa.n.len() * 3 / 4 >= RSA_BYTES_MIN,
        (AlgorithmParameters::EllipticCurve(ec), Algorithm::ES256) => ec.curve == EllipticCurve::P256,
        _ => false,
    };
    signs && said && kind
}
