//! The rooms of a relay, as they ship, in a shell that asks the simulated region instead of a real one.
//!
//! Every question of a room is a job that is answered later, and between question and answer the process may end.

use std::sync::Arc;

use selvedge_engine::{Delta, Document, SiteId, StateDiff, VersionVector};
use selvedge_protocol::message::SiteLease;
use selvedge_protocol::{AckLevel, DocumentId, LogId, Position};
use selvedge_region::{EntryContent, LogEntry};
use selvedge_relay::room::{
    Failure, Loaded, Materialised, PushedDelta, Room, RoomConfig, RoomEffect, RoomEvent, RoomSetup, SessionKey,
    TailEntry, TailPage,
};

use super::plant::Plant;
use super::region::Region;
use super::schedule::{MS, Micros, micros};
use super::world::{Event, Stop, World};

/// Records of one page of the log's tail: few, so that rooms have to read on.
const PAGE_RECORDS: usize = 16;

/// A question of a room that is to be answered.
#[derive(Debug)]
pub(super) enum Question {
    Load,
    Bind { site: SiteId, principal: String },
    Lease { key: SessionKey, principal: String, logged: VersionVector },
    Release { site: SiteId, principal: String, counter: u64 },
    Tail { request: u64, from: Position },
    Watermark,
    Materialise { request: u64, since: Vec<VersionVector>, beyond: Option<Position> },
    Absorb { key: SessionKey, bytes: Vec<u8> },
    TakeToken { key: SessionKey, for_ms: u64 },
    GiveToken { key: SessionKey },
}

/// A room and its alarm.
pub(super) struct Host {
    room: Room,
    wake: Option<Micros>,
}

impl Host {
    /// What the room takes for logged.
    pub(super) fn logged(&self) -> Option<&VersionVector> {
        self.room.logged()
    }
}

impl World {
    /// Tells a room something; it is made when it is not there and somebody joins.
    pub(super) fn tell_room(&mut self, relay: usize, document: &DocumentId, event: RoomEvent) -> Result<(), Stop> {
        let instant = self.schedule.instant();
        if !self.relays[relay].rooms.contains_key(document) {
            if !matches!(event, RoomEvent::Join(_)) {
                return Ok(());
            }
            let mut room = Room::new(self.room_setup(document), instant);
            if let Some(rule) = self.options.plant.and_then(Plant::rule) {
                room = room.without(rule);
            }
            self.relays[relay].rooms.insert(document.clone(), Host { room, wake: None });
        }
        if let Some(host) = self.relays[relay].rooms.get_mut(document) {
            host.room.handle(event, instant);
        }
        self.pump_room(relay, document)
    }

    fn room_setup(&self, document: &DocumentId) -> RoomSetup {
        let config = RoomConfig { idle_unload_ms: 3_000, recent_bytes_max: 8 * 1024, ..RoomConfig::default() };
        RoomSetup {
            config,
            document: document.clone(),
            highest: if self.routes.is_empty() { AckLevel::Region } else { AckLevel::Replicated },
            restored: self.restored,
            tags: self.tag_keys.clone(),
        }
    }

    fn pump_room(&mut self, relay: usize, document: &DocumentId) -> Result<(), Stop> {
        loop {
            let Some(host) = self.relays[relay].rooms.get_mut(document) else { return Ok(()) };
            let Some(effect) = host.room.poll_effect() else { break };
            self.serve(relay, document, effect)?;
        }
        self.set_room_alarm(relay, document);
        self.flush_sessions(relay)
    }

    fn set_room_alarm(&mut self, relay: usize, document: &DocumentId) {
        let now = self.schedule.now();
        let Some(process) = self.relays[relay].process() else { return };
        let Some(host) = self.relays[relay].rooms.get_mut(document) else { return };
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
        let Some(relay) = self.relay_of(process) else { return Ok(()) };
        let Some(host) = self.relays[relay].rooms.get_mut(document).filter(|host| host.wake == Some(now)) else {
            return Ok(());
        };
        host.wake = None;
        host.room.tick(instant);
        self.pump_room(relay, document)
    }

