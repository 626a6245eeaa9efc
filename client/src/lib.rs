//! The native client of Selvedge: bots, servers that edit, tests and load.
//!
//! A thin asynchronous shell around [`selvedge_protocol::client::Client`], which decides everything: the shell owns a clock,
//! sockets and stores, carries out what the machine asks for and hands it what comes back. The browser's package is another
//! shell around the same machine.
//!
//! ```no_run
//! # async fn example() -> Result<(), selvedge_client::Error> {
//! use selvedge_client::{AckLevel, ClientOptions, Handle, OpenOptions};
//!
//! let handle = Handle::connect("http://127.0.0.1:4400", ClientOptions::default())?;
//! let doc = handle.open("notes", OpenOptions::default()).await?;
//! doc.when_synced().await?;
//! doc.replace(0, 0, "Hello. ")?;
//! doc.when_saved(AckLevel::Region).await?;
//! println!("{}", doc.text());
//! doc.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Edits apply at once and never wait for a network. Where a document is opened with a [`store`], what is edited offline
//! outlives the process and is sent by the next one.

mod core;
mod doc;
mod driver;
mod error;
mod handle;
mod quic;
mod socket;
pub mod store;
mod tls;
mod trust;
mod url;

pub use doc::{Doc, PatchEvent, Patches, Presence, PresenceEvents, Transaction};
pub use error::Error;
pub use handle::{ClientOptions, Handle, OpenOptions};
pub use selvedge_engine::{TextPatch, VersionVector};
pub use selvedge_protocol::client::{LinkInfo, Origin, PresenceChange, SaveState, Status};
pub use selvedge_protocol::{AckLevel, CloseCode, DocumentId, ListStamp, Rights, Transport};
pub use store::{FileStore, MemoryStore, Store};
