//! The engine's decoders.

use selvedge_engine::{
    Anchor, Delta, DeltaHeader, Document, OpenedSnapshot, SiteId, StateDiff, VersionVector, packing,
};

use super::allocation::Allowance;

/// A void of two bytes or an insert of three is an [`selvedge_engine::Op`] in a vector that grows by doubling, and the
/// insert's text an allocation of its own; a path element of three bytes is in memory twice. The most that was seen is 83 for a byte.
pub(crate) const DELTA: Allowance = Allowance { each: 96, base: 4096 };
/// An entry of two bytes is 16 in memory, in a vector that grows by doubling.
const VECTOR: Allowance = Allowance { each: 16, base: 256 };
/// An element of three bytes is 24 in memory, twice while the path grows.
const ANCHOR: Allowance = Allowance { each: 16, base: 512 };
/// What is packed says more than its bytes, and decoders refuse what says too much: a text of more than 64 times its own, which is in
/// memory twice, and more than 16 runs or 16 groups for a byte, each of which is some hundred bytes in vectors that grow by doubling.
/// Most of what is seen of a few bytes are the 48 KiB of the tables that codes and a deflated text are read by; beyond these,
/// documents that are as repetitive as they can be written took 40 for a byte.
pub(crate) const STATE: Allowance = Allowance { each: 64 * 64, base: 16 * 1024 };
/// The bytes themselves, of a length that is told; tables and a window besides.
const INFLATED: Allowance = Allowance { each: 1, base: 64 * 1024 };
/// Who writes the documents that others' bytes come to.
const HERE: SiteId = SiteId::leased(0, 1);

/// The durable form of a delta has one encoding, and what decodes can be applied.
pub fn delta(bytes: &[u8]) {
    let header = DeltaHeader::peek(bytes);
    if let Ok(delta) = DELTA.hold(bytes, || Delta::decode(bytes)) {
        assert_eq!(delta.validate(), Ok(()));
        assert_eq!(header, Ok(delta.header()));
        assert_eq!(delta.encode(), bytes, "canonical");
        let half = delta.first + (delta.last() - delta.first) / 2;
        if let Some(rest) = delta.after(half) {
            assert_eq!(rest.validate(), Ok(()));
            assert_eq!(rest.last(), delta.last());
        }
        let mut document = Document::new();
        if document.apply(&delta).is_ok() {
            document.assert_invariants();
            assert_eq!(Document::load(&document.snapshot()).unwrap().text(), document.text());
        }
    }
}

/// Deltas, each behind its length in a byte, one after the other: the short cut that a keystroke's bytes take through the
/// engine does what decoding and applying them does.
pub fn keystroke(bytes: &[u8]) {
    let (mut short, mut long) = (Document::new(), Document::new());
    let mut rest = bytes;
    while let Some((&length, behind)) = rest.split_first() {
        let (delta, behind) = behind.split_at(usize::from(length).min(behind.len()));
        rest = behind;
        let shortly = short.apply_encoded(delta);
        let at_length = Delta::decode(delta).map_err(Into::into).and_then(|delta| long.apply(&delta));
        match (shortly, at_length) {
            (Ok(shortly), Ok(at_length)) => {
                assert_eq!((shortly.outcome, shortly.patches), (at_length.outcome, at_length.patches));
            }
            (Err(shortly), Err(at_length)) => assert_eq!(shortly, at_length),
            (shortly, at_length) => panic!("{shortly:?} in short, {at_length:?} at length"),
        }
        assert_eq!(short.vector(), long.vector());
        short.assert_invariants();
    }
    assert_eq!(short.text(), long.text());
    assert_eq!(short.snapshot(), long.snapshot());
}

/// A version vector has one encoding.
pub fn vector(bytes: &[u8]) {
    if let Ok(vector) = VECTOR.hold(bytes, || VersionVector::decode(bytes)) {
        assert_eq!(vector.encode(), bytes, "canonical");
        let _ = vector.hash();
        assert!(vector.dominates(&vector));
    }
}

