//! Making room: where new text would stand too deep, what lives around it is moved under a new base first.
//!
//! Identifiers of recorded sessions stay far below the limit. Who writes against the allocation, always between the two characters
//! where the last one made it narrow, reaches it after a hundred edits; then a window of the text around the place is moved
//! up. Windows with the same neighbours are alike, so the window grows by whichever neighbour stands deeper, and each time
//! both are shallower than before it is a candidate: what was written since the last time, that and what was moved last
//! time, and so on outwards. It grows as long as what comes next is no larger than what it has. So what earlier rebases
//! moved stands in layers, each larger than all within it: of n characters there are at most log2 n, each two levels deep,
//! and a character moves again only into a layer twice as large: O(log n) moves for each insert, as a binary counter carries
//! (Bentley and Saxe, decomposable searching problems, 1980).
//!
//! What was written here before and is not sealed is sealed first, at the places it had: a reader sees it come before it moves.

use super::allocation::Allocation;
use super::{Document, Writer};
use crate::error::EditError;
use crate::id::{COUNTER_END, Dot, DotRange};
use crate::limits::{OP_RANGES_MAX, PATH_BYTES_MAX, PATH_LEVELS_MAX, REBASE_LEVELS};
use crate::op::Op;
use crate::patch::PatchList;
use crate::position::allocate::{Gap, Slot, between};
use crate::position::group::{Atom, GroupIndex};
use crate::position::{Digit, group_bytes, k_bytes};
use crate::rebase::{Piece, Rebase};
use crate::sequence::{Place, Stretch};

/// One level of text below the slots of a base at the root.
const DEPTH_LIMIT_MIN: usize = 3;
/// Bytes of a path that count as a level: at both limits a path is equally deep.
const LEVEL_BYTES: usize = PATH_BYTES_MAX / PATH_LEVELS_MAX;
/// Characters of a window whose move costs as much as another piece.
const PIECE_SCALARS: usize = 256;
/// Pieces whose move costs as much as making another rebase does, for everybody: so many more a window may take for a layer less.
/// Of the values tried: none makes a quarter more rebases, six times as many a fifth more moves.
const REBASE_PIECES: usize = 50;

/// From how many levels on an edit rebases.
#[derive(Clone, Copy, Debug)]
pub(super) struct DepthLimit(usize);

impl Default for DepthLimit {
    fn default() -> Self {
        Self(REBASE_LEVELS)
    }
}

/// What edits came upon where identifiers are deep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crowding {
    /// New text called for a rebase at [`REBASE_LEVELS`](crate::REBASE_LEVELS), and stands deeper: the limit is set higher, or
    /// no window helped.
    Deep,
    /// The text around was moved.
    Rebased,
}

/// Living text to be moved: what stands between two characters that stay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    between: Gap,
    /// Operations it takes at most.
    ops: u64,
}

impl Window {
    pub(super) const fn ops(self) -> u64 {
        self.ops
    }
}

/// Where a base goes, and when.
#[derive(Clone, Copy)]
struct Base {
    slot: Slot,
    /// Its group, held by a reference.
    group: GroupIndex,
    /// Nothing stands on the group yet.
    is_new: bool,
    lamport: u64,
}

impl Document {
    /// Sets above how many levels of an identifier an edit rebases, 3 to 64; [`REBASE_LEVELS`](crate::REBASE_LEVELS) unless set.
    /// Who can have the text around the place rebased by somebody else sets 64, at which it cannot wait any longer; it makes as
    /// much room then as who did not wait. O(1).
    pub fn set_depth_limit(&mut self, levels: usize) {
        self.depth_limit = DepthLimit(levels.clamp(DEPTH_LIMIT_MIN, PATH_LEVELS_MAX));
    }

    /// The last thing that edits here came upon since this was asked, if one did. O(1).
    pub fn take_crowding(&mut self) -> Option<Crowding> {
        self.crowding.take()
    }

