//! Where connections come in: addresses, WebSocket, pages.

pub(crate) mod accept;
pub(crate) mod address;
pub(crate) mod advertise;
mod config;
pub(crate) mod conversation;
mod linger;
pub(crate) mod web;
pub(crate) mod websocket;

pub use address::Network;
pub use config::ListenConfig;
