//! Recent places: the group that a path names, and the leaf where text of it went last.
//!
//! A table with two slots for each hash, of which the newcomer takes that of the older one. Keys come from strangers, who can make all
//! of theirs fall on one hash: then each is looked up in the tree, as if there were no table. Made when text of others first comes.

use super::{LeafIndex, NONE, Place, Run, Sequence};
use crate::hash::mix;
use crate::id::SiteId;
use crate::position::group::{Atom, GroupIndex, Groups, Key};
use crate::position::{Digit, Element};

/// Slots of a hash.
const WAYS: usize = 2;
/// Hashes per group at least. Three groups on one keep looking each other up.
const HASHES_PER_GROUP: usize = 1;
/// At most; of a table that was made for more most is given back.
const HASHES_PER_GROUP_MAX: usize = 32;
/// Leaves in which a place is looked for one after the other: text that goes between divides what was one leaf's.
const LEAVES_TRIED: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// 0, the root, while it is free: nothing stands there. Its number may have gone to another group since.
    group: GroupIndex,
    leaf: LeafIndex,
}

impl Slot {
    const FREE: Self = Self { group: 0, leaf: 0 };
}

/// Groups by what names them, the lately used ones.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentPlaces {
    /// Per hash, of which there are as many as a power of two, or none, the newest slot first.
    slots: Vec<[Slot; WAYS]>,
}

impl RecentPlaces {
    /// What may be known of text (`digit`, `site`) on a path that ends with k = `above`.
    fn candidates(&self, above: i64, digit: Digit, site: SiteId) -> [Slot; WAYS] {
        self.slots.get(self.hash(above, digit, site)).copied().unwrap_or([Slot::FREE; WAYS])
    }

    /// The leaf where text of a living group went last, if that is remembered. It may have other text, or none, by now.
    fn leaf(&self, groups: &Groups, group: GroupIndex) -> Option<LeafIndex> {
        let slots = self.slots.get(self.hash_of(groups, group))?;
        slots.iter().find(|slot| slot.group == group).map(|slot| slot.leaf)
    }

    /// Text of a group went to a leaf.
    pub(super) fn remember(&mut self, groups: &Groups, group: GroupIndex, leaf: LeafIndex) {
        let fitting = groups.slots() * HASHES_PER_GROUP..=groups.slots() * HASHES_PER_GROUP_MAX;
        if !fitting.contains(&self.slots.len()) {
            self.resize(groups);
        }
        let hash = self.hash_of(groups, group);
        self.put(hash, Slot { group, leaf });
    }

    fn put(&mut self, hash: usize, slot: Slot) {
        let [newest, older] = &mut self.slots[hash];
        if newest.group != slot.group {
            *older = *newest;
        }
        *newest = slot;
    }

    fn resize(&mut self, groups: &Groups) {
        let length = (groups.slots() * HASHES_PER_GROUP * 2).next_power_of_two();
        let before = core::mem::replace(&mut self.slots, vec![[Slot::FREE; WAYS]; length]);
        // The newest comes last.
        let known = before.into_iter().flat_map(|slots| slots.into_iter().rev());
        for slot in known.filter(|slot| slot.group != 0 && groups.is_used(slot.group)) {
            self.put(self.hash_of(groups, slot.group), slot);
        }
    }

    fn hash_of(&self, groups: &Groups, group: GroupIndex) -> usize {
        self.hash(groups.parent(group).k, groups.digit(group), groups.site(group))
    }

    fn hash(&self, above: i64, digit: Digit, site: SiteId) -> usize {
        let hash = mix(above as u64 ^ mix(digit.get() as u64 ^ site.get()));
        hash as usize & self.slots.len().wrapping_sub(1)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<[Slot; WAYS]>()
    }

    /// Checks that there are slots for every hash: what is in them is only a guess.
    pub(super) fn assert_invariants(&self) {
        assert!(self.slots.is_empty() || self.slots.len().is_power_of_two(), "every hash has slots");
    }
}

/// Where a leaf says that a place is.
enum Found {
    Here(Place),
    /// In a leaf before it, or behind.
    Before,
    Behind,
}

impl Sequence {
    /// The group of a new character by its path, made if it is new: then with the place where its text belongs, whole. O(d) if text of
    /// the group came lately or the place is near what came lately, O(d log n) else. Every group must have text or be stood on by one
    /// that has.
    #[cfg_attr(target_family = "wasm", inline(never))]
    pub(crate) fn open_group(&mut self, path: &[Element]) -> (GroupIndex, Option<Place>) {
        let (group, place) = self.known_or_new_group(path);
        self.groups.set_recent(group);
        (group, place)
    }

    fn known_or_new_group(&mut self, path: &[Element]) -> (GroupIndex, Option<Place>) {
        let Some((&Element { digit, site, .. }, above)) = path.split_last() else { return (0, None) };
        let Some((parent, leaf)) = self.known_atom(above) else {
            if let Some(known) = self.known_group(path) {
                return (known.group, None);
            }
            let place = self.place_of_path(path);
            let group = self.groups.intern_between(path, self.gap(place));
            return (group, (!self.groups.is_used(group)).then_some(place));
        };
        let key = (parent, digit, site);
        let known = self.recent.candidates(parent.k, digit, site);
        if let Some(known) = known.iter().find(|slot| self.groups.is_named(slot.group, key)) {
            return (known.group, None);
        }
        let place = leaf.and_then(|leaf| self.place_near(leaf, key)).unwrap_or_else(|| self.place_of_group(key));
        // Whatever text it has, or has below it, would be right behind.
        let behind = self.right_of(place).and_then(|right| self.groups.at_or_above(right.group, key));
        match behind {
            Some(known) => (known, None),
            None => (self.groups.add(parent, digit, site), Some(place)),
        }
    }

