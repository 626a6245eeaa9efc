//! What a region keeps in a data folder: contracts, records, durability, the fold.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod contracts;
mod durability;
mod fold;
mod fuzz;
mod history;
mod lost_log;
mod record;
