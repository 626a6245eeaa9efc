//! Where a service can be reached, and in which order a client tries.

use bincode::{Decode, Encode};

use crate::error::DecodeError;
use crate::level::Instant;
use crate::message::at_most;
use crate::rendezvous::rendezvous;
use crate::signed_list::EndpointList;

/// How long a relay that failed is passed over, in milliseconds, while others are untried.
pub const AVOID_MS: u64 = 30_000;
/// Most addresses of one relay.
pub const ADDRESSES_MAX: usize = 8;
/// Most certificates of one address: the current one, the next, and room for a change of both.
pub const CERTIFICATES_MAX: usize = 4;
const URL_BYTES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 256;

/// SHA-256 of a certificate in DER.
pub type CertificateHash = [u8; 32];

/// One relay of the service and its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Endpoint {
    /// Name of the relay, the same whatever the way to it; empty: not known yet.
    pub relay: String,
    /// Name of its region; empty: not known yet.
    pub region: String,
    /// Where it listens.
    pub addresses: Vec<Address>,
}

/// One way to a relay.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Address {
    /// How to talk to it.
    pub transport: Transport,
    /// Where, as the transport wants it.
    pub url: String,
    /// The only certificates to accept there; none: those that the client trusts anyway.
    pub certificates: Vec<CertificateHash>,
}

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Transport {
    /// WebSocket over TCP.
    WebSocket,
    /// WebTransport over QUIC.
    WebTransport,
    /// QUIC with our own ALPN.
    Quic,
}

impl Endpoint {
    /// An unnamed relay of an unnamed region, reached at one address by any of these transports.
    pub fn at(url: impl Into<String>, transports: &[Transport]) -> Self {
        let url = url.into();
        let address = |transport: &Transport| Address { transport: *transport, url: url.clone(), certificates: vec![] };
        Self { relay: String::new(), region: String::new(), addresses: transports.iter().map(address).collect() }
    }

    /// [`Endpoint::at`] by WebSocket.
    pub fn websocket(url: impl Into<String>) -> Self {
        Self::at(url, &[Transport::WebSocket])
    }

    /// What it is known by: the relay's name, or where there is none its first address.
    pub fn name(&self) -> &str {
        match self.addresses.first() {
            Some(first) if self.relay.is_empty() => &first.url,
            _ => &self.relay,
        }
    }

    /// Holds a list that came in to its limits.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        at_most("a relay's name", self.relay.len(), NAME_BYTES_MAX)?;
        at_most("the region's name", self.region.len(), NAME_BYTES_MAX)?;
        at_most("a relay's addresses", self.addresses.len(), ADDRESSES_MAX)?;
        for address in &self.addresses {
            at_most("an address", address.url.len(), URL_BYTES_MAX)?;
            at_most("an address's certificates", address.certificates.len(), CERTIFICATES_MAX)?;
        }
        Ok(())
    }
}

impl Transport {
    /// What a URL is for, by its scheme; `None`: for nothing here.
    pub fn of_url(url: &str) -> Option<Self> {
        match url.split_once("://")?.0 {
            "ws" | "wss" => Some(Self::WebSocket),
            "https" => Some(Self::WebTransport),
            "quic" => Some(Self::Quic),
            _ => None,
        }
    }
}

/// The relays that these URLs, each with its region, lead to, in the order they are first named: URLs of one host and port are
/// ways to one relay, which is called by these. A URL of no known scheme leads nowhere.
pub fn relays_at<'a>(urls: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Endpoint> {
    let mut relays: Vec<Endpoint> = Vec::new();
    for (region, url) in urls {
        let Some(transport) = Transport::of_url(url) else { continue };
        let relay = authority(url);
        let address = Address { transport, url: url.to_owned(), certificates: Vec::new() };
        match relays.iter_mut().find(|known| known.relay == relay) {
            Some(known) => known.addresses.push(address),
            None => {
                relays.push(Endpoint { relay: relay.to_owned(), region: region.to_owned(), addresses: vec![address] })
            }
        }
    }
    relays
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Where the next relay should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// Anywhere.
    Anywhere,
    /// In this region.
    Within(&'a str),
    /// In another region than this one.
    Beyond(&'a str),
}

impl Place<'_> {
    fn suits(self, region: &str) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Within(wanted) => region == wanted,
            Self::Beyond(left) => !region.is_empty() && region != left,
        }
    }
}

