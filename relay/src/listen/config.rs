//! Where and for whom the relay listens.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::Network;

/// Addresses, pages and origins.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ListenConfig {
    /// Address of documents: HTTP and WebSocket, with --tls-cert by TLS.
    #[arg(long, env = "SELVEDGE_LISTEN", default_value = "127.0.0.1:4400", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Address of metrics and health.
    #[arg(long, env = "SELVEDGE_ADMIN", default_value = "127.0.0.1:4401", value_name = "ADDRESS")]
    pub admin: SocketAddr,
    /// Folder of a built page to serve, with its index.html.
    #[arg(long, env = "SELVEDGE_WEB", value_name = "DIR")]
    pub web: Option<PathBuf>,
    /// Origins of pages that may connect, beside the relay's own; `*` for any.
    #[arg(long, env = "SELVEDGE_ALLOW_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// URLs of this relay and others as clients reach them, this relay's first: ws or wss for WebSocket, https for
    /// WebTransport, quic for native clients; those of another region as REGION=URL [default: the addresses listened on].
    #[arg(long, env = "SELVEDGE_ADVERTISE", value_delimiter = ',', value_name = "URL")]
    pub advertise: Vec<String>,
    /// Networks whose `X-Forwarded-For` is believed when connections are counted per address.
    #[arg(long, env = "SELVEDGE_TRUSTED_PROXY", value_delimiter = ',', value_name = "CIDR")]
    pub trusted_proxy: Vec<Network>,
    /// Connections at once.
    #[arg(long, env = "SELVEDGE_CONNECTIONS_MAX", default_value_t = 18_000)]
    pub connections_max: u64,
    /// Connections without a finished hello per IPv4 address; loopback is not counted.
    #[arg(long, env = "SELVEDGE_UNAUTHENTICATED_PER_IPV4", default_value_t = 20)]
    pub unauthenticated_per_ipv4: u64,
    /// Connections without a finished hello per IPv6 /64.
    #[arg(long, env = "SELVEDGE_UNAUTHENTICATED_PER_IPV6", default_value_t = 50)]
    pub unauthenticated_per_ipv6: u64,
    /// Connections without a finished hello in all, in percent of `--connections-max`.
    #[arg(long, env = "SELVEDGE_UNAUTHENTICATED_PERCENT", default_value_t = 10)]
    pub unauthenticated_percent: u64,
    /// How long, in milliseconds, a handshake of TLS or QUIC may take.
    #[arg(long, env = "SELVEDGE_HANDSHAKE_MS", default_value_t = 5_000)]
    pub handshake_ms: u64,
    /// How long, in milliseconds, a connection may take for the head of an HTTP request.
    #[arg(long, env = "SELVEDGE_HTTP_HEAD_MS", default_value_t = 10_000)]
    pub http_head_ms: u64,
    /// Longest head of an HTTP request, in bytes.
    #[arg(long, env = "SELVEDGE_HTTP_HEAD_BYTES_MAX", default_value_t = 16 * 1024)]
    pub http_head_bytes_max: u64,
    /// Longest body of a REST request, in bytes.
    #[arg(long, env = "SELVEDGE_HTTP_BODY_BYTES_MAX", default_value_t = 17 * 1024 * 1024)]
    pub http_body_bytes_max: u64,
    /// Read buffer of one WebSocket, in bytes.
    #[arg(long, env = "SELVEDGE_WEBSOCKET_READ_BYTES", default_value_t = 4096)]
    pub websocket_read_bytes: u64,
    /// Most bytes one WebSocket holds for writing beside the session's own queue.
    #[arg(long, env = "SELVEDGE_WEBSOCKET_WRITE_BYTES_MAX", default_value_t = 1024 * 1024)]
    pub websocket_write_bytes_max: u64,
}

impl Default for ListenConfig {
    fn default() -> Self {
        ListenConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4400)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 4401)),
            web: None,
            allow_origin: Vec::new(),
            advertise: Vec::new(),
            trusted_proxy: Vec::new(),
            connections_max: 18_000,
            unauthenticated_per_ipv4: 20,
            unauthenticated_per_ipv6: 50,
            unauthenticated_percent: 10,
            handshake_ms: 5_000,
            http_head_ms: 10_000,
            http_head_bytes_max: 16 * 1024,
            http_body_bytes_max: 17 * 1024 * 1024,
            websocket_read_bytes: 4096,
            websocket_write_bytes_max: 1024 * 1024,
        }
    }
}
