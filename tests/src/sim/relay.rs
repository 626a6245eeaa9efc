//! The relay's process: rooms and sessions as they ship, in a shell that asks the simulated region instead of a real one.
//!
//! Every question of a room is a job that is answered later, and between question and answer the process may end. What
//! the region keeps outlives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_engine::{Delta, Document, SiteId, StateDiff, VersionVector};
use selvedge_protocol::message::SiteLease;
use selvedge_protocol::{AckLevel, DocumentId, LogId, Position};
use selvedge_region::{EntryContent, LogRecord, Snapshot};
use selvedge_relay::room::{
    Failure, Loaded, Materialised, PushedDelta, Room, RoomConfig, RoomEffect, RoomEvent, RoomSetup, SessionKey,
    TailEntry, TailPage,
};

use super::dice::Dice;
use super::fault::Fault;
use super::log::{Answer, Ending, Remains};
use super::plant::Plant;
use super::region::Region;
use super::schedule::{MS, Micros, SECOND, micros};
use super::sessions::Sessions;
use super::world::{Event, Stop, World};

/// Records of one page of the log's tail: few, so that rooms have to read on.
const PAGE_RECORDS: usize = 16;

/// A question of a room that is to be answered.
#[derive(Debug)]
enum Question {
    Load,
    Bind {
        site: SiteId,
        principal: String,
    },
    Lease {
        key: SessionKey,
        principal: String,
        logged: VersionVector,
    },
    Release {
        site: SiteId,
        principal: String,
        counter: u64,
    },
    Tail {
        request: u64,
        from: Position,
    },
    Materialise {
        request: u64,
        since: Vec<VersionVector>,
    },
    Absorb {
        key: SessionKey,
        bytes: Vec<u8>,
    },
    /// The persisting task folds the log.
    Fold,
    /// And puts what it folded.
    Put(Box<Snapshot>),
}

/// A room and its alarm.
struct Host {
    room: Room,
    wake: Option<Micros>,
}

/// The relay and the region behind it.
pub(super) struct Relay {
    pub(super) region: Region,
    pub(super) sessions: Sessions,
    dice: Dice,
    /// Number of the process, while there is one.
    process: Option<u64>,
    processes: u64,
    pub(super) restored: bool,
    rooms: BTreeMap<DocumentId, Host>,
    jobs: BTreeMap<u64, (DocumentId, Question)>,
    next_job: u64,
    /// Appends under way, and which of which room they are.
    appends: BTreeMap<u64, (DocumentId, u64)>,
    next_append: u64,
    backup: Option<Region>,
    logs: u128,
    slow_until: Micros,
    failing_until: Micros,
    unknown_until: Micros,
    snapshots_lost_until: Micros,
    crash_in_sync: bool,
}

impl Relay {
    pub(super) fn new(dice: Dice) -> Self {
        Self {
            region: Region::new(1),
            sessions: Sessions::default(),
            dice,
            process: None,
            processes: 0,
            restored: false,
            rooms: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            appends: BTreeMap::new(),
            next_append: 0,
            backup: None,
            logs: 1,
            slow_until: 0,
            failing_until: 0,
            unknown_until: 0,
            snapshots_lost_until: 0,
            crash_in_sync: false,
        }
    }

    /// The number of the process that answers now.
    pub(super) fn process(&self) -> Option<u64> {
        self.process
    }

    /// The next group commit is the process's last.
    pub(super) fn crash_in_next_sync(&mut self) {
        self.crash_in_sync = true;
    }

    /// A fault of the region, for a while.
    pub(super) fn trouble(&mut self, fault: Fault, until: Micros) {
        match fault {
            Fault::LogSlow => self.slow_until = until,
            Fault::AppendFailed => self.failing_until = until,
            Fault::AppendUnknown => self.unknown_until = until,
            Fault::SnapshotLost => self.snapshots_lost_until = until,
            other => unreachable!("{} is no fault of a region", other.name()),
        }
    }
}

