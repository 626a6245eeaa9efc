//! The contract of [`OpStore`](super::OpStore).

use super::OpStore;
use crate::contract::Faults;

/// Holds an implementation to its contract.
pub async fn op_store(subject: &dyn OpStore, faults: &dyn Faults) {
    let _ = (subject, faults);
}
