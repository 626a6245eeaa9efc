//! Frames where every channel has a stream of its own (WebTransport, QUIC): put together from the bytes of a stream, and
//! sorted out of messages that know no streams.

use crate::error::DecodeError;
use crate::frame::{Channel, Frame};

/// What a stream's bytes come to: whole frames, all of one channel.
#[derive(Clone, Debug, Default)]
pub struct StreamFrames {
    channel: Option<Channel>,
    /// Taken and not handed on: at most one frame, and what came behind it.
    waiting: Vec<u8>,
}

impl StreamFrames {
    /// A stream of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stream's channel, once its first frame has come.
    pub fn channel(&self) -> Option<Channel> {
        self.channel
    }

    /// Takes the stream's next bytes. Call [`StreamFrames::next`] until it has nothing more before taking others: what
    /// waits is then bounded by a frame and one piece.
    pub fn take(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// The frames that are whole, together at most `bytes_max` or a single one; `None`: more bytes are needed.
    ///
    /// # Errors
    /// What no stream may carry: a malformed frame, one of another channel. What came before it is handed on first.
    pub fn next(&mut self, bytes_max: usize) -> Result<Option<Vec<u8>>, DecodeError> {
        let mut taken = 0;
        let fault = loop {
            match Frame::parse(&self.waiting[taken..]) {
                Ok((frame, bytes)) if *self.channel.get_or_insert(frame.channel) == frame.channel => {
                    if taken > 0 && taken + bytes > bytes_max {
                        break None;
                    }
                    taken += bytes;
                }
                Ok(_) => break Some(DecodeError::Malformed("a frame of another channel on a stream")),
                Err(DecodeError::Incomplete) => break None,
                Err(error) => break Some(error),
            }
        };
        match fault {
            Some(fault) if taken == 0 => Err(fault),
            None if taken == 0 => Ok(None),
            _ => {
                let rest = self.waiting.split_off(taken);
                Ok(Some(std::mem::replace(&mut self.waiting, rest)))
            }
        }
    }

    /// Whether the stream ends here within a frame.
    pub fn is_cut(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// The frames of one whole message in pieces of one channel each, as their streams carry them; ends after the first fault.
pub fn by_channel(message: &[u8]) -> impl Iterator<Item = (Channel, &[u8])> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let (first, mut taken) = Frame::parse(rest).ok()?;
        while let Ok((frame, bytes)) = Frame::parse(&rest[taken..])
            && frame.channel == first.channel
        {
            taken += bytes;
        }
        let (piece, behind) = rest.split_at(taken);
        rest = behind;
        Some((first.channel, piece))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(frames: &[(u32, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (channel, payload) in frames {
            Frame { channel: Channel(*channel), kind: 0x14, payload }.write(&mut bytes).unwrap();
        }
        bytes
    }

    proptest! {
        #[test]
        fn a_stream_cut_anywhere_comes_back_as_its_frames(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
            piece in 1_usize..50,
            most in 1_usize..100,
        ) {
            let bytes = message(&payloads.into_iter().map(|payload| (7, payload)).collect::<Vec<_>>());
            let (mut stream, mut back) = (StreamFrames::new(), Vec::new());
            for piece in bytes.chunks(piece) {
                stream.take(piece);
                while let Some(frames) = stream.next(most).unwrap() {
                    prop_assert!(frames.len() <= most || crate::Frames::new(&frames).count() == 1);
                    back.extend(frames);
                }
            }
            prop_assert_eq!(back, bytes);
            prop_assert!(!stream.is_cut());
        }

        #[test]
        fn a_message_is_sorted_without_loss(
            frames in proptest::collection::vec((0_u32..3, proptest::collection::vec(any::<u8>(), 0..9)), 0..12),
        ) {
            let bytes = message(&frames);
            let pieces: Vec<_> = by_channel(&bytes).collect();
            prop_assert_eq!(pieces.iter().map(|(_, piece)| *piece).collect::<Vec<_>>().concat(), bytes.clone());
            prop_assert!(pieces.windows(2).all(|two| two[0].0 != two[1].0));
            for (channel, piece) in pieces {
                prop_assert!(crate::Frames::new(piece).all(|frame| frame.unwrap().channel == channel));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut stream = StreamFrames::new();
            stream.take(&bytes);
            while let Ok(Some(_)) = stream.next(64) {}
        }
    }

    #[test]
    fn what_came_before_a_fault_is_handed_on_first() {
        let mut stream = StreamFrames::new();
        stream.take(&message(&[(3, vec![1]), (3, vec![2]), (4, vec![3])]));
        assert_eq!(stream.next(1000), Ok(Some(message(&[(3, vec![1]), (3, vec![2])]))));
        assert!(matches!(stream.next(1000), Err(DecodeError::Malformed(_))));
        assert_eq!(stream.channel(), Some(Channel(3)));
    }
}
