//! Rules of a client that a test can take away, to see them missed.
//!
//! Only with the feature `planted-faults`, which nothing that ships is built with: without it there is no way to take one away,
//! and asking whether one is missing costs nothing.

/// A rule of a client.
#[cfg_attr(not(feature = "planted-faults"), expect(unreachable_pub, reason = "it is exported with the feature"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A kept frame is given back also while connected.
    GiveBackWhileConnected,
}

/// The rule that is missing, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Missing {
    #[cfg(feature = "planted-faults")]
    rule: Option<Rule>,
}

#[cfg(feature = "planted-faults")]
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

#[cfg(not(feature = "planted-faults"))]
impl Missing {
    /// None ever is.
    #[inline]
    pub(super) fn is(self, _: Rule) -> bool {
        false
    }
}
