//! Whole states: diffs for peers, merging them, snapshots.

use super::Document;
use crate::codec::state as codec;
use crate::dot_map::DotMap;
use crate::dots::DotSet;
use crate::error::{ApplyError, DecodeError};
use crate::id::DotRange;
use crate::patch::{PatchList, TextPatch};
use crate::position::group::{Atom, GroupIndex, Groups};
use crate::rebase::{Rebases, Stamp};
use crate::sequence::{Measure, Run, Sequence};
use crate::state::{StateDiff, StateGroup, StateRun};
use crate::vector::VersionVector;

impl Document {
    /// What a peer at vector `since` lacks; for the empty vector, everything. O(n log n), n = runs; O(n) for the
    /// empty vector.
    pub fn state_diff(&self, since: &VersionVector) -> StateDiff {
        let mut builder = Builder::new(&self.sequence.groups);
        let mut live = Vec::new();
        let rebased = !self.rebases.moved.is_empty();
        for (run, text) in self.sequence.runs() {
            let dots = self.sequence.range(run);
            let known = since.get(dots.site);
            if dots.first <= known {
                live.push(DotRange { last: dots.last.min(known), ..dots });
            }
            if rebased && self.rebases.moved.touches(dots) {
                self.add_moved(run, text, dots, since, &mut builder);
            } else if dots.last > known {
                builder.add_beyond(run, text, dots, known);
            }
        }
        let Builder { groups, runs, text, moved, .. } = builder;
        StateDiff {
            since: since.clone(),
            vector: self.vector.clone(),
            groups,
            runs,
            text,
            live: live.into_iter().collect(),
            pending: self.pending.clone(),
            meta: self.meta.clone(),
            rebases: Rebases { moved, pending: self.rebases.pending.clone() },
        }
    }

    /// Adds of a run what the peer does not know or does not know to be where it is, with when it was moved.
    fn add_moved(&self, run: Run, text: &str, dots: DotRange, since: &VersionVector, builder: &mut Builder<'_>) {
        let known = since.get(dots.site);
        let mut parts = self.rebases.moved.divide(dots);
        if run.first_k < 0 {
            parts.reverse();
        }
        for (part, stamp) in parts {
            let moved = stamp.is_some_and(|stamp| stamp.dot.counter > since.get(stamp.dot.site));
            let told = DotRange { first: if moved { part.first } else { part.first.max(known + 1) }, ..part };
            if told.first > told.last {
                continue;
            }
            let skip = if run.first_k > 0 { told.first - dots.first } else { dots.last - told.last };
            let count = told.last - told.first + 1;
            let text = super::remote::scalars(text, skip as usize, count as usize);
            builder.add(run.group, run.first_k + skip as i64, text, count as u32);
            if let Some(stamp) = stamp {
                builder.moved.insert(told, stamp);
            }
        }
    }

    /// Merges another document's state into this one: afterwards it covers both. Characters the other one knew and has
    /// deleted go; what it does not know stays.
    ///
    /// O(n log n + r d log n + b), n = runs here, r = runs of the diff, d = depth, b = bytes of its text.
    ///
    /// # Errors
    /// [`ApplyError::NotReached`] if the diff is for a peer that knows what this document does not,
    /// [`ApplyError::OwnSite`] if it brings counters of the site written here. Then nothing was changed.
    pub fn apply_state(&mut self, diff: &StateDiff) -> Result<Vec<TextPatch>, ApplyError> {
        if !self.vector.dominates(&diff.since) {
            return Err(ApplyError::NotReached);
        }
        if let Some(writer) = self.writer
            && diff.vector.get(writer.site) >= writer.next
        {
            return Err(ApplyError::OwnSite { site: writer.site });
        }
        if self.vector.is_empty() && self.pending.is_empty() && self.rebases.pending.is_empty() {
            return Ok(self.become_state(diff));
        }
        let mut patches = PatchList::default();
        for range in self.gone_in(diff) {
            self.remove_live(range, &mut patches, None);
        }
        self.add_runs_of(diff, &mut patches);
        self.vector.join(&diff.vector);
        let pending = core::mem::take(&mut self.pending);
        for range in pending.iter().chain(diff.pending.iter()) {
            self.apply_delete(range, &mut patches);
        }
        self.apply_moves_of(diff, &mut patches);
        for (key, entry) in diff.meta.iter() {
            self.meta.merge(key, entry.clone());
        }
        Ok(patches.finish())
    }

