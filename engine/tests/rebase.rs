//! Text written against the allocation: nobody is refused, no identifier gets too deep, and what is moved for that is the same
//! text for everybody.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod checked;
mod model;

use std::collections::BTreeSet;

use checked::Checked;
use model::{Dice, Replica, check_equal};
use selvedge_engine::undo::UndoStack;
use selvedge_engine::{
    Bias, Crowding, DecodeError, Delta, Digit, Document, Dot, Element, Op, PATH_BYTES_MAX, PATH_LEVELS_MAX, Path,
    Piece, REBASE_LEVELS, Rebase, SiteId, StateDiff, VersionVector,
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

fn rebases(deltas: &[Delta]) -> usize {
    deltas.iter().flat_map(|delta| &delta.ops).filter(|op| matches!(op, Op::Rebase(_))).count()
}

/// No operation puts text deeper than its writer goes without a rebase.
fn check_depths(deltas: &[Delta]) {
    for op in deltas.iter().flat_map(|delta| &delta.ops) {
        let depth = match op {
            Op::Insert { parent, .. } => parent.depth() + 1,
            Op::Rebase(rebase) => rebase.parent.depth() + 2,
            _ => 0,
        };
        assert!(depth <= REBASE_LEVELS, "{depth} levels");
    }
}

fn check_depth(document: &Document) {
    let stats = document.stats();
    let (levels, bytes) = (stats.depth_max, stats.path_bytes_max);
    assert!(levels <= REBASE_LEVELS && bytes <= PATH_BYTES_MAX, "{levels} levels, {bytes} bytes");
}

/// A base that everybody has, `pairs` of brackets within each other, and its author's deltas.
fn nested(pairs: usize) -> (Checked, Vec<Delta>) {
    let mut document = document_over(pairs as u64, 1);
    for caret in 0..pairs {
        document.replace(caret, 0, "()").unwrap();
        if pairs < 100 || caret % 64 == 0 {
            check_depth(&document);
        }
    }
    let deltas = document.seal();
    check_depths(&deltas);
    (document, deltas)
}

fn load(snapshot: &[u8], index: u32) -> Checked {
    let mut document = Checked::of(Document::load(snapshot).unwrap());
    document.begin_writing(site(index), 1).unwrap();
    document
}

/// How many pieces of text these deltas move.
fn pieces(deltas: &[Delta]) -> usize {
    let moved = |op: &Op| if let Op::Rebase(rebase) = op { rebase.pieces.len() } else { 0 };
    deltas.iter().flat_map(|delta| &delta.ops).map(moved).sum()
}

/// `count` inserts, each beside the one before it, by sites in turn, of which each knows all others.
fn adaptive(sites: u32, count: usize, seed: u64) -> Vec<Checked> {
    let mut dice = Dice(seed);
    // Each takes every insert of all sites, and seals; together they are checked as one.
    let steps = 2 * count as u64 * u64::from(sites);
    let mut documents: Vec<_> = (1..=sites).map(|index| document_over(steps, index)).collect();
    let mut caret = 0;
    let (mut made, mut moved) = (0, 0);
    for insert in 0..count {
        let writer = dice.below(documents.len());
        caret = (caret + dice.below(2)).min(documents[writer].len_utf16());
        documents[writer].replace(caret, 0, "x").unwrap();
        // What stands deep stands around the caret; a large text is looked through less often, and its operations every time.
        if insert % if insert < 5_000 { 64 } else { 1_024 } == 0 {
            check_depth(&documents[writer]);
        }
        if sites > 1 {
            let deltas = documents[writer].seal();
            check_depths(&deltas);
            (made, moved) = (made + rebases(&deltas), moved + pieces(&deltas));
            for (index, other) in documents.iter_mut().enumerate().filter(|(index, _)| *index != writer) {
                for delta in &deltas {
                    let patches = other.apply(delta).unwrap().patches;
                    assert!(patches.iter().all(|patch| patch.delete == 0), "what is moved stays: site {index}");
                }
            }
        }
    }
    let deltas = documents[0].seal();
    check_depths(&deltas);
    (made, moved) = (made + rebases(&deltas), moved + pieces(&deltas));
    assert!(made > 10, "{made} rebases");
    // The price that the crate's documentation states.
    assert!(made * 50 < count && moved < count * 5, "{count} inserts: {made} rebases of {moved} pieces");
    documents
}

fn check_adaptive(sites: u32, seed: u64) {
    let documents = adaptive(sites, 100_000, seed);
    for document in &documents {
        assert_eq!(document.len_utf16(), 100_000);
        check_depth(document);
        assert_eq!(document.snapshot(), documents[0].snapshot());
    }
    let loaded = Document::load(&documents[0].snapshot()).unwrap();
    assert_eq!(loaded.snapshot(), documents[0].snapshot());
}

#[test]
fn a_site_that_inserts_beside_its_last_insert_100_000_times() {
    check_adaptive(1, 1);
}

#[test]
fn two_sites_that_insert_beside_each_other_100_000_times() {
    check_adaptive(2, 2);
}

#[test]
fn five_sites_that_insert_beside_each_other_100_000_times() {
    check_adaptive(5, 3);
}

#[test]
fn brackets_in_brackets_are_never_refused() {
    let (document, deltas) = nested(3_000);
    assert_eq!(document.text(), "(".repeat(3_000) + &")".repeat(3_000));
    assert!(rebases(&deltas) > 0);
    check_depth(&document);
    let mut reader = Checked::of(Document::new());
    for delta in &deltas {
        assert_eq!(Delta::decode(&delta.encode()).as_ref(), Ok(delta));
        reader.apply(delta).unwrap();
        check_depth(&reader);
    }
    assert_eq!(reader.snapshot(), document.snapshot());
}

#[test]
fn who_waits_says_so_and_makes_as_much_room_at_last() {
    for gives_up_at in [REBASE_LEVELS + 3, PATH_LEVELS_MAX] {
        let mut document = document(1);
        document.set_depth_limit(PATH_LEVELS_MAX);
        let mut caret = 0;
        let mut nest = |document: &mut Document| {
            document.replace(caret, 0, "()").unwrap();
            caret += 1;
        };
        while document.stats().depth_max < REBASE_LEVELS {
            nest(&mut document);
            assert_eq!(document.take_crowding(), None);
        }
        while document.stats().depth_max < gives_up_at {
            nest(&mut document);
            assert_eq!(document.take_crowding(), Some(Crowding::Deep));
            assert_eq!(document.take_crowding(), None, "it is told once");
        }
        // At the last level it makes room by itself, before that when it may.
        document.set_depth_limit(if gives_up_at < PATH_LEVELS_MAX { REBASE_LEVELS } else { PATH_LEVELS_MAX });
        nest(&mut document);
        assert_eq!(document.take_crowding(), Some(Crowding::Rebased));
        assert!(document.stats().depth_max < REBASE_LEVELS / 2, "{}", document.stats().depth_max);
        assert_eq!(rebases(&document.seal()), 1);
        document.assert_invariants();
    }
}

#[test]
fn words_at_places_a_fixed_stride_apart_are_never_refused() {
    for stride in [1, 7, 40, 997] {
        let mut document = document_over(2_500, 1);
        document.replace(0, 0, &"some text that was there before ".repeat(100)).unwrap();
        for word in 0..2_500 {
            let at = word * stride % (document.len_utf16() + 1);
            document.replace(at, 0, "word ").unwrap();
            if word % 64 == 63 {
                check_depth(&document);
            }
        }
        check_depths(&document.seal());
        check_depth(&document);
    }
}

/// The dots that these deltas move.
fn moved(deltas: &[Delta]) -> BTreeSet<Dot> {
    let mut moved = BTreeSet::new();
    for op in deltas.iter().flat_map(|delta| &delta.ops) {
        let Op::Rebase(rebase) = op else { continue };
        for piece in &rebase.pieces {
            let ks = piece.first_k..piece.first_k + piece.length as i64;
            moved.extend(ks.map(|k| Dot::new(piece.site, k.unsigned_abs())));
        }
    }
    moved
}

/// Characters of which each is written once, every third of two UTF-16 units.
fn marks(first: u32) -> impl Iterator<Item = char> {
    (first..).map(|mark| char::from_u32(if mark.is_multiple_of(3) { 0x2_0000 + mark } else { 0x4e00 + mark }).unwrap())
}

fn units(text: &[char]) -> Vec<u16> {
    String::from_iter(text).encode_utf16().collect()
}

#[test]
fn two_offline_rebases_of_overlapping_windows() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let (mut base, mut first) = (Replica::new(site(1)), Vec::new());
        let mut all = marks(0);
        for _ in 0..60 {
            let before: Vec<char> = base.document.text().chars().collect();
            let at = units(&before[..dice.below(before.len() + 1)]).len();
            let written: Vec<char> = all.by_ref().take(1 + dice.below(3)).collect();
            base.edit(at, 0, &units(&written));
        }
        first.extend(base.seal());
        let before: Vec<char> = base.document.text().chars().collect();
        let mut replicas = vec![base];
        for index in 2..=3 {
            let mut replica = Replica::new(site(index));
            assert!(first.iter().all(|delta| replica.apply(delta)));
            replica.document.set_depth_limit(3);
            replicas.push(replica);
        }
        let mut living: BTreeSet<char> = before.iter().copied().collect();
        let mut gone = BTreeSet::new();
        let mut written = [Vec::new(), Vec::new()];
        for (index, (replica, written)) in replicas[1..].iter_mut().zip(&mut written).enumerate() {
            let start = units(&before[..before.len() / 2 - 10 + dice.below(20)]).len();
            // Each between the two before it: of one unit each, so that the caret is easily told.
            let own = (0..20).map(|mark| char::from_u32(0x3400 + 100 * index as u32 + mark).unwrap());
            for (nth, mark) in own.enumerate() {
                replica.edit(start + nth / 2, 0, &units(&[mark]));
                living.insert(mark);
            }
            let text: Vec<char> = replica.document.text().chars().collect();
            let at = dice.below(text.len() - 2);
            replica.edit(units(&text[..at]).len(), units(&text[at..at + 2]).len(), &[]);
            gone.extend(text[at..at + 2].iter().copied());
            written.extend(replica.seal());
        }
        let [one, other] = [moved(&written[0]), moved(&written[1])];
        assert!(!one.is_empty() && !other.is_empty(), "seed {seed}: each rebased");
        assert!(!one.is_disjoint(&other), "seed {seed}: of what both had, both moved something");
        // One hears the first writer first, one the second, and the base's author gets states.
        let (a, b) = (written[0].clone(), written[1].clone());
        assert!(a.iter().all(|delta| replicas[2].apply(delta)) && b.iter().all(|delta| replicas[1].apply(delta)));
        for other in [1, 2] {
            let other = replicas[other].clone();
            replicas[0].merge(&other, &VersionVector::new());
        }
        for delta in a.iter().chain(&b).chain(&first).chain(&a) {
            replicas.iter_mut().for_each(|replica| {
                if replica.document.site() != Some(delta.site) {
                    replica.apply(delta);
                }
            });
        }
        check_equal(&replicas);
        assert_eq!(replicas[0].document.vector(), replicas[1].document.vector());
        assert_eq!(replicas[0].document.vector(), replicas[2].document.vector());
        let mut text: Vec<char> = replicas[0].document.text().chars().collect();
        text.sort_unstable();
        let expected: Vec<char> = living.difference(&gone).copied().collect();
        assert_eq!(text, expected, "seed {seed}: nothing lost, nothing doubled");
    }
}

