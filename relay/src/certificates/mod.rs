//! What this relay proves its name with: the operator's files, read again when they change, or certificates made here for
//! development, whose hashes pages and clients are told.
//!
//! New connections are shown what is current; those that are open keep what they were shown.

mod config;
mod development;
mod files;

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use selvedge_protocol::CertificateHash;
use tokio::sync::watch;

use crate::clock::wall_ms;
use crate::metrics::Metrics;
pub use config::TlsConfig;
use development::Development;
use files::Files;

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read as PEM.
    #[error("--{flag} {}: {problem}\n  fix: name a readable PEM file", path.display())]
    Unreadable {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Both files are PEM, and cannot be used together.
    #[error("--tls-cert {} with --tls-key {}: {source}\n  fix: name the certificate's own key, of ECDSA, Ed25519 or RSA", cert.display(), key.display())]
    Unusable {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What the library says.
        source: rustls::Error,
    },
    /// A certificate for development cannot be made or kept.
    #[error("--data {}: a certificate for development cannot be kept: {problem}\n  fix: make the folder writable, or name certificates by --tls-cert and --tls-key", folder.display())]
    Development {
        /// The folder of certificates.
        folder: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// A certificate, its key, and the hashes by which clients know it if no authority vouches for it.
#[derive(Clone, Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    /// Of the certificate shown now and of the one shown next; empty where an authority vouches.
    hashes: Vec<CertificateHash>,
}

#[derive(Debug)]
enum Source {
    Files(Files),
    Development(Development),
}

impl Source {
    /// What is to be shown at `now_ms` of wall time, if that changed.
    fn refresh(&mut self, now_ms: u64) -> Result<Option<Shown>, CertificateError> {
        match self {
            Source::Files(files) => files.refresh(),
            Source::Development(development) => development.refresh(now_ms),
        }
    }
}

/// The certificate that new connections are shown.
#[derive(Debug)]
pub(crate) struct Certificates {
    shown: RwLock<Shown>,
}

impl Certificates {
    /// The hashes of the certificates shown now and next; empty where an authority vouches for them.
    pub(crate) fn hashes(&self) -> Vec<CertificateHash> {
        self.shown.read().expect("no code panics with this lock held").hashes.clone()
    }

    fn show(&self, shown: Shown) {
        *self.shown.write().expect("no code panics with this lock held") = shown;
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.read().expect("no code panics with this lock held").key))
    }
}

/// Looks after the certificates: reads files again, makes the next certificate for development.
#[derive(Debug)]
pub(crate) struct Keeper {
    source: Source,
    certificates: Arc<Certificates>,
    every: Duration,
}

impl Keeper {
    /// Takes the certificate of the configuration, or one made in `folder`.
    pub(crate) fn open(config: &TlsConfig, folder: PathBuf) -> Result<Self, CertificateError> {
        let (source, shown) = match config.files() {
            Some((cert, key)) => {
                let (files, shown) = Files::open(cert, key)?;
                (Source::Files(files), shown)
            }
            None => {
                let (development, shown) = Development::open(folder, wall_ms())?;
                (Source::Development(development), shown)
            }
        };
        let certificates = Arc::new(Certificates { shown: RwLock::new(shown) });
        Ok(Keeper { source, certificates, every: Duration::from_millis(config.tls_check_ms) })
    }

    /// What it looks after.
    pub(crate) fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates)
    }

    /// Looks again and again until told to stop. What cannot be used is said and changes nothing.
    pub(crate) async fn run(mut self, metrics: Arc<Metrics>, mut stopped: watch::Receiver<bool>) {
        let mut due = tokio::time::interval(self.every);
        loop {
            tokio::select! {
                _ = due.tick() => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            let mut source = self.source;
            let looked = tokio::task::spawn_blocking(move || {
                let refreshed = source.refresh(wall_ms());
                (source, refreshed)
            });
            let Ok((source, refreshed)) = looked.await else { return };
            self.source = source;
            match refreshed {
                Ok(None) => {}
                Ok(Some(shown)) => {
                    tracing::info!("new connections are shown another certificate");
                    metrics.certificate_changes.inc();
                    self.certificates.show(shown);
                }
                Err(error) => {
                    tracing::warn!(%error, "the certificate stays as it is");
                    metrics.certificate_failures.inc();
                }
            }
        }
    }
}

/// The rustls configuration of a server that shows these certificates and speaks one of `protocols`.
pub(crate) fn server_config(certificates: Arc<Certificates>, protocols: &[&[u8]], quic: bool) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[_] =
        if quic { &[&rustls::version::TLS13] } else { &[&rustls::version::TLS13, &rustls::version::TLS12] };
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let builder = builder.expect("ring has cipher suites of both versions").with_no_client_auth();
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // Early data could be replayed by whoever saw it.
    config.max_early_data_size = 0;
    config
}
