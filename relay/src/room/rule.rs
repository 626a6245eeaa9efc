//! Rules of a room that can be taken away, so that tests see each of them missed.
//!
//! Each is a row of the exhaustive model of the data path: without it acknowledged or shown text is lost, or never reaches
//! somebody. Nothing but tests takes a rule away, and no flag reaches this.

/// A rule of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// What a session is sent is decided by its own vector, not by what the room has seen.
    SentByOwnVector,
    /// Dots read beyond a hole are held.
    HoldBeyondHoles,
    /// What was held is released to every session when the hole fills.
    ReleaseHeld,
    /// What is logged is paired with one past the highest position of any record in it, own confirmations included.
    PairWithHighest,
    /// What a sync sends beyond the highest ack level is tagged, like a broadcast.
    TagSyncs,
}