    /// The atom of a path if text of its group came lately, and the leaf where that went; of the root no leaf is known.
    fn known_atom(&self, path: &[Element]) -> Option<(Atom, Option<LeafIndex>)> {
        let Some(last) = path.last() else { return Some((Atom::ROOT, None)) };
        self.known_group(path).map(|Slot { group, leaf }| (Atom { group, k: last.k }, Some(leaf)))
    }

    /// The group of a path if text of it came lately, and the leaf where that went.
    fn known_group(&self, path: &[Element]) -> Option<Slot> {
        let (&Element { digit, site, .. }, above) = path.split_last()?;
        let known = self.recent.candidates(above.last().map_or(0, |above| above.k), digit, site);
        known.into_iter().find(|slot| slot.group != 0 && self.groups.is_group(slot.group, (above, digit, site)))
    }

    /// Where text of a new group begins, looked for from a leaf on where text of what it stands on is: O(r), r = runs of a leaf.
    fn place_near(&self, leaf: LeafIndex, key: Key) -> Option<Place> {
        let (parent, digit, _) = key;
        let bound = Atom { k: parent.k + i64::from(digit.get() > 0), ..parent };
        let less = |run: &Run| self.groups.compare_group(run.first(), key).is_lt();
        let inside = |run: Run| self.groups.count_before_group(run.first(), run.measure.scalars(), key);
        self.place_beside(leaf, bound, less, inside)
    }

    /// Where `atom`, which is not in the text, belongs, if that is near the leaf where text of its group went last: O(r), r = runs of a
    /// leaf.
    pub(crate) fn place_of_recent(&self, atom: Atom) -> Option<Place> {
        let leaf = self.recent.leaf(&self.groups, atom.group)?;
        let less = |run: &Run| self.groups.compare(run.first(), atom).is_lt();
        let inside = |run: Run| self.groups.count_before(run.first(), run.measure.scalars() as usize, atom) as u32;
        self.place_beside(leaf, atom, less, inside)
    }

    /// The place behind all runs that are `less` and behind the characters `inside` the last of these, if that is in a leaf or near it.
    /// Runs of the group of `bound` are less up to its k.
    fn place_beside(
        &self,
        leaf: LeafIndex,
        bound: Atom,
        less: impl Fn(&Run) -> bool,
        inside: impl Fn(Run) -> u32,
    ) -> Option<Place> {
        let mut leaf = leaf;
        for _ in 0..LEAVES_TRIED {
            let near = self.tree.get(leaf)?;
            leaf = match self.place_in(leaf, bound, &less, &inside)? {
                Found::Here(place) => return Some(place),
                Found::Before => near.previous,
                Found::Behind => near.next,
            };
        }
        None
    }

    fn place_in(
        &self,
        index: LeafIndex,
        bound: Atom,
        less: impl Fn(&Run) -> bool,
        inside: impl Fn(Run) -> u32,
    ) -> Option<Found> {
        // A leaf that was given back is empty.
        let leaf = self.tree.get(index).filter(|leaf| !leaf.runs.is_empty())?;
        let runs = leaf.runs.as_slice();
        let (low, high) = own_bounds(runs, bound);
        let ends = |run: usize, inside: u32| inside == runs[run].measure.scalars();
        // Mostly it is in the run before, or right behind that, or right before the run behind.
        let (mut at, mut count) = (low, low.checked_sub(1).map_or(0, |run| inside(runs[run])));
        if (at == 0 || ends(at - 1, count))
            && let [first, .., last] | [first @ last] = &runs[low..high]
            && less(first)
        {
            at = if less(last) { high } else { low + runs[low..high].partition_point(&less) };
            count = inside(runs[at - 1]);
        }
        let Some(run) = at.checked_sub(1) else {
            return Some(if leaf.previous == NONE {
                Found::Here(Place { leaf: index, spot: leaf.start_of(0) })
            } else {
                Found::Before
            });
        };
        let behind = || self.tree.get(leaf.next).and_then(|next| next.runs.first());
        if at == runs.len() && ends(run, count) && behind().is_some_and(less) {
            return Some(Found::Behind);
        }
        Some(Found::Here(Place { leaf: index, spot: leaf.within(run, count) }))
    }

    /// Text of a group went to a leaf.
    pub(crate) fn remember(&mut self, group: GroupIndex, leaf: LeafIndex) {
        self.recent.remember(&self.groups, group, leaf);
    }
}

/// Between which runs of a leaf a place is if runs of the group of `bound` are before it up to its k.
fn own_bounds(runs: &[Run], bound: Atom) -> (usize, usize) {
    let mut low = 0;
    for (number, run) in runs.iter().enumerate().filter(|(_, run)| run.group == bound.group) {
        if run.first_k >= bound.k {
            return (low, number);
        }
        low = number + 1;
    }
    (low, runs.len())
}
