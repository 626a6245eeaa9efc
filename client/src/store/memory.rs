//! A store that lasts as long as the process: for tests, and for documents that are opened again and again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_protocol::DocumentId;
use selvedge_protocol::client::{Restored, StoreError, StoreTransaction};

use super::{Kept, Store};
use crate::Error;

/// Keeps documents in memory. Clones share what is kept.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    documents: Arc<Mutex<BTreeMap<DocumentId, Kept>>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Deltas in a document's outbox.
    #[must_use]
    pub fn outbox_len(&self, document: &DocumentId) -> usize {
        self.with(|documents| documents.get(document).map_or(0, |kept| kept.outbox.len()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<DocumentId, Kept>) -> T) -> T {
        // Every step leaves the map whole, so a panic elsewhere under the lock does no harm.
        act(&mut self.documents.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for MemoryStore {
    fn load(&self, document: &DocumentId) -> Result<Option<Restored>, Error> {
        Ok(self.with(|documents| documents.get(document).map(Kept::restored)))
    }

    fn apply(&self, document: &DocumentId, transaction: &StoreTransaction) -> Result<(), StoreError> {
        self.with(|documents| {
            let kept = documents.entry(document.clone()).or_default();
            kept.check(transaction)?;
            kept.execute(transaction);
            Ok(())
        })
    }
}