/// A window's author, and somebody who wrote into it at the same time.
#[test]
fn what_is_written_into_a_window_meanwhile_stands_beside_it() {
    let (base, _) = nested(5);
    let (mut mover, mut writer) = (load(&base.snapshot(), 2), load(&base.snapshot(), 3));
    mover.set_depth_limit(3);
    mover.replace(5, 0, "!").unwrap();
    let moved = mover.seal();
    assert_eq!(rebases(&moved), 1);
    writer.replace(4, 0, "meanwhile").unwrap();
    writer.replace(0, 1, "").unwrap();
    let written = writer.seal();
    let mut editor = writer.text();
    for delta in &moved {
        for patch in writer.apply(delta).unwrap().patches {
            editor.replace_range(patch.at..patch.at + patch.delete, &patch.insert);
        }
    }
    written.iter().for_each(|delta| drop(mover.apply(delta).unwrap()));
    assert_eq!(writer.text(), mover.text());
    assert_eq!(writer.text(), editor);
    assert_eq!(writer.snapshot(), mover.snapshot());
    assert!(writer.text().contains("meanwhile"), "{}", writer.text());
    assert_eq!(writer.text().replace("meanwhile", ""), "((((!)))))", "what was deleted stays so");
}

#[test]
fn a_rebase_that_overtakes_the_inserts_it_moves() {
    let (base, first) = nested(5);
    let mut mover = load(&base.snapshot(), 2);
    mover.set_depth_limit(3);
    mover.replace(5, 0, "!").unwrap();
    let moved = mover.seal();
    let mut early = document(3);
    moved.iter().for_each(|delta| drop(early.apply(delta).unwrap()));
    assert_eq!((early.text().as_str(), early.stats().pending_moves > 0), ("!", true));
    // What waits is part of the state.
    let mut loaded = Checked::of(Document::load(&early.snapshot()).unwrap());
    assert_eq!(loaded.snapshot(), early.snapshot());
    let mut told = Checked::of(Document::new());
    let diff = early.state_diff(&VersionVector::new());
    assert_eq!(StateDiff::decode(&diff.encode()).as_ref(), Ok(&diff));
    told.apply_state(&diff).unwrap();
    let mut retold = Checked::of(Document::new());
    early.deltas_since(&retold).iter().for_each(|delta| drop(retold.apply(delta).unwrap()));
    for late in [&mut early, &mut loaded, &mut told, &mut retold] {
        first.iter().for_each(|delta| drop(late.apply(delta).unwrap()));
        assert_eq!(late.text(), "(((((!)))))");
        assert_eq!(late.stats().pending_moves, 0);
        assert_eq!(late.snapshot(), mover.snapshot());
    }
}

