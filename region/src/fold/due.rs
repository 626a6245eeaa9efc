//! When a document's snapshot is due: after so many bytes of deltas, or when the oldest one not in a snapshot is so old.

use std::collections::BTreeMap;

use selvedge_protocol::Instant;

use crate::ops::DocumentKey;

/// When snapshots are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueConfig {
    /// After so many bytes of deltas,
    pub bytes: usize,
    /// or when the oldest delta not in a snapshot is so old, in milliseconds.
    pub age_ms: u64,
    /// Documents that wait; beyond it the one that waited longest is due.
    pub waiting_max: usize,
}

struct Waiting {
    bytes: usize,
    since: Instant,
}

/// The documents with deltas that no snapshot has yet.
pub struct Due {
    config: DueConfig,
    waiting: BTreeMap<DocumentKey, Waiting>,
}

impl Due {
    /// Nothing waits.
    #[must_use]
    pub fn new(config: DueConfig) -> Self {
        Self { config, waiting: BTreeMap::new() }
    }

    /// Notes a delta of so many bytes.
    pub fn note(&mut self, key: DocumentKey, bytes: usize, now: Instant) {
        self.waiting.entry(key).or_insert(Waiting { bytes: 0, since: now }).bytes += bytes;
    }

    /// Documents whose snapshot is due. They wait no longer: whoever takes them writes it, or puts them back by
    /// [`Due::postpone`].
    pub fn take(&mut self, now: Instant) -> Vec<DocumentKey> {
        let config = &self.config;
        let is_due = |waiting: &Waiting| waiting.bytes >= config.bytes || now.since(waiting.since) >= config.age_ms;
        let mut due: Vec<_> = self.waiting.iter().filter(|(_, w)| is_due(w)).map(|(key, _)| key.clone()).collect();
        let excess = (self.waiting.len() - due.len()).saturating_sub(config.waiting_max);
        if excess > 0 {
            let mut rest: Vec<_> = self.waiting.iter().filter(|(_, w)| !is_due(w)).collect();
            rest.sort_by_key(|(_, waiting)| waiting.since);
            due.extend(rest.into_iter().take(excess).map(|(key, _)| key.clone()));
        }
        for key in &due {
            self.waiting.remove(key);
        }
        due
    }

    /// Everything that waits, due or not: for a shutdown that leaves nothing to be folded again.
    pub fn drain(&mut self) -> Vec<DocumentKey> {
        std::mem::take(&mut self.waiting).into_keys().collect()
    }

    /// Puts a document back whose snapshot could not be written.
    pub fn postpone(&mut self, key: DocumentKey, now: Instant) {
        self.waiting.entry(key).or_insert(Waiting { bytes: 0, since: now });
    }

    /// How many documents wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
