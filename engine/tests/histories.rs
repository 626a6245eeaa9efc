//! Random histories of several replicas against the naive model: edits, undo, delivery in any order and number, joined
//! and cut deltas, deltas that are never delivered, snapshots and loads, state merges, and a site that writes whatever
//! the format allows.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod checked;
mod model;

use checked::Checked;
use model::{Dice, Replica, check_equal, undo_and_redo_all};
use selvedge_engine::{
    Bias, Delta, Digit, Direction, Document, DotRange, Element, Op, Path, Piece, Rebase, SiteId, VersionVector,
};

/// In the test command; `SELVEDGE_HISTORIES` asks for another number of them.
const HISTORIES: u64 = 10_000;
const STEPS: usize = 48;

/// How often something happened while a delete waited for its characters.
#[derive(Default, Debug)]
struct WhilePending {
    loads: u64,
    merges_from: u64,
    merges_into: u64,
    /// Histories in whose end the characters still had not come.
    to_the_end: u64,
}

impl WhilePending {
    fn add(&mut self, other: &Self) {
        self.loads += other.loads;
        self.merges_from += other.merges_from;
        self.merges_into += other.merges_into;
        self.to_the_end += other.to_the_end;
    }
}

struct World {
    dice: Dice,
    while_pending: WhilePending,
    replicas: Vec<Replica>,
    /// What was sealed, and whether it is ever delivered.
    sent: Vec<(Delta, bool)>,
    sites: u32,
    wild: Vec<(SiteId, u64)>,
    depth_limit: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let count = 2 + dice.below(3);
        // Most histories are too short to reach the limit of their own accord.
        let depth_limit = if dice.chance(60) { 3 + dice.below(3) } else { 48 };
        let mut world = Self {
            dice,
            while_pending: WhilePending::default(),
            replicas: Vec::new(),
            sent: Vec::new(),
            sites: 0,
            wild: Vec::new(),
            depth_limit,
        };
        for _ in 0..count {
            let site = world.new_site();
            let mut replica = Replica::new(site);
            replica.document.set_depth_limit(world.depth_limit);
            world.replicas.push(replica);
        }
        if world.dice.chance(40) {
            let site = world.new_site();
            world.wild.push((site, 1));
        }
        world
    }

    fn new_site(&mut self) -> SiteId {
        self.sites += 1;
        if self.dice.chance(30) { SiteId::random(self.dice.roll()) } else { SiteId::leased(0, self.sites) }
    }

    fn is_pending(&self, index: usize) -> u64 {
        u64::from(self.replicas[index].document.stats().pending_ranges > 0)
    }

    fn run(mut self) -> WhilePending {
        for _ in 0..STEPS {
            self.step();
        }
        for index in 0..self.replicas.len() {
            self.seal(index);
        }
        check_equal(&self.replicas);
        self.retell();
        self.restamp();
        self.undo_all();
        self.settle();
        check_equal(&self.replicas);
        self.converge();
        self.while_pending.to_the_end += self.is_pending(0);
        self.while_pending
    }

    fn step(&mut self) {
        let index = self.dice.below(self.replicas.len());
        match self.dice.below(100) {
            0..40 => self.edit(index),
            40..46 => self.undo(index),
            46..50 => {
                let (key, value) = (["title", "lang"][self.dice.below(2)], [self.dice.below(9) as u8]);
                let value = if self.dice.chance(80) { Some(&value[..]) } else { None };
                self.replicas[index].document.set_meta(key, value).unwrap();
                self.replicas[index].document.assert_invariants();
            }
            50..60 => self.seal(index),
            60..82 => self.deliver(index),
            82..86 => {
                self.seal(index);
                let site = self.new_site();
                self.while_pending.loads += self.is_pending(index);
                self.replicas[index].reload(site);
                self.replicas[index].document.set_depth_limit(self.depth_limit);
            }
            86..93 => self.merge(index),
            93..96 => self.anchor(index),
            _ => self.write_wildly(),
        }
    }

    fn edit(&mut self, index: usize) {
        let length = self.replicas[index].editor.len();
        let at = self.dice.below(length + 1);
        let delete = if self.dice.chance(45) { self.dice.below((length - at).min(6) + 1) } else { 0 };
        let mut insert: Vec<u16> =
            if self.dice.chance(70) { self.dice.text(5).encode_utf16().collect() } else { Vec::new() };
        if self.dice.chance(5) {
            insert.push(0xd83d);
        }
        if self.dice.chance(30) {
            self.replicas[index].undo.stop_capturing();
        }
        self.replicas[index].edit(at, delete, &insert);
    }

    fn undo(&mut self, index: usize) {
        let redo = self.dice.chance(40);
        let replica = &mut self.replicas[index];
        let patches =
            if redo { replica.undo.redo(&mut replica.document) } else { replica.undo.undo(&mut replica.document) };
        replica.patch(&patches.unwrap());
        replica.check_editor();
    }

    fn seal(&mut self, index: usize) {
        for delta in self.replicas[index].seal() {
            let delivered = !self.dice.chance(4);
            self.sent.push((delta, delivered));
        }
    }

    fn deliver(&mut self, index: usize) {
        if self.sent.is_empty() {
            return;
        }
        let (delta, delivered) = self.dice.pick(&self.sent).clone();
        // One that is lost reached somebody all the same, now and then.
        if !delivered && !self.dice.chance(20) {
            return;
        }
        let delta = self.joined_or_cut(delta);
        if self.replicas[index].document.site() != Some(delta.site) {
            self.replicas[index].apply(&delta);
        }
    }

    fn joined_or_cut(&mut self, delta: Delta) -> Delta {
        let mut delta = delta;
        if self.dice.chance(30) {
            let next = delta.last() + 1;
            let following = self
                .sent
                .iter()
                .find(|(other, delivered)| *delivered && other.site == delta.site && other.first == next);
            if let Some((following, _)) = following {
                delta.ops.extend(following.ops.iter().cloned());
            }
        }
        if self.dice.chance(20) {
            let counter = delta.first + self.dice.below(delta.ops.len() * 2) as u64;
            delta = delta.after(counter.min(delta.last() - 1)).unwrap();
        }
        delta
    }

    fn merge(&mut self, index: usize) {
        let other = self.dice.below(self.replicas.len());
        if other == index {
            return;
        }
        self.seal(index);
        self.seal(other);
        self.while_pending.merges_from += self.is_pending(other);
        self.while_pending.merges_into += self.is_pending(index);
        let from = self.replicas[other].clone();
        let have = self.replicas[index].document.vector().clone();
        let since = match self.dice.below(3) {
            0 => VersionVector::new(),
            1 => have,
            _ => have.iter().map(|(site, counter)| (site, self.dice.below(counter as usize + 1) as u64)).collect(),
        };
        // Nobody else has what this replica's own site wrote last unless it was sealed; it was.
        self.replicas[index].merge(&from, &since);
    }

    fn anchor(&mut self, index: usize) {
        self.seal(index);
        let length = self.replicas[index].document.len_scalars();
        if length == 0 {
            return;
        }
        let at = self.dice.below(length);
        let utf16 = self.replicas[index].document.scalar_to_utf16(at);
        let path = self.replicas[index].path(at).unwrap();
        for (position, bias) in
            [(utf16, Bias::After), (self.replicas[index].document.scalar_to_utf16(at + 1), Bias::Before)]
        {
            let anchor = self.replicas[index].document.anchor_at(position, bias);
            let anchor = selvedge_engine::Anchor::decode(&anchor.encode()).unwrap();
            for replica in &self.replicas {
                if !replica.document.has_unsealed() {
                    replica.check_anchor(&anchor, &path);
                }
            }
        }
    }

    /// A delta no allocation made, but every decoder accepts.
    fn write_wildly(&mut self) {
        if self.wild.is_empty() {
            return;
        }
        let (site, first) = self.wild[0];
        let mut ops = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            let op = match self.dice.below(12) {
                0..6 => Op::Insert {
                    parent: self.wild_path(),
                    digit: self.wild_digit(),
                    direction: if self.dice.chance(50) { Direction::After } else { Direction::Before },
                    text: self.dice.text(4),
                },
                6..9 => {
                    let site = self.some_site();
                    let first = 1 + self.dice.below(30) as u64;
                    Op::Delete { ranges: vec![DotRange { site, first, last: first + self.dice.below(4) as u64 }] }
                }
                9 => Op::Void { length: 1 + self.dice.below(4) as u64 },
                _ => self.wild_rebase(),
            };
            ops.push(op);
        }
        let delta = Delta { site, first, ops };
        self.wild[0].1 = delta.last() + 1;
        assert_eq!(Delta::decode(&delta.encode()).unwrap(), delta);
        self.sent.push((delta, true));
    }

    /// A rebase of anybody's characters, come or not, to anywhere.
    fn wild_rebase(&mut self) -> Op {
        let spacing = 1 + self.dice.below(3) as u64;
        let mut pieces: Vec<Piece> = Vec::new();
        let mut slot = 0;
        for _ in 0..1 + self.dice.below(4) {
            slot += self.dice.below(3) as u64;
            let length = 1 + self.dice.below(3) as i64;
            let low = 1 + self.dice.below(30) as i64;
            let first_k = if self.dice.chance(70) { low } else { -(low + length - 1) };
            let piece = Piece { slot, site: self.some_site(), first_k, length: length as u64 };
            let mine = piece.dots().unwrap();
            let meets = |other: &Piece| {
                let other = other.dots().unwrap();
                other.site == mine.site && other.first <= mine.last && mine.first <= other.last
            };
            if !pieces.iter().any(meets) {
                pieces.push(piece);
                slot += 1;
            }
        }
        let (parent, digit, lamport) = (self.wild_path(), self.wild_digit(), 1 + self.dice.below(4) as u64);
        Op::Rebase(Box::new(Rebase { parent, digit, lamport, spacing, pieces }))
    }

    fn some_site(&mut self) -> SiteId {
        let replica = self.dice.below(self.replicas.len());
        if self.dice.chance(60) { self.replicas[replica].document.site().unwrap() } else { self.wild[0].0 }
    }

    fn wild_digit(&mut self) -> Digit {
        let digit = 1 + self.dice.below(3) as i64;
        Digit::new(if self.dice.chance(50) { digit } else { -digit })
    }

    fn wild_path(&mut self) -> Path {
        // Often below something that exists, or did.
        let replica = self.dice.below(self.replicas.len());
        let length = self.replicas[replica].model.chars.len();
        if length > 0 && self.dice.chance(60) {
            let at = self.dice.below(length);
            return self.replicas[replica].path(at).unwrap();
        }
        let mut path = Path::root();
        for _ in 0..self.dice.below(4) {
            let k = 1 + self.dice.below(12) as i64;
            let k = if self.dice.chance(70) { k } else { -k };
            path.push(Element { digit: self.wild_digit(), site: self.some_site(), k });
        }
        path
    }

    /// Delivers all that is ever delivered.
    fn settle(&mut self) {
        let mut sent = self.sent.clone();
        sent.sort_by_key(|(delta, _)| (delta.site, delta.first));
        for (delta, delivered) in &sent {
            for replica in &mut self.replicas {
                if *delivered && replica.document.site() != Some(delta.site) {
                    replica.apply(delta);
                }
            }
        }
    }

    /// A state told again as deltas does what merging it does, to the base it was told for and to others.
    fn retell(&mut self) {
        let count = self.replicas.len();
        let [teller, base, other] = [0, 1, 2].map(|_| self.dice.below(count));
        let deltas = self.replicas[teller].document.deltas_since(&self.replicas[base].document);
        let load = |index: usize| Checked::of(Document::load(&self.replicas[index].document.snapshot()).unwrap());
        let (mut merged, mut told, mut third, mut knowing) = (load(base), load(base), load(other), load(teller));
        for delta in &deltas {
            let delta = Delta::decode(&delta.encode()).unwrap();
            told.apply(&delta).unwrap();
            knowing.apply(&delta).unwrap();
            let _ = third.apply(&delta);
        }
        merged.apply_state(&knowing.state_diff(&VersionVector::new())).unwrap();
        assert_eq!(knowing.text(), self.replicas[teller].document.text(), "a teller learns nothing of its own deltas");
        assert_eq!(told.snapshot(), merged.snapshot(), "retold");
        if third.vector() == told.vector() {
            assert_eq!(third.snapshot(), told.snapshot(), "retold to a third");
        }
        assert_eq!(knowing.deltas_since(&told), [], "told once");
    }

    /// Never-sent text of another site, restamped, reads as if it had been sent.
    fn restamp(&mut self) {
        let index = self.dice.below(self.replicas.len());
        let mut base = Checked::of(Document::load(&self.replicas[index].document.snapshot()).unwrap());
        let mut outbox = Vec::new();
        for _ in 0..2 {
            // Two loads that wrote offline, the second on top of the first.
            let mut offline = Checked::of(Document::load(&base.snapshot()).unwrap());
            outbox.iter().for_each(|delta| drop(offline.apply(delta).unwrap()));
            offline.begin_writing(SiteId::random(self.dice.roll()), 1).unwrap();
            offline.set_depth_limit(self.depth_limit);
            for _ in 0..self.dice.below(8) {
                self.edit_characters(&mut offline);
                if self.dice.chance(40) {
                    outbox.extend(offline.seal());
                }
            }
            outbox.extend(offline.seal());
        }
        base.begin_writing(self.new_site(), 1).unwrap();
        base.set_depth_limit(self.depth_limit);
        let alone = self.dice.chance(40);
        for _ in 0..if alone { 0 } else { self.dice.below(6) } {
            self.edit_characters(&mut base);
        }
        base.seal();
        let mut applied = base.clone();
        outbox.iter().for_each(|delta| drop(applied.apply(delta).unwrap()));
        let mut reader = Checked::of(Document::load(&base.snapshot()).unwrap());
        let mine = base.site();
        let others_of = |document: &Document| {
            let units = document.text().encode_utf16().collect::<Vec<u16>>();
            (0..units.len()).filter(|at| document.author_at(*at) != mine).map(|at| units[at]).collect()
        };
        let mut editor: Vec<u16> = base.text().encode_utf16().collect();
        for patch in base.restamp(&outbox).unwrap() {
            editor.splice(patch.at..patch.at + patch.delete, patch.insert.encode_utf16());
        }
        if alone || !outbox.iter().flat_map(|delta| &delta.ops).any(|op| matches!(op, Op::Rebase(_))) {
            assert_eq!(base.text(), applied.text(), "restamped");
        } else {
            // A rebase pushes aside what others wrote meanwhile between what it moves. Restamped it is not done again: that stays
            // where it is.
            let sorted = |text: String| text.chars().collect::<std::collections::BinaryHeap<_>>().into_sorted_vec();
            assert_eq!(sorted(base.text()), sorted(applied.text()), "restamped");
            let others: Vec<u16> = others_of(&base);
            let mut before = others_of(&Document::load(&reader.snapshot()).unwrap()).into_iter();
            assert!(others.iter().all(|unit| before.any(|other| other == *unit)), "others' text stays in its order");
        }
        assert_eq!(base.text(), String::from_utf16(&editor).unwrap());
        base.seal().iter().for_each(|delta| drop(reader.apply(delta).unwrap()));
        assert_eq!(reader.snapshot(), base.snapshot());
    }

    fn edit_characters(&mut self, document: &mut Document) {
        let length = document.len_scalars();
        let at = self.dice.below(length + 1);
        let end = at + if self.dice.chance(40) { self.dice.below((length - at).min(6) + 1) } else { 0 };
        let (at, end) = (document.scalar_to_utf16(at), document.scalar_to_utf16(end));
        let insert = if self.dice.chance(70) { self.dice.text(4) } else { String::new() };
        document.replace(at, end - at, &insert).unwrap();
    }

    /// Undo and redo of everything, alone: the texts of the steps come back, backwards and forwards.
    fn undo_all(&mut self) {
        let index = self.dice.below(self.replicas.len());
        let mut document = Checked::of(Document::load(&self.replicas[index].document.snapshot()).unwrap());
        document.begin_writing(self.new_site(), 1).unwrap();
        document.set_depth_limit(self.depth_limit);
        let mut undo = selvedge_engine::undo::UndoStack::new();
        let mut texts = vec![document.text()];
        for _ in 0..self.dice.below(10) {
            let length = document.len_scalars();
            let at = self.dice.below(length + 1);
            let end = at + if self.dice.chance(60) { self.dice.below((length - at).min(9) + 1) } else { 0 };
            let (at, end) = (document.scalar_to_utf16(at), document.scalar_to_utf16(end));
            let insert = self.dice.text(4);
            undo.replace(&mut document, at, end - at, &insert).unwrap();
            if self.dice.chance(70) {
                undo.stop_capturing();
                texts.push(document.text());
            }
        }
        undo.stop_capturing();
        texts.push(document.text());
        undo_and_redo_all(&mut document, &mut undo, texts, "a history");
    }

    /// In the end everyone merges with everyone.
    fn converge(&mut self) {
        for round in 0..2 {
            for to in 0..self.replicas.len() {
                for from in 0..self.replicas.len() {
                    if from != to {
                        let other = self.replicas[from].clone();
                        let since = self.replicas[to].document.vector().clone();
                        let since = if round == 0 { VersionVector::new() } else { since };
                        self.replicas[to].merge(&other, &since);
                    }
                }
            }
        }
        let vector = self.replicas[0].document.vector().clone();
        assert!(self.replicas.iter().all(|replica| *replica.document.vector() == vector), "all know the same");
        check_equal(&self.replicas);
    }
}

