//! Allocation: where new text goes between its living neighbours.
//!
//! 1. Extend an own run that ends at the left neighbour or begins at the right one, if the result still sorts between
//!    them: no new digit, one counter.
//! 2. Else, from the first level where the neighbours differ, take a free digit: nothing known of the level on either
//!    side, a hash of the dot (which is then not written); one side open, 1 to 4 beyond the known digit (LSEQ's
//!    boundary+ and boundary-); closed, the midpoint.
//! 3. No free digit: go down below the left neighbour, whose subtree ends before the right one begins; if the left one
//!    has ended, below the right one with negative digits.
//!
//! Only `Groups` are read, no sequence: O(d), d = levels below those that both neighbours share. Nothing is drawn at random:
//! the hash of the new dot decides, so that an edit is reproducible and two sites still differ. Two sites that choose one digit
//! are ordered by site.
//!
//! Where we depart from LSEQ (Nédelec et al., 2013): a level's strategy follows from which neighbour is known instead of
//! a coin per depth; digits are signed, so that a path can be extended on both sides; levels stop growing at 2^32.

use super::group::{Atom, Chain, Fork, GroupIndex, Groups, Parting};
use super::{Digit, group_bytes, k_bytes};
use crate::id::{Dot, SiteId};
use crate::limits::{PATH_BYTES_MAX, PATH_LEVELS_MAX};
use crate::op::Direction;

/// A group to be: where new text stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    pub(crate) parent: Atom,
    pub(crate) digit: Digit,
}

/// The neighbours of new text; `None` at the document's ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gap {
    pub(crate) left: Option<Atom>,
    pub(crate) right: Option<Atom>,
}

impl Gap {
    /// Where its neighbours part; an end of the document counts as the root. O(levels below that).
    pub(crate) fn parting(self, groups: &Groups) -> Parting {
        groups.part(self.left.unwrap_or(Atom::ROOT), self.right.unwrap_or(Atom::ROOT))
    }
}

/// What is known at one level on one side.
#[derive(Clone, Copy)]
enum Side {
    /// Nothing: the level's end bounds it.
    Open,
    /// The neighbour's path ended above: it stands at digit 0, exclusive.
    Ended,
    /// The neighbour's element.
    Known(Atom),
}

impl Side {
    /// That of a neighbour with this element there.
    fn of(element: Option<Atom>) -> Self {
        element.map_or(Self::Ended, Self::Known)
    }
}

/// Rule 1: the own group that dots `first..=last` can extend within `gap`, whose neighbours part there, and in which direction. O(1).
pub(crate) fn extend(
    groups: &Groups,
    gap: Gap,
    parting: &Parting,
    site: SiteId,
    first: u64,
    last: u64,
) -> Option<(GroupIndex, Direction)> {
    let Parting { left: low, right: high, .. } = *parting;
    let own = |atom: &Atom| groups.site(atom.group) == site;
    let fits = |group, k| groups.bytes(Atom { group, k }) <= PATH_BYTES_MAX;
    let (first, last) = (first as i64, last as i64);
    // Only k changes. That tells on the order where the own character parts from the other neighbour itself: not if it is deeper, and
    // not in another group. If the other neighbour stands on it, what extends it would come behind that.
    if let Some(left) = gap.left.filter(own) {
        let parts = low == Some(left);
        let below = high.is_none_or(|high| high.group != left.group || last < high.k);
        if low.is_some() && left.k < first && (!parts || below) && fits(left.group, last) {
            return Some((left.group, Direction::After));
        }
    }
    let right = gap.right.filter(own)?;
    let parts = high == Some(right);
    let above = low.is_none_or(|low| low.group != right.group || low.k < -last);
    let sorts = high.is_some() && -first < right.k && (!parts || above) && fits(right.group, -last);
    sorts.then_some((right.group, Direction::Before))
}

/// Rules 2 and 3: a new group for the dots from `dot` to counter `last` in a gap whose neighbours part there. `None` if it would be
/// too deep.
pub(crate) fn between(groups: &Groups, gap: Gap, parting: &Parting, dot: Dot, last: u64) -> Option<Slot> {
    let (left, right) = (gap.left.unwrap_or(Atom::ROOT), gap.right.unwrap_or(Atom::ROOT));
    // Mostly the first level where they differ has a free digit.
    let Parting { parent, left: low, right: high } = *parting;
    let side = |known: Option<Atom>, below: Option<Atom>| known.map_or(Side::Open, |_| Side::of(below));
    let level = groups.depth(parent.group);
    let slot = match free_digit(groups, level, side(gap.left, low), side(gap.right, high), dot) {
        Some(digit) => Some(Slot { parent, digit }),
        // A neighbour that ends there has nothing below it within the gap.
        None if low == Some(left) => Some(Slot { parent: left, digit: Digit::hashed(dot, level + 1) }),
        None if low.is_none() && high == Some(right) => {
            Some(Slot { parent: right, digit: Digit::hashed(dot, level + 1).negative() })
        }
        None => {
            let Fork { parent, left, right } = groups.fork(left, right);
            let (left, right) = (gap.left.map(|_| left), gap.right.map(|_| right));
            Descent { groups, parent, top: level, level, left, right }.find(dot)
        }
    };
    slot.filter(|slot| fits(groups, *slot, last))
}

