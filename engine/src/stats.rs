//! Sizes of a document.

/// What a document holds and takes. Follows the live text and the number of sites, never the history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Unicode scalars.
    pub scalars: usize,
    /// UTF-16 units.
    pub utf16: usize,
    /// UTF-8 bytes.
    pub bytes: usize,
    /// Runs: maximal stretches of adjacent characters with one path and consecutive counters.
    pub runs: usize,
    /// Interned path groups.
    pub groups: usize,
    /// Levels of the deepest live identifier.
    pub depth_max: usize,
    /// Sum of the depths of all live characters.
    pub depth_sum: usize,
    /// Bytes of the longest live identifier, as [`PATH_BYTES_MAX`](crate::PATH_BYTES_MAX) counts them.
    pub path_bytes_max: usize,
    /// Sum of the bytes of the identifiers of all live characters; nothing of that size is ever stored.
    pub path_bytes_sum: usize,
    /// Sites in the version vector.
    pub sites: usize,
    /// Ranges of deletes whose characters have not arrived.
    pub pending_ranges: usize,
    /// Ranges of living characters that a rebase moved.
    pub moved_ranges: usize,
    /// Ranges of characters that a rebase moves and that have not arrived.
    pub pending_moves: usize,
    /// Entries of the `meta` map.
    pub meta_entries: usize,
    /// Bytes of heap of text, identifiers, vector and pending deletes, estimated: not of `meta`, of what was moved, nor of what is not
    /// sealed.
    pub heap_bytes: usize,
}
