//! A history of several replicas, read from bytes, each replica against the naive model and an editor of patches.
//!
//! A step is an operation's byte and what it takes: who, where, how much. What a site writes need not be what an allocation
//! would: [`Op`]s of a wild site stand wherever the format allows. In most histories edits rebase from a few levels on: few are
//! long enough to come to the limit that documents have of their own accord.

use selvedge_engine::{
    Anchor, ApplyError, Bias, Delta, Digit, Direction, DotRange, Element, Op, Path, Piece, REBASE_LEVELS, Rebase,
    SiteId, VersionVector,
};

use super::model::{Replica, check_equal};
use super::script::{PIECES, Script};

mod aside;

/// Steps of one history: the model takes time in the square of them.
const STEPS_MAX: usize = 192;
/// Up to so many characters brackets are nested, for the same reason.
const NESTED_SCALARS_MAX: usize = 240;
/// Levels from which on edits rebase: that of the engine, or one of these.
const DEPTH_LIMITS: [usize; 4] = [REBASE_LEVELS, 3, 4, 6];
/// A site whose deltas no document has written.
const WILD: SiteId = SiteId::leased(1, 1);

/// How often a history came to something that a corpus must not lose.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Reached {
    /// Rebases that edits made.
    pub rebases: usize,
    /// Rebases of anything to anywhere.
    pub wild_rebases: usize,
    /// Characters that stand in the end where a rebase moved them.
    pub moved: usize,
    /// State diffs merged before the end, and those of a vector that was not reached, which are refused.
    pub state_diffs: usize,
    pub refused_diffs: usize,
    /// Loads of a snapshot, and of one whose text was shown first.
    pub loads: usize,
    pub reopened: usize,
    /// Versions made again of deltas.
    pub versions: usize,
    /// States told again as deltas, and outboxes written again under another site.
    pub retold: usize,
    pub restamped: usize,
}

/// Runs the history in `bytes`, lets everyone merge with everyone, and checks that all are equal.
pub fn history(bytes: &[u8]) {
    run_history(bytes);
}

/// The same, and what it came to.
pub fn run_history(bytes: &[u8]) -> Reached {
    let mut script = Script::new(bytes);
    let head = script.byte();
    let mut world = World {
        replicas: Vec::new(),
        sent: Vec::new(),
        sites: 0,
        wild: 1,
        depth_limit: DEPTH_LIMITS[usize::from(head / 3) % DEPTH_LIMITS.len()],
        reached: Reached::default(),
    };
    for _ in 0..2 + head % 3 {
        let site = world.new_site(script.byte());
        let mut replica = Replica::new(site);
        replica.document.set_depth_limit(world.depth_limit);
        world.replicas.push(replica);
    }
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        world.step(&mut script);
    }
    world.converge();
    world.reached
}

struct World {
    replicas: Vec<Replica>,
    /// What was sealed: delivered in any order, any number of times, or never.
    sent: Vec<Delta>,
    sites: u32,
    /// The counter that the wild site comes to next.
    wild: u64,
    /// Of every replica.
    depth_limit: usize,
    reached: Reached,
}

