//! The contract of [`Blobs`](super::Blobs).

use super::Blobs;
use crate::contract::Faults;

/// Holds an implementation to its contract.
pub async fn blobs(subject: &dyn Blobs, faults: &dyn Faults) {
    let _ = (subject, faults);
}
