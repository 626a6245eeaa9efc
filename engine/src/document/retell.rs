//! A state told again as deltas: for logs, which keep deltas, when only a state survived.
//!
//! Per site one chain from what the base covers to what this document covers. Living characters are inserts again, with
//! their own dots where they stand now, moved ones where they were moved to; every other counter is void, since what it did
//! is no longer to be seen, except that the last void ones carry the site's writes of `meta`, and that a rebase is one again,
//! of what it moved and nothing later did. Deletes cannot go there: a counter holds one operation, and
//! who has a part of a chain from its author takes only what follows it. They are one more chain, of a site that is named
//! by a hash of what it deletes: nobody has a part of it from elsewhere, and who tells the same deletes again tells
//! nothing new. It comes first: of what is told a log may keep only a beginning, and no delete may be missing there of
//! what a void already stands for, since whoever tells the rest sees nothing left to be deleted. Hence all who apply all of
//! the chains, whatever they had of them, end with one state.
//!
//! Left open: of a chain that a log keeps in part, a write of `meta` may lie behind what is kept and have had a counter
//! before it. Who has that write from its author and nothing later of that author does not tell it again. And
//! where a rebase is void since all it moved was deleted or moved again, who has its counter this way and lacks what came later
//! has these characters at other places than who heard it from its author, until that comes.

use core::cmp::Reverse;

use super::Document;
use super::deletion::normalised;
use super::unsealed::Sealing;
use crate::codec::Writer;
use crate::delta::Delta;
use crate::dots::DotSet;
use crate::hash::digest64;
use crate::id::{Dot, DotRange, SiteId};
use crate::limits::{OP_RANGES_MAX, OP_TEXT_BYTES_MAX};
use crate::meta::Entry;
use crate::op::{Direction, Op};
use crate::position::{Element, Path};
use crate::rebase::{Piece, Rebase, Target};
use crate::sorted_map::SortedMap;
use crate::state::StateDiff;

impl Document {
    /// What leads a document in `base`'s state to this one's, as deltas that anyone may apply, of at most 32 KiB each
    /// and in counter order per site. Applied to `base` they leave what applying them to this document and merging that
    /// would; `base` may know what this document does not. O(n log n + b), n = runs, b = bytes of text.
    ///
    /// The bytes of a delta for given counters are not those of the original. Both are safe to meet. The first deltas may be
    /// of one site that this document does not know: it says what is deleted. Append them in this order: if only a first part
    /// of them is kept, no delete is missing; what follows is told again by whoever knows more of its site.
    pub fn deltas_since(&self, base: &Self) -> Vec<Delta> {
        let diff = self.state_diff(&base.vector);
        let mut told = Chains::of(&diff);
        let mut writes = self.meta_since(base);
        let (mut chains, mut deleted) = (Vec::new(), Vec::new());
        for (site, last) in self.vector.iter() {
            let first = base.vector.get(site) + 1;
            if first <= last {
                let mut chain = told.take(DotRange { site, first, last });
                // What these once inserted is dead. Somebody may have that insert from its author and not the delete, which
                // another chain covers: a void says nothing to who has its counters.
                deleted.extend(chain.voids());
                chain.put_on_last_voids(writes.remove(&site).unwrap_or_default());
                chains.push(chain);
            }
        }
        deleted.extend(self.deletes_since(base, &diff.live));
        let mut deltas = tell_deletes(base, &united(deleted));
        deltas.extend(chains.into_iter().flat_map(Chain::seal));
        deltas
    }

