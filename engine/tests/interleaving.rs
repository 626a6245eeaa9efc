//! What one site writes at one place in one sitting stays whole, whatever another writes there at the same time.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod checked;
mod model;

use checked::Checked;
use model::Dice;
use selvedge_engine::{Delta, Document, SiteId};

const MERGES: u64 = 200;

/// How a piece is written: the caret, in characters from the piece's start, per keystroke.
#[derive(Clone, Copy, Debug)]
enum Habit {
    Forward,
    Backward,
    Moving,
    MovingWithBackspaces,
}

/// Writes a piece of letters `letter` at `gap`, key by key.
fn write_piece(document: &mut Checked, gap: usize, letter: &str, habit: Habit, dice: &mut Dice) {
    let mut length = 0;
    for _ in 0..10 + dice.below(30) {
        let backspace = matches!(habit, Habit::MovingWithBackspaces) && length > 1 && dice.chance(25);
        let caret = match habit {
            Habit::Forward => length,
            Habit::Backward => 0,
            Habit::Moving | Habit::MovingWithBackspaces => dice.below(length + 1),
        };
        if backspace {
            document.replace(gap + caret.max(1) - 1, 1, "").unwrap();
            length -= 1;
        } else {
            let text = letter.repeat(1 + dice.below(3));
            document.replace(gap + caret, 0, &text).unwrap();
            length += text.len();
        }
        if dice.chance(20) {
            keep(document);
        }
    }
}

thread_local! {
    static SEALED: std::cell::RefCell<Vec<Delta>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Seals; the deltas are sent later.
fn keep(document: &mut Document) {
    SEALED.with_borrow_mut(|sealed| sealed.extend(document.seal()));
}

fn pieces(text: &str, letters: &str) -> usize {
    let marked: String = text.chars().filter(|letter| "ABC".contains(*letter)).collect();
    let mut pieces = 0;
    let mut inside = false;
    for letter in marked.chars() {
        let member = letters.contains(letter);
        pieces += usize::from(member && !inside);
        inside = member;
    }
    pieces
}

/// A common text, and replicas of it that write as sites drawn at random.
fn replicas(count: usize, dice: &mut Dice) -> Vec<Checked> {
    let mut base = Checked::of(Document::new());
    base.begin_writing(SiteId::leased(0, 1), 1).unwrap();
    for _ in 0..dice.below(8) {
        let at = dice.below(base.len_utf16() + 1);
        base.replace(at, 0, "xyz").unwrap();
    }
    base.seal();
    let snapshot = base.snapshot();
    let load = |dice: &mut Dice| {
        let mut document = Checked::of(Document::load(&snapshot).unwrap());
        document.begin_writing(SiteId::random(dice.roll()), 1).unwrap();
        document
    };
    (0..count).map(|_| load(dice)).collect()
}

fn exchange(documents: &mut [Checked], deltas: &[Delta]) {
    for document in documents.iter_mut() {
        for delta in deltas {
            document.apply(delta).unwrap();
        }
    }
    for document in &documents[1..] {
        assert_eq!(document.text(), documents[0].text());
    }
}

fn check_two_pieces(habit: Habit) {
    for seed in 0..MERGES {
        let mut dice = Dice(seed);
        let mut documents = replicas(2, &mut dice);
        let gap = dice.below(documents[0].len_utf16() + 1);
        for (document, letter) in documents.iter_mut().zip(["A", "B"]) {
            write_piece(document, gap, letter, habit, &mut dice);
            keep(document);
        }
        exchange(&mut documents, &SEALED.take());
        let text = documents[0].text();
        assert_eq!(pieces(&text, "A") + pieces(&text, "B"), 2, "{habit:?}, merge {seed}: {text}");
    }
}

#[test]
fn forward_typing_stays_whole() {
    check_two_pieces(Habit::Forward);
}

#[test]
fn backward_typing_stays_whole() {
    check_two_pieces(Habit::Backward);
}

#[test]
fn typing_with_a_moving_caret_stays_whole() {
    check_two_pieces(Habit::Moving);
}

#[test]
fn typing_with_a_moving_caret_and_backspaces_stays_whole() {
    check_two_pieces(Habit::MovingWithBackspaces);
}

/// A and B write in turn, each seeing the other; C writes at the same gap unseen.
#[test]
fn a_third_author_stands_at_a_seam() {
    for seed in 0..MERGES {
        let mut dice = Dice(seed);
        let mut documents = replicas(3, &mut dice);
        let gap = dice.below(documents[0].len_utf16() + 1);
        let mut length = 0;
        for turn in 0..4 {
            let (writer, reader) = if turn % 2 == 0 { (0, 1) } else { (1, 0) };
            let piece = ["AAAA", "BBBB"][writer];
            for letter in piece.chars() {
                documents[writer].replace(gap + length, 0, &letter.to_string()).unwrap();
                length += 1;
            }
            let deltas = documents[writer].seal();
            for delta in &deltas {
                documents[reader].apply(delta).unwrap();
            }
            SEALED.with_borrow_mut(|sealed| sealed.extend(deltas));
        }
        for index in 0..10 {
            documents[2].replace(gap + index, 0, "C").unwrap();
        }
        keep(&mut documents[2]);
        exchange(&mut documents, &SEALED.take());
        let text = documents[0].text();
        assert!(pieces(&text, "AB") <= 2 && pieces(&text, "C") == 1, "merge {seed}: {text}");
    }
}

#[test]
fn a_hundred_sites_that_append_in_turn_stay_shallow() {
    let mut documents: Vec<_> = (0..100).map(|_| Document::new()).collect();
    for (index, document) in documents.iter_mut().enumerate() {
        document.begin_writing(SiteId::leased(0, index as u32 + 1), 1).unwrap();
    }
    let mut dice = Dice(1);
    for word in 0..1000 {
        let writer = dice.below(documents.len());
        let end = documents[writer].len_utf16();
        documents[writer].replace(end, 0, "word ").unwrap();
        for delta in documents[writer].seal() {
            for (index, document) in documents.iter_mut().enumerate() {
                if index != writer {
                    document.apply(&delta).unwrap();
                }
            }
        }
        // Who wrote, and one of those who read; all of them 200 times.
        [writer, (writer + 1) % 100].into_iter().for_each(|index| documents[index].assert_invariants());
        if word % 5 == 4 {
            documents.iter().for_each(Document::assert_invariants);
        }
    }
    let stats = documents[0].stats();
    assert!(stats.depth_sum / stats.scalars <= 4, "mean depth {}", stats.depth_sum / stats.scalars);
    assert!(stats.depth_max <= 12, "depth {}", stats.depth_max);
}
