//! Groups: interned paths. All characters that share everything but k belong to one group.
//!
//! ```text
//! Atom { group, k }   one position identifier, 16 bytes however deep
//! PackedGroup   parent: Atom, digit, site; 32 bytes. The root is group 0 and stands for the empty path
//! ```
//!
//! A group lives while a run or another group stands on it: reference counts, no cycles, so a text that is deleted
//! takes its identifiers with it. Order of two atoms: lift the deeper one, then both, until they meet: O(d), d = depth;
//! O(1) within a group.

use core::cmp::Ordering;
use smallvec::SmallVec;

use super::allocate::Gap;
use super::packed_group::PackedGroup;
use super::{Digit, Element, Path, k_bytes};
use crate::id::SiteId;
use crate::sorted_map::SortedMap;

/// Number of a group in its [`Groups`].
pub(crate) type GroupIndex = u32;

/// The identifiers above and including one, from the root down.
pub(crate) type Chain = SmallVec<[Atom; 16]>;

/// Where two identifiers part.
#[derive(Debug)]
pub(crate) struct Fork {
    /// The longest identifier that is a prefix of both.
    pub(crate) parent: Atom,
    /// What each has below that, downwards.
    pub(crate) left: Chain,
    pub(crate) right: Chain,
}

/// [`Fork`] without what is further below.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parting {
    /// The longest identifier that is a prefix of both.
    pub(crate) parent: Atom,
    /// The next one of each below that; `None` where it ends.
    pub(crate) left: Option<Atom>,
    pub(crate) right: Option<Atom>,
}

/// A position identifier: its group and its k.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Atom {
    pub(crate) group: GroupIndex,
    pub(crate) k: i64,
}

impl Atom {
    /// The empty path.
    pub(crate) const ROOT: Self = Self { group: 0, k: 0 };
}

/// What names a group: the identifier it stands on, its digit and its site.
pub(crate) type Key = (Atom, Digit, SiteId);

/// The interned paths of a document.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    groups: Vec<PackedGroup>,
    free: Vec<GroupIndex>,
    /// A tree rather than a hash table: keys come from strangers. Made when a path is first looked up.
    index: Option<SortedMap<Key, GroupIndex>>,
    /// The group of the path last interned: the next one is often the same, or shares most of it.
    recent: GroupIndex,
    /// How many groups were freed so far.
    freed: u64,
}

impl Default for Groups {
    fn default() -> Self {
        Self { groups: vec![PackedGroup::ROOT], free: Vec::new(), index: None, recent: 0, freed: 0 }
    }
}

impl Groups {
    /// The groups of a table in which each comes after its parent and none twice: the n-th, from 0 on, is group n + 1. They have
    /// references from their children only. O(g), g = groups.
    #[inline(never)]
    pub(crate) fn of_table(table: impl ExactSizeIterator<Item = Key>) -> Self {
        let mut groups = Self::default();
        groups.groups.reserve_exact(table.len());
        for (parent, digit, site) in table {
            let above = &mut groups.groups[parent.group as usize];
            above.references += 1;
            let group = PackedGroup::below(above, parent, digit, site);
            groups.groups.push(group);
        }
        groups
    }

    /// The group of (digit, site, ...) below `parent`, made if it is new. A new group has no reference yet: give it one
    /// or [`collect`](Self::collect) it.
    pub(crate) fn intern(&mut self, parent: Atom, digit: Digit, site: SiteId) -> GroupIndex {
        let index = self.index.get_or_insert_with(|| index_of(&self.groups));
        match index.get(&(parent, digit, site)) {
            Some(&group) => group,
            None => self.add(parent, digit, site),
        }
    }

    /// Makes a group that is known to be new. It has no reference yet.
    pub(crate) fn add(&mut self, parent: Atom, digit: Digit, site: SiteId) -> GroupIndex {
        let above = &mut self.groups[parent.group as usize];
        above.references += 1;
        let group = PackedGroup::below(above, parent, digit, site);
        let number = match self.free.pop() {
            Some(number) => {
                self.groups[number as usize] = group;
                number
            }
            None => {
                self.groups.push(group);
                (self.groups.len() - 1) as GroupIndex
            }
        };
        if let Some(index) = &mut self.index {
            index.insert((parent, digit, site), number);
        }
        number
    }

