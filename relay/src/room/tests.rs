//! The room against a log in memory whose answers the test decides.

use std::sync::Arc;

use selvedge_engine::{Delta, Document, SiteId, StateDiff, VersionVector};
use selvedge_protocol::message::{Open, SiteLease};
use selvedge_protocol::stream::RoomDecoder;
use selvedge_protocol::transfer::Staging;
use selvedge_protocol::{AckLevel, Channel, LogId, Rights, ServerMessage};
use selvedge_region::LogRecord;

use super::*;

const LOG: LogId = LogId(9);

/// A room, its log, and what its sessions were sent.
struct Table {
    room: Room,
    log: Vec<LogRecord>,
    /// Appends asked for and not answered.
    appends: VecDeque<(u64, Vec<LogRecord>)>,
    hold_appends: bool,
    foreign: Vec<SiteId>,
    readers: BTreeMap<SessionKey, Reader>,
    watched: Vec<SessionKey>,
    closed: Vec<(SessionKey, CloseCode)>,
    released: Vec<(SiteId, u64)>,
    leases: u32,
    now: Instant,
    unloads: usize,
    lose_tail: bool,
}

/// What a session does with what it is sent.
#[derive(Default)]
struct Reader {
    document: Document,
    decoder: RoomDecoder,
    staging: Staging,
    synced: usize,
    acks: BTreeMap<SiteId, u64>,
    gaps: Vec<(SiteId, u64)>,
    refused: Vec<(SiteId, CloseCode)>,
    presence: BTreeMap<u64, Option<Vec<u8>>>,
    lease: Option<SiteLease>,
    frames: usize,
    credit: u64,
}

fn key(session: u64) -> SessionKey {
    SessionKey { session, channel: Channel(1) }
}

fn at(offset: u64) -> Position {
    Position { log: LOG, partition: 0, offset }
}

fn open() -> Open {
    Open {
        document: "t/d".into(),
        generation: 0,
        position: None,
        vector_hash: 0,
        outbox: Vec::new(),
        outbox_bytes: 0,
        token: None,
        wants_site: false,
    }
}

fn pushed(delta: &Delta) -> PushedDelta {
    PushedDelta { delta: Arc::new(delta.clone()), bytes: delta.encode(), announced: false }
}

impl Table {
    fn new() -> Self {
        Self::with(RoomConfig::default())
    }

    fn with(config: RoomConfig) -> Self {
        let setup = RoomSetup { config, document: "t/d".parse().unwrap(), highest: AckLevel::Region, restored: false };
        Table {
            room: Room::new(setup, Instant(0)),
            log: Vec::new(),
            appends: VecDeque::new(),
            hold_appends: false,
            foreign: Vec::new(),
            readers: BTreeMap::new(),
            watched: Vec::new(),
            closed: Vec::new(),
            released: Vec::new(),
            leases: 0,
            now: Instant(0),
            unloads: 0,
            lose_tail: false,
        }
    }

