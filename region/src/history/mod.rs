//! A document's whole history: its op store, and the segments that what was trimmed from there was moved to.
//!
//! A [segment](SegmentError) is an immutable object among the blobs. Its bytes are decided by the runs in it and by nothing of the
//! region that wrote them, so every region keeps the same ones:
//!
//! ```text
//! segments/t-<tenant>/n-<name>/<generation>/<reach>-<hash>
//! reach   20 digits: the sum of the counters trimmed with and before it, so that keys sort as the history was moved
//! hash    64 hexadecimal digits: SHA-256 of the plain bytes
//! ```
//!
//! Nobody needs segments to show a document: that is what snapshots are for. They are read where snapshots are lost
//! ([`crate::fold::materialise`]), and by whoever wants all of it, a [`History`], or the document as it was ([`document_at`]), at the cost
//! of one object a segment.

mod read;
mod segment;
mod store;

pub(crate) use read::fold_run;
pub use read::{History, document_at, fold_history};
pub use segment::{SEGMENT_BYTES_MAX, SEGMENT_RUNS_MAX, SEGMENT_VERSION, SegmentError};
pub(crate) use segment::{pack, plain_of, runs_of, unpack};
pub use store::{SEGMENTS, Segment, copy_segment, copy_segments, document_of, erase_segments, keep_segment, segments};
