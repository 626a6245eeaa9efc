//! What can be asked of a document, in the words of JavaScript.

use selvedge_engine::{Anchor, Bias, Document, SiteId, VersionVector};
use wasm_bindgen::JsError;

use crate::convert::failure;

/// Who wrote the character at a place.
pub(crate) fn author_at(document: &Document, at: f64) -> Option<String> {
    document.author_at(at as usize).map(|site: SiteId| site.to_string())
}

/// A place that survives edits; `after`: it stays with the character on its right.
pub(crate) fn anchor_at(document: &Document, at: f64, after: bool) -> Vec<u8> {
    let bias = if after { Bias::After } else { Bias::Before };
    document.anchor_at(at as usize, bias).encode()
}

/// Where an anchor is now.
///
/// # Errors
/// If the bytes are none.
pub(crate) fn resolve(document: &Document, anchor: &[u8]) -> Result<f64, JsError> {
    let anchor = Anchor::decode(anchor).map_err(|error| failure("bad-argument", error))?;
    Ok(document.resolve(&anchor) as f64)
}

/// The keys of the `meta` map.
pub(crate) fn meta_keys(document: &Document) -> Vec<String> {
    document.meta().map(|(key, _)| key.to_owned()).collect()
}

/// Whether the document has everything `vector` has.
///
/// # Errors
/// If the bytes are no vector.
pub(crate) fn covers(document: &Document, vector: &[u8]) -> Result<bool, JsError> {
    Ok(document.vector().dominates(&self::vector(Some(vector))?))
}

/// What a replica at `since` lacks; without it everything.
///
/// # Errors
/// If `since` is no vector.
pub(crate) fn state_diff(document: &Document, since: Option<&[u8]>) -> Result<Vec<u8>, JsError> {
    Ok(document.state_diff(&vector(since)?).encode())
}

/// Figures: UTF-16 units, UTF-8 bytes, snapshot bytes, runs, sites, deepest identifier, pending deletes.
pub(crate) fn stats(document: &Document) -> Vec<f64> {
    let stats = document.stats();
    let figures = [
        stats.utf16,
        stats.bytes,
        document.snapshot().len(),
        stats.runs,
        stats.sites,
        stats.depth_max,
        stats.pending_ranges,
    ];
    figures.map(|figure| figure as f64).to_vec()
}

/// An encoded vector; without bytes, the empty one.
///
/// # Errors
/// If the bytes are no vector.
pub(crate) fn vector(bytes: Option<&[u8]>) -> Result<VersionVector, JsError> {
    match bytes {
        Some(bytes) => VersionVector::decode(bytes).map_err(|error| failure("bad-argument", error)),
        None => Ok(VersionVector::new()),
    }
}
