//! Cases with a name: each is something that happens to real documents, or was once got wrong by somebody.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod checked;
mod model;

use checked::Checked;
use model::Dice;
use selvedge_engine::undo::UndoStack;
use selvedge_engine::{
    ApplyError, Bias, DELTA_BYTES_MAX, DecodeError, Delta, Digit, Direction, Document, DotRange, EditError, Element,
    Op, Path, Piece, Rebase, SiteId, StateDiff, TextPatch, VersionVector, seed_delta,
};

fn site(index: u32) -> SiteId {
    SiteId::leased(0, index)
}

fn document(index: u32) -> Checked {
    document_over(200, index)
}

/// One that takes so many steps.
fn document_over(steps: u64, index: u32) -> Checked {
    let mut document = Checked::over(steps, Document::new());
    document.begin_writing(site(index), 1).unwrap();
    document
}

fn load(snapshot: &[u8]) -> Checked {
    Checked::of(Document::load(snapshot).unwrap())
}

fn send(from: &mut Document, to: &mut [&mut Document]) {
    for delta in from.seal() {
        for document in to.iter_mut() {
            document.apply(&Delta::decode(&delta.encode()).unwrap()).unwrap();
        }
    }
}

fn apply_patches(text: &str, patches: &[TextPatch]) -> String {
    let mut units: Vec<u16> = text.encode_utf16().collect();
    for patch in patches {
        units.splice(patch.at..patch.at + patch.delete, patch.insert.encode_utf16());
    }
    String::from_utf16(&units).unwrap()
}

#[test]
fn reload_between_delete_and_append_at_a_runs_end() {
    let mut a = document(1);
    let mut b = document(2);
    a.replace(0, 0, "hello").unwrap();
    send(&mut a, &mut [&mut b]);
    a.replace(4, 1, "").unwrap();
    send(&mut a, &mut [&mut b]);
    let mut reloaded = load(&a.snapshot());
    assert_eq!(reloaded.begin_writing(site(1), 1), Err(EditError::WrongCounter { site: site(1), have: 6, next: 1 }));
    // Leased again, a site goes on behind its last counter: no dot ever has two contents.
    reloaded.begin_writing(site(1), 7).unwrap();
    reloaded.replace(4, 0, "p!").unwrap();
    for delta in reloaded.seal() {
        a.apply(&delta).unwrap_err();
        b.apply(&delta).unwrap();
    }
    assert_eq!(b.text(), "hellp!");
    assert_eq!(b.text(), reloaded.text());
    assert_eq!(b.snapshot(), reloaded.snapshot());
}

