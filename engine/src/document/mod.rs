//! The document: local edits to deltas, remote deltas to text patches.
//!
//! `local` edits, with `halves` of surrogate pairs made whole, `allocation` of where text goes, `deletion`, and the counters of its
//! `writer`; `remote` integrates deltas, `merge` merges state against state, `unsealed` is the open delta, `keystroke` its short way,
//! `rebase` makes room where text stands too deep, `moves` does what rebases say, `relabel` where the text stays as it is, `removed`,
//! `neighbours` and `restore` put deleted or never-sent text back (undo, restamp), `retell` makes deltas of a state, `history` a
//! document of deltas.

mod allocation;
mod deletion;
mod halves;
mod history;
mod keystroke;
mod local;
mod merge;
mod moves;
mod neighbours;
mod rebase;
mod relabel;
mod remote;
mod removed;
mod restore;
mod retell;
mod unsealed;
mod writer;

use core::ops::Range;

use crate::anchor::{Anchor, Bias};
use crate::dots::DotSet;
use crate::id::{COUNTER_END, DotRange, SiteId};
use crate::limits::{PATH_BYTES_MAX, PATH_LEVELS_MAX};
use crate::meta::Meta;
use crate::patch::TextPatch;
use crate::rebase::Rebases;
use crate::sequence::{Measure, Sequence, Unit};
use crate::stats::Stats;
use crate::vector::VersionVector;
use keystroke::{Heard, Spelled};
use rebase::DepthLimit;
use unsealed::Unsealed;
use writer::Writer;

pub use rebase::Crowding;
pub(crate) use removed::{Change, RemovedRun, Renamed, Renames, along};
pub(crate) use restore::Reverted;

/// How much of a delta was new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All of it.
    New,
    /// It began inside what was known and was cut there; or a void in it deleted what had come before it.
    Partly,
    /// Nothing: nothing was changed.
    Known,
}

/// What applying a delta did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// What the editor must do, in order.
    pub patches: Vec<TextPatch>,
    /// How much of the delta was new.
    pub outcome: Outcome,
}

/// One text and a small map `meta`, replicated.
///
/// State is the living runs, the version vector, `meta`, and pending deletes; two documents with equal vectors are
/// equal. What was written here and is not sealed yet is part of all of them: seal before anything is shown to others.
///
/// ```
/// use selvedge_engine::{Document, SiteId};
///
/// let (mut a, mut b) = (Document::new(), Document::new());
/// a.begin_writing(SiteId::leased(0, 1), 1)?;
/// b.begin_writing(SiteId::leased(0, 2), 1)?;
/// a.replace(0, 0, "edge")?;
/// for delta in a.seal() {
///     b.apply(&delta)?;
/// }
/// a.replace(4, 0, " of cloth")?;
/// b.replace(0, 0, "the ")?;
/// for delta in a.seal() {
///     b.apply(&delta)?;
/// }
/// for delta in b.seal() {
///     a.apply(&delta)?;
/// }
/// assert_eq!(a.text(), "the edge of cloth");
/// assert_eq!(a.text(), b.text());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Document {
    pub(crate) sequence: Sequence,
    pub(crate) vector: VersionVector,
    /// Dots that were deleted before they arrived; none is covered by the vector.
    pub(crate) pending: DotSet,
    pub(crate) meta: Meta,
    pub(crate) rebases: Rebases,
    /// The greatest Lamport time of a rebase here, if one moved something.
    clock: u64,
    writer: Option<Writer>,
    unsealed: Unsealed,
    /// The path of the delta sealed last, and of the one applied last.
    spelled: Spelled,
    heard: Heard,
    depth_limit: DepthLimit,
    crowding: Option<Crowding>,
}

