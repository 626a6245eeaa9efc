//! Where QUIC listens, and what one connection of it may take.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use clap::Args;

/// An address, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuicListen {
    /// No QUIC at all.
    Off,
    /// At this address.
    At(SocketAddr),
}

impl FromStr for QuicListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(QuicListen::Off);
        }
        let address = text.parse().map(QuicListen::At);
        address.map_err(|_| format!("`{text}` is neither an address such as 127.0.0.1:4400 nor `off`"))
    }
}

impl fmt::Display for QuicListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuicListen::Off => f.write_str("off"),
            QuicListen::At(address) => address.fmt(f),
        }
    }
}

/// QUIC: WebTransport and native clients.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct QuicConfig {
    /// UDP address of WebTransport and native QUIC, or `off` [default: that of --listen, if it is of this machine alone or
    /// --tls-cert is given].
    #[arg(long, env = "SELVEDGE_QUIC", value_name = "ADDRESS")]
    pub quic: Option<QuicListen>,
    /// Streams one QUIC connection may have open: one for each document, and those of the connection itself.
    #[arg(long, env = "SELVEDGE_QUIC_STREAMS_MAX", default_value_t = 72)]
    pub quic_streams_max: u64,
    /// Bytes on their way to the relay on one stream before it has read them.
    #[arg(long, env = "SELVEDGE_QUIC_STREAM_WINDOW_BYTES", default_value_t = 256 * 1024)]
    pub quic_stream_window_bytes: u64,
    /// Bytes on their way on one QUIC connection, each way.
    #[arg(long, env = "SELVEDGE_QUIC_WINDOW_BYTES", default_value_t = 1024 * 1024)]
    pub quic_window_bytes: u64,
    /// How long, in milliseconds, a QUIC connection may be silent.
    #[arg(long, env = "SELVEDGE_QUIC_IDLE_MS", default_value_t = 30_000)]
    pub quic_idle_ms: u64,
    /// QUIC handshakes at once; more are refused.
    #[arg(long, env = "SELVEDGE_QUIC_HANDSHAKES_MAX", default_value_t = 1024)]
    pub quic_handshakes_max: u64,
    /// QUIC handshakes at once above which a client must first show that it is where it says it is.
    #[arg(long, env = "SELVEDGE_QUIC_RETRY_ABOVE", default_value_t = 128)]
    pub quic_retry_above: u64,
}

impl Default for QuicConfig {
    fn default() -> Self {
        QuicConfig {
            quic: None,
            quic_streams_max: 72,
            quic_stream_window_bytes: 256 * 1024,
            quic_window_bytes: 1024 * 1024,
            quic_idle_ms: 30_000,
            quic_handshakes_max: 1024,
            quic_retry_above: 128,
        }
    }
}

impl QuicConfig {
    /// The UDP address of a relay that listens on TCP at `listen`, if there is one.
    pub(crate) fn address(&self, listen: SocketAddr, has_certificate: bool) -> Option<SocketAddr> {
        match self.quic {
            Some(QuicListen::At(address)) => Some(address),
            Some(QuicListen::Off) => None,
            None => (listen.ip().is_loopback() || has_certificate).then_some(listen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quic_listens_beside_tcp_unless_told_otherwise() {
        let check = |quic: Option<&str>, listen: &str, has_certificate: bool, expected: Option<&str>| {
            let config = QuicConfig { quic: quic.map(|text| text.parse().unwrap()), ..QuicConfig::default() };
            let address = config.address(listen.parse().unwrap(), has_certificate);
            assert_eq!(address, expected.map(|text| text.parse().unwrap()), "{quic:?} {listen} {has_certificate}");
        };
        check(None, "127.0.0.1:4400", false, Some("127.0.0.1:4400"));
        check(None, "[::1]:4400", false, Some("[::1]:4400"));
        check(None, "192.0.2.1:443", false, None);
        check(None, "192.0.2.1:443", true, Some("192.0.2.1:443"));
        check(Some("off"), "127.0.0.1:4400", true, None);
        check(Some("127.0.0.1:9"), "192.0.2.1:443", false, Some("127.0.0.1:9"));
        assert!("on".parse::<QuicListen>().unwrap_err().contains("`on`"));
    }
}
