//! A connection over QUIC that says exactly what a test wants it to: by our own ALPN or by WebTransport.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use selvedge_engine::Delta;
use selvedge_protocol::message::{OpenOk, Push};
use selvedge_protocol::stream::StreamEncoder;
use selvedge_protocol::{Channel, ClientMessage, CloseCode, DecodeError, Frame, ServerMessage};
use sha2::{Digest, Sha256};
use web_transport_quinn::{RecvStream, SendStream, Session, SessionError, WebTransportError};

use super::Relay;
use super::http::ask;
use super::raw::{hello, open};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Selvedge,
    WebTransport,
}

pub const BOTH: [Speaks; 2] = [Speaks::Selvedge, Speaks::WebTransport];

/// See the module.
pub struct Quic {
    pub endpoint: quinn::Endpoint,
    pub session: Session,
}

impl Quic {
    pub async fn connect(relay: &Relay, speaks: Speaks) -> Self {
        let headers = &[];
        Self::connect_from(relay, speaks, "/v1/connect", headers).await.unwrap()
    }

    /// Connects to a path with fields as a browser would send.
    pub async fn connect_from(
        relay: &Relay,
        speaks: Speaks,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<Self, String> {
        let address = relay.running.quic.unwrap();
        let alpn: &[u8] = if speaks == Speaks::Selvedge { b"selvedge/1" } else { b"h3" };
        let config = client_config(hashes(relay).await, alpn);
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = endpoint.connect_with(config, address, "localhost").unwrap();
        let connection = connecting.await.map_err(|error| error.to_string())?;
        let session = match speaks {
            Speaks::Selvedge => Session::raw(connection),
            Speaks::WebTransport => {
                let url: url::Url = format!("https://{address}{path}").parse().unwrap();
                let mut request = web_transport_quinn::proto::ConnectRequest::new(url);
                for (name, value) in fields {
                    request = request.with_header(name.parse().unwrap(), value.parse().unwrap());
                }
                Session::connect(connection, request).await.map_err(|error| error.to_string())?
            }
        };
        Ok(Quic { endpoint, session })
    }

    /// Connects, says hello under a name, and waits for its answer.
    pub async fn hello(relay: &Relay, speaks: Speaks, name: &str) -> (Self, Wire) {
        let quic = Self::connect(relay, speaks).await;
        let mut control = quic.wire(Channel::CONNECTION).await;
        control.say(hello(&[1], Some(name))).await;
        control.expect(|message| matches!(message, ServerMessage::HelloOk(_))).await;
        (quic, control)
    }

    /// A new stream, nothing said on it yet.
    pub async fn wire(&self, channel: Channel) -> Wire {
        let (send, recv) = tokio::time::timeout(PATIENCE, self.session.open_bi()).await.unwrap().unwrap();
        Wire { send, recv, channel, waiting: Vec::new(), encoder: StreamEncoder::new(), pushes: 0 }
    }

    /// A stream with an open document.
    pub async fn open(&self, channel: u32, document: &str) -> (Wire, OpenOk) {
        let mut wire = self.wire(Channel(channel)).await;
        wire.say(open(document)).await;
        match wire.expect(|message| matches!(message, ServerMessage::OpenOk(_))).await {
            ServerMessage::OpenOk(ok) => (wire, ok),
            _ => unreachable!(),
        }
    }

    /// Code and reason the relay closes the connection with.
    pub async fn closed(&self) -> (CloseCode, String) {
        let error = tokio::time::timeout(PATIENCE, self.session.closed()).await.expect("it was not closed");
        match error {
            SessionError::WebTransportError(WebTransportError::Closed(code, reason)) => {
                (CloseCode(u16::try_from(code).unwrap()), reason)
            }
            SessionError::ConnectionError(quinn::ConnectionError::ApplicationClosed(close)) => {
                let code = u16::try_from(close.error_code.into_inner()).unwrap();
                (CloseCode(code), String::from_utf8_lossy(&close.reason).into_owned())
            }
            other => (CloseCode::ABNORMAL, other.to_string()),
        }
    }
}

/// One stream.
pub struct Wire {
    pub send: SendStream,
    pub recv: RecvStream,
    channel: Channel,
    waiting: Vec<u8>,
    encoder: StreamEncoder,
    pushes: u64,
}

impl Wire {
    pub async fn say(&mut self, message: impl Into<ClientMessage>) {
        let bytes = message.into().to_frame(self.channel).unwrap();
        self.bytes(&bytes).await;
    }

    /// Sends what the relay may refuse to read.
    pub async fn bytes(&mut self, bytes: &[u8]) {
        if let Err(error) = self.send.write_all(bytes).await {
            eprintln!("the relay did not take all of it: {error}");
        }
    }

    pub async fn push(&mut self, deltas: &[Delta]) {
        let mut bytes = Vec::new();
        for delta in deltas {
            self.encoder.push(delta, &mut bytes);
        }
        let seq = self.pushes;
        self.pushes += 1;
        self.say(Push { seq, tag: None, deltas: bytes.into() }).await;
    }

    /// The first message like this; others before it are let go.
    pub async fn expect(&mut self, like: impl Fn(&ServerMessage) -> bool) -> ServerMessage {
        loop {
            let message = self.next().await.expect("the stream has ended");
            if like(&message) {
                return message;
            }
        }
    }

    /// The next message; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<ServerMessage> {
        loop {
            match Frame::parse(&self.waiting) {
                Ok((frame, taken)) => {
                    assert_eq!(frame.channel, self.channel, "a frame of another channel");
                    let message = ServerMessage::decode(&frame).unwrap();
                    self.waiting.drain(..taken);
                    if message.is_some() {
                        return message;
                    }
                }
                Err(DecodeError::Incomplete) => {
                    let read = tokio::time::timeout(PATIENCE, self.recv.read_chunk(64 * 1024, true)).await;
                    let chunk = read.expect("nothing came").ok().flatten()?;
                    self.waiting.extend_from_slice(&chunk.bytes);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// The certificates the relay tells of.
pub async fn hashes(relay: &Relay) -> Vec<[u8; 32]> {
    let told = ask(relay.running.address, "GET", "/v1/endpoints", &[], b"").await.json();
    let addresses = told["endpoints"][0]["addresses"].as_array().unwrap().clone();
    let certificates = addresses[0]["certificates"].as_array().unwrap().iter();
    certificates.map(|hash| hex::decode(hash.as_str().unwrap()).unwrap().try_into().unwrap()).collect()
}

pub fn client_config(hashes: Vec<[u8; 32]>, alpn: &[u8]) -> quinn::ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(ByHash { hashes, provider: Arc::clone(&provider) });
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let mut config = builder.unwrap().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
}

/// Accepts the certificates of these hashes and no others, as browsers do.
#[derive(Debug)]
struct ByHash {
    hashes: Vec<[u8; 32]>,
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
        let hash: [u8; 32] = Sha256::digest(end_entity).into();
        match self.hashes.contains(&hash) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::Error::General("no certificate that was told of".into())),
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

/// Takes packets to the relay and none back: whoever connects here never finishes a handshake.
pub async fn one_way(to: SocketAddr) -> SocketAddr {
    let taking = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = taking.local_addr().unwrap();
    tokio::spawn(async move {
        let giving = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut packet = vec![0; 2048];
        while let Ok((length, _)) = taking.recv_from(&mut packet).await {
            let _ = giving.send_to(&packet[..length], to).await;
        }
    });
    address
}
