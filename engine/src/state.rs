//! State against state: what a peer lacks, as state and not as history (Almeida, Shoker, Baquero: Delta state replicated
//! data types, 2018). A snapshot is the diff for a peer that knows nothing.

use std::collections::BTreeMap;

use crate::codec::state as codec;
use crate::dots::DotSet;
use crate::error::DecodeError;
use crate::id::{Dot, DotRange, SiteId};
use crate::meta::Meta;
use crate::position::{Digit, Element, Path};
use crate::rebase::{Rebases, Stamp, Target};
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
        let mut parents: BTreeMap<Dot, Path> = BTreeMap::new();
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
                let parent = parents.entry(stamp.dot).or_insert_with(above).clone();
                moves.push((part, Target { stamp, parent, base_digit: base.digit, digit, falling }));
            }
        }
        moves
    }

    /// Checks that dots and vectors agree, and that no dot comes twice.
    pub(crate) fn validate(&self) -> Result<(), DecodeError> {
        let mut seen: Vec<DotRange> = self.runs.iter().map(|run| self.dots(*run)).collect();
        // Most documents are by few hands: by the counters alone, which compares faster, if it is by one.
        if seen.iter().all(|dots| dots.site == seen[0].site) {
            seen.sort_unstable_by_key(|dots| dots.first);
        } else {
            seen.sort_unstable();
        }
        let disjoint = seen.windows(2).all(|pair| pair[0].site != pair[1].site || pair[0].last < pair[1].first);
        // Disjoint and in order: the first and the last of a site bound the others.
        let new = seen.chunk_by(|a, b| a.site == b.site).all(|dots| {
            let (site, first, last) = (dots[0].site, dots[0].first, dots[dots.len() - 1].last);
            (first > self.since.get(site) || !self.rebases.moved.is_empty()) && last <= self.vector.get(site)
        });
        let old = self.live.iter().all(|dots| dots.last <= self.since.get(dots.site));
        let beyond = self.pending.iter().all(|dots| dots.first > self.vector.get(dots.site));
        if !(disjoint && new && old && beyond) {
            return Err(DecodeError::Dots);
        }
        if self.rebases.is_empty() || self.has_valid_rebases() { Ok(()) } else { Err(DecodeError::Dots) }
    }

    /// Whether what is moved stands in a slot of the rebase that is said to have moved it, what the peer knows was moved by
    /// a rebase it does not know, and what has not come is neither here nor deleted.
    fn has_valid_rebases(&self) -> bool {
        let known = |stamp: &Stamp| stamp.dot.counter <= self.vector.get(stamp.dot.site);
        let mut bases = BTreeMap::new();
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
                let placed = base.is_some() && *bases.entry(stamp.dot).or_insert(base) == base;
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
