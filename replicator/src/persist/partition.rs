//! How far one partition has come: what was read, what of it is not durable yet, and what may be committed.

use std::collections::BTreeSet;

use selvedge_protocol::Instant;

/// One partition that is this reader's.
#[derive(Debug)]
pub(super) struct Partition {
    /// The next offset to be read.
    pub(super) read_to: u64,
    /// Offsets at which writes on their way begin.
    writing: BTreeSet<u64>,
    committed: u64,
    committing: bool,
    committed_at: Instant,
    /// Pages are passed over until the reader has gone back.
    pub(super) rewinding: bool,
    /// It is asked back.
    pub(super) leaving: bool,
}

impl Partition {
    pub(super) fn new(from: u64, committed: Option<u64>, now: Instant) -> Self {
        Self {
            read_to: from,
            writing: BTreeSet::new(),
            // What was trimmed away before it was read is nothing to commit.
            committed: committed.unwrap_or(0),
            committing: false,
            committed_at: now,
            rewinding: false,
            leaving: false,
        }
    }

    pub(super) fn begin_write(&mut self, from: u64) {
        self.writing.insert(from);
    }

    pub(super) fn end_write(&mut self, from: u64) {
        self.writing.remove(&from);
    }

    /// The offset below which everything is durable, when nothing that is still gathered lies below `gathered`.
    pub(super) fn durable(&self, gathered: Option<u64>) -> u64 {
        let open = self.writing.first().copied().into_iter().chain(gathered).min();
        open.map_or(self.read_to, |open| open.min(self.read_to))
    }

    /// What to commit now, if anything.
    pub(super) fn next_commit(&mut self, durable: u64, now: Instant, commit_ms: u64) -> Option<u64> {
        let waited = self.leaving || now.since(self.committed_at) >= commit_ms;
        if durable <= self.committed || self.committing || !waited {
            return None;
        }
        self.committing = true;
        self.committed_at = now;
        Some(durable)
    }

    pub(super) fn end_commit(&mut self, offset: u64, done: bool) {
        self.committing = false;
        if done {
            self.committed = self.committed.max(offset);
        }
    }

    /// Whether nothing is left to be done of what was read.
    pub(super) fn is_settled(&self, durable: u64) -> bool {
        durable == self.read_to && self.committed >= durable && !self.committing
    }
}
