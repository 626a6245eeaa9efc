//! Whole-system tests: simulator, fault tests, replay, load, and the checker of what happened.

pub mod history;
pub mod link;
pub mod process;
pub mod replay;
pub mod sim;
