//! Which pages may connect.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

/// Whether a page of this origin may connect: no origin (not a browser), the relay's own, or one of the list.
pub(crate) fn origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if allowed.iter().any(|allowed| allowed == "*" || allowed.trim_end_matches('/') == origin) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    host.is_some() && host == authority
}

/// [`origin_allowed`], or a page that this machine's relay on `port` serves, by whatever name of the machine it was asked: a page
/// of `localhost` connects to an address, since browsers do not look for another one there.
pub(crate) fn page_allowed(headers: &HeaderMap, allowed: &[String], port: u16) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let authority = origin.and_then(|origin| origin.split_once("://")).map_or("", |(_, authority)| authority);
    let own = authority.rsplit_once(':').is_some_and(|(host, of)| of.parse() == Ok(port) && is_this_machine(host));
    own || origin_allowed(headers, allowed)
}

fn is_this_machine(host: &str) -> bool {
    let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_connect_from_the_relays_own_origin_or_the_list() {
        let check = |origin: Option<&str>, allowed: &[&str], expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:4400".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            let allowed: Vec<String> = allowed.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(origin_allowed(&headers, &allowed), expected, "{origin:?} {allowed:?}");
        };
        check(None, &[], true);
        check(Some("http://127.0.0.1:4400"), &[], true);
        check(Some("http://127.0.0.1:4401"), &[], false);
        check(Some("http://evil.example"), &[], false);
        check(Some("null"), &[], false);
        check(Some("http://evil.example"), &["http://evil.example/"], true);
        check(Some("http://evil.example"), &["*"], true);
    }

    #[test]
    fn this_machines_page_connects_to_its_relay_by_any_name_of_the_machine() {
        let check = |origin: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:4433".parse().unwrap());
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            assert_eq!(page_allowed(&headers, &[], 4400), expected, "{origin}");
        };
        check("http://localhost:4400", true);
        check("http://127.0.0.1:4400", true);
        check("http://[::1]:4400", true);
        check("http://localhost:3000", false);
        check("http://evil.example:4400", false);
        check("https://127.0.0.1:4433", true);
    }
}
