//! Where a device keeps documents and outboxes between loads.
//!
//! A store executes whole transactions and nothing else: what belongs in them, and when an entry may go, is decided by the
//! client machine. Calls may block; the shell makes them where that is allowed.

mod codec;
mod file;
mod memory;

use std::collections::BTreeMap;

pub use file::FileStore;
pub(crate) use file::replace;
pub use memory::MemoryStore;
use selvedge_engine::VersionVector;
use selvedge_protocol::DocumentId;
use selvedge_protocol::client::{
    KeptFrame, OutboxEntry, OutboxKey, Restored, StoreError, StoreTransaction, StoredState,
};

use crate::Error;

/// Keeps documents of one device.
pub trait Store: Send + Sync {
    /// What is kept of a document.
    ///
    /// # Errors
    /// `Store` or `Damaged` when it cannot be read.
    fn load(&self, document: &DocumentId) -> Result<Option<Restored>, Error>;

    /// Executes a transaction: all or nothing, durable before it answers.
    ///
    /// # Errors
    /// `Behind` when the kept state covers more than the transaction's; `Quota` without room; nothing was changed.
    fn apply(&self, document: &DocumentId, transaction: &StoreTransaction) -> Result<(), StoreError>;
}

/// What a store keeps of one document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    state: Option<StoredState>,
    outbox: BTreeMap<OutboxKey, OutboxEntry>,
    frames: BTreeMap<OutboxKey, KeptFrame>,
}

impl Kept {
    /// Whether the transaction may be executed.
    fn check(&self, transaction: &StoreTransaction) -> Result<(), StoreError> {
        let (Some(kept), Some(new)) = (&self.state, &transaction.state) else { return Ok(()) };
        // Generation 0: no server was asked yet, it may be any.
        let another = kept.generation != new.generation && kept.generation != 0 && new.generation != 0;
        if new.replace || another {
            return Ok(());
        }
        let vector = |bytes: &[u8]| {
            VersionVector::decode(bytes).map_err(|error| StoreError::Failed(format!("a stored vector: {error}")))
        };
        if vector(&new.vector)?.dominates(&vector(&kept.vector)?) {
            Ok(())
        } else {
            Err(StoreError::Behind { state: kept.snapshot.clone() })
        }
    }

    fn execute(&mut self, transaction: &StoreTransaction) {
        for entry in &transaction.put_outbox {
            self.outbox.insert(OutboxKey { site: entry.site, first: entry.first }, entry.clone());
        }
        for key in &transaction.delete_outbox {
            self.outbox.remove(key);
        }
        for frame in &transaction.put_frames {
            self.frames.insert(OutboxKey { site: frame.site, first: frame.first }, frame.clone());
        }
        for key in &transaction.delete_frames {
            self.frames.remove(key);
        }
        if let Some(state) = &transaction.state {
            let known = self.state.as_ref().filter(|_| !state.replace).map_or(0, |kept| kept.generation);
            self.state = Some(StoredState { generation: state.generation.max(known), ..state.clone() });
        }
    }

    /// Everything as one transaction.
    fn whole(&self) -> StoreTransaction {
        StoreTransaction {
            put_outbox: self.outbox.values().cloned().collect(),
            put_frames: self.frames.values().cloned().collect(),
            state: self.state.clone(),
            ..StoreTransaction::default()
        }
    }

    fn restored(&self) -> Restored {
        let state = self.state.clone();
        Restored {
            generation: state.as_ref().map_or(0, |state| state.generation),
            position: state.as_ref().and_then(|state| state.position),
            highest: state.as_ref().map(|state| state.highest),
            outbox: self.outbox.values().cloned().collect(),
            frames: self.frames.values().cloned().collect(),
            state: state.map_or_else(Vec::new, |state| state.snapshot),
        }
    }
}
