//! From the log to every session: once encoded, coalesced per tick. And presence, which no log holds.

use selvedge_protocol::message::{Deltas, Presence};
use selvedge_protocol::{Instant, ServerMessage};

use super::elsewhere::Change;
use super::event::{RoomEffect, SessionKey, Shared};
use super::ledger::Entry;
use super::{HOT_SESSIONS, Room};

/// Bytes of deltas in one flush. Between two of them the shell says whose queue has run over, so that no session's queue runs
/// far beyond its bound however much the log releases at once.
const FLUSH_BYTES_MAX: usize = 64 * 1024;
/// Bytes of presence sent to one session at once: what changed in a tick, or what there was when it came.
const PRESENCE_BYTES_AT_ONCE: usize = 64 * 1024;
/// Sessions the other relays are told of again at once. No client shows more; in a larger crowd the others are seen when they move.
const PRESENCES_REPEATED_MAX: usize = 1_024;
/// About what a presence takes beside the application's bytes.
const PRESENCE_HEAD_BYTES: usize = 64;

impl Room {
    /// Sends what the log has released: at once when idle, else when the tick is over; piece by piece if it is much.
    pub(super) fn flush(&mut self, now: Instant) {
        if self.batch.is_empty() {
            return;
        }
        if let Some(at) = self.flush_due(now) {
            self.flush_at = Some(at);
            return;
        }
        let sent = &self.sent;
        let mut batch = std::mem::take(&mut self.batch);
        batch.retain(|entry| entry.last > sent.get(entry.site()));
        self.batch = batch.split_off(piece(&batch));
        self.flushing = !self.batch.is_empty();
        self.flush_at = self.flushing.then_some(now);
        let needed = self
            .members
            .values()
            .any(|member| member.is_live() && batch.iter().any(|entry| entry.last > member.own.get(entry.site())));
        for entry in &batch {
            self.sent.advance(entry.site(), entry.last);
        }
        // A position says that everything below it was sent.
        let position = self.ready().filter(|_| !self.flushing).map(|ready| ready.ledger.advertised());
        if !needed {
            return;
        }
        self.flushed_at = Some(now);
        let mut messages = self.encode_live(&batch, now);
        if let Some(last) = messages.last_mut() {
            last.position = position;
        }
        for message in messages {
            self.counts.frames += 1;
            self.send_live(message);
        }
    }

    /// When the next piece may go, if not now.
    fn flush_due(&self, now: Instant) -> Option<Instant> {
        if self.flushing {
            // The shell has to execute the piece before.
            return (!self.effects.is_empty()).then_some(now);
        }
        let hot = self.members.len() > HOT_SESSIONS;
        let tick = if hot { self.setup.config.tick_hot_ms } else { self.setup.config.tick_ms };
        self.flushed_at.map(|at| at.after(tick)).filter(|next| now < *next)
    }

    /// One message for all, encoded once; a second time without its tag, where somebody has not agreed to tags.
    fn send_live(&mut self, message: Deltas) {
        let live = self.members.iter().filter(|(_, member)| member.is_live());
        let live: Vec<(SessionKey, bool)> = live.map(|(&key, member)| (key, member.tags)).collect();
        let bare = message.tag.is_some() && live.iter().any(|(_, tags)| !tags);
        let bare = bare.then(|| Shared::new(&ServerMessage::Deltas(Deltas { tag: None, ..message.clone() })));
        let shared = Shared::new(&ServerMessage::Deltas(message));
        for (key, tags) in live {
            self.counts.deliveries += 1;
            let one = bare.as_ref().filter(|_| !tags).unwrap_or(&shared);
            self.send(key, one.clone());
        }
    }

    pub(super) fn presence(&mut self, key: SessionKey, data: Option<Vec<u8>>, now: Instant) {
        let Some(member) = self.members.get_mut(&key) else { return };
        if member.presence != data {
            let user = member.user.clone();
            member.presence.clone_from(&data);
            self.changed_presence.insert(key.session);
            self.effects.push_back(RoomEffect::PublishPresence { session: key.session, data, user });
            self.schedule_presence(now);
        }
    }

