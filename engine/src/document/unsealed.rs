//! The open delta: what was written here since the last seal, joined as it comes.
//!
//! It holds no text. An unsealed counter is a delete, a write of `meta` or a rebase, which are kept here, or a character,
//! which is in the text, or else void: a character deleted before it was sealed is never sent. Each edit consumes its counters
//! all the same: a vector names one state, sealed or not. Typing and taking back cost nothing here.

use core::ops::Range;
use std::collections::VecDeque;

use super::Document;
use crate::codec::delta::op_bytes_max;
use crate::delta::Delta;
use crate::id::SiteId;
use crate::limits::{DELTA_BYTES_MAX, OP_TEXT_BYTES_MAX};
use crate::op::{Direction, Op};
use crate::position::Path;
use crate::position::group::GroupIndex;

/// Bytes of a delta's header at most: kind, site, first, counters.
const HEADER_BYTES_MAX: usize = 1 + 10 + 8 + 8;

/// Counters of one site from `first` on, not sealed yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsealed {
    first: Option<u64>,
    /// Deletes, writes of `meta` and rebases with their counters, in order.
    ops: Vec<(u64, Op)>,
    /// Deltas that are sealed, only not handed out: a rebase closes what was open.
    closed: VecDeque<Delta>,
    /// The path spelled last: the next insert often stands on it too.
    path: Path,
}

impl Unsealed {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.closed.is_empty()
    }

    /// The lowest counter not sealed yet.
    pub(super) const fn first(&self) -> Option<u64> {
        self.first
    }

    /// Deletes, writes of `meta` and rebases with their counters, in order.
    pub(super) fn ops(&self) -> &[(u64, Op)] {
        &self.ops
    }

    /// Whether sealed deltas wait to be handed out.
    pub(super) fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    /// Hands out the first of them.
    pub(super) fn next_closed(&mut self) -> Option<Delta> {
        self.closed.pop_front()
    }

    /// Everything is sealed.
    pub(super) fn close(&mut self) {
        self.first = None;
        self.ops.clear();
    }

    /// Counters from `first` on are used.
    pub(super) const fn open(&mut self, first: u64) {
        if self.first.is_none() {
            self.first = Some(first);
        }
    }

    /// Adds a delete, a write of `meta` or a rebase.
    pub(super) fn push(&mut self, counter: u64, op: Op) {
        self.ops.push((counter, op));
    }
}

impl Document {
    /// Whether there is something to [`seal`](Self::seal).
    pub fn has_unsealed(&self) -> bool {
        !self.unsealed.is_empty()
    }

    /// Takes what was written since the last seal, as deltas of at most 32 KiB, in counter order. They are sent and kept
    /// byte for byte from here on. O(r log n + b), r = their runs and ranges, b = bytes of text; O(1) after typing.
    pub fn seal(&mut self) -> Vec<Delta> {
        let closed = core::mem::take(&mut self.unsealed.closed);
        let open = self.seal_open();
        if closed.is_empty() { open } else { closed.into_iter().chain(open).collect() }
    }

    /// Seals what is open. It is handed out with what is sealed next.
    pub(super) fn close_unsealed(&mut self) {
        let open = self.seal_open();
        self.unsealed.closed.extend(open);
    }

    fn seal_open(&mut self) -> Vec<Delta> {
        let (Some(writer), Some(first)) = (self.writer, self.unsealed.first.take()) else {
            return Vec::new();
        };
        let mut sealing = Sealing::new(writer.site);
        let mut next = first;
        // The list keeps its room for the next ones.
        let mut ops = core::mem::take(&mut self.unsealed.ops);
        for (counter, op) in ops.drain(..) {
            self.seal_text(next..counter, &mut sealing);
            sealing.push(counter, op);
            next = counter + 1;
        }
        self.unsealed.ops = ops;
        self.seal_text(next..writer.next, &mut sealing);
        sealing.finish()
    }

