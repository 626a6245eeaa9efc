//! Bytes from outside: one form per value, errors instead of panics.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod checked;
mod model;

use checked::Checked;
use model::Dice;
use proptest::prelude::*;
use selvedge_engine::{
    Anchor, Bias, DecodeError, Delta, DeltaHeader, Digit, Direction, Document, DotRange, Element, Op, OpenedSnapshot,
    Path, Piece, Rebase, SiteId, StateDiff, VersionVector,
};

fn sites() -> impl Strategy<Value = SiteId> {
    prop_oneof![
        (0u8..3, 0u32..9).prop_map(|(region, index)| SiteId::leased(region, index)),
        any::<u64>().prop_map(SiteId::random)
    ]
}

fn digits(level: usize) -> impl Strategy<Value = Digit> {
    let max = Digit::max_of(level);
    prop_oneof![-max..=-1, 1..=max].prop_map(Digit::new)
}

fn elements(level: usize) -> impl Strategy<Value = Element> {
    let k = prop_oneof![1i64..200, -200i64..=-1, 1i64..1 << 53];
    (digits(level), sites(), k, 0u8..8).prop_map(move |(digit, site, k, hash)| {
        let element = Element { digit, site, k };
        let hashed = Digit::hashed(element.dot(), level);
        let digit = match hash {
            0 => hashed,
            1 => Digit::new(-hashed.get()),
            _ => digit,
        };
        Element { digit, ..element }
    })
}

fn paths() -> impl Strategy<Value = Path> {
    (0usize..5).prop_flat_map(|depth| (0..depth).map(elements).collect::<Vec<_>>()).prop_map(Path::from)
}

fn ranges() -> impl Strategy<Value = Vec<DotRange>> {
    prop::collection::btree_map((sites(), 0u64..20), 0u64..8, 1..12).prop_map(|entries| {
        let range = |((site, slot), length)| DotRange { site, first: slot * 10 + 1, last: slot * 10 + 1 + length };
        entries.into_iter().map(range).collect()
    })
}

fn ops() -> impl Strategy<Value = Op> {
    let insert = paths().prop_flat_map(|parent| {
        let digit = digits(parent.depth());
        (Just(parent), digit, any::<bool>(), "[a-c😀é]{1,9}")
    });
    prop_oneof![
        4 => insert.prop_map(|(parent, digit, before, text)| {
            let direction = if before { Direction::Before } else { Direction::After };
            Op::Insert { parent, digit, direction, text }
        }),
        2 => ranges().prop_map(|ranges| Op::Delete { ranges }),
        1 => ("[a-z]{0,8}", prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 1u64..1 << 53)
            .prop_map(|(key, value, lamport)| Op::Meta { key, value, lamport }),
        1 => (1u64..1000).prop_map(|length| Op::Void { length }),
        2 => rebases().prop_map(|rebase| Op::Rebase(Box::new(rebase))),
    ]
}

fn rebases() -> impl Strategy<Value = Rebase> {
    let piece = (0u64..3, sites(), any::<bool>(), 1u64..5);
    let base = paths().prop_flat_map(|parent| {
        let digit = digits(parent.depth());
        (Just(parent), digit)
    });
    (base, 1u64..1 << 53, 1u64..12, prop::collection::vec(piece, 1..20)).prop_map(
        |((parent, digit), lamport, spacing, drawn)| {
            let (mut slot, mut first) = (0, 1);
            let pieces = drawn.into_iter().map(|(gap, site, falling, length)| {
                (slot, first) = (slot + gap + 1, first + 7);
                let first_k = if falling { -(first + length as i64 - 1) } else { first };
                Piece { slot: slot - 1, site, first_k, length }
            });
            let pieces = pieces.collect();
            Rebase { parent, digit, lamport, spacing, pieces }
        },
    )
}

fn deltas() -> impl Strategy<Value = Delta> {
    (sites(), prop_oneof![1u64..100, 1u64..1 << 50], prop::collection::vec((ops(), any::<bool>()), 1..8)).prop_map(
        |(site, first, ops)| {
            let mut all: Vec<Op> = Vec::new();
            for (op, again) in ops {
                // Often one more insert of the same group, which is written without its path.
                if again && let Op::Insert { .. } = op {
                    all.push(op.clone());
                }
                all.push(op);
            }
            Delta { site, first, ops: all }
        },
    )
}

