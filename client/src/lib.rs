//! The native client of Selvedge.
