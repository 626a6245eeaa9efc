//! A text CRDT: LSEQ with runs, tombstone-free.
#![forbid(unsafe_code)]

mod anchor;
mod codec;
mod delta;
mod document;
mod dots;
mod error;
mod hash;
mod id;
mod limits;
mod meta;
mod op;
mod patch;
mod position;
mod seed;
mod sequence;
mod state;
mod stats;
pub mod undo;
mod vector;

pub use anchor::{Anchor, Bias};
pub use delta::{Delta, DeltaHeader};
pub use document::{Applied, Document, Outcome};
pub use error::{ApplyError, DecodeError, EditError};
pub use id::{COUNTER_END, Dot, DotRange, ParseSiteError, SiteId, SiteKind};
pub use limits::{
    DELTA_BYTES_MAX, META_KEY_BYTES_MAX, META_VALUE_BYTES_MAX, OP_RANGES_MAX, OP_TEXT_BYTES_MAX, PATH_BYTES_MAX,
    PATH_LEVELS_MAX, SEED_TEXT_BYTES_MAX,
};
pub use op::{Direction, Op};
pub use patch::TextPatch;
pub use position::{Digit, Element, Path};
pub use seed::{seed_delta, verify_seed};
pub use state::StateDiff;
pub use stats::Stats;
pub use vector::VersionVector;
