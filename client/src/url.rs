//! The address of a relay as people write it.

use selvedge_protocol::{CertificateHash, Endpoint, Transport};

use crate::Error;

/// Where a relay takes WebSockets.
const CONNECT_PATH: &str = "/v1/connect";

/// Where `quic://` addresses without a port lead.
const QUIC_PORT: u16 = 443;

/// The relay at an address as people write it: `quic` for QUIC, anything else for WebSocket. `certificates`: the only ones to
/// accept by QUIC, if any.
pub(crate) fn endpoint(text: &str, certificates: &[CertificateHash]) -> Result<Endpoint, Error> {
    if !text.starts_with("quic://") {
        return Ok(Endpoint::websocket(websocket_url(text)?));
    }
    if host_and_port(text).is_none() {
        return Err(Error::Url { value: text.to_owned(), problem: "it is not quic://HOST:PORT" });
    }
    let mut endpoint = Endpoint::at(text, &[Transport::Quic]);
    for address in &mut endpoint.addresses {
        address.certificates = certificates.to_vec();
    }
    Ok(endpoint)
}

/// Host, without the brackets of an IPv6 address, and port of a `quic://` address.
pub(crate) fn host_and_port(url: &str) -> Option<(&str, u16)> {
    let rest = url.strip_prefix("quic://")?.split(['/', '?', '#']).next()?;
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => rest.find(':').map_or((rest, ""), |at| rest.split_at(at)),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None if port.is_empty() => QUIC_PORT,
        None => return None,
    };
    let usable = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '@');
    usable.then_some((host, port))
}

/// The WebSocket address of a relay: `http`, `https`, `ws` or `wss`, host and port; a path is kept, none means the usual one.
pub(crate) fn websocket_url(text: &str) -> Result<String, Error> {
    let refused = |problem| Err(Error::Url { value: text.to_owned(), problem });
    let Some((scheme, rest)) = text.split_once("://") else {
        return refused("it has no scheme");
    };
    let scheme = match scheme {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        _ => return refused("its scheme is none of http, https, ws, wss and quic"),
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '@') {
        return refused("it names no host");
    }
    if let Some((_, port)) = host.rsplit_once(':')
        && !port.ends_with(']')
        && port.parse::<u16>().is_err()
    {
        return refused("its port is no number from 0 to 65535");
    }
    let path = if path.is_empty() || path == "/" { CONNECT_PATH } else { path };
    Ok(format!("{scheme}://{host}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(websocket_url(text).ok().as_deref(), expected, "{text}");
    }

    #[test]
    fn quic_addresses() {
        let check = |text: &str, expected: Option<(&str, u16)>| {
            assert_eq!(host_and_port(text), expected, "{text}");
            let transport = endpoint(text, &[[7; 32]]).ok().map(|found| found.addresses[0].transport);
            assert_eq!(transport, expected.map(|_| Transport::Quic), "{text}");
        };
        check("quic://127.0.0.1:4400", Some(("127.0.0.1", 4400)));
        check("quic://relay.example", Some(("relay.example", 443)));
        check("quic://relay.example/", Some(("relay.example", 443)));
        check("quic://[::1]:4400", Some(("::1", 4400)));
        check("quic://[::1]", Some(("::1", 443)));
        check("quic://", None);
        check("quic://host:port", None);
        check("quic://[::1", None);
        check("quic://a@b:1", None);
    }

    #[test]
    fn addresses() {
        check("http://127.0.0.1:4400", Some("ws://127.0.0.1:4400/v1/connect"));
        check("http://localhost:4400/", Some("ws://localhost:4400/v1/connect"));
        check("http://localhost:4400/#notes", Some("ws://localhost:4400/v1/connect"));
        check("ws://[::1]:4400/other", Some("ws://[::1]:4400/other"));
        check("ws://[::1]", Some("ws://[::1]/v1/connect"));
        check("127.0.0.1:4400", None);
        check("ftp://host", None);
        check("https://host", Some("wss://host/v1/connect"));
        check("wss://host:8443/other", Some("wss://host:8443/other"));
        check("http://", None);
        check("http://host:port", None);
        check("http://host:99999", None);
    }
}
