//! The store's side of a document: one transaction in flight, the next takes all that came meanwhile.

use selvedge_engine::{Document, SortedMap};

use super::Context;
use super::config::{OutboxEntry, OutboxKey};
use super::effect::{Effect, Origin, StoreError, StoreTicket, StoreTransaction, StoredState};
use super::frames::keys_of;
use super::replica::Replica;
use crate::level::{AckLevel, Instant};

/// How long after a change the state row is written, in milliseconds.
pub const STATE_MS: u64 = 1_000;
/// How many entries the outbox takes before the state row is written for them.
const PUTS_MAX: usize = 512;
/// How long after a failure the store is tried again, in milliseconds; doubled up to the last.
const RETRY_MS: (u64, u64) = (1_000, 30_000);

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    enabled: bool,
    puts: Vec<OutboxEntry>,
    /// Entries the outbox has forgotten; they leave the store with a state row that covers them.
    deletable: SortedMap<OutboxKey, ()>,
    /// Stored entries whose level rose.
    risen: SortedMap<OutboxKey, ()>,
    state_since: Option<Instant>,
    in_flight: Option<(StoreTicket, StoreTransaction)>,
    next_ticket: u64,
    failures: u32,
    retry_at: Option<Instant>,
    quota: bool,
    puts_since_state: usize,
    /// While the document is rebuilt its state row stays as it is.
    pub(super) paused: bool,
    /// The next state row is of a copy fetched anew: what the stored one covers beyond it is given up.
    replace: bool,
}

impl Store {
    pub(super) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            puts: Vec::new(),
            deletable: SortedMap::new(),
            risen: SortedMap::new(),
            state_since: None,
            in_flight: None,
            next_ticket: 1,
            failures: 0,
            retry_at: None,
            quota: false,
            puts_since_state: 0,
            paused: false,
            replace: false,
        }
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// What was restored is in the store already.
    pub(super) fn restored(&mut self) {
        self.puts.clear();
    }

    /// Stores an entry with the next transaction.
    pub(super) fn put(&mut self, entry: OutboxEntry, now: Instant) {
        if self.enabled {
            self.puts.push(entry);
            self.puts_since_state += 1;
            if self.puts_since_state > PUTS_MAX {
                self.state_changed(now);
            }
        }
    }

    /// Deletes entries with the next state row.
    pub(super) fn forget(&mut self, keys: impl IntoIterator<Item = OutboxKey>, now: Instant) {
        if self.enabled {
            self.deletable.extend(keys.into_iter().map(|key| (key, ())));
            if !self.deletable.is_empty() {
                self.state_changed(now);
            }
        }
    }

    /// Notes a level that rose, for the next transaction.
    pub(super) fn rose(&mut self, keys: Vec<OutboxKey>) {
        if self.enabled {
            self.risen.extend(keys.into_iter().map(|key| (key, ())));
        }
    }

    /// The document changed in a way the outbox does not hold.
    pub(super) fn state_changed(&mut self, now: Instant) {
        if self.enabled {
            self.state_since.get_or_insert(now);
        }
    }

    /// The copy was fetched anew: it goes to the store at once, whatever is there. Until then the next load would begin with
    /// what was given up.
    pub(super) fn replaced(&mut self, now: Instant) {
        self.paused = false;
        self.replace = self.enabled;
        self.state_changed(now);
    }

    /// Whether everything is stored.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.puts.is_empty() && (self.paused || self.state_since.is_none())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.in_flight.is_some() {
            return None;
        }
        let state = self.state_since.filter(|_| !self.paused).map(|since| since.after(self.state_wait()));
        let due = if self.puts.is_empty() { state } else { Some(Instant(0)) };
        due.map(|due| due.max(self.retry_at.unwrap_or_default()))
    }

    fn is_due(&self, now: Instant, at_once: bool) -> bool {
        if self.in_flight.is_some() || self.retry_at.is_some_and(|at| at > now) {
            return false;
        }
        !self.puts.is_empty() || self.is_state_due(now, at_once)
    }

    fn is_state_due(&self, now: Instant, at_once: bool) -> bool {
        !self.paused && self.state_since.is_some_and(|since| at_once || now.since(since) >= self.state_wait())
    }

    fn state_wait(&self) -> u64 {
        if self.replace { 0 } else { STATE_MS }
    }
}

