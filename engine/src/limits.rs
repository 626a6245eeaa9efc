//! What an identifier, an operation and a delta may be at most. Writers keep them, decoders refuse more.

/// Levels of a position identifier.
pub const PATH_LEVELS_MAX: usize = 64;
/// Levels above which an edit makes room first, unless told otherwise: three quarters of what decoders accept.
pub const REBASE_LEVELS: usize = PATH_LEVELS_MAX * 3 / 4;
/// Bytes of a position identifier, digits and counters written as varints and a site as one byte.
pub const PATH_BYTES_MAX: usize = 512;
/// Bytes of text in one insert.
pub const OP_TEXT_BYTES_MAX: usize = 16 * 1024;
/// Dot ranges in one delete.
pub const OP_RANGES_MAX: usize = 1024;
/// Bytes of one sealed delta in its durable form.
pub const DELTA_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a key of the `meta` map.
pub const META_KEY_BYTES_MAX: usize = 256;
/// Bytes of a value of the `meta` map.
pub const META_VALUE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a seed's text.
pub const SEED_TEXT_BYTES_MAX: usize = 16 * 1024;
