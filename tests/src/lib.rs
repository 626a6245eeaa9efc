//! Whole-system tests: simulator, fault tests, replay, load.
