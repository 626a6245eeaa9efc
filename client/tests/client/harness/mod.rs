//! A real relay for the native client's tests, and a door of TLS in front of it.
#![allow(dead_code, unreachable_pub, reason = "every suite uses a part")]

pub mod door;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use selvedge_client::{ClientOptions, Doc, Handle, OpenOptions};
use selvedge_relay::{Config, Running, run};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(answer) => answer,
        Err(_) => panic!("it took too long: {what}"),
    }
}

/// A relay inside the test, on an address of its own that it keeps over restarts.
pub struct Relay {
    pub running: Running,
    pub folder: TempDir,
}

impl Relay {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { data: folder.path().join("data"), drain_ms: 2_000, ..Config::default() };
        config.listen.listen = "127.0.0.1:0".parse().unwrap();
        config.listen.admin = "127.0.0.1:0".parse().unwrap();
        change(&mut config);
        Relay { running: run(config).await.unwrap(), folder }
    }

    pub async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    pub async fn restart_with(self, change: impl FnOnce(&mut Config)) -> Self {
        let Relay { running, folder } = self;
        let address = running.address;
        running.drain().await;
        // The last packets of closed connections keep the socket for a moment.
        let free = async {
            while UdpSocket::bind(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("the UDP port is free", free).await;
        let mut config = Config { data: folder.path().join("data"), drain_ms: 2_000, ..Config::default() };
        config.listen.listen = address;
        config.listen.admin = "127.0.0.1:0".parse().unwrap();
        change(&mut config);
        Relay { running: run(config).await.unwrap(), folder }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.running.address)
    }

    pub fn connect(&self) -> Handle {
        Handle::connect(&self.url(), ClientOptions::default()).unwrap()
    }
}

pub async fn open(handle: &Handle, document: &str) -> Doc {
    handle.open(document, OpenOptions::default()).await.unwrap()
}

/// Ends TLS in front of a relay, as a load balancer does, with a certificate of an authority of its own.
pub struct TlsDoor {
    pub address: SocketAddr,
    /// The authority's certificate, a PEM file.
    pub ca: PathBuf,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl TlsDoor {
    pub async fn before(relay: SocketAddr) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut inside) = acceptor.accept(stream).await else { return };
                    let Ok(mut outside) = TcpStream::connect(relay).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                });
            }
        });
        Self { address, ca, task, _folder: folder }
    }
}

impl Drop for TlsDoor {
    fn drop(&mut self) {
        self.task.abort();
    }
}