impl World {
    /// The relay's process starts.
    pub(super) fn relay_starts(&mut self, restored: bool) -> Result<(), Stop> {
        if self.relay.process.is_some() {
            return Ok(());
        }
        self.relay.processes += 1;
        self.relay.process = Some(self.relay.processes);
        self.relay.restored |= restored;
        let process = self.relay.processes;
        self.note(format_args!("relay: process {process} starts, log {}", self.relay.region.log.id()));
        for document in self.documents.clone() {
            let pause = self.relay.dice.spread(4 * SECOND);
            self.ask(&document, Question::Fold, pause);
        }
        Ok(())
    }

    /// The process is gone, and with it all that is not in the region.
    pub(super) fn crash_relay(&mut self) {
        if self.relay.process.take().is_none() {
            return;
        }
        let remains = self.relay.region.log.crash(&mut self.relay.dice);
        self.note(format_args!("fault: the relay is gone; of a commit: {remains:?}"));
        self.hit(Fault::RelayCrash);
        match remains {
            Remains::Idle => {}
            Remains::Lost => self.hit(Fault::LogLostWrite),
            Remains::Torn => self.hit(Fault::LogTornWrite),
            Remains::Unconfirmed => self.hit(Fault::LogUnconfirmed),
        }
        self.count_logged();
        if self.options.plant == Some(Plant::LyingSync) {
            let _ = self.relay.region.log.forget_last();
        }
        self.relay.rooms.clear();
        self.relay.jobs.clear();
        self.relay.appends.clear();
        self.relay.crash_in_sync = false;
        self.hang_up_all();
        let pause = self.fate.between(50, 4_000) * MS;
        self.schedule.after(pause, Event::RelayStart { restored: false });
    }

    /// The region's data is put back from a backup; the first time the backup is taken.
    pub(super) fn restore_relay(&mut self) {
        let Some(backup) = self.relay.backup.take() else {
            self.relay.backup = Some(self.relay.region.backup());
            return;
        };
        if backup.log.head() == self.relay.region.log.head() {
            return;
        }
        self.crash_relay();
        self.hit(Fault::RelayRestored);
        self.relay.logs += 1;
        self.relay.region = backup.restored(self.relay.logs);
        self.note(format_args!("fault: the region is put back to offset {}", self.relay.region.log.head()));
        for document in self.documents.clone() {
            self.books.log_restored(&document, self.relay.region.logged(&document));
            self.history.entry(document).or_default().retelling = true;
        }
        self.relay.restored = true;
    }

    /// The process is told to end, sends everybody away, and starts again.
    pub(super) fn drain_relay(&mut self) -> Result<(), Stop> {
        if self.relay.process.is_none() {
            return Ok(());
        }
        self.hit(Fault::RelayDrain);
        self.note(format_args!("fault: the relay drains"));
        self.drain_sessions()?;
        self.schedule.after(SECOND, Event::RelayEnd { process: self.relay.processes });
        Ok(())
    }

    /// A drained process ends.
    pub(super) fn relay_ends(&mut self, process: u64) {
        if self.relay.process == Some(process) {
            self.crash_relay();
        }
    }

    /// Faults of the region end, and its process runs.
    pub(super) fn relay_settles(&mut self) -> Result<(), Stop> {
        let now = self.schedule.now();
        let relay = &mut self.relay;
        (relay.slow_until, relay.failing_until, relay.unknown_until, relay.snapshots_lost_until) = (now, now, now, now);
        relay.crash_in_sync = false;
        self.relay_starts(false)
    }

    /// Tells a room something; it is made when it is not there.
    pub(super) fn tell_room(&mut self, document: &DocumentId, event: RoomEvent) -> Result<(), Stop> {
        let instant = self.schedule.instant();
        if !self.relay.rooms.contains_key(document) {
            if !matches!(event, RoomEvent::Join(_)) {
                return Ok(());
            }
            let config = RoomConfig { idle_unload_ms: 3_000, recent_bytes_max: 8 * 1024, ..RoomConfig::default() };
            let (document, restored) = (document.clone(), self.relay.restored);
            let setup = RoomSetup { config, document: document.clone(), highest: AckLevel::Region, restored };
            self.relay.rooms.insert(document, Host { room: Room::new(setup, instant), wake: None });
        }
        if let Some(host) = self.relay.rooms.get_mut(document) {
            host.room.handle(event, instant);
        }
        self.pump_room(document)
    }

