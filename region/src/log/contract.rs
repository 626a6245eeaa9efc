//! The contract of [`RegionLog`](super::RegionLog).

use super::RegionLog;
use crate::contract::Faults;

/// Holds an implementation to its contract.
pub async fn log(subject: &dyn RegionLog, faults: &dyn Faults) {
    let _ = (subject, faults);
}
