//! Rules of a room that can be taken away, so that tests see each of them missed.
//!
//! Each is a row of the exhaustive model of the data path: without it acknowledged or shown text is lost, or never reaches
//! somebody. They can be taken away with the feature `planted-faults` alone, which nothing that ships is built with: without it
//! asking whether one is missing costs nothing.

/// A rule of a room.
#[cfg_attr(
    not(any(test, feature = "planted-faults")),
    expect(unreachable_pub, reason = "it is exported with the feature")
)]
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

/// The rule that is missing, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Missing {
    #[cfg(any(test, feature = "planted-faults"))]
    rule: Option<Rule>,
}

#[cfg(any(test, feature = "planted-faults"))]
impl Missing {
    /// This one.
    pub(super) fn one(rule: Rule) -> Self {
        Self { rule: Some(rule) }
    }

    /// Whether it is this one.
    pub(super) fn is(self, rule: Rule) -> bool {
        self.rule == Some(rule)
    }
}

#[cfg(not(any(test, feature = "planted-faults")))]
impl Missing {
    /// None ever is.
    #[inline]
    pub(super) fn is(self, _: Rule) -> bool {
        false
    }
}
