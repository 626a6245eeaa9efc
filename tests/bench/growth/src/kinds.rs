//! Kinds of editing: where the next character goes, and who writes it. The same in every run: drawn from a seed.

/// Sites of the kind in which many write.
const SITES: u64 = 300;
/// The text that two write into in one place.
const BEFORE_GAP: usize = 100;

/// One way of writing a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every character at the end.
    Append,
    /// Every character at the beginning.
    Prepend,
    /// Every character at a random place.
    Anywhere,
    /// Words at random places, typed character by character.
    Words,
    /// Two sites in turn in the middle of a text, each right behind what the other wrote.
    Gap,
    /// Three hundred sites; each types a word at a random place, then another one does.
    Sites,
    /// Every character beside the last one, on a random side: text written against the allocation.
    Nested,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Append, Self::Prepend, Self::Anywhere, Self::Words, Self::Gap, Self::Sites, Self::Nested];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Prepend => "prepend",
            Self::Anywhere => "anywhere",
            Self::Words => "words",
            Self::Gap => "two sites, one gap",
            Self::Sites => "300 sites",
            Self::Nested => "nested",
        }
    }
}

/// One character written.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    pub site: u64,
    pub at: usize,
    pub character: char,
}

/// Who writes by one kind, for ever.
pub struct Hand {
    kind: Kind,
    dice: Dice,
    site: u64,
    caret: usize,
    /// Characters of the word that are not written yet.
    left: usize,
}

impl Hand {
    pub const fn new(kind: Kind) -> Self {
        Self { kind, dice: Dice(1), site: 1, caret: 0, left: 0 }
    }

    /// The next edit of a text of `length` characters.
    pub fn next(&mut self, length: usize) -> Edit {
        let at = match self.kind {
            Kind::Append => length,
            Kind::Prepend => 0,
            Kind::Anywhere => self.dice.below(length + 1),
            Kind::Words => self.word(length),
            Kind::Gap => self.turn(length),
            Kind::Sites => {
                if self.left == 0 {
                    self.site = 1 + self.dice.below(SITES as usize) as u64;
                }
                self.word(length)
            }
            Kind::Nested => (self.caret + self.dice.below(2)).min(length),
        };
        self.caret = at;
        Edit { site: self.site, at, character: char::from(b'a' + self.dice.below(26) as u8) }
    }

    fn word(&mut self, length: usize) -> usize {
        if self.left > 0 {
            self.left -= 1;
            return self.caret + 1;
        }
        self.left = 1 + self.dice.below(8);
        self.dice.below(length + 1)
    }

    /// The first writes a text; then both go on in its middle.
    fn turn(&mut self, length: usize) -> usize {
        if length < BEFORE_GAP {
            return length;
        }
        self.site = 3 - self.site;
        if length == BEFORE_GAP { length / 2 } else { self.caret + 1 }
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((value ^ (value >> 31)) % end as u64) as usize
    }
}
