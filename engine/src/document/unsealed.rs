//! The open delta: what was written here since the last seal, joined as it comes.
//!
//! Typing extends the last insert. Deleting what is not sealed yet turns it into a void, so that it is never sent. Each
//! edit still consumes its counters: a vector names one state, sealed or not.

use crate::codec::delta::op_bytes_max;
use crate::delta::Delta;
use crate::dots::DotSet;
use crate::id::{DotRange, SiteId};
use crate::limits::{DELTA_BYTES_MAX, OP_TEXT_BYTES_MAX};
use crate::op::{Direction, Op};
use crate::position::group::GroupIndex;

/// Bytes of a delta's header at most: kind, site, first, counters.
const HEADER_BYTES_MAX: usize = 1 + 10 + 8 + 8;

#[derive(Clone, Debug)]
struct Entry {
    first: u64,
    op: Op,
}

/// The group and direction of the insert that typing may extend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tail {
    pub(super) group: GroupIndex,
    pub(super) direction: Direction,
}

/// Operations of one site with consecutive counters, not sealed yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsealed {
    entries: Vec<Entry>,
    /// Characters in here that were deleted again.
    cancelled: DotSet,
    /// Set only while its group certainly lives, since numbers of groups are used again.
    tail: Option<Tail>,
}

impl Unsealed {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds to the last insert if `tail` is its and there is room. Costs O(bytes of text).
    pub(super) fn extend(&mut self, tail: Tail, more: &str) -> bool {
        if self.tail != Some(tail) {
            return false;
        }
        let Some(Entry { op: Op::Insert { text, .. }, .. }) = self.entries.last_mut() else {
            return false;
        };
        if text.len() + more.len() > OP_TEXT_BYTES_MAX {
            return false;
        }
        match tail.direction {
            Direction::After => text.push_str(more),
            Direction::Before => text.insert_str(0, more),
        }
        true
    }

    /// Adds an operation; `tail` if it is an insert that may be extended.
    pub(super) fn push(&mut self, first: u64, op: Op, tail: Option<Tail>) {
        self.tail = tail;
        if let Op::Void { length } = op
            && let Some(Entry { op: Op::Void { length: before }, .. }) = self.entries.last_mut()
        {
            *before += length;
            return;
        }
        self.entries.push(Entry { first, op });
    }

    /// What comes next does not extend what is there.
    pub(super) fn close_tail(&mut self) {
        self.tail = None;
    }

    /// The lowest counter not sealed yet.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.first().map(|entry| entry.first)
    }

    /// The characters of `range`, which are all in here, are gone: they are sealed as voids. O(log r), r = ranges.
    pub(super) fn cancel(&mut self, range: DotRange) {
        self.tail = None;
        self.cancelled.insert(range);
    }

    /// Takes everything as deltas of at most [`DELTA_BYTES_MAX`] each.
    pub(super) fn seal(&mut self, site: SiteId) -> Vec<Delta> {
        self.tail = None;
        let cancelled = core::mem::take(&mut self.cancelled);
        let mut sealing = Sealing::new(site);
        for Entry { first, op } in self.entries.drain(..) {
            if cancelled.is_empty() || !matches!(op, Op::Insert { .. }) {
                sealing.push(first, op);
                continue;
            }
            let last = first + op.counters() - 1;
            let parts = cancelled.divide(DotRange { site, first, last });
            for (part, gone) in parts {
                let length = part.last - part.first + 1;
                let op = if gone { Op::Void { length } } else { op.slice(part.first - first, length) };
                sealing.push(part.first, op);
            }
        }
        sealing.finish()
    }
}

/// Fills deltas of at most [`DELTA_BYTES_MAX`] with operations in counter order.
pub(super) struct Sealing {
    site: SiteId,
    deltas: Vec<Delta>,
    /// Bytes the last delta may still take.
    room: usize,
}

impl Sealing {
    pub(super) const fn new(site: SiteId) -> Self {
        Self { site, deltas: Vec::new(), room: 0 }
    }

    pub(super) fn finish(self) -> Vec<Delta> {
        self.deltas
    }

    pub(super) fn push(&mut self, first: u64, op: Op) {
        if let Op::Void { length } = op
            && let Some(Op::Void { length: before }) = self.deltas.last_mut().and_then(|delta| delta.ops.last_mut())
        {
            *before += length;
            return;
        }
        let bytes = op_bytes_max(self.site, &op, first);
        match self.deltas.last_mut() {
            Some(delta) if bytes <= self.room => delta.ops.push(op),
            _ => {
                self.room = DELTA_BYTES_MAX - HEADER_BYTES_MAX;
                self.deltas.push(Delta { site: self.site, first, ops: vec![op] });
            }
        }
        self.room -= bytes;
    }
}
