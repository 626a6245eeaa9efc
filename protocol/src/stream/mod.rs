//! The stream form of deltas: what travels once both sides remember what was sent before.
//!
//! Lossless and without the document: decoding gives the same [`Delta`](selvedge_engine::Delta), hence the same durable
//! bytes, so a room can code and decode without the text. Who goes on typing sends one byte beside the text, who goes on
//! deleting one byte.
//!
//! ```text
//! delta    u8    low 3 bits: code; high 5 bits: n
//!   0-5, 7         an operation, this byte its own: the only one of a delta that continues the delta before on this stream,
//!                  which was of the same site
//!   6              any other. n: bit 0 continues, bit 1 one operation, bits 2-4 number of the site + 1, or 0: who follows;
//!                  then varint first unless continues, varint operations unless one, operations
//! who      varint  0: eight bytes (little-endian) of a site follow, it gets the next number; n: number n - 1
//! operation  u8    low 3 bits: code; high 5 bits: n if below 31, else a varint follows
//!   0 extend         n bytes of text, where this site's last insert stood
//!   1 insert after   path, digit, n bytes of text
//!   2 insert before  path, digit, n bytes of text
//!   3 delete         n ranges: who, start, varint last - first
//!   4 meta           n bytes of key, u8 value follows, (varint length, value), varint lamport
//!   5 void           n counters; n = 0: a rebase: path, digit, varint lamport, varint spacing, varint pieces, pieces
//!   7 delete a dot   0: the one before this site's last deletion; 1: the one behind it; n: the operation's own counter + 1 - n
//! path     u8 elements shared with the parent path of this site's last insert + 16 times others, both below 15; else 255,
//!          varint shared, varint others; elements
//! element  digit, who, varint zigzag k
//! digit    varint  zigzag; 0: the hash of the dot (of the element, or of the first counter of the insert)
//! piece    varint slot - slot of the piece before - 1 (the first one: slot), who, varint zigzag first k, varint length - 1
//! start    of a range of the same site as the one before: varint first - last of that one; else varint zigzag of
//!          (what follows the last counter seen of that site on this stream, else 1) - first
//! ```
//! `continues` is set if the delta begins where this site's last one on this stream ended. A site's last deletion is the last
//! range of its last delete. Integers are shortest LEB128. At the start of a delta both sides forget everything if they
//! remember over [`SITES_MAX`] sites or [`ELEMENTS_MAX`] path elements: memory and the state handed to joiners stay bounded
//! without a message.

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
    /// Number of [`VOID`] that no void has: a rebase.
    pub(super) const REBASE: u64 = 0;
    /// First byte of a delta that is not one operation continuing the delta before.
    pub(super) const DELTA: u8 = 6;
    pub(super) const DELETE_DOT: u8 = 7;
    /// From this number on it is written as a varint behind the operation's byte.
    pub(super) const INLINE_END: u64 = 31;
    /// Flags of [`DELTA`].
    pub(super) const CONTINUES: u8 = 1 << 3;
    pub(super) const SINGLE: u8 = 1 << 4;
    pub(super) const SITE_SHIFT: u32 = 5;
    /// Site numbers from here on do not fit beside the flags.
    pub(super) const SITES_INLINE: u32 = 7;
    /// Numbers of [`DELETE_DOT`]: beside the last deletion; others are counted back from the operation's counter.
    pub(super) const BEFORE_LAST: u64 = 0;
    pub(super) const BEHIND_LAST: u64 = 1;
    /// Path lengths from here on do not fit one byte together, and the byte that says so.
    pub(super) const LENGTHS_END: usize = 15;
    pub(super) const LENGTHS_BEHIND: u8 = 255;
}
