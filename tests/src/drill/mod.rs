//! Drills: a whole deployment of real processes, clients that type, something terrible, and the reckoning.

mod load;
mod recorder;
mod stores;
mod typist;

pub use load::{Load, LoadOptions};
pub use recorder::Recorder;
pub use stores::{StoreReading, from_log, from_ops, from_snapshot, logged};
