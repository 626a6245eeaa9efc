//! Interned paths.