#[test]
fn anchors_go_with_what_is_moved() {
    let (base, _) = nested(5);
    let before: Vec<_> =
        (0..=10).flat_map(|at| [Bias::Before, Bias::After].map(|bias| base.anchor_at(at, bias))).collect();
    let mut mover = load(&base.snapshot(), 2);
    mover.set_depth_limit(3);
    mover.replace(5, 0, "!").unwrap();
    mover.seal();
    assert!(mover.stats().moved_ranges > 0);
    for (index, anchor) in before.iter().enumerate() {
        let (at, bias) = (index / 2, anchor.bias());
        let behind = at > 5 || (at == 5 && bias == Bias::After);
        assert_eq!(mover.resolve(anchor), at + usize::from(behind));
        // One made here is understood where the rebase has not come.
        let made = mover.anchor_at(at + usize::from(behind), bias);
        if made.dot().is_none_or(|dot| dot.site == site(1)) {
            assert_eq!(base.resolve(&made), at);
        }
    }
}

#[test]
fn text_too_deep_to_be_restored_there_is_restored_beside_its_neighbours() {
    // As deep as decoders allow, by somebody who does not rebase.
    let path: Path = (0..PATH_LEVELS_MAX as i64 - 1)
        .map(|level| Element { digit: Digit::new(1), site: site(9), k: level + 1 })
        .collect::<Vec<_>>()
        .into();
    let ops = ["<", "|", ">"].iter().enumerate().map(|(digit, text)| Op::Insert {
        parent: path.clone(),
        digit: Digit::new(digit as i64 + 5),
        direction: selvedge_engine::Direction::After,
        text: (*text).to_owned(),
    });
    let mut document = document(1);
    document.apply(&Delta { site: site(9), first: 1, ops: ops.collect() }).unwrap();
    let mut undo = UndoStack::new();
    undo.replace(&mut document, 1, 1, "").unwrap();
    undo.stop_capturing();
    undo.replace(&mut document, 0, 2, "").unwrap();
    undo.undo(&mut document).unwrap();
    assert_eq!(document.text(), "<>");
    undo.undo(&mut document).unwrap();
    assert_eq!(document.text(), "<|>");
    document.replace(1, 0, "typed").unwrap();
    assert_eq!(document.text(), "<typed|>");
    assert!(document.stats().depth_max <= PATH_LEVELS_MAX);
    let mut reader = Checked::of(Document::new());
    document.deltas_since(&reader).iter().for_each(|delta| drop(reader.apply(delta).unwrap()));
    assert_eq!(reader.text(), document.text());
}