    fn tell(&mut self, event: RoomEvent) {
        self.room.handle(event, self.now);
        self.settle();
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now.after(ms);
        while let Some(next) = self.room.deadline().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.room.tick(self.now);
            self.settle();
        }
        self.now = end;
        self.room.tick(self.now);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(effect) = self.room.poll_effect() {
            self.execute(effect);
        }
    }

    fn answer(&mut self, event: RoomEvent) {
        self.room.handle(event, self.now);
    }

    fn fold(&self) -> Document {
        let mut document = Document::new();
        let mut rest: Vec<Delta> = self.log.iter().map(|record| Delta::decode(&record.delta).unwrap()).collect();
        loop {
            let before = rest.len();
            rest.retain(|delta| document.apply(delta).is_err());
            if rest.len() == before {
                return document;
            }
        }
    }

    fn execute(&mut self, effect: RoomEffect) {
        match effect {
            RoomEffect::Load { .. } => {
                let document = self.fold();
                let loaded = Loaded {
                    generation: 1,
                    vector: document.vector().clone(),
                    position: at(self.log.len() as u64),
                    text_bytes: document.len_bytes() as u64,
                };
                self.answer(RoomEvent::Loaded(Ok(Box::new(loaded))));
            }
            RoomEffect::Append { append, records } => {
                self.appends.push_back((append, records));
                if !self.hold_appends {
                    self.confirm();
                }
            }
            RoomEffect::Bind { site, .. } => {
                let outcome = if self.foreign.contains(&site) { Err(Failure::Foreign) } else { Ok(()) };
                self.answer(RoomEvent::Bound { site, outcome });
            }
            RoomEffect::Lease { key, .. } => {
                let lease = SiteLease { site: SiteId::leased(0, self.leases), next_counter: 1 };
                self.leases += 1;
                self.answer(RoomEvent::Leased { key, lease: Some(lease) });
            }
            RoomEffect::Release { site, counter, .. } => self.released.push((site, counter)),
            RoomEffect::ReadTail { request, from } => {
                let end = self.log.len() as u64;
                let outcome = if from.offset > end || self.lose_tail {
                    Err(Failure::Gone)
                } else {
                    let entries = (from.offset..end).map(|offset| TailEntry {
                        position: at(offset),
                        delta: self.log[offset as usize].delta.clone(),
                    });
                    Ok(TailPage { entries: entries.collect(), next: at(end), at_end: true })
                };
                self.answer(RoomEvent::Tail { request, outcome });
            }
            RoomEffect::Materialise { request, since } => {
                let document = self.fold();
                let diffs = since.iter().map(|since| document.state_diff(since).encode().into()).collect();
                let text_bytes = document.len_bytes() as u64;
                let outcome = Ok(Materialised { vector: document.vector().clone(), text_bytes, diffs });
                self.answer(RoomEvent::Materialised { request, outcome });
            }
            RoomEffect::Send { key, message } => self.deliver(key, &message),
            RoomEffect::Watch { key } => self.watched.push(key),
            RoomEffect::Close { key, closed } => self.closed.push((key, CloseCode(closed.code))),
            RoomEffect::CloseSession { key, code } => self.closed.push((key, code)),
            RoomEffect::Unload => self.unloads += 1,
            RoomEffect::Publish { .. } | RoomEffect::PublishPresence { .. } | RoomEffect::Absorb { .. } => {}
        }
    }

    /// The log takes the oldest append.
    fn confirm(&mut self) {
        let (append, records) = self.appends.pop_front().unwrap();
        let begin = self.log.len() as u64;
        let positions = (0..records.len() as u64).map(|n| at(begin + n)).collect();
        self.log.extend(records);
        self.room.handle(RoomEvent::Appended { append, outcome: Ok(positions) }, self.now);
        self.settle();
    }

    /// The oldest append is not known to be in the log; `kept` says whether it is.
    fn fail(&mut self, kept: bool) {
        let (append, records) = self.appends.pop_front().unwrap();
        if kept {
            self.log.extend(records);
        }
        self.room.handle(RoomEvent::Appended { append, outcome: Err(Failure::Retry) }, self.now);
        self.settle();
    }

    fn deliver(&mut self, to: SessionKey, message: &Outgoing) {
        let mut bytes = Vec::new();
        message.write(Channel(1), &mut bytes).unwrap();
        let (frame, _) = selvedge_protocol::Frame::parse(&bytes).unwrap();
        let message = ServerMessage::decode(&frame).unwrap().unwrap();
        let reader = self.readers.entry(to).or_default();
        match message {
            ServerMessage::OpenOk(ok) => {
                reader.lease = ok.lease;
                reader.credit = ok.credit;
            }
            ServerMessage::Deltas(deltas) => {
                reader.frames += 1;
                for delta in reader.decoder.decode(&deltas).unwrap() {
                    reader.document.apply(&delta).unwrap();
                }
            }
            ServerMessage::Chunk(chunk) => {
                if let Some((_, bytes)) = reader.staging.take(chunk).unwrap() {
                    reader.document.apply_state(&StateDiff::decode(&bytes).unwrap()).unwrap();
                }
            }
            ServerMessage::Synced(synced) => {
                reader.synced += 1;
                reader.decoder.join(synced.codec.as_ref()).unwrap();
            }
            ServerMessage::Ack(ack) => {
                let before = reader.acks.insert(ack.site, ack.region).unwrap_or(0);
                assert!(ack.region >= before, "an ack went back");
            }
            ServerMessage::Gap(gap) => reader.gaps.push((gap.site, gap.have)),
            ServerMessage::Refused(refused) => reader.refused.push((refused.site, CloseCode(refused.code))),
            ServerMessage::Presence(presence) => {
                reader.presence.insert(presence.session, presence.data.map(Into::into));
            }
            ServerMessage::Credit(credit) => reader.credit += credit.bytes,
            _ => {}
        }
    }

    fn join(&mut self, session: u64) {
        self.join_as(session, Rights::Write, open());
    }

    fn join_as(&mut self, session: u64, rights: Rights, open: Open) {
        let principal = format!("anon:{session}");
        let join = Join { key: key(session), principal, user: None, rights, open, listens: true, seeds: false };
        self.readers.insert(key(session), Reader::default());
        self.tell(RoomEvent::Join(Box::new(join)));
    }

    fn push(&mut self, session: u64, deltas: &[Delta]) {
        self.tell(RoomEvent::Push { key: key(session), deltas: deltas.iter().map(pushed).collect() });
    }

    fn text(&self, session: u64) -> String {
        self.readers[&key(session)].document.text()
    }

    fn acked(&self, session: u64, site: SiteId) -> u64 {
        self.readers[&key(session)].acks.get(&site).copied().unwrap_or(0)
    }
}

