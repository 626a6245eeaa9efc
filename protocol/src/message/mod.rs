//! Messages: one struct each, one enum per direction.
//!
//! A payload is the struct's fields in their order, as bincode 2 (standard configuration: little-endian varints). Kinds
//! are bytes of the frame; a kind nobody knows is skipped by its length. Bytes after the last field are malformed,
//! except in hello and hello-ok, where later versions append fields.

mod connection;
mod live;
mod open;
mod push;
mod sync;

pub(crate) use connection::check_endpoints;
pub use connection::{
    Drain, ENDPOINTS_MAX, Failure, Hello, HelloOk, Limits, Ping, PingPolicy, Pong, SignedEndpoints, TOKEN_BYTES_MAX,
    Token, TokenExpiring,
};
pub use live::{Bye, Closed, Move, PRESENCE_BYTES_MAX, Presence, RebaseAnswer, RebaseAsk, RightsChanged};
pub use open::{Known, OUTBOX_SITES_MAX, Open, OpenOk, SiteLease, SiteRange, SyncPlan};
pub use push::{Ack, Credit, Deltas, Gap, Push, Refused, TAG_BYTES};
pub use sync::{Chunk, ChunkContent, CodecState, Synced};

use crate::error::DecodeError;
use crate::frame::{Channel, Frame};
use crate::wire;

/// Numbers of the message kinds.
pub mod kind {
    #![allow(missing_docs)]
    pub const HELLO: u8 = 0x01;
    pub const HELLO_OK: u8 = 0x02;
    pub const TOKEN_EXPIRING: u8 = 0x03;
    pub const TOKEN: u8 = 0x04;
    pub const DRAIN: u8 = 0x05;
    pub const PING: u8 = 0x06;
    pub const PONG: u8 = 0x07;
    pub const ERROR: u8 = 0x08;
    pub const ENDPOINTS: u8 = 0x09;
    pub const OPEN: u8 = 0x10;
    pub const OPEN_OK: u8 = 0x11;
    pub const CHUNK: u8 = 0x12;
    pub const SYNCED: u8 = 0x13;
    pub const PUSH: u8 = 0x14;
    pub const DELTAS: u8 = 0x15;
    pub const ACK: u8 = 0x16;
    pub const GAP: u8 = 0x17;
    pub const CREDIT: u8 = 0x18;
    pub const PRESENCE: u8 = 0x19;
    pub const RIGHTS: u8 = 0x1a;
    pub const MOVE: u8 = 0x1b;
    pub const REFUSED: u8 = 0x1c;
    pub const BYE: u8 = 0x1d;
    pub const CLOSED: u8 = 0x1e;
    pub const REBASE_ASK: u8 = 0x1f;
    pub const REBASE_ANSWER: u8 = 0x20;
}

/// Declares one direction's enum with its kinds: encoding, decoding, and which channel a message belongs on.
macro_rules! messages {
    ($(#[$meta:meta])* $name:ident { $($(#[$about:meta])* $variant:ident($type:ty) = $kind:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$about])* $variant($type),)*
        }

        impl $name {
            /// The message's kind byte.
            pub fn kind(&self) -> u8 {
                match self {
                    $(Self::$variant(_) => kind::$kind,)*
                }
            }

            /// The message's payload.
            pub fn payload(&self) -> Vec<u8> {
                match self {
                    $(Self::$variant(message) => message.to_payload(),)*
                }
            }

            /// Reads a frame's payload. `None` is a kind this version does not know: skip it.
            ///
            /// # Errors
            /// [`DecodeError`] if the payload is malformed or the kind belongs to the other direction.
            pub fn decode(frame: &Frame<'_>) -> Result<Option<Self>, DecodeError> {
                match frame.kind {
                    $(kind::$kind => Ok(Some(Self::$variant(<$type>::from_payload(frame.payload)?))),)*
                    kind if is_known(kind) => Err(DecodeError::WrongDirection(kind)),
                    _ => Ok(None),
                }
            }

            /// Appends the message as one frame.
            ///
            /// # Errors
            /// [`DecodeError::TooLarge`] if it does not fit a frame; nothing is appended then.
            pub fn write(&self, channel: Channel, out: &mut Vec<u8>) -> Result<(), DecodeError> {
                Frame { channel, kind: self.kind(), payload: &self.payload() }.write(out)
            }

            /// The message as the bytes of one frame.
            ///
            /// # Errors
            /// [`DecodeError::TooLarge`] if it does not fit a frame.
            pub fn to_frame(&self, channel: Channel) -> Result<Vec<u8>, DecodeError> {
                let mut out = Vec::new();
                self.write(channel, &mut out)?;
                Ok(out)
            }
        }

        $(impl From<$type> for $name {
            fn from(message: $type) -> Self {
                Self::$variant(message)
            }
        })*
    };
}