    /// Carries out what a room asks for.
    fn serve(&mut self, relay: usize, document: &DocumentId, effect: RoomEffect) -> Result<(), Stop> {
        let delay = self.relays[relay].dice.spread(4 * MS);
        let (question, delay) = match effect {
            RoomEffect::Load { .. } => (Question::Load, delay),
            RoomEffect::Bind { site, principal } => (Question::Bind { site, principal }, delay),
            RoomEffect::Lease { key, principal, logged } => (Question::Lease { key, principal, logged }, delay),
            RoomEffect::Release { site, principal, counter } => (Question::Release { site, principal, counter }, delay),
            RoomEffect::ReadTail { request, from } => (Question::Tail { request, from }, delay),
            RoomEffect::ReadWatermark => (Question::Watermark, delay),
            RoomEffect::Materialise { request, since, beyond } => {
                (Question::Materialise { request, since, beyond }, delay * 3)
            }
            RoomEffect::TakeToken { key, for_ms } => (Question::TakeToken { key, for_ms }, delay),
            RoomEffect::GiveToken { key } => (Question::GiveToken { key }, delay),
            RoomEffect::Absorb { key, bytes } => (Question::Absorb { key, bytes }, delay * 3),
            RoomEffect::Append { append, records } => return self.append(relay, document, append, records),
            RoomEffect::Send { key, message } => return self.session_sends(relay, document, key, message),
            RoomEffect::Watch { key } => {
                self.session_watches(relay, document, key);
                return Ok(());
            }
            RoomEffect::Close { key, closed } => return self.session_closes_channel(relay, document, key, closed),
            RoomEffect::CloseSession { key, code } => {
                self.session_closes(relay, key, code);
                return Ok(());
            }
            RoomEffect::Publish { records } => {
                self.publish_records(relay, document, records);
                return Ok(());
            }
            RoomEffect::PublishTentative { records } => {
                self.publish_tentative(relay, document, records);
                return Ok(());
            }
            RoomEffect::PublishPresence { session, data, user } => {
                let event = RoomEvent::HeardPresence { session, data, user };
                self.publish(relay, document, event);
                return Ok(());
            }
            // Persist is never far behind here.
            RoomEffect::ReadBacklog => return Ok(()),
            RoomEffect::Unload => {
                self.note(format_args!("relay {relay}: the room of {document} is let go"));
                self.relays[relay].rooms.remove(document);
                return Ok(());
            }
        };
        self.ask(relay, document, question, delay);
        Ok(())
    }

    fn ask(&mut self, relay: usize, document: &DocumentId, question: Question, delay: Micros) {
        let place = &mut self.relays[relay];
        let Some(process) = place.process() else { return };
        let job = place.next_job;
        place.next_job += 1;
        place.jobs.insert(job, (document.clone(), question));
        self.schedule.after(delay, Event::RelayJob { process, job });
    }

