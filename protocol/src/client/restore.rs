//! Taking up what a store held: the state row, then every outbox entry on top.

use selvedge_engine::{Delta, Document};

use super::Context;
use super::config::Restored;
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
            let own = stored.principal == self.principal;
            if !own && !adopt {
                continue;
            }
            let delta = match Delta::decode(&stored.bytes) {
                Ok(delta)
                    if delta.site == stored.site && delta.first == stored.first && delta.last() == stored.last =>
                {
                    delta
                }
                _ => {
                    self.damaged("an entry of the outbox is damaged".into(), cx);
                    continue;
                }
            };
            // A piece whose beginning is lost stays in the outbox: what the server has decides.
            let _ = self.document.apply(&delta);
            if !own {
                foreign.push(stored.site);
            }
            let entry = Entry {
                first: stored.first,
                last: stored.last,
                principal: stored.principal,
                bytes: stored.bytes,
                acked: stored.acked,
                stored: true,
                edit_before: 0,
                sealed: cx.now,
            };
            self.outbox.push(stored.site, entry);
        }
        self.store.restored();
        if !foreign.is_empty() {
            foreign.dedup();
            self.begin_rebuild(Rebuild::restamp(foreign.into_iter().map(|site| (site, 1))));
        }
    }

    fn damaged(&mut self, what: String, cx: &mut Context<'_>) {
        cx.effects.push_back(Effect::StoreFailed { channel: self.handle, error: StoreError::Failed(what) });
    }
}
