//! What happens to a room, and what a room asks of its shell.

use std::sync::Arc;

use selvedge_engine::{Delta, SiteId, VersionVector};
use selvedge_protocol::client::FRAMES_BYTES_MAX;
use selvedge_protocol::message::{Closed, Open, SiteLease, TAG_BYTES};
use selvedge_protocol::{Channel, CloseCode, DecodeError, Frame, Position, Rights, ServerMessage};
use selvedge_region::LogRecord;

/// One session's subscription to a document: a session number and the channel it chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// Number of the session, the key of presence.
    pub session: u64,
    /// The document's channel on that session's connection.
    pub channel: Channel,
}

/// A session that subscribes.
#[derive(Clone, Debug)]
pub struct Join {
    /// Who it is on the wire.
    pub key: SessionKey,
    /// Who it is.
    pub principal: String,
    /// The name others see, as authenticated.
    pub user: Option<String>,
    /// What it may do.
    pub rights: Rights,
    /// What it asked.
    pub open: Open,
    /// Whether it wants the document; `false` for a server-side author, who only writes.
    pub listens: bool,
    /// Whether it may bring a seed of any size (creation with text).
    pub seeds: bool,
    /// Whether broadcast tags were agreed with it.
    pub tags: bool,
}

/// A delta as a client pushed it.
#[derive(Clone, Debug)]
pub struct PushedDelta {
    /// Decoded and valid.
    pub delta: Arc<Delta>,
    /// Its durable bytes.
    pub bytes: Vec<u8>,
    /// Whether it was announced in `open` and is paced by credit.
    pub announced: bool,
    /// The proof it came with, if it is given back by one it was shown to.
    pub tag: Option<[u8; TAG_BYTES]>,
}

/// A room's document as it was found.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its generation.
    pub generation: u64,
    /// What the log holds, without holes.
    pub vector: VersionVector,
    /// Every record below this is in `vector`.
    pub position: Position,
    /// One past the highest record that was read: no record of `vector` lies here or above. Past `position` where something
    /// lies beyond a hole. `None`: the log was away and `vector` is of what else there is.
    pub read_to: Option<Position>,
    /// Bytes of text.
    pub text_bytes: u64,
}

/// One record read from the log.
#[derive(Clone, Debug)]
pub struct TailEntry {
    /// Where it lies.
    pub position: Position,
    /// Its durable delta.
    pub delta: Vec<u8>,
}

/// A page of the document's records, those of other generations left out.
#[derive(Clone, Debug)]
pub struct TailPage {
    /// In order.
    pub entries: Vec<TailEntry>,
    /// Where the next page begins.
    pub next: Position,
    /// Whether that was the end.
    pub at_end: bool,
}

/// Most bytes of records that a state diff comes with proofs of: as much as a client keeps.
pub(super) const PROOF_BYTES_MAX: usize = FRAMES_BYTES_MAX;

/// State diffs made from snapshot and tail.
#[derive(Clone, Debug)]
pub struct Materialised {
    /// What the document held.
    pub vector: VersionVector,
    /// Bytes of its text.
    pub text_bytes: u64,
    /// One encoded state diff for each vector asked for, in the same order.
    pub diffs: Vec<Arc<[u8]>>,
    /// The log's records from where they were asked for on, in order; of many the latest, about 1 MiB of them.
    pub beyond: Vec<TailEntry>,
}

/// Why a part of the region did not do as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Try again.
    Retry,
    /// Not here any more: trimmed, or past the end.
    Gone,
    /// The document is deleted.
    Deleted,
    /// There is no such document, and it may not be made.
    Missing,
    /// The site belongs to someone else.
    Foreign,
    /// What was asked is malformed.
    Invalid,
}