/// A writer outside of the room: one delta a word.
fn words(site: SiteId, words: &[&str]) -> Vec<Delta> {
    let mut document = Document::new();
    document.begin_writing(site, 1).unwrap();
    let mut deltas = Vec::new();
    for word in words {
        document.replace(document.len_utf16(), 0, word).unwrap();
        deltas.extend(document.seal());
    }
    deltas
}

#[test]
fn nothing_is_acked_or_shown_before_the_log_has_it() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    let site = SiteId::random(1);
    let deltas = words(site, &["ab", "cd"]);
    table.hold_appends = true;
    table.push(1, &deltas[..1]);
    table.push(1, &deltas[1..]);
    assert_eq!((table.acked(1, site), table.text(2).as_str()), (0, ""));
    table.confirm();
    table.wait(100);
    assert_eq!((table.acked(1, site), table.text(2).as_str()), (2, "ab"));
    table.confirm();
    table.wait(100);
    assert_eq!((table.acked(1, site), table.text(2).as_str()), (4, "abcd"));
}

#[test]
fn a_failed_append_is_repeated_before_everything_later_and_doubles_nothing() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    table.hold_appends = true;
    let site = SiteId::random(1);
    let deltas = words(site, &["a", "b", "c"]);
    table.push(1, &deltas[..1]);
    table.push(1, &deltas[1..]);
    table.fail(true);
    assert_eq!(table.acked(1, site), 0);
    table.wait(200);
    table.fail(false);
    table.wait(1_000);
    assert_eq!(table.appends.front().unwrap().1.len(), 3);
    table.confirm();
    table.wait(100);
    assert_eq!((table.acked(1, site), table.text(2).as_str()), (3, "abc"));
    assert_eq!(table.log.len(), 4);
}

#[test]
fn a_gap_is_told_and_a_replay_is_acked_again() {
    let mut table = Table::new();
    table.join(1);
    let site = SiteId::random(1);
    let deltas = words(site, &["a", "b", "c"]);
    table.push(1, &deltas[1..]);
    assert_eq!(table.readers[&key(1)].gaps, [(site, 0)]);
    assert!(table.log.is_empty());
    table.push(1, &deltas);
    table.push(1, &deltas);
    assert_eq!((table.acked(1, site), table.log.len()), (3, 3));
}

#[test]
fn what_was_only_heard_is_appended_again_and_never_acked() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    table.hold_appends = true;
    let site = SiteId::random(1);
    let deltas = words(site, &["a"]);
    table.tell(RoomEvent::Heard { position: at(5), generation: 1, delta: deltas[0].encode() });
    table.wait(50);
    assert_eq!(table.text(2), "a");
    table.push(1, &deltas);
    assert_eq!((table.acked(1, site), table.appends.len()), (0, 1));
    table.confirm();
    assert_eq!(table.acked(1, site), 1);
}