    /// Whether new text there calls for a rebase.
    pub(super) fn is_deep(&mut self, allocation: Allocation) -> bool {
        let Allocation::New(Slot { parent, digit }) = allocation else { return false };
        let groups = &self.sequence.groups;
        let levels = groups.depth(parent.group) + 1;
        let levels = levels.max((groups.bytes(parent) + group_bytes(digit)) / LEVEL_BYTES);
        if levels > REBASE_LEVELS {
            self.crowding = Some(Crowding::Deep);
        }
        levels > self.depth_limit.0
    }

    /// The window to move so that text fits between what stands before `from` and behind `to`; `None` if none helps. If the
    /// text would not fit at all (`must`), one that passes the document's own limit will do.
    pub(super) fn window(&self, from: Place, to: Place, writer: Writer, must: bool) -> Option<Window> {
        // Who has waited up to a higher limit would otherwise make room for a few levels alone.
        let within = self.window_within(from, to, writer, self.depth_limit.0.min(REBASE_LEVELS));
        if must { within.or_else(|| self.window_within(from, to, writer, PATH_LEVELS_MAX)) } else { within }
    }

    /// The largest window that was never more than doubled to come to it. O(w d), w = runs looked at, at most twice its own.
    fn window_within(&self, from: Place, to: Place, writer: Writer, limit: usize) -> Option<Window> {
        let mut before = self.sequence.stretches_before(from).peekable();
        let mut after = self.sequence.stretches_after(to).peekable();
        let level = |stretch: Option<&Stretch>| stretch.map_or(0, |stretch| self.level(stretch.last()));
        let mut window = None;
        let (mut pieces, mut cost, mut cost_max, mut record) = (0, 0, usize::MAX, usize::MAX);
        while cost <= cost_max {
            let (left, right) = (before.peek().copied(), after.peek().copied());
            let (left_level, right_level) = (level(left.as_ref()), level(right.as_ref()));
            if cost > 0 && left_level.max(right_level) < record {
                record = left_level.max(right_level);
                let gap = Gap { left: left.map(Stretch::last), right: right.map(|stretch| stretch.first) };
                if self.has_levels_below(gap, writer, pieces, limit) {
                    window = Some(Window { between: gap, ops: (pieces / OP_RANGES_MAX) as u64 + 2 });
                    cost_max = 2 * cost + REBASE_PIECES;
                }
            }
            let next = if left_level >= right_level { left } else { right };
            let Some(stretch) = next.filter(|stretch| self.can_move(*stretch)) else { break };
            if left_level >= right_level {
                before.next()
            } else {
                after.next()
            };
            pieces += 1;
            cost += 1 + stretch.scalars as usize / PIECE_SCALARS;
        }
        window
    }

    /// How deep an identifier is: its levels, or its bytes where these are nearer their limit.
    fn level(&self, atom: Atom) -> usize {
        let groups = &self.sequence.groups;
        groups.depth(atom.group).max(groups.bytes(atom) / LEVEL_BYTES)
    }

    /// Whether there is a level of text below the slots of a base in this gap.
    fn has_levels_below(&self, gap: Gap, writer: Writer, pieces: usize, limit: usize) -> bool {
        let groups = &self.sequence.groups;
        let dot = Dot::new(writer.site, writer.next);
        let Some(Slot { parent, digit }) = between(groups, gap, &gap.parting(groups), dot, COUNTER_END - 1) else {
            return false;
        };
        let base_levels = groups.depth(parent.group) + 1 + usize::from(pieces > OP_RANGES_MAX);
        let bytes = groups.bytes(parent) + group_bytes(digit) + k_bytes(writer.next as i64);
        let digit_bytes = group_bytes(Digit::new(Digit::max_of(base_levels)));
        // The slots, and text below them, must fit whoever wrote it.
        let fits = bytes + 2 * (digit_bytes + k_bytes(COUNTER_END as i64 - 1)) <= PATH_BYTES_MAX;
        let slots = (base_levels + 1).max((bytes + digit_bytes + k_bytes(writer.next as i64)) / LEVEL_BYTES);
        slots < limit && fits
    }

