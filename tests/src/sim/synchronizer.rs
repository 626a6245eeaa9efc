//! The conflict synchronizer of a region: persist's machine as it ships, between a region's log, op store, snapshots and bus.
//!
//! The op store refuses writes at times, and the process may end between any two effects; another one begins from what was
//! committed. What persist reads it publishes, so that rooms hear whatever entered the log by any path.

use selvedge_engine::{Delta, Op};
use selvedge_region::fold::{DueConfig, Hole};
use selvedge_region::{Assignment, DocumentKey, EntryContent, LogEntry, LogPage, LogRecord, OpRun, Position, Snapshot};
use selvedge_relay::room::RoomEvent;
use selvedge_replicator::persist::{Effect, Event as PersistEvent, Persist, PersistConfig, WriteId};

use super::fault::Fault;
use super::plant::Plant;
use super::schedule::{MS, Micros, SECOND};
use super::shape::Shape;
use super::world::{Event, Stop, World};

/// Records of one page: few, so that there are many writes.
const PAGE_RECORDS: usize = 16;
/// How long a hole that nobody fills stays open, in milliseconds: longer than any device is away.
const HOLE_MS: u64 = 40_000;

/// A region's synchronizer.
#[derive(Default)]
pub(super) struct Synchronizer {
    machine: Option<Persist>,
    /// One up with every process: what was under way in the one before comes to nothing.
    life: u64,
    /// The next offset of the log to be read.
    read_from: u64,
    /// The op store refuses writes before this.
    pub(super) refused_until: Micros,
}

/// What happens to a synchronizer next.
#[derive(Debug)]
pub(super) enum Step {
    Begin,
    Read,
    Tell(PersistEvent),
    Written { write: WriteId, key: DocumentKey, runs: Vec<OpRun> },
    Put { key: DocumentKey, snapshot: Box<Snapshot>, holes: Vec<Hole> },
}

impl World {
    /// A synchronizer's process begins after a pause.
    pub(super) fn synchronizer_starts(&mut self, region: usize, pause: Micros) {
        self.synchronizers[region].machine = None;
        self.synchronizers[region].life += 1;
        self.persist_later(region, Step::Begin, pause);
    }

    /// A synchronizer's process is gone, and another one begins.
    pub(super) fn crash_synchronizer(&mut self, region: usize) {
        self.hit(Fault::PersistCrash);
        self.note(format_args!("fault: the synchronizer of region {region} is gone"));
        let pause = self.fate.between(50, 3_000) * MS;
        self.synchronizer_starts(region, pause);
    }

    fn persist_later(&mut self, region: usize, step: Step, delay: Micros) {
        let life = self.synchronizers[region].life;
        self.schedule.after(delay, Event::Persist { region, life, step: Box::new(step) });
    }

    /// Something happens to a synchronizer.
    pub(super) fn persist_steps(&mut self, region: usize, life: u64, step: Step) -> Result<(), Stop> {
        if self.synchronizers[region].life != life {
            return Ok(());
        }
        match step {
            Step::Begin => self.persist_begins(region),
            Step::Read => self.persist_reads(region),
            Step::Tell(event) => self.tell_persist(region, event),
            Step::Written { write, key, runs } => {
                self.regions[region].keep_runs(&key.document, runs);
                self.tell_persist(region, PersistEvent::Written { write, done: true })
            }
            Step::Put { key, snapshot, holes } => self.snapshot_is_put(region, key, *snapshot, holes),
        }
    }

    fn persist_begins(&mut self, region: usize) -> Result<(), Stop> {
        let here = &self.regions[region];
        let committed = here.persisted;
        let from = committed.unwrap_or(0).max(here.log.start());
        let config = PersistConfig {
            gather_ms: 1_000,
            due: DueConfig { bytes: 4 * 1024, age_ms: 6_000, ..PersistConfig::default().due },
            hole_ms: HOLE_MS,
            ..PersistConfig::default()
        };
        self.synchronizers[region].machine = Some(Persist::new(config));
        self.synchronizers[region].read_from = from;
        self.persist_later(region, Step::Read, MS);
        self.tell_persist(region, PersistEvent::Assigned(vec![Assignment { partition: 0, from, committed }]))
    }

    /// The reader hands over what came, and time passes.
    fn persist_reads(&mut self, region: usize) -> Result<(), Stop> {
        self.persist_later(region, Step::Read, 50 * MS);
        let epoch = self.epoch_of(region).filter(|_| self.options.plant != Some(Plant::HoleLeftOpen));
        self.tell_persist(region, PersistEvent::Deciding(epoch))?;
        let from = self.synchronizers[region].read_from;
        let entries: Vec<LogEntry> = self.regions[region].all_entries(from).take(PAGE_RECORDS).collect();
        let Some(last) = entries.last() else {
            return match self.all_is_read(region) {
                true => self.tell_persist(region, PersistEvent::RegionsHeard),
                false => Ok(()),
            };
        };
        let next = Position { offset: last.position.offset + 1, ..last.position };
        let at_end = next.offset == self.regions[region].log.head();
        self.synchronizers[region].read_from = next.offset;
        self.tell_persist(region, PersistEvent::Page(LogPage { entries, next, at_end }))
    }

