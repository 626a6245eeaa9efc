use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use selvedge_engine::{Delta, Document, SiteId};
use selvedge_protocol::Instant;
use selvedge_region::fold::{Hole, readable};
use selvedge_region::{
    Assignment, DocumentKey, EntryContent, LogEntry, LogId, LogPage, LogRecord, OpRun, Position, RecordError,
};

use super::Persist;
use crate::persist::{Effect, Event, PersistConfig, WriteId};

const PARTITION: u32 = 3;

fn config() -> PersistConfig {
    PersistConfig {
        run_bytes_max: 200,
        gather_ms: 1000,
        writes_max: 2,
        held_bytes_max: 900,
        ..PersistConfig::default()
    }
}

fn key(number: usize) -> DocumentKey {
    DocumentKey::new(format!("test/{number}").parse().unwrap(), 1)
}

fn position(offset: u64) -> Position {
    Position { log: LogId(9), partition: PARTITION, offset }
}

/// A log of one partition: three documents, a writer each, here and there a record that is none.
fn log(length: usize) -> Vec<LogEntry> {
    let mut writers: Vec<Document> = (0..3).map(|_| Document::new()).collect();
    for (number, writer) in writers.iter_mut().enumerate() {
        writer.begin_writing(SiteId::leased(1, number as u32 + 1), 1).unwrap();
    }
    let entry = |index: usize| {
        if index % 11 == 7 {
            let content = EntryContent::Undecodable { bytes: vec![1; 20], reason: RecordError::Version(9) };
            return LogEntry { position: position(index as u64), content };
        }
        let writer = &mut writers[index % 3];
        writer.replace(writer.len_utf16(), 0, "some words ").unwrap();
        let delta = writer.seal().remove(0);
        let record = LogRecord::new(key(index % 3).document, 1, "anon:test".to_owned(), delta.encode());
        LogEntry { position: position(index as u64), content: EntryContent::Record(record) }
    };
    (0..length).map(entry).collect()
}

/// A document's runs, or the offset of a record put aside.
type Content = Result<(DocumentKey, Vec<OpRun>), u64>;

/// The world around the machine: a log, a store, and what is on its way.
struct World {
    machine: Persist,
    log: Vec<LogEntry>,
    now: Instant,
    next: u64,
    committed: u64,
    /// Dots that the store has, by document and site.
    stored: BTreeMap<(DocumentKey, SiteId), BTreeSet<u64>>,
    letters: BTreeSet<u64>,
    published: u64,
    on_their_way: Vec<(WriteId, Content)>,
    rewind: Option<u64>,
    commit: Option<u64>,
    snapshots: Vec<DocumentKey>,
    closed: Vec<(DocumentKey, Hole)>,
}

impl World {
    fn new(log: Vec<LogEntry>) -> Self {
        let mut world = Self {
            machine: Persist::new(config()),
            log,
            now: Instant(5_000),
            next: 0,
            committed: 0,
            stored: BTreeMap::new(),
            letters: BTreeSet::new(),
            published: 0,
            on_their_way: Vec::new(),
            rewind: None,
            commit: None,
            snapshots: Vec::new(),
            closed: Vec::new(),
        };
        world.assign();
        world
    }

    fn assign(&mut self) {
        (self.next, self.rewind, self.commit) = (self.committed, None, None);
        let committed = (self.committed > 0).then_some(self.committed);
        self.on(Event::Assigned(vec![Assignment { partition: PARTITION, from: self.committed, committed }]));
    }

    fn on(&mut self, event: Event) {
        for effect in self.machine.on(event, self.now) {
            match effect {
                Effect::Publish(entries) => {
                    for entry in entries {
                        assert!(entry.position.offset >= self.published.min(self.committed), "in order");
                        self.published = self.published.max(entry.position.offset + 1);
                    }
                }
                Effect::Write { write, key, runs } => self.on_their_way.push((write, Ok((key, runs)))),
                Effect::PutAside { write, letter } => self.on_their_way.push((write, Err(letter.position.offset))),
                Effect::Commit { offset, .. } => {
                    assert_eq!(self.commit.replace(offset), None, "one commit at a time");
                    self.check_durable(offset);
                }
                Effect::Rewind { offset, .. } => self.rewind = Some(offset),
                Effect::Snapshot(key) => self.snapshots.push(key),
                Effect::CloseHole { key, hole, .. } => self.closed.push((key, hole)),
            }
        }
        assert!(self.on_their_way.len() <= 20, "writes are bounded");
        assert!(self.machine.held_bytes() <= config().held_bytes_max + 10 * 200, "what is held is bounded");
    }

