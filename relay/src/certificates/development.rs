//! Certificates for development: made here, known by their hashes, short-lived as browsers demand of such.
//!
//! Time is cut into turns of five days. Turn n has a certificate of its own, shown while the turn lasts and valid two days
//! longer on either side, for clocks that are wrong: nine days, where browsers take at most fourteen. The one of the next turn is made
//! beforehand and its hash told too, so that a page that was told both can connect for five to ten days without asking again.
//!
//! `FOLDER/TURN.pem` holds key and certificate; older turns are removed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use selvedge_protocol::CertificateHash;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::{CertificateError, Shown};

const DAY_S: u64 = 86_400;
/// How long one certificate is shown, in seconds.
const TURN_S: u64 = 5 * DAY_S;
/// How much longer it is valid on either side, in seconds.
const MARGIN_S: u64 = 2 * DAY_S;
/// The longest life that browsers take.
const LIFE_S_MAX: u64 = 14 * DAY_S;
const _: () = assert!(TURN_S + 2 * MARGIN_S < LIFE_S_MAX, "browsers would refuse the certificate");
/// Whom it speaks for. Clients that go by its hash do not ask.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// See the module.
#[derive(Debug)]
pub(super) struct Development {
    folder: PathBuf,
    /// The turn that is shown.
    turn: u64,
}

impl Development {
    pub(super) fn open(folder: PathBuf, now_ms: u64) -> Result<(Self, Shown), CertificateError> {
        let development = Development { folder, turn: turn_at(now_ms) };
        let shown = development.show()?;
        Ok((development, shown))
    }

    /// The next certificate, once its turn has come.
    pub(super) fn refresh(&mut self, now_ms: u64) -> Result<Option<Shown>, CertificateError> {
        let turn = turn_at(now_ms);
        if turn == self.turn {
            return Ok(None);
        }
        let development = Development { folder: self.folder.clone(), turn };
        let shown = development.show()?;
        *self = development;
        Ok(Some(shown))
    }

    fn show(&self) -> Result<Shown, CertificateError> {
        let failed = |problem: String| CertificateError::Development { folder: self.folder.clone(), problem };
        std::fs::create_dir_all(&self.folder).map_err(|error| failed(error.to_string()))?;
        let now = self.take(self.turn).map_err(failed)?;
        let next = self.take(self.turn + 1).map_err(failed)?;
        self.remove_older();
        let hashes = [&now, &next].map(hash).into();
        Ok(Shown { key: Arc::new(now), hashes })
    }

    /// A turn's certificate: the one that is kept, else a new one.
    fn take(&self, turn: u64) -> Result<CertifiedKey, String> {
        let path = self.path(turn);
        match read(&path) {
            Ok(key) => return Ok(key),
            Err(error) if path.exists() => {
                tracing::warn!(path = %path.display(), error, "a certificate for development is damaged; another is made");
            }
            Err(_) => {}
        }
        write(&path, &make(turn)?).map_err(|error| error.to_string())?;
        read(&path)
    }

    fn remove_older(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let turn = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
            if turn.is_some_and(|turn| turn < self.turn) {
                // What stays is looked at again at the next turn.
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    fn path(&self, turn: u64) -> PathBuf {
        self.folder.join(format!("{turn}.pem"))
    }
}

fn turn_at(now_ms: u64) -> u64 {
    now_ms / 1000 / TURN_S
}

/// Key and certificate of a turn, as PEM.
fn make(turn: u64) -> Result<String, String> {
    let instant = |seconds: u64| {
        let seconds = i64::try_from(seconds).map_err(|error| error.to_string())?;
        OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| error.to_string())
    };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| error.to_string())?;
    let mut params = CertificateParams::new(NAMES.map(str::to_owned)).map_err(|error| error.to_string())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Selvedge relay, development");
    params.not_before = instant((turn * TURN_S).saturating_sub(MARGIN_S))?;
    params.not_after = instant((turn + 1) * TURN_S + MARGIN_S)?;
    let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

fn read(path: &Path) -> Result<CertifiedKey, String> {
    let certificate = CertificateDer::from_pem_file(path).map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_file(path).map_err(|error| error.to_string())?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(vec![certificate], key, &provider).map_err(|error| error.to_string())
}

/// Writes a whole file that nobody else can read, or none.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

fn hash(key: &CertifiedKey) -> CertificateHash {
    Sha256::digest(&key.cert[0]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN_MS: u64 = TURN_S * 1000;

    #[test]
    fn the_next_certificate_is_the_one_that_was_announced() {
        let folder = tempfile::tempdir().unwrap();
        let now = 4_000 * TURN_MS + 17;
        let (mut development, first) = Development::open(folder.path().join("c"), now).unwrap();
        assert_eq!(first.hashes.len(), 2);
        assert_eq!(first.hashes[0], hash(&first.key));
        assert!(development.refresh(now + TURN_MS - 20).unwrap().is_none());
        let second = development.refresh(now + TURN_MS).unwrap().unwrap();
        assert_eq!(second.hashes[0], first.hashes[1]);
        assert_eq!(second.hashes[0], hash(&second.key));
        assert_ne!(second.hashes[1], second.hashes[0]);
        let (_, again) = Development::open(folder.path().join("c"), now + TURN_MS + 5).unwrap();
        assert_eq!(again.hashes, second.hashes, "a relay that starts again shows the same");
        assert_eq!(std::fs::read_dir(folder.path().join("c")).unwrap().count(), 2, "older ones are removed");
    }

    #[test]
    fn a_relay_that_was_away_for_long_or_whose_file_is_damaged_makes_new_ones() {
        let folder = tempfile::tempdir().unwrap();
        let now = 4_000 * TURN_MS;
        let (_, first) = Development::open(folder.path().to_owned(), now).unwrap();
        std::fs::write(folder.path().join("4001.pem"), "damaged").unwrap();
        let (_, second) = Development::open(folder.path().to_owned(), now).unwrap();
        assert_eq!(first.hashes[0], second.hashes[0]);
        assert_ne!(first.hashes[1], second.hashes[1]);
        let (_, third) = Development::open(folder.path().to_owned(), now + 9 * TURN_MS).unwrap();
        assert!(third.hashes.iter().all(|hash| !second.hashes.contains(hash)));
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        Development::open(folder.path().to_owned(), 4_000 * TURN_MS).unwrap();
        let mode = std::fs::metadata(folder.path().join("4000.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}
