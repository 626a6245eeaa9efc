//! The naive model: a sorted list of (identifier, character), a set of seen counters, and nothing clever. What the
//! engine does, it must do too.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use selvedge_engine::undo::UndoStack;
use selvedge_engine::{
    Anchor, Bias, Delta, Digit, Direction, Document, Dot, Element, Op, OpenedSnapshot, Outcome, Path, Rebase, SiteId,
    StateDiff, TextPatch, VersionVector,
};

/// SplitMix64: enough randomness for tests, from a seed that a failure prints.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Text of up to `most` pieces, some of them outside the BMP or joined.
    pub fn text(&mut self, most: usize) -> String {
        let pieces = ["a", "b", "c", "d", "e", " ", "é", "ß", "水", "😀", "🇨🇭", "👩‍👩‍👧", "\u{301}", "\n"];
        (0..1 + self.below(most)).map(|_| *self.pick(&pieces)).collect()
    }
}

/// Takes all steps back and does them again, three times: the texts there were after each come back, backwards and forwards.
pub fn undo_and_redo_all(document: &mut Document, undo: &mut UndoStack, texts: Vec<String>, name: impl Display) {
    let mut texts = texts;
    // A step that changed nothing visible may or may not be one.
    texts.dedup();
    for round in 0..3 {
        let mut seen = vec![document.text()];
        while undo.can_undo() {
            undo.undo(document).unwrap();
            document.assert_invariants();
            seen.push(document.text());
        }
        seen.dedup();
        seen.reverse();
        assert_eq!(seen, texts, "undo {round} of {name}");
        let mut seen = vec![document.text()];
        while undo.can_redo() {
            undo.redo(document).unwrap();
            document.assert_invariants();
            seen.push(document.text());
        }
        seen.dedup();
        assert_eq!(seen, texts, "redo {round} of {name}");
    }
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Model {
    pub chars: BTreeMap<Path, char>,
    pub vector: BTreeMap<SiteId, u64>,
    pub pending: BTreeSet<Dot>,
    pub meta: BTreeMap<String, (u64, SiteId, Option<Vec<u8>>)>,
    /// When living characters were moved to where they are; and when and where to those go that have not come.
    pub moved: BTreeMap<Dot, Stamp>,
    pub awaited: BTreeMap<Dot, (Stamp, Path)>,
}

/// Lamport time, site and counter of a rebase.
pub type Stamp = (u64, SiteId, u64);

impl Model {
    pub fn have(&self, site: SiteId) -> u64 {
        self.vector.get(&site).copied().unwrap_or(0)
    }

    pub fn text(&self) -> String {
        self.chars.values().collect()
    }

    fn dot(path: &Path) -> Dot {
        path.last().unwrap().dot()
    }

    fn see(&mut self, site: SiteId, counter: u64) {
        self.vector.insert(site, counter);
        self.pending.remove(&Dot::new(site, counter));
        self.awaited.remove(&Dot::new(site, counter));
    }

    pub fn delete(&mut self, dot: Dot) {
        if dot.counter <= self.have(dot.site) {
            self.chars.retain(|path, _| Self::dot(path) != dot);
            self.moved.remove(&dot);
        } else {
            self.pending.insert(dot);
            self.awaited.remove(&dot);
        }
    }

    /// Where a dot lives.
    pub fn path_of(&self, dot: Dot) -> Option<Path> {
        self.chars.keys().find(|path| Self::dot(path) == dot).cloned()
    }

    fn move_to(&mut self, dot: Dot, stamp: Stamp, path: Path) {
        if dot.counter > self.have(dot.site) {
            let later = self.awaited.get(&dot).is_none_or(|(known, _)| *known < stamp);
            if later && !self.pending.contains(&dot) {
                self.awaited.insert(dot, (stamp, path));
            }
        } else if let Some(old) = self.path_of(dot)
            && self.moved.get(&dot).is_none_or(|known| *known < stamp)
        {
            let character = self.chars.remove(&old).unwrap();
            assert_eq!(self.chars.insert(path, character), None, "identifiers are distinct");
            self.moved.insert(dot, stamp);
        }
    }

    fn rebase(&mut self, rebase: &Rebase, site: SiteId, counter: u64) {
        let mut base = rebase.parent.clone();
        base.push(Element { digit: rebase.digit, site, k: counter as i64 });
        for piece in &rebase.pieces {
            for k in piece.first_k..piece.first_k + piece.length as i64 {
                let digit = Digit::new((rebase.spacing * (piece.slot + 1)) as i64);
                let mut path = base.clone();
                path.push(Element { digit, site: piece.site, k });
                let dot = Dot::new(piece.site, k.unsigned_abs());
                self.move_to(dot, (rebase.lamport, site, counter), path);
            }
        }
    }

    /// Puts a character where it was inserted or moved to.
    fn put(&mut self, path: Path, character: char, stamp: Option<Stamp>) {
        let dot = Self::dot(&path);
        if self.pending.contains(&dot) {
            return;
        }
        let awaited = self.awaited.get(&dot).cloned().map(|(stamp, path)| (Some(stamp), path));
        let (stamp, path) = awaited.filter(|awaited| awaited.0 > stamp).unwrap_or((stamp, path));
        assert_eq!(self.chars.insert(path, character), None, "identifiers are distinct");
        if let Some(stamp) = stamp {
            self.moved.insert(dot, stamp);
        }
    }

    /// Applies what is new; false for a gap.
    pub fn apply(&mut self, delta: &Delta) -> bool {
        self.apply_until(delta, u64::MAX)
    }

    /// Applies what is new of the counters up to `end`; false for a gap.
    pub fn apply_until(&mut self, delta: &Delta, end: u64) -> bool {
        if delta.first > self.have(delta.site) + 1 {
            return false;
        }
        let mut next = delta.first;
        for op in &delta.ops {
            let first = next;
            next += op.counters();
            let last = next - 1;
            if matches!(op, Op::Void { .. }) {
                let have = self.have(delta.site).min(end);
                let voided = |dot: Dot| dot.site == delta.site && (first..=last.min(have)).contains(&dot.counter);
                self.chars.retain(|path, _| !voided(Self::dot(path)));
                self.moved.retain(|dot, _| !voided(*dot));
            }
            for counter in first..=last.min(first + 10_000).min(end) {
                if counter > self.have(delta.site) {
                    self.apply_counter(delta.site, op, first, last, counter);
                }
            }
        }
        true
    }

    fn apply_counter(&mut self, site: SiteId, op: &Op, first: u64, last: u64, counter: u64) {
        match op {
            Op::Insert { parent, digit, direction, text } => {
                let (k, index) = match direction {
                    Direction::After => (counter as i64, counter - first),
                    Direction::Before => (-(counter as i64), last - counter),
                };
                let mut path = parent.clone();
                path.push(Element { digit: *digit, site, k });
                self.put(path, text.chars().nth(index as usize).unwrap(), None);
            }
            Op::Delete { ranges } => {
                for range in ranges {
                    for counter in range.first..=range.last {
                        self.delete(Dot::new(range.site, counter));
                    }
                }
            }
            Op::Meta { key, value, lamport } => self.merge_meta(key, (*lamport, site, value.clone())),
            Op::Rebase(rebase) => self.rebase(rebase, site, counter),
            Op::Void { .. } => {}
        }
        self.see(site, counter);
    }

    fn merge_meta(&mut self, key: &str, entry: (u64, SiteId, Option<Vec<u8>>)) {
        let present = self.meta.entry(key.to_owned()).or_insert_with(|| entry.clone());
        if *present < entry {
            *present = entry;
        }
    }

    pub fn merge(&mut self, other: &Self) {
        let theirs: BTreeSet<Dot> = other.chars.keys().map(Self::dot).collect();
        self.chars.retain(|path, _| {
            let dot = Self::dot(path);
            theirs.contains(&dot) || dot.counter > other.have(dot.site)
        });
        let living: BTreeSet<Dot> = self.chars.keys().map(Self::dot).collect();
        self.moved.retain(|dot, _| living.contains(dot));
        for (path, character) in &other.chars {
            let (dot, stamp) = (Self::dot(path), other.moved.get(&Self::dot(path)).copied());
            if dot.counter > self.have(dot.site) {
                self.put(path.clone(), *character, stamp);
            } else if let Some(stamp) = stamp {
                self.move_to(dot, stamp, path.clone());
            }
        }
        for (&site, &counter) in &other.vector {
            let have = self.vector.entry(site).or_default();
            *have = (*have).max(counter);
        }
        for dot in std::mem::take(&mut self.pending).into_iter().chain(other.pending.iter().copied()) {
            self.delete(dot);
        }
        for (dot, (stamp, path)) in std::mem::take(&mut self.awaited).into_iter().chain(other.awaited.clone()) {
            self.move_to(dot, stamp, path);
        }
        for (key, entry) in &other.meta {
            self.merge_meta(key, entry.clone());
        }
    }

    /// The UTF-16 position of an anchor's path.
    pub fn resolve(&self, path: &Path, bias: Bias) -> usize {
        let path = &self.path_of(Self::dot(path)).unwrap_or_else(|| path.clone());
        let before = self.chars.iter().filter(|(other, _)| *other < path || (bias == Bias::Before && *other == path));
        before.map(|(_, character)| character.len_utf16()).sum()
    }
}

/// A replica three times over: the engine, the model, and an editor that only sees patches.
#[derive(Clone)]
pub struct Replica {
    pub document: Document,
    pub model: Model,
    pub editor: Vec<u16>,
    pub undo: UndoStack,
}

impl Replica {
    pub fn new(site: SiteId) -> Self {
        let mut document = Document::new();
        document.begin_writing(site, 1).unwrap();
        Self { document, model: Model::default(), editor: Vec::new(), undo: Default::default() }
    }

    pub fn patch(&mut self, patches: &[TextPatch]) {
        for patch in patches {
            let units: Vec<u16> = patch.insert.encode_utf16().collect();
            self.editor.splice(patch.at..patch.at + patch.delete, units);
        }
    }

    pub fn edit(&mut self, at: usize, delete: usize, insert: &[u16]) {
        let echo = self.undo.replace_utf16(&mut self.document, at, delete, insert).unwrap();
        self.editor.splice(at..at + delete, insert.iter().copied());
        self.patch(&echo);
        self.check_editor();
    }

    pub fn check_editor(&self) {
        assert_eq!(String::from_utf16(&self.editor).unwrap(), self.document.text(), "the editor shows the document");
        self.document.assert_invariants();
    }

    /// Seals; what was sealed, by way of its bytes, is also what the model learns.
    pub fn seal(&mut self) -> Vec<Delta> {
        let deltas = self.document.clone().seal();
        for delta in &deltas {
            let mut bytes = Vec::new();
            assert_eq!(self.document.seal_into(&mut bytes), Some(delta.header()));
            assert_eq!(bytes, delta.encode());
            assert!(bytes.len() <= selvedge_engine::DELTA_BYTES_MAX);
            let decoded = Delta::decode(&bytes).unwrap();
            assert_eq!(&decoded, delta);
            assert!(self.model.apply(&decoded), "sealed deltas have no gaps");
        }
        assert_eq!(self.document.seal_into(&mut Vec::new()), None);
        self.check_model();
        deltas
    }

    pub fn apply(&mut self, delta: &Delta) -> bool {
        let have = self.model.have(delta.site);
        let before = (delta.first > have + 1).then(|| self.document.clone());
        match self.document.apply_encoded(&delta.encode()) {
            Ok(applied) => {
                assert!(self.model.apply(delta));
                let expected = match (delta.last() <= have, delta.first <= have) {
                    (true, _) => Outcome::Known,
                    (_, true) => Outcome::Partly,
                    _ => Outcome::New,
                };
                assert_eq!(applied.outcome, expected);
                self.patch(&applied.patches);
                self.check_editor();
                true
            }
            Err(selvedge_engine::ApplyError::Gap { .. }) => {
                assert!(!self.model.apply(delta), "the model has no gap");
                let before = before.expect("only what begins beyond is a gap");
                assert_eq!(self.document.vector(), before.vector());
                assert_eq!(self.document.text(), before.text());
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Merges another replica's state, as a diff for vector `since`.
    pub fn merge(&mut self, other: &Self, since: &VersionVector) {
        let diff = other.document.state_diff(since);
        let decoded = StateDiff::decode(&diff.encode()).unwrap();
        assert_eq!(decoded, diff);
        let patches = self.document.apply_state(&decoded).unwrap();
        self.patch(&patches);
        self.model.merge(&other.model);
        self.check_editor();
        self.check_model();
    }

    /// A new load of the same document, writing as `site`.
    pub fn reload(&mut self, site: SiteId) {
        let loaded = Document::load(&self.document.snapshot()).unwrap();
        self.begin_anew(loaded, site);
    }

    /// The same, by way of the text alone.
    pub fn reopen(&mut self, site: SiteId) {
        let opened = OpenedSnapshot::open(&self.document.snapshot()).unwrap();
        assert_eq!(opened.text(), self.model.text(), "what is shown before the runs are read");
        assert_eq!(opened.vector(), self.document.vector());
        let read = opened.into_document().map_err(|(_, error)| error).unwrap();
        self.begin_anew(read, site);
    }

    fn begin_anew(&mut self, loaded: Document, site: SiteId) {
        assert_eq!(loaded.snapshot(), self.document.snapshot());
        self.document = loaded;
        self.document.begin_writing(site, self.document.vector().get(site) + 1).unwrap();
        self.undo.clear();
        self.check_editor();
        self.check_model();
    }

    pub fn check_model(&self) {
        self.document.assert_invariants();
        assert_eq!(self.document.text(), self.model.text(), "the document says what the model says");
        let vector: Vec<_> = self.model.vector.iter().map(|(site, counter)| (*site, *counter)).collect();
        assert_eq!(self.document.vector().iter().collect::<Vec<_>>(), vector);
        let meta: Vec<_> = self
            .model
            .meta
            .iter()
            .filter_map(|(key, entry)| entry.2.as_deref().map(|value| (key.as_str(), value)))
            .collect();
        assert_eq!(self.document.meta().collect::<Vec<_>>(), meta);
        assert_eq!(self.document.stats().pending_ranges > 0, !self.model.pending.is_empty(), "deletes that wait");
    }

    pub fn check_anchor(&self, anchor: &Anchor, path: &Path) {
        assert_eq!(self.document.resolve(anchor), self.model.resolve(path, anchor.bias()), "anchor");
    }

    /// The path of the `index`-th character.
    pub fn path(&self, index: usize) -> Option<Path> {
        self.model.chars.keys().nth(index).cloned()
    }
}

/// Replicas that know the same are the same.
pub fn check_equal(replicas: &[Replica]) {
    for (index, a) in replicas.iter().enumerate() {
        for b in &replicas[index + 1..] {
            if a.document.vector() == b.document.vector() {
                assert_eq!(a.document.text(), b.document.text());
                assert_eq!(a.document.snapshot(), b.document.snapshot(), "equal vectors, equal state");
                assert_eq!(a.model, b.model);
            }
        }
    }
}
