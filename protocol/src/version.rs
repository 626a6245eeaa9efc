//! Versions of the protocol and the features two sides agree on.

/// The newest protocol version this code speaks.
pub const PROTOCOL_VERSION: u8 = 1;
/// Every version this code speaks, best first.
pub const VERSIONS: &[u8] = &[PROTOCOL_VERSION];
/// Version of the layout of hello and hello-ok themselves: the first byte of both payloads.
pub const HELLO_FORMAT: u8 = 1;

/// Optional parts of the protocol, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features(pub u64);

impl Features {
    /// Frames carry broadcast tags of 16 bytes; see [`crate::tag`]. A server offers it only with keys of its own.
    pub const BROADCAST_TAGS: Self = Self(1);
    /// The server tells the signed list of endpoints ([`crate::EndpointList`]); a client offers it only with a key to verify it by.
    pub const SIGNED_ENDPOINTS: Self = Self(2);
    /// Writers ask the room before they rebase ([`crate::message::RebaseAsk`]).
    pub const REBASE_TOKENS: Self = Self(4);
    /// What a client offers, and a server at most.
    pub const OFFERED: Self = Self(Self::BROADCAST_TAGS.0 | Self::SIGNED_ENDPOINTS.0 | Self::REBASE_TOKENS.0);

    /// Whether every bit of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These without `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The features both sides have.
    pub fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Chooses the version for a connection: the greatest both sides speak, `None` if there is none (close with 4426).
pub fn negotiate(offered: &[u8]) -> Option<u8> {
    offered.iter().copied().filter(|version| VERSIONS.contains(version)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_common_version_wins() {
        assert_eq!(negotiate(&[9, 1, 0]), Some(1));
        assert_eq!(negotiate(&[9, 2]), None);
        assert_eq!(negotiate(&[]), None);
    }
}
