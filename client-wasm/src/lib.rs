//! The engine and the protocol for browsers.
