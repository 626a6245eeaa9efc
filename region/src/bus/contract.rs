//! The contract of [`Bus`](super::Bus).

use super::Bus;
use crate::contract::Faults;

/// Holds an implementation to its contract.
pub async fn bus(subject: &dyn Bus, faults: &dyn Faults) {
    let _ = (subject, faults);
}
