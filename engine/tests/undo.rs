//! Random editing with undo and redo: what comes back stands where it stood.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod checked;
mod model;

use std::collections::HashSet;

use checked::Checked;
use model::{Dice, undo_and_redo_all};
use selvedge_engine::undo::UndoStack;
use selvedge_engine::{Document, SiteId};

fn document() -> Checked {
    let mut document = Checked::of(Document::new());
    document.begin_writing(SiteId::leased(0, 1), 1).unwrap();
    document
}

/// Where an edit begins, how many units it deletes, and how many letters it inserts.
fn edit(dice: &mut Dice, document: &Document) -> (usize, usize, usize) {
    let at = dice.below(document.len_utf16() + 1);
    let delete = if dice.chance(60) { dice.below((document.len_utf16() - at).min(6) + 1) } else { 0 };
    (at, delete, dice.below(6))
}

/// What stood side by side comes back side by side, whatever was written between, removed again and moved meanwhile.
#[test]
fn what_stood_beside_text_that_was_moved_comes_back_there() {
    for seed in 0..4_000 {
        let mut dice = Dice(seed);
        let mut document = document();
        document.set_depth_limit(3);
        let mut undo = UndoStack::new();
        let letters: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
        let mut letters = letters.iter().cycle();
        let mut texts = vec![document.text()];
        for _ in 0..12 {
            let (at, delete, length) = edit(&mut dice, &document);
            let insert: String = letters.by_ref().take(length).collect();
            undo.replace(&mut document, at, delete, &insert).unwrap();
            if dice.chance(50) {
                undo.stop_capturing();
                texts.push(document.text());
            }
        }
        texts.push(document.text());
        undo_and_redo_all(&mut document, &mut undo, texts, seed);
    }
}

/// No two characters that ever stood together change sides, also where edits that are not taken back came between.
#[test]
fn what_stood_together_keeps_its_order() {
    for seed in 0..2_000 {
        let mut dice = Dice(seed);
        let mut document = document();
        let mut undo = UndoStack::new();
        let mut letters = '\u{100}'..='\u{400}';
        let mut before = HashSet::new();
        for _ in 0..25 {
            let (at, delete, length) = edit(&mut dice, &document);
            let insert: String = letters.by_ref().take(length).collect();
            match dice.below(10) {
                0..5 => drop(undo.replace(&mut document, at, delete, &insert).unwrap()),
                5..8 => drop(document.replace(at, delete, &insert).unwrap()),
                8 => drop(undo.undo(&mut document).unwrap()),
                _ => drop(undo.redo(&mut document).unwrap()),
            }
            if dice.chance(50) {
                undo.stop_capturing();
            }
            let text: Vec<char> = document.text().chars().collect();
            for (at, &left) in text.iter().enumerate() {
                for &right in &text[at + 1..] {
                    assert!(!before.contains(&(right, left)), "{seed}: {right} stood before {left} once");
                    before.insert((left, right));
                }
            }
        }
    }
}
