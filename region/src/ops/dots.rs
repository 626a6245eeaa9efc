//! Which dots some runs hold.

use std::collections::BTreeMap;

use selvedge_engine::SiteId;

use super::OpRun;

/// The dots of runs, as disjoint ranges of counters by site; ranges that touch become one. Insertion O(log r) a range
/// touched, r = ranges of the site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunDots {
    /// First to last counter.
    ranges: BTreeMap<SiteId, BTreeMap<u64, u64>>,
}

impl RunDots {
    /// Adds a run's dots.
    pub fn insert(&mut self, run: &OpRun) {
        let ranges = self.ranges.entry(run.site).or_default();
        let (mut first, mut last) = (run.first, run.last);
        while let Some((&begin, &end)) = ranges.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            (first, last) = (first.min(begin), last.max(end));
            ranges.remove(&begin);
        }
        ranges.insert(first, last);
    }

    /// Whether each of a run's dots is among them.
    #[must_use]
    pub fn cover(&self, run: &OpRun) -> bool {
        let ranges = self.ranges.get(&run.site);
        let around = ranges.and_then(|ranges| ranges.range(..=run.first).next_back());
        around.is_some_and(|(_, last)| *last >= run.last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use selvedge_engine::SiteId;

    use super::RunDots;
    use crate::OpRun;

    fn run(first: u64, length: u64) -> OpRun {
        OpRun { site: SiteId::leased(1, 1), first, last: first + length, bytes: vec![1] }
    }

    proptest! {
        #[test]
        fn a_run_is_covered_when_each_of_its_dots_is(
            runs in prop::collection::vec((1_u64..60, 0_u64..12), 0..20),
            asked in (1_u64..60, 0_u64..12),
        ) {
            let (mut covered, mut dots) = (RunDots::default(), BTreeSet::new());
            for (first, length) in runs {
                covered.insert(&run(first, length));
                dots.extend(first..=first + length);
            }
            let asked = run(asked.0, asked.1);
            prop_assert_eq!(covered.cover(&asked), (asked.first..=asked.last).all(|dot| dots.contains(&dot)));
        }
    }
}
