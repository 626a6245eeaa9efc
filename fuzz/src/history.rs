//! A history of several replicas, read from bytes, each replica against the naive model and an editor of patches.
//!
//! A step is an operation's byte and what it takes: who, where, how much. Bytes that end are zeros, so that every input
//! is a history, and cutting or changing one gives another that is much like it. What a site writes need not be what an
//! allocation would: [`Op`]s of a wild site stand wherever the format allows.

use selvedge_engine::{Anchor, Bias, Delta, Digit, Direction, DotRange, Element, Op, Path, SiteId, VersionVector};

use super::model::{Replica, check_equal};

/// Steps of one history: the model takes time in the square of them.
const STEPS_MAX: usize = 96;
const PIECES: [&str; 14] = ["a", "b", "c", "d", "e", " ", "é", "ß", "水", "😀", "🇨🇭", "👩‍👩‍👧", "\u{301}", "\n"];
/// A site whose deltas no document has written.
const WILD: SiteId = SiteId::leased(1, 1);

/// Runs the history in `bytes`, lets everyone merge with everyone, and checks that all are equal.
pub fn history(bytes: &[u8]) {
    let mut script = Script { bytes };
    let mut world = World { replicas: Vec::new(), sent: Vec::new(), sites: 0, wild: 1 };
    for _ in 0..2 + script.below(3) {
        let site = world.new_site(script.byte());
        world.replicas.push(Replica::new(site));
    }
    for _ in 0..STEPS_MAX {
        if script.bytes.is_empty() {
            break;
        }
        world.step(&mut script);
    }
    world.converge();
}

/// What is still to be read of a history.
struct Script<'a> {
    bytes: &'a [u8],
}

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        byte
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    /// A place in something of this length, whose ends a byte can name: 0 is the end, 255 the beginning.
    fn place(&mut self, length: usize) -> usize {
        match usize::from(self.byte()) {
            0 => length,
            byte => (255 - byte) * (length + 1) / 256,
        }
    }

    /// Few or many bytes of the pieces.
    fn text(&mut self) -> String {
        let count = self.below(6);
        (0..count).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }
}

struct World {
    replicas: Vec<Replica>,
    /// What was sealed: delivered in any order, any number of times, or never.
    sent: Vec<Delta>,
    sites: u32,
    /// The counter that the wild site comes to next.
    wild: u64,
}

impl World {
    fn new_site(&mut self, kind: u8) -> SiteId {
        self.sites += 1;
        if kind % 4 == 3 { SiteId::random(u64::from(self.sites) << 32) } else { SiteId::leased(0, self.sites) }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let code = script.byte();
        let index = script.below(self.replicas.len());
        match code % 16 {
            0..=3 => self.edit(index, script),
            4 => self.undo(index, script.byte()),
            5 => {
                let value = script.byte();
                let key = ["title", "lang"][usize::from(value % 2)];
                let value = [value];
                let value = (value[0] > 50).then_some(&value[..]);
                self.replicas[index].document.set_meta(key, value).unwrap();
            }
            6 | 7 => self.seal(index),
            8..=10 => self.deliver(index, script),
            11 => {
                self.seal(index);
                let site = self.new_site(script.byte());
                self.replicas[index].reload(site);
            }
            12 => {
                let other = script.below(self.replicas.len());
                self.merge(index, other, script);
            }
            13 => self.anchor(index, script),
            14 => self.write_wildly(script),
            _ => {
                // Everything that is sent, in the order it was sealed in.
                self.seal(index);
                for at in 0..self.sent.len() {
                    self.deliver_one(index, &self.sent[at].clone());
                }
            }
        }
    }

    fn edit(&mut self, index: usize, script: &mut Script<'_>) {
        let length = self.replicas[index].editor.len();
        let at = script.place(length);
        let delete = script.below(8).saturating_sub(4).min(length - at);
        let mut insert: Vec<u16> = script.text().encode_utf16().collect();
        match script.below(16) {
            // Half of a character, as an editor may report it.
            15 => insert.push(0xd83d),
            8.. => self.replicas[index].undo.stop_capturing(),
            _ => {}
        }
        self.replicas[index].edit(at, delete, &insert);
    }

    fn undo(&mut self, index: usize, redo: u8) {
        let replica = &mut self.replicas[index];
        let patches = if redo % 3 == 2 {
            replica.undo.redo(&mut replica.document)
        } else {
            replica.undo.undo(&mut replica.document)
        };
        replica.patch(&patches.unwrap());
        replica.check_editor();
    }

    fn seal(&mut self, index: usize) {
        let sealed = self.replicas[index].seal();
        self.sent.extend(sealed);
    }

