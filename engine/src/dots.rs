//! Sets of dots as ranges: pending deletes, and which characters of a peer's past are alive.

use crate::codec::{Reader, Writer};
use crate::error::DecodeError;
use crate::id::{COUNTER_END, Dot, DotRange, SiteId};
use crate::sorted_map::SortedMap;

/// Disjoint, non-adjacent ranges of dots. Look-up and change O(log r) per range touched, r = ranges.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct DotSet {
    /// First dot of a range to its last counter.
    ranges: SortedMap<Dot, u64>,
}

impl DotSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ranges it has.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Its ranges in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = DotRange> + '_ {
        self.ranges.iter().map(|(dot, &last)| DotRange { site: dot.site, first: dot.counter, last })
    }

    /// Adds a range, joined with what it overlaps or touches.
    pub(crate) fn insert(&mut self, range: DotRange) {
        let DotRange { site, mut first, mut last } = range;
        if let Some((dot, end)) = self.floor(Dot::new(site, first))
            && end + 1 >= first
        {
            first = dot.counter;
            last = last.max(end);
        }
        // Everything from `first` to just behind `last` becomes one range.
        while let Some((dot, end)) = self.next_between(site, first, last.saturating_add(1)) {
            last = last.max(end);
            self.ranges.remove(&dot);
        }
        self.ranges.insert(Dot::new(site, first), last);
    }

    /// Takes a range out.
    pub(crate) fn remove(&mut self, range: DotRange) {
        let DotRange { site, first, last } = range;
        if let Some((dot, end)) = self.floor(Dot::new(site, first))
            && end >= first
            && dot.counter < first
        {
            self.ranges.insert(dot, first - 1);
            if end > last {
                self.ranges.insert(Dot::new(site, last + 1), end);
                return;
            }
        }
        while let Some((dot, end)) = self.next_between(site, first, last) {
            self.ranges.remove(&dot);
            if end > last {
                self.ranges.insert(Dot::new(site, last + 1), end);
            }
        }
    }

    /// The lowest part of the set within `range`.
    pub(crate) fn first_within(&self, range: DotRange) -> Option<DotRange> {
        let DotRange { site, first, last } = range;
        let floor = self.floor(Dot::new(site, first)).filter(|&(_, end)| end >= first);
        let (dot, end) = floor.or_else(|| self.next_between(site, first, last))?;
        Some(DotRange { site, first: dot.counter.max(first), last: end.min(last) })
    }

    /// The parts of `range` in the set, and those that are not, in order.
    pub(crate) fn divide(&self, range: DotRange) -> Vec<(DotRange, bool)> {
        let DotRange { site, last, .. } = range;
        let mut parts = Vec::new();
        let mut next = range.first;
        while next <= last {
            match self.first_within(DotRange { first: next, ..range }) {
                None => {
                    parts.push((DotRange { site, first: next, last }, false));
                    break;
                }
                Some(found) => {
                    if found.first > next {
                        parts.push((DotRange { site, first: next, last: found.first - 1 }, false));
                    }
                    parts.push((found, true));
                    next = found.last + 1;
                }
            }
        }
        parts
    }

    fn floor(&self, dot: Dot) -> Option<(Dot, u64)> {
        self.ranges.floor(&dot).filter(|entry| entry.0.site == dot.site).map(|(dot, &last)| (*dot, last))
    }

    fn next_between(&self, site: SiteId, first: u64, last: u64) -> Option<(Dot, u64)> {
        let next = self.ranges.ceiling(&Dot::new(site, first)).filter(|(dot, _)| **dot <= Dot::new(site, last));
        next.map(|(dot, &last)| (*dot, last))
    }

    /// Sites in order, each with its ranges: `sites { difference ranges { gap length-1 }* }*`, as in a version vector
    /// and a delete.
    pub(crate) fn write(&self, writer: &mut Writer) {
        let ranges: Vec<_> = self.iter().collect();
        let sites = ranges.chunk_by(|a, b| a.site == b.site);
        writer.varint(sites.clone().count() as u64);
        let mut next_site = 0;
        for chunk in sites {
            let site = chunk[0].site.get();
            writer.varint(site - next_site);
            next_site = site.wrapping_add(1);
            writer.varint(chunk.len() as u64);
            let mut base = 0;
            for range in chunk {
                writer.varint(range.first - base);
                writer.varint(range.last - range.first);
                base = range.last + 2;
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut set = Self::default();
        let mut next_site = Some(0_u64);
        for _ in 0..reader.count(4)? {
            let difference = reader.varint()?;
            let bits = next_site.and_then(|next| next.checked_add(difference)).ok_or(DecodeError::Site)?;
            next_site = bits.checked_add(1);
            let site = SiteId::new(bits);
            if !site.is_valid() {
                return Err(DecodeError::Site);
            }
            let count = reader.count(2)?;
            if count == 0 {
                return Err(DecodeError::NotCanonical);
            }
            let mut base = 0_u64;
            for _ in 0..count {
                let first = base.saturating_add(reader.varint()?);
                let last = first.saturating_add(reader.varint()?);
                if first == 0 || last >= COUNTER_END {
                    return Err(DecodeError::Counter);
                }
                set.ranges.insert(Dot::new(site, first), last);
                base = last + 2;
            }
        }
        Ok(set)
    }
}

impl FromIterator<DotRange> for DotSet {
    fn from_iter<I: IntoIterator<Item = DotRange>>(ranges: I) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(site: u64, first: u64, last: u64) -> DotRange {
        DotRange { site: SiteId::new(site), first, last }
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_is_a_set(steps in prop::collection::vec((any::<bool>(), 0u64..2, 1u64..20, 0u64..6), 0..40)) {
            let mut set = DotSet::default();
            let mut model = BTreeSet::new();
            for (add, site, first, length) in steps {
                let last = first + length;
                if add { set.insert(range(site, first, last)) } else { set.remove(range(site, first, last)) }
                for counter in first..=last {
                    if add { model.insert((site, counter)); } else { model.remove(&(site, counter)); }
                }
                let members: BTreeSet<_> = set.iter().flat_map(|r| (r.first..=r.last).map(move |c| (r.site.get(), c))).collect();
                prop_assert_eq!(&members, &model);
                let ranges: Vec<_> = set.iter().collect();
                prop_assert!(ranges.windows(2).all(|w| w[0].site < w[1].site || w[0].last + 1 < w[1].first));
                for (part, inside) in set.divide(range(0, 3, 17)) {
                    for counter in part.first..=part.last {
                        prop_assert_eq!(model.contains(&(0, counter)), inside);
                    }
                }
                let mut writer = Writer::default();
                set.write(&mut writer);
                prop_assert_eq!(DotSet::read(&mut Reader::new(writer.as_bytes())), Ok(set.clone()));
            }
        }
    }
}
