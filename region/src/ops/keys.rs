//! What items of the op store are named by on DynamoDB; the store says how its layouts put these names together.

use selvedge_engine::SiteId;

use super::{DocumentKey, OpCursor};
use crate::DocumentId;

/// What a run's name begins with.
const OPERATION: &str = "operationId#";

/// `@` and `!` occur in no document id.
pub(crate) fn document_part(key: &DocumentKey) -> String {
    format!("documentId#{}@{}", key.document, key.generation)
}

pub(crate) fn part_key(document: &str, part: u8) -> String {
    if part == 0 { document.to_owned() } else { format!("{document}!{part}") }
}

pub(crate) fn operation_part(run: &OpCursor) -> String {
    format!("{OPERATION}{:016x}#{:020}#{:020}", run.site.get(), run.first, run.last)
}

/// Which part keeps a run: a function of the run, so that writing it again finds it.
pub(crate) fn part_of(run: &OpCursor, parts: u8) -> u8 {
    let mixed = (run.site.get() ^ run.first.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (mixed % u64::from(parts.max(1))) as u8
}

/// The run that a sort key names; `None`: it is not in the one form that [`operation_part`] gives, or no such run can be.
pub(crate) fn run_named(sort_key: &str) -> Option<OpCursor> {
    let mut fields = sort_key.strip_prefix(OPERATION)?.split('#');
    let site = SiteId::new(u64::from_str_radix(fields.next()?, 16).ok()?);
    let (first, last) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let run = OpCursor { site, first, last };
    (first >= 1 && first <= last && operation_part(&run) == sort_key).then_some(run)
}

/// The document that a partition key is of: for whoever reads a table's stream.
#[must_use]
pub fn document_of(partition_key: &str) -> Option<DocumentKey> {
    let rest = partition_key.strip_prefix("documentId#")?;
    let (document, generation) = rest.split_once('@')?;
    let digits = generation.bytes().take_while(u8::is_ascii_digit).count();
    let document: DocumentId = document.parse().ok()?;
    let key = DocumentKey::new(document, generation[..digits].parse().ok()?);
    let rest = partition_key.strip_prefix(&*document_part(&key))?;
    // A part of the document, or in the literal layout a run or a note of it.
    (rest.is_empty() || rest.starts_with(['!', '#'])).then_some(key)
}

#[cfg(test)]
mod tests {
    use selvedge_engine::SiteId;

    use super::{document_of, document_part, operation_part, part_key, part_of, run_named};
    use crate::ops::{DocumentKey, OpCursor};

    #[test]
    fn keys_are_the_logical_ones_and_sort_as_numbers_do() {
        let key = DocumentKey::new("a/b".parse().unwrap(), 3);
        let run = |first, last| OpCursor { site: SiteId::leased(0, 1), first, last };
        let sorted = [run(1, 4), run(9, 9), run(10, 11), run(100, 100)].map(|run| operation_part(&run));
        assert!(sorted.is_sorted(), "{sorted:?}");
        assert_eq!(part_key(&document_part(&key), 0), "documentId#a/b@3");
        for part in 0..20 {
            assert_eq!(document_of(&part_key(&document_part(&key), part)), Some(key.clone()));
        }
        assert_eq!(document_of(&format!("{}#{}", document_part(&key), sorted[0])), Some(key));
        assert_eq!(run_named(&sorted[2]), Some(run(10, 11)));
        let short = sorted[2].replace("0000000000000000001", "1");
        for wrong in [
            &*short,
            &sorted[2][1..],
            &format!("{}#", sorted[2]),
            &operation_part(&run(2, 1)),
            &operation_part(&run(0, 1)),
        ] {
            assert_eq!(run_named(wrong), None, "{wrong}");
        }
        for wrong in ["documentId#b@3", "documentId#a/b@03", "documentId#a/b@3x", "documentId#a/b@", "documentId#a/b"] {
            assert_eq!(document_of(wrong), None, "{wrong}");
        }
        assert!((0..1000).all(|first| part_of(&run(first, first), 7) < 7));
    }
}
