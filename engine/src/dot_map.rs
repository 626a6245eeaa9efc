//! Values of dots, as ranges: what rebases left of the characters they moved.

use crate::id::{Dot, DotRange};
use crate::sorted_map::SortedMap;

/// Disjoint ranges of dots, each with a value; adjacent ones with equal values are one. Look-up and change O(log r) per
/// range touched, r = ranges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DotMap<T> {
    /// First dot of a range to its last counter and its value.
    ranges: SortedMap<Dot, (u64, T)>,
}

impl<T> Default for DotMap<T> {
    fn default() -> Self {
        Self { ranges: SortedMap::new() }
    }
}

impl<T: Clone + PartialEq> DotMap<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ranges it has.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Its ranges in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DotRange, &T)> + '_ {
        self.ranges.iter().map(|(dot, (last, value))| (range_of(*dot, *last), value))
    }

    /// Gives the dots of a range a value.
    pub(crate) fn insert(&mut self, range: DotRange, value: T) {
        self.remove(range);
        let DotRange { site, mut first, mut last } = range;
        if let Some((dot, before)) = self.ranges.below(&Dot::new(site, first)).map(|(dot, at)| (*dot, at))
            && dot.site == site
            && before.0 + 1 == first
            && before.1 == value
        {
            self.ranges.remove(&dot);
            first = dot.counter;
        }
        let next = Dot::new(site, last + 1);
        if let Some((end, _)) = self.ranges.get(&next).filter(|(_, other)| *other == value) {
            last = *end;
            self.ranges.remove(&next);
        }
        self.ranges.insert(Dot::new(site, first), (last, value));
    }

    /// Takes the dots of a range out.
    pub(crate) fn remove(&mut self, range: DotRange) {
        while let Some((part, whole)) = self.first_within(range).map(|(part, whole, _)| (part, whole)) {
            let Some((last, value)) = self.ranges.remove(&Dot::new(whole.site, whole.first)) else { return };
            if last > part.last {
                self.ranges.insert(Dot::new(whole.site, part.last + 1), (last, value.clone()));
            }
            if whole.first < part.first {
                self.ranges.insert(Dot::new(whole.site, whole.first), (part.first - 1, value));
            }
        }
    }

    /// Whether it has a dot of a range.
    pub(crate) fn touches(&self, range: DotRange) -> bool {
        !self.ranges.is_empty() && self.first_within(range).is_some()
    }

    /// The lowest part within `range`, the whole range that belongs to, and its value.
    pub(crate) fn first_within(&self, range: DotRange) -> Option<(DotRange, DotRange, &T)> {
        let start = Dot::new(range.site, range.first);
        let before = self.ranges.floor(&start);
        let before = before.filter(|(dot, (last, _))| dot.site == range.site && *last >= range.first);
        let end = Dot::new(range.site, range.last);
        let following = || self.ranges.ceiling(&start).filter(|(dot, _)| **dot <= end);
        let (dot, (last, value)) = before.or_else(following)?;
        let whole = range_of(*dot, *last);
        let part = DotRange { first: whole.first.max(range.first), last: whole.last.min(range.last), ..range };
        Some((part, whole, value))
    }

    /// The parts of a range with their values, and those without, in order.
    pub(crate) fn divide(&self, range: DotRange) -> Vec<(DotRange, Option<T>)> {
        let mut parts = Vec::new();
        let mut next = range.first;
        while next <= range.last {
            let Some((part, _, value)) = self.first_within(DotRange { first: next, ..range }) else {
                parts.push((DotRange { first: next, ..range }, None));
                break;
            };
            if part.first > next {
                parts.push((DotRange { first: next, last: part.first - 1, ..range }, None));
            }
            parts.push((part, Some(value.clone())));
            next = part.last + 1;
        }
        parts
    }
}

const fn range_of(dot: Dot, last: u64) -> DotRange {
    DotRange { site: dot.site, first: dot.counter, last }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SiteId;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_map_of_ranges_is_a_map(steps in prop::collection::vec((0u8..4, 0u64..2, 1u64..20, 0u64..6), 0..40)) {
            let mut map = DotMap::default();
            let mut model = BTreeMap::new();
            for (value, site, first, length) in steps {
                let range = DotRange { site: SiteId::new(site), first, last: first + length };
                if value > 0 { map.insert(range, value) } else { map.remove(range) }
                for counter in first..=first + length {
                    if value > 0 { model.insert((site, counter), value); } else { model.remove(&(site, counter)); }
                }
                let members: BTreeMap<_, _> = map
                    .iter()
                    .flat_map(|(r, value)| (r.first..=r.last).map(move |counter| ((r.site.get(), counter), *value)))
                    .collect();
                prop_assert_eq!(&members, &model);
                let ranges: Vec<_> = map.iter().collect();
                let canonical = ranges.windows(2).all(|pair| {
                    let ((a, x), (b, y)) = (pair[0], pair[1]);
                    a.site < b.site || a.last + 1 < b.first || (a.last + 1 == b.first && x != y)
                });
                prop_assert!(canonical);
                let whole = DotRange { site: SiteId::new(0), first: 3, last: 17 };
                for (part, value) in map.divide(whole) {
                    for counter in part.first..=part.last {
                        prop_assert_eq!(model.get(&(0, counter)).copied(), value);
                        prop_assert_eq!(map.touches(range_of(Dot::new(part.site, counter), counter)), value.is_some());
                    }
                }
            }
        }
    }
}
