//! From the log to every session: once encoded, coalesced per tick. And presence, which no log holds.

use std::sync::Arc;

use selvedge_engine::Delta;
use selvedge_protocol::message::Presence;
use selvedge_protocol::{Instant, ServerMessage};

use super::event::{RoomEffect, SessionKey, Shared};
use super::{HOT_SESSIONS, Room};

impl Room {
    /// Sends what the log has released: at once when idle, else when the tick is over.
    pub(super) fn flush(&mut self, now: Instant) {
        if self.batch.is_empty() {
            return;
        }
        let tick =
            if self.members.len() > HOT_SESSIONS { self.setup.config.tick_hot_ms } else { self.setup.config.tick_ms };
        if let Some(next) = self.flushed_at.map(|at| at.after(tick))
            && now < next
        {
            self.flush_at = Some(next);
            return;
        }
        self.flush_at = None;
        let sent = &self.sent;
        let mut batch = std::mem::take(&mut self.batch);
        batch.retain(|entry| entry.last > sent.get(entry.site()));
        let needed = self
            .members
            .values()
            .any(|member| member.is_live() && batch.iter().any(|entry| entry.last > member.own.get(entry.site())));
        for entry in &batch {
            self.sent.advance(entry.site(), entry.last);
        }
        let position = self.ready().map(|ready| ready.ledger.advertised());
        if !needed {
            return;
        }
        self.flushed_at = Some(now);
        let deltas: Vec<Arc<Delta>> = batch.into_iter().map(|entry| entry.delta).collect();
        for message in self.encoder.encode(&deltas, position, now) {
            let shared = Shared::new(&ServerMessage::Deltas(message));
            self.counts.frames += 1;
            self.send_live(&shared);
        }
    }

    fn send_live(&mut self, shared: &Shared) {
        let live = self.members.iter().filter(|(_, member)| member.is_live()).map(|(&key, _)| key);
        for key in live.collect::<Vec<_>>() {
            self.counts.deliveries += 1;
            self.send(key, shared.clone());
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
        if self.members.keys().any(|key| key.session == session) {
            return;
        }
        match data {
            None => {
                self.elsewhere.remove(&session);
            }
            data => {
                self.elsewhere.insert(session, (data, user));
            }
        }
        self.changed_presence.insert(session);
        self.schedule_presence(now);
    }

    pub(super) fn schedule_presence(&mut self, now: Instant) {
        if !self.changed_presence.is_empty() {
            self.presence_at.get_or_insert(now.after(self.setup.config.presence_tick_ms));
        }
    }

    /// Tells every up-to-date session what changed; the slow ones learn it when they are up to date again.
    pub(super) fn flush_presence(&mut self) {
        self.presence_at = None;
        let changed: Vec<Presence> =
            std::mem::take(&mut self.changed_presence).into_iter().map(|session| self.presence_of(session)).collect();
        let readers: Vec<SessionKey> =
            self.members.iter().filter(|(_, member)| member.sees_presence()).map(|(&key, _)| key).collect();
        for presence in changed {
            let session = presence.session;
            if presence.data.is_none() && !self.elsewhere.contains_key(&session) {
                self.effects.push_back(RoomEffect::PublishPresence { session, data: None, user: None });
            }
            let shared = Shared::new(&ServerMessage::Presence(presence));
            for &key in readers.iter().filter(|key| key.session != session) {
                self.send(key, shared.clone());
            }
        }
    }

    /// Shows a session that has just come everybody who shows something.
    pub(super) fn show_others(&mut self, key: SessionKey) {
        let here =
            self.members.iter().filter(|(other, member)| other.session != key.session && member.presence.is_some());
        let sessions: Vec<u64> = here.map(|(other, _)| other.session).chain(self.elsewhere.keys().copied()).collect();
        for session in sessions {
            let presence = self.presence_of(session);
            self.send(key, presence);
        }
    }

    fn presence_of(&self, session: u64) -> Presence {
        let here = self.members.iter().find(|(key, member)| key.session == session && member.presence.is_some());
        let (data, user) = match here {
            Some((_, member)) => (member.presence.clone(), member.user.clone()),
            None => self.elsewhere.get(&session).cloned().unwrap_or_default(),
        };
        Presence { session, data: data.map(Into::into), user }
    }
}
