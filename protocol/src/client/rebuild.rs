//! Starting a copy over: restamp under a new site, discard of what was refused, reset to a new generation.
//!
//! While a new copy is fetched the old one stays on the screen and takes edits. When it is whole, what must survive moves
//! over in one step and the editor gets the difference.

use selvedge_engine::undo::UndoStack;
use selvedge_engine::{Delta, Document, SiteId, SortedMap, TextPatch};

use super::Context;
use super::config::OutboxKey;
use super::effect::{Effect, Origin};
use super::outbox::{Entry, Outbox};
use super::replica::Replica;

/// A copy being fetched anew.
#[derive(Debug)]
pub(super) struct Rebuild {
    /// Whose deltas do not go over as they are, and from which counter on.
    sites: SortedMap<SiteId, u64>,
    /// Whether they are written again under a new site, or dropped.
    restamp: bool,
    staged: Option<Document>,
    /// Deltas that the server took meanwhile: the copy may have been made before that, and nobody sends them again.
    taken: Vec<Vec<u8>>,
}

impl Rebuild {
    pub(super) fn restamp(sites: impl IntoIterator<Item = (SiteId, u64)>) -> Self {
        Self { sites: sites.into_iter().collect(), restamp: true, staged: None, taken: Vec::new() }
    }

    pub(super) fn discard(sites: impl IntoIterator<Item = (SiteId, u64)>) -> Self {
        Self { sites: sites.into_iter().collect(), restamp: false, staged: None, taken: Vec::new() }
    }

    /// Whether a site's deltas stay back.
    pub(super) fn concerns(&self, site: SiteId) -> bool {
        self.sites.contains_key(&site)
    }

    /// A channel opens: fetching starts from nothing.
    pub(super) fn begin(&mut self, outbox: &mut Outbox) {
        self.staged = Some(Document::new());
        for (site, from) in &self.sites {
            outbox.block(*site, *from);
        }
    }

    /// The server took these deltas just now.
    pub(super) fn keep(&mut self, deltas: impl IntoIterator<Item = Vec<u8>>) {
        self.taken.extend(deltas);
    }

    /// The copy being fetched.
    pub(super) fn staged(&mut self) -> Option<&mut Document> {
        self.staged.as_mut()
    }
}

impl Replica {
    /// The copy that is being synced: the staged one while rebuilding.
    pub(super) fn syncing_document(&self) -> &Document {
        self.rebuild.as_ref().and_then(|rebuild| rebuild.staged.as_ref()).unwrap_or(&self.document)
    }

    /// Starts over with the next channel; joins a rebuild that is under way.
    pub(super) fn begin_rebuild(&mut self, mut rebuild: Rebuild) {
        if let Some(before) = self.rebuild.take() {
            for (site, from) in before.sites {
                let now = rebuild.sites.or_insert_with(site, || from);
                *now = from.min(*now);
            }
            rebuild.restamp |= before.restamp;
            rebuild.taken.extend(before.taken);
        }
        self.store.paused = true;
        self.rebuild = Some(rebuild);
    }

    /// Writes what these sites have not got through again under a new site.
    pub(super) fn restamp(&mut self, sites: impl IntoIterator<Item = (SiteId, u64)>, cx: &mut Context<'_>) {
        self.begin_rebuild(Rebuild::restamp(sites));
        self.leave_channel(cx);
        self.reopen_at = Some(cx.now.after(self.backoff.fail()));
    }

    /// Drops what was refused and takes the server's copy.
    pub(super) fn discard_refused(&mut self, cx: &mut Context<'_>) {
        if self.refused.is_none() {
            return;
        }
        self.seal(cx.now);
        let refused = |site| self.outbox.refused_from(site).map(|from| (site, from));
        let sites: Vec<_> = self.outbox.sites().into_iter().filter_map(refused).collect();
        self.begin_rebuild(Rebuild::discard(sites));
        self.leave_channel(cx);
        if cx.link.is_up() {
            self.open_channel(cx);
        }
    }

    /// Sends what was refused again.
    pub(super) fn retry_refused(&mut self, cx: &mut Context<'_>) {
        if self.refused.take().is_none() {
            return;
        }
        for site in self.outbox.sites() {
            self.outbox.unblock(site, cx.now);
        }
        self.push_due(cx);
    }

