//! The living text: runs in identifier order, their characters beside them, in one B-tree.
//!
//! ```text
//! tree    inner nodes: lengths per child (scalars, UTF-16 units, bytes)
//! leaf    up to 32 runs and their text, up to 1 KiB
//! index   dot of a run's lowest counter -> leaf
//! caret   the leaf last edited and where it begins
//! tail    the run last written, where it grows and how far it may go on
//! recent  path -> its group, and the leaf its text went to last
//! ```
//!
//! By position, by identifier and by dot a place is found in O(log n), n = runs (times d, the depth, by identifier);
//! an edit near the last one in O(1) plus the sums above its leaf. Nothing remembers what was removed.

mod around;
mod index;
mod leaf;
mod locate;
mod measure;
mod recent;
mod removal;
mod tail;
mod tree;

pub(crate) use around::{RunAt, Stretch};
pub(crate) use leaf::{LEAF_BYTES_MAX, LEAF_RUNS_MAX, Leaf, LeafIndex, NONE, Run, Spot};
pub(crate) use measure::{Measure, Unit};

use crate::id::{Dot, DotRange};
use crate::position::allocate::Gap;
use crate::position::group::{Atom, GroupIndex, Groups};
use index::DotIndex;
use recent::RecentPlaces;
use tail::Tail;
use tree::Tree;

/// Runs and bytes of the leaves of a text that is loaded: there is room to edit it.
const LEAF_RUNS_FILLED: usize = LEAF_RUNS_MAX * 3 / 4;
const LEAF_BYTES_FILLED: usize = LEAF_BYTES_MAX * 3 / 4;

/// A place between two characters: a leaf and a spot in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) leaf: LeafIndex,
    pub(crate) spot: Spot,
}

/// Characters taken out: where they stood and what they were.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Removed {
    pub(crate) first: Atom,
    pub(crate) range: DotRange,
    pub(crate) measure: Measure,
}

/// The place last edited: its leaf, the lengths before that, and a run of the leaf with the lengths before it there.
#[derive(Clone, Copy, Debug)]
struct Caret {
    leaf: LeafIndex,
    before: Measure,
    run: usize,
    start: Measure,
}

impl Caret {
    /// At the start of a leaf before which there is this much more text.
    fn behind(self, more: Measure, leaf: LeafIndex) -> Self {
        let mut before = self.before;
        before += more;
        Self { leaf, before, run: 0, start: Measure::default() }
    }
}

/// Runs in identifier order with their text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence {
    pub(crate) groups: Groups,
    tree: Tree,
    index: DotIndex,
    recent: RecentPlaces,
    caret: Option<Caret>,
    tail: Option<Tail>,
}

impl Sequence {
    /// Lengths of the whole text.
    pub(crate) const fn measure(&self) -> Measure {
        self.tree.measure()
    }

    /// The living neighbours of a place.
    pub(crate) fn gap(&self, place: Place) -> Gap {
        Gap { left: self.left_of(place), right: self.right_of(place) }
    }

    /// The character before a place.
    pub(crate) fn left_of(&self, place: Place) -> Option<Atom> {
        let leaf = self.tree.leaf(place.leaf);
        let Spot { run, scalars, .. } = place.spot;
        if scalars > 0 {
            Some(leaf.runs[run].atom(scalars - 1))
        } else if run > 0 {
            Some(leaf.runs[run - 1].last())
        } else if leaf.previous == NONE {
            None
        } else {
            self.tree.leaf(leaf.previous).runs.last().map(|run| run.last())
        }
    }

    /// The character after a place.
    pub(crate) fn right_of(&self, place: Place) -> Option<Atom> {
        let leaf = self.tree.leaf(place.leaf);
        match leaf.runs.get(place.spot.run) {
            Some(run) => Some(run.atom(place.spot.scalars)),
            None if leaf.next == NONE => None,
            None => self.tree.leaf(leaf.next).runs.first().map(|run| run.first()),
        }
    }

