//! Where certificates come from.

use std::path::{Path, PathBuf};

use clap::Args;

/// The operator's certificate.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct TlsConfig {
    /// PEM file of this relay's certificate and its chain: TCP then speaks TLS too (https, wss). Read again when it changes.
    /// Without it QUIC shows a certificate made for development, whose hash pages are told.
    #[arg(long, env = "SELVEDGE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's key.
    #[arg(long, env = "SELVEDGE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// How often, in milliseconds, it is looked whether the files have changed or a certificate for development is due.
    #[arg(long, env = "SELVEDGE_TLS_CHECK_MS", default_value_t = 10_000)]
    pub tls_check_ms: u64,
}

impl Default for TlsConfig {
    fn default() -> Self {
        TlsConfig { tls_cert: None, tls_key: None, tls_check_ms: 10_000 }
    }
}

impl TlsConfig {
    /// Certificate and key, if both are named.
    pub(crate) fn files(&self) -> Option<(&Path, &Path)> {
        Some((self.tls_cert.as_deref()?, self.tls_key.as_deref()?))
    }
}