#[test]
fn who_joins_while_something_is_only_heard_gets_it_all_the_same() {
    let mut table = Table::new();
    table.join(1);
    let site = SiteId::random(1);
    let deltas = words(site, &["a", "b"]);
    table.tell(RoomEvent::Heard { position: at(0), generation: 1, delta: deltas[0].encode() });
    table.join(2);
    table.log.push(LogRecord::new("t/d".parse().unwrap(), 1, "x".into(), deltas[0].encode()));
    table.log.push(LogRecord::new("t/d".parse().unwrap(), 1, "x".into(), deltas[1].encode()));
    table.wait(5_000);
    assert_eq!((table.text(1).as_str(), table.text(2).as_str()), ("ab", "ab"));
}

#[test]
fn a_lost_bus_message_heals_by_comparing_with_the_head() {
    let mut table = Table::new();
    table.join(1);
    let deltas = words(SiteId::random(7), &["late"]);
    table.log.push(LogRecord::new("t/d".parse().unwrap(), 1, "x".into(), deltas[0].encode()));
    table.wait(1_000);
    assert_eq!(table.text(1), "");
    table.wait(2_000);
    assert_eq!(table.text(1), "late");
}

#[test]
fn dots_beyond_a_hole_of_the_log_wait_and_then_reach_everybody() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    let deltas = words(SiteId::random(7), &["a", "b", "c"]);
    let record = |delta: &Delta| LogRecord::new("t/d".parse().unwrap(), 1, "x".into(), delta.encode());
    table.log.extend([record(&deltas[2]), record(&deltas[1])]);
    table.wait(3_000);
    assert_eq!(table.text(1), "");
    assert!(table.room.logged().unwrap().is_empty());
    table.log.push(record(&deltas[0]));
    table.wait(3_000);
    assert_eq!((table.text(1).as_str(), table.text(2).as_str()), ("abc", "abc"));
}

#[test]
fn a_foreign_site_is_refused_and_others_go_on() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    let (mine, theirs) = (SiteId::random(1), SiteId::random(2));
    table.foreign.push(theirs);
    table.push(1, &words(theirs, &["bad"]));
    assert_eq!(table.readers[&key(1)].refused, [(theirs, CloseCode::CONFLICT)]);
    table.push(1, &words(mine, &["good"]));
    table.push(2, &words(mine, &["good", "more"]));
    table.wait(100);
    assert_eq!(table.readers[&key(2)].refused, [(mine, CloseCode::CONFLICT)]);
    assert_eq!(table.text(2), "good");
    assert_eq!(table.log.len(), 1);
}

#[test]
fn the_same_dots_with_another_content_are_refused() {
    let mut table = Table::new();
    table.join(1);
    let site = SiteId::random(1);
    table.push(1, &words(site, &["aa"]));
    table.push(1, &words(site, &["bb"]));
    assert_eq!(table.readers[&key(1)].refused, [(site, CloseCode::CONFLICT)]);
    assert_eq!(table.log.len(), 1);
}

#[test]
fn readers_write_nothing_and_the_system_and_false_seeds_are_refused() {
    let mut table = Table::new();
    table.join_as(1, Rights::Read, open());
    table.join(2);
    table.push(1, &words(SiteId::random(1), &["x"]));
    table.push(2, &words(SiteId::system(3), &["x"]));
    table.push(2, &words(SiteId::seed_of("t/d", 1, "other"), &["x"]));
    assert_eq!(table.readers[&key(1)].refused[0].1, CloseCode::FORBIDDEN);
    assert_eq!(table.readers[&key(2)].refused.len(), 2);
    assert!(table.log.is_empty());
    let seed = selvedge_engine::seed_delta("t/d", 1, "seeded");
    table.push(2, &seed);
    table.join(3);
    table.push(3, &seed);
    table.wait(100);
    assert_eq!((table.text(3).as_str(), table.log.len()), ("seeded", 1));
}

#[test]
fn a_position_past_the_end_refuses_the_document() {
    let mut table = Table::new();
    table.join(1);
    table.join_as(2, Rights::Write, Open { position: Some(at(7)), vector_hash: 5, ..open() });
    let closed: Vec<CloseCode> = table.closed.iter().map(|(_, code)| *code).collect();
    assert_eq!(closed, [CloseCode::DRAINING, CloseCode::DRAINING]);
    table.join(3);
    assert_eq!(table.closed.len(), 3);
}

