//! The protocol's client machine for browsers: conversions only.
//!
//! JavaScript holds the socket, the store and the clock. It calls [`Client`] with what happened and hands a [`Shell`] to
//! [`Client::drain`], which is told what to do, one call an item. Bytes cross as `Uint8Array`, numbers as doubles (every
//! number of the protocol that crosses here is below 2^53), sites as opaque strings, positions as UTF-16 units.

mod client;
mod convert;
mod panic;
mod reading;
mod restored;
mod shell;
mod standalone;
mod updates;
mod window;

pub use client::Client;
pub use convert::document_name;
pub use restored::Restored;
pub use shell::Shell;
pub use standalone::Standalone;
pub use updates::{UpdateDecoder, UpdateEncoder};
pub use window::call_window;
