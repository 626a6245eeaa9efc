//! One UDP socket for browsers and native clients: WebTransport and our own protocol on QUIC, told apart by ALPN.
//!
//! `accept` decides who may shake hands, `streams` makes frames of streams and datagrams; from there on a connection is a
//! conversation like any other (`listen/conversation.rs`).

mod accept;
mod config;
mod streams;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt};

use crate::certificates::{Certificates, server_config};
pub(crate) use accept::serve;
pub use config::{QuicConfig, QuicListen};

/// Our own protocol over QUIC.
const ALPN_SELVEDGE: &[u8] = b"selvedge/1";
/// WebTransport, over HTTP/3.
const ALPN_H3: &[u8] = web_transport_quinn::ALPN.as_bytes();
/// Unidirectional streams a client may open: those of HTTP/3 itself.
const UNIDIRECTIONAL_STREAMS_MAX: u32 = 8;
/// Bytes that wait in one connection's buffer of datagrams, each way; the oldest give way.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an unfinished handshake that wait for the task that takes it on, for one and for all.
const INCOMING_BYTES_MAX: u64 = 64 * 1024;

/// Binds the socket. A port that nobody asked for for UDP and that is occupied is replaced by another: clients are told of it.
pub(crate) fn bind(
    config: &QuicConfig,
    address: SocketAddr,
    any_port_will_do: bool,
    certificates: Arc<Certificates>,
) -> std::io::Result<Endpoint> {
    let socket = UdpSocket::bind(address).or_else(|error| match any_port_will_do {
        true => {
            tracing::warn!(%address, %error, "the UDP port is occupied; QUIC takes another");
            UdpSocket::bind(SocketAddr::new(address.ip(), 0))
        }
        false => Err(error),
    })?;
    let server = server(config, certificates);
    Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))
}

fn server(config: &QuicConfig, certificates: Arc<Certificates>) -> ServerConfig {
    let crypto = server_config(certificates, &[ALPN_H3, ALPN_SELVEDGE], true);
    let crypto = QuicServerConfig::try_from(crypto).expect("ring has the cipher suite of initial packets");
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    let incoming = usize::try_from(config.quic_handshakes_max).unwrap_or(usize::MAX);
    server.max_incoming(incoming);
    server.incoming_buffer_size(INCOMING_BYTES_MAX);
    server.incoming_buffer_size_total(INCOMING_BYTES_MAX.saturating_mul(config.quic_handshakes_max));
    server.migration(true);
    server.transport_config(Arc::new(transport(config)));
    server
}

fn transport(config: &QuicConfig) -> TransportConfig {
    let number = |value: u64| VarInt::from_u64(value).unwrap_or(VarInt::MAX);
    let idle = Duration::from_millis(config.quic_idle_ms);
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(number(config.quic_streams_max));
    transport.max_concurrent_uni_streams(UNIDIRECTIONAL_STREAMS_MAX.into());
    transport.stream_receive_window(number(config.quic_stream_window_bytes));
    transport.receive_window(number(config.quic_window_bytes));
    transport.send_window(config.quic_window_bytes);
    transport.max_idle_timeout(IdleTimeout::try_from(idle).ok());
    // Pages in the background may not ping for a minute; a peer that is gone answers neither.
    transport.keep_alive_interval(Some(idle / 2));
    transport.datagram_receive_buffer_size(Some(DATAGRAM_BYTES_MAX));
    transport.datagram_send_buffer_size(DATAGRAM_BYTES_MAX);
    transport
}
