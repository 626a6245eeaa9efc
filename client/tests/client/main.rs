//! The native client against a real relay.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod fuzz;
mod harness;
mod lists;
mod quic;
mod relay;
