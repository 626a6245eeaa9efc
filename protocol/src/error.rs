//! Errors of the wire: what was wrong with bytes from outside, in one type.

/// Why bytes from the other side could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends before the value does: feed more bytes, or, in a whole message, a fault.
    #[error("the data ends too early")]
    Incomplete,
    /// The bytes break the format.
    #[error("the data is malformed: {0}")]
    Malformed(&'static str),
    /// A length, count or level is over its limit.
    #[error("{what} is over its limit of {most}")]
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// More of something than one connection may have.
    #[error("more than {most} {what}")]
    TooMany {
        /// Of what there were too many.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A known message kind came from the side that never sends it.
    #[error("message kind {0:#04x} does not come from this side")]
    WrongDirection(u8),
    /// A frame of the room's stream does not follow the one before it: ask for a resync.
    #[error("the stream of the room has a gap")]
    StreamGap,
    /// The engine refused the delta.
    #[error("the delta is malformed: {0}")]
    Delta(String),
}
