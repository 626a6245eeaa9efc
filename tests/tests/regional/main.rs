//! What operators do with a region's services: start them, look after them, and start programs on them.
//!
//! `cargo xtask test --only region` starts the services and runs this; by hand, `cargo xtask stack up` and the environment that
//! `cargo xtask stack env` prints. Without services named there the tests are skipped by name.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod chore;
mod doctor;
mod stack;
mod starting;