    /// Everything below a committed offset is in the store or put aside.
    fn check_durable(&self, offset: u64) {
        for entry in &self.log[..offset as usize] {
            match readable(entry.clone()) {
                Ok(record) => {
                    let dots = self.stored.get(&(record.key.clone(), record.delta.site));
                    let whole = (record.delta.first..=record.delta.last())
                        .all(|counter| dots.is_some_and(|dots| dots.contains(&counter)));
                    assert!(whole, "offset {} is committed and not stored", entry.position.offset);
                }
                Err(letter) => assert!(self.letters.contains(&letter.position.offset)),
            }
        }
    }

    fn page(&mut self, length: usize) {
        let end = (self.next as usize + length).min(self.log.len());
        let entries = self.log[self.next as usize..end].to_vec();
        self.next = end as u64;
        self.on(Event::Page(LogPage { entries, next: position(end as u64), at_end: end == self.log.len() }));
    }

    fn answer(&mut self, index: usize, done: bool) {
        if self.on_their_way.is_empty() {
            return;
        }
        let (write, content) = self.on_their_way.remove(index % self.on_their_way.len());
        match content {
            Ok((key, runs)) if done => {
                for run in runs {
                    let delta = Delta::decode(&run.bytes).unwrap();
                    assert_eq!((delta.site, delta.first, delta.last()), (run.site, run.first, run.last));
                    self.stored.entry((key.clone(), run.site)).or_default().extend(run.first..=run.last);
                }
            }
            Err(offset) if done => drop(self.letters.insert(offset)),
            _ => {}
        }
        self.on(Event::Written { write, done });
    }

    fn settle(&mut self, done: bool) {
        if let Some(offset) = self.rewind.take() {
            if done {
                self.next = offset;
            }
            self.on(Event::Rewound { partition: PARTITION, done });
        }
        if let Some(offset) = self.commit.take() {
            if done {
                self.committed = self.committed.max(offset);
            }
            self.on(Event::Committed { partition: PARTITION, offset, done });
        }
    }

