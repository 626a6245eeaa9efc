//! The contract of [`Control`](super::Control).

use super::Control;
use crate::contract::Faults;

/// Holds an implementation to its contract.
pub async fn control(subject: &dyn Control, faults: &dyn Faults) {
    let _ = (subject, faults);
}