    fn pump_room(&mut self, document: &DocumentId) -> Result<(), Stop> {
        loop {
            let Some(host) = self.relay.rooms.get_mut(document) else { return Ok(()) };
            let Some(effect) = host.room.poll_effect() else { break };
            self.serve(document, effect)?;
        }
        self.set_room_alarm(document);
        self.flush_sessions()
    }

    fn set_room_alarm(&mut self, document: &DocumentId) {
        let (now, process) = (self.schedule.now(), self.relay.processes);
        let Some(host) = self.relay.rooms.get_mut(document) else { return };
        let Some(deadline) = host.room.deadline() else { return };
        let at = micros(deadline).max(now + MS);
        if host.wake.is_none_or(|wake| at < wake || wake <= now) {
            host.wake = Some(at);
            self.schedule.at(at, Event::RoomWake { process, document: document.clone() });
        }
    }

    /// A room's alarm rings.
    pub(super) fn room_wakes(&mut self, process: u64, document: &DocumentId) -> Result<(), Stop> {
        let (now, instant) = (self.schedule.now(), self.schedule.instant());
        if self.relay.process != Some(process) {
            return Ok(());
        }
        let Some(host) = self.relay.rooms.get_mut(document).filter(|host| host.wake == Some(now)) else {
            return Ok(());
        };
        host.wake = None;
        host.room.tick(instant);
        self.pump_room(document)
    }

    /// Carries out what a room asks for.
    fn serve(&mut self, document: &DocumentId, effect: RoomEffect) -> Result<(), Stop> {
        let delay = self.relay.dice.spread(4 * MS);
        match effect {
            RoomEffect::Load { .. } => self.ask(document, Question::Load, delay),
            RoomEffect::Bind { site, principal } => self.ask(document, Question::Bind { site, principal }, delay),
            RoomEffect::Lease { key, principal, logged } => {
                self.ask(document, Question::Lease { key, principal, logged }, delay)
            }
            RoomEffect::Release { site, principal, counter } => {
                self.ask(document, Question::Release { site, principal, counter }, delay)
            }
            RoomEffect::ReadTail { request, from } => self.ask(document, Question::Tail { request, from }, delay),
            RoomEffect::Materialise { request, since } => {
                self.ask(document, Question::Materialise { request, since }, delay * 3)
            }
            RoomEffect::Absorb { key, bytes } => self.ask(document, Question::Absorb { key, bytes }, delay * 3),
            RoomEffect::Append { append, records } => return self.append(document, append, records),
            RoomEffect::Send { key, message } => return self.session_sends(document, key, message),
            RoomEffect::Watch { key } => self.session_watches(document, key),
            RoomEffect::Close { key, closed } => return self.session_closes_channel(document, key, closed),
            RoomEffect::CloseSession { key, code } => self.session_closes(key, code),
            // One region: nothing asks for another's watermark.
            RoomEffect::Publish { .. }
            | RoomEffect::PublishPresence { .. }
            | RoomEffect::ReadWatermark
            | RoomEffect::ReadBacklog => {}
            RoomEffect::Unload => {
                self.note(format_args!("relay: the room of {document} is let go"));
                self.relay.rooms.remove(document);
            }
        }
        Ok(())
    }

    fn ask(&mut self, document: &DocumentId, question: Question, delay: Micros) {
        let job = self.relay.next_job;
        self.relay.next_job += 1;
        self.relay.jobs.insert(job, (document.clone(), question));
        self.schedule.after(delay, Event::RelayJob { job });
    }