    /// One that was sealed, or its end, or with the one that follows joined to it.
    fn deliver(&mut self, index: usize, script: &mut Script<'_>) {
        if self.sent.is_empty() {
            return;
        }
        let mut delta = self.sent[script.below(self.sent.len())].clone();
        let how = script.byte();
        if how % 4 == 1 {
            let next = delta.last() + 1;
            let following = self.sent.iter().find(|other| other.site == delta.site && other.first == next);
            delta.ops.extend(following.into_iter().flat_map(|following| following.ops.iter().cloned()));
        }
        if how % 3 == 1 {
            let counter = delta.first + u64::from(how / 16);
            delta = delta.after(counter.min(delta.last() - 1)).unwrap();
        }
        self.deliver_one(index, &delta);
    }

    fn deliver_one(&mut self, index: usize, delta: &Delta) {
        if self.replicas[index].document.site() != Some(delta.site) {
            self.replicas[index].apply(delta);
        }
    }

    fn merge(&mut self, index: usize, other: usize, script: &mut Script<'_>) {
        if other == index {
            return;
        }
        self.seal(index);
        self.seal(other);
        let from = self.replicas[other].clone();
        let have = self.replicas[index].document.vector().clone();
        let since = match script.below(3) {
            0 => VersionVector::new(),
            1 => have,
            _ => have.iter().map(|(site, counter)| (site, script.below(counter as usize + 1) as u64)).collect(),
        };
        self.replicas[index].merge(&from, &since);
    }

    fn anchor(&mut self, index: usize, script: &mut Script<'_>) {
        self.seal(index);
        let length = self.replicas[index].document.len_scalars();
        if length == 0 {
            return;
        }
        let at = script.place(length - 1);
        let path = self.replicas[index].path(at).unwrap();
        let document = &self.replicas[index].document;
        for (scalar, bias) in [(at, Bias::After), (at + 1, Bias::Before)] {
            let anchor = document.anchor_at(document.scalar_to_utf16(scalar), bias);
            let anchor = Anchor::decode(&anchor.encode()).unwrap();
            for replica in self.replicas.iter().filter(|replica| !replica.document.has_unsealed()) {
                replica.check_anchor(&anchor, &path);
            }
        }
    }

    /// A delta no allocation made, but every decoder accepts.
    fn write_wildly(&mut self, script: &mut Script<'_>) {
        let mut ops = Vec::new();
        for _ in 0..1 + script.below(3) {
            let kind = script.byte();
            ops.push(match kind % 8 {
                0..=4 => {
                    let text = script.text() + PIECES[usize::from(kind / 8) % PIECES.len()];
                    let direction = if kind >= 128 { Direction::Before } else { Direction::After };
                    Op::Insert { parent: self.wild_path(script), digit: wild_digit(script), direction, text }
                }
                5 | 6 => {
                    let site = self.some_site(script);
                    let first = 1 + script.below(30) as u64;
                    Op::Delete { ranges: vec![DotRange { site, first, last: first + u64::from(kind / 64) }] }
                }
                _ => Op::Void { length: 1 + u64::from(kind / 64) },
            });
        }
        let delta = Delta { site: WILD, first: self.wild, ops };
        match delta.validate() {
            Ok(()) => assert_eq!(Delta::decode(&delta.encode()).as_ref(), Ok(&delta)),
            // An identifier may be too long by now; then nobody takes it.
            Err(_) => return,
        }
        self.wild = delta.last() + 1;
        self.sent.push(delta);
    }

    fn some_site(&self, script: &mut Script<'_>) -> SiteId {
        let replica = script.below(self.replicas.len() + 1);
        self.replicas.get(replica).and_then(|replica| replica.document.site()).unwrap_or(WILD)
    }

    /// Often below something that exists, or did.
    fn wild_path(&self, script: &mut Script<'_>) -> Path {
        let replica = &self.replicas[script.below(self.replicas.len())];
        let length = replica.model.chars.len();
        let levels = script.below(8);
        if length > 0 && levels >= 4 {
            return replica.path(script.place(length - 1)).unwrap();
        }
        let mut path = Path::root();
        for _ in 0..levels.min(3) {
            let k = script.below(24) as i64 - 12;
            let k = if k >= 0 { k + 1 } else { k };
            path.push(Element { digit: wild_digit(script), site: self.some_site(script), k });
        }
        path
    }

    /// In the end everyone has sealed, and merges with everyone.
    fn converge(&mut self) {
        (0..self.replicas.len()).for_each(|index| self.seal(index));
        check_equal(&self.replicas);
        for round in 0..2 {
            for to in 0..self.replicas.len() {
                for from in (0..self.replicas.len()).filter(|from| *from != to) {
                    let other = self.replicas[from].clone();
                    let have = self.replicas[to].document.vector().clone();
                    let since = if round == 0 { VersionVector::new() } else { have };
                    self.replicas[to].merge(&other, &since);
                }
            }
        }
        let vector = self.replicas[0].document.vector();
        assert!(self.replicas.iter().all(|replica| replica.document.vector() == vector), "all know the same");
        check_equal(&self.replicas);
    }
}

fn wild_digit(script: &mut Script<'_>) -> Digit {
    Digit::new([1, 2, 3, -1, -2, -3][script.below(6)])
}