    fn settle_all(&mut self) {
        while self.commit.is_some() || self.rewind.is_some() {
            self.settle(true);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.after(ms);
        self.on(Event::Tick);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_fails_nothing_is_committed_that_is_not_durable_and_all_is_in_the_end(
        steps in prop::collection::vec((0_u8..8, any::<u8>()), 0..200),
    ) {
        let mut world = World::new(log(120));
        for (kind, number) in steps {
            match kind {
                0 | 1 => world.page(usize::from(number % 9)),
                2 | 3 => world.answer(usize::from(number), true),
                4 => world.answer(usize::from(number), false),
                5 => world.settle(number % 4 != 0),
                6 => world.pass(u64::from(number) * 10),
                _ => {
                    // The partition goes to another member, well or badly, and comes back.
                    if number % 2 == 0 {
                        world.on(Event::Revoked(vec![PARTITION]));
                        if number % 4 == 0 && world.machine.has_left() {
                            prop_assert_eq!(world.committed, world.machine_read_to());
                        }
                    }
                    world.on(Event::Lost(vec![PARTITION]));
                    world.assign();
                }
            }
        }
        for _ in 0..2000 {
            world.page(7);
            world.answer(0, true);
            world.settle(true);
            world.pass(200);
            if world.committed == world.log.len() as u64 {
                break;
            }
        }
        prop_assert_eq!(world.committed, world.log.len() as u64);
        world.check_durable(world.committed);
        prop_assert_eq!(world.published, world.log.len() as u64);
    }
}

impl World {
    fn machine_read_to(&self) -> u64 {
        self.machine.partitions[&PARTITION].read_to
    }
}

#[test]
fn a_sites_deltas_become_one_run_and_an_old_run_is_written() {
    let mut world = World::new(log(7));
    world.page(7);
    assert!(world.on_their_way.is_empty(), "they are gathered");
    world.pass(999);
    assert!(world.on_their_way.is_empty());
    world.pass(100);
    let runs: Vec<usize> = world.on_their_way.iter().map(|(_, write)| write.as_ref().unwrap().1.len()).collect();
    assert_eq!(runs, [1, 1], "a run a document; two writes at a time, the third waits");
    world.answer(0, true);
    assert_eq!(world.on_their_way.len(), 2);
    assert!(world.commit.unwrap_or(0) <= 1, "the first record's document is written, the others' are not");
    world.answer(0, true);
    world.answer(0, true);
    world.settle(true);
    world.pass(100);
    world.settle(true);
    assert_eq!(world.committed, 7);
}

#[test]
fn what_is_asked_back_is_written_at_once_and_committed_before_it_goes() {
    let mut world = World::new(log(6));
    world.page(6);
    assert!(!world.machine.has_left() || world.machine.partitions.values().all(|own| !own.leaving));
    world.on(Event::Revoked(vec![PARTITION]));
    assert_eq!(world.on_their_way.len(), 2);
    assert!(!world.machine.has_left());
    while !world.on_their_way.is_empty() {
        world.answer(0, true);
    }
    assert!(!world.machine.has_left(), "it is not committed");
    world.settle_all();
    assert_eq!(world.committed, 6, "without the pause between commits");
    assert!(world.machine.has_left());
}

#[test]
fn a_refused_write_is_repeated_later_and_later() {
    let mut world = World::new(log(1));
    world.page(1);
    world.pass(1100);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert_eq!(world.on_their_way.len(), 1);
        world.answer(0, false);
        let mut pause = 0;
        while world.on_their_way.is_empty() {
            world.pass(50);
            pause += 50;
        }
        pauses.push(pause);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 6400, 6400]);
    world.answer(0, true);
    world.settle(true);
    assert_eq!(world.committed, 1);
}

#[test]
fn a_hole_is_closed_ten_minutes_after_every_region_was_heard_and_only_by_who_decides() {
    let mut world = World::new(log(1));
    world.page(1);
    let hole = Hole { site: SiteId::leased(1, 1), first: 20, last: 25 };
    let seen = |world: &mut World, holes: Vec<Hole>| {
        world.on(Event::Snapshotted { key: key(0), holes: Some(holes) });
    };
    seen(&mut world, vec![hole]);
    world.on(Event::Deciding(Some(4)));
    for _ in 0..20 {
        world.pass(60_000);
    }
    assert_eq!(world.closed, [], "a region that was not heard may have it");
    world.on(Event::RegionsHeard);
    world.pass(599_999);
    assert_eq!(world.closed, []);
    world.on(Event::Deciding(None));
    world.pass(1000);
    assert_eq!(world.closed, [], "the control plane is elsewhere");
    world.on(Event::Deciding(Some(5)));
    world.pass(50);
    assert_eq!(world.closed, [(key(0), hole)]);
    world.pass(50);
    assert_eq!(world.closed.len(), 1, "once");
    // It filled after all, and so never comes again.
    seen(&mut world, vec![]);
    world.on(Event::RegionsHeard);
    world.pass(700_000);
    assert_eq!((world.closed.len(), world.machine.holes()), (1, 0));
}

#[test]
fn a_stop_writes_commits_and_makes_the_snapshots_that_wait() {
    let mut world = World::new(log(9));
    world.page(9);
    world.on(Event::Stop);
    while !world.on_their_way.is_empty() {
        world.answer(0, true);
    }
    world.settle_all();
    assert_eq!(world.committed, 9);
    for _ in 0..3 {
        assert!(!world.machine.is_idle());
        let key = world.snapshots.remove(0);
        world.on(Event::Snapshotted { key, holes: Some(vec![]) });
    }
    assert!(world.machine.is_idle());
    world.page(1);
    assert!(world.rewind.is_some() || world.next == 9, "nothing more is taken");
}
