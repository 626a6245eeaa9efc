//! Real relays that are replayed to, killed and cut off while clients type.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod drill;
mod network;
mod replay;
