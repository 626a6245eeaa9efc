//! Cursors and names: only the latest counts, sent at most ten times a second, never stored.

use selvedge_engine::SortedMap;

use super::Context;
use super::effect::{Effect, PresenceChange};
use crate::frame::Channel;
use crate::level::Instant;
use crate::message::Presence;

/// Shortest time between two presences sent, in milliseconds.
pub const PRESENCE_MS_MIN: u64 = 100;
/// Most sessions whose presence is kept; further ones are dropped.
pub const PRESENCES_MAX: usize = 1024;

/// The presence of this session and of the others.
#[derive(Debug, Default)]
pub(super) struct Presences {
    own: Option<Vec<u8>>,
    unsent: bool,
    sent_at: Option<Instant>,
    others: SortedMap<u64, PresenceChange>,
    changed: SortedMap<u64, PresenceChange>,
}

impl Presences {
    /// This session's presence from now on.
    pub(super) fn set(&mut self, data: Option<Vec<u8>>) {
        if self.own != data {
            self.own = data;
            self.unsent = true;
        }
    }

    /// What is to be sent, if it is time.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Presence> {
        if !self.unsent || self.next_at().is_some_and(|at| at > now) {
            return None;
        }
        self.unsent = false;
        self.sent_at = Some(now);
        Some(Presence { session: 0, data: self.own.clone().map(Into::into), user: None })
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.unsent { Some(self.next_at().unwrap_or_default()) } else { None }
    }

    /// The server says something of another session.
    pub(super) fn heard(&mut self, presence: Presence) {
        let session = presence.session;
        let change = PresenceChange { session, data: presence.data.map(Into::into), user: presence.user };
        if change.data.is_none() {
            if self.others.remove(&session).is_none() {
                return;
            }
        } else if self.others.len() < PRESENCES_MAX || self.others.contains_key(&session) {
            self.others.insert(session, change.clone());
        } else {
            return;
        }
        self.changed.insert(session, change);
    }

    /// The connection is gone, and with it everybody.
    pub(super) fn disconnected(&mut self) {
        self.unsent = self.own.is_some();
        for (_, gone) in std::mem::take(&mut self.others) {
            self.changed.insert(gone.session, PresenceChange { data: None, ..gone });
        }
    }

    pub(super) fn tell(&mut self, channel: Channel, cx: &mut Context<'_>) {
        if !self.changed.is_empty() {
            let changed = std::mem::take(&mut self.changed).into_iter().map(|(_, change)| change).collect();
            cx.effects.push_back(Effect::Presence { channel, changed });
        }
    }

    fn next_at(&self) -> Option<Instant> {
        self.sent_at.map(|at| at.after(PRESENCE_MS_MIN))
    }
}