    /// Seals what lives of these counters as inserts, and the rest as void.
    fn seal_text(&mut self, counters: Range<u64>, sealing: &mut Sealing) {
        let mut next = counters.start;
        let mut before: Option<(GroupIndex, Direction)> = None;
        let mut listed = self.sequence.all_live(sealing.site, &counters).map(Vec::into_iter);
        loop {
            let found = match &mut listed {
                Some(listed) => listed.next(),
                None => self.sequence.first_live(sealing.site, next..counters.end),
            };
            let Some((place, measure)) = found else { break };
            let Some((run, _)) = self.sequence.rest_of_run(place) else { break };
            let text = self.sequence.text_at(place, measure);
            let length = u64::from(measure.scalars);
            let k = run.atom(place.spot.scalars).k;
            let (direction, first) =
                if k > 0 { (Direction::After, k as u64) } else { (Direction::Before, (1 - k) as u64 - length) };
            let continues = first == next && before == Some((run.group, direction));
            if first > next {
                sealing.push(next, Op::Void { length: first - next });
            }
            if !continues || !sealing.extend(direction, text) {
                let groups = &self.sequence.groups;
                let above = groups.parent(run.group);
                if !groups.is_path(above, self.unsealed.path.elements()) {
                    self.unsealed.path = groups.path(above);
                }
                let parent = self.unsealed.path.clone();
                sealing.push(
                    first,
                    Op::Insert { parent, digit: groups.digit(run.group), direction, text: text.to_owned() },
                );
            }
            before = Some((run.group, direction));
            next = first + length;
        }
        if next < counters.end {
            sealing.push(next, Op::Void { length: counters.end - next });
        }
    }
}

/// Fills deltas of at most [`DELTA_BYTES_MAX`] with operations in counter order.
pub(super) struct Sealing {
    site: SiteId,
    deltas: Vec<Delta>,
    /// Bytes the last delta may still take beyond its last operation, which may grow.
    room: usize,
    /// Counter of the last operation.
    last: u64,
    /// Its bytes, if they were counted and it has not grown since.
    last_bytes: Option<usize>,
}

impl Sealing {
    pub(super) const fn new(site: SiteId) -> Self {
        Self { site, deltas: Vec::new(), room: 0, last: 0, last_bytes: None }
    }

    pub(super) fn finish(self) -> Vec<Delta> {
        self.deltas
    }

    /// Adds to the text of the last operation, an insert, if there is room.
    fn extend(&mut self, direction: Direction, more: &str) -> bool {
        let Some(last) = self.deltas.last_mut().and_then(|delta| delta.ops.last_mut()) else { return false };
        // Its length may take two bytes more.
        let fits = op_bytes_max(self.site, last, self.last) + more.len() + 2 <= self.room;
        let Op::Insert { text, .. } = last else { return false };
        if text.len() + more.len() > OP_TEXT_BYTES_MAX || !fits {
            return false;
        }
        self.last_bytes = None;
        match direction {
            Direction::After => text.push_str(more),
            Direction::Before => text.insert_str(0, more),
        }
        true
    }

    pub(super) fn push(&mut self, first: u64, op: Op) {
        if let Some(delta) = self.deltas.last_mut()
            && let Some(last) = delta.ops.last_mut()
        {
            if let (Op::Void { length }, Op::Void { length: before }) = (&op, &mut *last) {
                *before += length;
                self.last_bytes = None;
                return;
            }
            let taken = self.last_bytes.unwrap_or_else(|| op_bytes_max(self.site, last, self.last));
            let room = self.room.saturating_sub(taken);
            let bytes = op_bytes_max(self.site, &op, first);
            if bytes <= room {
                self.room = room;
                self.last = first;
                self.last_bytes = Some(bytes);
                delta.ops.push(op);
                return;
            }
        }
        self.room = DELTA_BYTES_MAX - HEADER_BYTES_MAX;
        self.last = first;
        self.last_bytes = None;
        self.deltas.push(Delta { site: self.site, first, ops: vec![op] });
    }
}