fn check(seeds: std::ops::Range<u64>) -> WhilePending {
    let mut sum = WhilePending::default();
    for seed in seeds {
        match std::panic::catch_unwind(|| World::new(seed).run()) {
            Ok(while_pending) => sum.add(&while_pending),
            Err(_) => panic!("history {seed} failed: run it alone with SELVEDGE_HISTORY={seed}"),
        }
    }
    sum
}

#[test]
fn random_histories_agree_with_the_naive_model() {
    if let Ok(seed) = std::env::var("SELVEDGE_HISTORY") {
        let seed = seed.parse().expect("SELVEDGE_HISTORY is a number");
        World::new(seed).run();
        return;
    }
    let histories = std::env::var("SELVEDGE_HISTORIES")
        .map_or(HISTORIES, |count| count.parse().expect("SELVEDGE_HISTORIES is a number"));
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64).min(8);
    let mut sum = WhilePending::default();
    std::thread::scope(|scope| {
        let part = |thread| check(histories * thread / threads..histories * (thread + 1) / threads);
        let parts: Vec<_> = (0..threads).map(|thread| scope.spawn(move || part(thread))).collect();
        parts.into_iter().for_each(|part| sum.add(&part.join().unwrap()));
    });
    println!("{histories} histories: {sum:?}");
    let often = histories / 20;
    assert!(sum.loads > often && sum.merges_from > often && sum.merges_into > often, "{sum:?}");
    assert!(sum.to_the_end > often, "characters that never come: {sum:?}");
}
