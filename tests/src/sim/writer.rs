//! How a person edits: bursts of typing, corrections, selections, pastes, undo; a caret that wanders.
//!
//! A writer decides from dice and the length of the text alone; what it decides is carried out by the world.

use super::dice::Dice;
use super::schedule::{MS, Micros};

/// One thing a person does to the text. Positions are in UTF-16 units, and may fall inside a surrogate pair: editors are
/// not more careful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Replace `delete` units at `at` by `insert`.
    Replace {
        /// Where.
        at: usize,
        /// How much goes.
        delete: usize,
        /// What comes.
        insert: String,
    },
    /// Replace every one of these places, given last first, by one word, in one step.
    ReplaceAll {
        /// Places: position and length, descending.
        places: Vec<(usize, usize)>,
        /// The word.
        insert: String,
    },
    /// Undo the last own step.
    Undo,
    /// Redo it.
    Redo,
    /// End of an undo step.
    Pause,
    /// Write an entry of `meta`.
    Meta {
        /// The key.
        key: String,
        /// The value; `None` removes it.
        value: Option<Vec<u8>>,
    },
    /// Show a cursor.
    Presence(Option<Vec<u8>>),
}

impl Action {
    /// A letter for the trace.
    pub(super) fn letter(&self) -> u8 {
        match self {
            Self::Replace { .. } => b'r',
            Self::ReplaceAll { .. } => b'a',
            Self::Undo => b'u',
            Self::Redo => b'o',
            Self::Pause => b'p',
            Self::Meta { .. } => b'm',
            Self::Presence(_) => b'c',
        }
    }
}

/// What a writer is in the middle of.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Idle,
    Typing(u32),
    Erasing(u32),
    /// Brackets within brackets, each pair one level deeper.
    Nesting(u32),
}

/// One person at one tab.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    dice: Dice,
    mood: Mood,
    /// Where this person's caret is, in UTF-16 units.
    pub(super) caret: usize,
    /// Mean pause between two keys.
    pace: Micros,
    /// Text is kept about this long, in UTF-16 units.
    comfortable: usize,
    /// Never writes.
    reader: bool,
    /// Writes brackets within brackets, mostly: at the middle of the text, where the others who do that are, too.
    nests: bool,
}

impl Writer {
    /// A person of some temperament.
    pub(super) fn new(mut dice: Dice, reader: bool) -> Self {
        let pace = dice.between(60, 400) * MS;
        let comfortable = dice.between(200, 3_000) as usize;
        Self { dice, mood: Mood::Idle, caret: 0, pace, comfortable, reader, nests: false }
    }

    /// One who writes brackets within brackets, and fast.
    pub(super) fn nesting(self) -> Self {
        Self { pace: self.pace / 3, nests: true, ..self }
    }

    /// The next action on a text of `length` UTF-16 units, and the pause after it.
    pub(super) fn next(&mut self, length: usize) -> (Option<Action>, Micros) {
        if self.reader {
            let shown = self.dice.percent(20).then(|| Action::Presence(Some(self.dice.bits().to_le_bytes().to_vec())));
            return (shown, self.dice.spread(2_000 * MS));
        }
        self.caret = self.caret.min(length);
        match self.mood {
            Mood::Typing(rest) => {
                self.mood = if rest > 1 { Mood::Typing(rest - 1) } else { Mood::Idle };
                let insert = self.key().to_owned();
                (Some(self.insert(insert)), self.dice.spread(self.pace))
            }
            Mood::Erasing(rest) => {
                self.mood = if rest > 1 { Mood::Erasing(rest - 1) } else { Mood::Idle };
                let delete = self.caret.min(1);
                self.caret -= delete;
                let erase = Action::Replace { at: self.caret, delete, insert: String::new() };
                ((delete > 0).then_some(erase), self.dice.spread(self.pace))
            }
            Mood::Nesting(rest) => {
                self.mood = if rest > 1 { Mood::Nesting(rest - 1) } else { Mood::Idle };
                let nest = Action::Replace { at: self.caret, delete: 0, insert: "()".to_owned() };
                self.caret += 1;
                (Some(nest), self.dice.spread(self.pace))
            }
            Mood::Idle if self.nests && self.dice.percent(80) => {
                self.mood = Mood::Nesting(self.dice.between(8, 80) as u32);
                self.caret = length / 2;
                (None, self.dice.spread(self.pace * 4))
            }
            Mood::Idle => self.decide(length),
        }
    }

