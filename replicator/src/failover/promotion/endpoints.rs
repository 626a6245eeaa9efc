//! The signed list of endpoints: where clients find the regions, in which epoch, provably from whoever runs them.
//!
//! ```text
//! {"list": base64url(JSON below, the very bytes that are signed),
//!  "key": first 16 hexadecimal digits of SHA-256(public key),
//!  "signature": base64url(Ed25519, 64 bytes)}
//!
//! {"epoch": 7, "issued_ms": .., "expires_ms": .., "jitter_ms": 500,
//!  "regions": [{"name": "a", "role": "home" | "standby", "endpoints": [..]}]}
//! ```
//!
//! It lies in the blobs of every region under [`BLOB`]; relays hand it on. A client keeps the highest epoch it has seen and
//! takes no list of a lower one, so that a region that was replaced cannot call its clients back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// Where the list lies among a region's blobs.
pub const BLOB: &str = "endpoints/current.json";
/// Clients spread their going over to another region over so long, in milliseconds.
pub const JITTER_MS: u64 = 500;

/// A region in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// `home` or `standby`.
    pub role: String,
    /// Its relays, as they describe themselves.
    pub endpoints: Vec<serde_json::Value>,
}

/// The list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The epoch in which it was issued.
    pub epoch: u64,
    /// When, in milliseconds of wall time.
    pub issued_ms: u64,
    /// Until when a client may go by it, in milliseconds of wall time.
    pub expires_ms: u64,
    /// Clients spread their going over so long, in milliseconds.
    pub jitter_ms: u64,
    /// The regions, the home first.
    pub regions: Vec<Region>,
}

/// The list with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The list's JSON, in base64url.
    pub list: String,
    /// Which key signed it.
    pub key: String,
    /// The signature over the list's JSON, in base64url.
    pub signature: String,
}

/// Why a list is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// It is no list.
    #[error("the list of endpoints is malformed")]
    Malformed,
    /// Another key signed it, or none did.
    #[error("the list of endpoints is not signed by the key {0}")]
    Signature(String),
    /// The key is none.
    #[error("the signing key is no Ed25519 key in PKCS#8 (`openssl genpkey -algorithm ed25519` makes one)")]
    Key,
}

/// Signs lists.
pub struct Signer {
    pair: Ed25519KeyPair,
}

impl Signer {
    /// A signer with that key, in PKCS#8 as PEM or as the bytes inside.
    ///
    /// # Errors
    /// `Key` when it is none.
    pub fn new(pkcs8: &[u8]) -> Result<Self, ListError> {
        let inside = std::str::from_utf8(pkcs8).ok().and_then(inside_pem);
        let bytes = inside.as_deref().unwrap_or(pkcs8);
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).map_err(|_| ListError::Key)?;
        Ok(Self { pair })
    }

    /// The public key that clients check with.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Signs a list.
    ///
    /// # Errors
    /// `Malformed` when it cannot be written as JSON.
    pub fn sign(&self, list: &List) -> Result<Signed, ListError> {
        let json = serde_json::to_vec(list).map_err(|_| ListError::Malformed)?;
        let signature = self.pair.sign(&json);
        Ok(Signed {
            list: URL_SAFE_NO_PAD.encode(&json),
            key: key_name(self.public_key()),
            signature: URL_SAFE_NO_PAD.encode(signature),
        })
    }
}

impl Signed {
    /// The list, if that key signed it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, public_key: &[u8]) -> Result<List, ListError> {
        let json = URL_SAFE_NO_PAD.decode(&self.list).map_err(|_| ListError::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(&self.signature).map_err(|_| ListError::Malformed)?;
        let key = UnparsedPublicKey::new(&ED25519, public_key);
        key.verify(&json, &signature).map_err(|_| ListError::Signature(key_name(public_key)))?;
        serde_json::from_slice(&json).map_err(|_| ListError::Malformed)
    }
}

/// How a key is called in a signed list.
#[must_use]
pub fn key_name(public_key: &[u8]) -> String {
    digest(&SHA256, public_key).as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn inside_pem(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (inside, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let digits: String = inside.split_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(digits).ok()
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::Ed25519KeyPair;

    use super::{List, ListError, Region, Signer, key_name};

    fn list() -> List {
        let region = |name: &str, role: &str| Region {
            name: name.to_owned(),
            role: role.to_owned(),
            endpoints: vec![serde_json::json!({ "relay": format!("{name}:4400") })],
        };
        List {
            epoch: 7,
            issued_ms: 1,
            expires_ms: 2,
            jitter_ms: 500,
            regions: vec![region("a", "home"), region("b", "standby")],
        }
    }

    fn key() -> Vec<u8> {
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref().to_vec()
    }

    #[test]
    fn a_signed_list_is_taken_and_a_changed_or_foreign_one_is_not() {
        let (signer, other) = (Signer::new(&key()).unwrap(), Signer::new(&key()).unwrap());
        let signed = signer.sign(&list()).unwrap();
        assert_eq!(signed.check(signer.public_key()), Ok(list()));
        assert_eq!(signed.key, key_name(signer.public_key()));
        assert!(matches!(signed.check(other.public_key()), Err(ListError::Signature(_))));
        let later = signer.sign(&List { epoch: 8, ..list() }).unwrap();
        let forged = super::Signed { list: later.list, ..signed.clone() };
        assert!(matches!(forged.check(signer.public_key()), Err(ListError::Signature(_))));
        let broken = super::Signed { list: "?".to_owned(), ..signed };
        assert_eq!(broken.check(signer.public_key()), Err(ListError::Malformed));
    }

    #[test]
    fn a_key_is_read_from_pem_too() {
        let bytes = key();
        let inside = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{inside}\n-----END PRIVATE KEY-----\n");
        assert_eq!(Signer::new(pem.as_bytes()).unwrap().public_key(), Signer::new(&bytes).unwrap().public_key());
        assert!(matches!(Signer::new(b"no key"), Err(ListError::Key)));
    }
}
