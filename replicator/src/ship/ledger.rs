//! How far one partition has come at the peer: what was read, what of it is confirmed, in order.

use std::collections::{BTreeSet, VecDeque};

use selvedge_protocol::Instant;
use selvedge_region::{DocumentId, LogRecord};

use super::CopyId;

/// Most records and bytes of deltas that pages are joined to. A page that is read as it is written holds a record or two; what
/// piled up while the peer was away would take a round trip between the regions for every few of them.
const JOINED_RECORDS_MAX: usize = 1_000;
const JOINED_BYTES_MAX: usize = 256 * 1024;

/// Pages of the source, one after the other, on their way to the peer as one.
#[derive(Debug)]
pub(super) struct Batch {
    /// The copy that carries it, once it was handed out.
    copy: Option<CopyId>,
    records: Vec<LogRecord>,
    /// Every document of the pages, also of records that the peer has from itself.
    documents: BTreeSet<DocumentId>,
    /// One past the last page.
    end: u64,
    bytes: usize,
    confirmed: bool,
    since: Instant,
}

impl Batch {
    /// Whether a page of so many records and bytes may be joined to it: it waits, and is not too long.
    fn takes(&self, records: usize, bytes: usize) -> bool {
        let fits = self.records.len() + records <= JOINED_RECORDS_MAX && self.bytes + bytes <= JOINED_BYTES_MAX;
        self.copy.is_none() && !self.confirmed && fits
    }
}

/// What became of a copy's answer.
pub(super) struct Settled {
    /// Bytes that are held no longer.
    pub(super) freed: usize,
    /// Documents to be told of the watermark, if it moved.
    pub(super) documents: BTreeSet<DocumentId>,
}

/// One partition that is this reader's.
#[derive(Debug)]
pub(super) struct Ledger {
    batches: VecDeque<Batch>,
    /// The next offset to be read.
    pub(super) read_to: u64,
    /// Everything below is confirmed by the peer.
    watermark: u64,
    /// The first offset the log still has, while the peer may lack what the region has and its log does not.
    pub(super) reseeding: Option<u64>,
    pub(super) reseed_at: Option<Instant>,
    /// When copies may be handed out again after a refusal, and how often they were refused in a row.
    held_until: Instant,
    refusals: u32,
    committed: u64,
    committing: bool,
    committed_at: Instant,
    pub(super) rewinding: bool,
    pub(super) leaving: bool,
}

impl Ledger {
    pub(super) fn new(from: u64, committed: Option<u64>, now: Instant) -> Self {
        // A log that begins at 0 need not hold all that its region has: a region that was lost was given the rest. So a new
        // pair of logs always begins with it.
        let reseeding = committed.is_none_or(|committed| committed < from).then_some(from);
        let committed = committed.unwrap_or(0);
        Self {
            batches: VecDeque::new(),
            read_to: from,
            watermark: from,
            reseeding,
            reseed_at: reseeding.map(|_| now),
            held_until: now,
            refusals: 0,
            committed,
            committing: false,
            committed_at: now,
            rewinding: false,
            leaving: false,
        }
    }

    /// Everything below is durable at the peer; 0 while it may lack what this log does not hold.
    pub(super) fn watermark(&self) -> u64 {
        if self.reseeding.is_some() { self.committed } else { self.watermark }
    }

    /// When the oldest page that is not confirmed was read.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.batches.front().map(|batch| batch.since)
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes).sum()
    }

    pub(super) fn take(
        &mut self,
        records: Vec<LogRecord>,
        documents: BTreeSet<DocumentId>,
        end: u64,
        now: Instant,
    ) -> usize {
        let bytes = records.iter().map(|record| record.delta.len()).sum();
        let confirmed = records.is_empty();
        self.read_to = end;
        match self.batches.back_mut() {
            Some(last) if last.takes(records.len(), bytes) => {
                last.records.extend(records);
                last.documents.extend(documents);
                (last.end, last.bytes) = (end, last.bytes + bytes);
            }
            _ => self.batches.push_back(Batch { copy: None, records, documents, end, bytes, confirmed, since: now }),
        }
        bytes
    }

    /// The next batch to hand out now, if the window has room. After a refusal one goes alone until it is confirmed.
    pub(super) fn next_copy(&mut self, copies_max: usize, now: Instant, id: CopyId) -> Option<Vec<LogRecord>> {
        let on_their_way = self.batches.iter().filter(|batch| batch.copy.is_some() && !batch.confirmed).count();
        let window = if self.refusals > 0 { 1 } else { copies_max };
        if on_their_way >= window || now < self.held_until {
            return None;
        }
        let next = self.batches.iter_mut().find(|batch| batch.copy.is_none() && !batch.confirmed)?;
        next.copy = Some(id);
        Some(next.records.clone())
    }

    /// Takes a copy's answer. A refusal takes everything after it back, so that the order at the peer is the source's.
    pub(super) fn answer(&mut self, id: CopyId, done: bool, now: Instant, retry_ms: u64) -> bool {
        let Some(index) = self.batches.iter().position(|batch| batch.copy == Some(id)) else {
            // Taken back meanwhile: it goes again.
            return false;
        };
        if done {
            self.batches[index].confirmed = true;
            self.refusals = 0;
            return true;
        }
        for batch in self.batches.iter_mut().skip(index) {
            // Pages without anything to copy stay confirmed.
            if batch.copy.take().is_some() {
                batch.confirmed = false;
            }
        }
        self.held_until = now.after(retry_ms << self.refusals.min(6));
        self.refusals += 1;
        true
    }

    /// Lets go of what is confirmed in one piece from the beginning.
    pub(super) fn settle(&mut self) -> Settled {
        let mut settled = Settled { freed: 0, documents: BTreeSet::new() };
        if self.reseeding.is_some() {
            return settled;
        }
        while self.batches.front().is_some_and(|batch| batch.confirmed) {
            let Some(batch) = self.batches.pop_front() else { break };
            settled.freed += batch.bytes;
            settled.documents.extend(batch.documents);
            self.watermark = batch.end;
        }
        settled
    }

    /// What to commit now, if anything.
    pub(super) fn next_commit(&mut self, now: Instant, commit_ms: u64) -> Option<u64> {
        let waited = self.leaving || now.since(self.committed_at) >= commit_ms;
        let watermark = self.watermark();
        if watermark <= self.committed || self.committing || !waited {
            return None;
        }
        self.committing = true;
        self.committed_at = now;
        Some(watermark)
    }

    pub(super) fn end_commit(&mut self, offset: u64, done: bool) {
        self.committing = false;
        if done {
            self.committed = self.committed.max(offset);
        }
    }

    /// Whether nothing is left to be done of what was read.
    pub(super) fn is_settled(&self) -> bool {
        self.batches.is_empty() && self.committed >= self.watermark() && !self.committing
    }
}
