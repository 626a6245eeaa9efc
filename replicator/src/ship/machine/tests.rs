use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;
use selvedge_engine::{Document, SiteId};
use selvedge_protocol::Instant;
use selvedge_region::{Assignment, EntryContent, LogEntry, LogId, LogPage, LogRecord, Position, RecordError};

use super::Ship;
use crate::ship::{CopyId, Effect, Event, ShipConfig};

const SOURCE: LogId = LogId(10);
const TARGET: LogId = LogId(20);
const PARTITION: u32 = 1;

fn at(log: LogId, offset: u64) -> Position {
    Position { log, partition: PARTITION, offset }
}

/// A log of one partition in which some records came from the peer and some are none.
fn log(length: usize) -> Vec<LogEntry> {
    let mut writer = Document::new();
    writer.begin_writing(SiteId::leased(1, 1), 1).unwrap();
    let entry = |index: usize| {
        let position = at(SOURCE, index as u64);
        if index % 13 == 5 {
            let content = EntryContent::Undecodable { bytes: vec![1; 20], reason: RecordError::Version(9) };
            return LogEntry { position, content };
        }
        writer.replace(writer.len_utf16(), 0, "word ").unwrap();
        let delta = writer.seal().remove(0).encode();
        let document = format!("test/{}", index % 4).parse().unwrap();
        let mut record = LogRecord::new(document, 1, "anon:test".to_owned(), delta);
        if index % 7 == 3 {
            record = record.copied_from(at(TARGET, 100 + index as u64));
        }
        LogEntry { position, content: EntryContent::Record(record) }
    };
    (0..length).map(entry).collect()
}

/// The world around the machine: a log, and a peer that takes copies in the order they are asked for.
struct World {
    machine: Ship,
    log: Vec<LogEntry>,
    now: Instant,
    begin: u64,
    next: u64,
    committed: Option<u64>,
    marked: u64,
    announced: u64,
    told: BTreeSet<(String, u64)>,
    /// Copies that the peer has not answered.
    copies: VecDeque<(CopyId, Vec<LogRecord>)>,
    /// Source offsets of what the peer's log got, in its order.
    peer: Vec<u64>,
    reseeding: bool,
    reseeded: bool,
    commit: Option<u64>,
    rewind: Option<u64>,
}

impl World {
    fn new(length: usize, begin: u64) -> Self {
        let config = ShipConfig { held_bytes_max: 600, ..ShipConfig::default() };
        let mut world = Self {
            machine: Ship::new(config, SOURCE, TARGET),
            log: log(length),
            now: Instant(1_000),
            begin,
            next: 0,
            committed: None,
            marked: 0,
            announced: 0,
            told: BTreeSet::new(),
            copies: VecDeque::new(),
            peer: Vec::new(),
            reseeding: false,
            reseeded: false,
            commit: None,
            rewind: None,
        };
        world.assign();
        world
    }

    /// One whose peer was given what the log may not hold.
    fn fed(length: usize) -> Self {
        let mut world = Self::new(length, 0);
        world.settle(true);
        world
    }

    fn assign(&mut self) {
        let from = self.committed.unwrap_or(0).max(self.begin);
        (self.next, self.commit, self.rewind, self.reseeding) = (from, None, None, false);
        self.copies.clear();
        self.on(Event::Assigned(vec![Assignment { partition: PARTITION, from, committed: self.committed }]));
    }

    fn on(&mut self, event: Event) {
        for effect in self.machine.on(event, self.now) {
            match effect {
                Effect::Copy { copy, records, .. } => {
                    assert!(records.iter().all(|record| record.origin.is_some_and(|origin| origin.log == SOURCE)));
                    self.copies.push_back((copy, records));
                }
                Effect::Announce { watermark, documents } => {
                    assert!(watermark.offset > self.announced || watermark.offset > self.committed.unwrap_or(0));
                    self.check_confirmed(watermark.offset);
                    self.announced = self.announced.max(watermark.offset);
                    self.told.extend(documents.iter().map(|document| (document.to_string(), watermark.offset)));
                }
                Effect::Mark { offset, .. } => {
                    self.check_confirmed(offset);
                    self.marked = offset;
                }
                Effect::Commit { offset, .. } => {
                    assert_eq!(self.commit.replace(offset), None, "one commit at a time");
                    self.check_confirmed(offset);
                }
                Effect::Rewind { offset, .. } => self.rewind = Some(offset),
                Effect::Reseed { below, .. } => {
                    assert_eq!(below, self.begin);
                    self.reseeding = true;
                }
            }
        }
        assert!(self.machine.held_bytes() < 600 + 40 * 10, "what is held is bounded");
    }

    /// The peer has everything below the offset, but for what it had from itself and what is no record.
    fn check_confirmed(&self, offset: u64) {
        assert!(offset <= self.begin && offset == self.committed.unwrap_or(0) || self.reseeded);
        let got: BTreeSet<u64> = self.peer.iter().copied().collect();
        for entry in &self.log[self.begin.min(offset) as usize..offset as usize] {
            let EntryContent::Record(record) = &entry.content else { continue };
            if !record.came_from(TARGET) {
                assert!(got.contains(&entry.position.offset), "offset {} is not at the peer", entry.position.offset);
            }
        }
    }

    fn page(&mut self, length: usize) {
        let end = (self.next as usize + length).min(self.log.len());
        let entries = self.log[self.next as usize..end].to_vec();
        self.next = end as u64;
        self.on(Event::Page(LogPage { entries, next: at(SOURCE, end as u64), at_end: end == self.log.len() }));
    }

