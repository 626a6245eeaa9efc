//! Taking up what a store held: the state row, then every outbox entry on top.

use selvedge_engine::{Delta, Document};

use super::Context;
use super::config::{KeptFrame, OutboxEntry, Restored};
use super::effect::{Effect, StoreError};
use super::outbox::Entry;
use super::rebuild::Rebuild;
use super::replica::Replica;
use crate::level::AckLevel;

impl Replica {
    /// Takes up what the store held. Damage is told, never fatal: the server and the outbox have the text.
    pub(super) fn restore(&mut self, restored: Restored, adopt: bool, cx: &mut Context<'_>) {
        self.generation = restored.generation;
        self.highest = restored.highest.unwrap_or(AckLevel::Region);
        if !restored.state.is_empty() {
            match Document::load(&restored.state) {
                Ok(document) => (self.document, self.position) = (document, restored.position),
                Err(error) => self.damaged(error.to_string(), cx),
            }
        }
        let mut entries = restored.outbox;
        entries.sort_by_key(|entry| (entry.site, entry.first));
        let mut foreign = Vec::new();
        for stored in entries {
            let own = *stored.principal == *self.principal;
            if !own && !adopt {
                continue;
            }
            let Some(delta) = self.delta_of(&stored, cx) else { continue };
            // A piece whose beginning is lost stays in the outbox: what the server has decides.
            let _ = self.document.apply(&delta);
            if !own {
                foreign.push(stored.site);
            }
            self.outbox.push(stored.site, taken_up(stored, 0, cx));
        }
        self.store.restored();
        let generation = self.generation;
        let whole = |frame: &KeptFrame| {
            let same = |delta: Delta| (delta.site, delta.first, delta.last()) == (frame.site, frame.first, frame.last);
            frame.generation == generation && Delta::decode(&frame.bytes).is_ok_and(same)
        };
        self.frames.restore(restored.frames.into_iter().filter(whole).collect(), cx.now);
        if !foreign.is_empty() {
            foreign.dedup();
            self.begin_rebuild(Rebuild::restamp(foreign.into_iter().map(|site| (site, 1))));
        }
    }

    /// Takes up an entry that another tab of this profile stored and may not live to send: whoever is there pushes it. Known
    /// ones, this load's own, and those of another principal are left alone.
    pub(super) fn adopt_entry(&mut self, stored: OutboxEntry, cx: &mut Context<'_>) {
        let own_site = self.document.site() == Some(stored.site);
        if own_site || *stored.principal != *self.principal || stored.acked >= self.highest {
            return;
        }
        if self.delta_of(&stored, cx).is_none() {
            return;
        }
        // What cannot be applied yet (its beginning is still to come) is pushed all the same.
        let _ = self.apply_from_tab(&stored.bytes, cx);
        if self.outbox.adopt(stored.site, taken_up(stored, self.edited, cx)) {
            self.saved_changed = true;
            self.push_due(cx);
        }
    }

    /// What an entry holds, if it is whole.
    fn delta_of(&mut self, stored: &OutboxEntry, cx: &mut Context<'_>) -> Option<Delta> {
        let whole =
            |delta: &Delta| delta.site == stored.site && delta.first == stored.first && delta.last() == stored.last;
        let delta = Delta::decode(&stored.bytes).ok().filter(whole);
        if delta.is_none() {
            self.damaged("an entry of the outbox is damaged".into(), cx);
        }
        delta
    }

    fn damaged(&mut self, what: String, cx: &mut Context<'_>) {
        cx.effects.push_back(Effect::StoreFailed { channel: self.handle, error: StoreError::Failed(what) });
    }
}

/// A stored entry as the outbox keeps it.
fn taken_up(stored: OutboxEntry, edit_before: u64, cx: &Context<'_>) -> Entry {
    Entry {
        first: stored.first,
        last: stored.last,
        principal: stored.principal.into(),
        bytes: stored.bytes,
        acked: stored.acked,
        stored: true,
        edit_before,
        sealed: cx.now,
    }
}
