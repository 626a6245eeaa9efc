//! A state told again as deltas: for logs, which keep deltas, when only a state survived.
//!
//! Per site one chain from what the base covers to what this document covers. Living characters are inserts again, with
//! their own dots at their own places; every other counter is void, since what it did is no longer to be seen, except
//! that the last void counters of each site repeat all deletes: of what the base still shows and of what is dead beyond
//! it. Whoever lacks a delete lacks that part of its site's chain, so all who apply the chains end with one text. One
//! counter holds one operation, so who has all but the last of a chain from its author may miss a write of `meta` that
//! stands before it, or, beyond 1,024 ranges, a part of the deletes.

use std::collections::BTreeMap;

use super::Document;
use super::local::normalised;
use super::unsealed::Sealing;
use crate::delta::Delta;
use crate::dots::DotSet;
use crate::id::{DotRange, SiteId};
use crate::limits::{OP_RANGES_MAX, OP_TEXT_BYTES_MAX};
use crate::op::{Direction, Op};
use crate::position::{Element, Path};
use crate::state::StateDiff;

impl Document {
    /// What leads a document in `base`'s state to this one's, as deltas that anyone may apply, of at most 32 KiB each
    /// and in counter order per site. Applied to `base` they leave what merging this state would; `base` may know what
    /// this document does not. O(n log n + b), n = runs, b = bytes of text.
    ///
    /// The bytes of a delta for given counters are not those of the original. Both are safe to meet.
    pub fn deltas_since(&self, base: &Self) -> Vec<Delta> {
        let diff = self.state_diff(&base.vector);
        let mut told = Chains::of(&diff);
        let mut chains = Vec::new();
        // Counters that get another operation than void. Somebody may show what they once inserted: they are deleted too.
        let mut used = Vec::new();
        for (site, last) in self.vector.iter() {
            let first = base.vector.get(site) + 1;
            if first <= last {
                let mut chain = told.take(DotRange { site, first, last });
                // What these once inserted is dead. Somebody may have that insert from its author and not the delete, which
                // another chain covers: a void says nothing to who has its counters.
                used.extend(chain.voids());
                self.tell_meta(base, &mut chain, &mut used);
                chains.push(chain);
            }
        }
        used.extend(self.deletes_since(base, &diff.live));
        tell_deletes(&mut chains, used);
        chains.iter_mut().for_each(Chain::deletes_last);
        chains.into_iter().flat_map(Chain::seal).collect()
    }

    /// What the base shows, or will show when it arrives, and this document has deleted. Ranges reach over what is dead
    /// in between.
    fn deletes_since(&self, base: &Self, live: &DotSet) -> Vec<DotRange> {
        let mut dead = Vec::new();
        for (run, _) in base.sequence.runs() {
            let dots = base.sequence.range(run);
            let known = DotRange { last: dots.last.min(self.vector.get(dots.site)), ..dots };
            if known.first <= known.last {
                dead.extend(live.divide(known).into_iter().filter(|part| !part.1).map(|part| part.0));
            }
        }
        let mut dead = normalised(dead);
        dead.dedup_by(|next, previous| {
            let between = DotRange { first: previous.last + 1, last: next.first.saturating_sub(1), ..*previous };
            let joins = next.site == previous.site && live.first_within(between).is_none();
            if joins {
                previous.last = next.last;
            }
            joins
        });
        dead.extend(self.pending.iter());
        normalised(dead)
    }

    fn tell_meta(&self, base: &Self, chain: &mut Chain, used: &mut Vec<DotRange>) {
        let site = chain.site;
        for (key, entry) in self.meta.iter().filter(|(_, entry)| entry.site == site) {
            // One that the base knows, or knows to be outdone, has no counter beyond the base.
            if base.meta.get(key).is_none_or(|present| present < entry) {
                let (key, value, lamport) = (key.to_owned(), entry.value.clone(), entry.lamport);
                used.extend(chain.replace_last_void(Op::Meta { key, value, lamport }));
            }
        }
    }
}

/// Puts deletes of `ranges`, and of the counters this takes, on the last void counters of every chain.
fn tell_deletes(chains: &mut [Chain], ranges: Vec<DotRange>) {
    if ranges.is_empty() {
        return;
    }
    let mut ranges = ranges;
    let mut count = 0;
    while united(ranges.clone()).len() > count * OP_RANGES_MAX {
        count += 1;
        // A place for one more operation in every chain; it is filled below.
        let empty = || Op::Delete { ranges: Vec::new() };
        ranges.extend(chains.iter_mut().filter_map(|chain| chain.replace_last_void(empty())));
    }
    let ranges = united(ranges);
    for chain in chains {
        let mut parts = ranges.chunks(OP_RANGES_MAX).cycle();
        for (_, op) in &mut chain.ops {
            if let Op::Delete { ranges } = op
                && let Some(part) = parts.next()
            {
                ranges.extend_from_slice(part);
            }
        }
    }
}