    /// Whether a living group has this name.
    pub(crate) fn is_named(&self, group: GroupIndex, key: Key) -> bool {
        self.groups.get(group as usize).is_some_and(|known| known.references > 0 && known.key() == key)
    }

    /// Whether a group is that of text (`digit`, `site`) on a path: O(d).
    pub(crate) fn is_group(&self, group: GroupIndex, (path, digit, site): (&[Element], Digit, SiteId)) -> bool {
        // What lives stands on what lives.
        let known = self.groups.get(group as usize).filter(|known| known.references > 0);
        known.is_some_and(|known| known.digit() == digit && known.site() == site && self.is_path(known.parent(), path))
    }

    /// The group of a new identifier between two neighbours in the text, made if it is new, and so what it stands on. What it
    /// shares with any identifier in the text it shares with one of these, so nothing is looked up: O(d). Groups that nothing in
    /// the text stands on are not found.
    pub(crate) fn intern_between(&mut self, elements: &[Element], gap: Gap) -> GroupIndex {
        let sides = [gap.left, gap.right].into_iter().flatten();
        let shared = sides.map(|atom| self.shared(atom.group, elements)).max_by_key(|&(_, levels)| levels);
        let (mut atom, levels) = shared.unwrap_or((Atom::ROOT, 0));
        for element in &elements[levels..] {
            atom = Atom { group: self.add(atom, element.digit, element.site), k: element.k };
        }
        atom.group
    }

    /// Remembers a group for [`intern_path`](Self::intern_path) and [`recent_of`](Self::recent_of).
    pub(crate) const fn set_recent(&mut self, group: GroupIndex) {
        self.recent = group;
    }

    /// The atom of a path, its groups made where they are new.
    pub(crate) fn intern_path(&mut self, path: &Path) -> Atom {
        let near = if self.references(self.recent) > 0 { self.recent } else { 0 };
        let (mut atom, known) = self.shared(near, path.elements());
        for element in &path.elements()[known..] {
            atom = Atom { group: self.intern(atom, element.digit, element.site), k: element.k };
        }
        atom
    }

    /// The longest part of a path that is a group's too, and its levels: O(d).
    fn shared(&self, group: GroupIndex, elements: &[Element]) -> (Atom, usize) {
        let mut atom = self.lift(Atom { group, k: 0 }, elements.len()).0;
        let mut shared = (atom, self.depth(atom.group));
        // Upwards: what stands below a difference is not shared, whatever it is.
        for (level, element) in elements[..shared.1].iter().enumerate().rev() {
            let group = &self.groups[atom.group as usize];
            if group.digit() != element.digit || group.site() != element.site {
                shared = (group.parent(), level);
            } else if atom.k != element.k {
                shared = (Atom { k: element.k, ..atom }, level + 1);
            }
            atom = group.parent();
        }
        shared
    }

    /// Whether `atom`'s path is `path`: O(d).
    pub(crate) fn is_path(&self, atom: Atom, path: &[Element]) -> bool {
        let mut atom = atom;
        self.depth(atom.group) == path.len()
            && path.iter().rev().all(|element| {
                let group = &self.groups[atom.group as usize];
                let same = atom.k == element.k && group.digit() == element.digit && group.site() == element.site;
                atom = group.parent();
                same
            })
    }

    /// Order in the text of an atom and a path: O(d).
    pub(crate) fn compare_path(&self, atom: Atom, path: &[Element]) -> Ordering {
        let (mut atom, below) = self.lift(atom, path.len());
        let depth = self.depth(atom.group);
        let mut order = below.cmp(&path.get(depth).map_or(0, |element| element.digit.get()));
        // Upwards: of all differences the highest decides.
        for element in path[..depth].iter().rev() {
            let group = &self.groups[atom.group as usize];
            order = (group.digit(), group.site(), atom.k).cmp(&(element.digit, element.site, element.k)).then(order);
            atom = group.parent();
        }
        order
    }

    /// How many of the `length` consecutive atoms from `first` sort before a path that is none of them, if `first` does: O(d).
    pub(crate) fn count_before_path(&self, first: Atom, length: u32, path: &[Element]) -> u32 {
        let depth = self.depth(first.group);
        let (atom, levels) = self.shared(first.group, path);
        if levels < depth {
            return length;
        }
        let below = path.get(depth).map_or(0, |element| element.digit.get());
        (atom.k - first.k + i64::from(below > 0)).clamp(0, i64::from(length)) as u32
    }

