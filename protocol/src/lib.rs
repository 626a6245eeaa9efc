//! Frames, messages and state machines of the Selvedge protocol, without I/O.
//!
//! Bytes and instants go in; bytes, effects and deadlines come out. The same machines run in the browser, the relay,
//! native clients and the simulator. `PROTOCOL.md` beside this crate is normative.
#![forbid(unsafe_code)]

mod backoff;
pub mod client;
mod close;
mod document_id;
mod endpoint;
mod error;
mod frame;
mod level;
pub mod message;
mod random;
mod rendezvous;
pub mod server;
mod signed_list;
pub mod stream;
pub mod streams;
pub mod tag;
pub mod transfer;
mod varint;
mod version;
mod wire;

pub use backoff::{BACKOFF_MS_MAX, BACKOFF_MS_MIN, Backoff};
pub use close::{CloseCode, Reaction, close_code};
pub use document_id::{DEFAULT_TENANT, DocumentId, DocumentIdError, NAME_BYTES_MAX, TENANT_BYTES_MAX};
pub use endpoint::{
    ADDRESSES_MAX, AVOID_MS, Address, CERTIFICATES_MAX, CertificateHash, Endpoint, Endpoints, Place, Transport,
    relays_at,
};
pub use error::DecodeError;
pub use frame::{
    CLIENT_MESSAGE_BYTES_MAX, Channel, FRAME_BYTES_MAX, FRAME_CONTENT_BYTES_MAX, FRAME_HEADER_BYTES_MAX, Frame, Frames,
};
pub use level::{AckLevel, Instant, LogId, Position, Rights};
pub use message::{ClientMessage, ServerMessage};
pub use random::Random;
pub use rendezvous::{rendezvous, weight};
pub use signed_list::{EndpointList, LIST_FORMAT, ListKey, ListKeyError, ListStamp, SIGNED_LIST_BYTES_MAX, SignedList};
pub use version::{Features, HELLO_FORMAT, PROTOCOL_VERSION, VERSIONS, negotiate};
pub use wire::Bytes;
