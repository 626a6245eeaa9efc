//! Groups: interned paths. All characters that share everything but k belong to one group.
//!
//! ```text
//! Atom { group, k }   one position identifier, 12 bytes however deep
//! Group { parent: Atom, digit, site }   the root is group 0 and stands for the empty path
//! ```
//!
//! A group lives while a run or another group stands on it: reference counts, no cycles, so a text that is deleted
//! takes its identifiers with it. Order of two atoms: lift the deeper one, then both, until they meet: O(d), d = depth;
//! O(1) within a group.

use core::cmp::Ordering;
use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::{Digit, Element, Path, group_bytes, k_bytes};
use crate::id::SiteId;

/// Number of a group in its [`Groups`].
pub(crate) type GroupIndex = u32;

/// The identifiers above and including one, from the root down.
pub(crate) type Chain = SmallVec<[Atom; 16]>;

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

#[derive(Clone, Debug)]
struct Group {
    parent: Atom,
    digit: Digit,
    site: SiteId,
    references: u32,
    depth: u16,
    /// Bytes of a path through this group without its last k.
    bytes: u16,
}

type Key = (Atom, Digit, SiteId);

/// The interned paths of a document.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    groups: Vec<Group>,
    free: Vec<GroupIndex>,
    /// A tree rather than a hash table: keys come from strangers.
    index: BTreeMap<Key, GroupIndex>,
}

impl Default for Groups {
    fn default() -> Self {
        let root =
            Group { parent: Atom::ROOT, digit: Digit::new(0), site: SiteId::new(0), references: 1, depth: 0, bytes: 0 };
        Self { groups: vec![root], free: Vec::new(), index: BTreeMap::new() }
    }
}

impl Groups {
    /// The group of (digit, site, ...) below `parent`, made if it is new. A new group has no reference yet: give it one
    /// or [`collect`](Self::collect) it.
    pub(crate) fn intern(&mut self, parent: Atom, digit: Digit, site: SiteId) -> GroupIndex {
        if let Some(&index) = self.index.get(&(parent, digit, site)) {
            return index;
        }
        let above = &mut self.groups[parent.group as usize];
        above.references += 1;
        let group = Group {
            parent,
            digit,
            site,
            references: 0,
            depth: above.depth + 1,
            bytes: above.bytes + k_bytes_of(parent) + group_bytes(digit) as u16,
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.groups[index as usize] = group;
                index
            }
            None => {
                self.groups.push(group);
                (self.groups.len() - 1) as GroupIndex
            }
        };
        self.index.insert((parent, digit, site), index);
        index
    }

    /// The atom of a path, its groups made where they are new.
    pub(crate) fn intern_path(&mut self, path: &Path) -> Atom {
        let mut atom = Atom::ROOT;
        for element in path.elements() {
            atom = Atom { group: self.intern(atom, element.digit, element.site), k: element.k };
        }
        atom
    }

    /// Counts one more run on a group.
    pub(crate) fn retain(&mut self, group: GroupIndex) {
        self.groups[group as usize].references += 1;
    }

    /// Counts one run less; a group nothing stands on goes, and so on upwards.
    pub(crate) fn release(&mut self, group: GroupIndex) {
        self.groups[group as usize].references -= 1;
        self.collect(group);
    }

    /// Frees a group if nothing stands on it, and so on upwards: amortised O(1), at worst O(d log g).
    pub(crate) fn collect(&mut self, group: GroupIndex) {
        let mut index = group;
        while self.groups[index as usize].references == 0 {
            let Group { parent, digit, site, .. } = self.groups[index as usize];
            self.index.remove(&(parent, digit, site));
            self.free.push(index);
            index = parent.group;
            self.groups[index as usize].references -= 1;
        }
        if self.index.is_empty() {
            self.groups.truncate(1);
            self.free.clear();
        }
    }

    pub(crate) fn site(&self, group: GroupIndex) -> SiteId {
        self.groups[group as usize].site
    }

    pub(crate) fn digit(&self, group: GroupIndex) -> Digit {
        self.groups[group as usize].digit
    }

    pub(crate) fn parent(&self, group: GroupIndex) -> Atom {
        self.groups[group as usize].parent
    }

    /// Levels of the group's identifiers; 0 for the root.
    pub(crate) fn depth(&self, group: GroupIndex) -> usize {
        usize::from(self.groups[group as usize].depth)
    }

    /// Bytes `atom` counts for as a path.
    pub(crate) fn bytes(&self, atom: Atom) -> usize {
        usize::from(self.groups[atom.group as usize].bytes + k_bytes_of(atom))
    }

    /// How many groups there are, the root not counted.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// One past the highest number a group has.
    pub(crate) fn slots(&self) -> usize {
        self.groups.len()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Group>()
            + self.free.capacity() * size_of::<GroupIndex>()
            + self.index.len() * (size_of::<Key>() + size_of::<GroupIndex>()) * 3 / 2
    }

    /// The path of an atom: O(d).
    pub(crate) fn path(&self, atom: Atom) -> Path {
        self.chain(atom)
            .iter()
            .map(|atom| Element { digit: self.digit(atom.group), site: self.site(atom.group), k: atom.k })
            .collect::<Vec<_>>()
            .into()
    }

    /// The identifiers above and including `atom`; none for the root.
    pub(crate) fn chain(&self, atom: Atom) -> Chain {
        let mut chain = Chain::new();
        let mut atom = atom;
        while atom.group != 0 {
            chain.push(atom);
            atom = self.parent(atom.group);
        }
        chain.reverse();
        chain
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
        let (lifted, digit) = self.lift(other, self.depth(first.group));
        if lifted.group != first.group {
            return if self.compare(first, other) == Ordering::Less { length } else { 0 };
        }
        let before = lifted.k - first.k + i64::from(digit > 0);
        before.clamp(0, length as i64) as usize
    }

    /// Checks the counts against `runs` (how many runs stand on each group).
    pub(crate) fn assert_invariants(&self, runs: &BTreeMap<GroupIndex, u32>) {
        let mut references = runs.clone();
        *references.entry(0).or_default() += 1;
        for (&(parent, digit, site), &index) in &self.index {
            let group = &self.groups[index as usize];
            assert_eq!((group.parent, group.digit, group.site), (parent, digit, site), "a group is indexed by its key");
            assert_eq!(usize::from(group.depth), self.depth(parent.group) + 1, "a group is one level below its parent");
            *references.entry(parent.group).or_default() += 1;
        }
        for (&index, &count) in &references {
            assert_eq!(self.groups[index as usize].references, count, "references of group {index}");
        }
        assert_eq!(references.len(), self.index.len() + 1, "no group without a reference");
        assert_eq!(self.groups.len(), self.index.len() + self.free.len() + 1, "no group is lost");
    }
}

fn k_bytes_of(atom: Atom) -> u16 {
    if atom.group == 0 { 0 } else { k_bytes(atom.k) as u16 }
}
