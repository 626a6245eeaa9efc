//! The operator's certificate and key, in PEM files that somebody else renews.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{CertificateError, Shown};

/// What tells that a file has been written again: when, and its length.
type Stamp = Option<(SystemTime, u64)>;

/// See the module.
#[derive(Debug)]
pub(super) struct Files {
    cert: PathBuf,
    key: PathBuf,
    /// Of both files when they were last looked at.
    seen: [Stamp; 2],
}

impl Files {
    pub(super) fn open(cert: &Path, key: &Path) -> Result<(Self, Shown), CertificateError> {
        let files = Files { cert: cert.to_owned(), key: key.to_owned(), seen: [stamp(cert), stamp(key)] };
        let shown = files.load()?;
        Ok((files, shown))
    }

    /// Reads the files if one of them has changed. While only one of a pair is there the old pair stays.
    pub(super) fn refresh(&mut self) -> Result<Option<Shown>, CertificateError> {
        let seen = [stamp(&self.cert), stamp(&self.key)];
        if std::mem::replace(&mut self.seen, seen) == seen {
            return Ok(None);
        }
        self.load().map(Some)
    }

    fn load(&self) -> Result<Shown, CertificateError> {
        let unreadable = |flag, path: &Path, problem: String| {
            Err(CertificateError::Unreadable { flag, path: path.to_owned(), problem })
        };
        let chain = CertificateDer::pem_file_iter(&self.cert).and_then(Iterator::collect);
        let chain: Vec<CertificateDer<'static>> = match chain {
            Ok(chain) => chain,
            Err(error) => return unreadable("tls-cert", &self.cert, error.to_string()),
        };
        if chain.is_empty() {
            return unreadable("tls-cert", &self.cert, "holds no certificate".to_owned());
        }
        let key = match PrivateKeyDer::from_pem_file(&self.key) {
            Ok(key) => key,
            Err(error) => return unreadable("tls-key", &self.key, error.to_string()),
        };
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|source| CertificateError::Unusable {
            cert: self.cert.clone(),
            key: self.key.clone(),
            source,
        })?;
        Ok(Shown { key: Arc::new(key), hashes: Vec::new() })
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, names: &[&str]) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let cert = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        std::fs::create_dir_all(folder).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    #[test]
    fn files_are_read_again_when_they_change_and_only_as_a_pair() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let (old, new) = (write(folder.path(), &["old.example"]), write(folder.path(), &["renewed.example"]));
        std::fs::write(&cert, &old.0).unwrap();
        std::fs::write(&key, &old.1).unwrap();
        let (mut files, first) = Files::open(&cert, &key).unwrap();
        assert!(files.refresh().unwrap().is_none(), "nothing has changed");
        std::fs::write(&cert, &new.0).unwrap();
        let mismatch = files.refresh().unwrap_err().to_string();
        assert!(mismatch.contains("--tls-cert") && mismatch.contains("--tls-key") && mismatch.contains("fix:"));
        assert!(files.refresh().unwrap().is_none(), "a fault is told once");
        // Of another length too: a file system may not tell two writes of one moment apart.
        std::fs::write(&key, format!("\n{}", new.1)).unwrap();
        let second = files.refresh().unwrap().expect("both are new");
        assert_ne!(first.key.cert, second.key.cert);
        assert!(second.hashes.is_empty());
        std::fs::remove_file(&key).unwrap();
        assert!(files.refresh().is_err());
    }

    #[test]
    fn mistakes_name_the_flag_the_file_and_the_fix() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let refused = |parts: &[&str]| {
            let message = Files::open(&cert, &key).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{part:?} is missing in {message:?}");
            }
        };
        refused(&["--tls-cert", "cert.pem", "fix:"]);
        std::fs::write(&cert, "no PEM").unwrap();
        refused(&["--tls-cert", "cert.pem", "holds no certificate", "fix:"]);
        let pair = write(folder.path(), &["a.example"]);
        std::fs::write(&cert, &pair.0).unwrap();
        refused(&["--tls-key", "key.pem", "fix:"]);
        std::fs::write(&key, &pair.0).unwrap();
        refused(&["--tls-key", "key.pem", "fix:"]);
    }
}