    /// The group of this name, if `group` is it or stands on it: O(levels between).
    pub(crate) fn at_or_above(&self, group: GroupIndex, key: Key) -> Option<GroupIndex> {
        let level = self.depth(key.0.group) + 1;
        let at = self.lift(Atom { group, k: 0 }, level).0.group;
        (self.depth(at) == level && self.groups[at as usize].key() == key).then_some(at)
    }

    /// Whether a group is one of these, or stands on one: the groups of all k of (parent, digit, site). O(d).
    pub(crate) fn stands_on(&self, group: GroupIndex, key: Key) -> bool {
        self.at_or_above(group, key).is_some()
    }

    /// Whether paths were looked up: then a group may be held that nothing in the text stands on.
    pub(crate) const fn is_indexed(&self) -> bool {
        self.index.is_some()
    }

    /// Whether a run or another group stands on a group, or somebody holds it.
    pub(crate) fn is_used(&self, group: GroupIndex) -> bool {
        self.references(group) > 0
    }

    fn references(&self, group: GroupIndex) -> u32 {
        self.groups.get(group as usize).map_or(0, |group| group.references)
    }

    /// Counts one more run on a group.
    pub(crate) fn retain(&mut self, group: GroupIndex) {
        self.groups[group as usize].references += 1;
    }

    /// Counts one run less; a group nothing stands on goes, and so on upwards.
    pub(crate) fn release(&mut self, group: GroupIndex) {
        let references = &mut self.groups[group as usize].references;
        *references -= 1;
        if *references == 0 {
            self.collect(group);
        }
    }

    /// Frees a group if nothing stands on it, and so on upwards: amortised O(1), at worst O(d log g).
    pub(crate) fn collect(&mut self, group: GroupIndex) {
        let mut index = group;
        while self.groups[index as usize].references == 0 {
            let (parent, digit, site) = self.groups[index as usize].key();
            if let Some(groups) = &mut self.index {
                groups.remove(&(parent, digit, site));
            }
            self.free.push(index);
            self.freed += 1;
            index = parent.group;
            self.groups[index as usize].references -= 1;
        }
        if self.len() == 0 {
            self.groups.truncate(1);
            self.free.clear();
        }
    }

    /// How many groups were freed so far: as long as it stays, so does what a number stands for.
    pub(crate) const fn freed(&self) -> u64 {
        self.freed
    }

    /// The group interned last, if it lives and is of `site`.
    pub(crate) fn recent_of(&self, site: SiteId) -> Option<GroupIndex> {
        (self.recent != 0 && self.references(self.recent) > 0 && self.site(self.recent) == site).then_some(self.recent)
    }

    pub(crate) fn site(&self, group: GroupIndex) -> SiteId {
        self.groups[group as usize].site()
    }

    pub(crate) fn digit(&self, group: GroupIndex) -> Digit {
        self.groups[group as usize].digit()
    }

    pub(crate) fn parent(&self, group: GroupIndex) -> Atom {
        self.groups[group as usize].parent()
    }

    /// Levels of the group's identifiers; 0 for the root.
    pub(crate) fn depth(&self, group: GroupIndex) -> usize {
        self.groups[group as usize].depth()
    }

    /// Bytes `atom` counts for as a path.
    pub(crate) fn bytes(&self, atom: Atom) -> usize {
        self.groups[atom.group as usize].bytes() + if atom.group == 0 { 0 } else { k_bytes(atom.k) }
    }

    /// Bytes the longest of the `length` atoms from `first` counts for, and those of all of them.
    pub(crate) fn bytes_of_run(&self, first: Atom, length: u32) -> (usize, usize) {
        let last = Atom { k: first.k + i64::from(length) - 1, ..first };
        let longest = self.bytes(first).max(self.bytes(last));
        let without_k = self.groups[first.group as usize].bytes();
        (longest, without_k * length as usize + k_bytes_sum(first.k, length))
    }

    /// How many groups there are, the root not counted.
    pub(crate) fn len(&self) -> usize {
        self.groups.len() - 1 - self.free.len()
    }