#[derive(Clone, Debug)]
struct Candidate {
    endpoint: Endpoint,
    /// The relay that answered at a configured address: both are one.
    stands_for: Option<String>,
    avoid_until: Instant,
    rtt_ms: Option<u64>,
}

impl Candidate {
    fn is(&self, name: &str) -> bool {
        self.endpoint.name() == name || self.stands_for.as_deref() == Some(name)
    }

    /// Whether an endpoint means this relay, by its name or by an address of it.
    fn is_at(&self, named: &Endpoint) -> bool {
        let has = |address: &Address| self.endpoint.addresses.iter().any(|own| own.url == address.url);
        self.is(named.name()) || named.addresses.iter().any(has)
    }
}

/// The relays a client knows: those it was configured with, and those that servers named.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// What this client speaks, best first.
    transports: Vec<Transport>,
    bootstrap: Vec<Endpoint>,
    candidates: Vec<Candidate>,
    /// Relays a server told us to follow to, tried before all else.
    follow: Vec<String>,
    /// Only a signed list says where relays are; servers choose among those.
    signed: bool,
}

impl Endpoints {
    /// Starts with the configured list, best first. Addresses of other transports than `transports` are not used.
    pub fn new(bootstrap: Vec<Endpoint>, transports: Vec<Transport>) -> Self {
        let mut endpoints =
            Self { transports, bootstrap: Vec::new(), candidates: Vec::new(), follow: Vec::new(), signed: false };
        endpoints.bootstrap = bootstrap.iter().filter_map(|endpoint| endpoints.usable(endpoint)).collect();
        endpoints.candidates = endpoints.bootstrap.iter().cloned().map(Candidate::from).collect();
        endpoints
    }

    /// From now on addresses come from signed lists alone.
    pub fn trust_signed_only(mut self) -> Self {
        self.signed = true;
        self
    }

    /// Takes the list of a hello-ok that came from `answered`: the first relay of the list is the one that answered.
    /// The configured endpoints stay as a backstop behind it. Where only signed lists count, it tells no more than that name.
    pub fn learn(&mut self, answered: &str, named: &[Endpoint]) {
        let Some(itself) = named.first() else { return };
        let itself = itself.name().to_owned();
        if !self.signed {
            self.relist(named);
        }
        for known in self.candidates.iter_mut().filter(|known| known.endpoint.name() == answered) {
            if answered != itself {
                known.stands_for = Some(itself.clone());
            }
        }
    }

    /// Takes a signed list that was verified, in the place of whatever was known but the configured endpoints.
    pub fn take(&mut self, list: &EndpointList) {
        self.relist(&list.endpoints);
    }

    /// Knows these and the configured ones, and keeps what was found out about each.
    fn relist(&mut self, named: &[Endpoint]) {
        let old = std::mem::take(&mut self.candidates);
        for endpoint in named.iter().chain(&self.bootstrap) {
            let Some(endpoint) = self.usable(endpoint) else { continue };
            let name = endpoint.name();
            if self.candidates.iter().any(|known| known.endpoint.name() == name) {
                continue;
            }
            let before = old.iter().find(|known| known.endpoint.name() == name);
            let candidate = before.cloned().unwrap_or_else(|| Candidate::from(endpoint.clone()));
            self.candidates.push(Candidate { endpoint, ..candidate });
        }
    }