    /// Merges into a document that knows nothing: O(n), n = runs of the diff.
    fn become_state(&mut self, diff: &StateDiff) -> Vec<TextPatch> {
        self.sequence = sequence_of(diff);
        self.vector = diff.vector.clone();
        self.pending = diff.pending.clone();
        self.rebases = diff.rebases.clone();
        self.clock = self.rebases.latest();
        for (key, entry) in diff.meta.iter() {
            self.meta.merge(key, entry.clone());
        }
        let mut patches = PatchList::default();
        if !diff.text.is_empty() {
            patches.insert(0, &diff.text, self.len_utf16());
        }
        patches.finish()
    }

    /// The living dots here that the sender knew and no longer has.
    fn gone_in(&self, diff: &StateDiff) -> Vec<DotRange> {
        let mut kept: DotSet = diff.live.clone();
        for run in &diff.runs {
            kept.insert(diff.dots(*run));
        }
        let mut gone = Vec::new();
        for (run, _) in self.sequence.runs() {
            let dots = self.sequence.range(run);
            let known = DotRange { last: dots.last.min(diff.vector.get(dots.site)), ..dots };
            if known.first <= known.last {
                gone.extend(kept.divide(known).into_iter().filter(|part| !part.1).map(|part| part.0));
            }
        }
        gone
    }

    fn add_runs_of(&mut self, diff: &StateDiff, patches: &mut PatchList) {
        let groups = intern_table(&mut self.sequence.groups, &diff.groups);
        for &group in &groups {
            self.sequence.groups.retain(group);
        }
        for (run, text) in diff.runs() {
            let dots = diff.dots(run);
            let have = self.vector.get(dots.site);
            if dots.last <= have {
                continue;
            }
            let new = DotRange { first: dots.first.max(have + 1), ..dots };
            let (skip, count) = beyond(run.first_k, dots, have);
            let text = super::remote::scalars(text, skip, count);
            let first = Atom { group: groups[run.group as usize], k: run.first_k + skip as i64 };
            if diff.rebases.moved.touches(new) {
                self.add_moved_run(diff, first, new, text, patches);
            } else {
                self.integrate_undeleted(first, new, (text, Measure::of(text)), patches);
            }
        }
        for &group in groups.iter().rev() {
            self.sequence.groups.release(group);
        }
    }

    /// Integrates a run of which something was moved.
    fn add_moved_run(&mut self, diff: &StateDiff, first: Atom, dots: DotRange, text: &str, patches: &mut PatchList) {
        for (part, stamp) in diff.rebases.moved.divide(dots) {
            let skip = if first.k > 0 { part.first - dots.first } else { dots.last - part.last };
            let text = super::remote::scalars(text, skip as usize, (part.last - part.first + 1) as usize);
            self.integrate_awaited(Atom { k: first.k + skip as i64, ..first }, part, text, stamp, patches);
        }
    }

    /// Moves what is known here to where a later rebase put it there, and what has not come where either expects it.
    fn apply_moves_of(&mut self, diff: &StateDiff, patches: &mut PatchList) {
        if self.rebases.pending.is_empty() && diff.rebases.is_empty() {
            return;
        }
        let awaited = core::mem::take(&mut self.rebases.pending);
        self.apply_moves(diff.moves(), patches);
        for awaited in [&awaited, &diff.rebases.pending] {
            self.apply_moves(awaited.iter().map(|(range, target)| (range, target.clone())).collect(), patches);
        }
    }

    /// The whole document, versioned and checksummed: a pure function of its state. Documents with equal vectors have
    /// equal snapshots.
    pub fn snapshot(&self) -> Vec<u8> {
        codec::encode_snapshot(&self.state_diff(&VersionVector::new()))
    }

    /// [`snapshot`](Self::snapshot) without packing: several times larger and many times cheaper, for a device that keeps a
    /// copy while somebody types. [`load`](Self::load) reads both.
    pub fn snapshot_plain(&self) -> Vec<u8> {
        codec::encode_snapshot_plain(&self.state_diff(&VersionVector::new()))
    }