    /// One past the highest number a group has.
    pub(crate) fn slots(&self) -> usize {
        self.groups.len()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<PackedGroup>()
            + self.free.capacity() * size_of::<GroupIndex>()
            + self.index.as_ref().map_or(0, SortedMap::heap_bytes)
    }

    /// The path of an atom: O(d).
    pub(crate) fn path(&self, atom: Atom) -> Path {
        self.elements(atom).as_slice().into()
    }

    /// The elements of an atom's path: O(d).
    pub(crate) fn elements(&self, atom: Atom) -> SmallVec<[Element; 16]> {
        let element = |atom: &Atom| Element { digit: self.digit(atom.group), site: self.site(atom.group), k: atom.k };
        self.chain(atom).iter().map(element).collect()
    }

    /// The identifiers above and including `atom`; none for the root.
    pub(crate) fn chain(&self, atom: Atom) -> Chain {
        let mut chain = Chain::with_capacity(self.depth(atom.group));
        let mut atom = atom;
        while atom.group != 0 {
            chain.push(atom);
            atom = self.parent(atom.group);
        }
        chain.reverse();
        chain
    }

    /// Where two identifiers part: O(levels below that).
    pub(crate) fn fork(&self, left: Atom, right: Atom) -> Fork {
        let (mut above_left, mut above_right) = (Chain::new(), Chain::new());
        let parent = self.climb(left, right, |atom| above_left.push(atom), |atom| above_right.push(atom));
        above_left.reverse();
        above_right.reverse();
        Fork { parent, left: above_left, right: above_right }
    }

    /// Where two identifiers part, and their next levels: O(levels below that).
    pub(crate) fn part(&self, left: Atom, right: Atom) -> Parting {
        let (mut below_left, mut below_right) = (None, None);
        let parent = self.climb(left, right, |atom| below_left = Some(atom), |atom| below_right = Some(atom));
        Parting { parent, left: below_left, right: below_right }
    }

    /// Upwards from two identifiers to where they part, telling what each has below that.
    fn climb(&self, a: Atom, b: Atom, mut of_a: impl FnMut(Atom), mut of_b: impl FnMut(Atom)) -> Atom {
        let (mut a, mut b) = (a, b);
        while a != b {
            let (depth_a, depth_b) = (self.depth(a.group), self.depth(b.group));
            if depth_a >= depth_b {
                of_a(a);
                a = self.parent(a.group);
            }
            if depth_b >= depth_a {
                of_b(b);
                b = self.parent(b.group);
            }
        }
        a
    }

    /// Order in the text.
    pub(crate) fn compare(&self, a: Atom, b: Atom) -> Ordering {
        if a.group == b.group {
            return a.k.cmp(&b.k);
        }
        let (depth_a, depth_b) = (self.depth(a.group), self.depth(b.group));
        let (mut a, below_a) = self.lift(a, depth_b);
        let (mut b, below_b) = self.lift(b, depth_a);
        if a == b {
            // One is the other's prefix: the one that goes on sorts by the sign of its next digit.
            return below_a.cmp(&below_b);
        }
        while a.group != b.group {
            let (parent_a, parent_b) = (self.parent(a.group), self.parent(b.group));
            if parent_a == parent_b {
                let key_a = (self.digit(a.group), self.site(a.group));
                return key_a.cmp(&(self.digit(b.group), self.site(b.group)));
            }
            (a, b) = (parent_a, parent_b);
        }
        a.k.cmp(&b.k)
    }

    /// Order in the text of an atom and the text that a group of this name has or would have; equal if it is of that group or stands
    /// on it. O(levels below where they part).
    pub(crate) fn compare_group(&self, atom: Atom, (parent, digit, site): Key) -> Ordering {
        let depth = self.depth(parent.group);
        let (mut above, mut below) = (atom, None);
        while self.depth(above.group) > depth {
            below = Some(above.group);
            above = self.parent(above.group);
        }
        if above != parent {
            return self.compare(above, parent);
        }
        match below {
            Some(group) => (self.digit(group), self.site(group)).cmp(&(digit, site)),
            None => 0.cmp(&digit.get()),
        }
    }

    /// How many of the `length` consecutive atoms from `first` sort before the text of a group of this name, which has none of them, if
    /// `first` does.
    pub(crate) fn count_before_group(&self, first: Atom, length: u32, (parent, digit, _): Key) -> u32 {
        let depth = self.depth(first.group);
        let (lifted, below) = self.lift(parent, depth);
        if lifted.group != first.group {
            return length;
        }
        let below = if below == 0 { digit.get() } else { below };
        (lifted.k - first.k + i64::from(below > 0)).clamp(0, i64::from(length)) as u32
    }

