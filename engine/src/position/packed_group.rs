//! One group in 32 bytes: a text at random places has one for every few characters.

use super::group::{Atom, GroupIndex};
use super::{Digit, group_bytes, k_bytes};
use crate::id::SiteId;

const DEPTH_BITS: u32 = 8;
const BYTES_BITS: u32 = 16;

/// A group as it is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackedGroup {
    above_k: i64,
    /// From the top: the digit, which takes 34 bits; bytes of a path through the group without its last k, at most 512; depth, at
    /// most 64.
    digit_bytes_depth: i64,
    site: SiteId,
    above: GroupIndex,
    /// Runs and groups that stand on it.
    pub(super) references: u32,
}

impl PackedGroup {
    /// Group 0, the empty path.
    pub(super) const ROOT: Self =
        Self { above_k: 0, digit_bytes_depth: 0, site: SiteId::new(0), above: 0, references: 1 };

    /// The group (`digit`, `site`) below k = `k` of group number `above`. It has no reference yet.
    pub(super) fn below(above: &Self, parent: Atom, digit: Digit, site: SiteId) -> Self {
        let k = if parent.group == 0 { 0 } else { k_bytes(parent.k) };
        let bytes = (above.bytes() + k + group_bytes(digit)) as i64;
        let depth = above.depth() as i64 + 1;
        let packed = digit.get() << (DEPTH_BITS + BYTES_BITS) | bytes << DEPTH_BITS | depth;
        Self { above_k: parent.k, digit_bytes_depth: packed, site, above: parent.group, references: 0 }
    }

    pub(super) const fn parent(&self) -> Atom {
        Atom { group: self.above, k: self.above_k }
    }

    pub(super) const fn digit(&self) -> Digit {
        Digit::new(self.digit_bytes_depth >> (DEPTH_BITS + BYTES_BITS))
    }

    pub(super) const fn site(&self) -> SiteId {
        self.site
    }

    /// Levels of its identifiers.
    pub(super) const fn depth(&self) -> usize {
        (self.digit_bytes_depth & ((1 << DEPTH_BITS) - 1)) as usize
    }

    /// Bytes of a path through it without its last k.
    pub(super) const fn bytes(&self) -> usize {
        (self.digit_bytes_depth >> DEPTH_BITS & ((1 << BYTES_BITS) - 1)) as usize
    }

    /// What no other group has.
    pub(super) const fn key(&self) -> (Atom, Digit, SiteId) {
        (self.parent(), self.digit(), self.site)
    }
}
