//! Whom a connection is counted for: networks, forwarded addresses, connections that have not said hello yet.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use rustc_hash::FxHashMap;

use super::ListenConfig;

/// A network as `address/bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address lies in this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, unmapped(address)) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                prefix(u128::from(u32::from(network)) << 96, self.bits)
                    == prefix(u128::from(u32::from(address)) << 96, self.bits)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                prefix(u128::from(network), self.bits) == prefix(u128::from(address), self.bits)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("`{text}` is no network; write address/bits such as 10.0.0.0/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| problem())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| problem()))?;
        if bits > most { Err(problem()) } else { Ok(Network { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn prefix(address: u128, bits: u8) -> u128 {
    if bits == 0 { 0 } else { address >> (128 - u32::from(bits)) }
}

fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The address a connection is counted for: the peer's, or the last one in `X-Forwarded-For` that no trusted proxy has.
pub(crate) fn counted_address(peer: IpAddr, forwarded: Option<&str>, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return unmapped(peer);
    }
    let hops = forwarded.unwrap_or_default().rsplit(',').map_while(|hop| hop.trim().parse::<IpAddr>().ok());
    let mut last = peer;
    for hop in hops {
        last = hop;
        if !is_trusted(hop) {
            break;
        }
    }
    unmapped(last)
}

/// Counts connections that have not finished their hello, per address and in all.
#[derive(Debug)]
pub(crate) struct Waiting {
    per_ipv4: u64,
    per_ipv6: u64,
    in_all: u64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: u64,
    by_address: FxHashMap<IpAddr, u64>,
}

/// One counted connection; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Place {
    waiting: Arc<Waiting>,
    counted: Option<IpAddr>,
}

impl Waiting {
    pub(crate) fn new(config: &ListenConfig) -> Arc<Self> {
        Arc::new(Waiting {
            per_ipv4: config.unauthenticated_per_ipv4,
            per_ipv6: config.unauthenticated_per_ipv6,
            in_all: (config.connections_max * config.unauthenticated_percent / 100).max(1),
            counts: Mutex::default(),
        })
    }

    /// Whether more than half of the places are taken, of all or of those of this address.
    pub(crate) fn is_crowded(&self, address: IpAddr) -> bool {
        if address.is_loopback() {
            return false;
        }
        let (key, most) = self.counted(address);
        let counts = self.counts.lock().expect("no code panics with this lock held");
        let here = counts.by_address.get(&key).copied().unwrap_or(0);
        here * 2 > most || counts.all * 2 > self.in_all
    }

    /// Takes a place for a connection from `address`; `None` if there are too many. Loopback is never counted.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        if address.is_loopback() {
            return Some(Place { waiting: Arc::clone(self), counted: None });
        }
        let (key, most) = self.counted(address);
        let mut counts = self.counts.lock().expect("no code panics with this lock held");
        let here = counts.by_address.get(&key).copied().unwrap_or(0);
        if here >= most || counts.all >= self.in_all {
            return None;
        }
        counts.by_address.insert(key, here + 1);
        counts.all += 1;
        Some(Place { waiting: Arc::clone(self), counted: Some(key) })
    }

    /// What an address is counted as, and how many of it there may be.
    fn counted(&self, address: IpAddr) -> (IpAddr, u64) {
        match address {
            IpAddr::V4(_) => (address, self.per_ipv4),
            IpAddr::V6(ip) => (IpAddr::V6(Ipv6Addr::from(u128::from(ip) >> 64 << 64)), self.per_ipv6),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(key) = self.counted else { return };
        let mut counts = self.waiting.counts.lock().expect("no code panics with this lock held");
        counts.all -= 1;
        if let Some(here) = counts.by_address.get_mut(&key) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_contain_their_addresses() {
        let check = |network: &str, address: &str, expected: bool| {
            assert_eq!(network.parse::<Network>().unwrap().contains(ip(address)), expected, "{network} {address}");
        };
        check("10.0.0.0/8", "10.9.8.7", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.1.2.3", "10.1.2.3", true);
        check("0.0.0.0/0", "1.2.3.4", true);
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check("2001:db8::/32", "2001:db8:1::1", true);
        check("2001:db8::/32", "10.0.0.1", false);
        assert!("10.0.0.0/33".parse::<Network>().is_err());
        assert!("ten".parse::<Network>().is_err());
    }

    #[test]
    fn forwarded_addresses_count_only_behind_trusted_proxies() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let check = |peer: &str, forwarded: &str, expected: &str| {
            assert_eq!(counted_address(ip(peer), Some(forwarded), &trusted), ip(expected));
        };
        check("192.0.2.1", "203.0.113.9", "192.0.2.1");
        check("10.0.0.1", "203.0.113.9", "203.0.113.9");
        check("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9");
        check("10.0.0.1", "garbage", "10.0.0.1");
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let config = ListenConfig { unauthenticated_per_ipv4: 2, ..ListenConfig::default() };
        let waiting = Waiting::new(&config);
        let first = waiting.enter(ip("192.0.2.1")).unwrap();
        let _second = waiting.enter(ip("192.0.2.1")).unwrap();
        assert!(waiting.enter(ip("192.0.2.1")).is_none());
        assert!(waiting.is_crowded(ip("192.0.2.1")));
        assert!(!waiting.is_crowded(ip("192.0.2.2")) && !waiting.is_crowded(ip("127.0.0.1")));
        assert!(waiting.enter(ip("192.0.2.2")).is_some());
        assert!(waiting.enter(ip("127.0.0.1")).is_some());
        drop(first);
        assert!(waiting.enter(ip("192.0.2.1")).is_some());
    }
}