    pub(super) fn heard_presence(&mut self, session: u64, data: Option<Vec<u8>>, user: Option<String>, now: Instant) {
        // The bus tells a relay what it said itself, too.
        if self.members.keys().any(|key| key.session == session) {
            return;
        }
        let change = self.elsewhere.heard(session, data, user, now);
        if change == Change::Nothing {
            return;
        }
        if change == Change::Newcomer {
            // Whose relay may not know yet who is here.
            self.elsewhere.repeat_soon();
        }
        self.changed_presence.insert(session);
        self.schedule_presence(now);
    }

    /// Tells the other relays again who is here, and forgets who was not told of for long: a message may be lost, and a relay
    /// with all its sessions.
    pub(super) fn repeat_presence(&mut self, now: Instant) {
        let gone = self.elsewhere.silent(now, self.setup.config.presence_repeat_ms);
        self.changed_presence.extend(gone);
        self.schedule_presence(now);
        if !self.elsewhere.repeat_due(now, self.setup.config.presence_repeat_ms) {
            return;
        }
        let shows = self.members.iter().filter(|(_, member)| member.presence.is_some());
        for (key, member) in shows.take(PRESENCES_REPEATED_MAX) {
            let (data, user) = (member.presence.clone(), member.user.clone());
            self.effects.push_back(RoomEffect::PublishPresence { session: key.session, data, user });
        }
    }

    /// When [`Room::repeat_presence`] has something to do.
    pub(super) fn presence_repeat_at(&self) -> Option<Instant> {
        let every = self.setup.config.presence_repeat_ms;
        let shows = self.members.values().any(|member| member.presence.is_some());
        let repeat = shows.then(|| self.elsewhere.repeat_at(every));
        repeat.into_iter().chain(self.elsewhere.silent_at(every)).min()
    }

    pub(super) fn schedule_presence(&mut self, now: Instant) {
        if !self.changed_presence.is_empty() {
            self.presence_at.get_or_insert(now.after(self.setup.config.presence_tick_ms));
        }
    }

    /// Tells every up-to-date session what changed; the slow ones learn it when they are up to date again.
    pub(super) fn flush_presence(&mut self, now: Instant) {
        self.presence_at = None;
        // What does not fit goes with the next tick, and first then.
        let from = self.presence_from;
        let sessions = self.changed_presence.range(from..).chain(self.changed_presence.range(..from));
        let changed = self.presences(sessions.copied().collect());
        for presence in &changed {
            self.changed_presence.remove(&presence.session);
            self.presence_from = presence.session + 1;
        }
        self.schedule_presence(now);
        let readers: Vec<SessionKey> =
            self.members.iter().filter(|(_, member)| member.sees_presence()).map(|(&key, _)| key).collect();
        for presence in changed {
            let session = presence.session;
            let shared = Shared::new(&ServerMessage::Presence(presence));
            for &key in readers.iter().filter(|key| key.session != session) {
                self.send(key, shared.clone());
            }
        }
    }

    /// Shows a session that has just come who shows something; in a crowd not everybody, until they move.
    pub(super) fn show_others(&mut self, key: SessionKey) {
        let here =
            self.members.iter().filter(|(other, member)| other.session != key.session && member.presence.is_some());
        let sessions: Vec<u64> = here.map(|(other, _)| other.session).chain(self.elsewhere.sessions()).collect();
        for presence in self.presences(sessions) {
            self.send(key, presence);
        }
    }

    /// What these sessions show, as many as may be sent at once.
    fn presences(&self, sessions: Vec<u64>) -> Vec<Presence> {
        let mut bytes = 0;
        let fits = |presence: &Presence| {
            bytes += PRESENCE_HEAD_BYTES + presence.data.as_ref().map_or(0, |data| data.len());
            bytes <= PRESENCE_BYTES_AT_ONCE
        };
        sessions.into_iter().map(|session| self.presence_of(session)).take_while(fits).collect()
    }

    fn presence_of(&self, session: u64) -> Presence {
        let here = self.members.iter().find(|(key, member)| key.session == session && member.presence.is_some());
        let (data, user) = match here {
            Some((_, member)) => (member.presence.clone(), member.user.clone()),
            None => self.elsewhere.shown(session).unwrap_or_default(),
        };
        Presence { session, data: data.map(Into::into), user }
    }
}

/// How many entries of a batch go out together: at least one.
fn piece(batch: &[Entry]) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        bytes += entry.bytes;
        bytes <= FLUSH_BYTES_MAX
    };
    batch.iter().take_while(fits).count().max(1).min(batch.len())
}