#[test]
fn a_state_diff_is_applied_whole_or_not_at_all() {
    let mut a = document(1);
    a.replace(0, 0, "a state in chunks, staged until the last has come").unwrap();
    a.seal();
    let mut b = document(2);
    b.replace(0, 0, "mine ").unwrap();
    b.seal();
    let bytes = a.state_diff(&VersionVector::new()).encode();
    let before = b.snapshot();
    for end in 0..bytes.len() {
        assert!(StateDiff::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    // A diff for a peer that knows more is refused and changes nothing.
    let more: VersionVector = [(site(1), 3)].into_iter().collect();
    assert_eq!(b.apply_state(&a.state_diff(&more)), Err(ApplyError::NotReached));
    assert_eq!(b.snapshot(), before);
    let diff = StateDiff::decode(&bytes).unwrap();
    b.apply_state(&diff).unwrap();
    let merged = b.snapshot();
    assert_eq!(b.apply_state(&diff), Ok(Vec::new()), "twice is once");
    assert_eq!(b.snapshot(), merged);
}

#[test]
fn a_site_written_here_takes_nothing_from_elsewhere() {
    let mut a = document(1);
    a.replace(0, 0, "abc").unwrap();
    let mut copy = document(1);
    copy.replace(0, 0, "other").unwrap();
    let deltas = copy.seal();
    assert_eq!(a.apply(&deltas[0]), Err(ApplyError::OwnSite { site: site(1) }));
    assert_eq!(a.apply_state(&copy.state_diff(&VersionVector::new())), Err(ApplyError::OwnSite { site: site(1) }));
    assert_eq!(a.text(), "abc");
}

#[test]
fn any_durable_record_stands_alone() {
    let mut a = document(1);
    let mut b = document(2);
    let mut dice = Dice(7);
    let mut records = Vec::new();
    for _ in 0..300 {
        let (writer, reader) = if dice.chance(50) { (&mut a, &mut b) } else { (&mut b, &mut a) };
        let length = writer.len_utf16();
        let at = dice.below(length + 1);
        let delete = dice.below((length - at).min(3) + 1);
        writer.replace(at, delete, ["x", "yz", ""][dice.below(3)]).unwrap();
        for delta in writer.seal() {
            reader.apply(&delta).unwrap();
            records.push((delta.encode(), delta));
        }
    }
    for (bytes, delta) in &records {
        assert_eq!(&Delta::decode(bytes).unwrap(), delta);
    }
    // Read in any order that keeps each site's, they make the same document.
    let mut c = Checked::of(Document::new());
    for writer in [site(2), site(1)] {
        for (_, delta) in records.iter().filter(|(_, delta)| delta.site == writer) {
            c.apply(delta).unwrap();
        }
    }
    assert_eq!(c.text(), a.text());
    assert_eq!(c.snapshot(), a.snapshot());
}

#[test]
fn a_paste_of_300_kilobytes() {
    let text: String = (0..300_000).map(|index| char::from(b'a' + (index % 23) as u8)).collect();
    for before in [false, true] {
        let mut a = document(1);
        let mut b = document(2);
        a.replace(0, 0, "[]").unwrap();
        if before {
            // At the start of its own text a site writes backwards.
            a.replace(0, 0, &text).unwrap();
        } else {
            a.replace(1, 0, &text).unwrap();
        }
        let deltas = a.seal();
        assert!(deltas.len() >= 10);
        for delta in &deltas {
            assert!(delta.encode().len() <= DELTA_BYTES_MAX);
            b.apply(delta).unwrap();
        }
        assert_eq!(a.text(), b.text());
        assert_eq!(a.len_utf16(), 300_002);
        assert_eq!(a.snapshot(), b.snapshot());
        a.replace(0, 300_002, "").unwrap();
        send(&mut a, &mut [&mut b]);
        assert_eq!((a.stats().runs, a.stats().groups), (0, 0));
        assert!(b.snapshot().len() < 100, "{}", b.snapshot().len());
    }
}

#[test]
fn replace_all_of_5000_places() {
    let mut a = document_over(5_000, 1);
    let mut b = document(2);
    a.replace(0, 0, &"wool and silk, ".repeat(5000)).unwrap();
    send(&mut a, &mut [&mut b]);
    for place in 0..5000 {
        // What was replaced before is one character longer already.
        a.replace(place * 16, 4, "cloth").unwrap();
    }
    let deltas = a.seal();
    for delta in &deltas {
        assert!(delta.encode().len() <= DELTA_BYTES_MAX);
        b.apply(delta).unwrap();
    }
    assert_eq!(b.text(), "cloth and silk, ".repeat(5000));
    assert_eq!(a.snapshot(), b.snapshot());
    // Deleting what is left of 5000 runs at once takes more than one operation.
    let length = a.len_utf16();
    a.replace(0, length, "").unwrap();
    let deltas = a.seal();
    for delta in &deltas {
        assert!(delta.encode().len() <= DELTA_BYTES_MAX);
        b.apply(delta).unwrap();
    }
    assert!(b.is_empty());
    assert_eq!(a.snapshot(), b.snapshot());
}

#[test]
fn equal_seeds_from_two_devices_are_one() {
    let mut a = document(1);
    let mut b = document(2);
    for document in [&mut a, &mut b] {
        for delta in seed_delta("tenant/letter", 1, "Dear all,\n") {
            document.apply(&delta).unwrap();
        }
    }
    a.replace(10, 0, "from a").unwrap();
    b.replace(10, 0, "from b").unwrap();
    send(&mut a, &mut [&mut b]);
    send(&mut b, &mut [&mut a]);
    for delta in seed_delta("tenant/letter", 1, "Dear all,\n") {
        a.apply(&delta).unwrap();
    }
    assert_eq!(a.text(), b.text());
    assert_eq!(a.text().matches("Dear").count(), 1);
}

#[test]
fn characters_of_every_width_at_every_boundary() {
    let texts = ["😀", "🇨🇭🇦🇹", "👩‍👩‍👧‍👦", "e\u{301}", "a😀é水🇨🇭z"];
    for text in texts {
        let length = text.encode_utf16().count();
        for at in 0..=length {
            for delete in 0..=length - at {
                for insert in ["", "x", "😀"] {
                    check_mended(text, at, delete, insert.encode_utf16().collect());
                }
                check_mended(text, at, delete, vec![0xd83d]);
                check_mended(text, at, delete, vec![0xde00]);
                check_mended(text, at, delete, vec![0xde00, 0xd83d]);
            }
        }
    }
}

/// Edits like an editor that counts UTF-16 units; afterwards both show the same, and it is well formed.
fn check_mended(text: &str, at: usize, delete: usize, insert: Vec<u16>) {
    let mut a = document(1);
    let mut b = document(2);
    a.replace(0, 0, text).unwrap();
    send(&mut a, &mut [&mut b]);
    let mut editor: Vec<u16> = text.encode_utf16().collect();
    let echo = a.replace_utf16(at, delete, &insert).unwrap();
    editor.splice(at..at + delete, insert);
    let expected = String::from_utf16_lossy(&editor);
    for patch in echo {
        editor.splice(patch.at..patch.at + patch.delete, patch.insert.encode_utf16());
    }
    assert_eq!(a.text(), String::from_utf16(&editor).expect("the echo mends"));
    assert_eq!(a.text(), expected);
    send(&mut a, &mut [&mut b]);
    assert_eq!(a.text(), b.text());
    let text = a.text();
    let (mut utf16, mut scalars) = (0, 0);
    for (byte, character) in text.char_indices() {
        assert_eq!((a.utf16_to_byte(utf16), a.utf16_to_scalar(utf16)), (byte, scalars));
        assert_eq!((a.byte_to_utf16(byte), a.scalar_to_utf16(scalars)), (utf16, utf16));
        if character.len_utf16() == 2 {
            assert_eq!(a.utf16_to_byte(utf16 + 1), byte, "inside a pair is before it");
        }
        utf16 += character.len_utf16();
        scalars += 1;
    }
    assert_eq!((a.len_bytes(), a.len_scalars(), a.len_utf16()), (text.len(), scalars, utf16));
}

#[test]
fn replacing_a_split_pair_by_str_echoes_too() {
    let mut a = document(1);
    a.replace(0, 0, "x😀y").unwrap();
    let echo = a.replace(2, 0, "-").unwrap();
    assert_eq!(a.text(), "x\u{fffd}-\u{fffd}y");
    let patch = |at| TextPatch { at, delete: 1, insert: "\u{fffd}".into() };
    assert_eq!(echo, [patch(1), patch(3)]);
}

#[test]
fn what_was_never_sent_costs_only_counters() {
    let mut a = document(1);
    let mut b = document(2);
    a.replace(0, 0, "keep").unwrap();
    for _ in 0..50 {
        a.replace(4, 0, "typo").unwrap();
        a.replace(4, 4, "").unwrap();
    }
    let deltas = a.seal();
    assert_eq!(deltas.len(), 1);
    assert!(matches!(&deltas[0].ops[..], [Op::Insert { .. }, Op::Void { length: 250 }]));
    b.apply(&deltas[0]).unwrap();
    assert_eq!(b.snapshot(), a.snapshot());
}

#[test]
fn editing_in_the_middle_of_unsealed_text() {
    let mut a = document(1);
    let mut b = document(2);
    a.replace(0, 0, "sealed ").unwrap();
    send(&mut a, &mut [&mut b]);
    a.replace(7, 0, "unsealed").unwrap();
    a.replace(5, 4, "X").unwrap();
    a.replace(0, 0, "before ").unwrap();
    a.replace(3, 6, "").unwrap();
    send(&mut a, &mut [&mut b]);
    assert_eq!(a.text(), b.text());
    assert_eq!(a.snapshot(), b.snapshot());
}

#[test]
fn a_delete_waits_for_what_it_deletes_and_survives_reloads() {
    let mut a = document(1);
    let mut b = document(2);
    a.replace(0, 0, "gone").unwrap();
    let insert = a.seal();
    b.apply(&insert[0]).unwrap();
    b.replace(1, 2, "").unwrap();
    let delete = b.seal();
    let mut c = document(3);
    c.apply(&delete[0]).unwrap();
    assert_eq!(c.stats().pending_ranges, 1);
    let mut c = load(&c.snapshot());
    let mut d = document(4);
    d.apply_state(&c.state_diff(&VersionVector::new())).unwrap();
    for document in [&mut c, &mut d] {
        document.apply(&insert[0]).unwrap();
        assert_eq!(document.text(), "ge");
        assert_eq!(document.stats().pending_ranges, 0);
    }
    assert_eq!(c.snapshot(), b.snapshot());
}

#[test]
fn after_deleting_everything_the_state_is_the_vector() {
    let mut a = document_over(20_000, 1);
    let mut dice = Dice(3);
    for _ in 0..10_000 {
        let length = a.len_utf16();
        let at = dice.below(length + 1);
        if length > 1000 {
            a.replace(at.min(length - 1), 1, "").unwrap();
        } else {
            a.replace(at, 0, "ab").unwrap();
        }
        a.seal();
    }
    let length = a.len_utf16();
    a.replace(0, length, "").unwrap();
    a.seal();
    let stats = a.stats();
    assert_eq!((stats.runs, stats.groups, stats.scalars), (0, 0, 0));
    assert!(a.snapshot().len() < 100 && stats.heap_bytes < 200_000, "{} {}", a.snapshot().len(), stats.heap_bytes);
}

#[test]
fn undo_restores_what_was_deleted_where_it_stood() {
    let mut a = document(1);
    let mut b = document(2);
    let mut undo = UndoStack::new();
    undo.replace(&mut a, 0, 0, "one two three").unwrap();
    send(&mut a, &mut [&mut b]);
    undo.stop_capturing();
    undo.replace(&mut a, 4, 4, "").unwrap();
    // Meanwhile somebody writes into what is deleted, and beside it.
    b.replace(6, 0, "-").unwrap();
    send(&mut b, &mut [&mut a]);
    send(&mut a, &mut [&mut b]);
    assert_eq!(a.text(), b.text());
    assert_eq!(a.text(), "one -three");
    let shown = a.text();
    let patches = undo.undo(&mut a).unwrap();
    assert_eq!(apply_patches(&shown, &patches), a.text());
    assert_eq!(a.text(), "one tw-o three");
    send(&mut a, &mut [&mut b]);
    assert_eq!(a.snapshot(), b.snapshot());
    undo.undo(&mut a).unwrap();
    assert_eq!(a.text(), "-", "the other's text stays");
    undo.redo(&mut a).unwrap();
    assert_eq!(a.text(), "one tw-o three");
    undo.redo(&mut a).unwrap();
    assert_eq!(a.text(), "one -three");
    assert!(!undo.can_redo() && undo.can_undo());
    send(&mut a, &mut [&mut b]);
    assert_eq!(a.snapshot(), b.snapshot());
}

#[test]
fn undo_of_text_typed_and_corrected_in_one_step_leaves_nothing() {
    let mut a = document(1);
    let mut undo = UndoStack::new();
    a.replace(0, 0, "<>").unwrap();
    undo.replace(&mut a, 1, 0, "hallo").unwrap();
    undo.replace(&mut a, 2, 1, "e").unwrap();
    undo.replace(&mut a, 5, 1, "").unwrap();
    assert_eq!(a.text(), "<hell>");
    undo.undo(&mut a).unwrap();
    assert_eq!(a.text(), "<>");
    undo.redo(&mut a).unwrap();
    assert_eq!(a.text(), "<hell>");
}

#[test]
fn undo_and_redo_a_thousand_times() {
    let mut a = document(1);
    let mut undo = UndoStack::new();
    for (at, delete, insert) in [(0, 0, "one three"), (4, 0, "two "), (2, 4, ""), (2, 0, "-"), (0, 1, "O")] {
        undo.replace(&mut a, at, delete, insert).unwrap();
        undo.stop_capturing();
        a.seal();
    }
    let text = a.text();
    assert_eq!(text, "On-o three");
    for _ in 0..200 {
        (0..5).for_each(|_| drop(undo.undo(&mut a).unwrap()));
        assert_eq!(a.text(), "");
        (0..5).for_each(|_| drop(undo.redo(&mut a).unwrap()));
        assert_eq!(a.text(), text);
        a.seal();
    }
    assert!(a.stats().depth_max <= 6, "identifiers do not grow: {}", a.stats().depth_max);
}

#[test]
fn an_undo_step_that_came_to_nothing_does_not_join_the_one_before() {
    let mut a = document(1);
    let mut undo = UndoStack::new();
    undo.replace(&mut a, 0, 0, "kept").unwrap();
    undo.stop_capturing();
    undo.replace(&mut a, 4, 0, "x").unwrap();
    undo.replace(&mut a, 4, 1, "").unwrap();
    undo.replace(&mut a, 4, 0, "").unwrap();
    undo.replace(&mut a, 4, 0, " more").unwrap();
    undo.undo(&mut a).unwrap();
    assert_eq!(a.text(), "kept");
}

#[test]
fn text_written_before_signing_in_is_restamped() {
    let mut server = document(9);
    server.replace(0, 0, "shared text").unwrap();
    server.seal();
    let base = server.snapshot();
    let mut anonymous = load(&base);
    anonymous.begin_writing(SiteId::random(5), 1).unwrap();
    let mut outbox = Vec::new();
    anonymous.replace(7, 0, "abc ").unwrap();
    outbox.extend(anonymous.seal());
    anonymous.replace(8, 0, "X").unwrap();
    anonymous.replace(0, 1, "S").unwrap();
    anonymous.replace(0, 0, "Y").unwrap();
    anonymous.set_meta("title", Some(b"mine")).unwrap();
    outbox.extend(anonymous.seal());
    anonymous.replace(10, 1, "").unwrap();
    outbox.extend(anonymous.seal());
    assert_eq!(anonymous.text(), "YShared aXc text");

    server.replace(11, 0, " of all").unwrap();
    server.seal();
    let mut signed_in = load(&server.snapshot());
    assert_eq!(signed_in.restamp(&outbox), Err(EditError::NoSite));
    signed_in.begin_writing(site(2), 1).unwrap();
    let shown = signed_in.text();
    let patches = signed_in.restamp(&outbox).unwrap();
    assert_eq!(signed_in.text(), "YShared aXc text of all");
    assert_eq!(apply_patches(&shown, &patches), signed_in.text());
    assert_eq!(signed_in.meta_value("title"), Some(&b"mine"[..]));
    assert_eq!(signed_in.vector().get(SiteId::random(5)), 0);
    send(&mut signed_in, &mut [&mut server]);
    assert_eq!(server.text(), signed_in.text());
    assert_eq!(server.snapshot(), signed_in.snapshot());
    assert_eq!(anonymous.restamp(&outbox), Err(EditError::AlreadyApplied { site: SiteId::random(5) }));
}

#[test]
fn a_void_closes_a_hole_and_deletes_its_dots() {
    let mut a = document(1);
    a.replace(0, 0, "seen").unwrap();
    let first = a.seal();
    a.replace(4, 0, " lost").unwrap();
    let lost = a.seal();
    a.replace(9, 0, " kept").unwrap();
    let last = a.seal();
    let mut b = document(2);
    b.apply(&first[0]).unwrap();
    assert_eq!(b.apply(&last[0]), Err(ApplyError::Gap { site: site(1), have: 4 }));
    let void = Delta { site: site(1), first: 5, ops: vec![Op::Void { length: 5 }] };
    b.apply(&Delta::decode(&void.encode()).unwrap()).unwrap();
    b.apply(&last[0]).unwrap();
    assert_eq!(b.text(), "seen kept");
    assert_eq!(b.apply(&lost[0]).unwrap().patches, []);
    assert_eq!(b.text(), "seen kept");
    // Who has what others lack gives it up, and all are equal again.
    let mut c = document(3);
    for delta in first.iter().chain(&lost).chain(&last) {
        c.apply(delta).unwrap();
    }
    assert_eq!(c.apply(&void).unwrap().patches, [TextPatch { at: 4, delete: 5, insert: String::new() }]);
    assert_eq!(c.snapshot(), b.snapshot());
}

#[test]
fn anchors_outlive_what_they_hold_on_to() {
    let mut a = document(1);
    let mut b = document(2);
    a.replace(0, 0, "one two three").unwrap();
    send(&mut a, &mut [&mut b]);
    let (before, after) = (a.anchor_at(7, Bias::Before), a.anchor_at(7, Bias::After));
    b.replace(3, 9, "").unwrap();
    send(&mut b, &mut [&mut a]);
    for document in [&a, &b] {
        assert_eq!((document.resolve(&before), document.resolve(&after)), (3, 3));
    }
    let stranger = Document::new();
    assert_eq!((stranger.resolve(&before), stranger.resolve(&after)), (0, 0));
    assert_eq!(a.resolve(&a.anchor_at(0, Bias::Before)), 0);
    assert_eq!(a.resolve(&a.anchor_at(99, Bias::After)), a.len_utf16());
}

#[test]
fn positions_beyond_the_text_are_refused() {
    let mut a = document(1);
    a.replace(0, 0, "abc").unwrap();
    for (at, delete) in [(4, 0), (3, 1), (0, 4), (usize::MAX, 1), (1, usize::MAX)] {
        assert_eq!(a.replace(at, delete, "x"), Err(EditError::OutOfRange { at, delete, length: 3 }));
    }
    assert_eq!(Document::new().replace(0, 0, "x"), Err(EditError::NoSite));
    assert_eq!(a.text(), "abc");
    assert_eq!(a.author_at(1), Some(site(1)));
    assert_eq!(a.author_at(3), None);
    assert_eq!(a.slice_utf16(1..99), "bc");
}

#[test]
fn a_pending_delete_of_own_future_dots_is_stepped_over() {
    let mut a = document(1);
    let mut b = document(3);
    let hostile = Delta {
        site: site(2),
        first: 1,
        ops: vec![Op::Delete { ranges: vec![DotRange { site: site(1), first: 3, last: 5 }] }],
    };
    a.apply(&hostile).unwrap();
    b.apply(&hostile).unwrap();
    a.replace(0, 0, "abc").unwrap();
    a.replace(3, 0, "def").unwrap();
    assert_eq!(a.text(), "abcdef");
    send(&mut a, &mut [&mut b]);
    assert_eq!(b.text(), "abcdef");
    assert_eq!(a.snapshot(), b.snapshot());
}

#[test]
fn a_delta_says_whose_dots_it_deletes_or_moves() {
    let range = |first, last| DotRange { site: site(4), first, last };
    let piece = |slot, first_k, length| Piece { slot, site: site(4), first_k, length };
    let rebase = Rebase {
        parent: Path::root(),
        digit: Digit::new(9),
        lamport: 1,
        spacing: 1,
        pieces: vec![piece(0, 1 << 40, 2), piece(1, -9, 3)],
    };
    let ops = vec![
        Op::Meta { key: "k".into(), value: None, lamport: 1 },
        Op::Delete { ranges: vec![range(1, 3), range(5, (1 << 53) - 1)] },
        Op::Rebase(Box::new(rebase)),
        Op::Void { length: 7 },
    ];
    let names: Vec<_> = Delta { site: site(2), first: 1, ops }.named_dots().collect();
    assert_eq!(names, [range(1, 3), range(5, (1 << 53) - 1), range(1 << 40, (1 << 40) + 1), range(7, 9)]);
}

#[test]
fn a_spent_clock_of_meta_ties_down_its_own_entry_alone() {
    let mut a = document(1);
    let mut b = document(3);
    let last = (1 << 53) - 1;
    let hostile = Delta {
        site: site(9),
        first: 1,
        ops: vec![Op::Meta { key: "tied".into(), value: Some(b"z".to_vec()), lamport: last }],
    };
    a.set_meta("title", Some(b"before")).unwrap();
    send(&mut a, &mut [&mut b]);
    for document in [&mut a, &mut b] {
        document.apply(&hostile).unwrap();
    }
    // Each write is after the one before, whoever makes it, and whichever value is greater.
    b.set_meta("title", Some(b"by b")).unwrap();
    send(&mut b, &mut [&mut a]);
    a.set_meta("title", Some(b"a")).unwrap();
    a.set_meta("new", Some(b"first")).unwrap();
    a.set_meta("new", None).unwrap();
    send(&mut a, &mut [&mut b]);
    let before = a.snapshot();
    assert_eq!(a.set_meta("tied", Some(b"zz")), Err(EditError::MetaTied));
    assert_eq!(a.snapshot(), before);
    for document in [&a, &b] {
        assert_eq!(document.meta_value("title"), Some(&b"a"[..]));
        assert_eq!(document.meta_value("new"), None);
        assert_eq!(document.meta_value("tied"), Some(&b"z"[..]));
    }
    assert_eq!(a.snapshot(), b.snapshot());
}

#[test]
fn invalid_deltas_are_refused_before_anything_changes() {
    let insert = |parent: Path, digit: i64, text: &str| Op::Insert {
        parent,
        digit: Digit::new(digit),
        direction: Direction::After,
        text: text.into(),
    };
    let deep: Path = (0..64).map(|_| Element { digit: Digit::new(1), site: site(1), k: 1 }).collect::<Vec<_>>().into();
    let range = |first, last| DotRange { site: site(1), first, last };
    let cases = [
        (insert(Path::root(), 0, "x"), DecodeError::Digit),
        (insert(Path::root(), 257, "x"), DecodeError::Digit),
        (insert(Path::root(), 1, ""), DecodeError::Text),
        (insert(Path::root(), 1, &"x".repeat(16 * 1024 + 1)), DecodeError::Text),
        (insert(deep, 1, "x"), DecodeError::PathTooLong),
        (Op::Delete { ranges: vec![] }, DecodeError::Order),
        (Op::Delete { ranges: vec![range(0, 1)] }, DecodeError::Counter),
        (Op::Delete { ranges: vec![range(2, 1)] }, DecodeError::Counter),
        (Op::Delete { ranges: vec![range(1, 2), range(3, 4)] }, DecodeError::Order),
        (Op::Delete { ranges: vec![range(5, 6), range(1, 2)] }, DecodeError::Order),
        (Op::Delete { ranges: vec![range(1, 1 << 53)] }, DecodeError::Counter),
        (Op::Void { length: 0 }, DecodeError::Counter),
        (Op::Void { length: 1 << 53 }, DecodeError::Counter),
        (Op::Meta { key: "k".repeat(257), value: None, lamport: 1 }, DecodeError::TooLarge),
        (Op::Meta { key: "k".into(), value: None, lamport: 0 }, DecodeError::Counter),
    ];
    let mut a = Checked::of(Document::new());
    for (op, error) in cases {
        let delta = Delta { site: site(1), first: 1, ops: vec![insert(Path::root(), 1, "good"), op.clone()] };
        assert_eq!(a.apply(&delta), Err(ApplyError::Invalid(error)), "{op:?}");
        assert_eq!((a.text().as_str(), a.vector().len()), ("", 0));
    }
}

#[test]
fn a_delete_said_again_by_another_site_is_the_same_delete() {
    let mut a = document(1);
    let mut b = document(2);
    a.replace(0, 0, "hello world").unwrap();
    send(&mut a, &mut [&mut b]);
    a.replace(3, 0, "XX").unwrap();
    a.replace(0, 2, "").unwrap();
    a.replace(8, 3, "").unwrap();
    let held_back = a.seal();
    let ranges: Vec<DotRange> = held_back
        .iter()
        .flat_map(|delta| &delta.ops)
        .flat_map(|op| if let Op::Delete { ranges } = op { ranges.clone() } else { Vec::new() })
        .collect();
    assert!(ranges.len() >= 2);
    let living = DotRange { site: site(1), first: 3, last: 3 };
    let unknown = DotRange { site: site(9), first: 1, last: 4 };
    a.begin_writing(site(3), 1).unwrap();
    a.repeat_delete(&[&ranges[..], &[living, unknown], &ranges[..1]].concat()).unwrap();
    let text = a.text();
    let again = a.seal();
    assert_eq!(again.len(), 1);
    b.apply(&again[0]).unwrap();
    assert_eq!(b.text(), text.replace("XX", ""));
    held_back.iter().for_each(|delta| drop(b.apply(delta).unwrap()));
    assert_eq!((b.text(), b.snapshot()), (text, a.snapshot()));
    a.repeat_delete(&[living]).unwrap();
    assert!(!a.has_unsealed(), "nothing to say");
}

#[test]
fn a_state_told_as_deltas_reaches_who_has_a_part_of_them_from_their_author() {
    let (mut base, mut author) = (document(1), document(2));
    base.replace(0, 0, "shared").unwrap();
    base.set_meta("language", Some(b"en")).unwrap();
    send(&mut base, &mut [&mut author]);
    let mut sealed = Vec::new();
    let mut write = |author: &mut Document, change: &dyn Fn(&mut Document)| {
        change(author);
        sealed.extend(author.seal());
    };
    write(&mut author, &|it| it.replace(6, 0, " text").map(drop).unwrap());
    write(&mut author, &|it| it.replace(6, 2, "").map(drop).unwrap());
    write(&mut author, &|it| it.set_meta("theme", Some(b"dark")).unwrap());
    write(&mut author, &|it| it.replace(0, 1, "").map(drop).unwrap());
    write(&mut author, &|it| it.set_meta("language", Some(b"de")).unwrap());
    write(&mut author, &|it| it.replace(1, 1, "").map(drop).unwrap());
    write(&mut author, &|it| it.set_meta("language", Some(b"fr")).unwrap());
    let told = author.deltas_since(&base);
    let mut all = load(&base.snapshot());
    told.iter().for_each(|delta| drop(all.apply(delta).unwrap()));
    assert_eq!(all.text(), author.text());
    for count in 0..=sealed.len() {
        let mut part = load(&base.snapshot());
        sealed[..count].iter().chain(&told).for_each(|delta| drop(part.apply(delta).unwrap()));
        assert_eq!(part.vector(), all.vector());
        assert_eq!(part.snapshot(), all.snapshot(), "who had {count} deltas from their author");
    }
    // Told again, or to who knows: nothing.
    assert_eq!((author.deltas_since(&all), all.deltas_since(&all)), (Vec::new(), Vec::new()));
}

#[test]
fn a_state_of_which_only_a_beginning_was_kept_is_told_on() {
    let (mut base, mut author) = (document(1), document(2));
    base.replace(0, 0, "shared").unwrap();
    send(&mut base, &mut [&mut author]);
    author.replace(6, 0, " text").unwrap();
    let written = author.seal();
    let mut deleter = document(3);
    let state = author.state_diff(&VersionVector::new());
    deleter.apply_state(&state).unwrap();
    deleter.replace(0, 9, "").unwrap();
    deleter.replace(2, 0, "!").unwrap();
    let _ = deleter.seal();
    let told = deleter.deltas_since(&base);
    for kept in 0..=told.len() {
        let mut log = load(&base.snapshot());
        told[..kept].iter().for_each(|delta| drop(log.apply(delta).unwrap()));
        let rest = deleter.deltas_since(&log);
        // Somebody shows what the author wrote and knows of no delete.
        let mut reader = load(&base.snapshot());
        written.iter().chain(&told[..kept]).chain(&rest).for_each(|delta| drop(reader.apply(delta).unwrap()));
        rest.iter().for_each(|delta| drop(log.apply(delta).unwrap()));
        assert_eq!(log.text(), deleter.text(), "of which {kept} deltas were kept");
        assert_eq!((reader.vector(), reader.snapshot()), (log.vector(), log.snapshot()), "with {kept} deltas kept");
    }
}

#[test]
fn an_undo_of_many_deletes_steps_over_pending_deletes_of_own_future_dots() {
    let (mut writer, mut other, mut hostile) = (document(1), document(2), document(3));
    let mut undo = UndoStack::new();
    writer.replace(0, 0, "ab").unwrap();
    let pasted = 6_000;
    undo.replace(&mut writer, 0, 2, &"x".repeat(pasted)).unwrap();
    send(&mut writer, &mut [&mut other, &mut hostile]);
    // What is left of the paste is more ranges than one operation names, and that is not known before they are taken out.
    for at in 0..pasted / 2 {
        other.replace(at, 1, "").unwrap();
    }
    send(&mut other, &mut [&mut writer, &mut hostile]);
    let counter = writer.vector().get(site(1)) + 5;
    let early = DotRange { site: site(1), first: counter, last: counter };
    let op = Op::Delete { ranges: vec![early] };
    let taken = Delta { site: site(3), first: 1, ops: vec![op] };
    [&mut writer, &mut other].into_iter().for_each(|document| drop(document.apply(&taken).unwrap()));
    undo.undo(&mut writer).unwrap();
    send(&mut writer, &mut [&mut other]);
    assert_eq!(writer.text(), "ab");
    assert_eq!(writer.snapshot(), other.snapshot());
}

#[test]
fn a_delete_of_more_dots_than_32_bits_count_takes_all_that_live() {
    let (mut writer, mut reader) = (document(1), document(2));
    writer.replace(0, 0, "kept").unwrap();
    send(&mut writer, &mut [&mut reader]);
    let long = 1 << 32;
    let text = |first, text: &str| {
        let op = Op::Insert {
            parent: Path::root(),
            digit: Digit::new(200),
            direction: Direction::After,
            text: text.to_owned(),
        };
        Delta { site: site(3), first, ops: vec![op] }
    };
    let apply = |reader: &mut Document, delta: Delta| reader.apply_encoded(&delta.encode()).unwrap();
    apply(&mut reader, Delta { site: site(3), first: 1, ops: vec![Op::Void { length: long }] });
    apply(&mut reader, text(long + 1, "gone"));
    // Counted with 32 bits these are one.
    let range = DotRange { site: site(3), first: 4, last: long + 4 };
    apply(&mut reader, Delta { site: site(3), first: long + 5, ops: vec![Op::Delete { ranges: vec![range] }] });
    assert_eq!(reader.text(), "kept");
}
