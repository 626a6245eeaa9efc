//! The rebase token: of those who write at one place one makes room there, and the others wait for it.
//!
//! Identifiers above [`REBASE_LEVELS`] call for a rebase, and two at the same time do the same work twice for everybody. So a
//! writer whose text has come there asks the room, and goes on writing meanwhile, up to [`PATH_LEVELS_MAX`] levels: nobody waits
//! for an answer. Nothing but work depends on the token. Who is offline, has not synced, has a relay that does not know it, or
//! has come to the last level rebases without.

use selvedge_engine::{Crowding, PATH_LEVELS_MAX, REBASE_LEVELS};

use super::Context;
use super::replica::Replica;
use super::sync::Phase;
use crate::level::Instant;
use crate::message::{RebaseAnswer, RebaseAsk};
use crate::version::Features;

/// Where a document stands with the token on its channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RebaseToken {
    /// The relay knows of none.
    #[default]
    Unknown,
    /// There was no need for it yet, or what it was for is done.
    Idle,
    /// It is to be asked for.
    Wanted,
    /// The answer is under way.
    Asked,
    /// Somebody else has it: not asked for again before this.
    Elsewhere { until: Instant },
    /// It is here until then.
    Held { until: Instant },
}

impl RebaseToken {
    /// A channel opens on a connection with these features.
    pub(super) fn opening(agreed: Features) -> Self {
        if agreed.contains(Features::REBASE_TOKENS) { Self::Idle } else { Self::Unknown }
    }

    /// The room has answered. What was not asked, or has been done meanwhile without, changes nothing.
    pub(super) fn answered(&mut self, answer: RebaseAnswer, now: Instant) {
        if *self == Self::Asked {
            let until = now.after(answer.for_ms);
            *self = if answer.granted { Self::Held { until } } else { Self::Elsewhere { until } };
        }
    }

    /// Whether a writer waits for it, as far as it can.
    fn is_awaited(self, now: Instant) -> bool {
        match self {
            Self::Unknown => false,
            Self::Held { until } => until <= now,
            Self::Idle | Self::Wanted | Self::Asked | Self::Elsewhere { .. } => true,
        }
    }

    /// An edit came upon deep identifiers.
    fn note(&mut self, crowding: Crowding, now: Instant) {
        *self = match (crowding, *self) {
            (_, Self::Unknown) => Self::Unknown,
            (Crowding::Rebased, _) => Self::Idle,
            (Crowding::Deep, Self::Idle) => Self::Wanted,
            (Crowding::Deep, Self::Elsewhere { until } | Self::Held { until }) if until <= now => Self::Wanted,
            (Crowding::Deep, other) => other,
        };
    }
}

impl Replica {
    /// Before an edit: whether it rebases where it should, or waits for somebody else to do it.
    pub(super) fn ready_depth(&mut self, now: Instant) {
        let awaits = self.session.phase() == Phase::Live && self.session.rebase.is_awaited(now);
        self.document.set_depth_limit(if awaits { PATH_LEVELS_MAX } else { REBASE_LEVELS });
    }

    /// After an edit: what it came upon.
    pub(super) fn note_depth(&mut self, now: Instant) {
        if let Some(crowding) = self.document.take_crowding() {
            self.session.rebase.note(crowding, now);
        }
    }

    /// Asks for the token, if it is wanted.
    pub(super) fn rebase_ask_due(&mut self, cx: &mut Context<'_>) {
        if self.session.rebase == RebaseToken::Wanted
            && self.session.phase() == Phase::Live
            && let Some(wire) = self.session.wire
        {
            self.session.rebase = RebaseToken::Asked;
            cx.link.send(wire, RebaseAsk {});
        }
    }
}
