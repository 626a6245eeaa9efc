//! The stream form of deltas: what travels once both sides remember what was sent before.
//!
//! Lossless and without the document: decoding gives the same [`Delta`](selvedge_engine::Delta), hence the same durable
//! bytes, so a room can code and decode without the text. Typing costs a site number, a head, a length and the text.
//!
//! ```text
//! delta    who, head varint = operations * 2 + continues, first varint unless continues, operations
//! who      varint  0: eight bytes (little-endian) of a site follow, it gets the next number; n: number n - 1
//! operation  u8    low 3 bits: code; high 5 bits: n if below 31, else a varint follows
//!   0 extend         n bytes of text, where this site's last insert stood
//!   1 insert after   path, digit, n bytes of text
//!   2 insert before  path, digit, n bytes of text
//!   3 delete         n ranges: who, start, varint last - first
//!   4 meta           n bytes of key, u8 value follows, (varint length, value), varint lamport
//!   5 void           n counters
//! path     varint elements shared with the parent path of this site's last insert, varint others, elements
//! element  digit, who, varint zigzag k
//! digit    varint  zigzag; 0: the hash of the dot (of the element, or of the first counter of the insert)
//! start    of a range of the same site as the one before: varint first - last of that one; else varint zigzag of
//!          (what follows the last counter seen of that site on this stream, else 1) - first
//! ```
//! `continues` is set if the delta begins where this site's last one on this stream ended. Integers are shortest LEB128.
//! At the start of a delta both sides forget everything if they remember over [`SITES_MAX`] sites or [`ELEMENTS_MAX`]
//! path elements: memory and the state handed to joiners stay bounded without a message.

mod decoder;
mod encoder;
mod memory;
mod room;
#[cfg(test)]
mod tests;

pub use decoder::StreamDecoder;
pub use encoder::StreamEncoder;
pub use memory::{ELEMENTS_MAX, SITES_MAX};
pub use room::{EPOCH_MS, RoomDecoder, RoomEncoder, standalone};

/// Codes of the operations.
mod code {
    pub(super) const EXTEND: u8 = 0;
    pub(super) const INSERT_AFTER: u8 = 1;
    pub(super) const INSERT_BEFORE: u8 = 2;
    pub(super) const DELETE: u8 = 3;
    pub(super) const META: u8 = 4;
    pub(super) const VOID: u8 = 5;
    /// From this number on it is written as a varint behind the operation's byte.
    pub(super) const INLINE_END: u64 = 31;
}
