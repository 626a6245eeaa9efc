//! Errors of the engine, one enum per thing that can fail: editing, applying, decoding.

use crate::id::SiteId;

/// Why a local edit was refused. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// A position or length beyond the text.
    #[error("position {at} + {delete} is beyond the text's {length} UTF-16 units")]
    OutOfRange {
        /// Where the edit began.
        at: usize,
        /// How much it deletes.
        delete: usize,
        /// The text's length.
        length: usize,
    },
    /// [`begin_writing`](crate::Document::begin_writing) was not called.
    #[error("no site to write as")]
    NoSite,
    /// The counter given does not follow what the document knows of the site.
    #[error("site {site} is known up to counter {have}; it cannot go on at {next}")]
    WrongCounter {
        /// The site.
        site: SiteId,
        /// The last counter known.
        have: u64,
        /// The counter it was to go on at.
        next: u64,
    },
    /// Edits under the old site are not sealed yet.
    #[error("seal what is written before the site changes")]
    Unsealed,
    /// The identifier would pass 64 levels or 512 bytes, and what stands around cannot be moved: a hostile replica spent the
    /// Lamport clock of its rebases. Honest text is never refused.
    #[error("the text here was tied down by a broken or hostile replica; type elsewhere")]
    TooDeep,
    /// The site has used its 2^53 counters.
    #[error("the site has no counters left")]
    CountersExhausted,
    /// A `meta` key or value beyond its limit.
    #[error("a key of meta has at most 256 bytes and a value at most 16384")]
    MetaTooLarge,
    /// A hostile replica wrote the entry of `meta` at the last time there is: no later write can win over it.
    #[error("the entry was tied down by a broken or hostile replica")]
    MetaTied,
    /// Deltas to restamp that this document has applied already: re-inserting them would double their text.
    #[error("site {site} is already part of the document")]
    AlreadyApplied {
        /// The site.
        site: SiteId,
    },
    /// Deltas to restamp that cannot be read as one site's history.
    #[error("the deltas to restamp do not apply: {0}")]
    Restamp(#[from] ApplyError),
}

/// Why a remote delta or state diff was refused. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// It starts beyond what is known of its site; what lies between must come first.
    #[error("site {site} is known up to counter {have}; what follows is missing")]
    Gap {
        /// The site.
        site: SiteId,
        /// The last counter known.
        have: u64,
    },
    /// It brings counters of the site this document writes as, which only this document may use.
    #[error("site {site} is written here and nowhere else")]
    OwnSite {
        /// The site.
        site: SiteId,
    },
    /// A state diff for a peer that knows more than this document.
    #[error("the state diff starts at a vector this document has not reached")]
    NotReached,
    /// It breaks a rule of the format.
    #[error("invalid: {0}")]
    Invalid(#[from] DecodeError),
}

/// Why bytes are not what they claim to be, or a value not one that can be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("the bytes end too early")]
    Incomplete,
    /// Bytes follow the value.
    #[error("bytes follow the value")]
    TrailingBytes,
    /// A format version, kind or operation of a later program.
    #[error("written by a later version")]
    Unsupported,
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Checksum,
    /// A number in more bytes than it needs, or beyond 64 bits.
    #[error("a number is not in its shortest form")]
    Varint,
    /// A site whose bits mean nothing.
    #[error("not a site")]
    Site,
    /// A counter that is 0 or not below 2^53.
    #[error("a counter is out of range")]
    Counter,
    /// A digit that is 0 or outside its level's space.
    #[error("a digit is out of range")]
    Digit,
    /// More than 64 levels or 512 bytes.
    #[error("an identifier is too long")]
    PathTooLong,
    /// Text that is empty, too long, or not UTF-8.
    #[error("a text is empty, too long, or not UTF-8")]
    Text,
    /// Ranges or entries that are empty, too many, unsorted, overlapping or adjacent.
    #[error("ranges or entries are not in canonical order")]
    Order,
    /// An encoding that has a shorter or another canonical form.
    #[error("not the canonical form")]
    NotCanonical,
    /// More than an operation or delta may hold.
    #[error("too large")]
    TooLarge,
    /// One dot named twice, or a dot on the wrong side of a vector.
    #[error("dots contradict each other or their vector")]
    Dots,
}