impl Document {
    /// An empty document that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What it covers, its own unsealed edits included: seal before it is advertised.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// The entries of `meta` in key order.
    pub fn meta(&self) -> impl Iterator<Item = (&str, &[u8])> + '_ {
        self.meta.iter().filter_map(|(key, entry)| entry.value.as_deref().map(|value| (key, value)))
    }

    /// A number that grows when what `meta` shows changes: who compares it before and after a call knows whether it did.
    pub const fn meta_changes(&self) -> u64 {
        self.meta.changes()
    }

    /// One entry of `meta`.
    pub fn meta_value(&self, key: &str) -> Option<&[u8]> {
        self.meta.get(key).and_then(|entry| entry.value.as_deref())
    }

    /// The whole text: O(n).
    pub fn text(&self) -> String {
        self.sequence.text()
    }

    /// The text of a range of UTF-16 positions, cut to the text; a character the range splits belongs to it whole.
    pub fn slice_utf16(&self, range: Range<usize>) -> String {
        let end = range.end.min(self.len_utf16());
        let start = range.start.min(end);
        let from = self.measure_before(Unit::Utf16, start);
        let to = self.measure_before(Unit::Utf16, end);
        let to =
            if (to.utf16 as usize) < end { self.measure_before(Unit::Scalars, to.scalars as usize + 1) } else { to };
        self.sequence.slice(from, to)
    }

    /// Length in UTF-16 units.
    pub fn len_utf16(&self) -> usize {
        self.sequence.measure().utf16 as usize
    }

    /// Length in Unicode scalars.
    pub fn len_scalars(&self) -> usize {
        self.sequence.measure().scalars as usize
    }

    /// Length in bytes of UTF-8.
    pub fn len_bytes(&self) -> usize {
        self.sequence.measure().bytes as usize
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len_bytes() == 0
    }

    /// Scalars before a UTF-16 position: O(log n). A position inside a character counts as the one before it, one
    /// beyond the text as its end; so do the conversions below.
    pub fn utf16_to_scalar(&self, utf16: usize) -> usize {
        self.measure_before(Unit::Utf16, utf16).scalars as usize
    }

    /// UTF-8 bytes before a UTF-16 position.
    pub fn utf16_to_byte(&self, utf16: usize) -> usize {
        self.measure_before(Unit::Utf16, utf16).bytes as usize
    }

    /// UTF-16 units before a scalar.
    pub fn scalar_to_utf16(&self, scalar: usize) -> usize {
        self.measure_before(Unit::Scalars, scalar).utf16 as usize
    }

    /// UTF-16 units before a byte position.
    pub fn byte_to_utf16(&self, byte: usize) -> usize {
        self.measure_before(Unit::Bytes, byte).utf16 as usize
    }

    /// The lengths before a position, rounded down to a character and cut to the text.
    pub(crate) fn measure_before(&self, unit: Unit, offset: usize) -> Measure {
        let whole = self.sequence.measure();
        if offset >= whole.get(unit) as usize {
            return whole;
        }
        self.sequence.find(unit, offset as u32).1
    }

    /// Who wrote the character at a UTF-16 position: O(log n). `None` beyond the text.
    pub fn author_at(&self, utf16: usize) -> Option<SiteId> {
        let atom = self.sequence.right_of(self.place_at(utf16)?)?;
        Some(self.sequence.groups.site(atom.group))
    }

    fn place_at(&self, utf16: usize) -> Option<crate::sequence::Place> {
        (utf16 <= self.len_utf16()).then(|| self.sequence.find(Unit::Utf16, utf16 as u32).0)
    }

    /// An anchor at a UTF-16 position (cut to the text) that holds on to the character on the side of `bias`; with none
    /// there, to that end of the document.
    pub fn anchor_at(&self, utf16: usize, bias: Bias) -> Anchor {
        let place = self.place_at(utf16.min(self.len_utf16())).expect("the position was cut to the text");
        let gap = self.sequence.gap(place);
        let atom = match bias {
            Bias::Before => gap.left,
            Bias::After => gap.right,
        };
        let path = atom.map(|atom| self.sequence.groups.path(atom)).unwrap_or_default();
        Anchor { bias, path }
    }

    /// The UTF-16 position of an anchor now: beside its character, wherever a rebase moved that, or where it stood if it is
    /// gone. O(d log n), d = its depth; O(n) if it is not where it was and nothing was applied or sealed here yet.
    pub fn resolve(&self, anchor: &Anchor) -> usize {
        if anchor.path.depth() == 0 {
            return match anchor.bias {
                Bias::Before => 0,
                Bias::After => self.len_utf16(),
            };
        }
        let mut place = self.sequence.forward(self.sequence.place_of_path(anchor.path.elements()));
        let mut alive = self
            .sequence
            .gap(place)
            .right
            .is_some_and(|atom| self.sequence.groups.is_path(atom, anchor.path.elements()));
        // It may have been moved since, or, where the anchor was made, by a rebase that has not come.
        let known = anchor.dot().filter(|dot| dot.counter <= self.vector.get(dot.site));
        if !alive && let Some(moved) = known.and_then(|dot| self.sequence.find_dot(dot)) {
            (place, alive) = (moved, true);
        }
        let before = self.sequence.before(place).utf16 as usize;
        if !alive || anchor.bias == Bias::After {
            return before;
        }
        let one =
            self.sequence.rest_of_run(place).map(|(_, rest)| self.sequence.prefix_at(place, rest, Unit::Scalars, 1));
        before + one.map_or(0, |one| one.utf16 as usize)
    }

    /// Sizes, and how long identifiers are: O(n), n = runs.
    pub fn stats(&self) -> Stats {
        let measure = self.sequence.measure();
        let mut stats = Stats {
            scalars: measure.scalars as usize,
            utf16: measure.utf16 as usize,
            bytes: measure.bytes as usize,
            groups: self.sequence.groups.len(),
            sites: self.vector.len(),
            pending_ranges: self.pending.len(),
            moved_ranges: self.rebases.moved.len(),
            pending_moves: self.rebases.pending.len(),
            meta_entries: self.meta.len(),
            heap_bytes: self.sequence.heap_bytes() + self.vector.len() * 16 + self.pending.len() * 40,
            ..Stats::default()
        };
        let mut previous = None;
        for (run, _) in self.sequence.runs() {
            let depth = self.sequence.groups.depth(run.group);
            stats.depth_max = stats.depth_max.max(depth);
            stats.depth_sum += depth * run.measure.scalars() as usize;
            let (longest, all) = self.sequence.groups.bytes_of_run(run.first(), run.measure.scalars());
            stats.path_bytes_max = stats.path_bytes_max.max(longest);
            stats.path_bytes_sum += all;
            if previous.is_none_or(|previous: crate::sequence::Run| !previous.precedes(run.first())) {
                stats.runs += 1;
            }
            previous = Some(run);
        }
        stats
    }

    /// Checks everything that must always hold; for tests. O(n d).
    ///
    /// # Panics
    /// If something does not hold.
    pub fn assert_invariants(&self) {
        self.sequence.assert_invariants();
        for (run, _) in self.sequence.runs() {
            let range = self.sequence.range(run);
            assert!(range.last <= self.vector.get(range.site), "living dots are covered");
            let (longest, _) = self.sequence.groups.bytes_of_run(run.first(), run.measure.scalars());
            let depth = self.sequence.groups.depth(run.group);
            assert!(depth <= PATH_LEVELS_MAX && longest <= PATH_BYTES_MAX, "identifiers keep their limits");
        }
        for range in self.pending.iter() {
            assert!(range.first > self.vector.get(range.site), "pending dots are not covered");
        }
        self.assert_moves();
        if let Some(writer) = self.writer {
            assert_eq!(writer.next, self.vector.get(writer.site) + 1, "own edits are covered at once");
        }
    }

    fn assert_moves(&self) {
        let (mut moved, mut living) = (0, 0);
        for (run, _) in self.sequence.runs() {
            let base = self.sequence.groups.parent(run.group);
            for (part, stamp) in self.rebases.moved.divide(self.sequence.range(run)) {
                let Some(stamp) = stamp else { continue };
                assert_eq!(self.sequence.groups.site(base.group), stamp.dot.site, "moved by the base's site");
                assert_eq!(base.k, stamp.dot.counter as i64, "moved by the base's operation");
                living += part.last - part.first + 1;
            }
        }
        for (range, _) in self.rebases.moved.iter() {
            moved += range.last - range.first + 1;
        }
        assert_eq!(living, moved, "what is moved lives");
        for (range, _) in self.rebases.pending.iter() {
            assert!(range.first > self.vector.get(range.site), "what waits has not come");
            assert!(self.pending.first_within(range).is_none(), "what waits is not deleted");
        }
    }

    /// Forgets pending deletes and moves that the vector covers now.
    fn settle_pending(&mut self, site: SiteId) {
        if self.awaits_dots() {
            self.forget_pending(site);
        }
    }

    #[cold]
    #[inline(never)]
    fn forget_pending(&mut self, site: SiteId) {
        let covered = DotRange { site, first: 1, last: self.vector.get(site).min(COUNTER_END - 1) };
        self.pending.remove(covered);
        self.rebases.pending.remove(covered);
    }
}
