//! Presence, rights, moves and goodbyes.

use bincode::{Decode, Encode};
use selvedge_engine::SiteId;

use super::{Bounded, at_most};
use crate::endpoint::Endpoint;
use crate::error::DecodeError;
use crate::level::Rights;
use crate::wire::Bytes;

/// Most bytes of one presence.
pub const PRESENCE_BYTES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 256;
const SENTENCE_BYTES_MAX: usize = 1024;

/// A session's cursor and name; only the latest counts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Presence {
    /// Whose. A client sends 0: the server stamps the session.
    pub session: u64,
    /// The application's bytes; `None`: gone.
    pub data: Option<Bytes>,
    /// The user as the server verified it. A client sends `None`.
    pub user: Option<String>,
}

impl Bounded for Presence {
    fn check(&self) -> Result<(), DecodeError> {
        at_most("a presence", self.data.as_ref().map_or(0, |data| data.len()), PRESENCE_BYTES_MAX)?;
        at_most("a user's name", self.user.as_ref().map_or(0, String::len), NAME_BYTES_MAX)
    }
}

/// The session's rights changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RightsChanged {
    /// From now on.
    pub rights: Rights,
}

impl Bounded for RightsChanged {}

/// Asks for the document's rebase token: this writer's text has come to stand deep, and one of those that write there makes
/// room for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RebaseAsk {}

impl Bounded for RebaseAsk {}

/// Answer to [`RebaseAsk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RebaseAnswer {
    /// Whether the asker has the token now.
    pub granted: bool,
    /// Granted: for how long. Otherwise: when to ask again.
    pub for_ms: u64,
}

impl Bounded for RebaseAnswer {}

/// The document is served elsewhere soon.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Move {
    /// Where to go.
    pub endpoints: Vec<Endpoint>,
    /// Leave at a random moment within this time.
    pub after_ms: u32,
}

impl Bounded for Move {
    fn check(&self) -> Result<(), DecodeError> {
        super::connection::check_endpoints(&self.endpoints)
    }
}

/// Leaves the document. With a site: every operation of it is acknowledged at the highest level, nobody writes it any
/// more, and it may be leased again from `counter + 1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bye {
    /// The site given back.
    pub site: Option<SiteId>,
    /// Its last counter.
    pub counter: u64,
}

impl Encode for Bye {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
        self.site.map(SiteId::get).encode(encoder)?;
        self.counter.encode(encoder)
    }
}

impl<C> Decode<C> for Bye {
    fn decode<D: bincode::de::Decoder<Context = C>>(decoder: &mut D) -> Result<Self, bincode::error::DecodeError> {
        let site = Option::<u64>::decode(decoder)?.map(crate::wire::site).transpose()?;
        Ok(Self { site, counter: u64::decode(decoder)? })
    }
}

impl Bounded for Bye {}

/// The document's channel is closed; the connection and its other documents go on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Closed {
    /// A [`crate::CloseCode`].
    pub code: u16,
    /// A sentence for people.
    pub reason: String,
    /// Not before this time; 0: after backoff.
    pub retry_after_ms: u64,
    /// The document's generation now, where the code is a conflict.
    pub generation: u64,
}

impl Bounded for Closed {
    fn check(&self) -> Result<(), DecodeError> {
        at_most("a sentence", self.reason.len(), SENTENCE_BYTES_MAX)
    }
}