/// A small document that has seen several sites, with pending deletes and `meta`.
fn some_document(seed: u64) -> Checked {
    let mut dice = Dice(seed);
    let mut documents: Vec<_> = (0..3).map(|_| Checked::of(Document::new())).collect();
    for (index, document) in documents.iter_mut().enumerate() {
        // Half of them rebase now and then.
        document.set_depth_limit(if seed.is_multiple_of(2) { 3 } else { 48 });
        let site = if index == 0 { SiteId::random(dice.roll()) } else { SiteId::leased(0, index as u32) };
        document.begin_writing(site, 1).unwrap();
    }
    for _ in 0..dice.below(60) {
        let writer = dice.below(3);
        let length = documents[writer].len_utf16();
        let at = dice.below(length + 1);
        let delete = dice.below((length - at).min(5) + 1);
        let insert = dice.text(3);
        documents[writer].replace(at, delete, &insert).unwrap();
        if dice.chance(10) {
            documents[writer].set_meta("key", Some(&[dice.below(256) as u8])).unwrap();
        }
        let deltas = documents[writer].seal();
        let reader = (writer + 1) % 3;
        for delta in deltas {
            // Gaps leave deletes pending elsewhere.
            let _ = documents[reader].apply(&delta);
            if dice.chance(80) {
                let _ = documents[(writer + 2) % 3].apply(&delta);
            }
        }
    }
    documents.swap_remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn deltas_survive_their_bytes(delta in deltas()) {
        prop_assert_eq!(delta.validate(), Ok(()));
        let bytes = delta.encode();
        prop_assert_eq!(DeltaHeader::peek(&bytes), Ok(delta.header()));
        prop_assert_eq!(Delta::decode(&bytes), Ok(delta));
    }

    #[test]
    fn a_cut_delta_is_its_end(delta in deltas(), cut in 0u64..40) {
        let counter = delta.first + cut - 1;
        match delta.after(counter) {
            Some(rest) => {
                prop_assert_eq!(rest.last(), delta.last());
                prop_assert_eq!(rest.first, delta.first.max(counter + 1));
                prop_assert_eq!(rest.validate(), Ok(()));
            }
            None => prop_assert!(delta.last() <= counter),
        }
    }

    /// One flipped, lost or added byte: refused, or another delta in its only form.
    #[test]
    fn damaged_deltas_are_refused_or_canonical(delta in deltas(), at: prop::sample::Index, byte: u8, kind in 0u8..3) {
        let mut bytes = delta.encode();
        let at = at.index(bytes.len());
        match kind {
            0 => bytes[at] = byte,
            1 => { bytes.remove(at); }
            _ => bytes.insert(at, byte),
        }
        if let Ok(decoded) = Delta::decode(&bytes) {
            prop_assert_eq!(decoded.encode(), bytes);
            let _ = Document::new().apply(&decoded);
        }
    }

    #[test]
    fn noise_is_refused_or_canonical(mut bytes in prop::collection::vec(prop_oneof![0u8..8, any::<u8>()], 0..60), kind in 0x11u8..0x16) {
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        let _ = DeltaHeader::peek(&bytes);
        if let Ok(decoded) = Delta::decode(&bytes) {
            prop_assert_eq!(decoded.encode(), &bytes[..]);
        }
        if let Ok(decoded) = VersionVector::decode(&bytes) {
            prop_assert_eq!(decoded.encode(), &bytes[..]);
        }
        if let Ok(decoded) = Anchor::decode(&bytes) {
            prop_assert_eq!(decoded.encode(), &bytes[..]);
        }
        if let Ok(decoded) = StateDiff::decode(&bytes) {
            let _ = Document::new().apply_state(&decoded);
        }
        let _ = Document::load(&bytes);
    }
}

/// With a checksum that fits.
fn sealed(mut content: Vec<u8>) -> Vec<u8> {
    let checksum = xxhash_rust::xxh64::xxh64(&content, 0).to_le_bytes();
    content.extend(&checksum[..4]);
    content
}

#[test]
fn a_forged_snapshot_opens_and_cannot_be_read() {
    let mut document = Document::new();
    document.begin_writing(SiteId::leased(0, 1), 1).unwrap();
    document.replace(0, 0, "scha").unwrap();
    let snapshot = document.snapshot();
    // A run of four characters, of three of which there is text.
    let forged = sealed(snapshot[..snapshot.len() - 5].to_vec());
    let mut opened = OpenedSnapshot::open(&forged).unwrap();
    for _ in 0..2 {
        let (back, error) = opened.into_document().unwrap_err();
        assert_eq!((back.text(), error), ("sch", DecodeError::Text));
        opened = back;
    }
    assert!(Document::load(&forged).is_err());
}

