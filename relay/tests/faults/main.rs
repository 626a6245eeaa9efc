//! Relays that are wronged: killed while clients type, and spoken to by whoever keeps no rule.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[path = "../harness/mod.rs"]
mod harness;
mod hostile;
mod kill;
