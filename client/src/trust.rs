//! Whom to believe where relays are: the keys that signed lists of endpoints are verified by, and the file the newest one is
//! kept in.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use selvedge_protocol::{EndpointList, ListKey, SIGNED_LIST_BYTES_MAX, SignedList};

use crate::Error;
use crate::store::replace;

/// The last line of a key in PEM.
const END: &str = "-----END PUBLIC KEY-----";

/// See the module.
#[derive(Debug)]
pub(crate) struct Trust {
    keys: Vec<ListKey>,
    file: Option<PathBuf>,
    /// Held while the file is looked at and written.
    writing: Mutex<()>,
}

impl Trust {
    /// The keys in these texts, each with one or several in PEM.
    ///
    /// # Errors
    /// `TrustKey` where one has none.
    pub(crate) fn new(texts: &[String], file: Option<PathBuf>) -> Result<Self, Error> {
        let mut keys = Vec::new();
        for text in texts {
            let found = text.split(END).filter(|part| !part.trim().is_empty()).map(ListKey::from_pem);
            keys.extend(found.collect::<Result<Vec<_>, _>>().map_err(Error::TrustKey)?);
        }
        if keys.is_empty() {
            return Err(Error::TrustKey(selvedge_protocol::ListKeyError));
        }
        Ok(Self { keys, file, writing: Mutex::new(()) })
    }

    /// The bytes of a list that a trusted key signed; `None`: none did.
    pub(crate) fn verify(&self, signed: &str) -> Option<Vec<u8>> {
        let parts = SignedList::parse(signed).ok()?;
        let key = self.keys.iter().find(|key| parts.names(key))?;
        let point = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point());
        point.verify(parts.input.as_bytes(), &parts.signature).ok()?;
        Some(parts.list)
    }

    /// The list that was kept last, if a trusted key signed it. One of a key that is not trusted any more is as if it were not
    /// there, its epoch included: whoever had that key may have signed any epoch.
    pub(crate) fn kept(&self) -> Option<(String, Vec<u8>)> {
        let signed = read(self.file.as_deref()?)?;
        let list = self.verify(&signed)?;
        Some((signed, list))
    }

    /// Keeps a verified list for the next start, unless a newer one is kept already. Blocks.
    ///
    /// # Errors
    /// That of the file.
    pub(crate) fn keep(&self, signed: &str) -> std::io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = |list: &[u8]| EndpointList::decode(list).ok().map(|list| list.stamp());
        let kept = self.kept().and_then(|(_, list)| stamp(&list));
        if kept >= self.verify(signed).and_then(|list| stamp(&list)) {
            return Ok(());
        }
        replace(file, signed.as_bytes())
    }
}

/// What a file holds, if it may be a list.
fn read(file: &Path) -> Option<String> {
    let length = std::fs::metadata(file).ok()?.len();
    if length > SIGNED_LIST_BYTES_MAX as u64 {
        return None;
    }
    std::fs::read_to_string(file).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData as _};
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use selvedge_protocol::{ListStamp, relays_at};

    use super::*;

    /// A key as its owner has it.
    struct Owner {
        pair: KeyPair,
        key: ListKey,
    }

    impl Owner {
        fn new() -> Self {
            let pair = KeyPair::generate().unwrap();
            let key = ListKey::from_point(pair.der_bytes()).unwrap();
            Self { pair, key }
        }

        fn sign(&self, epoch: u64, issue: u64) -> String {
            let endpoints = relays_at([("a", "wss://a.example")]);
            let list = EndpointList { format: 1, epoch, issue, home: "a".to_owned(), endpoints };
            let input = list.signing_input(&self.key);
            let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
            let pair = EcdsaKeyPair::from_pkcs8(kind, &self.pair.serialize_der(), &random).unwrap();
            SignedList::join(&input, pair.sign(&random, input.as_bytes()).unwrap().as_ref()).unwrap()
        }
    }

    fn trust(owners: &[&Owner], file: Option<&Path>) -> Trust {
        let texts: Vec<String> = owners.iter().map(|owner| owner.key.to_pem()).collect();
        Trust::new(&texts, file.map(Path::to_owned)).unwrap()
    }

    fn kept(trust: &Trust) -> Option<ListStamp> {
        trust.kept().map(|(_, list)| EndpointList::decode(&list).unwrap().stamp())
    }

    #[test]
    fn only_what_a_trusted_key_signed_is_believed() {
        let (ours, next, foreign) = (Owner::new(), Owner::new(), Owner::new());
        let trust = trust(&[&ours, &next], None);
        for owner in [&ours, &next] {
            assert_eq!(EndpointList::decode(&trust.verify(&owner.sign(3, 4)).unwrap()).unwrap().epoch, 3);
        }
        assert_eq!(trust.verify(&foreign.sign(3, 4)), None);
        let (good, later) = (ours.sign(3, 4), ours.sign(9, 9));
        let (input, signature) = (later.rsplit_once('.').unwrap().0, good.rsplit_once('.').unwrap().1);
        assert_eq!(trust.verify(&format!("{input}.{signature}")), None, "a signature is of one list");
        let other_key =
            foreign.sign(3, 4).replace(foreign.sign(3, 4).split('.').next().unwrap(), good.split('.').next().unwrap());
        assert_eq!(trust.verify(&other_key), None, "a name does not make a key");
        for bad in ["", "a.b.c", &good[..good.len() - 2], input] {
            assert_eq!(trust.verify(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_vector_that_every_client_reads_is_verified() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors/endpoints.json");
        let vectors: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let field = |number: usize| {
            String::from_utf8(hex::decode(vectors[0]["fields"][number][0].as_str().unwrap()).unwrap()).unwrap()
        };
        let trust = Trust::new(&[field(0)], None).unwrap();
        assert!(trust.verify(&field(3)).is_some());
    }

    #[test]
    fn the_newest_list_is_there_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let (file, owner) = (folder.path().join("endpoints"), Owner::new());
        let first = trust(&[&owner], Some(&file));
        assert_eq!(kept(&first), None);
        for (epoch, issue, expected) in [(2, 1, (2, 1)), (1, 9, (2, 1)), (2, 2, (2, 2)), (3, 1, (3, 1)), (2, 9, (3, 1))]
        {
            first.keep(&owner.sign(epoch, issue)).unwrap();
            let again = trust(&[&owner], Some(&file));
            assert_eq!(kept(&again), Some(ListStamp { epoch: expected.0, issue: expected.1 }));
        }
        let other = Owner::new();
        let rotated = trust(&[&other], Some(&file));
        assert_eq!(kept(&rotated), None, "a key that is not trusted any more has said nothing");
        rotated.keep(&other.sign(1, 1)).unwrap();
        assert_eq!(kept(&rotated), Some(ListStamp { epoch: 1, issue: 1 }));
        std::fs::write(&file, vec![b'x'; SIGNED_LIST_BYTES_MAX + 1]).unwrap();
        assert_eq!(kept(&rotated), None, "what is no list is none");
    }

    #[test]
    fn a_text_without_a_key_is_refused() {
        for texts in [vec![], vec![String::new()], vec!["no key".to_owned()]] {
            assert!(matches!(Trust::new(&texts, None), Err(Error::TrustKey(_))), "{texts:?}");
        }
        let both = Owner::new().key.to_pem() + &Owner::new().key.to_pem();
        assert_eq!(Trust::new(&[both], None).unwrap().keys.len(), 2, "a file may hold several");
    }
}