#[test]
fn a_window_may_end_within_a_run() {
    // Behind a caret in the middle of the first run there is more than a window takes, all of it equally deep.
    let element = |k: i64| Element { digit: Digit::new(9), site: site(9), k };
    let below: Path = vec![element(1), element(2)].into();
    let insert = |parent: &Path, digit: i64, text: &str| Op::Insert {
        parent: parent.clone(),
        digit: Digit::new(digit),
        direction: selvedge_engine::Direction::After,
        text: text.to_owned(),
    };
    let deep = (1..=200).map(|digit| insert(&below, digit, "ab"));
    let ops = [insert(&Path::root(), 1, "<")].into_iter().chain(deep).collect();
    let mut document = document(1);
    document.apply(&Delta { site: site(9), first: 1, ops }).unwrap();
    document.set_depth_limit(3);
    let mut reader = document.clone();
    document.replace(2, 0, "!").unwrap();
    let deltas = document.seal();
    assert_eq!(pieces(&deltas), 1, "{deltas:?}");
    assert_eq!(document.text(), format!("<a!b{}", "ab".repeat(199)));
    reader.begin_writing(site(2), 1).unwrap();
    deltas.iter().for_each(|delta| drop(reader.apply(delta).unwrap()));
    assert_eq!(reader.snapshot(), document.snapshot());
}

