//! A room's stream downstream: encoded once for all sessions, numbered in epochs.

use std::borrow::Borrow;

use selvedge_engine::Delta;

use super::{StreamDecoder, StreamEncoder};
use crate::error::DecodeError;
use crate::frame::FRAME_CONTENT_BYTES_MAX;
use crate::level::{Instant, Position};
use crate::message::{CodecState, Deltas};

/// How long an epoch lasts, in milliseconds.
pub const EPOCH_MS: u64 = 30_000;
/// Most bytes of a state for joiners; a larger one begins a new epoch instead, so that many may join a document that many
/// write, and each costs little. What is forgotten is spelled once more as it is used.
const STATE_BYTES_MAX: usize = 16 * 1024;

/// The room's side.
#[derive(Clone, Debug)]
pub struct RoomEncoder {
    encoder: StreamEncoder,
    epoch: u64,
    seq: u64,
    began: Instant,
}

impl RoomEncoder {
    /// A room that begins: epoch 1.
    pub fn new(now: Instant) -> Self {
        Self { encoder: StreamEncoder::new(), epoch: 1, seq: 0, began: now }
    }

    /// Encodes deltas as one or more messages for every session; the last one carries the position. Begins a new epoch
    /// if the present one is 30 s old.
    pub fn encode<D: Borrow<Delta>>(&mut self, deltas: &[D], position: Option<Position>, now: Instant) -> Vec<Deltas> {
        if now.since(self.began) >= EPOCH_MS {
            self.renew(now);
        }
        let mut messages = Vec::new();
        let mut buffer = Vec::new();
        let mut one = Vec::new();
        for delta in deltas {
            one.clear();
            self.encoder.push(delta.borrow(), &mut one);
            if !buffer.is_empty() && buffer.len() + one.len() > FRAME_CONTENT_BYTES_MAX {
                messages.push(self.message(std::mem::take(&mut buffer), None));
            }
            buffer.extend_from_slice(&one);
        }
        if !buffer.is_empty() {
            messages.push(self.message(buffer, position));
        }
        messages
    }

    /// Begins a new epoch with the next message.
    pub fn renew(&mut self, now: Instant) {
        self.began = now;
        if self.seq > 0 {
            self.encoder = StreamEncoder::new();
            self.epoch += 1;
            self.seq = 0;
        }
    }

    /// What a session that joins or resyncs now needs. A memory too large for a frame begins a new epoch instead.
    pub fn state(&mut self, now: Instant) -> CodecState {
        let mut bytes = self.encoder.state();
        if bytes.len() > STATE_BYTES_MAX {
            self.renew(now);
            bytes = self.encoder.state();
        }
        CodecState { epoch: self.epoch, seq: self.seq, bytes: bytes.into() }
    }

    fn message(&mut self, bytes: Vec<u8>, position: Option<Position>) -> Deltas {
        let seq = self.seq;
        self.seq += 1;
        Deltas { position, epoch: self.epoch, seq, tag: None, deltas: bytes.into() }
    }
}

/// Encodes deltas for one session alone, outside the room's stream: every message has a codec of its own (epoch 0). The
/// last one carries the position.
pub fn standalone<D: Borrow<Delta>>(deltas: &[D], position: Option<Position>) -> Vec<Deltas> {
    let message = |bytes: Vec<u8>| Deltas { position: None, epoch: 0, seq: 0, tag: None, deltas: bytes.into() };
    let mut messages = Vec::new();
    let mut encoder = StreamEncoder::new();
    let mut buffer = Vec::new();
    for delta in deltas {
        let before = buffer.len();
        encoder.push(delta.borrow(), &mut buffer);
        if before > 0 && buffer.len() > FRAME_CONTENT_BYTES_MAX {
            buffer.truncate(before);
            messages.push(message(std::mem::take(&mut buffer)));
            encoder = StreamEncoder::new();
            encoder.push(delta.borrow(), &mut buffer);
        }
    }
    if !buffer.is_empty() {
        messages.push(message(buffer));
    }
    if let Some(last) = messages.last_mut() {
        last.position = position;
    }
    messages
}

/// A session's side.
#[derive(Clone, Debug, Default)]
pub struct RoomDecoder {
    stream: Option<StreamDecoder>,
    epoch: u64,
    seq: u64,
}

impl RoomDecoder {
    /// A reader that has not joined.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up the stream where [`RoomEncoder::state`] left it; without a state the next epoch's first frame begins it.
    ///
    /// # Errors
    /// [`DecodeError`] if the state is malformed.
    pub fn join(&mut self, state: Option<&CodecState>) -> Result<(), DecodeError> {
        match state {
            Some(state) => {
                self.stream = Some(StreamDecoder::from_state(&state.bytes)?);
                (self.epoch, self.seq) = (state.epoch, state.seq);
            }
            None => self.stream = None,
        }
        Ok(())
    }

    /// Reads one message.
    ///
    /// # Errors
    /// [`DecodeError::StreamGap`] if it does not follow the one before: ask for a resync. Any other error: malformed.
    pub fn decode(&mut self, message: &Deltas) -> Result<Vec<Delta>, DecodeError> {
        if message.epoch == 0 {
            return StreamDecoder::new().decode(&message.deltas);
        }
        if message.epoch > self.epoch && message.seq == 0 {
            self.stream = Some(StreamDecoder::new());
            (self.epoch, self.seq) = (message.epoch, 0);
        }
        let follows = message.epoch == self.epoch && message.seq == self.seq;
        let stream = self.stream.as_mut().filter(|_| follows).ok_or(DecodeError::StreamGap)?;
        let decoded = stream.decode(&message.deltas);
        match decoded {
            Ok(_) => self.seq += 1,
            Err(_) => self.stream = None,
        }
        decoded
    }
}
