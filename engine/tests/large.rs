//! Documents large enough that leaves and inner nodes divide and merge, and edits that are large themselves.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod checked;
mod model;

use checked::Checked;
use model::{Dice, Replica, check_equal};
use selvedge_engine::{Document, SiteId, VersionVector};

/// Edits two documents and an editor beside each; checks all of it now and then.
fn check(seed: u64, steps: usize, growth: usize) {
    let mut dice = Dice(seed);
    let mut replicas: Vec<_> = (1..=2).map(|index| Replica::new(SiteId::leased(0, index))).collect();
    for step in 0..steps {
        let writer = dice.below(2);
        let length = replicas[writer].editor.len();
        let at = if dice.chance(30) { length } else { dice.below(length + 1) };
        let delete = match dice.below(10) {
            0 => dice.below(length - at + 1),
            1..4 => dice.below((length - at).min(40) + 1),
            _ => 0,
        };
        let pieces = if dice.chance(10) { 40 * growth } else { growth };
        let insert: Vec<u16> = if dice.chance(80) { dice.text(pieces).encode_utf16().collect() } else { Vec::new() };
        let replica = &mut replicas[writer];
        let echo = replica.document.replace_utf16(at, delete, &insert).unwrap();
        replica.editor.splice(at..at + delete, insert);
        replica.patch(&echo);
        if dice.chance(30) {
            for delta in replicas[writer].document.seal() {
                let applied = replicas[1 - writer].document.apply(&delta).unwrap();
                replicas[1 - writer].patch(&applied.patches);
            }
        }
        let small = replicas.iter().all(|replica| replica.document.stats().runs <= 1_000);
        if small || step % steps.div_ceil(200) == 0 {
            replicas.iter().for_each(Replica::check_editor);
        }
    }
    for writer in 0..2 {
        for delta in replicas[writer].document.seal() {
            let applied = replicas[1 - writer].document.apply(&delta).unwrap();
            replicas[1 - writer].patch(&applied.patches);
        }
    }
    replicas.iter().for_each(Replica::check_editor);
    check_equal(&replicas);
    let snapshot = replicas[0].document.snapshot();
    let loaded = Document::load(&snapshot).unwrap();
    loaded.assert_invariants();
    assert_eq!(loaded.snapshot(), snapshot);
    let mut merged = Document::new();
    merged.apply_state(&loaded.state_diff(&VersionVector::new())).unwrap();
    merged.assert_invariants();
    assert_eq!(merged.snapshot(), snapshot);
    check_measures(&loaded, &mut dice);
}

fn check_measures(document: &Document, dice: &mut Dice) {
    let text = document.text();
    let starts: Vec<usize> = text.char_indices().map(|(byte, _)| byte).collect();
    for _ in 0..50.min(starts.len()) {
        let scalar = dice.below(starts.len());
        let byte = starts[scalar];
        let utf16 = text[..byte].encode_utf16().count();
        assert_eq!(document.scalar_to_utf16(scalar), utf16);
        assert_eq!(document.byte_to_utf16(byte), utf16);
        assert_eq!((document.utf16_to_scalar(utf16), document.utf16_to_byte(utf16)), (scalar, byte));
        let end = (utf16 + dice.below(3000)).min(document.len_utf16());
        let end = document.scalar_to_utf16(document.utf16_to_scalar(end));
        let units: Vec<u16> = text.encode_utf16().collect();
        assert_eq!(document.slice_utf16(utf16..end), String::from_utf16(&units[utf16..end]).unwrap());
    }
}

#[test]
fn large_documents_of_small_edits() {
    (0..12).for_each(|seed| check(seed, 2500, 4));
}

#[test]
fn large_documents_of_large_edits() {
    (100..106).for_each(|seed| check(seed, 600, 120));
}

#[test]
fn random_single_characters_fill_every_leaf_with_runs() {
    let mut document = Checked::over(39_900, Document::new());
    document.begin_writing(SiteId::leased(0, 1), 1).unwrap();
    let mut dice = Dice(5);
    for _ in 0..20_000 {
        let at = dice.below(document.len_utf16() + 1);
        document.replace(at, 0, "x").unwrap();
    }
    for _ in 0..19_900 {
        let at = dice.below(document.len_utf16());
        document.replace(at, 1, "").unwrap();
    }
    assert!(document.stats().depth_max <= 32, "{}", document.stats().depth_max);
}

#[test]
fn a_long_text_that_only_grows_at_its_front() {
    let mut document = Checked::of(Document::new());
    document.begin_writing(SiteId::leased(0, 1), 1).unwrap();
    for _ in 0..50_000 {
        document.replace(0, 0, "é").unwrap();
    }
    // The first character, and all that was written before it.
    assert_eq!(document.stats().runs, 2);
    document.seal();
    let loaded = Document::load(&document.snapshot()).unwrap();
    assert_eq!(loaded.text(), document.text());
}
