//! A region that is fed while rooms are open: what fills their holes is in the snapshot, not in the log.
//!
//! A region that was lost begins as an empty log. The other one gives it first what its own log no longer holds, as snapshot and
//! op store, and then the log. A room that was opened before that finds records beyond a hole which no record fills. So where a
//! hole stays, the room looks once more at what the region keeps; what it finds is taken for logged, and every session opens the
//! document again.

use selvedge_engine::SiteId;
use selvedge_protocol::{CloseCode, Instant};

use super::event::{Failure, Loaded, RoomEffect, SessionKey};
use super::member::State;
use super::rule::Rule;
use super::{Phase, Room};

/// How long a hole stays before the room looks, and how long between two looks, in milliseconds. A look folds the document.
pub(super) const LOOK_MS: u64 = 10_000;

/// When a room looks again at what the region keeps.
#[derive(Debug, Default)]
pub(super) struct Refill {
    /// A hole was seen, or looked after, at this time.
    since: Option<Instant>,
    looking: bool,
}

impl Refill {
    pub(super) fn is_looking(&self) -> bool {
        self.looking
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.since.filter(|_| !self.looking).map(|since| since.after(LOOK_MS))
    }
}

impl Room {
    /// Looks after a hole that stays.
    pub(super) fn look_after_holes(&mut self, now: Instant) {
        let heals = !self.missing.is(Rule::ReleaseHeld);
        if !self.ready().is_some_and(|ready| heals && ready.ledger.has_hole()) {
            self.refill.since = None;
            return;
        }
        let since = *self.refill.since.get_or_insert(now);
        if !self.refill.looking && now.since(since) >= LOOK_MS {
            self.refill = Refill { since: Some(now), looking: true };
            self.effects.push_back(RoomEffect::Load { creator: String::new() });
        }
    }

    /// What the region keeps now.
    pub(super) fn looked(&mut self, outcome: Result<Loaded, Failure>) {
        self.refill.looking = false;
        let Phase::Ready(ready) = &mut self.phase else { return };
        // Where it cannot be read now, the next look tells.
        let Ok(loaded) = outcome else { return };
        if loaded.generation != ready.generation || !ready.ledger.refill(&loaded) {
            return;
        }
        self.sent.join(&loaded.vector);
        let sites: Vec<SiteId> = loaded.vector.iter().map(|(site, _)| site).collect();
        self.pair(&sites);
        let shown = self.members.iter().filter(|(_, member)| !matches!(member.state, State::Writer));
        for key in shown.map(|(&key, _)| key).collect::<Vec<SessionKey>>() {
            self.close(key, CloseCode::DRAINING, "The document has more than was known here.");
        }
    }
}