    /// Takes endpoints of a drain or move: they are tried next, in the order given. Where only signed lists count, those of
    /// them that are known by one.
    pub fn follow(&mut self, named: &[Endpoint]) {
        if self.signed {
            let known = |named| self.candidates.iter().find(|known: &&Candidate| known.is_at(named));
            self.follow = named.iter().filter_map(known).map(|known| known.endpoint.name().to_owned()).collect();
            return;
        }
        let named: Vec<Endpoint> = named.iter().filter_map(|endpoint| self.usable(endpoint)).collect();
        for endpoint in &named {
            if !self.candidates.iter().any(|known| known.endpoint.name() == endpoint.name()) {
                self.candidates.push(Candidate::from(endpoint.clone()));
            }
        }
        self.follow = named.iter().map(|endpoint| endpoint.name().to_owned()).collect();
    }

    /// Chooses where to connect, other than to the relays of `tried`. Order: told to follow; suits `place`, there by
    /// rendezvous of `document` (the owner first) if it is within a region; then by measured round trip, then as listed.
    /// Those that failed lately come last. Its addresses are those this client can use, best first.
    pub fn choose(
        &mut self,
        document: Option<&str>,
        place: Place<'_>,
        tried: &[&str],
        now: Instant,
    ) -> Option<Endpoint> {
        while let Some(name) = (!self.follow.is_empty()).then(|| self.follow.remove(0)) {
            let found = self.candidates.iter().find(|known| known.endpoint.name() == name && known.avoid_until <= now);
            if let Some(found) = found {
                return Some(found.endpoint.clone());
            }
        }
        let owners: Vec<&str> = match (document, place) {
            (Some(document), Place::Within(_)) => {
                rendezvous(document, self.candidates.iter().map(|known| known.endpoint.name()))
            }
            _ => Vec::new(),
        };
        let rank = |name: &str| owners.iter().position(|owner| *owner == name).unwrap_or(0);
        let untried = |known: &&Candidate| !tried.iter().any(|name| known.is(name));
        let best = self.candidates.iter().filter(untried).enumerate().min_by_key(|(listed, known)| {
            let avoided = if known.avoid_until > now { known.avoid_until.0 } else { 0 };
            let suits = place.suits(&known.endpoint.region);
            let owner = if suits { rank(known.endpoint.name()) } else { 0 };
            (avoided, !suits, owner, known.rtt_ms.unwrap_or(u64::MAX), *listed)
        });
        best.map(|(_, known)| known.endpoint.clone())
    }

    /// Notes that a relay failed or was suspected.
    pub fn failed(&mut self, name: &str, now: Instant) {
        for known in self.candidates.iter_mut().filter(|known| known.is(name)) {
            known.avoid_until = now.after(AVOID_MS);
        }
    }

    /// Notes that a relay answered after `rtt_ms`.
    pub fn answered(&mut self, name: &str, rtt_ms: u64) {
        for known in self.candidates.iter_mut().filter(|known| known.is(name)) {
            known.avoid_until = Instant(0);
            known.rtt_ms = Some(rtt_ms);
        }
    }

    /// Whether a relay that has not failed lately is there besides `name`.
    pub fn has_other(&self, name: &str, now: Instant) -> bool {
        self.candidates.iter().any(|known| !known.is(name) && known.avoid_until <= now)
    }

    /// Whether a relay of another region than `region` is known that has not failed lately.
    pub fn has_beyond(&self, region: &str, now: Instant) -> bool {
        let beyond = |known: &Candidate| Place::Beyond(region).suits(&known.endpoint.region);
        self.candidates.iter().any(|known| beyond(known) && known.avoid_until <= now)
    }

    /// The relays, in their listed order.
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.candidates.iter().map(|known| &known.endpoint)
    }

    /// An endpoint with the addresses this client can use, best first; `None` if there are none.
    fn usable(&self, endpoint: &Endpoint) -> Option<Endpoint> {
        let mut addresses: Vec<Address> = Vec::new();
        for transport in &self.transports {
            addresses.extend(endpoint.addresses.iter().filter(|known| known.transport == *transport).cloned());
        }
        (!addresses.is_empty()).then(|| Endpoint { addresses, ..endpoint.clone() })
    }
}

