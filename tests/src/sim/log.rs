//! A durable log with the semantics of a region's log, and the ways in which one fails.
//!
//! Appends that come while a group commit is under way wait for the next; one commit is in flight. A record is durable
//! when its commit is synced, and is confirmed after that, so there are moments at which a record is durable and nobody
//! knows. A crash inside a commit leaves none, some first part, or all of it.

use std::collections::VecDeque;

use super::dice::Dice;

/// A number that the log hands back with the answer.
pub(super) type AppendId = u64;

/// One append as the relay asked for it.
#[derive(Clone, Debug)]
struct Append<R> {
    id: AppendId,
    records: Vec<R>,
    /// The first record is kept behind so many others.
    turned: usize,
}

/// A durable record, or an offset whose record a fault took away.
#[derive(Clone, Debug)]
pub(super) struct Logged<R> {
    /// Its place in the log.
    pub(super) offset: u64,
    /// What was appended.
    pub(super) record: R,
}

/// What one group commit came to, to be told to whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The append it answers.
    pub(super) append: AppendId,
    /// The offsets of its records, or nothing when the append is reported failed.
    pub(super) offsets: Option<Vec<u64>>,
}

/// How a commit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Durable, and reported so.
    Well,
    /// Nothing of it durable, and reported failed.
    Failed,
    /// A first part durable, and all reported failed.
    Partly,
    /// Durable, and reported failed.
    Unknown,
}

/// What a crash left of the commit it met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remains {
    /// There was no commit under way.
    Idle,
    /// Nothing of it.
    Lost,
    /// A first part of it.
    Torn,
    /// All of it, unconfirmed.
    Unconfirmed,
}

/// The log of one region.
#[derive(Clone, Debug)]
pub(super) struct Log<R> {
    id: u128,
    durable: Vec<Logged<R>>,
    next_offset: u64,
    /// The first offset that was not trimmed away.
    start: u64,
    writing: Vec<Append<R>>,
    waiting: VecDeque<Append<R>>,
}

impl<R: Clone> Log<R> {
    /// An empty log.
    pub(super) fn new(id: u128) -> Self {
        Self { id, durable: Vec::new(), next_offset: 0, start: 0, writing: Vec::new(), waiting: VecDeque::new() }
    }

    /// The log's identity.
    pub(super) fn id(&self) -> u128 {
        self.id
    }

    /// One past the last durable record.
    pub(super) fn head(&self) -> u64 {
        self.next_offset
    }

    /// The first offset that can still be read.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Takes away what lies below an offset.
    pub(super) fn trim(&mut self, below: u64) {
        self.start = self.start.max(below.min(self.next_offset));
        let start = self.start;
        self.durable.retain(|logged| logged.offset >= start);
    }

    /// All durable records, in order.
    pub(super) fn durable(&self) -> &[Logged<R>] {
        &self.durable
    }

    /// Queues an append. True when a commit begins now and its end must be scheduled.
    #[must_use]
    pub(super) fn append(&mut self, id: AppendId, records: Vec<R>) -> bool {
        self.waiting.push_back(Append { id, records, turned: 0 });
        self.begin()
    }

    /// Ends the commit under way. The second value is true when the next one begins now.
    #[must_use]
    pub(super) fn sync(&mut self, ending: Ending) -> (Vec<Answer>, bool) {
        let mut answers = Vec::with_capacity(self.writing.len());
        for append in std::mem::take(&mut self.writing) {
            let kept = match ending {
                Ending::Well | Ending::Unknown => append.records.len(),
                Ending::Failed => 0,
                Ending::Partly => append.records.len() / 2,
            };
            let mut records: Vec<R> = append.records.into_iter().take(kept).collect();
            let turned = append.turned.min(records.len());
            records.rotate_left(turned);
            let mut offsets: Vec<u64> = records.into_iter().map(|record| self.keep(record)).collect();
            offsets.rotate_right(turned);
            answers.push(Answer { append: append.id, offsets: (ending == Ending::Well).then_some(offsets) });
        }
        (answers, self.begin())
    }

    /// The process that held the log is gone.
    pub(super) fn crash(&mut self, dice: &mut Dice) -> Remains {
        self.waiting.clear();
        let writing: Vec<R> = std::mem::take(&mut self.writing).into_iter().flat_map(|append| append.records).collect();
        if writing.is_empty() {
            return Remains::Idle;
        }
        let kept = match dice.below(3) {
            0 => 0,
            1 => dice.index(writing.len()),
            _ => writing.len(),
        };
        let all = writing.len();
        for record in writing.into_iter().take(kept) {
            self.keep(record);
        }
        match kept {
            0 => Remains::Lost,
            kept if kept == all => Remains::Unconfirmed,
            _ => Remains::Torn,
        }
    }

    /// Takes back an append that no commit has begun with. False when it is too late.
    pub(super) fn withdraw(&mut self, id: AppendId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|append| append.id != id);
        self.waiting.len() < before
    }

    /// Lets one append of the commit under way lie in the log in another order than it was asked for, as when a part of it
    /// timed out and was repeated. True when that changes something.
    pub(super) fn shuffle(&mut self, dice: &mut Dice) -> bool {
        let Some(append) = self.writing.iter_mut().find(|append| append.records.len() > 1) else { return false };
        let turn = 1 + dice.index(append.records.len() - 1);
        append.turned = turn;
        true
    }

    /// The log as a hot backup would copy it now.
    pub(super) fn backup(&self) -> Self {
        Self { writing: Vec::new(), waiting: VecDeque::new(), ..self.clone() }
    }

    /// Goes on as another log: what a restored data folder does.
    pub(super) fn rename(&mut self, id: u128) {
        self.id = id;
    }

    /// Takes away the last durable record, as a disk that lied about its sync would. A planted fault.
    pub(super) fn forget_last(&mut self) -> Option<Logged<R>> {
        self.durable.pop()
    }

    fn keep(&mut self, record: R) -> u64 {
        let offset = self.next_offset;
        self.next_offset += 1;
        self.durable.push(Logged { offset, record });
        offset
    }

    fn begin(&mut self) -> bool {
        if !self.writing.is_empty() || self.waiting.is_empty() {
            return false;
        }
        self.writing = self.waiting.drain(..).collect();
        true
    }
}
