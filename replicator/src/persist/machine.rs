//! The decisions of persist: what is written when, what may be committed, when pages are refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use selvedge_protocol::Instant;
use selvedge_region::fold::{Due, Gather, GatheredRun, Hole, readable};
use selvedge_region::{Assignment, DeadLetter, DocumentKey, EntryContent, LogEntry, LogPage, OpRun, Position};

use super::holes::Holes;
use super::partition::Partition;
use super::{Effect, Event, PersistConfig, WriteId};

/// A refused write waits up to so many times [`PersistConfig::retry_ms`].
const RETRY_FACTOR_MAX: u64 = 64;
/// How often it is looked for what has come of age, in milliseconds: the look goes through everything that waits.
const LOOK_MS: u64 = 50;

/// A write that is not durable yet.
#[derive(Debug, Clone)]
struct Write {
    content: Content,
    /// The lowest positions it stands for, each in a partition that may be taken away meanwhile.
    from: Vec<Position>,
    bytes: usize,
    refusals: u32,
}

#[derive(Debug, Clone)]
enum Content {
    Runs(DocumentKey, Vec<OpRun>),
    Letter(DeadLetter),
}

/// Persist's decisions: a state machine without I/O.
pub struct Persist {
    config: PersistConfig,
    partitions: BTreeMap<u32, Partition>,
    gather: Gather,
    /// Not handed out yet, in the order they came.
    waiting: VecDeque<(WriteId, Write)>,
    on_their_way: BTreeMap<WriteId, Write>,
    /// Refused, and when each is repeated.
    refused: BTreeMap<(Instant, WriteId), Write>,
    next_write: u64,
    /// Bytes in `waiting`, `on_their_way` and `refused`.
    write_bytes: usize,
    due: Due,
    snapshots_due: VecDeque<DocumentKey>,
    snapshotting: BTreeSet<DocumentKey>,
    holes: Holes,
    epoch: Option<u64>,
    /// When it was looked last for what has come of age.
    looked: Option<Instant>,
    stopping: bool,
}

impl Persist {
    /// Persist that reads nothing yet.
    #[must_use]
    pub fn new(config: PersistConfig) -> Self {
        Self {
            partitions: BTreeMap::new(),
            gather: Gather::new(config.run_bytes_max),
            waiting: VecDeque::new(),
            on_their_way: BTreeMap::new(),
            refused: BTreeMap::new(),
            next_write: 0,
            write_bytes: 0,
            due: Due::new(config.due),
            snapshots_due: VecDeque::new(),
            snapshotting: BTreeSet::new(),
            holes: Holes::default(),
            epoch: None,
            looked: None,
            stopping: false,
            config,
        }
    }