    /// A question is answered.
    pub(super) fn relay_job(&mut self, job: u64) -> Result<(), Stop> {
        let Some((document, question)) = self.relay.jobs.remove(&job) else { return Ok(()) };
        let region = &mut self.relay.region;
        let answer = match question {
            Question::Load => {
                let generation = region.generation(&document);
                let fold = region.fold(&document);
                let position = fold.position().unwrap_or(region.position(0));
                let read_to = Some(fold.read_to().unwrap_or(position));
                let text_bytes = fold.document().len_bytes() as u64;
                let loaded = Loaded { generation, vector: fold.vector().clone(), position, read_to, text_bytes };
                RoomEvent::Loaded(Ok(Box::new(loaded)))
            }
            Question::Bind { site, principal } => {
                self.books.author(&document, site, &principal);
                let outcome = if region.bind(&document, site, &principal) { Ok(()) } else { Err(Failure::Foreign) };
                RoomEvent::Bound { site, outcome }
            }
            Question::Lease { key, principal, logged } => {
                let (site, next_counter) = region.lease(&document, &principal, &logged);
                self.books.author(&document, site, &principal);
                RoomEvent::Leased { key, lease: Some(SiteLease { site, next_counter }) }
            }
            Question::Release { site, principal, counter } => {
                region.release(&document, site, &principal, counter);
                return Ok(());
            }
            Question::Tail { request, from } => RoomEvent::Tail { request, outcome: tail(region, &document, from) },
            Question::Materialise { request, since } => {
                let fold = region.fold(&document);
                if self.options.plant == Some(Plant::SnapshotAhead) {
                    let vector = fold.vector().clone();
                    let old = region
                        .snapshot(&document)
                        .and_then(|kept| Document::load(&kept.bytes).ok())
                        .unwrap_or_default();
                    let diffs = since.iter().map(|since| Arc::from(old.state_diff(since).encode())).collect();
                    let outcome = Ok(Materialised { vector, text_bytes: old.len_bytes() as u64, diffs });
                    return self.tell_room(&document, RoomEvent::Materialised { request, outcome });
                }
                let diffs = since.iter().map(|since| Arc::from(fold.document().state_diff(since).encode())).collect();
                let (vector, text_bytes) = (fold.vector().clone(), fold.document().len_bytes() as u64);
                RoomEvent::Materialised { request, outcome: Ok(Materialised { vector, text_bytes, diffs }) }
            }
            Question::Absorb { key, bytes } => {
                let outcome = absorb(region, &document, &bytes);
                RoomEvent::Absorbed { key, outcome }
            }
            Question::Fold => {
                let mut snapshot = region.fold(&document).snapshot();
                if self.options.plant == Some(Plant::TornSnapshot)
                    && let Some(kept) = region.snapshot(&document)
                {
                    snapshot.bytes.clone_from(&kept.bytes);
                }
                self.ask(&document, Question::Put(Box::new(snapshot)), 200 * MS);
                return Ok(());
            }
            Question::Put(snapshot) => {
                if self.relay.snapshots_lost_until > self.schedule.now() {
                    self.hit(Fault::SnapshotLost);
                } else {
                    self.relay.region.keep_snapshot(&document, *snapshot);
                }
                let pause = self.relay.dice.spread(8 * SECOND);
                self.ask(&document, Question::Fold, pause);
                return Ok(());
            }
        };
        self.tell_room(&document, answer)
    }

    fn append(&mut self, document: &DocumentId, append: u64, records: Vec<LogRecord>) -> Result<(), Stop> {
        for record in &records {
            self.learn(document, &record.delta, "an append")?;
        }
        let id = self.relay.next_append;
        self.relay.next_append += 1;
        self.relay.appends.insert(id, (document.clone(), append));
        let records = self.append_by_plant(id, records);
        if self.relay.region.log.append(id, records) {
            self.begin_sync();
        }
        Ok(())
    }

    /// Planted faults between a room and the log.
    fn append_by_plant(&mut self, id: u64, mut records: Vec<LogRecord>) -> Vec<LogRecord> {
        match self.options.plant {
            Some(Plant::AckBeforeAppend) => {
                let head = self.relay.region.log.head();
                let offsets = (head..head + records.len() as u64).collect();
                let answers = vec![Answer { append: id, offsets: Some(offsets) }];
                self.schedule.after(0, Event::LogAnswers { process: self.relay.processes, answers });
            }
            Some(Plant::GapIgnored) if self.relay.dice.percent(2) => {
                records.remove(0);
            }
            Some(Plant::DedupeOff) => {
                for record in &mut records {
                    self.append_anew(record);
                }
            }
            _ => {}
        }
        records
    }

    /// A record that the log has already becomes another site's.
    fn append_anew(&mut self, record: &mut LogRecord) {
        let known =
            self.relay.region.log.durable().iter().any(|logged| logged.record.payload_hash == record.payload_hash);
        let Ok(mut delta) = Delta::decode(&record.delta) else { return };
        if known {
            delta.site = SiteId::system(self.relay.next_append);
            delta.first = 1;
            *record =
                LogRecord::new(record.document.clone(), record.generation, record.principal.clone(), delta.encode());
        }
    }

