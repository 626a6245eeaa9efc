//! A relay in this process, spoken to as clients speak to it. One program, because each would link the whole relay.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod auth;
mod edit;
#[path = "../harness/mod.rs"]
mod harness;
mod quic;
mod rest;
mod serve;
mod tls;
