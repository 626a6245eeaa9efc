//! State against state: what a peer lacks, as state and not as history (Almeida, Shoker, Baquero: Delta state replicated
//! data types, 2018). A snapshot is the diff for a peer that knows nothing.

use crate::codec::state as codec;
use crate::dots::DotSet;
use crate::error::DecodeError;
use crate::id::{Dot, DotRange, SiteId};
use crate::meta::Meta;
use crate::position::{Digit, Element, Path};
use crate::rebase::{Rebases, Stamp, Target};
use crate::sorted_map::SortedMap;
use crate::vector::VersionVector;

/// What a peer at vector [`since`](Self::since) lacks of a document's state: its vector, the runs with dots beyond
/// `since` or moved by rebases beyond it, which of the dots within `since` are alive, its pending deletes and moves, and
/// `meta`.
///
/// ```
/// use selvedge_engine::{Document, SiteId, StateDiff, VersionVector};
///
/// let mut here = Document::new();
/// here.begin_writing(SiteId::leased(0, 1), 1)?;
/// here.replace(0, 0, "long away")?;
/// here.seal();
/// let sent = here.state_diff(&VersionVector::new()).encode();
///
/// let mut there = Document::new();
/// there.apply_state(&StateDiff::decode(&sent)?)?;
/// assert_eq!(there.text(), "long away");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StateDiff {
    pub(crate) since: VersionVector,
    pub(crate) vector: VersionVector,
    /// The paths runs stand on: in order of their first use, each after its parent.
    pub(crate) groups: Vec<StateGroup>,
    /// Runs in text order.
    pub(crate) runs: Vec<StateRun>,
    /// The text of all runs.
    pub(crate) text: String,
    pub(crate) live: DotSet,
    pub(crate) pending: DotSet,
    pub(crate) meta: Meta,
    /// Of the runs, which characters were moved and when; where those go that have not come.
    pub(crate) rebases: Rebases,
}

/// A group of identifiers; `parent` is its number in the table, `None` at the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StateGroup {
    pub(crate) parent: Option<(u32, i64)>,
    pub(crate) digit: Digit,
    pub(crate) site: SiteId,
}

/// A run of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StateRun {
    pub(crate) group: u32,
    pub(crate) first_k: i64,
    pub(crate) scalars: u32,
    pub(crate) bytes: u32,
}

impl StateRun {
    pub(crate) const fn last_k(self) -> i64 {
        self.first_k + self.scalars as i64 - 1
    }
}

impl StateDiff {
    /// The vector it is for: a receiver must have reached it.
    pub fn since(&self) -> &VersionVector {
        &self.since
    }

    /// The vector it brings a receiver to, at least.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// Its bytes: a function of the two states and nothing else.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode_diff(self)
    }

    /// Reads them.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode_diff(bytes)
    }

    /// The dots of a run.
    pub(crate) fn dots(&self, run: StateRun) -> DotRange {
        let site = self.groups[run.group as usize].site;
        let (a, b) = (run.first_k.unsigned_abs(), run.last_k().unsigned_abs());
        DotRange { site, first: a.min(b), last: a.max(b) }
    }

    /// The runs with their text.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (StateRun, &str)> + '_ {
        let mut at = 0;
        self.runs.iter().map(move |run| {
            let start = at;
            at += run.bytes as usize;
            (*run, &self.text[start..at])
        })
    }

    /// The path of the character `k` of a group. O(d), d = its depth.
    pub(crate) fn path(&self, group: u32, k: i64) -> Path {
        let mut elements = Vec::new();
        let mut above = Some((group, k));
        while let Some((group, k)) = above {
            let StateGroup { parent, digit, site } = self.groups[group as usize];
            elements.push(Element { digit, site, k });
            above = parent;
        }
        elements.reverse();
        elements.into()
    }

    /// Where rebases moved what of the runs, in text order.
    pub(crate) fn moves(&self) -> Vec<(DotRange, Target)> {
        let mut moves = Vec::new();
        if self.rebases.moved.is_empty() {
            return moves;
        }
        let mut parents: SortedMap<Dot, Path> = SortedMap::new();
        for run in &self.runs {
            let StateGroup { parent, digit, .. } = self.groups[run.group as usize];
            let Some((base, _)) = parent else { continue };
            let base = self.groups[base as usize];
            let falling = run.first_k < 0;
            let mut parts = self.rebases.moved.divide(self.dots(*run));
            if falling {
                parts.reverse();
            }
            for (part, stamp) in parts {
                let Some(stamp) = stamp else { continue };
                let above = || base.parent.map_or_else(Path::root, |(group, k)| self.path(group, k));
                let parent = parents.or_insert_with(stamp.dot, above).clone();
                moves.push((part, Target { stamp, parent, base_digit: base.digit, digit, falling }));
            }
        }
        moves
    }

    /// Checks that what is alive was known, and what waits is beyond what is covered.
    pub(crate) fn validate_sets(&self) -> Result<(), DecodeError> {
        let old = self.live.iter().all(|dots| dots.last <= self.since.get(dots.site));
        let beyond = self.pending.iter().all(|dots| dots.first > self.vector.get(dots.site));
        if old && beyond { Ok(()) } else { Err(DecodeError::Dots) }
    }

    /// Checks that the dots of runs and vectors agree, that no dot comes twice, and what rebases say of them.
    pub(crate) fn validate_runs(&self) -> Result<(), DecodeError> {
        let moved = !self.rebases.moved.is_empty();
        let mut seen = DotsSeen::new(self);
        let once = self.runs.iter().all(|run| {
            let dots = self.dots(*run);
            (moved || dots.first > self.since.get(dots.site)) && seen.add(dots)
        });
        if !once || !seen.are_disjoint() {
            return Err(DecodeError::Dots);
        }
        if self.rebases.is_empty() || self.has_valid_rebases() { Ok(()) } else { Err(DecodeError::Dots) }
    }

    /// Whether what is moved stands in a slot of the rebase that is said to have moved it, what the peer knows was moved by
    /// a rebase it does not know, and what has not come is neither here nor deleted.
    #[inline(never)]
    fn has_valid_rebases(&self) -> bool {
        let known = |stamp: &Stamp| stamp.dot.counter <= self.vector.get(stamp.dot.site);
        let mut bases = SortedMap::new();
        let mut moved = DotSet::default();
        for run in &self.runs {
            let dots = self.dots(*run);
            for (part, stamp) in self.rebases.moved.divide(dots) {
                let old = part.first <= self.since.get(part.site);
                let Some(stamp) = stamp else {
                    if old {
                        return false;
                    }
                    continue;
                };
                let group = self.groups[run.group as usize];
                let base = group.parent.filter(|&(base, k)| {
                    self.groups[base as usize].site == stamp.dot.site && k == stamp.dot.counter as i64
                });
                let new = !old || stamp.dot.counter > self.since.get(stamp.dot.site);
                let placed = base.is_some() && *bases.or_insert_with(stamp.dot, || base) == base;
                if !new || !placed || !known(&stamp) || group.digit.get() < 0 {
                    return false;
                }
                moved.insert(part);
            }
        }
        let here = self.rebases.moved.iter().all(|(range, _)| moved.divide(range).iter().all(|part| part.1));
        let awaited = self.rebases.pending.iter().all(|(range, target)| {
            range.first > self.vector.get(range.site)
                && self.pending.first_within(range).is_none()
                && known(&target.stamp)
        });
        here && awaited
    }
}

