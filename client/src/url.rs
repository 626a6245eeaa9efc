//! The address of a relay as people write it.

use crate::Error;

/// Where a relay takes WebSockets.
const CONNECT_PATH: &str = "/v1/connect";

/// The WebSocket address of a relay: `http`, `https`, `ws` or `wss`, host and port; a path is kept, none means the usual one.
pub(crate) fn websocket_url(text: &str) -> Result<String, Error> {
    let refused = |problem| Err(Error::Url { value: text.to_owned(), problem });
    let Some((scheme, rest)) = text.split_once("://") else {
        return refused("it has no scheme");
    };
    let scheme = match scheme {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        _ => return refused("its scheme is none of http, https, ws and wss"),
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
