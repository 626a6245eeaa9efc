//! What a relay's session needs of the protocol: client messages within limits, and one stream decoder per channel.
//!
//! Pure decoding. Rights, rates and rooms are the relay's.

use rustc_hash::FxHashMap;
use selvedge_engine::Delta;

use crate::error::DecodeError;
use crate::frame::{CLIENT_MESSAGE_BYTES_MAX, Channel, FRAME_BYTES_MAX, Frames};
use crate::message::{Chunk, ChunkContent, ClientMessage, Hello, Limits};
use crate::stream::StreamDecoder;
use crate::transfer::Staging;

/// One thing a client said, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The first message of the connection.
    Hello(Hello),
    /// A message of the connection itself after hello.
    Connection(ClientMessage),
    /// A message on a document's channel, other than those below; `Open` opens the channel, `Bye` closes it.
    Document(Channel, ClientMessage),
    /// Deltas pushed on a channel, in the client's order, and the bytes of their frame's payload.
    Push {
        /// The document's channel.
        channel: Channel,
        /// Valid by every rule of the engine's format.
        deltas: Vec<Delta>,
        /// The broadcast tag's place.
        tag: Option<[u8; crate::message::TAG_BYTES]>,
        /// Bytes on the wire, for rates and credit.
        bytes: usize,
    },
    /// A transfer is whole.
    Transfer {
        /// The document's channel.
        channel: Channel,
        /// `Vector` or `StateDiff`.
        content: ChunkContent,
        /// The whole, its hash checked.
        bytes: Vec<u8>,
    },
}

/// Reads what one client sends. Everything is bounded: frames, messages, channels, staged transfers.
#[derive(Debug)]
pub struct ClientReader {
    frame_bytes_max: usize,
    message_bytes_max: usize,
    channels_max: usize,
    greeted: bool,
    channels: FxHashMap<Channel, Incoming>,
    /// Channels are numbered upwards: one that was closed is never opened again.
    last_channel: u32,
}

#[derive(Debug, Default)]
struct Incoming {
    stream: StreamDecoder,
    staging: Staging,
    /// Number of the push that comes next.
    pushes: u64,
}

impl ClientReader {
    /// A reader for a connection that has just opened.
    pub fn new(limits: &Limits) -> Self {
        Self {
            frame_bytes_max: (limits.frame_bytes as usize).min(FRAME_BYTES_MAX),
            message_bytes_max: (limits.message_bytes as usize).min(CLIENT_MESSAGE_BYTES_MAX),
            channels_max: limits.documents as usize,
            greeted: false,
            channels: FxHashMap::default(),
            last_channel: 0,
        }
    }

    /// Reads one whole message into events.
    ///
    /// # Errors
    /// The first fault; close the connection with [`crate::close_code`] of it. Nothing of the message counts then.
    pub fn read(&mut self, message: &[u8]) -> Result<Vec<ClientEvent>, DecodeError> {
        if message.len() > self.message_bytes_max {
            return Err(DecodeError::TooLarge { what: "a message", most: self.message_bytes_max });
        }
        let mut events = Vec::new();
        for frame in Frames::new(message) {
            let frame = frame?;
            if frame.payload.len() > self.frame_bytes_max {
                return Err(DecodeError::TooLarge { what: "a frame", most: self.frame_bytes_max });
            }
            if let Some(message) = ClientMessage::decode(&frame)? {
                events.extend(self.event(frame.channel, message, frame.payload.len())?);
            }
        }
        Ok(events)
    }

    /// Forgets a channel that the server closed: what is still under way on it is skipped.
    pub fn close(&mut self, channel: Channel) {
        self.channels.remove(&channel);
    }