/// An anchor has one encoding and resolves in any document.
pub fn anchor(bytes: &[u8]) {
    if let Ok(anchor) = ANCHOR.hold(bytes, || Anchor::decode(bytes)) {
        assert_eq!(anchor.encode(), bytes, "canonical");
        let mut document = Document::new();
        assert_eq!(document.resolve(&anchor), 0);
        document.begin_writing(HERE, 1).unwrap();
        document.replace(0, 0, "warp and weft").unwrap();
        assert!(document.resolve(&anchor) <= document.len_utf16());
    }
}

/// A state diff that decodes comes back from its bytes, and is merged whole or not at all.
pub fn state_diff(bytes: &[u8]) {
    let Ok(diff) = STATE.hold(bytes, || StateDiff::decode(bytes)) else { return };
    assert_eq!(StateDiff::decode(&diff.encode()).as_ref(), Ok(&diff));
    let mut document = Document::new();
    if document.apply_state(&diff).is_ok() {
        check_loaded(&document);
        // What it knows already changes nothing.
        let text = document.text();
        document.apply_state(&diff).unwrap();
        assert_eq!(document.text(), text);
    }
    let mut written = Document::new();
    written.begin_writing(HERE, 1).unwrap();
    written.replace(0, 0, "warp and weft").unwrap();
    written.replace(4, 4, "").unwrap();
    written.seal();
    let text = written.text();
    match written.apply_state(&diff) {
        Ok(_) => check_loaded(&written),
        Err(_) => assert_eq!(written.text(), text, "refused whole"),
    }
}

/// The bytes with their checksum behind them: what loads is a document, and saves as one.
pub fn snapshot(bytes: &[u8]) {
    let mut snapshot = bytes.to_vec();
    snapshot.extend(&xxhash_rust::xxh64::xxh64(bytes, 0).to_le_bytes()[..4]);
    let opened = STATE.hold(&snapshot, || OpenedSnapshot::open(&snapshot));
    let text = opened.as_ref().ok().map(|opened| opened.text().to_owned());
    let read = opened.and_then(|opened| opened.into_document().map_err(|(_, error)| error));
    let loaded = STATE.hold(&snapshot, || Document::load(&snapshot));
    assert_eq!(loaded.as_ref().map(Document::snapshot), read.as_ref().map(Document::snapshot));
    if let Ok(document) = loaded {
        assert_eq!(text, Some(document.text()));
        check_loaded(&document);
    }
    assert!(bytes.is_empty() || Document::load(bytes).is_err(), "no checksum fits by chance");
}

/// Deflated bytes behind the length of what they were, in two bytes: a browser and everybody else read the same of them. And those that
/// were not deflated come back from being so.
pub fn inflate(bytes: &[u8]) {
    let Some((length, packed)) = bytes.split_first_chunk() else { return };
    let length = usize::from(u16::from_le_bytes(*length));
    let entitled = vec![0; length + packed.len()];
    let unpacked = INFLATED.hold(&entitled, || packing::inflate(packed, length));
    assert_eq!(INFLATED.hold(&entitled, || packing::inflate_small(packed, length)), unpacked);
    let again = packing::deflate(packed);
    for inflate in [packing::inflate, packing::inflate_small] {
        assert_eq!(inflate(&again, packed.len()).as_deref(), Ok(packed));
        assert!(inflate(&again, packed.len() + 1).is_err());
    }
}

fn check_loaded(document: &Document) {
    document.assert_invariants();
    let saved = document.snapshot();
    let loaded = Document::load(&saved).unwrap();
    assert_eq!(loaded.text(), document.text());
    assert_eq!(loaded.snapshot(), saved);
    assert_eq!(Document::load(&document.snapshot_plain()).unwrap().snapshot(), saved);
}