#[test]
fn deletes_and_voids_reach_what_was_moved() {
    let (base, _) = nested(5);
    let mut mover = load(&base.snapshot(), 2);
    mover.set_depth_limit(3);
    mover.replace(5, 0, "!").unwrap();
    mover.replace(0, 11, "").unwrap();
    mover.seal();
    let stats = mover.stats();
    assert_eq!((stats.moved_ranges, stats.groups, stats.runs), (0, 0, 0), "nothing is left of it");
    assert_eq!(mover.snapshot().first_chunk::<2>(), Some(&[0x13, 0]));
    let mut moved = load(&base.snapshot(), 2);
    moved.set_depth_limit(3);
    moved.replace(5, 0, "!").unwrap();
    moved.seal();
    let void = Delta { site: site(1), first: 3, ops: vec![Op::Void { length: 4 }] };
    moved.apply(&void).unwrap();
    assert_eq!(moved.text(), "(((!)))");
}

fn piece(slot: u64, first_k: i64, length: u64) -> Piece {
    Piece { slot, site: site(1), first_k, length }
}

#[test]
fn invalid_rebases_are_refused_before_anything_changes() {
    let valid = Rebase {
        parent: Path::root(),
        digit: Digit::new(7),
        lamport: 1,
        spacing: 2,
        pieces: vec![piece(0, 1, 3), piece(4, -6, 2)],
    };
    let deep: Path = vec![Element { digit: Digit::new(1), site: site(1), k: 1 }; PATH_LEVELS_MAX - 1].as_slice().into();
    let check = |change: &dyn Fn(&mut Rebase), expected: Result<(), DecodeError>| {
        let mut rebase = valid.clone();
        change(&mut rebase);
        let delta = Delta { site: site(2), first: 5, ops: vec![Op::Rebase(Box::new(rebase))] };
        assert_eq!(delta.validate(), expected);
        if let Err(error) = expected {
            let mut reader = Document::new();
            assert_eq!(reader.apply(&delta), Err(error.into()));
            assert!(reader.vector().is_empty());
        } else {
            assert_eq!(Delta::decode(&delta.encode()), Ok(delta));
        }
    };
    check(&|_| {}, Ok(()));
    check(&|rebase| rebase.lamport = 0, Err(DecodeError::Counter));
    check(&|rebase| rebase.lamport = 1 << 53, Err(DecodeError::Counter));
    check(&|rebase| rebase.digit = Digit::new(0), Err(DecodeError::Digit));
    check(&|rebase| rebase.digit = Digit::new(1 << 20), Err(DecodeError::Digit));
    check(&|rebase| rebase.spacing = 0, Err(DecodeError::Digit));
    check(&|rebase| rebase.spacing = u64::MAX, Err(DecodeError::Digit));
    check(&|rebase| rebase.pieces[1].slot = 1 << 20, Err(DecodeError::Digit));
    check(&|rebase| rebase.pieces.clear(), Err(DecodeError::Order));
    check(&|rebase| rebase.pieces[1].slot = 0, Err(DecodeError::Order));
    check(&|rebase| rebase.pieces = vec![piece(0, 1, 1); 1025], Err(DecodeError::Order));
    check(&|rebase| rebase.pieces[0].length = 0, Err(DecodeError::Counter));
    check(&|rebase| rebase.pieces[0].first_k = 0, Err(DecodeError::Counter));
    check(&|rebase| rebase.pieces[1].length = 7, Err(DecodeError::Counter));
    check(&|rebase| rebase.pieces[0].length = u64::MAX, Err(DecodeError::Counter));
    check(&|rebase| rebase.pieces[0].first_k = 1 << 53, Err(DecodeError::Counter));
    check(&|rebase| rebase.pieces[0].length = 5, Err(DecodeError::Dots));
    check(&|rebase| rebase.pieces[0].site = SiteId::new(1 << 40), Err(DecodeError::Site));
    check(&|rebase| rebase.parent = deep.clone(), Err(DecodeError::PathTooLong));
}