/// Counters for each run at most for which there is a bit each: no more memory than the ranges take.
const BITS_PER_RUN_MAX: u64 = 8 * size_of::<DotRange>() as u64;

/// The dots of the runs of a state, to see whether one comes twice: a bit for each counter of the vector, which takes O(n log s) for n
/// runs of s sites, or, where those are too many, the ranges, to be sorted.
struct DotsSeen {
    /// Per site its highest counter and the bit of its counter 0.
    sites: Vec<(SiteId, u64, u64)>,
    bits: Vec<u64>,
    ranges: Vec<DotRange>,
}

impl DotsSeen {
    fn new(state: &StateDiff) -> Self {
        let mut bits = 0_u64;
        let mut sites = Vec::with_capacity(state.vector.len());
        for (site, counter) in state.vector.iter() {
            sites.push((site, counter, bits));
            bits = bits.saturating_add(counter + 1);
        }
        let few = bits <= state.runs.len() as u64 * BITS_PER_RUN_MAX;
        let (words, ranges) = if few { (bits.div_ceil(64) as usize, 0) } else { (0, state.runs.len()) };
        Self { sites, bits: vec![0; words], ranges: Vec::with_capacity(ranges) }
    }

    /// Adds a range. False if the vector does not cover it, or a dot of it is found to have come.
    fn add(&mut self, dots: DotRange) -> bool {
        // Nobody can guess whose the next run is: asking first whether it is the one before costs more than looking.
        let Ok(found) = self.sites.binary_search_by_key(&dots.site, |entry| entry.0) else { return false };
        let (_, counter, start) = self.sites[found];
        if dots.last > counter {
            return false;
        }
        if self.bits.is_empty() {
            self.ranges.push(dots);
            return true;
        }
        self.add_bits(start + dots.first, start + dots.last)
    }

    fn add_bits(&mut self, first: u64, last: u64) -> bool {
        let from = u64::MAX << (first % 64);
        let to = u64::MAX >> (63 - last % 64);
        let (at, end) = ((first / 64) as usize, (last / 64) as usize);
        let mut fresh = true;
        let mut set = |word: &mut u64, mask: u64| {
            fresh &= *word & mask == 0;
            *word |= mask;
        };
        match &mut self.bits[at..=end] {
            [word] => set(word, from & to),
            [low, between @ .., high] => {
                set(low, from);
                between.iter_mut().for_each(|word| set(word, u64::MAX));
                set(high, to);
            }
            [] => {}
        }
        fresh
    }

    fn are_disjoint(mut self) -> bool {
        self.ranges.sort_unstable();
        self.ranges.windows(2).all(|pair| pair[0].site != pair[1].site || pair[0].last < pair[1].first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways of looking find the same dots that come twice.
    #[test]
    fn a_dot_that_comes_twice_is_seen() {
        let site = SiteId::leased(0, 1);
        let check = |ranges: &[(u64, u64)], expected: bool| {
            for counter in [380, BITS_PER_RUN_MAX * 1000] {
                let run = StateRun { group: 0, first_k: 1, scalars: 1, bytes: 1 };
                let mut state = StateDiff { runs: vec![run; ranges.len()], ..StateDiff::default() };
                state.vector.set(site, counter);
                let mut seen = DotsSeen::new(&state);
                assert_eq!(seen.bits.is_empty(), counter > 380);
                let added = ranges.iter().all(|&(first, last)| seen.add(DotRange { site, first, last }));
                assert_eq!(added && seen.are_disjoint(), expected, "{ranges:?} of {counter}");
            }
        };
        check(&[(1, 1), (2, 2)], true);
        check(&[(1, 63), (64, 64), (65, 380)], true);
        check(&[(65, 380), (1, 65)], false);
        check(&[(130, 130), (1, 300)], false);
        check(&[(1, 300), (64, 64)], false);
        check(&[(379, 380), (380, 380)], false);
    }
}
