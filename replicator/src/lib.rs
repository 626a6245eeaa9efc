//! The replicator: what happens to a region's log behind the relays' backs.
//!
//! | part | does |
//! |---|---|
//! | [`persist`] | folds the log into op store and snapshots, and tells the bus of what it reads |
//! | [`ship`] | carries the log to another region, and tells the rooms how far it has come there |
//! | [`cleanup`] | erases and trims what nobody needs any more |
//! | [`failover`] | decides which region holds the control plane, and moves it |
//!
//! Each part is a state machine (events and instants in, effects out) inside a thin shell, so that the simulator runs the
//! code that ships. The machines and their shells stand on the traits of `selvedge-region` alone; what speaks to Route 53, to
//! a witness or to a database's own replication is behind the feature `regional`.
//!
//! Relay and replicator never call each other: they meet in the records of the region's log.

#[cfg(feature = "regional")]
pub mod app;
pub mod cleanup;
mod clock;
#[cfg(feature = "regional")]
pub mod command;
#[cfg(feature = "regional")]
pub mod config;
pub mod failover;
mod latest;
#[cfg(feature = "regional")]
pub mod link;
pub mod metrics;
#[cfg(feature = "regional")]
pub mod ops;
pub mod persist;
mod reading;
pub mod ship;