/// What happens to a room.
#[derive(Clone, Debug)]
pub enum RoomEvent {
    /// Answer to [`RoomEffect::Load`].
    Loaded(Result<Box<Loaded>, Failure>),
    /// A session subscribes.
    Join(Box<Join>),
    /// A session pushes.
    Push {
        /// Which.
        key: SessionKey,
        /// In order.
        deltas: Vec<PushedDelta>,
    },
    /// A session names what it has and asks for the rest.
    Vector {
        /// Which.
        key: SessionKey,
        /// What it has.
        vector: VersionVector,
    },
    /// A session uploads what it was asked for.
    StateDiff {
        /// Which.
        key: SessionKey,
        /// An encoded state diff.
        bytes: Vec<u8>,
    },
    /// A session shows something to the others.
    Presence {
        /// Which.
        key: SessionKey,
        /// What; `None`: nothing any more.
        data: Option<Vec<u8>>,
    },
    /// A session asks for the rebase token.
    RebaseAsk {
        /// Which.
        key: SessionKey,
    },
    /// A session may do something else from now on.
    Rights {
        /// Which.
        key: SessionKey,
        /// What.
        rights: Rights,
    },
    /// A session gives a site back.
    Bye {
        /// Which.
        key: SessionKey,
        /// The site.
        site: SiteId,
        /// Its last counter.
        counter: u64,
    },
    /// A session is gone.
    Leave {
        /// Which.
        key: SessionKey,
    },
    /// A session's queue is over its bound: send it nothing more until it is drained.
    Congested {
        /// Which.
        key: SessionKey,
    },
    /// A watched session's queue is empty.
    Drained {
        /// Which.
        key: SessionKey,
    },
    /// Answer to [`RoomEffect::Append`]: each record's own position.
    Appended {
        /// Which append.
        append: u64,
        /// How it went.
        outcome: Result<Vec<Position>, Failure>,
    },
    /// Answer to [`RoomEffect::TakeToken`].
    TokenTaken {
        /// For whom.
        key: SessionKey,
        /// Whether it has the token; without a region's word on it yes, since only work is saved.
        taken: bool,
    },
    /// Answer to [`RoomEffect::Bind`].
    Bound {
        /// The site.
        site: SiteId,
        /// How it went.
        outcome: Result<(), Failure>,
    },
    /// Answer to [`RoomEffect::Lease`]. Without a lease the client writes under a random site.
    Leased {
        /// For whom.
        key: SessionKey,
        /// The site.
        lease: Option<SiteLease>,
    },
    /// Answer to [`RoomEffect::ReadTail`].
    Tail {
        /// Which request.
        request: u64,
        /// How it went.
        outcome: Result<TailPage, Failure>,
    },
    /// Answer to [`RoomEffect::Materialise`].
    Materialised {
        /// Which request.
        request: u64,
        /// How it went.
        outcome: Result<Materialised, Failure>,
    },
    /// Answer to [`RoomEffect::Absorb`]: the uploaded state as deltas with their durable bytes.
    Absorbed {
        /// Whose upload.
        key: SessionKey,
        /// How it went.
        outcome: Result<Vec<PushedDelta>, Failure>,
    },
    /// The bus told of a record that is in the region's log.
    Heard {
        /// Where it lies.
        position: Position,
        /// Its generation.
        generation: u64,
        /// Its durable delta.
        delta: Vec<u8>,
    },
    /// The bus told of what another relay shows while the log is silent.
    HeardTentative {
        /// Its generation.
        generation: u64,
        /// Its durable delta.
        delta: Vec<u8>,
    },
    /// The bus told of another relay's session.
    HeardPresence {
        /// The session.
        session: u64,
        /// What it shows.
        data: Option<Vec<u8>>,
        /// Who it is.
        user: Option<String>,
    },
    /// The bus lost something, or has just come back: read the log.
    BusLagged,
    /// The bus told how far the other region has this log.
    Replicated {
        /// Everything below it is durable there.
        watermark: Position,
    },
    /// Answer to [`RoomEffect::ReadWatermark`]; `None`: nothing is known.
    Watermark(Option<Position>),
    /// Answer to [`RoomEffect::ReadBacklog`]: records that `persist` has before it; `None` when that cannot be found out.
    Backlog(Option<u64>),
    /// The document was deleted, up to and with this generation.
    Deleted {
        /// The generation.
        generation: u64,
    },
}