    /// The prefix of `atom` with `depth` levels, and the digit that follows it in `atom`; `atom` itself and 0 if it is
    /// no deeper.
    fn lift(&self, atom: Atom, depth: usize) -> (Atom, i64) {
        let (mut atom, mut digit) = (atom, 0);
        while self.depth(atom.group) > depth {
            digit = self.digit(atom.group).get();
            atom = self.parent(atom.group);
        }
        (atom, digit)
    }

    /// How many of the `length` consecutive atoms from `first` sort before `other`, which is none of them.
    pub(crate) fn count_before(&self, first: Atom, length: usize, other: Atom) -> usize {
        self.room_before(first, other).clamp(0, length as i64) as usize
    }

    /// How many consecutive atoms from `first` on sort before `other`, were there no end to them.
    pub(crate) fn room_before(&self, first: Atom, other: Atom) -> i64 {
        let (lifted, digit) = self.lift(other, self.depth(first.group));
        if lifted.group != first.group {
            return if self.compare(first, other) == Ordering::Less { i64::MAX } else { 0 };
        }
        lifted.k - first.k + i64::from(digit > 0)
    }

    /// How many consecutive atoms from `last` downwards sort behind `other`, were there no end to them.
    pub(crate) fn room_behind(&self, other: Atom, last: Atom) -> i64 {
        let (lifted, digit) = self.lift(other, self.depth(last.group));
        if lifted.group != last.group {
            return if self.compare(other, last) == Ordering::Less { i64::MAX } else { 0 };
        }
        last.k - lifted.k + i64::from(digit < 0)
    }

    /// Checks the counts against `runs` (how many runs stand on each group).
    pub(crate) fn assert_invariants(&self, runs: &std::collections::BTreeMap<GroupIndex, u32>) {
        let mut references = runs.clone();
        *references.entry(0).or_default() += 1;
        let made = index_of(&self.groups);
        assert!(self.index.as_ref().is_none_or(|index| *index == made), "the index has every group and no other");
        for (&(parent, digit, site), &index) in &made {
            let group = &self.groups[index as usize];
            assert_eq!(group.key(), (parent, digit, site), "a group is indexed by its key");
            assert_eq!(group.depth(), self.depth(parent.group) + 1, "a group is one level below its parent");
            *references.entry(parent.group).or_default() += 1;
        }
        for (&index, &count) in &references {
            assert_eq!(self.groups[index as usize].references, count, "references of group {index}");
        }
        assert_eq!(references.len(), made.len() + 1, "no group without a reference");
        assert_eq!(made.len(), self.len(), "no group is lost, none stands twice");
    }
}

/// The living groups by what names them, the root left out.
fn index_of(groups: &[PackedGroup]) -> SortedMap<Key, GroupIndex> {
    let living = groups.iter().enumerate().skip(1).filter(|(_, group)| group.references > 0);
    living.map(|(number, group)| (group.key(), number as GroupIndex)).collect()
}

/// The bytes of `length` consecutive k from `first`: one each, and one more for every power of 128 that its zigzag reaches.
fn k_bytes_sum(first: i64, length: u32) -> usize {
    let end = first + i64::from(length);
    let longer = (1..8).map(|bytes| {
        let bound = 1_i64 << (7 * bytes - 1);
        (end - first.max(bound)).max(0) + (end.min(-bound) - first).max(0)
    });
    length as usize + longer.sum::<i64>() as usize
}

#[cfg(test)]
mod tests {
    use super::{k_bytes, k_bytes_sum};

    #[test]
    fn the_bytes_of_a_run_are_those_of_its_characters() {
        for first in
            [-1_050_000, -8_300, -8_193, -8_192, -70, -65, -64, -3, 1, 60, 63, 64, 8_190, 8_191, 8_192, 1_048_000]
        {
            for length in [1, 2, 3, 100, 3_000] {
                let each = (first..first + i64::from(length)).map(k_bytes).sum::<usize>();
                assert_eq!(k_bytes_sum(first, length), each, "{first} {length}");
            }
        }
    }
}