messages! {
    /// What a client sends.
    ClientMessage {
        /// First message of a connection.
        Hello(Hello) = HELLO,
        /// A new token, for the connection or for one document.
        Token(Token) = TOKEN,
        /// Liveness.
        Ping(Ping) = PING,
        /// Answer to a ping.
        Pong(Pong) = PONG,
        /// Subscribes to a document on a new channel.
        Open(Open) = OPEN,
        /// A piece of a vector or of a state diff.
        Chunk(Chunk) = CHUNK,
        /// Deltas of this client.
        Push(Push) = PUSH,
        /// This user's cursor and name.
        Presence(Presence) = PRESENCE,
        /// Leaves the document, giving the site back where everything is acknowledged.
        Bye(Bye) = BYE,
        /// Asks for the rebase token.
        RebaseAsk(RebaseAsk) = REBASE_ASK,
    }
}

messages! {
    /// What a server sends.
    ServerMessage {
        /// Answer to hello.
        HelloOk(HelloOk) = HELLO_OK,
        /// The token runs out soon.
        TokenExpiring(TokenExpiring) = TOKEN_EXPIRING,
        /// This server goes away.
        Drain(Drain) = DRAIN,
        /// Liveness.
        Ping(Ping) = PING,
        /// Answer to a ping.
        Pong(Pong) = PONG,
        /// A fault of the connection; a close with the same code follows unless it is retryable.
        Error(Failure) = ERROR,
        /// The signed list of endpoints.
        Endpoints(SignedEndpoints) = ENDPOINTS,
        /// Answer to open.
        OpenOk(OpenOk) = OPEN_OK,
        /// A piece of a state diff, or of the vector the server wants a state diff against.
        Chunk(Chunk) = CHUNK,
        /// Everything logged so far has been sent.
        Synced(Synced) = SYNCED,
        /// Deltas of others.
        Deltas(Deltas) = DELTAS,
        /// How far a site's deltas are safe.
        Ack(Ack) = ACK,
        /// A push began beyond what the server has.
        Gap(Gap) = GAP,
        /// Bytes of announced outbox that may be sent now.
        Credit(Credit) = CREDIT,
        /// Another session's cursor and name.
        Presence(Presence) = PRESENCE,
        /// The session's rights changed.
        Rights(RightsChanged) = RIGHTS,
        /// The document is served elsewhere soon.
        Move(Move) = MOVE,
        /// A push refused for good.
        Refused(Refused) = REFUSED,
        /// The document's channel is closed.
        Closed(Closed) = CLOSED,
        /// Whether the rebase token is had.
        RebaseAnswer(RebaseAnswer) = REBASE_ANSWER,
    }
}

/// Whether version 1 gives `kind` a meaning in either direction.
fn is_known(kind: u8) -> bool {
    matches!(kind, kind::HELLO..=kind::ENDPOINTS | kind::OPEN..=kind::REBASE_ANSWER)
}

/// A struct that is a whole payload.
trait Payload: Sized {
    fn to_payload(&self) -> Vec<u8>;
    fn from_payload(bytes: &[u8]) -> Result<Self, DecodeError>;
}

impl<T: bincode::Encode + bincode::Decode<()> + Bounded> Payload for T {
    fn to_payload(&self) -> Vec<u8> {
        wire::encode(self)
    }

    fn from_payload(bytes: &[u8]) -> Result<Self, DecodeError> {
        let message: T = if T::OPEN_ENDED { wire::decode_open_ended(bytes)? } else { wire::decode(bytes)? };
        message.check()?;
        Ok(message)
    }
}

/// Limits on the fields of a message, checked after decoding.
trait Bounded {
    /// Whether later versions append fields.
    const OPEN_ENDED: bool = false;

    fn check(&self) -> Result<(), DecodeError> {
        Ok(())
    }
}

/// Refuses `length` over `most`.
pub(crate) fn at_most(what: &'static str, length: usize, most: usize) -> Result<(), DecodeError> {
    if length > most { Err(DecodeError::TooLarge { what, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