/// Sorted, overlapping and adjacent ones joined.
fn united(mut ranges: Vec<DotRange>) -> Vec<DotRange> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, previous| {
        let joins = next.site == previous.site && next.first <= previous.last + 1;
        if joins {
            previous.last = next.last.max(previous.last);
        }
        joins
    });
    ranges
}

/// The living text beyond the base, per site in counter order.
struct Chains {
    inserts: BTreeMap<SiteId, Vec<(u64, Op)>>,
}

impl Chains {
    fn of(diff: &StateDiff) -> Self {
        let paths = paths(diff);
        let mut inserts: BTreeMap<SiteId, Vec<(u64, Op)>> = BTreeMap::new();
        for (run, text) in diff.runs() {
            let dots = diff.dots(run);
            let group = diff.groups[run.group as usize];
            let parent = paths[run.group as usize].clone();
            let direction = if run.first_k > 0 { Direction::After } else { Direction::Before };
            let whole = Op::Insert { parent, digit: group.digit, direction, text: text.to_owned() };
            let pieces = inserts.entry(dots.site).or_default();
            // A scalar has at most four bytes.
            let step = (OP_TEXT_BYTES_MAX / 4) as u64;
            let length = u64::from(run.scalars);
            for skip in (0..length).step_by(step as usize) {
                pieces.push((dots.first + skip, whole.slice(skip, step.min(length - skip))));
            }
        }
        for pieces in inserts.values_mut() {
            pieces.sort_by_key(|piece| piece.0);
        }
        Self { inserts }
    }

    /// The chain of these dots: what is not inserted is void.
    fn take(&mut self, dots: DotRange) -> Chain {
        let mut ops = Vec::new();
        let mut next = dots.first;
        for (first, op) in self.inserts.remove(&dots.site).unwrap_or_default() {
            if first > next {
                ops.push((next, Op::Void { length: first - next }));
            }
            next = first + op.counters();
            ops.push((first, op));
        }
        if next <= dots.last {
            ops.push((next, Op::Void { length: dots.last - next + 1 }));
        }
        Chain { site: dots.site, ops }
    }
}

/// One site's operations with their first counters.
struct Chain {
    site: SiteId,
    ops: Vec<(u64, Op)>,
}

impl Chain {
    /// The counters that are void.
    fn voids(&self) -> impl Iterator<Item = DotRange> {
        let voids = self.ops.iter().filter(|(_, op)| matches!(op, Op::Void { .. }));
        voids.map(|(first, op)| DotRange { site: self.site, first: *first, last: first + op.counters() - 1 })
    }

    /// Puts an operation of one counter on the last void counter, if there is one; tells which.
    fn replace_last_void(&mut self, op: Op) -> Option<DotRange> {
        let at = self.ops.iter().rposition(|(_, op)| matches!(op, Op::Void { .. }))?;
        self.replace_void(at, self.ops[at].1.counters() - 1, op)
    }

    fn replace_void(&mut self, at: usize, skip: u64, op: Op) -> Option<DotRange> {
        let (first, length) = (self.ops[at].0, self.ops[at].1.counters());
        let counter = first + skip;
        let void = |first: u64, length: u64| (length > 0).then_some((first, Op::Void { length }));
        let parts = [void(first, skip), Some((counter, op)), void(counter + 1, length - skip - 1)];
        self.ops.splice(at..=at, parts.into_iter().flatten());
        Some(DotRange { site: self.site, first: counter, last: counter })
    }

    /// Of the operations put on void counters, those of `meta` come before the deletes: who has a part of the chain from
    /// its author gets its end, and a delete that stays out does more harm.
    fn deletes_last(&mut self) {
        let put = |op: &Op| matches!(op, Op::Meta { .. } | Op::Delete { .. });
        let slots: Vec<usize> = (0..self.ops.len()).filter(|at| put(&self.ops[*at].1)).collect();
        let mut ops: Vec<Op> = slots.iter().map(|at| self.ops[*at].1.clone()).collect();
        ops.sort_by_key(|op| matches!(op, Op::Delete { .. }));
        for (at, op) in slots.into_iter().zip(ops) {
            self.ops[at].1 = op;
        }
    }

    fn seal(self) -> Vec<Delta> {
        let mut sealing = Sealing::new(self.site);
        self.ops.into_iter().for_each(|(first, op)| sealing.push(first, op));
        sealing.finish()
    }
}

/// The paths the groups of a table stand on.
fn paths(diff: &StateDiff) -> Vec<Path> {
    let mut paths: Vec<Path> = Vec::with_capacity(diff.groups.len());
    for group in &diff.groups {
        let path = group.parent.map_or_else(Path::root, |(parent, k)| below(&paths[parent as usize], diff, parent, k));
        paths.push(path);
    }
    paths
}

/// The path of the character `k` of a group that stands on `above`.
fn below(above: &Path, diff: &StateDiff, group: u32, k: i64) -> Path {
    let group = diff.groups[group as usize];
    let mut path = above.clone();
    path.push(Element { digit: group.digit, site: group.site, k });
    path
}
