//! Frames: what travels inside a WebSocket message or on a stream.
//!
//! ```text
//! channel  varint  0 = the connection, others = one document each, numbered by the client
//! kind     u8      message kind; unknown kinds are skipped by length
//! length   varint  bytes of payload
//! payload  length bytes
//! ```
//! A frame is at most 64 KiB, header included. A WebSocket binary message holds one or more whole frames and, from a
//! client, at most 256 KiB.

use crate::error::DecodeError;
use crate::varint::{Reader, write_varint};

/// Most bytes of one frame, header included.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of one WebSocket message from a client.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of a frame's header: two varints of 5 and 3 bytes, and the kind.
pub const FRAME_HEADER_BYTES_MAX: usize = 9;
/// Bytes of a payload that always fit a frame, with room for a message's own fields.
pub const FRAME_CONTENT_BYTES_MAX: usize = 60 * 1024;

/// Number of a channel within its connection; 0 is the connection itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(pub u32);

impl Channel {
    /// The channel of the connection's own messages.
    pub const CONNECTION: Self = Self(0);
}

/// One frame, its payload still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Where it belongs.
    pub channel: Channel,
    /// Message kind, see [`crate::message`].
    pub kind: u8,
    /// The message's own bytes.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the first frame of `bytes` and says how many bytes it took.
    ///
    /// # Errors
    /// [`DecodeError::Incomplete`] if more bytes are needed (on a stream: wait), anything else is a fault.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(bytes);
        let channel = reader.length(u32::MAX as usize)?;
        let kind = reader.byte()?;
        let length = reader.varint()?;
        let header = reader.position();
        let most = FRAME_BYTES_MAX - header;
        let length = match usize::try_from(length) {
            Ok(length) if length <= most => length,
            _ => return Err(DecodeError::TooLarge { what: "a frame", most: FRAME_BYTES_MAX }),
        };
        let payload = reader.take(length)?;
        let frame = Frame { channel: Channel(channel as u32), kind, payload };
        Ok((frame, header + length))
    }

    /// Appends this frame to `out`.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] if the frame would be over [`FRAME_BYTES_MAX`]; nothing is appended then.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let start = out.len();
        write_varint(out, u64::from(self.channel.0));
        out.push(self.kind);
        write_varint(out, self.payload.len() as u64);
        if out.len() - start + self.payload.len() > FRAME_BYTES_MAX {
            out.truncate(start);
            return Err(DecodeError::TooLarge { what: "a frame", most: FRAME_BYTES_MAX });
        }
        out.extend_from_slice(self.payload);
        Ok(())
    }
}

/// The frames of one whole message, in order; ends after the first fault.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Reads frames from a whole message.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Frame::parse(self.rest) {
            Ok((frame, taken)) => {
                self.rest = &self.rest[taken..];
                Some(Ok(frame))
            }
            Err(error) => {
                self.rest = &[];
                let error = match error {
                    DecodeError::Incomplete => DecodeError::Malformed("a frame that ends outside its message"),
                    other => other,
                };
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_come_back(channel: u32, kind: u8, payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let frame = Frame { channel: Channel(channel), kind, payload: &payload };
            let mut out = Vec::new();
            frame.write(&mut out).unwrap();
            frame.write(&mut out).unwrap();
            let read: Result<Vec<_>, _> = Frames::new(&out).collect();
            prop_assert_eq!(read.unwrap(), vec![frame, frame]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut total = 0;
            for frame in Frames::new(&bytes) {
                match frame {
                    Ok(frame) => total += frame.payload.len(),
                    Err(_) => break,
                }
            }
            prop_assert!(total <= bytes.len());
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_neither_written_nor_read() {
        let payload = vec![0; FRAME_BYTES_MAX];
        let mut out = Vec::new();
        let frame = Frame { channel: Channel(1), kind: 2, payload: &payload };
        assert!(matches!(frame.write(&mut out), Err(DecodeError::TooLarge { .. })));
        assert!(out.is_empty());
        let bytes = [1, 2, 0x80, 0x80, 0x04];
        assert!(matches!(Frame::parse(&bytes), Err(DecodeError::TooLarge { .. })));
    }

    #[test]
    fn a_cut_frame_asks_for_more() {
        let mut out = Vec::new();
        Frame { channel: Channel(300), kind: 2, payload: b"abc" }.write(&mut out).unwrap();
        for length in 0..out.len() {
            assert_eq!(Frame::parse(&out[..length]), Err(DecodeError::Incomplete));
        }
        assert!(Frames::new(&out[..4]).next().unwrap().is_err());
    }
}
