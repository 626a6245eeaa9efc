//! Recent places: the group that a path names, and the leaf where text of it went last.
//!
//! A table with one slot for each hash, in which the newcomer takes the place. Keys come from strangers, who can make all of
//! theirs fall on one slot: then each is looked up in the tree, as if there were no table. Made when text of others first comes.

use super::leaf::LeafIndex;
use crate::hash::mix;
use crate::id::SiteId;
use crate::position::Digit;
use crate::position::group::{GroupIndex, Groups};

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

    /// The leaf where text of a group went last, if that is remembered. It may be another one's, or nobody's, by now.
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
}