#[test]
fn a_position_that_only_this_room_has_not_read_yet_is_fine() {
    let mut table = Table::new();
    table.join(1);
    let deltas = words(SiteId::random(7), &["a"]);
    table.log.push(LogRecord::new("t/d".parse().unwrap(), 1, "x".into(), deltas[0].encode()));
    let mut vector = VersionVector::new();
    vector.advance(SiteId::random(7), 1);
    table.join_as(2, Rights::Write, Open { position: Some(at(1)), vector_hash: vector.hash(), ..open() });
    assert!(table.closed.is_empty());
    assert_eq!(table.readers[&key(2)].synced, 1);
}

#[test]
fn who_was_away_gets_the_tail_from_its_position() {
    for reload in [false, true] {
        let mut table = Table::new();
        table.join(1);
        let site = SiteId::random(1);
        let deltas = words(site, &["a", "b", "c", "d"]);
        table.push(1, &deltas[..2]);
        table.wait(50);
        let mut away = Document::new();
        away.apply(&deltas[0]).unwrap();
        away.apply(&deltas[1]).unwrap();
        let position = Some(at(2));
        table.push(1, &deltas[2..]);
        if reload {
            let log = std::mem::take(&mut table.log);
            table = Table::new();
            table.log = log;
        }
        let asks = Open { position, vector_hash: away.vector().hash(), ..open() };
        let join = Join {
            key: key(2),
            principal: "anon:2".into(),
            user: None,
            rights: Rights::Write,
            open: asks,
            listens: true,
            seeds: false,
        };
        table.readers.insert(key(2), Reader { document: away, ..Reader::default() });
        table.tell(RoomEvent::Join(Box::new(join)));
        assert_eq!(table.text(2), "abcd", "reload {reload}");
        assert_eq!(table.room.take_counts().transfers, 0);
    }
}

#[test]
fn a_slow_reader_is_resynced_and_closed_only_if_it_never_catches_up() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    let deltas = words(SiteId::random(1), &["a", "b", "c"]);
    table.push(1, &deltas[..1]);
    table.wait(50);
    table.tell(RoomEvent::Congested { key: key(2) });
    table.push(1, &deltas[1..]);
    table.wait(50);
    assert_eq!((table.text(2).as_str(), table.watched.len()), ("a", 1));
    table.tell(RoomEvent::Drained { key: key(2) });
    assert_eq!(table.text(2), "abc");
    table.tell(RoomEvent::Congested { key: key(2) });
    table.wait(29_000);
    assert!(table.closed.is_empty());
    table.wait(2_000);
    assert_eq!(table.closed, [(key(2), CloseCode::TOO_SLOW)]);
}

#[test]
fn leases_are_given_back_once_the_log_holds_their_last_counter() {
    let mut table = Table::new();
    table.join_as(1, Rights::Write, Open { wants_site: true, ..open() });
    let site = table.readers[&key(1)].lease.unwrap().site;
    table.hold_appends = true;
    table.push(1, &words(site, &["ab"]));
    table.tell(RoomEvent::Bye { key: key(1), site, counter: 2 });
    assert!(table.released.is_empty());
    table.tell(RoomEvent::Leave { key: key(1) });
    table.confirm();
    assert_eq!(table.released, [(site, 2)]);
    table.join_as(2, Rights::Write, Open { wants_site: true, ..open() });
    let unused = table.readers[&key(2)].lease.unwrap().site;
    table.tell(RoomEvent::Bye { key: key(2), site: unused, counter: 5 });
    assert_eq!(table.released.len(), 1, "a site that claims more than the log holds is not given out again");
}

#[test]
fn presence_is_told_and_removed_and_never_logged() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    table.tell(RoomEvent::Presence { key: key(1), data: Some(b"here".to_vec()) });
    table.wait(200);
    assert_eq!(table.readers[&key(2)].presence.get(&1), Some(&Some(b"here".to_vec())));
    assert!(table.readers[&key(1)].presence.is_empty());
    table.join(3);
    assert_eq!(table.readers[&key(3)].presence.get(&1), Some(&Some(b"here".to_vec())));
    table.tell(RoomEvent::Leave { key: key(1) });
    table.wait(200);
    assert_eq!(table.readers[&key(2)].presence.get(&1), Some(&None));
    assert!(table.log.is_empty());
}