    fn decide(&mut self, length: usize) -> (Option<Action>, Micros) {
        let pause = self.dice.spread(self.pace * 4);
        let crowded = length > self.comfortable;
        let action = match self.dice.below(100) {
            0..=39 => {
                if self.dice.percent(40) {
                    self.wander(length);
                }
                self.mood = Mood::Typing(self.dice.between(1, 24) as u32);
                None
            }
            40..=51 => {
                self.mood = Mood::Erasing(self.dice.between(1, 12) as u32);
                None
            }
            52..=61 => {
                self.wander(length);
                let delete = self.selection(length, if crowded { length } else { 40 });
                let insert = if crowded { String::new() } else { self.words(3) };
                Some(self.replace(delete, insert))
            }
            62..=67 => {
                let words = if self.dice.percent(10) { 400 } else { 30 };
                let insert = self.words(if crowded { 3 } else { words });
                Some(self.insert(insert))
            }
            68..=75 => Some(Action::Undo),
            76..=79 => Some(Action::Redo),
            80..=81 => Some(self.replace_all(length)),
            82..=84 => Some(self.meta()),
            85..=89 => Some(Action::Pause),
            90..=94 => Some(Action::Presence(Some((self.caret as u64).to_le_bytes().to_vec()))),
            _ => {
                return (None, self.dice.spread(3_000 * MS));
            }
        };
        (action, pause)
    }

    /// Moves the caret somewhere: near, to an end, anywhere.
    fn wander(&mut self, length: usize) {
        self.caret = match self.dice.below(8) {
            0 => 0,
            1 => length,
            2..=4 => self.dice.index(length + 1),
            5 | 6 => self.caret.saturating_sub(self.dice.index(6)),
            _ => (self.caret + self.dice.index(6)).min(length),
        };
    }

    fn selection(&mut self, length: usize, most: usize) -> usize {
        let most = most.min(length - self.caret);
        self.dice.index(most + 1)
    }

    fn insert(&mut self, insert: String) -> Action {
        self.replace(0, insert)
    }

    fn replace(&mut self, delete: usize, insert: String) -> Action {
        let at = self.caret;
        // Writers in front of their own text exist too: right to left, or a caret that stays.
        if !self.dice.percent(5) {
            self.caret += insert.encode_utf16().count();
        }
        Action::Replace { at, delete, insert }
    }

    fn replace_all(&mut self, length: usize) -> Action {
        let count = self.dice.between(2, 20) as usize;
        let mut places = Vec::with_capacity(count);
        let mut at = self.dice.index(8);
        while at < length && places.len() < count {
            let delete = self.dice.index(3).min(length - at);
            places.push((at, delete));
            at += delete + 1 + self.dice.index(20);
        }
        places.reverse();
        Action::ReplaceAll { places, insert: self.key().to_owned() }
    }

    fn meta(&mut self) -> Action {
        let key = ["title", "language", "theme"][self.dice.index(3)].to_owned();
        let value = self.dice.percent(85).then(|| self.dice.bits().to_le_bytes()[..4].to_vec());
        Action::Meta { key, value }
    }

    fn key(&mut self) -> &'static str {
        KEYS[if self.dice.percent(85) { self.dice.index(PLAIN_KEYS) } else { self.dice.index(KEYS.len()) }]
    }

    fn words(&mut self, most: u64) -> String {
        (0..self.dice.between(1, most)).map(|_| WORDS[self.dice.index(WORDS.len())]).collect()
    }
}

/// How many of [`KEYS`] are plain letters.
const PLAIN_KEYS: usize = 12;

/// What one key press may bring: a letter, or what one press of a picture keyboard brings.
const KEYS: &[&str] = &[
    "e",
    "t",
    "a",
    "o",
    "i",
    "n",
    "s",
    "h",
    "r",
    " ",
    ".",
    "\n",
    "é",
    "ß",
    "字",
    "😀",
    "👩\u{200d}👩\u{200d}👧",
    "🇪🇺",
    "e\u{301}",
    "𝒳",
];

const WORDS: &[&str] = &[
    "warp ",
    "weft ",
    "loom ",
    "edge ",
    "thread ",
    "woven\n",
    "knot, ",
    "shuttle ",
    "naïve ",
    "織物 ",
    "🧵",
    "selvedge. ",
];
