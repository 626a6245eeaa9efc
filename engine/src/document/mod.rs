//! The document.
use core::ops::Range;

use crate::anchor::{Anchor, Bias};
use crate::delta::Delta;
use crate::error::{ApplyError, DecodeError, EditError};
use crate::id::SiteId;
use crate::patch::TextPatch;
use crate::state::StateDiff;
use crate::stats::Stats;
use crate::vector::VersionVector;

/// How much of a delta was new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All of it.
    New,
    /// It began inside what was known and was cut there.
    Partly,
    /// Nothing.
    Known,
}

/// What applying a delta did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// For the editor.
    pub patches: Vec<TextPatch>,
    /// How much was new.
    pub outcome: Outcome,
}

/// One text and a small map `meta`, replicated.
#[derive(Clone, Debug, Default)]
pub struct Document {
    vector: VersionVector,
}

#[allow(unused_variables, missing_docs, clippy::missing_errors_doc)]
impl Document {
    pub fn new() -> Self { Self::default() }
    pub fn site(&self) -> Option<SiteId> { unimplemented!() }
    /// The identity of this load: `next_counter` is one past what the document covers of `site`.
    pub fn begin_writing(&mut self, site: SiteId, next_counter: u64) -> Result<(), EditError> { unimplemented!() }
    pub fn replace(&mut self, at: usize, delete: usize, insert: &str) -> Result<Vec<TextPatch>, EditError> { unimplemented!() }
    pub fn replace_utf16(&mut self, at: usize, delete: usize, insert: &[u16]) -> Result<Vec<TextPatch>, EditError> { unimplemented!() }
    pub fn set_meta(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), EditError> { unimplemented!() }
    pub fn meta(&self) -> impl Iterator<Item = (&str, &[u8])> + '_ { core::iter::empty() }
    pub fn meta_value(&self, key: &str) -> Option<&[u8]> { unimplemented!() }
    pub fn has_unsealed(&self) -> bool { unimplemented!() }
    pub fn seal(&mut self) -> Vec<Delta> { unimplemented!() }
    pub fn apply(&mut self, delta: &Delta) -> Result<Applied, ApplyError> { unimplemented!() }
    pub fn apply_state(&mut self, diff: &StateDiff) -> Result<Vec<TextPatch>, ApplyError> { unimplemented!() }
    pub fn state_diff(&self, since: &VersionVector) -> StateDiff { unimplemented!() }
    pub fn snapshot(&self) -> Vec<u8> { unimplemented!() }
    pub fn load(bytes: &[u8]) -> Result<Self, DecodeError> { unimplemented!() }
    pub fn vector(&self) -> &VersionVector { &self.vector }
    pub fn text(&self) -> String { unimplemented!() }
    pub fn slice_utf16(&self, range: Range<usize>) -> String { unimplemented!() }
    pub fn len_utf16(&self) -> usize { unimplemented!() }
    pub fn len_scalars(&self) -> usize { unimplemented!() }
    pub fn len_bytes(&self) -> usize { unimplemented!() }
    pub fn is_empty(&self) -> bool { unimplemented!() }
    pub fn utf16_to_scalar(&self, utf16: usize) -> usize { unimplemented!() }
    pub fn utf16_to_byte(&self, utf16: usize) -> usize { unimplemented!() }
    pub fn scalar_to_utf16(&self, scalar: usize) -> usize { unimplemented!() }
    pub fn byte_to_utf16(&self, byte: usize) -> usize { unimplemented!() }
    pub fn anchor_at(&self, utf16: usize, bias: Bias) -> Anchor { unimplemented!() }
    pub fn resolve(&self, anchor: &Anchor) -> usize { unimplemented!() }
    /// Re-inserts never-sent text of an old site, at its recorded paths, under this document's site. The document must not hold these deltas.
    pub fn restamp(&mut self, deltas: &[Delta]) -> Result<Vec<TextPatch>, EditError> { unimplemented!() }
    pub fn author_at(&self, utf16: usize) -> Option<SiteId> { unimplemented!() }
    pub fn stats(&self) -> Stats { unimplemented!() }
    pub fn assert_invariants(&self) { unimplemented!() }
}