impl Replica {
    /// Starts a store transaction if one is due.
    pub(super) fn store_due(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        if !self.store.is_due(now, self.closing) {
            return;
        }
        let mut transaction = StoreTransaction::default();
        if self.store.is_state_due(now, self.closing) {
            // The snapshot covers unsealed edits: their entries go with it.
            self.seal(now);
            transaction.state = Some(StoredState {
                vector: self.document.vector().encode(),
                generation: self.generation,
                highest: self.highest,
                position: self.position,
                // On the thread that draws: packing a large text would be seen.
                snapshot: self.document.snapshot_plain(),
                replace: self.store.replace,
            });
            transaction.delete_outbox = keys_of(std::mem::take(&mut self.store.deletable));
            (transaction.put_frames, transaction.delete_frames) = self.frames.take_stores();
            self.store.state_since = None;
            self.store.puts_since_state = 0;
        }
        if self.store.quota {
            let safe = self.outbox.iter().filter(|(_, entry)| entry.stored && entry.acked >= AckLevel::Region);
            transaction.delete_outbox.extend(safe.map(|(site, entry)| OutboxKey { site, first: entry.first }));
        }
        transaction.put_outbox = std::mem::take(&mut self.store.puts);
        for key in keys_of(std::mem::take(&mut self.store.risen)) {
            let deleted = transaction.delete_outbox.contains(&key);
            if let Some(entry) = self.outbox.entry(key).filter(|entry| entry.stored && !deleted) {
                transaction.put_outbox.push(super::outbox::Outbox::stored_form(key.site, entry));
            }
        }
        let gone: SortedMap<OutboxKey, ()> = transaction.delete_outbox.iter().map(|key| (*key, ())).collect();
        let ticket = StoreTicket(self.store.next_ticket);
        self.store.next_ticket += 1;
        self.store.in_flight = Some((ticket, transaction.clone()));
        // An entry that came and went before it was stored is in the state row alone.
        transaction.put_outbox.retain(|entry| !gone.contains_key(&OutboxKey { site: entry.site, first: entry.first }));
        cx.effects.push_back(Effect::Store { channel: self.handle, ticket, transaction });
    }

    /// The transaction is durable.
    pub(super) fn stored(&mut self, ticket: StoreTicket, cx: &mut Context<'_>) {
        let Some((_, transaction)) = self.store.in_flight.take_if(|(in_flight, _)| *in_flight == ticket) else {
            return;
        };
        (self.store.failures, self.store.retry_at, self.store.quota) = (0, None, false);
        if transaction.state.is_some_and(|state| state.replace) {
            self.store.replace = false;
        }
        for entry in transaction.put_outbox {
            let key = OutboxKey { site: entry.site, first: entry.first };
            let before = self.outbox.entry(key).is_some_and(|entry| entry.stored);
            self.outbox.stored(key);
            if !before {
                cx.effects.push_back(Effect::LocalDelta { channel: self.handle, bytes: entry.bytes });
            }
        }
        self.saved_changed = true;
    }

    /// The transaction did not happen: nothing of it did.
    pub(super) fn store_failed(&mut self, ticket: StoreTicket, error: StoreError, cx: &mut Context<'_>) {
        let Some((_, transaction)) = self.store.in_flight.take_if(|(in_flight, _)| *in_flight == ticket) else {
            return;
        };
        let now = cx.now;
        let mut puts = transaction.put_outbox;
        puts.append(&mut self.store.puts);
        self.store.puts = puts;
        let known = |key: &OutboxKey| self.outbox.entry(*key).is_none();
        let deletes: Vec<OutboxKey> = transaction.delete_outbox.into_iter().filter(known).collect();
        self.store.deletable.extend(deletes.into_iter().map(|key| (key, ())));
        self.frames.not_stored(&transaction.put_frames, transaction.delete_frames);
        if transaction.state.is_some() {
            // Due at once: it had waited already.
            self.store.state_since = Some(Instant(now.0.saturating_sub(STATE_MS)));
        }
        match &error {
            StoreError::Behind { state } => {
                if self.store.replace || self.merge_stored(state, cx) {
                    return;
                }
            }
            StoreError::Quota => self.store.quota = true,
            StoreError::Failed(_) => {}
        }
        let wait = RETRY_MS.1.min(RETRY_MS.0 << self.store.failures.min(5));
        self.store.failures += 1;
        self.store.retry_at = Some(now.after(wait));
        self.saved_changed = true;
        cx.effects.push_back(Effect::StoreFailed { channel: self.handle, error });
    }

    /// Takes in what another tab stored.
    fn merge_stored(&mut self, state: &[u8], cx: &mut Context<'_>) -> bool {
        let Ok(other) = Document::load(state) else { return false };
        let diff = other.state_diff(self.document.vector());
        match self.document.apply_state(&diff) {
            Ok(patches) => {
                self.show(patches, Origin::Tab, cx);
                true
            }
            Err(_) => false,
        }
    }
}
