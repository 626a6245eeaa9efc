//! TLS on TCP with the operator's certificate, which somebody else renews.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::Relay;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use selvedge_relay::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A new certificate for `localhost` in the folder's two files.
fn issue(folder: &Path) -> CertificateDer<'static> {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    certificate.der().clone()
}

fn with_files(folder: &Path) -> impl FnOnce(&mut Config) {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    move |config| {
        config.tls.tls_cert = Some(cert);
        config.tls.tls_key = Some(key);
        config.tls.tls_check_ms = 20;
        config.listen.handshake_ms = 500;
    }
}

async fn connect(address: SocketAddr, trusted: &[CertificateDer<'static>]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
}

async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_buf(&mut answer)).await;
        assert_ne!(read.expect("no answer came").unwrap(), 0, "the answer ends in its head");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_to_new_connections_and_open_ones_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let old = issue(folder.path());
    let relay = Relay::start_with(with_files(folder.path())).await;
    let address = relay.running.address;
    assert_eq!(relay.running.url(), format!("https://{address}/"));
    let mut open = connect(address, std::slice::from_ref(&old)).await.unwrap();
    assert!(get(&mut open, "/healthz").await.starts_with("HTTP/1.1 200"));
    let endpoints = get(&mut open, "/v1/endpoints").await;
    assert!(endpoints.contains("HTTP/1.1 200"), "{endpoints}");

    let new = issue(folder.path());
    let began = Instant::now();
    while connect(address, std::slice::from_ref(&new)).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "the new certificate is never shown");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(connect(address, std::slice::from_ref(&old)).await.is_err());
    assert!(get(&mut open, "/healthz").await.starts_with("HTTP/1.1 200"));

    std::fs::write(folder.path().join("cert.pem"), "damaged").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut still = connect(address, std::slice::from_ref(&new)).await.unwrap();
    assert!(get(&mut still, "/metrics").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_no_tls_or_stops_within_its_handshake_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = issue(folder.path());
    let relay = Relay::start_with(with_files(folder.path())).await;
    let address = relay.running.address;
    for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{said:?} is waited for");
        assert!(!answer.starts_with(b"HTTP/"), "{said:?} is answered without TLS");
    }
    let mut honest = connect(address, &[certificate]).await.unwrap();
    assert!(get(&mut honest, "/healthz").await.starts_with("HTTP/1.1 200"));
}
