//! Messages of the connection, on channel 0.

use bincode::{Decode, Encode};

use super::{Bounded, at_most};
use crate::endpoint::Endpoint;
use crate::error::DecodeError;
use crate::signed_list::SIGNED_LIST_BYTES_MAX;
use crate::version::HELLO_FORMAT;

/// Most bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Most endpoints in one list.
pub const ENDPOINTS_MAX: usize = 64;
const VERSIONS_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 256;

/// First message of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// Layout of this message, [`HELLO_FORMAT`]; later layouts only append.
    pub format: u8,
    /// Protocol versions the client speaks.
    pub versions: Vec<u8>,
    /// Feature bits the client has.
    pub features: u64,
    /// Name and version of the client program, for logs.
    pub client: String,
    /// Token of the connection; documents may bring their own.
    pub token: Option<String>,
}

impl Bounded for Hello {
    const OPEN_ENDED: bool = true;

    fn check(&self) -> Result<(), DecodeError> {
        check_format(self.format)?;
        at_most("the list of versions", self.versions.len(), VERSIONS_MAX)?;
        at_most("the client's name", self.client.len(), NAME_BYTES_MAX)?;
        at_most("a token", self.token.as_ref().map_or(0, String::len), TOKEN_BYTES_MAX)
    }
}

/// Answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HelloOk {
    /// Layout of this message, [`HELLO_FORMAT`]; later layouts only append.
    pub format: u8,
    /// The version chosen.
    pub version: u8,
    /// The features both sides have.
    pub features: u64,
    /// Number of this session, the key of presence.
    pub session: u64,
    /// Name of the region.
    pub region: String,
    /// Where this service can be reached: first the relay that answers, then its region's others, then other regions'.
    pub endpoints: Vec<Endpoint>,
    /// What the server accepts.
    pub limits: Limits,
    /// How often to ping.
    pub ping: PingPolicy,
}

impl Bounded for HelloOk {
    const OPEN_ENDED: bool = true;

    fn check(&self) -> Result<(), DecodeError> {
        check_format(self.format)?;
        at_most("the region's name", self.region.len(), NAME_BYTES_MAX)?;
        check_endpoints(&self.endpoints)
    }
}

/// What a server accepts from one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Limits {
    /// Most bytes of a frame.
    pub frame_bytes: u32,
    /// Most bytes of a message.
    pub message_bytes: u32,
    /// Most documents on one connection.
    pub documents: u32,
    /// Bytes of pushes a second, sustained.
    pub push_bytes_per_s: u32,
    /// Frames a second, sustained.
    pub frames_per_s: u32,
    /// Most bytes of one presence.
    pub presence_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: crate::frame::FRAME_BYTES_MAX as u32,
            message_bytes: crate::frame::CLIENT_MESSAGE_BYTES_MAX as u32,
            documents: 64,
            push_bytes_per_s: 64 * 1024,
            frames_per_s: 50,
            presence_bytes: super::live::PRESENCE_BYTES_MAX as u32,
        }
    }
}

/// How often a client pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PingPolicy {
    /// While in use, or with something unacknowledged.
    pub active_ms: u32,
    /// Otherwise.
    pub idle_ms: u32,
}

impl Default for PingPolicy {
    fn default() -> Self {
        Self { active_ms: 1_000, idle_ms: 25_000 }
    }
}

/// The token runs out soon: send a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TokenExpiring {
    /// Milliseconds left.
    pub in_ms: u64,
}

impl Bounded for TokenExpiring {}

/// A new token; on channel 0 for the connection, on a document's channel for that document.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Token {
    /// The token.
    pub token: String,
}

impl Bounded for Token {
    fn check(&self) -> Result<(), DecodeError> {
        at_most("a token", self.token.len(), TOKEN_BYTES_MAX)
    }
}

/// This server goes away.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Drain {
    /// Where to go; empty: the endpoints known already.
    pub endpoints: Vec<Endpoint>,
    /// Leave at a random moment within this time.
    pub after_ms: u32,
}

impl Bounded for Drain {
    fn check(&self) -> Result<(), DecodeError> {
        check_endpoints(&self.endpoints)
    }
}

/// Asks for a [`Pong`] with the same nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ping {
    /// Comes back in the answer.
    pub nonce: u64,
}

impl Bounded for Ping {}

/// Answer to [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Pong {
    /// The ping's nonce.
    pub nonce: u64,
}

impl Bounded for Pong {}

/// A fault of the connection, told before a close or instead of one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Failure {
    /// A [`crate::CloseCode`].
    pub code: u16,
    /// A sentence for people.
    pub message: String,
    /// Whether trying again can succeed.
    pub retryable: bool,
    /// Not before this time; 0: after backoff.
    pub retry_after_ms: u64,
}

impl Bounded for Failure {
    fn check(&self) -> Result<(), DecodeError> {
        at_most("a sentence", self.message.len(), 4 * NAME_BYTES_MAX)
    }
}

/// Where the regions are, as whoever holds the control plane signed it: after hello-ok, and whenever there is a newer one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedEndpoints {
    /// The list and its signature; see [`crate::SignedList`].
    pub signed: String,
}

impl Bounded for SignedEndpoints {
    fn check(&self) -> Result<(), DecodeError> {
        at_most("a signed list of endpoints", self.signed.len(), SIGNED_LIST_BYTES_MAX)
    }
}

pub(crate) fn check_endpoints(endpoints: &[Endpoint]) -> Result<(), DecodeError> {
    at_most("the list of endpoints", endpoints.len(), ENDPOINTS_MAX)?;
    endpoints.iter().try_for_each(Endpoint::check)
}

fn check_format(format: u8) -> Result<(), DecodeError> {
    if format >= HELLO_FORMAT { Ok(()) } else { Err(DecodeError::Malformed("the layout of hello")) }
}
