//! The index: where a living dot is. Made when a dot is first asked for, kept from then on: who only reads, or only
//! writes at places, never pays for it.

use core::ops::RangeBounds;
use std::collections::BTreeMap;
use std::collections::btree_map::Range;

use super::leaf::LeafIndex;
use crate::id::Dot;

/// The dot of each run's lowest counter to the run's leaf.
#[derive(Clone, Debug, Default)]
pub(crate) struct DotIndex {
    leaves: Option<BTreeMap<Dot, LeafIndex>>,
}

impl DotIndex {
    pub(crate) const fn is_made(&self) -> bool {
        self.leaves.is_some()
    }

    /// Makes it of all runs. O(n log n), n = runs.
    pub(crate) fn make(&mut self, runs: impl Iterator<Item = (Dot, LeafIndex)>) {
        self.leaves = Some(runs.collect());
    }

    /// A run begins at `dot`, in `leaf`.
    pub(crate) fn insert(&mut self, dot: Dot, leaf: LeafIndex) {
        if let Some(leaves) = &mut self.leaves {
            leaves.insert(dot, leaf);
        }
    }

    /// No run begins at `dot`.
    pub(crate) fn remove(&mut self, dot: Dot) {
        if let Some(leaves) = &mut self.leaves {
            leaves.remove(&dot);
        }
    }

    /// Its entries within `dots`; none before it is made.
    pub(crate) fn range(&self, dots: impl RangeBounds<Dot>) -> Range<'_, Dot, LeafIndex> {
        static NOTHING: BTreeMap<Dot, LeafIndex> = BTreeMap::new();
        self.leaves.as_ref().unwrap_or(&NOTHING).range(dots)
    }

    pub(crate) fn len(&self) -> usize {
        self.leaves.as_ref().map_or(0, BTreeMap::len)
    }
}
