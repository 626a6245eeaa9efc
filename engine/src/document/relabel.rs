//! Rebases that leave the text as it is: mostly what one lists stands side by side already, in the order it is to have.
//!
//! Then its runs get their new groups where they stand. No text is taken out, and of the dots only the first is looked up.

use super::Document;
use super::deletion::normalised;
use crate::id::{Dot, DotRange};
use crate::position::allocate::Gap;
use crate::position::group::{Atom, GroupIndex};
use crate::rebase::{Piece, Rebase, Stamp};
use crate::sequence::{Place, RunAt};

/// What a rebase moves, side by side.
struct Standing {
    /// Its runs in text order, each with the number of its piece.
    runs: Vec<(RunAt, usize)>,
    between: Gap,
}

impl Document {
    /// Applies the rebase with this dot if the text stays as it is. Whether it does: else nothing was changed.
    ///
    /// O(d log g + w (log g + log r)), d = depth, g = groups, w = runs moved, r = ranges that were moved.
    pub(super) fn rebase_in_place(&mut self, dot: Dot, rebase: &Rebase) -> bool {
        let Some(first) = rebase.pieces.first() else { return false };
        let first = Dot::new(first.site, first.first_k.unsigned_abs());
        let standing = self.sequence.place_of_dot(first).and_then(|start| self.standing(rebase, start));
        let Some(standing) = standing.filter(|_| self.outdoes_all(dot, rebase)) else { return false };
        let groups = &mut self.sequence.groups;
        let above = groups.intern_path(&rebase.parent);
        let base = groups.intern(above, rebase.digit, dot.site);
        // What nothing stands on has no slots yet.
        let is_new = !groups.is_used(base);
        self.relabel(dot, rebase, (base, is_new), &standing)
    }

    /// [`rebase_in_place`](Self::rebase_in_place) for one made here, whose pieces begin at `start`: its base's group, held by the
    /// caller, and whether nothing else stands on that. It looks nothing up: who writes alone needs no index. O(w log r).
    pub(super) fn rebase_own_in_place(
        &mut self,
        dot: Dot,
        rebase: &Rebase,
        base: (GroupIndex, bool),
        start: Place,
    ) -> bool {
        self.standing(rebase, start).is_some_and(|standing| self.relabel(dot, rebase, base, &standing))
    }

    /// Where the pieces of a rebase stand, if all of them live side by side from `start` on, each a run.
    fn standing(&self, rebase: &Rebase, start: Place) -> Option<Standing> {
        let mut following = self.sequence.runs_from(start)?;
        let mut runs = Vec::with_capacity(rebase.pieces.len());
        for (number, piece) in rebase.pieces.iter().enumerate() {
            let (mut k, mut left) = (piece.first_k, piece.length);
            while left > 0 {
                let at = following.next()?;
                let scalars = at.run.measure.scalars();
                // Of two runs in one leaf that become one, the text is to be put together.
                let apart = k == piece.first_k || at.number == 0;
                let is_next = at.run.first_k == k && self.sequence.groups.site(at.run.group) == piece.site;
                left = left.checked_sub(u64::from(scalars)).filter(|_| is_next && apart)?;
                k += i64::from(scalars);
                runs.push((at, number));
            }
        }
        let right = following.next().map(|at| at.run.first());
        Some(Standing { runs, between: Gap { left: self.sequence.left_of(start), right } })
    }

    /// Whether nothing of what a rebase moves was moved by a later one.
    fn outdoes_all(&self, dot: Dot, rebase: &Rebase) -> bool {
        let stamp = Stamp { lamport: rebase.lamport, dot };
        stamp.lamport > self.clock || dots_of(rebase).into_iter().all(|range| self.rebases.are_outdone_by(range, stamp))
    }

    /// Moves runs below the base, which nothing else stands on if it is new, where they stand: if they sort there.
    fn relabel(&mut self, dot: Dot, rebase: &Rebase, (group, is_new): (GroupIndex, bool), standing: &Standing) -> bool {
        let groups = &mut self.sequence.groups;
        let base = Atom { group, k: dot.counter as i64 };
        groups.retain(group);
        let slot = |piece: &Piece| {
            let digit = piece.digit(rebase.spacing).expect("a valid rebase's slots have digits");
            let slot =
                if is_new { groups.add(base, digit, piece.site) } else { groups.intern(base, digit, piece.site) };
            groups.retain(slot);
            slot
        };
        let slots: Vec<GroupIndex> = rebase.pieces.iter().map(slot).collect();
        let fits = self.sorts_below(standing, &slots);
        if fits {
            standing.runs.iter().for_each(|&(at, piece)| self.sequence.regroup(at, slots[piece]));
            let stamp = Stamp { lamport: rebase.lamport, dot };
            dots_of(rebase).into_iter().for_each(|range| self.note_moved(range, stamp));
        }
        for group in slots.into_iter().chain([group]) {
            self.sequence.groups.release(group);
        }
        fits
    }