#[test]
fn what_contradicts_itself_without_a_run_does_not_open() {
    // A vector of one site up to 5, and a delete that waits for its third.
    let forged = |counter: u8| sealed(vec![0x13, 4, 1, 1, 5, 1, 1, 1, counter, 0]);
    let open = |counter| OpenedSnapshot::open(&forged(counter)).map(|opened| opened.text().to_owned());
    assert_eq!((open(3), open(6)), (Err(DecodeError::Dots), Ok(String::new())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn states_survive_their_bytes(seed: u64, partly: u64) {
        let document = some_document(seed);
        let snapshot = document.snapshot();
        let loaded = Document::load(&snapshot).unwrap();
        loaded.assert_invariants();
        prop_assert_eq!(loaded.text(), document.text());
        prop_assert_eq!(loaded.snapshot(), &snapshot[..]);
        prop_assert_eq!(Document::load(&document.snapshot_plain()).unwrap().snapshot(), &snapshot[..]);
        let opened = OpenedSnapshot::open(&snapshot).unwrap();
        prop_assert_eq!((opened.text(), opened.vector()), (&document.text()[..], document.vector()));
        prop_assert_eq!(opened.into_document().unwrap().snapshot(), snapshot);
        let since = document.vector().iter().map(|(site, counter)| (site, Dice(partly ^ site.get()).roll() % (counter + 1)));
        let diff = document.state_diff(&since.collect());
        prop_assert_eq!(StateDiff::decode(&diff.encode()), Ok(diff));
    }

    /// Diffs carry no checksum of their own: whatever still decodes must be safe to apply.
    #[test]
    fn damaged_states_never_panic(seed: u64, at: prop::sample::Index, byte: u8, kind in 0u8..3) {
        let document = some_document(seed);
        let mut bytes = document.state_diff(&VersionVector::new()).encode();
        let at = at.index(bytes.len());
        match kind {
            0 => bytes[at] = byte,
            1 => { bytes.remove(at); }
            _ => bytes.insert(at, byte),
        }
        if let Ok(diff) = StateDiff::decode(&bytes) {
            // Checked when it goes.
            let _ = some_document(seed ^ 1).apply_state(&diff);
        }
    }

    #[test]
    fn damaged_snapshots_are_refused(seed: u64, at: prop::sample::Index, byte: u8) {
        let mut bytes = some_document(seed).snapshot();
        let at = at.index(bytes.len());
        let same = bytes[at] == byte;
        bytes[at] = byte;
        prop_assert_eq!(Document::load(&bytes).is_ok(), same);
    }

    /// A checksum is no seal: opened and read later, a snapshot is refused for what loading it at once refuses it for, and keeps its text.
    #[test]
    fn forged_snapshots_are_refused_when_they_are_read(seed: u64, at: prop::sample::Index, byte: u8) {
        let mut bytes = some_document(seed).snapshot();
        bytes.truncate(bytes.len() - 4);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let bytes = sealed(bytes);
        let loaded = Document::load(&bytes).map(|document| document.snapshot());
        let Ok(opened) = OpenedSnapshot::open(&bytes) else {
            prop_assert!(loaded.is_err());
            return Ok(());
        };
        let text = opened.text().to_owned();
        let read = opened.into_document();
        match read {
            Ok(document) => prop_assert_eq!((document.text(), Ok(document.snapshot())), (text, loaded)),
            Err((opened, error)) => {
                prop_assert_eq!((opened.text(), Err(error)), (&text[..], loaded));
                prop_assert_eq!(opened.into_document().unwrap_err().1, error);
            }
        }
    }

    #[test]
    fn anchors_survive_their_bytes(seed: u64, at in 0usize..60) {
        let document = some_document(seed);
        for bias in [Bias::Before, Bias::After] {
            let anchor = document.anchor_at(at, bias);
            prop_assert_eq!(Anchor::decode(&anchor.encode()), Ok(anchor.clone()));
            prop_assert_eq!(document.resolve(&anchor), document.scalar_to_utf16(document.utf16_to_scalar(at)));
        }
    }

    /// Merging states is commutative, associative and idempotent.
    #[test]
    fn merges_are_joins(a: u64, b: u64, c: u64) {
        // Histories that share a past: one seed, observed by three replicas at different times.
        let merged = |first: &Document, second: &Document| {
            let mut result = Checked::of(Document::load(&first.snapshot()).unwrap());
            result.apply_state(&second.state_diff(&VersionVector::new())).unwrap();
            result
        };
        let [a, b, c] = [a, b, c].map(|seed| {
            let mut base = Checked::of(Document::load(&some_document(42).snapshot()).unwrap());
            base.begin_writing(SiteId::random(seed), 1).unwrap();
            let mut dice = Dice(seed);
            for _ in 0..8 {
                let length = base.len_scalars();
                let at = dice.below(length + 1);
                let end = at + dice.below((length - at).min(5) + 1);
                let (at, end) = (base.scalar_to_utf16(at), base.scalar_to_utf16(end));
                let text = dice.text(3);
                base.replace(at, end - at, &text).unwrap();
            }
            base.seal();
            base
        });
        let ab = merged(&a, &b);
        prop_assert_eq!(ab.snapshot(), merged(&b, &a).snapshot());
        prop_assert_eq!(merged(&ab, &c).snapshot(), merged(&a, &merged(&b, &c)).snapshot());
        prop_assert_eq!(merged(&ab, &ab).snapshot(), ab.snapshot());
        prop_assert_eq!(merged(&ab, &a).snapshot(), ab.snapshot());
    }
}
