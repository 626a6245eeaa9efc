//! What a document takes follows its living text and its sites, never its history.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod checked;
mod model;

use checked::Checked;
use model::Dice;
use selvedge_engine::{Delta, Document, Op, REBASE_LEVELS, SiteId, VersionVector};

/// Bytes of a snapshot beside its vector when nothing lives: kind, parts and checksum.
const BARE: usize = 6;

fn leased(number: u64) -> SiteId {
    SiteId::leased(0, number as u32)
}

fn random(number: u64) -> SiteId {
    SiteId::random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn write_as(document: &mut Document, site: SiteId, at: usize, delete: usize, insert: &str) {
    let next = document.vector().get(site) + 1;
    document.begin_writing(site, next).unwrap();
    document.replace(at, delete, insert).unwrap();
    document.seal();
}

/// Ten sites come to tens of thousands, every tenth to hundreds, the others to tens.
fn spread(number: u64) -> u64 {
    match number {
        0..10 => 20_000 + 5_000 * number,
        _ if number.is_multiple_of(10) => 150 + number * 7 % 800,
        _ => 10 + number * 7 % 110,
    }
}

/// A document in which 10,000 sites, one after the other, each wrote a word and deleted all of it but its first letter.
fn written_by_ten_thousand(site: fn(u64) -> SiteId, counter: fn(u64) -> u64) -> Checked {
    let mut dice = Dice(1);
    let mut document = Checked::over(20_000, Document::new());
    for number in 0..10_000 {
        let at = dice.below(document.len_utf16() + 1);
        // The delete takes a counter, too.
        let length = counter(number) as usize - 1;
        write_as(&mut document, site(number), at, 0, &"x".repeat(length));
        write_as(&mut document, site(number), at + 1, length - 1, "");
        assert_eq!(document.vector().get(site(number)), counter(number));
    }
    assert_eq!(document.len_utf16(), 10_000);
    document
}

fn check_ten_thousand(name: &str, site: fn(u64) -> SiteId, counter: fn(u64) -> u64, vector_bytes_max: usize) {
    let mut document = written_by_ten_thousand(site, counter);
    let snapshot = document.snapshot();
    let vector = document.vector().encode();
    // The vector stands in a snapshot as it does alone, right behind kind and parts.
    assert!(snapshot[2..].starts_with(&vector));
    assert!(vector.len() <= vector_bytes_max, "{name}: {} bytes", vector.len());
    assert_eq!(VersionVector::decode(&vector).as_ref(), Ok(document.vector()));
    assert_eq!(Document::load(&snapshot).unwrap().snapshot(), snapshot);
    println!("{name}: {} bytes, of which the vector takes {}", snapshot.len(), vector.len());

    document.replace(0, 10_000, "").unwrap();
    document.seal();
    let (empty, vector) = (document.snapshot().len(), document.vector().encode().len());
    assert_eq!(empty, BARE + vector);
    assert!(vector <= vector_bytes_max, "{name}, emptied: {vector} bytes");
}

#[test]
fn ten_thousand_sites_take_few_bytes() {
    check_ten_thousand("leased sites", leased, spread, 30_000);
    check_ten_thousand("random sites", random, spread, 120_000);
    // Two bytes a counter from 128 on, three from 16,384 on; and two that say how many sites there are.
    check_ten_thousand("leased sites at 200", leased, |_| 200, 30_002);
}

fn letters(count: usize, dice: &mut Dice) -> String {
    (0..count).map(|_| char::from(b'a' + dice.below(26) as u8)).collect()
}

/// 1,000 characters, pasted.
fn pasted(text: &str) -> Checked {
    let mut document = Checked::of(Document::new());
    write_as(&mut document, leased(1), 0, 0, text);
    document
}

/// 1,000 characters, one by one at random places by ten sites in turn.
fn scattered(dice: &mut Dice) -> Checked {
    let mut document = Checked::of(Document::new());
    for number in 0..1_000 {
        let at = dice.below(number + 1);
        write_as(&mut document, leased(1 + number as u64 % 10), at, 0, &letters(1, dice));
    }
    document
}

/// A word comes, and as much goes: itself, or at some other place. By `sites` in turn.
fn cycle(document: &mut Document, cycles: u64, sites: u64, dice: &mut Dice, is_itself: bool) {
    for cycle in 0..cycles {
        let (site, length) = (leased(1 + cycle % sites), document.len_utf16());
        let (at, word) = (dice.below(length + 1), 1 + dice.below(8));
        write_as(document, site, at, 0, &letters(word, dice));
        let gone = if is_itself { at } else { dice.below(length + 1) };
        write_as(document, site, gone, word, "");
    }
}

/// Bytes of a document's snapshot, of its heap, and of its heap when it is loaded from that.
fn sizes(document: &Document) -> [usize; 3] {
    let snapshot = document.snapshot();
    let loaded = Document::load(&snapshot).unwrap();
    [snapshot.len(), document.stats().heap_bytes, loaded.stats().heap_bytes]
}

fn check_cycles(name: &str, before: Checked, sites: u64) {
    let mut dice = Dice(sites);
    let mut document = before.clone();
    cycle(&mut document, 100, sites, &mut dice, true);
    let early = document.stats().heap_bytes;
    cycle(&mut document, 9_900, sites, &mut dice, true);
    assert_eq!(document.text(), before.text());
    let (fresh, cycled) = (sizes(&before), sizes(&document));
    println!("{name}, {sites} sites, [snapshot, heap, heap loaded]: {fresh:?}, after the cycles {cycled:?}");
    assert!(cycled[0] * 10 <= fresh[0] * 12, "snapshot: {cycled:?} of {fresh:?}");
    assert!(cycled[2] * 10 <= fresh[2] * 12, "loaded: {cycled:?} of {fresh:?}");
    // The first edits make what places are found by, an index of the paths among it; later ones add nothing.
    assert!(cycled[1] * 10 <= fresh[1] * 15 + 15_000, "heap: {cycled:?} of {fresh:?}");
    assert!(cycled[1] * 10 <= early * 12, "heap: {early} after 100 cycles, {cycled:?} at last");
}

#[test]
fn ten_thousand_cycles_around_a_thousand_characters_leave_nothing() {
    let mut dice = Dice(9);
    for sites in [1, 10] {
        check_cycles("pasted", pasted(&letters(1_000, &mut dice)), sites);
    }
    check_cycles("scattered", scattered(&mut dice), 10);
}

/// No character is there any more that was there before: what stays is the size of a text written in small pieces.
#[test]
fn a_text_replaced_word_by_word_takes_what_one_written_in_pieces_takes() {
    let mut dice = Dice(10);
    let written = scattered(&mut dice);
    let bare = |document: &Document| document.snapshot().len() - document.vector().encode().len();
    for sites in [1, 100] {
        let mut replaced = pasted(&letters(1_000, &mut dice));
        cycle(&mut replaced, 10_000, sites, &mut dice, false);
        assert!(replaced.len_utf16() >= 1_000);
        println!("{sites} sites: {:?}, scattered {:?}", sizes(&replaced), sizes(&written));
        assert!(bare(&replaced) * 10 <= bare(&written) * 15, "{} of {}", bare(&replaced), bare(&written));
        assert!(sizes(&replaced)[2] <= sizes(&written)[2]);
    }
}

fn rebases(deltas: &[Delta]) -> usize {
    deltas.iter().flat_map(|delta| &delta.ops).filter(|op| matches!(op, Op::Rebase(_))).count()
}

/// 50 sites write, five at a time and unseen by each other, `depth_limit` levels deep; then the last five delete all there is.
fn check_emptied(depth_limit: usize) -> usize {
    let mut dice = Dice(depth_limit as u64);
    let mut documents: Vec<Checked> = (0..5).map(|_| Checked::over(1_500, Document::new())).collect();
    documents.iter_mut().for_each(|document| document.set_depth_limit(depth_limit));
    let mut made = 0;
    for round in 0..10 {
        let mut written = Vec::new();
        for (number, document) in (1..).zip(&mut documents) {
            document.begin_writing(leased(5 * round + number), 1).unwrap();
            let mut caret = dice.below(document.len_utf16() + 1);
            for nth in 0..20 {
                caret += dice.below(2).min(nth);
                document.replace(caret, 0, "x").unwrap();
            }
            if round == 9 {
                let length = document.len_utf16();
                document.replace(0, length, "").unwrap();
            }
            written.extend(document.seal());
        }
        made += rebases(&written);
        for document in &mut documents {
            written.iter().for_each(|delta| drop(document.apply(delta).unwrap()));
        }
    }
    for document in &documents {
        let (snapshot, stats) = (document.snapshot(), document.stats());
        assert_eq!((stats.scalars, stats.runs, stats.groups, stats.moved_ranges, stats.sites), (0, 0, 0, 0, 50));
        assert_eq!(snapshot.len(), BARE + document.vector().encode().len());
        assert_eq!(snapshot, documents[0].snapshot());
    }
    made
}

#[test]
fn what_fifty_sites_wrote_and_deleted_leaves_their_counters() {
    assert_eq!(check_emptied(REBASE_LEVELS), 0);
    let made = check_emptied(3);
    assert!(made > 20, "{made} rebases");
}

/// Takes a text away but for a character of each 1,000, going through it in the order of `places`, and checks what is left of its memory.
fn check_memory_goes(name: &str, places: &[usize]) {
    const STEP: usize = 1_000;
    let mut document = pasted(&"x".repeat(places.len() * STEP));
    let before = document.stats().heap_bytes;
    let mut taken = vec![false; places.len()];
    for &place in places {
        let at = (0..place).map(|before| if taken[before] { 1 } else { STEP }).sum();
        document.replace(at, STEP - 1, "").unwrap();
        taken[place] = true;
    }
    assert_eq!(document.len_utf16(), places.len());
    let after = document.stats().heap_bytes;
    // A leaf has room for a KiB of text and half a KiB of runs; two beside each other have more than 16 runs together.
    let most = places.len() * 300;
    assert!(after <= most, "{name}: {before} B of heap, then {after}, over {most}");
}

#[test]
fn memory_goes_with_the_text_in_whatever_order() {
    const PLACES: usize = 600;
    let forwards: Vec<usize> = (0..PLACES).collect();
    let backwards: Vec<usize> = (0..PLACES).rev().collect();
    let mut anywhere = forwards.clone();
    let mut dice = Dice(5);
    for left in (1..PLACES).rev() {
        anywhere.swap(left, dice.below(left + 1));
    }
    check_memory_goes("forwards", &forwards);
    check_memory_goes("backwards", &backwards);
    check_memory_goes("anywhere", &anywhere);
}
