//! Drills: a whole deployment of real processes, clients that type, something terrible, and the reckoning.
//!
//! [`Load`] types marks through native clients and notes what they are told; a [`Case`] says what befalls the
//! [`Fleet`](crate::fleet::Fleet) meanwhile; [`run`] puts both together, waits for rest, gathers what everybody has, and
//! [`crate::history::check`] judges it.

mod bottleneck;
mod case;
mod counters;
mod load;
mod observe;
mod processor;
mod recorder;
#[cfg(feature = "regional")]
mod regional;
mod report;
mod run;
mod stores;
mod stranded;
mod typist;

pub use bottleneck::{Bottleneck, Observed};
pub use case::{Case, Targets};
pub use counters::Counters;
pub use load::{Load, LoadOptions};
pub use processor::{Machine, Processors};
pub use recorder::Recorder;
#[cfg(feature = "regional")]
pub use regional::read_stores;
pub use report::{print, rows};
pub use run::{DrillOptions, Outcome, ReadStores, Reading, run};
pub use stores::{StoreReading, from_log, from_ops, from_snapshot, logged};
