//! The signed list of endpoints: signed anew in every epoch by whoever holds the control plane, and published there.
//!
//! Clients keep the newest list they have seen and take no older one, so that a region that was replaced cannot call its clients
//! back; what it looks like stands at [`SignedList`]. The control plane carries it to both regions' relays and refuses one of an
//! ended epoch.

use futures_util::future::BoxFuture;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use selvedge_protocol::{EndpointList, LIST_FORMAT, ListKey, SignedList};
use selvedge_region::Region;

use super::{Step, StepError};
use crate::clock;

/// How a signing key is made.
pub const KEY_FIX: &str = "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE` makes one";

/// Why a list is not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key is none.
    #[error("it holds no private key of P-256 in PKCS#8 (PEM)")]
    Key,
    /// The list is longer than any client takes.
    #[error(transparent)]
    List(#[from] selvedge_protocol::DecodeError),
    /// The machine gives no random numbers, which every signature needs.
    #[error("no random numbers for a signature")]
    Random,
}

/// Signs lists with ES256.
pub struct Signer {
    pair: EcdsaKeyPair,
    key: ListKey,
    random: SystemRandom,
}

impl Signer {
    /// A signer with the private key in that PEM.
    ///
    /// # Errors
    /// `Key` when there is none.
    pub fn new(pem: &[u8]) -> Result<Self, SignError> {
        let random = SystemRandom::new();
        let inside = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| SignError::Key)?;
        let inside = inside.secret_pkcs8_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, inside, &random);
        let pair = pair.map_err(|_| SignError::Key)?;
        let key = ListKey::from_point(pair.public_key().as_ref()).map_err(|_| SignError::Key)?;
        Ok(Self { pair, key, random })
    }

    /// What clients verify with.
    #[must_use]
    pub fn public_key(&self) -> &ListKey {
        &self.key
    }

    /// Signs a list.
    ///
    /// # Errors
    /// `List` when it is too long, `Random`.
    pub fn sign(&self, list: &EndpointList) -> Result<String, SignError> {
        let input = list.signing_input(&self.key);
        let signature = self.pair.sign(&self.random, input.as_bytes()).map_err(|_| SignError::Random)?;
        Ok(SignedList::join(&input, signature.as_ref())?)
    }
}

/// Signs the list of endpoints anew, and publishes it.
pub struct Endpoints {
    /// Signs it.
    pub signer: Signer,
    /// This region, which is the home where the step is run.
    pub home: String,
    /// The relays of all regions, those of this one first.
    pub relays: Vec<selvedge_protocol::Endpoint>,
    /// This region's parts.
    pub region: Region,
}

impl Endpoints {
    /// The list of that epoch. It comes after the one before in the order of lists even where this machine's clock does not.
    fn list(&self, epoch: u64, before: Option<&EndpointList>) -> EndpointList {
        let after = before.map_or(0, |before| before.issue.saturating_add(1));
        EndpointList {
            format: LIST_FORMAT,
            epoch,
            issue: clock::wall_ms().max(after),
            home: self.home.clone(),
            endpoints: self.relays.clone(),
        }
    }

    /// What is published: the list, and whether this key signed it.
    async fn published(&self) -> Result<Option<(EndpointList, bool)>, StepError> {
        let Some(published) = self.region.control.endpoints().await? else { return Ok(None) };
        let parts = SignedList::parse(&published.signed)?;
        Ok(Some((EndpointList::decode(&parts.list)?, parts.names(self.signer.public_key()))))
    }

    /// Whether that list says what one of this epoch would.
    fn is_current(&self, epoch: u64, list: &EndpointList) -> bool {
        (list.epoch, &list.home, &list.endpoints) == (epoch, &self.home, &self.relays)
    }
}

impl Step for Endpoints {
    fn name(&self) -> &'static str {
        "list of endpoints"
    }

    fn plan(&self, epoch: u64) -> BoxFuture<'_, Result<Vec<String>, StepError>> {
        Box::pin(async move {
            let line = |relay: &selvedge_protocol::Endpoint| format!("{} in {}", relay.relay, relay.region);
            let relays: Vec<String> = self.relays.iter().map(line).collect();
            let key = self.signer.public_key().name();
            Ok(vec![format!("sign epoch {epoch} with key {key}, home {}: {}", self.home, relays.join(", "))])
        })
    }

    fn run(&self, epoch: u64) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async move {
            // One that cannot be read is replaced.
            let published = self.published().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the list of endpoints that is published is replaced");
                None
            });
            if published.as_ref().is_some_and(|(list, ours)| *ours && self.is_current(epoch, list)) {
                return Ok(());
            }
            let list = self.list(epoch, published.as_ref().map(|(list, _)| list));
            let signed = self.signer.sign(&list)?;
            Ok(self.region.control.publish_endpoints(epoch, &signed).await?)
        })
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use selvedge_protocol::{EndpointList, SignedList, relays_at};

    use super::{SignError, Signer};

    fn list(relays: usize) -> EndpointList {
        let urls: Vec<String> = (0..relays).map(|number| format!("wss://relay-{number}.example")).collect();
        let endpoints = relays_at(urls.iter().map(|url| ("a", url.as_str())));
        EndpointList { format: 1, epoch: 7, issue: 9, home: "a".to_owned(), endpoints }
    }

    fn key() -> String {
        rcgen::KeyPair::generate().unwrap().serialize_pem()
    }

    fn is_signed(signed: &str, by: &Signer) -> bool {
        let parts = SignedList::parse(signed).unwrap();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, by.public_key().point());
        parts.names(by.public_key()) && key.verify(parts.input.as_bytes(), &parts.signature).is_ok()
    }

    #[test]
    fn a_list_is_signed_by_its_key_and_no_other() {
        let (signer, other) = (Signer::new(key().as_bytes()).unwrap(), Signer::new(key().as_bytes()).unwrap());
        let signed = signer.sign(&list(2)).unwrap();
        assert!(is_signed(&signed, &signer) && !is_signed(&signed, &other));
        assert_eq!(EndpointList::decode(&SignedList::parse(&signed).unwrap().list).unwrap(), list(2));
        let later = signer.sign(&EndpointList { epoch: 8, ..list(2) }).unwrap();
        let (input, _) = later.rsplit_once('.').unwrap();
        let forged = SignedList::join(input, &SignedList::parse(&signed).unwrap().signature).unwrap();
        assert!(!is_signed(&forged, &signer), "a signature is of one list");
    }

    #[test]
    fn what_is_no_key_of_p256_is_refused() {
        for text in ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert!(matches!(Signer::new(text.as_bytes()), Err(SignError::Key)), "{text}");
        }
        let other_curve = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        assert!(matches!(Signer::new(other_curve.as_bytes()), Err(SignError::Key)));
    }

    #[test]
    fn a_list_that_no_client_takes_is_not_signed() {
        let mut long = list(64);
        for relay in &mut long.endpoints {
            relay.addresses[0].url = "x".repeat(1000);
        }
        assert!(matches!(Signer::new(key().as_bytes()).unwrap().sign(&long), Err(SignError::List(_))));
    }
}
