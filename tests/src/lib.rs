//! Whole-system tests: simulator, fault tests, replay, load.

pub mod process;
pub mod replay;
pub mod sim;
