//! Whom to trust at the other end of TLS: the authorities this system trusts, and those of a file.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use selvedge_protocol::CertificateHash;
use sha2::{Digest, Sha256};

use crate::Error;

/// The settings of a client's end: certificates are checked against this system's authorities and, if given, those in the
/// PEM file `ca`.
///
/// # Errors
/// [`Error::Authorities`] when the file cannot be read or holds no certificate.
pub(crate) fn config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    /// Many connections of one process share it.
    static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    match ca {
        None => Ok(Arc::clone(SYSTEM.get_or_init(|| Arc::new(with_roots(system()))))),
        Some(ca) => Ok(Arc::new(with_roots(roots(ca)?))),
    }
}

/// This system's authorities and those in the PEM file `ca`.
///
/// # Errors
/// As [`config`].
fn roots(ca: &Path) -> Result<RootCertStore, Error> {
    let refused = |problem: String| Error::Authorities { path: ca.to_owned(), problem };
    let mut roots = system();
    let certificates = CertificateDer::pem_file_iter(ca).map_err(|error| refused(error.to_string()))?;
    let mut found = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        found += 1;
    }
    if found == 0 { Err(refused("it holds no certificate".to_owned())) } else { Ok(roots) }
}

/// What cannot be read of them is left out: with none at all, no certificate is trusted, and connecting says so.
fn system() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "authorities of this system that cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

/// The settings for an address with certificates of its own: these alone are accepted, by their SHA-256, whatever name and time they
/// say. Without any, `config` as it is.
pub(crate) fn accepting(config: &Arc<ClientConfig>, certificates: Vec<CertificateHash>) -> Arc<ClientConfig> {
    if certificates.is_empty() {
        return Arc::clone(config);
    }
    let mut config = ClientConfig::clone(config);
    let provider = Arc::clone(config.crypto_provider());
    config.dangerous().set_certificate_verifier(Arc::new(ByHash { certificates, provider }));
    Arc::new(config)
}

/// Accepts the certificates of these hashes and no others, as browsers do for WebTransport.
#[derive(Debug)]
struct ByHash {
    certificates: Vec<CertificateHash>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ByHash {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let hash: CertificateHash = Sha256::digest(end_entity).into();
        match self.certificates.contains(&hash) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn with_roots(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the protocol's default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_by_its_name() {
        assert!(config(None).is_ok());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        for text in
            [None, Some(""), Some("nonsense"), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
        {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let error = config(Some(&path)).unwrap_err().to_string();
            assert!(error.contains("ca.pem"), "{error}");
        }
    }
}
