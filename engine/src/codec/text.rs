//! Packing of columns and text.

use super::{Reader, Writer};
use crate::error::DecodeError;

/// Plain bytes for every packed one at most. What packs better is left as it is, so that a decoder's memory stays
/// within a constant of its input.
const RATIO_MAX: usize = 64;
/// Shorter input is left as it is: the compressor itself costs more than it could win.
const PACKED_BYTES_MIN: usize = 256;
/// Effort of the compressor.
const LEVEL: u8 = 6;

const PLAIN: u8 = 0;
const DEFLATE: u8 = 1;

pub(crate) fn pack(bytes: &[u8], writer: &mut Writer) {
    if bytes.len() >= PACKED_BYTES_MIN {
        let packed = miniz_oxide::deflate::compress_to_vec(bytes, LEVEL);
        if packed.len() < bytes.len() && bytes.len() <= packed.len() * RATIO_MAX {
            writer.byte(DEFLATE);
            writer.varint(bytes.len() as u64);
            writer.blob(&packed);
            return;
        }
    }
    leave(bytes, writer);
}

/// Writes bytes for [`unpack`] without packing them.
pub(crate) fn leave(bytes: &[u8], writer: &mut Writer) {
    writer.byte(PLAIN);
    writer.blob(bytes);
}

pub(crate) fn unpack(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    match reader.byte()? {
        PLAIN => Ok(reader.blob()?.to_vec()),
        DEFLATE => {
            let length = usize::try_from(reader.varint()?).map_err(|_| DecodeError::TooLarge)?;
            let packed = reader.blob()?;
            if length > packed.len().saturating_mul(RATIO_MAX) {
                return Err(DecodeError::TooLarge);
            }
            let mut bytes = vec![0; length];
            let packed = core::iter::once(packed);
            let unpacked = miniz_oxide::inflate::decompress_slice_iter_to_slice(&mut bytes, packed, false, true);
            if unpacked == Ok(length) { Ok(bytes) } else { Err(DecodeError::NotCanonical) }
        }
        _ => Err(DecodeError::Unsupported),
    }
}
