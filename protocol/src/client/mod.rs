//! The client: one connection, many documents, driven by a shell that only executes effects.
//!
//! Bytes, instants and answers go in; [`Effect`]s and deadlines come out. It owns the engine's documents, so both shells
//! (native and WebAssembly) hold nothing but a socket, a store and a clock.

mod config;
mod effect;
mod error;

pub use config::{ClientConfig, OutboxEntry, OutboxKey, ReplicaConfig, Restored};
pub use effect::{
    Effect, LinkInfo, Origin, Pending, PresenceChange, SaveState, Status, StoreError, StoreTicket, StoreTransaction,
    StoredState,
};
pub use error::Error;