    /// Whether the first and the last of what is moved sort between their neighbours when they have these groups.
    fn sorts_below(&self, standing: &Standing, slots: &[GroupIndex]) -> bool {
        let groups = &self.sequence.groups;
        let Gap { left, right } = standing.between;
        standing.runs.first().zip(standing.runs.last()).is_some_and(|(first, last)| {
            let first = Atom { group: slots[first.1], k: first.0.run.first_k };
            let last = Atom { group: slots[last.1], k: last.0.run.last().k };
            left.is_none_or(|left| groups.compare(left, first).is_lt())
                && right.is_none_or(|right| groups.compare(last, right).is_lt())
        })
    }
}

/// The dots a rebase moves, sorted and joined: mostly far fewer ranges than pieces.
fn dots_of(rebase: &Rebase) -> Vec<DotRange> {
    normalised(rebase.pieces.iter().filter_map(|piece| piece.dots()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::Delta;
    use crate::id::SiteId;
    use crate::op::Op;
    use crate::patch::PatchList;

    fn document(index: u32) -> Document {
        let mut document = Document::new();
        document.begin_writing(SiteId::leased(0, index), 1).unwrap();
        document.set_depth_limit(9);
        document
    }

    /// SplitMix64.
    fn below(state: &mut u64, end: usize) -> usize {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((value ^ (value >> 27)) >> 33) as usize % end
    }

    /// Applies a delta of one operation; a rebase by taking each character out and putting it in again.
    fn apply_piecewise(document: &mut Document, delta: &Delta) {
        let [Op::Rebase(rebase)] = delta.ops.as_slice() else {
            document.apply(delta).unwrap();
            return;
        };
        let mut patches = PatchList::default();
        document.apply_moves(rebase.targets(Dot::new(delta.site, delta.first)).collect(), &mut patches);
        assert!(patches.finish().is_empty(), "the text stays as it is");
        document.vector.advance(delta.site, delta.first);
    }

    /// Two sites in turn, each beside the last insert or somewhere near, now and then with a delete.
    #[test]
    fn moving_in_place_is_taking_out_and_putting_in() {
        let (mut rebases, mut stayed) = (0, 0);
        for seed in 0..20 {
            let (mut dice, mut caret) = (seed, 0);
            let mut writers = [document(1), document(2)];
            let (mut in_place, mut piecewise) = (document(3), document(4));
            for _ in 0..400 {
                let writer = below(&mut dice, 2);
                let length = writers[writer].len_utf16();
                caret = (caret + below(&mut dice, 2)).min(length);
                if below(&mut dice, 20) == 0 {
                    caret = below(&mut dice, length + 1);
                }
                let delete = (length - caret).min(below(&mut dice, 12) / 10);
                writers[writer].replace(caret, delete, ["x", "yz", "\u{1f600}"][below(&mut dice, 3)]).unwrap();
                for delta in writers[writer].seal() {
                    writers[1 - writer].apply(&delta).unwrap();
                    let mut first = delta.first;
                    for op in delta.ops {
                        let one = Delta { site: delta.site, first, ops: vec![op] };
                        apply_piecewise(&mut piecewise, &one);
                        if let Op::Rebase(rebase) = &one.ops[0] {
                            rebases += 1;
                            stayed += usize::from(in_place.clone().rebase_in_place(Dot::new(one.site, first), rebase));
                        }
                        in_place.apply(&one).unwrap();
                        first += one.ops[0].counters();
                    }
                }
            }
            for other in writers.iter().chain([&piecewise]) {
                assert_eq!(in_place.snapshot(), other.snapshot(), "seed {seed}");
                other.assert_invariants();
            }
            in_place.assert_invariants();
        }
        assert!(rebases > 200 && stayed * 10 > rebases * 9, "{stayed} of {rebases} in place");
    }

    #[test]
    fn what_stands_between_the_pieces_prevents_it() {
        let (mut mover, mut reader) = (document(1), document(2));
        for caret in 0..6 {
            mover.replace(caret, 0, "()").unwrap();
        }
        for delta in mover.seal() {
            reader.apply(&delta).unwrap();
        }
        reader.replace(3, 0, "meanwhile").unwrap();
        let (mut here, mut there) = (reader.clone(), reader);
        mover.set_depth_limit(3);
        mover.replace(6, 0, "!").unwrap();
        let moved = mover.seal();
        let Op::Rebase(rebase) = &moved[0].ops[0] else { panic!("{:?}", moved[0].ops[0]) };
        assert!(!here.rebase_in_place(Dot::new(moved[0].site, moved[0].first), rebase));
        assert_eq!(here.snapshot(), there.snapshot(), "nothing was changed");
        here.assert_invariants();
        for delta in &moved {
            there.apply(delta).unwrap();
        }
        there.assert_invariants();
        assert_eq!(there.text().replace("meanwhile", ""), mover.text());
    }
}