    /// What the base shows, or will show when it arrives, and this document has deleted. Ranges reach over what is dead
    /// in between.
    fn deletes_since(&self, base: &Self, live: &DotSet) -> Vec<DotRange> {
        let (mut dead, mut early) = (Vec::new(), Vec::new());
        for (run, _) in base.sequence.runs() {
            let dots = base.sequence.range(run);
            let have = self.vector.get(dots.site);
            if dots.first <= have {
                let known = DotRange { last: dots.last.min(have), ..dots };
                dead.extend(live.divide(known).into_iter().filter(|part| !part.1).map(|part| part.0));
            }
            // Deleted here before it came.
            early.extend(self.pending.divide(dots).into_iter().filter(|part| part.1).map(|part| part.0));
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
        for range in self.pending.iter() {
            let beyond = DotRange { first: range.first.max(base.vector.get(range.site) + 1), ..range };
            if beyond.first <= beyond.last {
                early.extend(base.pending.divide(beyond).into_iter().filter(|part| !part.1).map(|part| part.0));
            }
        }
        dead.extend(early);
        dead
    }

    /// The writes of `meta` beyond the base by their sites, the latest of each first.
    fn meta_since(&self, base: &Self) -> SortedMap<SiteId, Vec<Op>> {
        // One that the base knows, or knows to be outdone, has no counter beyond the base.
        let news = |(key, entry): &(&str, &Entry)| base.meta.get(key).is_none_or(|present| present < *entry);
        let mut entries: Vec<_> = self.meta.iter().filter(news).collect();
        entries.sort_unstable_by_key(|(_, entry)| Reverse(entry.lamport));
        let mut writes = SortedMap::new();
        for (key, entry) in entries {
            let (key, value, lamport) = (key.to_owned(), entry.value.clone(), entry.lamport);
            writes.or_insert_with(entry.site, Vec::new).push(Op::Meta { key, value, lamport });
        }
        writes
    }
}

/// The deletes of `ranges` as the chain of a site that they alone name; what the base has of it is left out.
fn tell_deletes(base: &Document, ranges: &[DotRange]) -> Vec<Delta> {
    let mut name = Writer::default();
    for range in ranges {
        name.raw(&range.site.get().to_le_bytes());
        name.varint(range.first);
        name.varint(range.last);
    }
    let site = SiteId::system(digest64(&[b"selvedge deletes 1", name.as_bytes()]));
    let mut sealing = Sealing::new(site);
    for (counter, part) in (1..).zip(ranges.chunks(OP_RANGES_MAX)) {
        if counter > base.vector.get(site) {
            sealing.push(counter, Op::Delete { ranges: part.to_vec() });
        }
    }
    sealing.finish()
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

/// The living text beyond the base and the rebases that moved some, per site in counter order.
struct Chains {
    inserts: SortedMap<SiteId, Vec<(u64, Op)>>,
}

impl Chains {
    fn of(diff: &StateDiff) -> Self {
        let paths = paths(diff);
        let mut inserts: SortedMap<SiteId, Vec<(u64, Op)>> = SortedMap::new();
        for (run, text) in diff.runs() {
            let dots = diff.dots(run);
            let known = diff.since.get(dots.site);
            if dots.last <= known {
                continue;
            }
            let group = diff.groups[run.group as usize];
            let parent = paths[run.group as usize].clone();
            let direction = if run.first_k > 0 { Direction::After } else { Direction::Before };
            let whole = Op::Insert { parent, digit: group.digit, direction, text: text.to_owned() };
            let pieces = inserts.or_insert_with(dots.site, Vec::new);
            // A scalar has at most four bytes.
            let step = (OP_TEXT_BYTES_MAX / 4) as u64;
            let length = u64::from(run.scalars);
            // What was only moved is told by the rebase.
            let old = (known + 1).saturating_sub(dots.first);
            for skip in (old..length).step_by(step as usize) {
                pieces.push((dots.first + skip, whole.slice(skip, step.min(length - skip))));
            }
        }
        for (dot, rebase) in rebases_of(diff) {
            inserts.or_insert_with(dot.site, Vec::new).push((dot.counter, Op::Rebase(Box::new(rebase))));
        }
        for (_, pieces) in inserts.iter_mut() {
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

    /// Puts operations of one counter each, the last first, on the last void counters, as far as there are any: none of `meta` comes
    /// before the counter it had then, so who lacks that counter is told. O(c + o), c = operations of the chain, o = those put on it.
    fn put_on_last_voids(&mut self, ops: Vec<Op>) {
        let mut ops = ops.into_iter().peekable();
        // What stands behind the void counters that are left, backwards.
        let mut behind = Vec::new();
        while ops.peek().is_some()
            && let Some((first, op)) = self.ops.pop()
        {
            if !matches!(op, Op::Void { .. }) {
                behind.push((first, op));
                continue;
            }
            let mut end = first + op.counters();
            while end > first
                && let Some(op) = ops.next()
            {
                end -= 1;
                behind.push((end, op));
            }
            if end > first {
                self.ops.push((first, Op::Void { length: end - first }));
            }
        }
        self.ops.extend(behind.into_iter().rev());
    }

    fn seal(self) -> Vec<Delta> {
        let mut sealing = Sealing::new(self.site);
        self.ops.into_iter().for_each(|(first, op)| sealing.push(first, op));
        sealing.finish()
    }
}

/// The rebases that the peer lacks, of what still is where they moved it or has not come yet. A slot had one range: what died
/// in it, or was moved again, is named with the rest of it, and nothing comes of that.
fn rebases_of(diff: &StateDiff) -> Vec<(Dot, Rebase)> {
    let mut by_dot: SortedMap<Dot, Vec<(DotRange, Target)>> = SortedMap::new();
    let awaited = diff.rebases.pending.iter().map(|(range, target)| (range, target.clone()));
    for (range, target) in diff.moves().into_iter().chain(awaited) {
        let dot = target.stamp.dot;
        if dot.counter > diff.since.get(dot.site) {
            by_dot.or_insert_with(dot, Vec::new).push((range, target));
        }
    }
    // One that no decoder would take, as only a hostile state has it, is void.
    let rebases = by_dot.into_iter().filter_map(|(dot, moves)| Some((dot, rebase_of(moves)?)));
    rebases.filter(|(dot, rebase)| rebase.validate(dot.counter).is_ok()).collect()
}

fn rebase_of(mut moves: Vec<(DotRange, Target)>) -> Option<Rebase> {
    moves.sort_by_key(|(range, target)| (target.digit, *range));
    moves.dedup_by(|(next, target), (previous, before)| {
        let joins = target.digit == before.digit && target.falling == before.falling && next.site == previous.site;
        if joins {
            previous.last = next.last;
        }
        joins
    });
    let (_, Target { stamp, parent, base_digit, .. }) = moves.first()?.clone();
    let spacing = moves.iter().fold(0, |spacing, (_, target)| divisor(spacing, target.digit.get().unsigned_abs()));
    let pieces = moves.iter().map(|(range, target)| Piece {
        slot: target.digit.get().unsigned_abs() / spacing - 1,
        site: range.site,
        first_k: target.first_k(*range),
        length: range.last - range.first + 1,
    });
    Some(Rebase { parent, digit: base_digit, lamport: stamp.lamport, spacing, pieces: pieces.collect() })
}

/// The greatest number that divides both (Euclid).
const fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
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