impl From<Endpoint> for Candidate {
    fn from(endpoint: Endpoint) -> Self {
        Self { endpoint, stands_for: None, avoid_until: Instant(0), rtt_ms: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(name: &str, region: &str) -> Endpoint {
        Endpoint { relay: name.into(), region: region.into(), ..Endpoint::websocket(format!("ws://{name}")) }
    }

    fn list(relays: &[(&str, &str)]) -> Vec<Endpoint> {
        relays.iter().map(|(name, region)| relay(name, region)).collect()
    }

    fn endpoints(bootstrap: Vec<Endpoint>) -> Endpoints {
        Endpoints::new(bootstrap, vec![Transport::WebTransport, Transport::WebSocket])
    }

    fn chosen(endpoints: &mut Endpoints, place: Place<'_>, tried: &[&str], now: Instant) -> String {
        endpoints.choose(Some("t/x"), place, tried, now).map_or(String::new(), |found| found.name().to_owned())
    }

    #[test]
    fn the_nearest_healthy_relay_is_taken_and_a_failed_one_avoided() {
        let now = Instant(1_000);
        let mut endpoints = endpoints(list(&[("a1", "a"), ("a2", "a"), ("b1", "b")]));
        assert_eq!(endpoints.choose(None, Place::Anywhere, &[], now).unwrap().name(), "a1");
        let here = Place::Within("a");
        let owner = chosen(&mut endpoints, here, &[], now);
        assert!(owner.starts_with('a'));
        endpoints.failed(&owner, now);
        let second = chosen(&mut endpoints, here, &[], now);
        assert!(second.starts_with('a') && second != owner);
        assert_eq!(chosen(&mut endpoints, here, &[&second], now), "b1", "what is being tried is not chosen again");
        endpoints.failed(&second, now);
        assert_eq!(chosen(&mut endpoints, here, &[], now), "b1");
        endpoints.failed("b1", now.after(1));
        assert!(chosen(&mut endpoints, here, &[], now.after(2)).starts_with('a'));
        assert_eq!(chosen(&mut endpoints, here, &[], now.after(AVOID_MS + 2)), owner);
    }

    #[test]
    fn another_region_is_one_that_is_known_to_be() {
        let now = Instant(0);
        let mut endpoints = endpoints(vec![Endpoint::websocket("ws://any"), relay("a1", "a"), relay("b1", "b")]);
        assert_eq!(chosen(&mut endpoints, Place::Beyond("a"), &[], now), "b1");
        assert_eq!(chosen(&mut endpoints, Place::Beyond("a"), &["b1"], now), "ws://any");
    }

    #[test]
    fn what_a_server_names_to_follow_comes_first() {
        let mut endpoints = endpoints(list(&[("a1", "a")]));
        endpoints.follow(&list(&[("z", "z")]));
        assert_eq!(chosen(&mut endpoints, Place::Anywhere, &[], Instant(0)), "z");
        endpoints.learn("a1", &list(&[("c", "c")]));
        assert_eq!(chosen(&mut endpoints, Place::Anywhere, &[], Instant(0)), "c");
        assert!(
            endpoints.iter().any(|endpoint| endpoint.name() == "a1"),
            "the configured endpoint stays as a backstop"
        );
    }

    #[test]
    fn a_configured_address_and_the_relay_that_answered_there_are_one() {
        let now = Instant(5);
        let mut endpoints = endpoints(vec![Endpoint::websocket("ws://service")]);
        endpoints.learn("ws://service", &list(&[("a1", "a")]));
        assert!(!endpoints.has_other("a1", now), "the service's address leads to the same relay");
        endpoints.failed("a1", now);
        endpoints.learn("a1", &list(&[("a1", "a"), ("a2", "a")]));
        assert_eq!(chosen(&mut endpoints, Place::Anywhere, &[], now), "a2");
        assert_eq!(chosen(&mut endpoints, Place::Anywhere, &["a2", "a1"], now), "", "nothing else is left");
    }

    #[test]
    fn where_only_signed_lists_count_servers_choose_among_what_these_name() {
        let now = Instant(5);
        let mut endpoints = endpoints(vec![Endpoint::websocket("ws://service")]).trust_signed_only();
        let signed = EndpointList {
            format: 1,
            epoch: 1,
            issue: 1,
            home: "a".into(),
            endpoints: list(&[("a1", "a"), ("a2", "a"), ("b1", "b")]),
        };
        endpoints.take(&signed);
        endpoints.learn("ws://service", &list(&[("a1", "a"), ("evil", "b")]));
        let names = |endpoints: &Endpoints| endpoints.iter().map(|one| one.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&endpoints), ["a1", "a2", "b1", "ws://service"]);
        endpoints.failed("a1", now);
        assert_eq!(chosen(&mut endpoints, Place::Anywhere, &["a2", "b1", "a1"], now), "", "the service was a1 itself");
        endpoints.follow(&[relay("evil", "b"), Endpoint::websocket("ws://b1")]);
        assert_eq!(chosen(&mut endpoints, Place::Within("a"), &[], now), "b1", "known by its address");
        assert_eq!(chosen(&mut endpoints, Place::Within("a"), &[], now), "a2");
        endpoints.take(&EndpointList { epoch: 2, endpoints: list(&[("b1", "b")]), ..signed });
        assert_eq!(names(&endpoints), ["b1", "ws://service"]);
    }

    #[test]
    fn urls_of_one_host_and_port_are_one_relay() {
        let urls = [("a", "wss://b.example/v1/connect?x=1"), ("far", "wss://a.example"), ("a", "quic://b.example")];
        let relays = relays_at(urls.into_iter().chain([("a", "ftp://c.example"), ("a", "d.example")]));
        let told: Vec<_> = relays.iter().map(|one| (&*one.relay, &*one.region, one.addresses.len())).collect();
        assert_eq!(told, [("b.example", "a", 2), ("a.example", "far", 1)]);
        assert_eq!(relays[0].addresses[1].transport, Transport::Quic);
    }

    #[test]
    fn a_list_that_came_in_is_held_to_its_limits() {
        let of = |addresses: usize, certificates: usize| {
            let mut endpoint = relay("a", "a");
            endpoint.addresses[0].certificates = vec![[1; 32]; certificates];
            endpoint.addresses = vec![endpoint.addresses[0].clone(); addresses];
            endpoint
        };
        assert!(of(ADDRESSES_MAX, CERTIFICATES_MAX).check().is_ok());
        assert!(of(ADDRESSES_MAX + 1, 0).check().is_err());
        assert!(of(1, CERTIFICATES_MAX + 1).check().is_err());
        assert!(Endpoint::websocket("x".repeat(URL_BYTES_MAX + 1)).check().is_err());
    }

    #[test]
    fn only_addresses_of_transports_one_speaks_are_used_best_first() {
        let at = |transport| Address { transport, url: "u".into(), certificates: Vec::new() };
        let all = [Transport::WebSocket, Transport::Quic, Transport::WebTransport].map(at).to_vec();
        let mut endpoints =
            endpoints(vec![Endpoint::at("q", &[Transport::Quic]), Endpoint { addresses: all, ..relay("a", "") }]);
        let found = endpoints.choose(None, Place::Anywhere, &[], Instant(0)).unwrap();
        let transports: Vec<_> = found.addresses.iter().map(|address| address.transport).collect();
        assert_eq!(transports, [Transport::WebTransport, Transport::WebSocket]);
        assert_eq!(endpoints.iter().count(), 1);
    }
}
