//! A text CRDT: LSEQ with runs, tombstone-free.
//!
//! Pure data in, pure data out: no I/O, no clock, no runtime, no random source of its own.
//!
//! ```
//! use selvedge_engine::{Delta, Document, SiteId};
//!
//! let (mut here, mut there) = (Document::new(), Document::new());
//! here.begin_writing(SiteId::leased(0, 1), 1)?;
//! there.begin_writing(SiteId::leased(0, 2), 1)?;
//!
//! here.replace(0, 0, "warp and weft")?;
//! let sent: Vec<Vec<u8>> = here.seal().iter().map(Delta::encode).collect();
//! for bytes in &sent {
//!     let applied = there.apply(&Delta::decode(bytes)?)?;
//!     assert_eq!(applied.patches[0].insert, "warp and weft");
//! }
//! there.replace(4, 4, ",")?;
//! for delta in there.seal() {
//!     here.apply(&delta)?;
//! }
//! assert_eq!(here.text(), "warp, weft");
//! assert_eq!(here.snapshot(), there.snapshot());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//!
//! Every character has a *position identifier*, a path of elements (digit, site, k); the text is the characters in the
//! order of their identifiers, which any two replicas agree on. Every operation has a *dot* (site, counter); a version
//! vector says which are known. Deletes name dots; what is deleted is gone, and its dot, covered by the vector, keeps it
//! from coming back. [`internals`] has pictures of all of it, and the bytes. Read on in the order of an edit: `document`,
//! `position::allocate`, `sequence`, `op` and `delta`, `codec`.
//!
//! Identifiers have at most 64 levels. Text written against the allocation, always where the last insert made it narrow, would
//! pass that; at 48 levels an edit first moves the text around it under a new base: a *rebase*, one operation more that
//! everybody applies. Dots stay, so deletes, undo and anchors hold. What somebody else writes between the moved characters at the
//! same time ends up right before or right behind all of them, the same for all replicas. Of the recorded sessions none comes there: the
//! deepest identifier of `tests/traces.rs` has 15 levels. A small text whose words come and go at random places for thousands of edits
//! does, and scripts that write so.
//!
//! The price, of 100,000 inserts each beside the last one on a side drawn at random (`cargo run --release -p selvedge-engine --example
//! nested`): a rebase for every 77 to 133 inserts, 4 runs moved for each, and 214 to 243 bytes a delta, most of them the path, where
//! inserts at random places take 29 to 40. An insert takes about three times the processor time of one at a random place with one or two
//! sites writing (of the rows below 1.6, 3.1 and 2.3 times), twice with five; beyond a million inserts up to six times, when the lookups
//! of moved dots no longer find their lists in the processor's caches. It grows with the logarithm of the inserts: with one site writing
//! 10,000, 100,000 and 1,000,000 take 2.2, 3.9 and 4.9 moves and 186, 214 and 263 bytes each.
//!
//! # Costs
//!
//! n = living runs, d = depth of identifiers, r = runs and ranges of a delta, s = sites, b = bytes of text.
//!
//! | operation | time |
//! |---|---|
//! | [`Document::replace`] while typing | O(1) and the sums above the leaf |
//! | [`Document::replace`] anywhere | O(log n + d + b) |
//! | [`Document::replace`] where text stands too deep | and O(w (d + log n)), w = runs moved; O(log n) of them an insert on average |
//! | [`Document::apply`] | O(r d log n + b) |
//! | [`Document::apply_state`] | O(n log n + r d log n + b) |
//! | [`Document::snapshot`], [`Document::load`] | O(n log n + s + b) |
//! | [`OpenedSnapshot::open`] | O(s + b) |
//! | conversions of positions, [`Document::author_at`] | O(log n) |
//! | memory | O(n + s + b): never the history; 24 to 50 bytes more a run that a rebase moved, 4 to 12 in a snapshot |
//!
//! # Growth
//!
//! A text written character by character, each with a message of its own. Identifiers grow with the logarithm of the text, and not at all
//! where somebody goes on in one place. At 1,000, 100,000 and 1,000,000 characters, with the processor time of an edit in microseconds:
//!
//! | where the next character goes | levels on average (deepest) | bytes on average (longest) | written | applied |
//! |---|---|---|---|---|
//! | at the end | 1 (1), 1 (1), 1 (1) | 5 (5), 6 (6), 6 (6) | 0.14, 0.11, 0.09 | 0.09, 0.09, 0.09 |
//! | at the beginning | 1 (1), 1 (1), 1 (1) | 5 (5), 6 (6), 6 (6) | 0.17, 0.14, 0.12 | 0.10, 0.10, 0.10 |
//! | behind the last one, two sites in turn | 2.3 (3), 3.9 (4), 4.8 (5) | 11 (15), 21 (22), 29 (31) | 0.43, 0.48, 0.55 | 0.44, 0.97, 1.3 |
//! | in a word at a random place, 300 sites | 4.1 (8), 8.0 (18), 9.9 (24) | 20 (45), 46 (121), 61 (168) | 0.23, 0.27, 0.41 | 0.23, 0.36, 0.65 |
//! | in a word at a random place, one site | 5.3 (11), 10.1 (23), 12.3 (28) | 30 (73), 70 (176), 90 (224) | 0.26, 0.28, 0.41 | 0.22, 0.30, 0.60 |
//! | at a random place | 4.3 (9), 7.3 (17), 8.9 (21) | 22 (57), 47 (124), 61 (164) | 0.47, 0.73, 1.5 | 0.49, 0.95, 2.6 |
//! | beside the last one, on a random side | 3.9 (28), 3.2 (14), 4.0 (29) | 23 (212), 20 (115), 26 (249) | 0.74, 2.3, 3.4 | 0.72, 3.2, 4.8 |
//!
//! These are bytes of the identifier spelled out, as a message spells it that begins somewhere new. In memory and in snapshots a path is kept once
//! for all that stand on it. The last row is text against the allocation: rebases keep its identifiers from growing, at their price.
//! [`Document::stats`] tells lengths and levels of any document. `cargo xtask bench growth` measures up to ten million characters; figures, plots and the
//! machine they were taken on are in `tests/bench/results`.
//!
//! # Papers
//!
//! Nédelec, Molli, Mostefaoui, Desmontils: *LSEQ: an adaptive structure for sequences in distributed collaborative
//! editing*, DocEng 2013. Weiss, Urso, Molli: *Logoot*, ICDCS 2009. Almeida, Shoker, Baquero: *Delta state replicated
//! data types*, 2018. Where the code departs from them, its module says so.
#![forbid(unsafe_code)]

