//! Whole-system tests: simulator, fault tests, replay, drills and their load, and the checker of what happened.

pub mod drill;
pub mod fleet;
pub mod history;
pub mod link;
pub mod process;
pub mod replay;
pub mod sim;
