//! A device's store as a browser's database behaves: transactions that commit whole or not at all, and the last of which
//! a power cut may take back.

use std::collections::{BTreeMap, VecDeque};

use selvedge_engine::{SiteId, VersionVector};
use selvedge_protocol::DocumentId;
use selvedge_protocol::client::{KeptFrame, OutboxEntry, Restored, StoreError, StoreTransaction, StoredState};

use super::checks::promise;

/// Transactions a power cut can reach back to.
const AT_RISK_MAX: usize = 12;

/// What a store holds of one document.
#[derive(Clone, Debug, Default)]
pub(super) struct StoredDocument {
    /// Sealed deltas that are not known to be safe elsewhere, by site and first counter.
    pub(super) outbox: BTreeMap<(SiteId, u64), OutboxEntry>,
    /// What the state shows of others and no highest level covers, with its proof.
    pub(super) frames: BTreeMap<(SiteId, u64), KeptFrame>,
    /// The state of some moment.
    pub(super) state: Option<StoredState>,
}

impl StoredDocument {
    /// As a load is given it.
    pub(super) fn restored(&self) -> Option<Restored> {
        if self.outbox.is_empty() && self.state.is_none() {
            return None;
        }
        let state = self.state.as_ref();
        Some(Restored {
            generation: state.map_or(0, |state| state.generation),
            state: state.map(|state| state.snapshot.clone()).unwrap_or_default(),
            position: state.and_then(|state| state.position),
            highest: state.map(|state| state.highest),
            outbox: self.outbox.values().cloned().collect(),
            frames: self.frames.values().cloned().collect(),
        })
    }
}

/// All documents of a store.
type Image = BTreeMap<DocumentId, StoredDocument>;

/// A device's store.
#[derive(Clone, Debug, Default)]
pub(super) struct DeviceStore {
    image: Image,
    /// `image` without the transactions at risk.
    settled: Image,
    at_risk: VecDeque<(DocumentId, StoreTransaction)>,
    /// Planted fault: the state row is written without comparing.
    pub(super) overwrite: bool,
}

impl DeviceStore {
    /// What is stored of `document`.
    pub(super) fn read(&self, document: &DocumentId) -> StoredDocument {
        self.image.get(document).cloned().unwrap_or_default()
    }

    /// What a load opened from this store would know of `document`.
    pub(super) fn covers(&self, document: &DocumentId) -> VersionVector {
        self.covers_beyond(document, &VersionVector::new())
    }

    /// The same of a store from which `known` may be missing.
    pub(super) fn covers_beyond(&self, document: &DocumentId, known: &VersionVector) -> VersionVector {
        let Some(stored) = self.image.get(document) else { return known.clone() };
        let mut covered = stored.state.as_ref().map(vector).unwrap_or_default();
        covered.join(known);
        for ((site, first), entry) in &stored.outbox {
            promise(&mut covered, *site, *first, entry.last);
        }
        covered
    }

    /// Commits a transaction.
    ///
    /// # Errors
    /// [`StoreError::Behind`] when the state row holds what the new state lacks; nothing is written then.
    pub(super) fn commit(&mut self, document: &DocumentId, transaction: StoreTransaction) -> Result<(), StoreError> {
        if let (Some(new), Some(old)) =
            (&transaction.state, self.image.get(document).and_then(|stored| stored.state.as_ref()))
            && !self.overwrite
            && !new.replace
            && (old.generation == new.generation || old.generation == 0 || new.generation == 0)
            && !vector(new).dominates(&vector(old))
        {
            return Err(StoreError::Behind { state: old.snapshot.clone() });
        }
        apply(&mut self.image, document, &transaction);
        self.at_risk.push_back((document.clone(), transaction));
        if self.at_risk.len() > AT_RISK_MAX
            && let Some((document, transaction)) = self.at_risk.pop_front()
        {
            apply(&mut self.settled, &document, &transaction);
        }
        Ok(())
    }

    /// Takes back the last `lost` transactions; returns how many there were to take.
    pub(super) fn power_cut(&mut self, lost: usize) -> usize {
        let lost = lost.min(self.at_risk.len());
        self.at_risk.truncate(self.at_risk.len() - lost);
        self.image = self.settled.clone();
        for (document, transaction) in &self.at_risk {
            apply(&mut self.image, document, transaction);
        }
        lost
    }
}

fn apply(image: &mut Image, document: &DocumentId, transaction: &StoreTransaction) {
    let stored = image.entry(document.clone()).or_default();
    for entry in &transaction.put_outbox {
        stored.outbox.insert((entry.site, entry.first), entry.clone());
    }
    for key in &transaction.delete_outbox {
        stored.outbox.remove(&(key.site, key.first));
    }
    for frame in &transaction.put_frames {
        stored.frames.insert((frame.site, frame.first), frame.clone());
    }
    for key in &transaction.delete_frames {
        stored.frames.remove(&(key.site, key.first));
    }
    if let Some(state) = &transaction.state {
        let known = stored.state.as_ref().filter(|_| !state.replace).map_or(0, |state| state.generation);
        stored.state = Some(StoredState { generation: state.generation.max(known), ..state.clone() });
    }
}

/// The vector of a state row.
fn vector(state: &StoredState) -> VersionVector {
    VersionVector::decode(&state.vector).expect("a client writes what it can read")
}