    /// Puts `text` of these lengths at `place` as the atoms from `first` on, which must sort between the neighbours. Returns the
    /// place after it. O(b / 512 log n), b = bytes of text.
    pub(crate) fn insert(&mut self, place: Place, first: Atom, text: &str, measure: Measure) -> Place {
        self.tail = None;
        let end = if text.len() <= LEAF_BYTES_MAX / 2 {
            let place = self.make_room(place, text.len());
            self.insert_piece(place, first, text, measure)
        } else {
            self.insert_pieces(place, first, text, measure)
        };
        self.remember_tail(first);
        end
    }

    /// [`insert`](Self::insert) of text that takes several leaves: what the place's own cannot take goes to new ones behind it.
    #[inline(never)]
    fn insert_pieces(&mut self, place: Place, first: Atom, text: &str, whole: Measure) -> Place {
        let is_ascii = whole.scalars == whole.bytes;
        let measure_of = |text: &str| if is_ascii { Measure::of_ascii(text.len()) } else { Measure::of(text) };
        let at_end = place.spot.is_start() || place.spot.run == self.tree.leaf(place.leaf).runs.len();
        let most = if at_end { LEAF_BYTES_MAX } else { LEAF_BYTES_MAX / 2 };
        let (piece, mut rest) = text.split_at(floor_char_boundary(text, most));
        let place = self.make_room(place, piece.len());
        let mut place = self.insert_piece(place, first, piece, measure_of(piece));
        if rest.is_empty() {
            return place;
        }
        let mut first = Atom { k: first.k + i64::from(measure_of(piece).scalars), ..first };
        let is_end = place.spot.run == self.tree.leaf(place.leaf).runs.len();
        let behind = (!is_end).then(|| self.split_leaf(place.leaf, place.spot));
        self.tree.reserve(rest.len() / LEAF_BYTES_MAX + 1);
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(floor_char_boundary(rest, LEAF_BYTES_MAX));
            let measure = measure_of(piece);
            let has_room = |leaf: &LeafIndex| {
                let leaf = self.tree.leaf(*leaf);
                leaf.runs.len() < LEAF_RUNS_MAX && leaf.text.len() + piece.len() <= LEAF_BYTES_MAX
            };
            if let Some(leaf) = behind.filter(|_| more.is_empty()).filter(has_room) {
                // What is left goes to what stood behind the place.
                return self.insert_piece(Place { leaf, spot: Spot::default() }, first, piece, measure);
            }
            let run = Run::new(first, measure);
            let leaf = self.tree.insert_after(place.leaf, Leaf::of(&[run], piece, Measure::default()));
            self.tree.grow(leaf, measure);
            self.add_run(run, leaf);
            place = Place { leaf, spot: self.tree.leaf(leaf).end() };
            first.k += i64::from(measure.scalars);
            rest = more;
        }
        (self.caret, self.tail) = (None, None);
        place
    }

    fn insert_piece(&mut self, place: Place, first: Atom, text: &str, measure: Measure) -> Place {
        let Place { leaf: at, spot } = place;
        let Spot { run, scalars, before } = spot;
        self.tree.grow(at, measure);
        let leaf = self.tree.leaf_mut(at);
        let start = leaf.start_of_run_at(spot);
        leaf.text.insert_str(before.bytes as usize, text);
        let mut after = before;
        after += measure;
        let new = Run::new(first, measure);
        if scalars > 0 {
            let whole = leaf.runs[run];
            let mut head = before;
            head -= start;
            let (head, tail) = whole.split(head.into());
            leaf.runs[run] = head;
            leaf.insert_runs(run + 1, [new, tail]);
            self.reindex(whole, &[head, tail], at);
            self.groups.retain(whole.group);
            self.add_run(new, at);
            self.focus_on(at, run + 2, after);
            return Place { leaf: at, spot: Spot { run: run + 2, scalars: 0, before: after } };
        }
        if run > 0 && leaf.runs[run - 1].precedes(first) {
            let whole = leaf.runs[run - 1];
            leaf.runs[run - 1].measure += measure.into();
            let longer = leaf.runs[run - 1];
            self.reindex(whole, &[longer], at);
            self.focus_on(at, run, after);
            return Place { leaf: at, spot: Spot { run, scalars: 0, before: after } };
        }
        if let Some(&whole) = leaf.runs.get(run)
            && new.precedes(whole.first())
        {
            let mut longer = new;
            longer.measure += whole.measure;
            leaf.runs[run] = longer;
            self.reindex(whole, &[longer], at);
            self.focus_on(at, run, before);
            return Place { leaf: at, spot: Spot { run, scalars: measure.scalars, before: after } };
        }
        leaf.runs.insert(run, new);
        self.add_run(new, at);
        self.focus_on(at, run + 1, after);
        Place { leaf: at, spot: Spot { run: run + 1, scalars: 0, before: after } }
    }

    /// Makes sure that two more runs and `bytes` more bytes fit at `place`; returns where the place went. The caret goes with it.
    fn make_room(&mut self, place: Place, bytes: usize) -> Place {
        let leaf = self.tree.leaf(place.leaf);
        let has_room = leaf.runs.len() + 2 <= LEAF_RUNS_MAX && leaf.text.len() + bytes <= LEAF_BYTES_MAX;
        if has_room { place } else { self.divide_at(place, bytes) }
    }

    /// [`make_room`](Self::make_room) in a leaf that has too little.
    #[inline(never)]
    fn divide_at(&mut self, place: Place, bytes: usize) -> Place {
        let leaf = self.tree.leaf(place.leaf);
        let caret = self.caret.filter(|caret| caret.leaf == place.leaf);
        if place.spot.run == leaf.runs.len() {
            // Text that grows at the end of a leaf goes to a new one: what is full stays full.
            let before = leaf.measure;
            let leaf = self.tree.insert_after(place.leaf, Leaf::new());
            self.caret = caret.map(|caret| caret.behind(before, leaf));
            return Place { leaf, spot: Spot::default() };
        }
        let cut = if place.spot.is_start() {
            // Nor is divided what text grows before.
            place.spot
        } else if leaf.runs.len() + 2 > LEAF_RUNS_MAX {
            leaf.start_of(leaf.runs.len() / 2)
        } else {
            leaf.spot(Unit::Bytes, leaf.measure.bytes / 2)
        };
        let right = self.split_leaf(place.leaf, cut);
        self.caret = caret.map(|caret| caret.behind(Measure::default(), place.leaf));
        let moved = if place.spot.before.bytes > cut.before.bytes {
            let mut before = place.spot.before;
            before -= cut.before;
            let scalars = place.spot.scalars - if place.spot.run == cut.run { cut.scalars } else { 0 };
            self.caret = caret.map(|caret| caret.behind(cut.before, right));
            Place { leaf: right, spot: Spot { run: place.spot.run - cut.run, scalars, before } }
        } else if place.spot == cut {
            Place { leaf: place.leaf, spot: self.tree.leaf(place.leaf).end() }
        } else {
            place
        };
        self.make_room(moved, bytes)
    }

    /// Cuts a leaf in two; returns the right part.
    fn split_leaf(&mut self, at: LeafIndex, cut: Spot) -> LeafIndex {
        let leaf = self.tree.leaf_mut(at);
        let mut right = Leaf::new();
        right.runs.reserve_exact(LEAF_RUNS_MAX);
        right.text = leaf.text.split_off(cut.before.bytes as usize);
        right.measure = leaf.measure;
        right.measure -= cut.before;
        leaf.measure = cut.before;
        let mut divided = None;
        if cut.scalars > 0 {
            let whole = leaf.runs[cut.run];
            let mut head = cut.before;
            head -= leaf.start_of(cut.run).before;
            let (head, tail) = whole.split(head.into());
            leaf.runs[cut.run] = head;
            right.runs.push(tail);
            right.runs.extend(leaf.runs.drain(cut.run + 1..));
            divided = Some((whole, head));
        } else {
            right.runs.extend(leaf.runs.drain(cut.run..));
        }
        let index = self.tree.insert_after(at, right);
        if let Some((whole, head)) = divided {
            self.index.remove(self.key(whole));
            self.index.insert(self.key(head), at);
            self.groups.retain(whole.group);
        }
        self.index_runs(index, 0);
        (self.caret, self.tail) = (None, None);
        index
    }

    /// Puts a run into another group of its site where it stands. It must sort there, and not continue its neighbours.
    pub(crate) fn regroup(&mut self, at: RunAt, group: GroupIndex) {
        self.tail = None;
        self.groups.retain(group);
        self.tree.leaf_mut(at.leaf).runs[at.number].group = group;
        self.groups.release(at.run.group);
    }

    /// Takes out at most `most` characters of one run from `place` on.
    #[inline(never)]
    pub(crate) fn remove(&mut self, place: Place, most: Measure) -> Removed {
        let Place { leaf: at, spot } = place;
        self.tail = None;
        let leaf = self.tree.leaf_mut(at);
        let whole = leaf.runs[spot.run];
        let start = leaf.start_of_run_at(spot);
        let bytes = spot.before.bytes as usize;
        leaf.text.drain(bytes..bytes + most.bytes as usize);
        let mut head_measure = spot.before;
        head_measure -= start;
        let (head, rest) = whole.split(head_measure.into());
        let (removed, tail) = rest.split(most.into());
        match (head.measure.scalars() > 0, tail.measure.scalars() > 0) {
            (false, false) => {
                leaf.runs.remove(spot.run);
                self.index.remove(self.key(whole));
            }
            (true, true) => {
                leaf.runs[spot.run] = head;
                leaf.runs.insert(spot.run + 1, tail);
                self.reindex(whole, &[head, tail], at);
                self.groups.retain(whole.group);
            }
            (has_head, _) => {
                let kept = if has_head { head } else { tail };
                leaf.runs[spot.run] = kept;
                self.reindex(whole, &[kept], at);
            }
        }
        self.tree.shrink(at, most);
        let range = self.range(removed);
        if most.scalars == whole.measure.scalars() {
            self.groups.release(whole.group);
        }
        if head.measure.scalars() > 0 {
            self.focus_on(at, spot.run + 1, spot.before);
        } else {
            self.focus_on(at, spot.run, start);
        }
        if most.scalars == whole.measure.scalars() {
            self.close_gap(at, spot.run);
        }
        // Who takes back goes on with what is before.
        self.remember_tail_before();
        self.tidy(at);
        Removed { first: removed.first(), range, measure: most }
    }

    /// Frees an empty leaf, joins a small one with the next or the one before: however text goes, its leaves go with it.
    #[inline(never)]
    fn tidy(&mut self, at: LeafIndex) {
        let leaf = self.tree.leaf(at);
        if leaf.runs.is_empty() && (leaf.previous != NONE || leaf.next != NONE) {
            self.tree.remove(at);
            (self.caret, self.tail) = (None, None);
            return;
        }
        if leaf.runs.len() > LEAF_RUNS_MAX {
            // A removal inside a run of a full leaf leaves one run too many.
            let cut = leaf.start_of(leaf.runs.len() / 2);
            self.split_leaf(at, cut);
            return;
        }
        if let Some((into, from)) = self.tree.small_pair(at) {
            let moved = self.tree.remove(from);
            self.tree.grow(into, moved.measure);
            let leaf = self.tree.leaf_mut(into);
            leaf.text.push_str(&moved.text);
            let kept = leaf.runs.len();
            leaf.runs.extend_from_slice(&moved.runs);
            self.index_runs(into, kept);
            self.join_runs(into, kept);
            self.caret = self.caret.filter(|caret| caret.leaf == into && caret.run < kept);
            self.tail = None;
        }
    }

    /// Makes one run of the two between which one went, if they are one, and puts the caret before it.
    fn close_gap(&mut self, leaf: LeafIndex, at: usize) {
        let before = at.checked_sub(1).map(|left| self.tree.leaf(leaf).runs[left].measure);
        if self.join_runs(leaf, at)
            && let Some((caret, before)) = self.caret.as_mut().zip(before)
        {
            caret.run -= 1;
            caret.start -= before;
        }
    }

    /// Makes one run of the two that meet before run `at`, if they are one. Whether they are.
    fn join_runs(&mut self, leaf: LeafIndex, at: usize) -> bool {
        let runs = &mut self.tree.leaf_mut(leaf).runs;
        if at == 0 || at >= runs.len() || !runs[at - 1].precedes(runs[at].first()) {
            return false;
        }
        let (left, right) = (runs[at - 1], runs.remove(at));
        runs[at - 1].measure += right.measure;
        let joined = runs[at - 1];
        self.index.remove(self.key(left));
        self.index.remove(self.key(right));
        self.index.insert(self.key(joined), leaf);
        self.groups.release(right.group);
        true
    }

    fn add_run(&mut self, run: Run, leaf: LeafIndex) {
        self.groups.retain(run.group);
        if self.index.is_made() {
            self.index.insert(self.key(run), leaf);
        }
    }

    /// Replaces `old`'s entry by those of `new`, where they differ.
    fn reindex(&mut self, old: Run, new: &[Run], leaf: LeafIndex) {
        if !self.index.is_made() {
            return;
        }
        let low = old.low();
        if new.iter().all(|run| run.low() != low) {
            self.index.remove(self.key(old));
        }
        for &run in new.iter().filter(|run| run.low() != low) {
            self.index.insert(self.key(run), leaf);
        }
    }

    fn index_runs(&mut self, leaf: LeafIndex, from: usize) {
        if !self.index.is_made() {
            return;
        }
        for run in &self.tree.leaf(leaf).runs[from..] {
            let key = Dot::new(self.groups.site(run.group), run.low());
            self.index.insert(key, leaf);
        }
    }

    fn key(&self, run: Run) -> Dot {
        Dot::new(self.groups.site(run.group), run.low())
    }

    /// The dots of a run.
    pub(crate) fn range(&self, run: Run) -> DotRange {
        DotRange { site: self.groups.site(run.group), first: run.low(), last: run.high() }
    }

    /// The caret goes to a run of `leaf`, which was changed, if it is in that leaf; else it is lost, since what lies before
    /// its own leaf may have changed.
    fn focus_on(&mut self, leaf: LeafIndex, run: usize, start: Measure) {
        match &mut self.caret {
            Some(caret) if caret.leaf == leaf => (caret.run, caret.start) = (run, start),
            caret => *caret = None,
        }
    }

    /// Makes the index of dots if there is none yet.
    fn make_index(&mut self) {
        if self.index.is_made() {
            return;
        }
        let Self { tree, groups, index, .. } = self;
        let entry = |run: &Run| Dot::new(groups.site(run.group), run.low());
        index.make(tree.leaves().flat_map(|(at, leaf)| leaf.runs.iter().map(move |run| (entry(run), at))));
    }

    /// A sequence of these runs of `text` (first atom, how many characters and bytes) in order, with empty caches: O(n). Groups come
    /// with references from their descendants only.
    pub(crate) fn from_runs(groups: Groups, runs: impl ExactSizeIterator<Item = (Atom, u32, u32)>, text: &str) -> Self {
        let mut groups = groups;
        let mut leaves = Vec::with_capacity(runs.len() / LEAF_RUNS_FILLED + text.len() / LEAF_BYTES_FILLED + 1);
        // What the next leaf gets, and where it begins.
        let mut filled: Vec<Run> = Vec::with_capacity(LEAF_RUNS_FILLED);
        let (mut measure, mut start) = (Measure::default(), 0);
        let mut at = 0;
        for (first, scalars, bytes) in runs {
            let (mut first, end) = (first, at + bytes as usize);
            while at < end {
                if filled.len() >= LEAF_RUNS_FILLED || at - start >= LEAF_BYTES_FILLED {
                    leaves.push(Leaf::of(&filled, &text[start..at], measure));
                    filled.clear();
                    (measure, start) = (Measure::default(), at);
                }
                let room = LEAF_BYTES_FILLED + 4 - (at - start);
                let piece = if scalars == bytes {
                    Measure::of_ascii(room.min(end - at))
                } else {
                    of_beginning(&text[at..end], room)
                };
                filled.push(Run::new(first, piece));
                groups.retain(first.group);
                measure += piece;
                first.k += i64::from(piece.scalars);
                at += piece.bytes as usize;
            }
        }
        if !filled.is_empty() {
            leaves.push(Leaf::of(&filled, &text[start..at], measure));
        }
        leaves.shrink_to_fit();
        Self { groups, tree: Tree::from_leaves(leaves), ..Self::default() }
    }

    /// The runs in text order with their text, joined where a leaf's border divides them.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (Run, &str)> + '_ {
        self.tree.leaves().flat_map(|(_, leaf)| {
            let mut at = 0;
            leaf.runs.iter().map(move |run| {
                let start = at;
                at += run.measure.bytes() as usize;
                (*run, &leaf.text[start..at])
            })
        })
    }

    /// The text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(self.measure().bytes as usize);
        for (_, leaf) in self.tree.leaves() {
            text.push_str(&leaf.text);
        }
        text
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.groups.heap_bytes() + self.tree.heap_bytes() + self.index.heap_bytes() + self.recent.heap_bytes()
    }

    /// Checks order, index, references, sums and caches. O(n d).
    pub(crate) fn assert_invariants(&self) {
        self.tree.assert_invariants();
        let mut references = std::collections::BTreeMap::new();
        let mut indexed = 0;
        let mut previous: Option<Run> = None;
        for (index, leaf) in self.tree.leaves() {
            for run in &leaf.runs {
                *references.entry(run.group).or_default() += 1;
                indexed += 1;
                let dot = self.key(*run);
                let found = self.index.floor(dot.site, dot.counter);
                let right = found == Some((dot.counter, index)) && found == self.index.ceiling(dot.site, dot.counter);
                assert!(!self.index.is_made() || right, "a run is indexed by its lowest dot");
                assert!(run.first_k > 0 || run.last().k < 0, "a run's k have one sign");
                if let Some(previous) = previous {
                    assert!(self.groups.compare(previous.last(), run.first()).is_lt(), "identifiers ascend");
                }
                previous = Some(*run);
            }
        }
        assert!(!self.index.is_made() || indexed == self.index.len(), "the index names runs only");
        self.groups.assert_invariants(&references);
        let mut end = None;
        self.index.assert_invariants();
        self.recent.assert_invariants();
        for (dot, leaf) in self.index.iter() {
            let run =
                self.tree.leaf(leaf).runs.iter().find(|run| self.key(**run) == dot).expect("an indexed run is there");
            assert!(end.is_none_or(|end| end < dot), "no dot stands twice");
            end = Some(Dot::new(dot.site, run.high()));
        }
        if let Some(caret) = self.caret {
            assert_eq!(caret.before, self.tree.before(caret.leaf), "the caret knows where it is");
            assert_eq!(caret.start, self.tree.leaf(caret.leaf).start_of(caret.run).before, "the caret knows its run");
        }
        self.assert_tail();
    }
}

/// The lengths of as many of the first characters as `room` bytes hold.
#[inline(never)]
fn of_beginning(text: &str, room: usize) -> Measure {
    Measure::of(&text[..floor_char_boundary(text, room)])
}

fn floor_char_boundary(text: &str, most: usize) -> usize {
    if most >= text.len() {
        return text.len();
    }
    (0..=most).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}
