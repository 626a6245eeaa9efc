//! Deflate (RFC 1951) of bytes whose length is told beside them: of text in states, and of what a connection carries in one piece.

use crate::error::DecodeError;

/// Effort of the compressor.
const LEVEL: u8 = 6;

/// The `length` bytes that were deflated to these, and to nothing more. O(length), also in memory, whatever the bytes are: bound it first.
///
/// # Errors
/// [`DecodeError::NotCanonical`] if the bytes are no such.
pub fn inflate(packed: &[u8], length: usize) -> Result<Vec<u8>, DecodeError> {
    // What a browser has to load counts more there, and it has the other half of the one library to deflate.
    #[cfg(target_family = "wasm")]
    return inflate_small(packed, length);
    #[cfg(not(target_family = "wasm"))]
    inflate_fast(packed, length)
}

/// `bytes` in fewer, if something of them comes again or some are frequent: what [`inflate`] takes. O(b), and some 300 KB of memory
/// meanwhile.
///
/// ```
/// use selvedge_engine::packing::{deflate, inflate};
///
/// let text = "warp and weft, ".repeat(20);
/// let packed = deflate(text.as_bytes());
/// assert!(packed.len() < 40);
/// assert_eq!(inflate(&packed, text.len())?, text.as_bytes());
/// # Ok::<(), selvedge_engine::DecodeError>(())
/// ```
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec(bytes, LEVEL)
}

#[cfg(not(target_family = "wasm"))]
fn inflate_fast(packed: &[u8], length: usize) -> Result<Vec<u8>, DecodeError> {
    use zlib_rs::{Inflate, InflateFlush, Status};

    /// Deflate reaches 2^15 bytes back.
    const WINDOW_BITS: u8 = 15;
    let mut bytes = vec![0; length];
    let mut stream = Inflate::new(false, WINDOW_BITS);
    let ended = stream.decompress(packed, &mut bytes, InflateFlush::Finish) == Ok(Status::StreamEnd);
    let whole = stream.total_in() == packed.len() as u64 && stream.total_out() == length as u64;
    if ended && whole { Ok(bytes) } else { Err(DecodeError::NotCanonical) }
}

/// [`inflate`] as a browser has it. Elsewhere only tests and fuzz targets ask for it, and compare.
///
/// # Errors
/// As [`inflate`].
#[doc(hidden)]
#[inline(never)]
pub fn inflate_small(packed: &[u8], length: usize) -> Result<Vec<u8>, DecodeError> {
    use miniz_oxide::inflate::TINFLStatus;
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

    let mut bytes = vec![0; length];
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let ended = decompress(&mut Box::<DecompressorOxide>::default(), packed, &mut bytes, 0, flags);
    if ended == (TINFLStatus::Done, packed.len(), length) { Ok(bytes) } else { Err(DecodeError::NotCanonical) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_packed_text_is_read_whole_and_by_itself() {
        let text = "She sells sea shells by the sea shore. ".repeat(9)
            + "The shells she sells are surely seashells, so if she sells them...";
        let packed = deflate(text.as_bytes());
        for inflate in [inflate_fast, inflate_small] {
            assert_eq!(inflate(&packed, text.len()).as_deref(), Ok(text.as_bytes()));
            for cut in 0..packed.len() {
                assert!(inflate(&packed[..cut], text.len()).is_err(), "{cut} of {} bytes", packed.len());
            }
            for (more, byte) in (1..16).flat_map(|more| [(more, 0), (more, 1), (more, u8::MAX)]) {
                let longer = [&packed[..], &vec![byte; more]].concat();
                assert!(inflate(&longer, text.len()).is_err(), "{more} bytes {byte} behind");
            }
            for length in [0, 1, text.len() - 1, text.len() + 1, 2 * text.len()] {
                assert!(inflate(&packed, length).is_err(), "{length} bytes asked for");
            }
        }
    }

    proptest! {
        /// Whether a browser or a machine reads it.
        #[test]
        fn both_ways_to_inflate_read_the_same(
            text in "(warp and )?(weft|\\PC){4,90}", at: prop::sample::Index, byte: u8, more in 0_usize..3, damaged: bool,
        ) {
            let mut packed = deflate(text.as_bytes());
            if damaged {
                let at = at.index(packed.len());
                packed[at] = byte;
            }
            packed.resize(packed.len() + more, byte);
            let read = inflate_fast(&packed, text.len());
            prop_assert_eq!(inflate_small(&packed, text.len()), read.clone());
            prop_assert!(damaged || (read == Ok(text.into_bytes())) == (more == 0));
        }

        #[test]
        fn what_is_deflated_comes_back(bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), prop::collection::vec(0_u8..3, 0..9000)]) {
            let packed = deflate(&bytes);
            prop_assert_eq!(inflate(&packed, bytes.len()), Ok(bytes));
        }
    }
}