/// What a room asks of its shell. Executed in order; every question is answered by exactly one event.
#[derive(Clone, Debug)]
pub enum RoomEffect {
    /// Find the document, make it if `creator` may, and fold it. Answer: [`RoomEvent::Loaded`].
    Load {
        /// Who asked first.
        creator: String,
    },
    /// Append to the region's log, all or nothing, in order. Answer: [`RoomEvent::Appended`]. One is in flight at a time.
    Append {
        /// Names the append.
        append: u64,
        /// What to append.
        records: Vec<LogRecord>,
    },
    /// Tell the region's other relays what the log holds now.
    Publish {
        /// Each with its position.
        records: Vec<(Position, LogRecord)>,
    },
    /// Tell the region's other relays what is shown here while the log is silent.
    PublishTentative {
        /// In order.
        records: Vec<LogRecord>,
    },
    /// Tell the region's other relays what a session shows.
    PublishPresence {
        /// The session.
        session: u64,
        /// What it shows.
        data: Option<Vec<u8>>,
        /// Who it is.
        user: Option<String>,
    },
    /// Take the document's rebase token from the region's bus, or renew it. Answer: [`RoomEvent::TokenTaken`].
    TakeToken {
        /// For whom.
        key: SessionKey,
        /// For how long.
        for_ms: u64,
    },
    /// Give the document's rebase token back, if this session still has it.
    GiveToken {
        /// Whose.
        key: SessionKey,
    },
    /// Bind a site to its principal. Answer: [`RoomEvent::Bound`].
    Bind {
        /// The site.
        site: SiteId,
        /// The principal.
        principal: String,
    },
    /// Lease a site. Answer: [`RoomEvent::Leased`].
    Lease {
        /// For whom.
        key: SessionKey,
        /// Their principal.
        principal: String,
        /// What the log holds.
        logged: VersionVector,
    },
    /// Give a leased site back; the log holds all of it.
    Release {
        /// The site.
        site: SiteId,
        /// Whose it was.
        principal: String,
        /// Its last counter.
        counter: u64,
    },
    /// Read the document's records from a position on. Answer: [`RoomEvent::Tail`].
    ReadTail {
        /// Names the request.
        request: u64,
        /// Where to begin.
        from: Position,
    },
    /// Find out how far the other region has this log. Answer: [`RoomEvent::Watermark`].
    ReadWatermark,
    /// Find out how far `persist` is behind in the document's partition. Answer: [`RoomEvent::Backlog`].
    ReadBacklog,
    /// Fold the document and diff it against each vector. Answer: [`RoomEvent::Materialised`].
    Materialise {
        /// Names the request.
        request: u64,
        /// What the askers have.
        since: Vec<VersionVector>,
        /// Where what the other region has ends: the records from here on come along, for their proofs.
        beyond: Option<Position>,
    },
    /// Turn an uploaded state into deltas. Answer: [`RoomEvent::Absorbed`].
    Absorb {
        /// Whose.
        key: SessionKey,
        /// An encoded state diff.
        bytes: Vec<u8>,
    },
    /// Send to a session.
    Send {
        /// Which.
        key: SessionKey,
        /// What.
        message: Outgoing,
    },
    /// Say [`RoomEvent::Drained`] as soon as this session's queue is empty, at once if it is.
    Watch {
        /// Which.
        key: SessionKey,
    },
    /// Close the document's channel; the session has left already.
    Close {
        /// Which.
        key: SessionKey,
        /// Why.
        closed: Closed,
    },
    /// Close the whole connection: it cannot be served.
    CloseSession {
        /// Which.
        key: SessionKey,
        /// Why.
        code: CloseCode,
    },
    /// The room has been without sessions for long and has nothing under way: forget it.
    Unload,
}

/// A message for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// For it alone.
    Message(Box<ServerMessage>),
    /// Encoded once for many.
    Shared(Shared),
}

/// An encoded message that many sessions are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The message's kind.
    pub kind: u8,
    /// Its payload.
    pub payload: Arc<[u8]>,
}

impl Shared {
    /// Encodes a message once.
    pub fn new(message: &ServerMessage) -> Self {
        Shared { kind: message.kind(), payload: message.payload().into() }
    }
}

impl Outgoing {
    /// Appends the message as one frame of `channel`.
    ///
    /// # Errors
    /// If it is too large for a frame.
    pub fn write(&self, channel: Channel, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        match self {
            Outgoing::Message(message) => message.write(channel, out),
            Outgoing::Shared(shared) => Frame { channel, kind: shared.kind, payload: &shared.payload }.write(out),
        }
    }

    /// The message's kind.
    pub fn kind(&self) -> u8 {
        match self {
            Outgoing::Shared(shared) => shared.kind,
            Outgoing::Message(message) => message.kind(),
        }
    }

    /// About how many bytes it will take.
    pub fn bytes(&self) -> usize {
        match self {
            Outgoing::Shared(shared) => shared.payload.len() + 9,
            Outgoing::Message(message) => match &**message {
                ServerMessage::Chunk(chunk) => chunk.bytes.len() + 64,
                ServerMessage::Deltas(deltas) => deltas.deltas.len() + 64,
                ServerMessage::Synced(synced) => synced.codec.as_ref().map_or(64, |codec| codec.bytes.len() + 64),
                ServerMessage::Presence(presence) => presence.data.as_ref().map_or(32, |data| data.len() + 64),
                ServerMessage::HelloOk(_) => 512,
                _ => 48,
            },
        }
    }
}

impl<M: Into<ServerMessage>> From<M> for Outgoing {
    fn from(message: M) -> Self {
        Outgoing::Message(Box::new(message.into()))
    }
}

impl From<Shared> for Outgoing {
    fn from(shared: Shared) -> Self {
        Outgoing::Shared(shared)
    }
}
