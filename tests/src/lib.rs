//! Whole-system tests: simulator, fault tests, replay, load.

pub mod sim;
