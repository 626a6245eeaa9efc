//! Seeds: the initial text of a document, as equal dots wherever it is made.
use crate::delta::Delta;

/// The deltas of a document's initial text.
pub fn seed_delta(_document: &str, _generation: u64, _text: &str) -> Vec<Delta> {
    unimplemented!()
}

/// Whether these deltas are a seed of this document and generation.
pub fn verify_seed(_document: &str, _generation: u64, _deltas: &[Delta]) -> bool {
    unimplemented!()
}
