//! Seeds: the initial text of a document, as equal dots wherever it is made.
//!
//! A seed's site is a hash of document, generation and text, so two devices that start one document with one text write
//! the same dots, and a server can accept it from any writer by checking it.

use crate::delta::Delta;
use crate::document::Document;
use crate::id::SiteId;
use crate::limits::SEED_TEXT_BYTES_MAX;
use crate::op::Op;

/// The deltas of a document's initial text: one for up to [`SEED_TEXT_BYTES_MAX`], more for the longer texts only a
/// server may start with; none for the empty text.
pub fn seed_delta(document: &str, generation: u64, text: &str) -> Vec<Delta> {
    let mut seeded = Document::new();
    let site = SiteId::seed_of(document, generation, text);
    seeded.begin_writing(site, 1).expect("an empty document takes any site");
    seeded.replace(0, 0, text).expect("text fits into an empty document");
    seeded.seal()
}

/// Whether `deltas` are the whole seed of this document and generation with the text they hold, of at most
/// [`SEED_TEXT_BYTES_MAX`].
pub fn verify_seed(document: &str, generation: u64, deltas: &[Delta]) -> bool {
    let texts = deltas.iter().flat_map(|delta| &delta.ops).map(|op| match op {
        Op::Insert { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let text: Option<String> = texts.collect();
    text.is_some_and(|text| text.len() <= SEED_TEXT_BYTES_MAX && deltas == seed_delta(document, generation, &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_the_same_everywhere_and_nothing_else_passes() {
        let deltas = seed_delta("tenant/name", 1, "Dear all,\n");
        assert_eq!(deltas, seed_delta("tenant/name", 1, "Dear all,\n"));
        assert_eq!(deltas.len(), 1);
        assert!(verify_seed("tenant/name", 1, &deltas));
        assert!(!verify_seed("tenant/name", 2, &deltas));
        assert!(!verify_seed("tenant/other", 1, &deltas));
        let mut changed = deltas.clone();
        changed[0].first = 2;
        assert!(!verify_seed("tenant/name", 1, &changed));
        assert!(seed_delta("tenant/name", 1, "").is_empty());
    }

    #[test]
    fn a_seed_of_the_largest_text_is_one_delta() {
        let text = "é".repeat(SEED_TEXT_BYTES_MAX / 2);
        let deltas = seed_delta("t/d", 9, &text);
        assert_eq!(deltas.len(), 1);
        assert!(verify_seed("t/d", 9, &deltas));
        let longer = seed_delta("t/d", 9, &(text + "x"));
        assert!(!verify_seed("t/d", 9, &longer));
    }
}
