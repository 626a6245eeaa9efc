//! The edge server: sessions, rooms, fan-out.
//!
//! A connection is a [`session::Session`], an open document a [`room::Room`]: both are machines without I/O that the shells
//! here drive, and the simulator too. What must last is in the region ([`selvedge_region`]); this process keeps nothing.
//!
//! | station | module |
//! |---|---|
//! | accepted, counted, upgraded | `listen`, `quic` |
//! | what is shown to prove a name | `certificates` |
//! | who is it, what may they do | `auth` |
//! | frames, limits, rates, channels | [`session`] |
//! | log, acks, fan-out, resync, presence | [`room`] |
//! | documents over HTTP | `rest` |
//!
//! The relay never looks inside a position identifier, and decodes deltas only to check and to code them.

mod app;
pub mod auth;
mod certificates;
mod clock;
pub mod config;
mod decisions;
mod hosting;
mod listen;
mod listing;
mod metrics;
mod quic;
mod rest;
pub mod room;
pub mod session;
mod sessions;
mod settings;

pub use app::{Running, StartError, backup, run};
pub use certificates::{CertificateError, TlsConfig};
pub use config::Config;
pub use listen::{ListenConfig, Network};
pub use quic::{QuicConfig, QuicListen};
