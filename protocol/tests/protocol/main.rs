//! The machines against each other, and the golden vectors.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod client;
mod failover;
mod faults;
#[path = "../golden/mod.rs"]
mod golden;
mod harness;
mod rebase;
mod vectors;