#[test]
fn what_does_not_fit_is_dropped_and_asked_for_again() {
    let config = RoomConfig { unconfirmed_bytes_max: 200, ..RoomConfig::default() };
    let mut table = Table::with(config);
    table.join(1);
    table.hold_appends = true;
    let site = SiteId::random(1);
    let deltas = words(site, &["0123456789"; 20]);
    table.push(1, &deltas);
    assert!(table.room.unconfirmed_bytes() <= 200);
    let mut next = 0;
    for _ in 0..1_000 {
        while !table.appends.is_empty() {
            table.confirm();
        }
        table.wait(250);
        let gaps = std::mem::take(&mut table.readers.get_mut(&key(1)).unwrap().gaps);
        if let Some(&(_, have)) = gaps.last() {
            next = deltas.iter().position(|delta| delta.last() > have).unwrap();
            table.push(1, &deltas[next..]);
        }
    }
    assert!(next > 0);
    assert_eq!((table.acked(1, site), table.log.len()), (200, 20));
}

#[test]
fn announced_outboxes_are_paced_by_credit() {
    let config = RoomConfig { outbox_credit_bytes: 400, ..RoomConfig::default() };
    let mut table = Table::with(config);
    table.join(1);
    let site = SiteId::random(1);
    let mut sent = 0;
    for delta in words(site, &["0123456789"; 50]) {
        let announced = PushedDelta { announced: true, ..pushed(&delta) };
        sent += announced.bytes.len() as u64;
        table.tell(RoomEvent::Push { key: key(1), deltas: vec![announced] });
        assert!(table.readers[&key(1)].credit >= sent, "no credit came");
    }
    assert_eq!(table.acked(1, site), 500);
    assert_eq!(table.readers[&key(1)].credit, sent + 400);
}

#[test]
fn a_room_without_sessions_asks_to_be_forgotten() {
    let mut table = Table::new();
    table.join(1);
    table.wait(100_000);
    assert_eq!(table.unloads, 0);
    table.tell(RoomEvent::Leave { key: key(1) });
    table.wait(61_000);
    assert_eq!(table.unloads, 1);
}

#[test]
fn a_deleted_document_is_closed_for_everybody() {
    let mut table = Table::new();
    table.join(1);
    table.tell(RoomEvent::Deleted { generation: 1 });
    table.join(2);
    assert_eq!(table.closed, [(key(1), CloseCode::DELETED), (key(2), CloseCode::DELETED)]);
}

#[test]
fn an_older_generation_is_a_conflict() {
    let mut table = Table::new();
    table.join_as(1, Rights::Write, Open { generation: 7, ..open() });
    assert_eq!(table.closed, [(key(1), CloseCode::CONFLICT)]);
}

#[test]
fn a_full_document_takes_deletes_only() {
    let config = RoomConfig { document_bytes_max: 10, ..RoomConfig::default() };
    let mut table = Table::with(config);
    table.join(1);
    let site = SiteId::random(1);
    let mut document = Document::new();
    document.begin_writing(site, 1).unwrap();
    document.replace(0, 0, "0123456789").unwrap();
    let first = document.seal();
    document.replace(0, 5, "").unwrap();
    let delete = document.seal();
    document.replace(0, 0, "abcde").unwrap();
    let second = document.seal();
    document.replace(0, 0, "too much").unwrap();
    let third = document.seal();
    table.push(1, &first);
    table.push(1, &delete);
    assert_eq!(table.acked(1, site), 11);
    table.push(1, &second);
    table.wait(500);
    let gap = table.readers[&key(1)].gaps.last().copied();
    assert_eq!(gap, Some((site, 11)), "the text is measured, then the push is asked for again");
    table.push(1, &second);
    assert_eq!(table.acked(1, site), 16);
    table.push(1, &third);
    table.wait(500);
    table.push(1, &third);
    assert_eq!(table.readers[&key(1)].refused, [(site, CloseCode::TOO_LARGE)]);
}