    /// Whether everything that any region's log holds has been read here.
    fn all_is_read(&self, region: usize) -> bool {
        let here = &self.regions[region].log;
        let others = self.regions.iter().enumerate().filter(|(other, _)| *other != region);
        others
            .map(|(_, other)| other)
            .all(|other| other.progress.get(&(other.log.id(), here.id())).copied().unwrap_or(0) == other.log.head())
    }

    fn tell_persist(&mut self, region: usize, event: PersistEvent) -> Result<(), Stop> {
        let instant = self.schedule.instant();
        let Some(machine) = self.synchronizers[region].machine.as_mut() else { return Ok(()) };
        for effect in machine.on(event, instant) {
            self.serve_persist(region, effect)?;
        }
        Ok(())
    }

    fn serve_persist(&mut self, region: usize, effect: Effect) -> Result<(), Stop> {
        match effect {
            Effect::Publish(entries) => self.publish_read(region, entries),
            Effect::Write { write, key, runs } => {
                let refused = self.synchronizers[region].refused_until > self.schedule.now();
                let delay = self.dice.spread(8 * MS);
                let step = if refused {
                    self.hit(Fault::OpsRefused);
                    Step::Tell(PersistEvent::Written { write, done: false })
                } else {
                    Step::Written { write, key, runs }
                };
                self.persist_later(region, step, delay);
            }
            Effect::PutAside { write, .. } => {
                self.persist_later(region, Step::Tell(PersistEvent::Written { write, done: true }), MS);
            }
            Effect::Commit { partition, offset } => {
                // A process may end between a commit and its answer.
                self.regions[region].persisted = Some(offset);
                let done = PersistEvent::Committed { partition, offset, done: true };
                let delay = self.dice.spread(5 * MS);
                self.persist_later(region, Step::Tell(done), delay);
            }
            Effect::Rewind { partition, offset } => {
                self.synchronizers[region].read_from = offset;
                self.persist_later(region, Step::Tell(PersistEvent::Rewound { partition, done: true }), 20 * MS);
            }
            Effect::Snapshot(key) => {
                let fold = self.regions[region].fold(&key.document);
                let (holes, snapshot) = (fold.holes(), Box::new(fold.snapshot()));
                self.persist_later(region, Step::Put { key, snapshot, holes }, 200 * MS);
            }
            Effect::CloseHole { key, hole, epoch } => self.close_hole(region, &key, hole, epoch)?,
        }
        Ok(())
    }

    /// The bus is told of what was read.
    fn publish_read(&mut self, region: usize, entries: Vec<LogEntry>) {
        let relays: Vec<usize> = (0..self.relays.len()).filter(|relay| self.relays[*relay].region == region).collect();
        for LogEntry { position, content } in entries {
            let EntryContent::Record(record) = content else { continue };
            let event = RoomEvent::Heard { position, generation: record.generation, delta: record.delta };
            relays.iter().for_each(|relay| self.carry(*relay, &record.document, &event));
        }
    }

    fn snapshot_is_put(
        &mut self,
        region: usize,
        key: DocumentKey,
        snapshot: Snapshot,
        holes: Vec<Hole>,
    ) -> Result<(), Stop> {
        let lost = self.regions[region].weather.snapshots_lost_until > self.schedule.now();
        if lost {
            self.hit(Fault::SnapshotLost);
        } else {
            self.regions[region].keep_snapshot(&key.document, snapshot);
        }
        self.tell_persist(region, PersistEvent::Snapshotted { key, holes: (!lost).then_some(holes) })
    }

    /// Closes a hole that is still there: the `void` goes the way of every delta.
    fn close_hole(&mut self, region: usize, key: &DocumentKey, hole: Hole, epoch: u64) -> Result<(), Stop> {
        let holes = self.regions[region].fold(&key.document).holes();
        let found = holes.into_iter().find(|now| now.site == hole.site && now.first == hole.first);
        let Some(Hole { site, first, last }) = found else { return Ok(()) };
        *self.figures.entry("holes closed").or_default() += 1;
        self.note(format_args!("region {region}: {site} is closed from {first} to {last}, in epoch {epoch}"));
        let void = Delta { site, first, ops: vec![Op::Void { length: last - first + 1 }] }.encode();
        self.learn(&key.document, &void, "a void")?;
        self.history.entry(key.document.clone()).or_default().close(site, first, last);
        let record = LogRecord::new(key.document.clone(), key.generation, "system:persist".to_owned(), void);
        let id = self.next_append;
        self.next_append += 1;
        // Nobody waits for it: a hole that is still open is closed again.
        if self.regions[region].log.append(id, vec![LogRecord { epoch, ..record }]) {
            self.begin_sync(region);
        }
        Ok(())
    }

    /// The epoch in which a region decides now. Where there is one region it always does.
    fn epoch_of(&self, region: usize) -> Option<u64> {
        match self.options.shape {
            Shape::Regions => {
                self.deciding().into_iter().find(|(observer, _)| *observer == region).map(|(_, epoch)| epoch)
            }
            Shape::Alone | Shape::Relays => Some(1),
        }
    }

    /// The synchronizers go on from here without trouble.
    pub(super) fn synchronizers_settle(&mut self) {
        let now = self.schedule.now();
        self.synchronizers.iter_mut().for_each(|synchronizer| synchronizer.refused_until = now);
    }

    /// A synchronizer of each region begins.
    pub(super) fn synchronizers_begin(&mut self) {
        for region in 0..self.regions.len() {
            let pause = self.dice.spread(SECOND);
            self.synchronizer_starts(region, pause);
        }
    }
}
