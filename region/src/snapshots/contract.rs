//! The contract of [`SnapshotStore`](super::SnapshotStore).

use super::SnapshotStore;
use crate::contract::Faults;

/// Holds an implementation to its contract.
pub async fn snapshots(subject: &dyn SnapshotStore, faults: &dyn Faults) {
    let _ = (subject, faults);
}