    /// The fetched copy is whole: what must survive moves over, the editor gets the difference.
    pub(super) fn finish_rebuild(&mut self, cx: &mut Context<'_>) {
        self.seal(cx.now);
        let Some(rebuild) = self.rebuild.take() else { return };
        self.store.replaced(cx.now);
        let Some(mut document) = rebuild.staged else { return };
        let before = self.document.text();
        for delta in rebuild.taken.iter().filter_map(|bytes| Delta::decode(bytes).ok()) {
            // What came with the copy is known there already.
            let _ = document.apply(&delta);
        }
        for (site, entry) in self.outbox.iter().filter(|(site, _)| !rebuild.sites.contains_key(site)) {
            if let Ok(delta) = Delta::decode(&entry.bytes) {
                debug_assert_eq!(delta.site, site);
                // A piece whose beginning the server lacks stays in the outbox: its gap is answered there.
                let _ = document.apply(&delta);
            }
        }
        let mut aside = Vec::new();
        for (site, from) in rebuild.sites {
            // What the server has of it is part of the fetched copy.
            let from = from.max(document.vector().get(site) + 1);
            let entries = self.outbox.take_site(site, 1);
            self.store.forget(entries.iter().map(|entry| OutboxKey { site, first: entry.first }), cx.now);
            aside.extend(entries.iter().filter_map(|entry| remaining(entry, from)));
        }
        let old = std::mem::replace(&mut self.document, document);
        self.undo = UndoStack::new();
        self.refused = None;
        if rebuild.restamp && !aside.is_empty() {
            let restamped = self.begin_random_site().is_ok() && self.document.restamp(&aside).is_ok();
            if !restamped {
                // Nothing the user wrote disappears unseen: the old copy is handed out.
                let unsent_ops = aside.iter().map(|delta| delta.last() - delta.first + 1).sum();
                let (channel, generation) = (self.handle, self.generation);
                cx.effects.push_back(Effect::Reset { channel, generation, previous: old.snapshot(), unsent_ops });
            }
            self.seal(cx.now);
        }
        self.saved_changed = true;
        let patches = difference(&before, &self.document.text());
        self.show(patches, Origin::Restore, cx);
        cx.effects.push_back(Effect::Meta { channel: self.handle });
    }

    /// The document was rebuilt under another generation: the old copy is handed out, a new one begins.
    pub(super) fn reset(&mut self, generation: u64, cx: &mut Context<'_>) {
        self.seal(cx.now);
        let old = std::mem::take(&mut self.document);
        let sites = self.outbox.sites();
        let mut unsent_ops = 0;
        for site in sites {
            let entries = self.outbox.take_site(site, 1);
            unsent_ops += entries.iter().map(|entry| entry.last - entry.first + 1).sum::<u64>();
            self.store.forget(entries.iter().map(|entry| OutboxKey { site, first: entry.first }), cx.now);
        }
        self.outbox = Outbox::new();
        self.undo = UndoStack::new();
        (self.rebuild, self.refused, self.position, self.lease) = (None, None, None, None);
        self.store.replaced(cx.now);
        self.generation = generation;
        self.saved_changed = true;
        let channel = self.handle;
        cx.effects.push_back(Effect::Reset { channel, generation, previous: old.snapshot(), unsent_ops });
        let patches = difference(&old.text(), "");
        self.show(patches, Origin::Restore, cx);
    }
}

/// The part of an entry from a counter on.
fn remaining(entry: &Entry, from: u64) -> Option<Delta> {
    Delta::decode(&entry.bytes).ok()?.after(from - 1)
}

/// One patch that turns `old` into `new`: what lies between their common beginning and end. O(n).
fn difference(old: &str, new: &str) -> Vec<TextPatch> {
    if old == new {
        return Vec::new();
    }
    let prefix: usize =
        old.chars().zip(new.chars()).take_while(|(a, b)| a == b).map(|(character, _)| character.len_utf8()).sum();
    let (old_rest, new_rest) = (&old[prefix..], &new[prefix..]);
    let both = old_rest.chars().rev().zip(new_rest.chars().rev());
    let suffix: usize = both.take_while(|(a, b)| a == b).map(|(character, _)| character.len_utf8()).sum();
    let units = |text: &str| text.encode_utf16().count();
    vec![TextPatch {
        at: units(&old[..prefix]),
        delete: units(&old_rest[..old_rest.len() - suffix]),
        insert: new_rest[..new_rest.len() - suffix].to_owned(),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_difference_turns_old_into_new(old in "[ab\u{1f600}]{0,12}", new in "[ab\u{1f600}]{0,12}") {
            let mut units: Vec<u16> = old.encode_utf16().collect();
            for patch in difference(&old, &new) {
                units.splice(patch.at..patch.at + patch.delete, patch.insert.encode_utf16());
            }
            prop_assert_eq!(String::from_utf16(&units).unwrap(), new);
        }
    }
}