mod anchor;
mod codec;
mod delta;
mod document;
mod dot_map;
mod dots;
mod error;
mod hash;
mod id;
mod limits;
mod meta;
mod op;
mod opened_snapshot;
pub mod packing;
mod patch;
mod position;
mod rebase;
mod seed;
mod sequence;
mod sorted_map;
mod state;
mod stats;
pub mod undo;
mod vector;

#[cfg(doc)]
#[doc = include_str!("../INTERNALS.md")]
pub mod internals {}

pub use anchor::{Anchor, Bias};
pub use delta::{Delta, DeltaHeader};
pub use document::{Applied, Crowding, Document, Outcome};
pub use error::{ApplyError, DecodeError, EditError};
pub use id::{COUNTER_END, Dot, DotRange, ParseSiteError, SiteId, SiteKind};
pub use limits::{
    DELTA_BYTES_MAX, META_KEY_BYTES_MAX, META_VALUE_BYTES_MAX, OP_RANGES_MAX, OP_TEXT_BYTES_MAX, PATH_BYTES_MAX,
    PATH_LEVELS_MAX, REBASE_LEVELS, SEED_TEXT_BYTES_MAX,
};
pub use op::{Direction, Op};
pub use opened_snapshot::OpenedSnapshot;
pub use patch::{Patch, PatchList, TextPatch};
pub use position::{Digit, Element, Path};
pub use rebase::{Piece, Rebase};
pub use seed::{seed_delta, verify_seed};
pub use sorted_map::{Iter as SortedMapIter, SortedMap};
pub use state::StateDiff;
pub use stats::Stats;
pub use vector::VersionVector;
