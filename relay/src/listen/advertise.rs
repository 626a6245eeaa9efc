//! Where clients reach this service: what the operator names, else this relay's own addresses.

use std::net::SocketAddr;
use std::sync::Arc;

use selvedge_protocol::{Address, CertificateHash, Endpoint, Transport, relays_at};

use crate::certificates::Certificates;

/// See the module.
#[derive(Debug)]
pub(crate) struct Advertised {
    pub(crate) region: String,
    /// As given by `--advertise`, `URL` or `REGION=URL`: this relay's first, whose addresses go with what it shows.
    pub(crate) named: Vec<String>,
    /// Where TCP listens.
    pub(crate) tcp: SocketAddr,
    /// Whether TCP speaks TLS.
    pub(crate) tls: bool,
    /// Where UDP listens, and what it shows.
    pub(crate) quic: Option<(SocketAddr, Arc<Certificates>)>,
}

impl Advertised {
    /// The relays at this moment, this one first: certificates for development change. `host` is how the client names this
    /// machine, for a relay that listens on all its addresses.
    pub(crate) fn endpoints(&self, host: Option<&str>) -> Vec<Endpoint> {
        if self.named.is_empty() {
            let addresses = self.own(host);
            return vec![Endpoint { relay: self.tcp.to_string(), region: self.region.clone(), addresses }];
        }
        let urls = self.named.iter().map(|named| region_and_url(named));
        let mut endpoints = relays_at(urls.map(|(region, url)| (region.unwrap_or(&self.region), url)));
        for address in endpoints.first_mut().into_iter().flat_map(|own| &mut own.addresses) {
            address.certificates = self.shown(address.transport);
        }
        endpoints
    }

    /// The only certificates that this relay shows by a transport; none: one that clients trust.
    fn shown(&self, transport: Transport) -> Vec<CertificateHash> {
        match (transport, &self.quic) {
            (Transport::WebTransport | Transport::Quic, Some((_, certificates))) => certificates.hashes(),
            _ => Vec::new(),
        }
    }

    fn own(&self, host: Option<&str>) -> Vec<Address> {
        let place = |address: SocketAddr| match (address.ip().is_unspecified(), host) {
            (false, _) => Some(address.to_string()),
            (true, Some(host)) => Some(format!("{host}:{}", address.port())),
            (true, None) => None,
        };
        let mut addresses = Vec::new();
        if let Some(quic) = &self.quic
            && let Some(place) = place(quic.0)
        {
            let certificates: Vec<CertificateHash> = quic.1.hashes();
            let url = format!("https://{place}/v1/connect");
            addresses.push(Address { transport: Transport::WebTransport, url, certificates: certificates.clone() });
            addresses.push(Address { transport: Transport::Quic, url: format!("quic://{place}"), certificates });
        }
        if let Some(place) = place(self.tcp) {
            let scheme = if self.tls { "wss" } else { "ws" };
            let url = format!("{scheme}://{place}/v1/connect");
            addresses.push(Address { transport: Transport::WebSocket, url, certificates: Vec::new() });
        }
        addresses
    }
}

/// The parts of what `--advertise` names.
pub(crate) fn region_and_url(named: &str) -> (Option<&str>, &str) {
    match named.split_once('=') {
        Some((region, url)) if !region.contains("://") => (Some(region), url),
        _ => (None, named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::{Keeper, TlsConfig};

    fn advertised(named: &[&str], tcp: &str) -> Advertised {
        let named = named.iter().map(|&url| url.to_owned()).collect();
        Advertised { region: "a".to_owned(), named, tcp: tcp.parse().unwrap(), tls: false, quic: None }
    }

    #[test]
    fn urls_of_one_host_are_one_relay_and_the_operators_own_comes_first() {
        let urls = ["wss://b.example/v1/connect?x=1", "far=wss://a.example/v1/connect", "quic://b.example"];
        let endpoints = advertised(&urls, "127.0.0.1:1").endpoints(None);
        let told: Vec<_> = endpoints.iter().map(|one| (&*one.relay, &*one.region, one.addresses.len())).collect();
        assert_eq!(told, [("b.example", "a", 2), ("a.example", "far", 1)]);
        assert_eq!(endpoints[0].addresses[1].transport, Transport::Quic);
    }

    #[test]
    fn a_relays_own_addresses_go_with_the_certificates_it_shows_and_those_of_others_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = Keeper::open(&TlsConfig::default(), folder.path().to_owned()).unwrap();
        let shown = keeper.certificates().hashes();
        assert!(!shown.is_empty());
        let urls = ["ws://127.0.0.1:5/v1/connect", "https://127.0.0.1:5/v1/connect", "https://127.0.0.1:7/v1/connect"];
        let quic = Some(("127.0.0.1:5".parse().unwrap(), keeper.certificates()));
        let endpoints = Advertised { quic, ..advertised(&urls, "127.0.0.1:5") }.endpoints(None);
        let told = endpoints.iter().flat_map(|one| &one.addresses).map(|address| &*address.certificates);
        assert_eq!(told.collect::<Vec<_>>(), [&[], &shown[..], &[]]);
    }

    #[test]
    fn a_relay_on_all_addresses_is_named_as_the_client_names_it() {
        let check = |tcp: &str, host: Option<&str>, expected: Option<&str>| {
            let endpoints = advertised(&[], tcp).endpoints(host);
            let url = endpoints[0].addresses.first().map(|address| address.url.clone());
            assert_eq!(url.as_deref(), expected, "{tcp} {host:?}");
        };
        check("127.0.0.1:5", Some("localhost"), Some("ws://127.0.0.1:5/v1/connect"));
        check("0.0.0.0:5", Some("machine.example"), Some("ws://machine.example:5/v1/connect"));
        check("0.0.0.0:5", None, None);
    }
}
