//! Recent places: the group that a path names, and the leaf where text of it went last.
//!
//! A table with one slot for each hash, in which the newcomer takes the place. Keys come from strangers, who can make all of
//! theirs fall on one slot: then each is looked up in the tree, as if there were no table. Made when text of others first comes.

use super::{LeafIndex, Place, Run, Sequence};
use crate::hash::mix;
use crate::id::SiteId;
use crate::position::group::{Atom, GroupIndex, Groups};
use crate::position::{Digit, Element};

/// Slots per group at least. Two groups on one slot keep looking each other up.
const SLOTS_PER_GROUP: usize = 2;
/// At most; of a table that was made for more most is given back.
const SLOTS_PER_GROUP_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// 0, the root, while it is free: nothing stands there. Its number may have gone to another group since.
    group: GroupIndex,
    leaf: LeafIndex,
}

/// Groups by what names them, the lately used ones.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentPlaces {
    /// As many as a power of two, or none.
    slots: Vec<Slot>,
}

impl RecentPlaces {
    /// What may be the group of text (`digit`, `site`) on a path that ends with `above`; 0 if nothing is known.
    pub(super) fn candidate(&self, above: i64, digit: Digit, site: SiteId) -> GroupIndex {
        self.slots.get(self.slot(above, digit, site)).map_or(0, |slot| slot.group)
    }

    /// The leaf where text of a living group went last, if that is remembered. It may have other text, or none, by now.
    pub(super) fn leaf(&self, groups: &Groups, group: GroupIndex) -> Option<LeafIndex> {
        let slot = self.slots.get(self.slot_of(groups, group))?;
        (slot.group == group).then_some(slot.leaf)
    }

    /// Text of a group went to a leaf.
    pub(super) fn remember(&mut self, groups: &Groups, group: GroupIndex, leaf: LeafIndex) {
        let fitting = groups.slots() * SLOTS_PER_GROUP..=groups.slots() * SLOTS_PER_GROUP_MAX;
        if !fitting.contains(&self.slots.len()) {
            self.resize(groups);
        }
        let slot = self.slot_of(groups, group);
        self.slots[slot] = Slot { group, leaf };
    }

    fn resize(&mut self, groups: &Groups) {
        let length = (groups.slots() * SLOTS_PER_GROUP * 2).next_power_of_two();
        let free = Slot { group: 0, leaf: 0 };
        let before = core::mem::replace(&mut self.slots, vec![free; length]);
        for known in before.into_iter().filter(|slot| slot.group != 0 && groups.is_used(slot.group)) {
            let slot = self.slot_of(groups, known.group);
            self.slots[slot] = known;
        }
    }

    fn slot_of(&self, groups: &Groups, group: GroupIndex) -> usize {
        self.slot(groups.parent(group).k, groups.digit(group), groups.site(group))
    }

    fn slot(&self, above: i64, digit: Digit, site: SiteId) -> usize {
        let hash = mix(above as u64 ^ mix(digit.get() as u64 ^ site.get()));
        hash as usize & self.slots.len().wrapping_sub(1)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// Checks that there is a slot for every hash: what is in it is only a guess.
    pub(super) fn assert_invariants(&self) {
        assert!(self.slots.is_empty() || self.slots.len().is_power_of_two(), "every hash has a slot");
    }
}

impl Sequence {
    /// The group of a new character by its path, made if it is new, with the place of the character if that had to be looked up.
    /// O(d) if text of the group came lately, O(d log n) else. Every group must have text or be stood on by one that has.
    pub(crate) fn open_group(&mut self, path: &[Element]) -> (GroupIndex, Option<Place>) {
        let known = self.known_group(path);
        let (group, place) = match known {
            Some(known) => (known, None),
            None => {
                let place = self.place_near_parent(path).unwrap_or_else(|| self.place_of_path(path));
                (self.groups.intern_between(path, self.gap(place)), Some(place))
            }
        };
        self.groups.set_recent(group);
        (group, place)
    }