/// A new group right below `parent`, which need not be alive, before the next living character `right`: as near to
/// `parent` as digits allow, so that what others wrote below it comes after.
pub(crate) fn below(groups: &Groups, parent: Atom, right: Option<Atom>, dot: Dot, last: u64) -> Option<Slot> {
    let level = groups.depth(parent.group);
    let chain = right.map(|atom| groups.chain(atom)).filter(|chain| chain.get(level - 1) == Some(&parent));
    let end = chain.as_ref().and_then(|chain| chain.get(level)).map_or(i64::MAX, |next| groups.digit(next.group).get());
    let slot = if end > 1 {
        Some(Slot { parent, digit: Digit::new(stride(dot).min(end - 1)) })
    } else {
        Descent { groups, parent, top: 0, level, left: Some(groups.chain(parent)), right: chain }.find(dot)
    };
    slot.filter(|slot| fits(groups, *slot, last))
}

/// How far beyond a known digit a new one goes: 1 to 4.
const fn stride(dot: Dot) -> i64 {
    1 + (dot.hash64() & 3) as i64
}

fn fits(groups: &Groups, slot: Slot, last: u64) -> bool {
    groups.depth(slot.parent.group) < PATH_LEVELS_MAX
        && groups.bytes(slot.parent) + group_bytes(slot.digit) + k_bytes(last as i64) <= PATH_BYTES_MAX
}

/// The walk down the levels. A side is `None` once it is open for good.
struct Descent<'a> {
    groups: &'a Groups,
    parent: Atom,
    /// Level at which the sides begin.
    top: usize,
    level: usize,
    left: Option<Chain>,
    right: Option<Chain>,
}

impl Descent<'_> {
    fn find(mut self, dot: Dot) -> Option<Slot> {
        while self.level < PATH_LEVELS_MAX {
            let (low, high) = (self.side(&self.left), self.side(&self.right));
            if let Some(digit) = free_digit(self.groups, self.level, low, high, dot) {
                return Some(Slot { parent: self.parent, digit });
            }
            match (low, high) {
                (Side::Known(element), _) => {
                    self.parent = element;
                    self.right = None;
                }
                (_, Side::Known(element)) => {
                    self.parent = element;
                    self.left = None;
                }
                _ => return None,
            }
            self.level += 1;
        }
        None
    }

    fn side(&self, chain: &Option<Chain>) -> Side {
        chain.as_ref().map_or(Side::Open, |chain| Side::of(chain.get(self.level - self.top).copied()))
    }
}

/// A digit strictly between both sides, if the level has one.
fn free_digit(groups: &Groups, level: usize, low: Side, high: Side, dot: Dot) -> Option<Digit> {
    let max = Digit::max_of(level);
    let hashed = || Digit::hashed(dot, level);
    let digit = |atom: Atom| groups.digit(atom.group).get();
    match (low, high) {
        (Side::Open | Side::Ended, Side::Open) => Some(hashed()),
        (Side::Open, Side::Ended) => Some(hashed().negative()),
        (Side::Known(left), Side::Open) => above(digit(left), stride(dot), max),
        (Side::Open, Side::Known(right)) => above(-digit(right), stride(dot), max).map(Digit::negative),
        (Side::Known(left), Side::Known(right)) => midpoint(digit(left), digit(right)),
        (Side::Known(left), Side::Ended) => midpoint(digit(left), 0),
        (Side::Ended, Side::Known(right)) => midpoint(0, digit(right)),
        // Two neighbours that both end here would be one identifier.
        (Side::Ended, Side::Ended) => None,
    }
}

/// The digit `stride` above `low`, 0 not counted.
fn above(low: i64, stride: i64, max: i64) -> Option<Digit> {
    let digit = low + stride;
    let digit = if low < 0 && digit >= 0 { digit + 1 } else { digit };
    (digit <= max).then_some(Digit::new(digit))
}

/// The digit in the middle of the open interval, 0 not counted.
fn midpoint(low: i64, high: i64) -> Option<Digit> {
    let middle = low + (high - low) / 2;
    let free = |digit: i64| digit != 0 && low < digit && digit < high;
    [middle, middle - 1, middle + 1].into_iter().find(|&digit| free(digit)).map(Digit::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midpoints_avoid_zero_and_the_bounds() {
        let check = |low, high, expected: Option<i64>| {
            assert_eq!(midpoint(low, high).map(Digit::get), expected, "{low} {high}");
        };
        check(0, 1, None);
        check(0, 2, Some(1));
        check(-1, 1, None);
        check(-1, 2, Some(1));
        check(-2, 1, Some(-1));
        check(-2, 2, Some(-1));
        check(-1, 0, None);
        check(-2, 0, Some(-1));
        check(10, 21, Some(15));
        check(5, 5, None);
    }

    #[test]
    fn strides_skip_zero_and_stop_at_the_end_of_the_level() {
        let check = |low, stride, expected: Option<i64>| {
            assert_eq!(above(low, stride, 256).map(Digit::get), expected, "{low} {stride}");
        };
        check(1, 4, Some(5));
        check(-1, 1, Some(1));
        check(-2, 1, Some(-1));
        check(-2, 4, Some(3));
        check(255, 1, Some(256));
        check(255, 2, None);
    }
}