    /// Whether a rebase by an honest clock would move these characters.
    fn can_move(&self, stretch: Stretch) -> bool {
        self.clock + 1 < COUNTER_END || self.latest_move(stretch) + 1 < COUNTER_END
    }

    /// The greatest Lamport time at which one of these characters was moved; 0 if none was.
    fn latest_move(&self, stretch: Stretch) -> u64 {
        if self.rebases.moved.is_empty() {
            return 0;
        }
        let parts = self.rebases.moved.divide(self.dots_of(stretch)).into_iter();
        parts.filter_map(|(_, stamp)| stamp).map(|stamp| stamp.lamport).max().unwrap_or(0)
    }

    fn dots_of(&self, stretch: Stretch) -> DotRange {
        let (a, b) = (stretch.first.k.unsigned_abs(), stretch.last().k.unsigned_abs());
        DotRange { site: self.sequence.groups.site(stretch.first.group), first: a.min(b), last: a.max(b) }
    }

    /// Moves what lives in a window under a new base, or several if one operation cannot list it all. The text stays as it
    /// is. O(w (d + log n) + b), w = runs in the window, b = their text.
    ///
    /// # Errors
    /// [`EditError`]; then nothing was changed.
    pub(super) fn rebase(&mut self, window: Window) -> Result<(), EditError> {
        self.ready_writer(window.ops)?;
        self.close_unsealed();
        let pieces = self.pieces(window.between);
        let writer = self.writer.ok_or(EditError::NoSite)?;
        let dot = Dot::new(writer.site, writer.next);
        let (groups, gap) = (&self.sequence.groups, window.between);
        let slot = between(groups, gap, &gap.parting(groups), dot, dot.counter).ok_or(EditError::TooDeep)?;
        let mut lamport = self.clock + 1;
        if lamport >= COUNTER_END {
            lamport = pieces.iter().map(|piece| self.latest_move(*piece)).max().unwrap_or(0) + 1;
        }
        let base = self.hold_base(slot, &pieces, lamport, writer);
        let done = if pieces.len() <= OP_RANGES_MAX {
            self.rebase_pieces(base, &pieces, 0)
        } else {
            self.rebase_in_chunks(base, &pieces, writer)
        };
        self.sequence.groups.release(base.group);
        done?;
        self.crowding = Some(Crowding::Rebased);
        Ok(())
    }

    /// A base for these pieces with its group, which the caller releases. Without an index, which who writes alone does not need,
    /// whatever stands on its group is in the text, and so among the pieces.
    fn hold_base(&mut self, slot: Slot, pieces: &[Stretch], lamport: u64, writer: Writer) -> Base {
        let groups = &mut self.sequence.groups;
        let Slot { parent, digit } = slot;
        let key = (parent, digit, writer.site);
        let is_free = !groups.is_indexed() && !pieces.iter().any(|piece| groups.stands_on(piece.first.group, key));
        let group =
            if is_free { groups.add(parent, digit, writer.site) } else { groups.intern(parent, digit, writer.site) };
        let is_new = !groups.is_used(group);
        groups.retain(group);
        Base { slot, group, is_new, lamport }
    }