    /// Takes what happened and answers what to do for it, in this order.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Assigned(assignments) => self.assign(&assignments, now),
            Event::Revoked(partitions) => self.revoke(&partitions),
            Event::Lost(partitions) => self.lose(&partitions),
            Event::Page(page) => self.take_page(page, now, &mut effects),
            Event::Rewound { partition, done } => self.rewound(partition, done, &mut effects),
            Event::Written { write, done } => self.written(write, done, now),
            Event::Committed { partition, offset, done } => {
                if let Some(partition) = self.partitions.get_mut(&partition) {
                    partition.end_commit(offset, done);
                }
            }
            Event::Snapshotted { key, holes } => self.snapshotted(key, holes, now),
            Event::RegionsHeard => self.holes.heard(now),
            Event::Deciding(epoch) => self.epoch = epoch,
            Event::Tick => {}
            Event::Stop => self.stop(),
        }
        self.go_on(now, &mut effects);
        effects
    }

    /// Whether the partitions that were asked back have nothing left to be done, so that giving them up repeats nothing.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.partitions.iter().filter(|(_, partition)| partition.leaving).all(|(number, _)| self.is_settled(*number))
    }

    /// Whether everything that was read is done with: after [`Event::Stop`] the reader may leave.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let settled = self.partitions.keys().all(|number| self.is_settled(*number));
        settled && self.write_bytes == 0 && self.snapshotting.is_empty() && self.snapshots_due.is_empty()
    }

    /// Holes that are open, as far as snapshots have shown.
    #[must_use]
    pub fn holes(&self) -> usize {
        self.holes.len()
    }

    /// Bytes gathered, waiting and on their way.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.gather.bytes() + self.write_bytes
    }

    fn is_settled(&self, number: u32) -> bool {
        let partition = self.partitions.get(&number);
        partition.is_none_or(|partition| partition.is_settled(partition.durable(self.gather.lowest(number))))
    }

    fn assign(&mut self, assignments: &[Assignment], now: Instant) {
        for assignment in assignments {
            // A reader that was trimmed under its feet is assigned anew what it has.
            self.forget(assignment.partition);
            let partition = Partition::new(assignment.from, assignment.committed, now);
            self.partitions.insert(assignment.partition, partition);
        }
    }

    fn revoke(&mut self, partitions: &[u32]) {
        for &number in partitions {
            if let Some(partition) = self.partitions.get_mut(&number) {
                partition.leaving = true;
                let closed = self.gather.close_partition(number);
                self.queue_runs(closed);
            }
        }
    }

    fn lose(&mut self, partitions: &[u32]) {
        for &number in partitions {
            self.forget(number);
        }
    }

    /// Forgets a partition. What is on its way for it goes on and stands for nothing any more.
    fn forget(&mut self, number: u32) {
        if self.partitions.remove(&number).is_none() {
            return;
        }
        // The next owner reads it again.
        drop(self.gather.close_partition(number));
        let waiting = std::mem::take(&mut self.waiting);
        let (gone, kept): (VecDeque<_>, _) = waiting.into_iter().partition(|(_, write)| is_of(write, number));
        self.waiting = kept;
        self.write_bytes -= gone.iter().map(|(_, write)| write.bytes).sum::<usize>();
        let refused = std::mem::take(&mut self.refused);
        let (gone, kept): (BTreeMap<_, _>, _) = refused.into_iter().partition(|(_, write)| is_of(write, number));
        self.refused = kept;
        self.write_bytes -= gone.values().map(|write| write.bytes).sum::<usize>();
        for write in self.on_their_way.values_mut() {
            write.from.retain(|position| position.partition != number);
        }
    }

    fn take_page(&mut self, page: LogPage, now: Instant, effects: &mut Vec<Effect>) {
        let number = page.next.partition;
        let full = self.held_bytes() >= self.config.held_bytes_max || self.stopping;
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        if partition.rewinding {
            return;
        }
        if full || partition.leaving {
            partition.rewinding = true;
            effects.push(Effect::Rewind { partition: number, offset: partition.read_to });
            return;
        }
        partition.read_to = page.next.offset;
        let records = page.entries.iter().filter(|entry| matches!(entry.content, EntryContent::Record(_)));
        let told: Vec<LogEntry> = records.cloned().collect();
        if !told.is_empty() {
            effects.push(Effect::Publish(told));
        }
        for entry in page.entries {
            self.take_entry(entry, now);
        }
    }

    fn take_entry(&mut self, entry: LogEntry, now: Instant) {
        let position = entry.position;
        match readable(entry) {
            Ok(readable) => {
                self.due.note(readable.key.clone(), readable.bytes.len(), now);
                let closed = self.gather.take(readable.key, readable.delta, readable.bytes, position, now);
                self.queue_runs(closed);
            }
            Err(letter) => {
                let bytes = letter.bytes.len();
                self.queue(Write { content: Content::Letter(letter), from: vec![position], bytes, refusals: 0 });
            }
        }
    }

    fn rewound(&mut self, number: u32, done: bool, effects: &mut Vec<Effect>) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        partition.rewinding = !done;
        if !done {
            effects.push(Effect::Rewind { partition: number, offset: partition.read_to });
        }
    }

    /// Queues runs, those of one document as one write.
    fn queue_runs(&mut self, gathered: impl IntoIterator<Item = GatheredRun>) {
        let mut documents: BTreeMap<DocumentKey, (Vec<OpRun>, Vec<Position>)> = BTreeMap::new();
        for GatheredRun { key, run, from } in gathered {
            let (runs, positions) = documents.entry(key).or_default();
            runs.push(run);
            positions.push(from);
        }
        for (key, (runs, from)) in documents {
            let bytes = runs.iter().map(|run| run.bytes.len()).sum();
            self.queue(Write { content: Content::Runs(key, runs), from, bytes, refusals: 0 });
        }
    }

    fn queue(&mut self, write: Write) {
        for position in &write.from {
            if let Some(partition) = self.partitions.get_mut(&position.partition) {
                partition.begin_write(position.offset);
            }
        }
        self.write_bytes += write.bytes;
        self.next_write += 1;
        self.waiting.push_back((WriteId(self.next_write), write));
    }

    fn written(&mut self, id: WriteId, done: bool, now: Instant) {
        let Some(mut write) = self.on_their_way.remove(&id) else { return };
        if !done && !write.from.is_empty() {
            let factor = 1 << write.refusals.min(RETRY_FACTOR_MAX.ilog2());
            write.refusals += 1;
            self.refused.insert((now.after(self.config.retry_ms * factor), id), write);
            return;
        }
        self.write_bytes -= write.bytes;
        for position in &write.from {
            if let Some(partition) = self.partitions.get_mut(&position.partition) {
                partition.end_write(position.offset);
            }
        }
    }

    fn snapshotted(&mut self, key: DocumentKey, holes: Option<Vec<Hole>>, now: Instant) {
        self.snapshotting.remove(&key);
        match holes {
            Some(holes) => self.holes.update(&key, &holes),
            None if self.stopping => {}
            None => self.due.postpone(key, now),
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        let closed = self.gather.close_all();
        self.queue_runs(closed);
        self.snapshots_due.extend(self.due.drain());
        for partition in self.partitions.values_mut() {
            partition.leaving = true;
        }
    }

    /// What time and room allow now.
    fn go_on(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.looked.is_none_or(|looked| now.since(looked) >= LOOK_MS) {
            self.looked = Some(now);
            self.come_of_age(now, effects);
        }
        self.hand_out_writes(now, effects);
        self.commit(now, effects);
        self.hand_out_snapshots(effects);
    }

    /// Runs, snapshots and holes that have waited long enough.
    fn come_of_age(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if let Some(since) = now.0.checked_sub(self.config.gather_ms) {
            let closed = self.gather.close_until(Instant(since));
            self.queue_runs(closed);
        }
        let due = self.due.take(now);
        self.snapshots_due.extend(due);
        if let Some(epoch) = self.epoch {
            for (key, hole) in self.holes.take_due(now, self.config.hole_ms) {
                effects.push(Effect::CloseHole { key, hole, epoch });
            }
        }
    }

    fn hand_out_writes(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        while self.on_their_way.len() < self.config.writes_max {
            let again = self.refused.first_key_value().is_some_and(|((at, _), _)| *at <= now);
            let next = if again {
                self.refused.pop_first().map(|((_, id), write)| (id, write))
            } else {
                self.waiting.pop_front()
            };
            let Some((id, write)) = next else { return };
            effects.push(match write.content.clone() {
                Content::Runs(key, runs) => Effect::Write { write: id, key, runs },
                Content::Letter(letter) => Effect::PutAside { write: id, letter },
            });
            self.on_their_way.insert(id, write);
        }
    }

    fn commit(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (&number, partition) in &mut self.partitions {
            let durable = partition.durable(self.gather.lowest(number));
            if let Some(offset) = partition.next_commit(durable, now, self.config.commit_ms) {
                effects.push(Effect::Commit { partition: number, offset });
            }
        }
    }

    fn hand_out_snapshots(&mut self, effects: &mut Vec<Effect>) {
        while self.snapshotting.len() < self.config.snapshots_max {
            let Some(key) = self.snapshots_due.pop_front() else { return };
            if self.snapshotting.insert(key.clone()) {
                effects.push(Effect::Snapshot(key));
            }
        }
    }
}

fn is_of(write: &Write, partition: u32) -> bool {
    write.from.iter().any(|position| position.partition == partition)
}

#[cfg(test)]
mod tests;
