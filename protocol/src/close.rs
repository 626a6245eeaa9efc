//! Close codes: why a connection or a document was closed, and what a client does about it.

use crate::error::DecodeError;

/// Code of a close, on a socket (faults of the connection) or in a `closed` message (faults of one document).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Closed as asked.
    pub const NORMAL: Self = Self(1000);
    /// The socket vanished without a close.
    pub const ABNORMAL: Self = Self(1006);
    /// Bytes that break the protocol.
    pub const MALFORMED: Self = Self(4400);
    /// The token is missing, expired or revoked.
    pub const TOKEN: Self = Self(4401);
    /// Forbidden, or not there: alike to strangers.
    pub const FORBIDDEN: Self = Self(4403);
    /// Generation conflict, or a site bound to another principal.
    pub const CONFLICT: Self = Self(4409);
    /// The document is deleted.
    pub const DELETED: Self = Self(4410);
    /// A frame, message, document or identifier over its limit.
    pub const TOO_LARGE: Self = Self(4413);
    /// No version in common.
    pub const UPGRADE: Self = Self(4426);
    /// A fault of the server.
    pub const INTERNAL: Self = Self(4500);
    /// Draining or overloaded.
    pub const DRAINING: Self = Self(4503);
    /// The reader was too slow.
    pub const TOO_SLOW: Self = Self(4507);
    /// Another region or relay serves this now.
    pub const WRONG_PLACE: Self = Self(4508);
    /// Over a rate or a quota.
    pub const RATE_LIMITED: Self = Self(4529);

    /// What a client does when it sees this code.
    pub fn reaction(self) -> Reaction {
        match self {
            Self::NORMAL | Self::ABNORMAL => Reaction::Retry,
            Self::TOKEN => Reaction::AskToken,
            Self::CONFLICT => Reaction::Restart,
            Self::TOO_SLOW => Reaction::Resync,
            Self::WRONG_PLACE | Self::DRAINING => Reaction::Follow,
            Self(4400..=4499) => Reaction::Stop,
            _ => Reaction::Retry,
        }
    }

    /// Whether trying again, unchanged, can succeed.
    pub fn retryable(self) -> bool {
        matches!(self.reaction(), Reaction::Retry | Reaction::Resync | Reaction::Follow)
    }

    /// A sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NORMAL => "The connection was closed.",
            Self::ABNORMAL => "The connection was lost.",
            Self::MALFORMED => "The data broke the protocol.",
            Self::TOKEN => "The access token is missing, expired or revoked.",
            Self::FORBIDDEN => "There is no such document, or no access to it.",
            Self::CONFLICT => "The document was rebuilt, or this writing identity belongs to someone else.",
            Self::DELETED => "The document was deleted.",
            Self::TOO_LARGE => "Something was larger than its limit.",
            Self::UPGRADE => "This version is too old or too new for the server.",
            Self::INTERNAL => "The server had a fault.",
            Self::DRAINING => "The server is going away or is overloaded.",
            Self::TOO_SLOW => "The connection was too slow to keep up.",
            Self::WRONG_PLACE => "Another server has this document now.",
            Self::RATE_LIMITED => "Too much was sent in too short a time.",
            Self(4400..=4499) => "The server refused for good.",
            _ => "The server refused for now.",
        }
    }
}

/// A client's answer to a close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reaction {
    /// Do not come back by itself; the local copy stays.
    Stop,
    /// Connect again after backoff, or after the time given.
    Retry,
    /// Ask the token function once; the same token again means stop.
    AskToken,
    /// Connect again and resync by vector.
    Resync,
    /// Go to the endpoints named.
    Follow,
    /// Take up the new generation, or restamp under a new site.
    Restart,
}

/// The one function from a decoding fault to the code the connection or document is closed with.
pub fn close_code(error: &DecodeError) -> CloseCode {
    match error {
        DecodeError::TooLarge { .. } => CloseCode::TOO_LARGE,
        DecodeError::TooMany { .. } => CloseCode::RATE_LIMITED,
        DecodeError::StreamGap => CloseCode::TOO_SLOW,
        DecodeError::Incomplete
        | DecodeError::Malformed(_)
        | DecodeError::WrongDirection(_)
        | DecodeError::Delta(_) => CloseCode::MALFORMED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hundreds_decide_for_unknown_codes() {
        assert_eq!(CloseCode(4499).reaction(), Reaction::Stop);
        assert_eq!(CloseCode(4599).reaction(), Reaction::Retry);
        assert_eq!(CloseCode(1011).reaction(), Reaction::Retry);
        assert!(!CloseCode::FORBIDDEN.retryable());
        assert!(CloseCode::DRAINING.retryable());
    }
}