    fn begin_sync(&mut self) {
        let mean = if self.relay.slow_until > self.schedule.now() {
            self.hit(Fault::LogSlow);
            1_500 * MS
        } else {
            5 * MS
        };
        let delay = self.relay.dice.spread(mean);
        self.schedule.after(delay, Event::LogSync { process: self.relay.processes });
    }

    /// A group commit ends.
    pub(super) fn log_syncs(&mut self, process: u64) -> Result<(), Stop> {
        if self.relay.process != Some(process) {
            return Ok(());
        }
        if self.relay.crash_in_sync {
            self.crash_relay();
            return Ok(());
        }
        let now = self.schedule.now();
        let ending = if self.relay.failing_until > now {
            self.hit(Fault::AppendFailed);
            if self.relay.dice.percent(50) { Ending::Failed } else { Ending::Partly }
        } else if self.relay.unknown_until > now {
            self.hit(Fault::AppendUnknown);
            Ending::Unknown
        } else {
            Ending::Well
        };
        let (answers, again) = self.relay.region.log.sync(ending);
        self.count_logged();
        if again {
            self.begin_sync();
        }
        let delay = self.relay.dice.spread(3 * MS);
        self.schedule.after(delay, Event::LogAnswers { process, answers });
        Ok(())
    }

    /// Counts what became durable.
    pub(super) fn count_logged(&mut self) {
        for record in self.relay.region.count() {
            self.trace.absorb(&record.payload_hash);
            self.books.logged(&record.document, self.relay.region.logged(&record.document));
        }
    }

    /// The outcome of a group commit is told to the rooms.
    pub(super) fn log_answers(&mut self, process: u64, answers: Vec<Answer>) -> Result<(), Stop> {
        if self.relay.process != Some(process) {
            return Ok(());
        }
        for answer in answers {
            // Under a planted fault an append is answered early; its true answer comes to nobody.
            let Some((document, append)) = self.relay.appends.remove(&answer.append) else { continue };
            let region = &self.relay.region;
            let outcome = match answer.offsets {
                Some(offsets) => Ok(offsets.into_iter().map(|offset| region.position(offset)).collect()),
                None => Err(Failure::Retry),
            };
            self.note(format_args!(
                "relay: append {append} of {document} {}",
                if outcome.is_ok() { "confirmed" } else { "failed" }
            ));
            self.tell_room(&document, RoomEvent::Appended { append, outcome })?;
        }
        Ok(())
    }
}

/// A page of a document's records.
fn tail(region: &Region, document: &DocumentId, from: Position) -> Result<TailPage, Failure> {
    if from.log != LogId(region.log.id()) || from.offset > region.log.head() {
        return Err(Failure::Gone);
    }
    let mut entries: Vec<TailEntry> = region
        .entries(document, from.offset)
        .take(PAGE_RECORDS + 1)
        .filter_map(|entry| match entry.content {
            EntryContent::Record(record) => Some(TailEntry { position: entry.position, delta: record.delta }),
            EntryContent::Undecodable { .. } => None,
        })
        .collect();
    let at_end = entries.len() <= PAGE_RECORDS;
    entries.truncate(PAGE_RECORDS);
    let read = entries.last().map_or(from.offset, |entry| entry.position.offset + 1);
    let next = region.position(if at_end { region.log.head() } else { read });
    Ok(TailPage { entries, next, at_end })
}

/// A state that a writer uploads, as deltas for the log: from what the log makes to what it makes with that state.
fn absorb(region: &Region, document: &DocumentId, bytes: &[u8]) -> Result<Vec<PushedDelta>, Failure> {
    let before = region.fold(document).into_document();
    let diff = StateDiff::decode(bytes).map_err(|_| Failure::Invalid)?;
    let mut after = before.clone();
    after.apply_state(&diff).map_err(|_| Failure::Invalid)?;
    let pushed = |delta: Delta| PushedDelta { bytes: delta.encode(), delta: Arc::new(delta), announced: false };
    Ok(after.deltas_since(&before).into_iter().map(pushed).collect())
}