    /// A question is answered.
    pub(super) fn relay_job(&mut self, process: u64, job: u64) -> Result<(), Stop> {
        let Some(relay) = self.relay_of(process) else { return Ok(()) };
        let Some((document, question)) = self.relays[relay].jobs.remove(&job) else { return Ok(()) };
        let region = &self.regions[self.relays[relay].region];
        let answer = match question {
            Question::Load => {
                let generation = self.control.generation(&document);
                let fold = region.fold(&document);
                let position = fold.position().unwrap_or(region.position(0));
                let read_to = Some(fold.read_to().unwrap_or(position));
                let text_bytes = fold.document().len_bytes() as u64;
                let loaded = Loaded { generation, vector: fold.vector().clone(), position, read_to, text_bytes };
                RoomEvent::Loaded(Ok(Box::new(loaded)))
            }
            Question::Bind { site, principal } => {
                self.books.author(&document, site, &principal);
                let bound = self.control.bind(&document, site, &principal);
                RoomEvent::Bound { site, outcome: if bound { Ok(()) } else { Err(Failure::Foreign) } }
            }
            Question::Lease { key, principal, logged } => {
                let (site, next_counter) = self.control.lease(&document, &principal, &logged);
                self.books.author(&document, site, &principal);
                RoomEvent::Leased { key, lease: Some(SiteLease { site, next_counter }) }
            }
            Question::Release { site, principal, counter } => {
                self.control.release(&document, site, &principal, counter);
                return Ok(());
            }
            Question::Tail { request, from } => RoomEvent::Tail { request, outcome: tail(region, &document, from) },
            Question::Watermark => RoomEvent::Watermark(region.watermark()),
            Question::Materialise { request, since, beyond } => {
                let torn = self.options.plant == Some(Plant::SnapshotAhead);
                RoomEvent::Materialised { request, outcome: Ok(materialise(region, &document, &since, beyond, torn)) }
            }
            Question::TakeToken { key, for_ms } => {
                let taken = self.take_token(relay, &document, key.session, for_ms);
                RoomEvent::TokenTaken { key, taken }
            }
            Question::GiveToken { key } => {
                self.give_token(relay, &document, key.session);
                return Ok(());
            }
            Question::Absorb { key, bytes } => RoomEvent::Absorbed { key, outcome: absorb(region, &document, &bytes) },
        };
        self.tell_room(relay, &document, answer)
    }
}

/// A page of a document's records.
fn tail(region: &Region, document: &DocumentId, from: Position) -> Result<TailPage, Failure> {
    if from.log != LogId(region.log.id()) || !(region.log.start()..=region.log.head()).contains(&from.offset) {
        return Err(Failure::Gone);
    }
    let mut entries: Vec<TailEntry> =
        region.entries(document, from.offset).take(PAGE_RECORDS + 1).filter_map(tail_entry).collect();
    let at_end = entries.len() <= PAGE_RECORDS;
    entries.truncate(PAGE_RECORDS);
    let read = entries.last().map_or(from.offset, |entry| entry.position.offset + 1);
    let next = region.position(if at_end { region.log.head() } else { read });
    Ok(TailPage { entries, next, at_end })
}

fn tail_entry(entry: LogEntry) -> Option<TailEntry> {
    match entry.content {
        EntryContent::Record(record) => Some(TailEntry { position: entry.position, delta: record.delta }),
        EntryContent::Undecodable { .. } => None,
    }
}

/// State diffs against each vector, and the records from `beyond` on; `torn`: of an older state than they say (a planted fault).
fn materialise(
    region: &Region,
    document: &DocumentId,
    since: &[VersionVector],
    beyond: Option<Position>,
    torn: bool,
) -> Materialised {
    let fold = region.fold(document);
    let vector = fold.vector().clone();
    let kept = || region.snapshot(document).and_then(|kept| Document::load(&kept.bytes).ok());
    let state = if torn { kept().unwrap_or_default() } else { fold.into_document() };
    let diffs = since.iter().map(|since| Arc::from(state.state_diff(since).encode())).collect();
    let beyond =
        beyond.map_or_else(Vec::new, |from| region.entries(document, from.offset).filter_map(tail_entry).collect());
    Materialised { vector, text_bytes: state.len_bytes() as u64, diffs, beyond }
}

/// A state that a writer uploads, as deltas for the log: from what the log makes to what it makes with that state.
fn absorb(region: &Region, document: &DocumentId, bytes: &[u8]) -> Result<Vec<PushedDelta>, Failure> {
    let before = region.fold(document).into_document();
    let diff = StateDiff::decode(bytes).map_err(|_| Failure::Invalid)?;
    let mut after = before.clone();
    after.apply_state(&diff).map_err(|_| Failure::Invalid)?;
    let pushed =
        |delta: Delta| PushedDelta { bytes: delta.encode(), delta: Arc::new(delta), announced: false, tag: None };
    Ok(after.deltas_since(&before).into_iter().map(pushed).collect())
}
