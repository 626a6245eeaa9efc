//! The whole system in one thread and one seed.
//!
//! Clients, rooms and sessions are the state machines that ship; stores, logs, bus, network and people are simulated, and every
//! step between two effects is a place where something may end. [`run`] plays one seed: a minute or more under faults,
//! then a quiet time in which everything has to come to rest, then the reckoning. The same seed is the same story, bit for
//! bit.

mod batch;
mod bus;
#[cfg(test)]
mod cases;
mod checks;
mod clients;
mod commits;
mod control;
mod device;
mod dice;
mod failover;
mod fault;
mod history;
mod log;
mod network;
mod outcome;
mod panics;
mod persist;
mod plant;
#[cfg(test)]
mod planted;
mod region;
mod relay;
mod report;
mod rooms;
mod schedule;
mod sessions;
mod shape;
mod ship;
mod synchronizer;
mod trace;
mod trouble;
mod world;
mod writer;

pub use batch::{Batch, Summary, run_batch, seeds_for_all_faults};
pub use fault::{Fault, FaultCounts};
pub use outcome::{Invariant, Outcome, Violation};
pub use plant::Plant;
pub use report::write_rows;
pub use shape::Shape;
pub use world::{Options, run};