    /// How many channels are open.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    fn event(
        &mut self,
        channel: Channel,
        message: ClientMessage,
        bytes: usize,
    ) -> Result<Option<ClientEvent>, DecodeError> {
        if !self.greeted {
            let ClientMessage::Hello(hello) = message else {
                return Err(DecodeError::Malformed("a message before hello"));
            };
            if channel != Channel::CONNECTION {
                return Err(DecodeError::Malformed("hello on a document's channel"));
            }
            self.greeted = true;
            return Ok(Some(ClientEvent::Hello(hello)));
        }
        if channel == Channel::CONNECTION {
            return match message {
                ClientMessage::Token(_) | ClientMessage::Ping(_) | ClientMessage::Pong(_) => {
                    Ok(Some(ClientEvent::Connection(message)))
                }
                _ => Err(DecodeError::Malformed("a message on the wrong channel")),
            };
        }
        self.document_event(channel, message, bytes)
    }

    fn document_event(
        &mut self,
        channel: Channel,
        message: ClientMessage,
        bytes: usize,
    ) -> Result<Option<ClientEvent>, DecodeError> {
        if let ClientMessage::Open(_) = message {
            if channel.0 <= self.last_channel {
                return Err(DecodeError::Malformed("a channel number used before"));
            }
            if self.channels.len() >= self.channels_max {
                return Err(DecodeError::TooMany { what: "documents on a connection", most: self.channels_max });
            }
            self.last_channel = channel.0;
            self.channels.insert(channel, Incoming::default());
            return Ok(Some(ClientEvent::Document(channel, message)));
        }
        // A channel the server has closed may still have frames under way: they are skipped.
        let Some(incoming) = self.channels.get_mut(&channel) else {
            let closed = channel.0 <= self.last_channel;
            return if closed { Ok(None) } else { Err(DecodeError::Malformed("a channel nobody opened")) };
        };
        match message {
            ClientMessage::Push(push) => {
                if push.seq != incoming.pushes {
                    return Err(DecodeError::StreamGap);
                }
                incoming.pushes += 1;
                let deltas = incoming.stream.decode(&push.deltas)?;
                Ok(Some(ClientEvent::Push { channel, deltas, tag: push.tag, bytes }))
            }
            ClientMessage::Chunk(chunk) => {
                Ok(stage(incoming, chunk)?.map(|(content, bytes)| ClientEvent::Transfer { channel, content, bytes }))
            }
            ClientMessage::Bye(_) => {
                self.channels.remove(&channel);
                Ok(Some(ClientEvent::Document(channel, message)))
            }
            ClientMessage::Presence(_) | ClientMessage::Token(_) | ClientMessage::RebaseAsk(_) => {
                Ok(Some(ClientEvent::Document(channel, message)))
            }
            _ => Err(DecodeError::Malformed("a message on the wrong channel")),
        }
    }
}

fn stage(incoming: &mut Incoming, chunk: Chunk) -> Result<Option<(ChunkContent, Vec<u8>)>, DecodeError> {
    match chunk.content {
        ChunkContent::Wanted => Err(DecodeError::Malformed("a server's transfer from a client")),
        ChunkContent::Vector | ChunkContent::StateDiff => incoming.staging.take(chunk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Bye, Open, Ping, Push};
    use crate::stream::StreamEncoder;
    use proptest::prelude::*;
    use selvedge_engine::{Op, SiteId};

    fn hello() -> ClientMessage {
        Hello { format: 1, versions: vec![1], features: 0, client: "t".into(), token: None }.into()
    }

    fn open() -> ClientMessage {
        let document = "a/b".into();
        Open {
            document,
            generation: 0,
            position: None,
            vector_hash: 0,
            outbox: Vec::new(),
            outbox_bytes: 0,
            token: None,
            wants_site: true,
        }
        .into()
    }

    fn say(reader: &mut ClientReader, channel: u32, message: &ClientMessage) -> Result<Vec<ClientEvent>, DecodeError> {
        reader.read(&message.to_frame(Channel(channel)).unwrap())
    }

    #[test]
    fn a_connection_says_hello_then_opens_then_pushes() {
        let mut reader = ClientReader::new(&Limits::default());
        assert!(say(&mut ClientReader::new(&Limits::default()), 0, &Ping { nonce: 1 }.into()).is_err());
        assert!(matches!(say(&mut reader, 0, &hello()).unwrap()[..], [ClientEvent::Hello(_)]));
        let delta = Delta { site: SiteId::random(1), first: 1, ops: vec![Op::Void { length: 2 }] };
        let mut deltas = Vec::new();
        StreamEncoder::new().push(&delta, &mut deltas);
        let push = |seq| ClientMessage::from(Push { seq, tag: None, deltas: deltas.clone().into() });
        assert!(say(&mut reader, 3, &push(0)).is_err(), "a channel nobody opened");
        say(&mut reader, 3, &open()).unwrap();
        let events = say(&mut reader, 3, &push(0)).unwrap();
        assert!(matches!(&events[..], [ClientEvent::Push { deltas, .. }] if *deltas == vec![delta]));
        assert_eq!(say(&mut reader, 3, &push(2)), Err(DecodeError::StreamGap), "one in between was lost");
        assert_eq!(say(&mut reader, 3, &Bye::default().into()).unwrap().len(), 1);
        assert!(say(&mut reader, 3, &push(0)).unwrap().is_empty(), "still under way when the channel closed");
        assert!(say(&mut reader, 3, &open()).is_err(), "numbers go upwards");
    }

    #[test]
    fn documents_and_messages_are_limited() {
        let mut reader = ClientReader::new(&Limits { documents: 2, ..Limits::default() });
        say(&mut reader, 0, &hello()).unwrap();
        say(&mut reader, 1, &open()).unwrap();
        say(&mut reader, 2, &open()).unwrap();
        assert!(matches!(say(&mut reader, 3, &open()), Err(DecodeError::TooMany { .. })));
        let long = vec![0; CLIENT_MESSAGE_BYTES_MAX + 1];
        assert!(matches!(reader.read(&long), Err(DecodeError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6)) {
            let mut reader = ClientReader::new(&Limits::default());
            say(&mut reader, 0, &hello()).unwrap();
            say(&mut reader, 1, &open()).unwrap();
            for message in messages {
                let _ = reader.read(&message);
            }
        }
    }
}
