//! The contract suites, one per part, exported so that every implementation is held to the same words.
//!
//! Each suite takes an implementation and panics where it breaks its contract. What a suite cannot bring about through the
//! trait, such as a full disk, it asks of a [`Faults`]; one that an implementation cannot inject is skipped by name.

use futures_util::future::BoxFuture;

pub use crate::blobs::contract::blobs;
pub use crate::bus::contract::bus;
pub use crate::control::contract::{Pair, control, control_of_two_regions};
pub use crate::log::contract::log;
pub use crate::log::reader_contract::log_readers;
pub use crate::ops::contract::op_store;
pub use crate::snapshots::contract::snapshots;

use crate::DocumentId;

/// A fault to bring about behind an implementation's back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// From now on there is no room: the next writes answer `Full`.
    Full,
    /// From now on the service asks to slow down: calls answer `Throttled`.
    Throttled,
    /// From now on the service cannot be reached: calls answer `Unavailable`.
    Unavailable,
    /// All of the above is over.
    Healed,
    /// These bytes are the log's next record of that document.
    RawRecord(DocumentId, Vec<u8>),
    /// One bit of the newest snapshot of that document's generation 1 is flipped.
    DamagedSnapshot(DocumentId),
    /// One bit of a blob is flipped.
    DamagedBlob(String),
    /// Everything that is only a cache is gone, e.g. the hot tail.
    Evicted,
}

/// Brings faults about. The default can do none.
pub trait Faults: Send + Sync {
    /// Brings the fault about and answers whether it could.
    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        let _ = fault;
        Box::pin(async { false })
    }
}

/// No fault can be injected.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFaults;

impl Faults for NoFaults {}

/// Injects a fault or says by name what is skipped.
pub(crate) async fn injected(faults: &dyn Faults, fault: Fault, case: &str) -> bool {
    let done = faults.inject(fault.clone()).await;
    if !done {
        eprintln!("skipped: {case} ({fault:?} cannot be injected here)");
    }
    done
}

/// So many bytes do not fit anywhere once a part is full.
pub(crate) const UNFIT_BYTES: usize = 60_000;

/// The faults that take a part out of service, each with the kind of error that tells it.
pub(crate) fn outages() -> [(Fault, &'static str); 3] {
    [(Fault::Full, "full"), (Fault::Throttled, "throttled"), (Fault::Unavailable, "unavailable")]
}

/// A document id for the suites.
pub(crate) fn document(name: &str) -> DocumentId {
    format!("contract/{name}").parse().expect("a contract document's name is valid")
}