    /// Reads a snapshot. The document has no site to write as yet. [`OpenedSnapshot`](crate::OpenedSnapshot) gives the text alone, sooner.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn load(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::open_snapshot(bytes)?.finish().map(Self::of_state)
    }

    /// The document that a whole state is of.
    #[inline(never)]
    pub(crate) fn of_state(state: StateDiff) -> Self {
        let sequence = sequence_of(&state);
        let StateDiff { vector, pending, meta, rebases, .. } = state;
        let clock = rebases.latest();
        Self { sequence, vector, pending, meta, rebases, clock, ..Self::default() }
    }
}

/// The runs of a state as a sequence of their own: O(n + g), n = runs, g = groups. Every state has them in order, however it was made.
fn sequence_of(state: &StateDiff) -> Sequence {
    let atom = |group: u32, k: i64| Atom { group: group + 1, k };
    let groups = state.groups.iter().map(|group| {
        let parent = group.parent.map_or(Atom::ROOT, |(parent, k)| atom(parent, k));
        (parent, group.digit, group.site)
    });
    let groups = Groups::of_table(groups);
    let runs = state.runs.iter().map(|run| (atom(run.group, run.first_k), run.scalars, run.bytes));
    Sequence::from_runs(groups, runs, &state.text)
}

/// The part of a run, whose dots are `dots`, beyond counter `known`: how many characters to skip, and how many it has.
fn beyond(first_k: i64, dots: DotRange, known: u64) -> (usize, usize) {
    let first = dots.first.max(known + 1);
    let skip = if first_k > 0 { first - dots.first } else { 0 };
    (skip as usize, (dots.last + 1 - first) as usize)
}

fn intern_table(groups: &mut Groups, table: &[StateGroup]) -> Vec<GroupIndex> {
    let mut interned: Vec<GroupIndex> = Vec::with_capacity(table.len());
    for group in table {
        let parent = group.parent.map_or(Atom::ROOT, |(parent, k)| Atom { group: interned[parent as usize], k });
        interned.push(groups.intern(parent, group.digit, group.site));
    }
    interned
}

/// Collects runs and the table of their groups.
struct Builder<'a> {
    source: &'a Groups,
    /// Number in the table per group of the document.
    numbers: Vec<Option<u32>>,
    groups: Vec<StateGroup>,
    runs: Vec<StateRun>,
    text: String,
    moved: DotMap<Stamp>,
}

impl<'a> Builder<'a> {
    fn new(source: &'a Groups) -> Self {
        let numbers = vec![None; source.slots()];
        Self { source, numbers, groups: Vec::new(), runs: Vec::new(), text: String::new(), moved: DotMap::default() }
    }

    fn add_beyond(&mut self, run: Run, text: &str, dots: DotRange, known: u64) {
        let (skip, count) = beyond(run.first_k, dots, known);
        let text = if count as u32 == run.measure.scalars() { text } else { super::remote::scalars(text, skip, count) };
        self.add(run.group, run.first_k + skip as i64, text, count as u32);
    }

    fn add(&mut self, group: GroupIndex, first_k: i64, text: &str, scalars: u32) {
        let group = self.number(group);
        self.text.push_str(text);
        let bytes = text.len() as u32;
        match self.runs.last_mut() {
            Some(last) if last.group == group && last.last_k() + 1 == first_k => {
                last.scalars += scalars;
                last.bytes += bytes;
            }
            _ => self.runs.push(StateRun { group, first_k, scalars, bytes }),
        }
    }

    fn number(&mut self, group: GroupIndex) -> u32 {
        if let Some(number) = self.numbers[group as usize] {
            return number;
        }
        let above = self.source.parent(group);
        // Depth is bounded by the levels of a path.
        let parent = (above.group != 0).then(|| (self.number(above.group), above.k));
        let number = self.groups.len() as u32;
        self.groups.push(StateGroup { parent, digit: self.source.digit(group), site: self.source.site(group) });
        self.numbers[group as usize] = Some(number);
        number
    }
}
