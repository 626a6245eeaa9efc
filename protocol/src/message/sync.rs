//! Large things in chunks, and the end of a sync.

use bincode::{Decode, Encode};

use super::{Bounded, at_most};
use crate::error::DecodeError;
use crate::level::Position;
use crate::transfer::{CHUNK_BYTES_MAX, TRANSFER_BYTES_MAX};
use crate::wire::Bytes;

/// A piece of something larger than a frame. Pieces are staged; nothing changes before all are there and the hash is right.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Chunk {
    /// Number of the transfer, chosen by the sender, new for each on its channel.
    pub transfer: u64,
    /// What the whole is.
    pub content: ChunkContent,
    /// Number of this piece, from 0.
    pub index: u32,
    /// How many pieces there are, at least 1.
    pub of: u32,
    /// Bytes of the whole.
    pub total_bytes: u64,
    /// SHA-256 of the whole.
    pub hash: [u8; 32],
    /// This piece: [`CHUNK_BYTES_MAX`] bytes, the last one what remains.
    pub bytes: Bytes,
}

impl Bounded for Chunk {
    fn check(&self) -> Result<(), DecodeError> {
        at_most("a transfer", usize::try_from(self.total_bytes).unwrap_or(usize::MAX), TRANSFER_BYTES_MAX)?;
        let whole = self.total_bytes as usize;
        let start = self.index as usize * CHUNK_BYTES_MAX;
        let regular = self.of as usize == whole.div_ceil(CHUNK_BYTES_MAX).max(1) && self.index < self.of;
        if regular && self.bytes.len() == (whole - start).min(CHUNK_BYTES_MAX) {
            Ok(())
        } else {
            Err(DecodeError::Malformed("the pieces of a transfer"))
        }
    }
}

/// What a transfer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum ChunkContent {
    /// Client: its whole version vector; asks for what is missing.
    Vector,
    /// Either side: an encoded state diff, to be merged.
    StateDiff,
    /// Server: its version vector; asks the client for a state diff since it, because the client has what no log holds.
    Wanted,
}

/// Everything the log held when this was sent has been sent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Synced {
    /// The place in the log that the client's copy covers now.
    pub position: Option<Position>,
    /// Hash of the server's vector at that place; 0 for the empty one.
    pub vector_hash: u64,
    /// Where the room's stream is; `None`: its next epoch begins with the next frame.
    pub codec: Option<CodecState>,
}

impl Bounded for Synced {}

/// What a reader needs to read on in a room's stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CodecState {
    /// The stream's epoch.
    pub epoch: u64,
    /// Number of the frame that comes next.
    pub seq: u64,
    /// The dictionary, as the stream codec writes it.
    pub bytes: Bytes,
}