impl World {
    fn new_site(&mut self, kind: u8) -> SiteId {
        self.sites += 1;
        if kind % 4 == 3 { SiteId::random(u64::from(self.sites) << 32) } else { SiteId::leased(0, self.sites) }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let code = script.byte();
        let index = script.below(self.replicas.len());
        match code % 32 {
            0..=3 | 24.. => self.edit(index, script),
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
            11 | 20 => self.load(index, code % 32 == 20, script.byte()),
            12 => {
                let other = script.below(self.replicas.len());
                self.merge(index, other, script);
            }
            13 => self.anchor(index, script),
            14 | 19 => self.write_wildly(script),
            15 => {
                // Everything that is sent, in the order it was sealed in.
                self.seal(index);
                for at in 0..self.sent.len() {
                    self.deliver_one(index, &self.sent[at].clone());
                }
            }
            16 | 17 => self.nest(index, script),
            18 => self.make_version(index, script),
            21 => self.retell(index, script),
            22 => self.restamp(index, script),
            _ => self.merge_unreached(index, script),
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

    /// Brackets within brackets, each pair between the last two: what makes identifiers deep.
    fn nest(&mut self, index: usize, script: &mut Script<'_>) {
        let replica = &mut self.replicas[index];
        let at = script.place(replica.editor.len());
        let pairs = 1 + script.below(24);
        if replica.document.len_scalars() + 2 * pairs <= NESTED_SCALARS_MAX {
            (0..pairs).for_each(|pair| replica.edit(at + pair, 0, &[0x28, 0x29]));
        }
    }

    /// A new load, by way of a snapshot.
    fn load(&mut self, index: usize, opened: bool, kind: u8) {
        self.seal(index);
        let site = self.new_site(kind);
        let replica = &mut self.replicas[index];
        if opened {
            replica.reopen(site);
            self.reached.reopened += 1;
        } else {
            replica.reload(site);
            self.reached.loads += 1;
        }
        replica.document.set_depth_limit(self.depth_limit);
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
        let ops = sealed.iter().flat_map(|delta| &delta.ops);
        self.reached.rebases += ops.filter(|op| matches!(op, Op::Rebase(_))).count();
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
        self.reached.state_diffs += 1;
    }

    /// A state diff for somebody who has more: it changes nothing, or is one like any other.
    fn merge_unreached(&mut self, index: usize, script: &mut Script<'_>) {
        let other = script.below(self.replicas.len());
        self.seal(index);
        self.seal(other);
        let since = self.replicas[other].document.vector().clone();
        let diff = self.replicas[other].document.state_diff(&since);
        let document = &mut self.replicas[index].document;
        if document.vector().dominates(&since) {
            assert_eq!(document.apply_state(&diff), Ok(Vec::new()), "everything is known");
        } else {
            let before = document.snapshot();
            assert_eq!(document.apply_state(&diff), Err(ApplyError::NotReached));
            assert_eq!(document.snapshot(), before, "refused whole");
            self.reached.refused_diffs += 1;
        }
        self.replicas[index].check_model();
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
            ops.push(match kind % 10 {
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
                7 => Op::Void { length: 1 + u64::from(kind / 64) },
                _ => self.wild_rebase(script),
            });
        }
        let delta = Delta { site: WILD, first: self.wild, ops };
        match delta.validate() {
            Ok(()) => assert_eq!(Delta::decode(&delta.encode()).as_ref(), Ok(&delta)),
            // An identifier may be too long by now, or a rebase name a character twice; then nobody takes it.
            Err(_) => return,
        }
        self.wild = delta.last() + 1;
        self.reached.wild_rebases += delta.ops.iter().filter(|op| matches!(op, Op::Rebase(_))).count();
        self.sent.push(delta);
    }

    /// A rebase of anybody's characters, come or not, to anywhere.
    fn wild_rebase(&self, script: &mut Script<'_>) -> Op {
        let (mut pieces, mut slot) = (Vec::new(), 0);
        for _ in 0..1 + script.below(4) {
            let (site, shape) = (self.some_site(script), script.byte());
            let length = 1 + i64::from(shape % 3);
            let low = 1 + script.below(30) as i64;
            let first_k = if shape < 180 { low } else { -(low + length - 1) };
            slot += u64::from(shape / 3 % 3);
            pieces.push(Piece { slot, site, first_k, length: length as u64 });
            slot += 1;
        }
        let (parent, digit) = (self.wild_path(script), wild_digit(script));
        let (lamport, spacing) = (1 + script.below(4) as u64, 1 + script.below(3) as u64);
        Op::Rebase(Box::new(Rebase { parent, digit, lamport, spacing, pieces }))
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
        self.reached.moved = self.replicas[0].model.moved.len();
    }
}

fn wild_digit(script: &mut Script<'_>) -> Digit {
    Digit::new([1, 2, 3, -1, -2, -3][script.below(6)])
}
