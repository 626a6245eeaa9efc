//! Where a service can be reached, and in which order a client tries.

use bincode::{Decode, Encode};

use crate::level::Instant;
use crate::rendezvous::rendezvous;

/// How long an endpoint that failed is passed over, in milliseconds, while others are untried.
pub const AVOID_MS: u64 = 30_000;

/// One address of the service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Endpoint {
    /// Address, as the transport wants it.
    pub url: String,
    /// Name of the region; empty: not known yet.
    pub region: String,
    /// How to talk to it.
    pub transport: Transport,
}

impl Endpoint {
    /// A WebSocket endpoint of an unnamed region.
    pub fn websocket(url: impl Into<String>) -> Self {
        Self { url: url.into(), region: String::new(), transport: Transport::WebSocket }
    }
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

#[derive(Clone, Debug)]
struct Candidate {
    endpoint: Endpoint,
    avoid_until: Instant,
    rtt_ms: Option<u64>,
}

/// The endpoints a client knows: those it was configured with, and those that servers named.
#[derive(Clone, Debug)]
pub struct Endpoints {
    bootstrap: Vec<Endpoint>,
    candidates: Vec<Candidate>,
    /// URLs a server told us to follow to, tried before all else.
    follow: Vec<String>,
}

impl Endpoints {
    /// Starts with the configured list, best first.
    pub fn new(bootstrap: Vec<Endpoint>) -> Self {
        let candidates = bootstrap.iter().cloned().map(Candidate::from).collect();
        Self { bootstrap, candidates, follow: Vec::new() }
    }

    /// Takes the list of a hello-ok. The configured endpoints stay as a backstop behind it.
    pub fn learn(&mut self, named: &[Endpoint]) {
        if named.is_empty() {
            return;
        }
        let old = std::mem::take(&mut self.candidates);
        for endpoint in named.iter().chain(&self.bootstrap) {
            if self.candidates.iter().any(|known| known.endpoint.url == endpoint.url) {
                continue;
            }
            let mut candidate = Candidate::from(endpoint.clone());
            if let Some(known) = old.iter().find(|known| known.endpoint.url == endpoint.url) {
                candidate.avoid_until = known.avoid_until;
                candidate.rtt_ms = known.rtt_ms;
            }
            self.candidates.push(candidate);
        }
    }

    /// Takes endpoints of a drain or move: they are tried next, in the order given.
    pub fn follow(&mut self, named: &[Endpoint]) {
        for endpoint in named {
            if !self.candidates.iter().any(|known| known.endpoint.url == endpoint.url) {
                self.candidates.push(Candidate::from(endpoint.clone()));
            }
        }
        self.follow = named.iter().map(|endpoint| endpoint.url.clone()).collect();
    }

    /// Chooses where to connect. Order: told to follow; same region as `near` by rendezvous of `document` (the owner
    /// first); then other regions by measured round trip, then as listed. Those that failed lately come last.
    pub fn choose(&mut self, document: Option<&str>, near: Option<&str>, now: Instant) -> Option<Endpoint> {
        while let Some(url) = (!self.follow.is_empty()).then(|| self.follow.remove(0)) {
            let found = self.candidates.iter().find(|known| known.endpoint.url == url && known.avoid_until <= now);
            if let Some(found) = found {
                return Some(found.endpoint.clone());
            }
        }
        let owners: Vec<&str> = match document {
            Some(document) => rendezvous(document, self.candidates.iter().map(|known| known.endpoint.url.as_str())),
            None => Vec::new(),
        };
        let place = |url: &str| owners.iter().position(|owner| *owner == url).unwrap_or(0);
        let near = near.filter(|region| !region.is_empty());
        let best = self.candidates.iter().enumerate().min_by_key(|(listed, known)| {
            let avoided = if known.avoid_until > now { known.avoid_until.0 } else { 0 };
            let here = near.is_none_or(|region| known.endpoint.region == region);
            let owner = if near.is_some() && here { place(&known.endpoint.url) } else { 0 };
            (avoided, !here, owner, known.rtt_ms.unwrap_or(u64::MAX), *listed)
        });
        best.map(|(_, known)| known.endpoint.clone())
    }

    /// Notes that an endpoint failed or was suspected.
    pub fn failed(&mut self, url: &str, now: Instant) {
        if let Some(known) = self.candidates.iter_mut().find(|known| known.endpoint.url == url) {
            known.avoid_until = now.after(AVOID_MS);
        }
    }

    /// Notes that an endpoint answered after `rtt_ms`.
    pub fn answered(&mut self, url: &str, rtt_ms: u64) {
        if let Some(known) = self.candidates.iter_mut().find(|known| known.endpoint.url == url) {
            known.avoid_until = Instant(0);
            known.rtt_ms = Some(rtt_ms);
        }
    }

    /// Whether an endpoint that has not failed lately is there besides `url`.
    pub fn has_other(&self, url: &str, now: Instant) -> bool {
        self.candidates.iter().any(|known| known.endpoint.url != url && known.avoid_until <= now)
    }

    /// The endpoints, in their listed order.
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.candidates.iter().map(|known| &known.endpoint)
    }
}

impl From<Endpoint> for Candidate {
    fn from(endpoint: Endpoint) -> Self {
        Self { endpoint, avoid_until: Instant(0), rtt_ms: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(urls: &[(&str, &str)]) -> Vec<Endpoint> {
        let endpoint =
            |(url, region): &(&str, &str)| Endpoint { region: (*region).into(), ..Endpoint::websocket(*url) };
        urls.iter().map(endpoint).collect()
    }

    #[test]
    fn the_nearest_healthy_relay_is_taken_and_a_failed_one_avoided() {
        let now = Instant(1_000);
        let mut endpoints = Endpoints::new(list(&[("a1", "a"), ("a2", "a"), ("b1", "b")]));
        assert_eq!(endpoints.choose(None, None, now).unwrap().url, "a1");
        let owner = endpoints.choose(Some("t/x"), Some("a"), now).unwrap();
        assert_eq!(owner.region, "a");
        endpoints.failed(&owner.url, now);
        let second = endpoints.choose(Some("t/x"), Some("a"), now).unwrap();
        assert!(second.region == "a" && second.url != owner.url);
        endpoints.failed(&second.url, now);
        assert_eq!(endpoints.choose(Some("t/x"), Some("a"), now).unwrap().url, "b1");
        endpoints.failed("b1", now.after(1));
        assert_eq!(endpoints.choose(Some("t/x"), Some("a"), now.after(2)).unwrap().region, "a");
        assert_eq!(endpoints.choose(Some("t/x"), Some("a"), now.after(AVOID_MS + 2)).unwrap().url, owner.url);
    }

    #[test]
    fn what_a_server_names_to_follow_comes_first() {
        let mut endpoints = Endpoints::new(list(&[("a1", "a")]));
        endpoints.follow(&list(&[("z", "z")]));
        assert_eq!(endpoints.choose(None, None, Instant(0)).unwrap().url, "z");
        endpoints.learn(&list(&[("c", "c")]));
        assert_eq!(endpoints.choose(None, None, Instant(0)).unwrap().url, "c");
        assert!(endpoints.iter().any(|endpoint| endpoint.url == "a1"), "the configured endpoint stays as a backstop");
    }
}