    /// Moves more pieces than one operation can list: the first operation's base is the base of those of the others. Each time
    /// those next to the base are moved, so that none passes what is not moved yet.
    fn rebase_in_chunks(&mut self, base: Base, pieces: &[Stretch], writer: Writer) -> Result<(), EditError> {
        let at = Atom { group: base.group, k: writer.next as i64 };
        let before = pieces.partition_point(|piece| self.sequence.groups.compare(piece.first, at).is_lt());
        let (before, behind) = pieces.split_at(before);
        let others = before.len().div_ceil(OP_RANGES_MAX).max(behind.len().div_ceil(OP_RANGES_MAX));
        // Digits under the base: negative ones for what stood before it, then the first operation's slots, then others.
        let digits = Digit::max_of(self.sequence.groups.depth(base.group)) / (OP_RANGES_MAX + 1 + others) as i64;
        let mut chunks: Vec<(i64, &[Stretch])> = Vec::new();
        chunks.extend((OP_RANGES_MAX as i64 + 1..).zip(behind.chunks(OP_RANGES_MAX)));
        chunks.extend((1..).map(|number| -number).zip(before.rchunks(OP_RANGES_MAX)));
        let mut chunks = chunks.into_iter();
        let (_, first) = chunks.next().ok_or(EditError::TooDeep)?;
        self.rebase_pieces(base, first, others)?;
        for (number, chunk) in chunks {
            let slot = Slot { parent: at, digit: Digit::new(number * digits) };
            let below = self.hold_base(slot, chunk, base.lamport, writer);
            let done = self.rebase_pieces(below, chunk, others);
            self.sequence.groups.release(below.group);
            done?;
        }
        Ok(())
    }

    /// The runs between two characters, in text order.
    fn pieces(&self, between: Gap) -> Vec<Stretch> {
        let start = match between.left {
            Some(left) => {
                let place = self.start_at(left);
                self.sequence.after(place, left).unwrap_or(place)
            }
            None => self.sequence.start(),
        };
        let mut pieces: Vec<Stretch> = Vec::new();
        for stretch in self.sequence.stretches_after(start) {
            let end = between.right.filter(|right| stretch.has(*right));
            let scalars = end.map_or(stretch.scalars, |right| (right.k - stretch.first.k) as u32);
            match pieces.last_mut() {
                Some(last) if last.precedes(stretch) => last.scalars += scalars,
                _ if scalars > 0 => pieces.push(Stretch { scalars, ..stretch }),
                _ => {}
            }
            if end.is_some() {
                break;
            }
        }
        pieces
    }

    /// The place of a living character, by its identifier: O(d log n).
    fn start_at(&self, atom: Atom) -> Place {
        self.sequence.forward(self.sequence.place_of(atom))
    }

    /// Moves pieces to a base with one operation, whose slots leave room for `others` behind them.
    fn rebase_pieces(&mut self, base: Base, pieces: &[Stretch], others: usize) -> Result<(), EditError> {
        let writer = self.writer.ok_or(EditError::NoSite)?;
        let dot = Dot::new(writer.site, writer.next);
        let slots = if others > 0 { OP_RANGES_MAX } else { pieces.len() };
        let groups = &self.sequence.groups;
        let piece = |(slot, stretch): (usize, &Stretch)| Piece {
            slot: slot as u64,
            site: groups.site(stretch.first.group),
            first_k: stretch.first.k,
            length: u64::from(stretch.scalars),
        };
        let rebase = Rebase {
            parent: groups.path(base.slot.parent),
            digit: base.slot.digit,
            lamport: base.lamport,
            spacing: Digit::max_of(groups.depth(base.group)) as u64 / (slots + 1 + others) as u64,
            pieces: pieces.iter().enumerate().map(piece).collect(),
        };
        rebase.validate(dot.counter).map_err(|_| EditError::TooDeep)?;
        let first = pieces.first().ok_or(EditError::TooDeep)?.first;
        if !self.rebase_own_in_place(dot, &rebase, (base.group, base.is_new), self.start_at(first)) {
            let mut patches = PatchList::default();
            self.apply_rebase(dot, &rebase, &mut patches);
            debug_assert!(patches.finish().is_empty(), "a rebase here leaves the text as it is");
        }
        self.advance_writer(dot.counter);
        self.unsealed.push(dot.counter, Op::Rebase(Box::new(rebase)));
        Ok(())
    }
}