    /// The peer answers its oldest copy. A failure may have left all, some or none of it.
    fn answer(&mut self, done: bool, left: usize) {
        let Some((copy, records)) = self.copies.pop_front() else { return };
        let kept = if done { records.len() } else { left.min(records.len()) };
        self.peer.extend(records[..kept].iter().filter_map(|record| record.origin).map(|origin| origin.offset));
        self.on(Event::Copied { copy, done });
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
                self.committed = Some(self.committed.unwrap_or(0).max(offset));
            }
            self.on(Event::Committed { partition: PARTITION, offset, done });
        }
        if std::mem::take(&mut self.reseeding) {
            self.reseeded |= done;
            self.on(Event::Reseeded { partition: PARTITION, done });
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.after(ms);
        self.on(Event::Tick);
    }

    fn finish(&mut self) {
        for _ in 0..2000 {
            self.page(7);
            self.answer(true, 0);
            self.settle(true);
            self.pass(300);
            if self.committed == Some(self.log.len() as u64) && self.marked == self.log.len() as u64 {
                return;
            }
        }
        panic!("ship did not come to the end: committed {:?}, marked {}", self.committed, self.marked);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_watermark_is_never_above_what_the_peer_has_and_comes_to_the_end(
        begin in prop::sample::select(vec![0_u64, 0, 17]),
        steps in prop::collection::vec((0_u8..9, any::<u8>()), 0..200),
    ) {
        let mut world = World::new(120, begin);
        for (kind, number) in steps {
            match kind {
                0..=2 => world.page(usize::from(number % 9)),
                3 | 4 => world.answer(true, 0),
                5 => world.answer(false, usize::from(number % 4)),
                6 => world.settle(number % 4 != 0),
                7 => world.pass(u64::from(number) * 3),
                _ => {
                    if number % 2 == 0 {
                        world.on(Event::Revoked(vec![PARTITION]));
                    }
                    world.on(Event::Lost(vec![PARTITION]));
                    world.assign();
                }
            }
        }
        world.finish();
        world.check_confirmed(120);
        // Whoever waits for a record's watermark hears of one above it.
        for document in 0..4 {
            let last = (begin as usize..120).rev().find(|index| index % 13 != 5 && index % 4 == document).unwrap();
            let highest = world.told.iter().filter(|(name, _)| *name == format!("test/{document}")).map(|(_, at)| *at).max();
            prop_assert!(highest > Some(last as u64), "test/{document}: {highest:?}");
        }
    }
}

#[test]
fn what_came_from_the_peers_present_log_is_not_sent_back_and_counts_as_there() {
    let mut world = World::fed(4);
    world.page(4);
    world.answer(true, 0);
    world.pass(200);
    world.settle(true);
    assert_eq!(world.peer, [0, 1, 2], "offset 3 came from there");
    assert_eq!((world.announced, world.committed), (4, Some(4)));
}

#[test]
fn a_refusal_takes_back_what_follows_it_and_goes_alone_first() {
    let mut world = World::fed(40);
    for _ in 0..6 {
        world.page(2);
    }
    assert_eq!(world.copies.len(), 4, "the window");
    // The second is refused although all of it got there, the third and fourth are confirmed.
    world.answer(true, 0);
    world.answer(false, 9);
    let late = std::mem::take(&mut world.copies);
    world.pass(100);
    assert_eq!(world.copies.len(), 1, "one alone");
    for (copy, _) in late {
        world.on(Event::Copied { copy, done: true });
    }
    assert_eq!(world.announced, 2, "what was taken back is confirmed by its own copy only");
    world.answer(true, 0);
    assert!(world.copies.len() > 1, "the window is open again");
    world.finish();
}

#[test]
fn what_piles_up_in_small_pages_goes_in_few_copies() {
    let mut world = World::fed(30);
    for _ in 0..30 {
        world.page(1);
    }
    assert_eq!(world.copies.len(), 4, "the window");
    world.answer(true, 0);
    let on_their_way: usize = world.copies.iter().map(|(_, records)| records.len()).sum();
    world.answer(true, 0);
    assert_eq!(world.copies.len(), 3, "the rest was one copy");
    assert!(on_their_way > 20, "{on_their_way} of 30 records and no records");
    world.finish();
    assert!(world.peer.is_sorted(), "in the order of the source");
}

#[test]
fn a_peer_with_another_log_lowers_the_mark_and_is_fed_from_the_beginning() {
    let mut world = World::fed(20);
    world.finish();
    assert_eq!(world.marked, 20);
    // Another log has another group, which has committed nothing.
    world.machine = Ship::new(ShipConfig::default(), SOURCE, LogId(30));
    world.committed = None;
    world.peer.clear();
    world.reseeded = false;
    world.assign();
    assert_eq!(world.marked, 0);
    assert!(world.reseeding, "the region may have been given what its log never held");
    world.page(20);
    let (_, records) = world.copies.front().unwrap();
    let back = records.iter().any(|record| record.first_origin.is_some_and(|first| first.log == TARGET));
    assert!(back, "what came from its log of before goes to the new one");
}

#[test]
fn nothing_is_told_before_the_peer_was_fed_what_the_log_no_longer_holds() {
    let mut world = World::new(30, 10);
    assert!(world.reseeding);
    world.page(10);
    world.answer(true, 0);
    world.pass(500);
    assert_eq!((world.announced, world.commit), (0, None));
    world.settle(false);
    assert!(!world.reseeding);
    world.pass(2_000);
    assert!(world.reseeding, "it is tried again");
    world.settle(true);
    assert_eq!(world.announced, 20);
    world.finish();
}
