//! Things larger than a frame: cut into chunks, staged by the receiver, whole or nothing.

use sha2::{Digest, Sha256};

use crate::error::DecodeError;
use crate::message::{Chunk, ChunkContent};

/// Bytes of every chunk but the last.
pub const CHUNK_BYTES_MAX: usize = 60 * 1024;
/// Most bytes of one transfer.
pub const TRANSFER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Transfers that one channel stages at a time; a further one pushes out the oldest.
pub const TRANSFERS_MAX: usize = 2;

/// Cuts `bytes` into chunks. Empty bytes are one empty chunk.
///
/// # Errors
/// [`DecodeError::TooLarge`] over [`TRANSFER_BYTES_MAX`].
pub fn chunks(transfer: u64, content: ChunkContent, bytes: &[u8]) -> Result<Vec<Chunk>, DecodeError> {
    if bytes.len() > TRANSFER_BYTES_MAX {
        return Err(DecodeError::TooLarge { what: "a transfer", most: TRANSFER_BYTES_MAX });
    }
    let of = bytes.len().div_ceil(CHUNK_BYTES_MAX).max(1);
    let hash = sha256(bytes);
    let piece = |index: usize| {
        let start = index * CHUNK_BYTES_MAX;
        let end = bytes.len().min(start + CHUNK_BYTES_MAX);
        Chunk {
            transfer,
            content,
            index: index as u32,
            of: of as u32,
            total_bytes: bytes.len() as u64,
            hash,
            bytes: bytes[start..end].to_vec().into(),
        }
    };
    Ok((0..of).map(piece).collect())
}

/// Where a receiver keeps chunks until a transfer is whole. Duplicates and any order are fine.
#[derive(Clone, Debug, Default)]
pub struct Staging {
    transfers: Vec<Staged>,
    /// Transfers that were whole already: late duplicates of their chunks are dropped.
    finished: Option<u64>,
}

#[derive(Clone, Debug)]
struct Staged {
    transfer: u64,
    content: ChunkContent,
    total_bytes: u64,
    hash: [u8; 32],
    pieces: Vec<Option<Vec<u8>>>,
    missing: usize,
}

impl Staging {
    /// Takes one chunk. Returns the whole when this was its last missing piece and length and hash are right.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] if the chunk contradicts others of its transfer, or the hash is wrong; the transfer is
    /// forgotten then.
    pub fn take(&mut self, chunk: Chunk) -> Result<Option<(ChunkContent, Vec<u8>)>, DecodeError> {
        if self.finished == Some(chunk.transfer) {
            return Ok(None);
        }
        let at = match self.transfers.iter().position(|staged| staged.transfer == chunk.transfer) {
            Some(at) => at,
            None => self.begin(&chunk),
        };
        let staged = &mut self.transfers[at];
        let agrees = staged.content == chunk.content
            && staged.total_bytes == chunk.total_bytes
            && staged.hash == chunk.hash
            && staged.pieces.len() == chunk.of as usize;
        if !agrees || chunk.index >= chunk.of {
            self.transfers.remove(at);
            return Err(DecodeError::Malformed("chunks that contradict each other"));
        }
        let slot = &mut staged.pieces[chunk.index as usize];
        if slot.is_none() {
            *slot = Some(chunk.bytes.0);
            staged.missing -= 1;
        }
        if staged.missing > 0 {
            return Ok(None);
        }
        let staged = self.transfers.remove(at);
        let whole = staged.pieces.into_iter().flatten().collect::<Vec<_>>().concat();
        if whole.len() as u64 != staged.total_bytes || sha256(&whole) != staged.hash {
            return Err(DecodeError::Malformed("a transfer whose hash is wrong"));
        }
        self.finished = Some(staged.transfer);
        Ok(Some((staged.content, whole)))
    }

    /// Forgets everything: the channel was opened anew.
    pub fn clear(&mut self) {
        self.transfers.clear();
        self.finished = None;
    }

    /// Bytes held.
    pub fn held_bytes(&self) -> usize {
        let pieces = self.transfers.iter().flat_map(|staged| staged.pieces.iter().flatten());
        pieces.map(Vec::len).sum()
    }

    fn begin(&mut self, chunk: &Chunk) -> usize {
        if self.transfers.len() == TRANSFERS_MAX {
            self.transfers.remove(0);
        }
        // At most 547 slots: `of` follows from the transfer's length, which the decoder bounds.
        let of = (chunk.of as usize).min(TRANSFER_BYTES_MAX.div_ceil(CHUNK_BYTES_MAX));
        self.transfers.push(Staged {
            transfer: chunk.transfer,
            content: chunk.content,
            total_bytes: chunk.total_bytes,
            hash: chunk.hash,
            pieces: vec![None; of],
            missing: of,
        });
        self.transfers.len() - 1
    }
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_order_with_duplicates_gives_the_whole(
            length in 0usize..400_000,
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 7 % 251) as u8).collect();
            let pieces = chunks(5, ChunkContent::StateDiff, &bytes).unwrap();
            let mut staging = Staging::default();
            let mut got = None;
            let shuffled = order.iter().map(|index| index.get(&pieces).clone());
            for chunk in shuffled.chain(pieces.iter().cloned()) {
                if let Some(whole) = staging.take(chunk).unwrap() {
                    prop_assert!(got.is_none());
                    got = Some(whole);
                }
            }
            prop_assert_eq!(got, Some((ChunkContent::StateDiff, bytes)));
            prop_assert_eq!(staging.held_bytes(), 0);
        }
    }

    #[test]
    fn a_changed_piece_spoils_the_transfer_and_nothing_comes_out() {
        let bytes = vec![7; CHUNK_BYTES_MAX + 1];
        let mut pieces = chunks(5, ChunkContent::StateDiff, &bytes).unwrap();
        pieces[1].bytes.0[0] = 8;
        let mut staging = Staging::default();
        assert_eq!(staging.take(pieces.remove(0)).unwrap(), None);
        assert!(staging.take(pieces.remove(0)).is_err());
        assert_eq!(staging.held_bytes(), 0);
    }

    #[test]
    fn abandoned_transfers_are_pushed_out() {
        let bytes = vec![7; CHUNK_BYTES_MAX + 1];
        let mut staging = Staging::default();
        for transfer in 0..10 {
            let mut pieces = chunks(transfer, ChunkContent::StateDiff, &bytes).unwrap();
            staging.take(pieces.remove(0)).unwrap();
        }
        assert!(staging.held_bytes() <= TRANSFERS_MAX * CHUNK_BYTES_MAX);
    }
}
