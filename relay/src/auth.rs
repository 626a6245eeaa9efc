//! Who somebody is, and what they may do. Open mode: this machine's own users, named by themselves.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use selvedge_protocol::{CloseCode, DEFAULT_TENANT, DocumentId, Rights};

use crate::session::{Fault, Identity};

/// Longest principal a record of the log keeps.
const PRINCIPAL_BYTES_MAX: usize = 256;
/// Who speaks in open mode without a name.
const ANONYMOUS: &str = "anonymous";
/// What a device's own name begins with.
const DEVICE_PREFIX: &str = "anon:";

/// How people are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    /// Nobody proves anything; only for addresses of this machine. A token `anon:...` names a device.
    Open,
}

impl Auth {
    /// Who brings this token.
    pub(crate) fn identify(self, token: Option<&str>) -> Result<Identity, Fault> {
        let Auth::Open = self;
        let principal = match token {
            None | Some("") => ANONYMOUS,
            Some(token) if token.starts_with(DEVICE_PREFIX) => token,
            // Whatever else was brought proves nothing here; its bearer is as anonymous as everybody.
            Some(_) => ANONYMOUS,
        };
        let printable = principal.bytes().all(|byte| byte.is_ascii_graphic());
        if principal.len() > PRINCIPAL_BYTES_MAX || !printable {
            return Err(Fault::new(
                CloseCode::TOKEN,
                "The device's name is too long or has other characters than printable ones.",
            ));
        }
        Ok(Identity { principal: principal.to_owned(), user: None, tenant: DEFAULT_TENANT.to_owned() })
    }

    /// What somebody may do with a document.
    pub(crate) fn rights(self, _identity: &Identity, _document: &DocumentId) -> Rights {
        let Auth::Open = self;
        Rights::Admin
    }

    /// Whether connections of one principal are counted: only where a principal is proven.
    pub(crate) fn counts_connections(self) -> bool {
        self != Auth::Open
    }
}

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

    #[test]
    fn devices_name_themselves_in_open_mode() {
        let principal = |token| Auth::Open.identify(token).map(|identity| identity.principal);
        assert_eq!(principal(None).unwrap(), "anonymous");
        assert_eq!(principal(Some("anon:17")).unwrap(), "anon:17");
        assert_eq!(principal(Some("something.else")).unwrap(), "anonymous");
        assert!(principal(Some(&format!("anon:{}", "x".repeat(300)))).is_err());
    }
}
