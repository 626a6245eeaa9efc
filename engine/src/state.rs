//! State against state: what a peer lacks, as state and not as history (Almeida, Shoker, Baquero: Delta state replicated
//! data types, 2018). A snapshot is the diff for a peer that knows nothing.

use crate::codec::state as codec;
use crate::dots::DotSet;
use crate::error::DecodeError;
use crate::id::{DotRange, SiteId};
use crate::meta::Meta;
use crate::position::Digit;
use crate::vector::VersionVector;

/// What a peer at vector [`since`](Self::since) lacks of a document's state: its vector, the runs with dots beyond
/// `since`, which of the dots within `since` are alive, its pending deletes, and `meta`.
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
            first > self.since.get(site) && last <= self.vector.get(site)
        });
        let old = self.live.iter().all(|dots| dots.last <= self.since.get(dots.site));
        let beyond = self.pending.iter().all(|dots| dots.first > self.vector.get(dots.site));
        if disjoint && new && old && beyond { Ok(()) } else { Err(DecodeError::Dots) }
    }
}