    /// The group of a character by its path, if text of it came lately.
    fn known_group(&self, path: &[Element]) -> Option<GroupIndex> {
        let (&Element { digit, site, .. }, above) = path.split_last()?;
        let group = self.recent.candidate(above.last().map_or(0, |above| above.k), digit, site);
        self.groups.is_group(group, (above, digit, site)).then_some(group)
    }

    /// [`place_of_path`](Self::place_of_path) where the character it stands on was written lately: O(d log r), r = runs of a leaf.
    fn place_near_parent(&self, elements: &[Element]) -> Option<Place> {
        let (new, above) = elements.split_last()?;
        let k = above.last()?.k;
        let group = self.known_group(above)?;
        let leaf = self.recent.leaf(&self.groups, group)?;
        let bound = Atom { group, k: k + i64::from(new.digit.get() > 0) };
        let less = |run: &Run| self.groups.compare_path(run.first(), elements).is_lt();
        let inside = |run: Run| self.groups.count_before_path(run.first(), run.measure.scalars(), elements);
        self.place_beside(leaf, bound, less, inside)
    }

    /// Where `atom`, which is not in the text, belongs, if that is in the leaf where text of its group went last or in the next one:
    /// O(d log r), r = runs of a leaf.
    pub(crate) fn place_of_recent(&self, atom: Atom) -> Option<Place> {
        let leaf = self.recent.leaf(&self.groups, atom.group)?;
        let less = |run: &Run| self.groups.compare(run.first(), atom).is_lt();
        let inside = |run: Run| self.groups.count_before(run.first(), run.measure.scalars() as usize, atom) as u32;
        self.place_beside(leaf, atom, less, inside)
    }

    /// The place behind all runs that are `less` and behind the characters `inside` the last of these, if that is in a leaf or the
    /// next one. Runs of the group of `bound` are less up to its k.
    fn place_beside(
        &self,
        leaf: LeafIndex,
        bound: Atom,
        less: impl Fn(&Run) -> bool,
        inside: impl Fn(Run) -> u32,
    ) -> Option<Place> {
        let found = self.place_in(leaf, bound, &less, &inside);
        found.or_else(|| self.place_in(self.tree.get(leaf)?.next, bound, &less, &inside))
    }

    fn place_in(
        &self,
        index: LeafIndex,
        bound: Atom,
        less: impl Fn(&Run) -> bool,
        inside: impl Fn(Run) -> u32,
    ) -> Option<Place> {
        let leaf = self.tree.get(index)?;
        let runs = &leaf.runs;
        let own = |run: &Run| run.group == bound.group;
        let low = runs.iter().rposition(|run| own(run) && run.first_k < bound.k).map_or(0, |low| low + 1);
        let high = runs.iter().position(|run| own(run) && run.first_k >= bound.k).unwrap_or(runs.len());
        let between = runs.get(low..high)?;
        let ends = |run: usize, inside: u32| inside == runs[run].measure.scalars();
        // Mostly it is in the run before, or right behind that.
        let (mut at, mut count) = (low, low.checked_sub(1).map_or(0, |run| inside(runs[run])));
        if (at == 0 || ends(at - 1, count)) && between.first().is_some_and(&less) {
            at += between.partition_point(&less);
            count = inside(runs[at - 1]);
        }
        let run = at.checked_sub(1)?;
        let behind = || self.tree.get(leaf.next).and_then(|next| next.runs.first());
        if at == runs.len() && ends(run, count) && behind().is_some_and(less) {
            return None;
        }
        Some(Place { leaf: index, spot: leaf.within(run, count) })
    }

    /// Text of a group went to a leaf.
    pub(crate) fn remember(&mut self, group: GroupIndex, leaf: LeafIndex) {
        self.recent.remember(&self.groups, group, leaf);
    }
}
