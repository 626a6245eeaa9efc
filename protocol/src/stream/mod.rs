//! The stream form of deltas: what travels once both sides remember what was sent before.
//!
//! Lossless and without the document: decoding gives the same [`Delta`](selvedge_engine::Delta), hence the same durable
//! bytes, so a room can code and decode without the text. Who goes on typing sends one byte beside the text, who goes on
//! deleting one byte.
//!
//! ```text
//! delta    u8    low 3 bits: code; high 5 bits: n
//!   0-5, 7         an operation (of 4 n below 3), this byte its own: the only one of a delta that continues the delta before on this stream,
//!                  which was of the same site
//!   4 (n = 3)        packed: varint length, varint packed length, of its numbers and of its texts; then both, each in deflate, or as it is if
//!                    both lengths are the same: another of these, the texts of its inserts apart
//!   6              any other. n: bit 0 continues, bit 1 one operation, bits 2-4 who below 7, or 7: who follows;
//!                  then varint first unless continues, varint operations unless one, operations
//! who      varint  0: eight bytes (little-endian) of a site follow, 1: the varint of a leased site follows, it gets the next
//!                  number; n: number n - 2
//! operation  u8    low 3 bits: code; high 5 bits: n
//!   0 extend         n bytes of text, where this site's last insert stood
//!   1 below          character, n bytes of text behind it: digit the hash, after
//!   2 beside         run, m bytes of text in its place, if of this site: after; before if the flag is set
//!   3 delete         m ranges; all of this site, and of counters below the operation's own, if the flag is set
//!   4                n = 0 a rebase: place, varint lamport, varint spacing, varint pieces, pieces; n = 1 void: varint counters;
//!                    n = 2 meta: varint length of the key, key, u8 value follows, (varint length, value), varint lamport
//!   5 apart          character, varint zigzag digit, m bytes of text after; place, m bytes of text if the flag is set
//!   7 delete a dot   0: the one before this site's last deletion; 1: the one behind it; n: the operation's own counter + 1 - n
//! n        of 0, 1, 7: below 31, else a varint follows
//! m, flag  of 2, 3, 5: bit 0 the flag, bits 1-4 m below 16, or 0: a varint follows
//! run      varint  runs remembered - 1 - its number
//! character varint 0: the root; else (run * 4 + back below 3, or 3: varint back - 3 follows) + 1; back: the run's last
//!                  counter - the character's
//! place    character, u8 direction (0 after, 1 before) + 2 * elements, elements below the character, digit
//! element  digit, who, varint zigzag k
//! digit    varint  zigzag; 0: the hash of the dot (of the element, or of the operation's first counter)
//! piece    varint slot - slot of the piece before - 1 (the first one: slot), who, varint zigzag first k, varint length - 1
//! range    who unless the flag is set, varint start * 4 + (others below 3, or 3: varint others - 3 follows); others: last - first
//! start    of a range of the same site as the one before: first - last of that one - 2; else with the flag: the operation's
//!          counter - first; else zigzag of (what follows the last counter seen of that site on this stream, else 1) - first
//! ```
//! Both sides remember *runs*: every insert is one, or, if an extension, more of the one it extends, and every element
//! spelled is one of a single character (the elements before the insert, from the top). They are numbered as they come. A
//! character is named by its run, and with it the whole path of what stands below it: a caret that jumps costs three bytes.
//!
//! When a delta begins and more than [`GENERATION_RUNS`] runs came or were used since the last time, those that were not are
//! forgotten, and the others renumbered from 0. A run of before that is used, or stands above one that is, is copied behind
//! the newest first, those above before those below, and its old number is not used any more.
//!
//! `continues` is set if the delta begins where this site's last one on this stream ended. A site's last deletion is the last
//! range of its last delete. Integers are shortest LEB128. At the start of a delta both sides forget everything if they
//! remember over [`SITES_MAX`] sites or their places have over [`ELEMENTS_MAX`] path elements: memory and the state handed
//! to joiners stay bounded without a message.

mod decoder;
mod encoder;
mod index;
mod memory;
mod packing;
mod room;
mod runs;
#[cfg(test)]
mod tests;

pub use decoder::StreamDecoder;
pub use encoder::StreamEncoder;
pub use memory::{ELEMENTS_MAX, SITES_MAX};
pub use room::{EPOCH_MS, RoomDecoder, RoomEncoder, standalone};
pub use runs::GENERATION_RUNS;

use packing::PACKED_FROM_BYTES;
#[cfg(test)]
use packing::UNPACKED_BYTES_MAX;

/// Codes of the operations.
mod code {
    pub(super) const EXTEND: u8 = 0;
    pub(super) const BELOW: u8 = 1;
    pub(super) const BESIDE: u8 = 2;
    pub(super) const DELETE: u8 = 3;
    pub(super) const OTHER: u8 = 4;
    pub(super) const APART: u8 = 5;
    /// First byte of a delta that is packed.
    pub(super) const PACKED: u8 = OTHER | 3 << 3;
    /// First byte of a delta that is not one operation continuing the delta before.
    pub(super) const DELTA: u8 = 6;
    pub(super) const DELETE_DOT: u8 = 7;
    /// From this number on it is written as a varint behind the operation's byte.
    pub(super) const INLINE_END: u64 = 31;
    /// Where an operation's byte has a flag, numbers from here on are written as a varint behind it.
    pub(super) const SHORT_END: usize = 16;
    pub(super) const SHORT_SHIFT: u32 = 4;
    /// Numbers of [`OTHER`].
    pub(super) const REBASE: u64 = 0;
    pub(super) const VOID: u64 = 1;
    pub(super) const META: u64 = 2;
    /// Flags of [`APART`].
    pub(super) const DIGIT: u8 = 0;
    pub(super) const PATH: u8 = 1;
    /// Flags of [`DELTA`].
    pub(super) const CONTINUES: u8 = 1 << 3;
    pub(super) const SINGLE: u8 = 1 << 4;
    pub(super) const WHO_SHIFT: u32 = 5;
    /// A `who` from here on does not fit beside the flags.
    pub(super) const WHO_BEHIND: u64 = 7;
    /// Who: a new site in eight bytes, a new leased one as a varint; numbers of sites begin behind them.
    pub(super) const NEW_SITE: u64 = 0;
    pub(super) const NEW_LEASED: u64 = 1;
    pub(super) const SITES: u64 = 2;
    /// Numbers of [`DELETE_DOT`]: beside the last deletion; others are counted back from the operation's counter.
    pub(super) const BEFORE_LAST: u64 = 0;
    pub(super) const BEHIND_LAST: u64 = 1;
    /// Two low bits that say that the rest is a varint behind: of a range's length, of a character's place in its run.
    pub(super) const RANGE_BEHIND: u64 = 3;
    pub(super) const ATOM_BEHIND: u64 = 3;
}
