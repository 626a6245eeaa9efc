//! Editing made up to ask one thing each: the text cases of crdt-benchmarks (dmonad/crdt-benchmarks: B1.1-B1.7, B2.1-B2.4, B3.5,
//! N = 6,000), and what these leave out: typing and taking back for long, everything in one gap, a word replaced everywhere, large texts.
//! The same in every run: drawn from a seed.

use crate::subjects::{Automerge, Subject};
use crate::trace::{Concurrent, Sequential, Transaction, measure};

/// What crdt-benchmarks calls N.
const N: usize = 6000;
/// How often the last case types and takes back, and in how much living text.
const CYCLES: usize = 10_000;
const CYCLED_TEXT: usize = 1000;
/// In how many words every so manieth is replaced by another one.
const REPLACED_WORDS: (usize, usize) = (20_000, 4);
/// Texts that are pasted whole, in letters, and how many changes are made to each.
const LARGE: [(&str, usize); 2] = [("1 MB text", 1_000_000), ("50 MB text", 50_000_000)];
const LARGE_CHANGES: usize = 1000;
/// From how many letters on a paste takes Automerge more memory than a common machine has: 15 GB for 50 MB.
const AUTOMERGE_LETTERS_MAX: usize = 10_000_000;

/// One change: where, how many characters go, what comes.
type Patch = (usize, usize, String);

/// The cases one person writes.
pub fn sequential() -> Vec<Sequential> {
    let mut dice = Dice(1);
    let random = |dice: &mut Dice, word: bool| {
        let mut length = 0;
        (0..N).map(|_| dice.insert(&mut length, word)).collect::<Vec<_>>()
    };
    let text = dice.text(N);
    let cases = [
        ("B1.1 append characters", (0..N).map(|at| (at, 0, dice.text(1))).collect()),
        ("B1.2 insert a text", vec![(0, 0, text.clone())]),
        ("B1.3 prepend characters", (0..N).map(|_| (0, 0, dice.text(1))).collect()),
        ("B1.4 characters anywhere", random(&mut dice, false)),
        ("B1.5 words anywhere", random(&mut dice, true)),
        ("B1.6 insert and delete", vec![(0, 0, text), (0, N, String::new())]),
        ("B1.7 come and go", dice.come_and_go(0, N)),
        ("cycles", cycles(&mut dice)),
        ("one gap", (0..N).map(|count| (count / 2, 0, dice.text(1))).collect()),
        ("find and replace", replaced(&mut dice)),
    ];
    cases.into_iter().map(|(name, patches)| recorded(name, patches)).collect()
}

/// Names of cases that are made only when they are measured.
pub fn large_names() -> impl Iterator<Item = &'static str> {
    LARGE.into_iter().map(|(name, _)| name)
}

/// Whether the machine can bear an engine in a case.
pub fn is_bearable(name: &str, subject: &str) -> bool {
    let large = |(case, letters)| case == name && letters > AUTOMERGE_LETTERS_MAX;
    subject != Automerge::NAME || !LARGE.into_iter().any(large)
}

/// One of these cases: a text is pasted, and then changed here and there.
pub fn large(name: &str) -> Option<Sequential> {
    let (name, letters) = LARGE.into_iter().find(|(large, _)| *large == name)?;
    let mut dice = Dice(3);
    let mut patches = vec![(0, 0, dice.text(letters))];
    patches.extend(dice.come_and_go(letters, LARGE_CHANGES));
    Some(recorded(name, patches))
}

/// The cases several people write at once, each on a text of one of them.
pub fn concurrent() -> Vec<Concurrent> {
    let mut dice = Dice(2);
    let both = |name, of: &mut dyn FnMut(&mut Dice) -> Vec<Patch>, dice: &mut Dice| {
        let sides = [of(dice), of(dice)];
        forked(name, dice.text(100), sides.into())
    };
    let random = |word: bool| {
        move |dice: &mut Dice| {
            let mut length = 100;
            (0..N).map(|_| dice.insert(&mut length, word)).collect::<Vec<_>>()
        }
    };
    let clients = (N as f64).sqrt() as usize * 20;
    let greetings = (0..clients).map(|_| vec![(0, 0, dice.text(8))]).collect();
    vec![
        both("B2.1 two texts in one place", &mut |dice| vec![(0, 0, dice.text(N))], &mut dice),
        both("B2.2 characters anywhere", &mut random(false), &mut dice),
        both("B2.3 words anywhere", &mut random(true), &mut dice),
        both("B2.4 come and go", &mut |dice| dice.come_and_go(100, N), &mut dice),
        forked("B3.5 hundreds write at once", dice.text(1), greetings),
    ]
}

/// A person types a letter in the middle of a text and takes it back, again and again.
fn cycles(dice: &mut Dice) -> Vec<Patch> {
    let mut patches = vec![(0, 0, dice.text(CYCLED_TEXT))];
    for _ in 0..CYCLES {
        let at = dice.below(CYCLED_TEXT);
        patches.push((at, 0, dice.text(1)));
        patches.push((at, 1, String::new()));
    }
    patches
}

/// A text of words, and then some of them replaced, one after the other.
fn replaced(dice: &mut Dice) -> Vec<Patch> {
    let (count, every) = REPLACED_WORDS;
    let words: Vec<String> = (0..count).map(|_| dice.word() + " ").collect();
    let mut patches = vec![(0, 0, words.concat())];
    let mut at = 0;
    for (number, old) in words.iter().enumerate() {
        if number % every == 0 {
            let new = dice.word();
            patches.push((at, old.len() - 1, new.clone()));
            at += new.len() + 1;
        } else {
            at += old.len();
        }
    }
    patches
}

/// A recording of these patches; what they end in is found by a plain string.
fn recorded(name: &str, patches: Vec<Patch>) -> Sequential {
    let mut end = String::new();
    for (at, delete, insert) in &patches {
        end.replace_range(*at..at + delete, insert);
    }
    measure(name.to_owned(), patches, end).expect("a rope ends as a string does")
}

/// Everybody goes on from `base` without hearing of the others.
fn forked(name: &str, base: String, sides: Vec<Vec<Patch>>) -> Concurrent {
    let mut transactions = vec![Transaction { parents: Vec::new(), author: 0, patches: vec![(0, 0, base)] }];
    let authors = sides.len();
    for (author, patches) in sides.into_iter().enumerate() {
        let mut parent = 0;
        for patch in patches {
            transactions.push(Transaction { parents: vec![parent], author, patches: vec![patch] });
            parent = transactions.len() - 1;
        }
    }
    Concurrent { name: name.to_owned(), authors, transactions, end: None }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    fn text(&mut self, letters: usize) -> String {
        (0..letters).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }

    fn word(&mut self) -> String {
        let letters = 2 + self.below(8);
        self.text(letters)
    }

    /// A letter or a word put anywhere in a text of `length`.
    fn insert(&mut self, length: &mut usize, word: bool) -> Patch {
        let at = self.below(*length + 1);
        let text = if word { self.word() } else { self.text(1) };
        *length += text.len();
        (at, 0, text)
    }

    /// `count` words put anywhere, or up to nine letters taken from there.
    fn come_and_go(&mut self, length: usize, count: usize) -> Vec<Patch> {
        let mut length = length;
        let mut next = |dice: &mut Self| {
            if length == 0 || dice.below(2) == 0 {
                return dice.insert(&mut length, true);
            }
            let at = dice.below(length);
            let delete = (1 + dice.below(9)).min(length - at);
            length -= delete;
            (at, delete, String::new())
        };
        (0..count).map(|_| next(self)).collect()
    }
}
