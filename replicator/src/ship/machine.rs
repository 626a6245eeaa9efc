//! The decisions of ship: what is copied when, what is repeated, and how far the peer has everything.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_protocol::Instant;
use selvedge_region::{Assignment, EntryContent, LogId, LogPage, Position};

use super::ledger::Ledger;
use super::{CopyId, Effect, Event, ShipConfig};

/// Ship's decisions for one pair of logs: a state machine without I/O. A peer whose log is another one needs another machine.
pub struct Ship {
    config: ShipConfig,
    source: LogId,
    target: LogId,
    partitions: BTreeMap<u32, Ledger>,
    /// Which partition each copy on its way is of.
    copies: BTreeMap<CopyId, u32>,
    next_copy: u64,
    held_bytes: usize,
    stopping: bool,
}

impl Ship {
    /// Ship from one log to another, which reads nothing yet.
    #[must_use]
    pub fn new(config: ShipConfig, source: LogId, target: LogId) -> Self {
        Self {
            config,
            source,
            target,
            partitions: BTreeMap::new(),
            copies: BTreeMap::new(),
            next_copy: 0,
            held_bytes: 0,
            stopping: false,
        }
    }

    /// Takes what happened and answers what to do for it, in this order.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Assigned(assignments) => self.assign(&assignments, now, &mut effects),
            Event::Revoked(partitions) => self.leave(&partitions),
            Event::Lost(partitions) => partitions.iter().for_each(|number| self.forget(*number)),
            Event::Page(page) => self.take_page(page, now, &mut effects),
            Event::Rewound { partition, done } => self.rewound(partition, done, &mut effects),
            Event::Copied { copy, done } => self.copied(copy, done, now),
            Event::Reseeded { partition, done } => self.reseeded(partition, done, now),
            Event::Committed { partition, offset, done } => self.committed(partition, offset, done, &mut effects),
            Event::Tick => {}
            Event::Stop => {
                self.stopping = true;
                self.partitions.values_mut().for_each(|ledger| ledger.leaving = true);
            }
        }
        self.go_on(now, &mut effects);
        effects
    }

    /// Whether the partitions that were asked back have nothing left to be done, so that giving them up repeats nothing.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.partitions.values().filter(|ledger| ledger.leaving).all(Ledger::is_settled)
    }

    /// Whether everything that was read is confirmed and committed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.partitions.values().all(Ledger::is_settled)
    }

    /// Bytes read and not yet confirmed by the peer.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// How long the oldest page that the peer has not confirmed was read ago, in milliseconds; 0: it has everything that was
    /// read.
    #[must_use]
    pub fn lag_ms(&self, now: Instant) -> u64 {
        self.partitions.values().filter_map(Ledger::oldest).min().map_or(0, |oldest| now.since(oldest))
    }

    /// The replicated watermark of a partition that is this reader's.
    #[must_use]
    pub fn watermark(&self, partition: u32) -> Option<u64> {
        self.partitions.get(&partition).map(Ledger::watermark)
    }

    fn assign(&mut self, assignments: &[Assignment], now: Instant, effects: &mut Vec<Effect>) {
        for assignment in assignments {
            self.forget(assignment.partition);
            let ledger = Ledger::new(assignment.from, assignment.committed, now);
            // Of another peer's log this may be less than what was kept: it is what is true now.
            effects.push(Effect::Mark { partition: assignment.partition, offset: ledger.watermark() });
            self.partitions.insert(assignment.partition, ledger);
        }
    }

    fn leave(&mut self, partitions: &[u32]) {
        for number in partitions {
            if let Some(ledger) = self.partitions.get_mut(number) {
                ledger.leaving = true;
            }
        }
    }

    fn forget(&mut self, number: u32) {
        if let Some(ledger) = self.partitions.remove(&number) {
            self.held_bytes -= ledger.held_bytes();
            self.copies.retain(|_, partition| *partition != number);
        }
    }

    fn take_page(&mut self, page: LogPage, now: Instant, effects: &mut Vec<Effect>) {
        let number = page.next.partition;
        let full = self.held_bytes >= self.config.held_bytes_max || self.stopping;
        let Some(ledger) = self.partitions.get_mut(&number) else { return };
        if ledger.rewinding {
            return;
        }
        if full || ledger.leaving {
            ledger.rewinding = true;
            effects.push(Effect::Rewind { partition: number, offset: ledger.read_to });
            return;
        }
        let (mut records, mut documents) = (Vec::new(), BTreeSet::new());
        for entry in page.entries {
            // What is no record is put aside by persist, here and by nobody there.
            let EntryContent::Record(record) = entry.content else { continue };
            documents.insert(record.document.clone());
            if !record.came_from(self.target) {
                records.push(record.copied_from(entry.position));
            }
        }
        self.held_bytes += ledger.take(records, documents, page.next.offset, now);
    }

    fn rewound(&mut self, number: u32, done: bool, effects: &mut Vec<Effect>) {
        let Some(ledger) = self.partitions.get_mut(&number) else { return };
        ledger.rewinding = !done;
        if !done {
            effects.push(Effect::Rewind { partition: number, offset: ledger.read_to });
        }
    }

    fn copied(&mut self, copy: CopyId, done: bool, now: Instant) {
        let Some(number) = self.copies.remove(&copy) else { return };
        if let Some(ledger) = self.partitions.get_mut(&number) {
            ledger.answer(copy, done, now, self.config.retry_ms);
        }
    }

    fn reseeded(&mut self, number: u32, done: bool, now: Instant) {
        let Some(ledger) = self.partitions.get_mut(&number) else { return };
        if done {
            ledger.reseeding = None;
        } else if ledger.reseeding.is_some() {
            ledger.reseed_at = Some(now.after(self.config.retry_ms * 10));
        }
    }

    fn committed(&mut self, number: u32, offset: u64, done: bool, effects: &mut Vec<Effect>) {
        let Some(ledger) = self.partitions.get_mut(&number) else { return };
        ledger.end_commit(offset, done);
        if done {
            effects.push(Effect::Mark { partition: number, offset });
        }
    }

    /// What time and room allow now.
    fn go_on(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (&number, ledger) in &mut self.partitions {
            if let Some(below) = ledger.reseeding
                && ledger.reseed_at.is_some_and(|at| at <= now)
            {
                ledger.reseed_at = None;
                effects.push(Effect::Reseed { partition: number, below });
            }
            let before = ledger.watermark();
            let settled = ledger.settle();
            self.held_bytes -= settled.freed;
            if ledger.watermark() > before {
                let watermark = Position { log: self.source, partition: number, offset: ledger.watermark() };
                let documents = settled.documents.into_iter().collect();
                effects.push(Effect::Announce { watermark, documents });
            }
            if let Some(offset) = ledger.next_commit(now, self.config.commit_ms) {
                effects.push(Effect::Commit { partition: number, offset });
            }
            loop {
                let copy = CopyId(self.next_copy + 1);
                let Some(records) = ledger.next_copy(self.config.copies_max, now, copy) else { break };
                self.next_copy += 1;
                self.copies.insert(copy, number);
                effects.push(Effect::Copy { copy, partition: number, records });
            }
        }
    }
}

#[cfg(test)]
mod tests;
