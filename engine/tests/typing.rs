//! Typing and taking back go on where the last edit ended without looking anything up. What comes of it must be what the
//! long way gives, byte by byte.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod checked;
mod model;

use checked::Checked;
use model::Dice;
use selvedge_engine::undo::UndoStack;
use selvedge_engine::{ApplyError, Delta, Document, SiteId};

/// One author whose edits take the short way where there is one, the same author by the long way (an edit that can be undone
/// is looked up), two readers, and somebody else who edits meanwhile.
struct World {
    dice: Dice,
    short: Checked,
    long: Checked,
    undo: UndoStack,
    readers: [Checked; 2],
    other: Checked,
    caret: usize,
    /// Whether the caret stays before what is typed.
    backwards: bool,
    /// Whether each edit is sent at once.
    eager: bool,
}

fn document(index: u32) -> Checked {
    let mut document = Checked::of(Document::new());
    document.begin_writing(SiteId::leased(0, index), 1).unwrap();
    document
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed),
            short: document(1),
            long: document(1),
            undo: UndoStack::new(),
            readers: [Checked::of(Document::new()), document(3)],
            other: document(2),
            caret: 0,
            backwards: false,
            eager: seed.is_multiple_of(2),
        }
    }

    fn step(&mut self) {
        let length = self.short.len_utf16();
        match self.dice.below(100) {
            0..55 => {
                let text = if self.dice.chance(90) { self.dice.text(2) } else { self.dice.text(3).repeat(90) };
                self.edit(self.caret.min(length), 0, &text);
            }
            55..80 => {
                let count = self.dice.below(3.min(self.caret.min(length)) + 1);
                self.edit(self.caret.min(length) - count, count, "");
            }
            80..88 => (self.caret, self.backwards) = (self.dice.below(length + 1), self.dice.chance(40)),
            88..94 => self.deliver(),
            94..98 => self.interfere(),
            _ => {
                let at = self.dice.below(length + 1);
                let count = self.dice.below((length - at).min(40) + 1);
                let insert = if self.dice.chance(50) { "new" } else { "" };
                self.edit(at, count, insert);
            }
        }
    }

    fn edit(&mut self, at: usize, delete: usize, insert: &str) {
        let echo = self.short.replace(at, delete, insert).unwrap();
        assert_eq!(self.undo.replace(&mut self.long, at, delete, insert).unwrap(), echo);
        self.caret = if self.backwards { at } else { at + insert.encode_utf16().count() };
        if self.eager {
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        let sealed = self.long.seal();
        for delta in &sealed {
            let mut bytes = Vec::new();
            assert_eq!(self.short.seal_into(&mut bytes), Some(delta.header()));
            assert_eq!(bytes, delta.encode(), "both ways say the same");
            self.damage(&bytes);
            let first = self.readers[0].apply_encoded(&bytes).unwrap();
            assert_eq!(self.readers[1].apply(&Delta::decode(&bytes).unwrap()).unwrap(), first);
            self.other.apply(delta).unwrap();
        }
        assert_eq!(self.short.seal_into(&mut Vec::new()), None);
    }

    /// Bytes that are not what was sent are taken, or refused, by the short way as by the long one.
    fn damage(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        match self.dice.below(8) {
            0 => bytes.truncate(self.dice.below(bytes.len())),
            1 => bytes.push(self.dice.roll() as u8),
            2..5 => {
                let at = self.dice.below(bytes.len());
                bytes[at] ^= 1 << self.dice.below(8);
            }
            _ => return,
        }
        let (mut short, mut long) = (self.readers[0].clone(), self.readers[0].clone());
        let expected = Delta::decode(&bytes).map_err(ApplyError::from).and_then(|delta| long.apply(&delta));
        assert_eq!(short.apply_encoded(&bytes), expected);
        assert_eq!(short.snapshot(), long.snapshot());
    }

    /// Somebody else edits, often right where the author is.
    fn interfere(&mut self) {
        self.deliver();
        let length = self.other.len_utf16();
        let at = if self.dice.chance(60) { self.caret.min(length) } else { self.dice.below(length + 1) };
        let count = self.dice.below((length - at).min(3) + 1);
        let insert = if self.dice.chance(70) { "other" } else { "" };
        self.other.replace(at, count, insert).unwrap();
        for delta in self.other.seal() {
            for document in [&mut self.short, &mut self.long].into_iter().chain(&mut self.readers) {
                document.apply(&delta).unwrap();
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.short.text(), self.long.text());
    }
}

#[test]
fn the_short_way_is_the_long_way() {
    for seed in 0..100 {
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.step();
            world.check();
        }
        world.deliver();
        assert_eq!(world.short.snapshot(), world.long.snapshot(), "seed {seed}");
        for reader in &world.readers {
            assert_eq!(reader.snapshot(), world.short.snapshot(), "seed {seed}");
        }
    }
}

#[test]
fn a_state_becomes_the_document_that_knows_nothing() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        (0..100).for_each(|_| world.step());
        world.deliver();
        let diff = world.short.state_diff(&selvedge_engine::VersionVector::new());
        let mut fresh = document(9);
        let patches = fresh.apply_state(&diff).unwrap();
        assert_eq!(fresh.snapshot(), world.short.snapshot());
        let shown: String = patches.iter().map(|patch| patch.insert.as_str()).collect();
        assert_eq!(shown, world.short.text());
        fresh.replace(0, 0, "on").unwrap();
    }
}

/// A path gives sites numbers, by which a delete behind it calls them.
#[test]
fn a_delete_behind_a_path_that_names_a_site_is_read_as_at_length() {
    let mut other = Document::new();
    other.begin_writing(SiteId::leased(0, 2), 1).unwrap();
    other.replace(0, 0, "warp").unwrap();
    let written = other.seal().remove(0);
    let mut author = Document::new();
    author.begin_writing(SiteId::leased(0, 1), 1).unwrap();
    author.apply(&written).unwrap();
    author.replace(2, 0, "x").unwrap();
    let mut insert = Vec::new();
    author.seal_into(&mut insert).unwrap();
    // Behind the kind, the site and the first counter: how many counters.
    let site_end = |bytes: &[u8]| 2 + bytes[1..].iter().position(|byte| byte & 0x80 == 0).unwrap();
    let counters = site_end(&insert) + 1;
    assert_eq!(insert[counters], 1);
    insert[counters] = 2;
    let (encoded, delete_single) = (written.encode(), 2 | 1 << 3);
    let site = &encoded[1..site_end(&encoded)];
    let known = [&insert[..], &[delete_single, 1, 1, 0]].concat();
    let anew = [&insert[..], &[delete_single, 1], site, &[1, 0]].concat();
    let own = [&insert[..], &[delete_single, 0, 1, 0]].concat();
    for (bytes, text) in [(&known, Some("axrp")), (&anew, None), (&own, Some("warp"))] {
        let (mut short, mut long) = (Document::new(), Document::new());
        for document in [&mut short, &mut long] {
            document.apply(&written).unwrap();
        }
        let expected = Delta::decode(bytes).map_err(ApplyError::from).and_then(|delta| long.apply(&delta));
        assert_eq!(short.apply_encoded(bytes), expected);
        assert_eq!(expected.ok().map(|_| long.text()).as_deref(), text);
        assert_eq!(short.text(), long.text());
    }
}
