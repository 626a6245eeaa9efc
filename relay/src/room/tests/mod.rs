//! The room against a log in memory whose answers the test decides.

mod coming;
mod log;
mod pace;
mod rebase;
mod refusals;
mod replicated;
mod tags;

use std::sync::Arc;

use selvedge_engine::{Delta, Document, SiteId, StateDiff, VersionVector};
use selvedge_protocol::message::{Open, SiteLease, TAG_BYTES};
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
    /// The control plane does not answer: bindings stay asked for.
    hold_binds: bool,
    readers: BTreeMap<SessionKey, Reader>,
    watched: Vec<SessionKey>,
    closed: Vec<(SessionKey, CloseCode)>,
    released: Vec<(SiteId, u64)>,
    leases: u32,
    now: Instant,
    unloads: usize,
    lose_tail: bool,
    persist_lag: Option<u64>,
    /// How far the other region has the log, for whoever asks.
    watermark: Option<u64>,
    watermark_reads: usize,
    /// The document is loaded without the log.
    log_away: bool,
    /// What the other relays were told of sessions here.
    presence_told: Vec<(u64, Option<Vec<u8>>)>,
    /// Deltas told to the other relays while the log was silent.
    tentative: usize,
    /// Who has the region's rebase token, and until when.
    token: Option<(u64, Instant)>,
    /// Who asked the region for it.
    token_asked: Vec<SessionKey>,
    /// The region does not answer.
    hold_tokens: bool,
}

/// What a session does with what it is sent.
#[derive(Default)]
struct Reader {
    document: Document,
    decoder: RoomDecoder,
    staging: Staging,
    synced: usize,
    acks: BTreeMap<SiteId, u64>,
    replicated: BTreeMap<SiteId, u64>,
    gaps: Vec<(SiteId, u64)>,
    refused: Vec<(SiteId, CloseCode)>,
    presence: BTreeMap<u64, Option<Vec<u8>>>,
    lease: Option<SiteLease>,
    frames: usize,
    bytes: usize,
    credit: u64,
    /// The proofs it came with, in order.
    tags: Vec<[u8; TAG_BYTES]>,
    /// Whether it got the rebase token, each time it asked.
    granted: Vec<bool>,
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
    PushedDelta { delta: Arc::new(delta.clone()), bytes: delta.encode(), announced: false, tag: None }
}

impl Table {
    fn new() -> Self {
        Self::with(RoomConfig::default())
    }

    fn with(config: RoomConfig) -> Self {
        Self::up_to(AckLevel::Region, config)
    }

    fn up_to(highest: AckLevel, config: RoomConfig) -> Self {
        Self::with_tags(highest, config, None)
    }

    fn with_tags(highest: AckLevel, config: RoomConfig, tags: Option<Arc<TagKeys>>) -> Self {
        let setup = RoomSetup { config, document: "t/d".parse().unwrap(), highest, restored: false, tags };
        Table {
            room: Room::new(setup, Instant(0)),
            log: Vec::new(),
            appends: VecDeque::new(),
            hold_appends: false,
            foreign: Vec::new(),
            hold_binds: false,
            readers: BTreeMap::new(),
            watched: Vec::new(),
            closed: Vec::new(),
            released: Vec::new(),
            leases: 0,
            now: Instant(0),
            unloads: 0,
            lose_tail: false,
            persist_lag: None,
            watermark: None,
            watermark_reads: 0,
            log_away: false,
            presence_told: Vec::new(),
            tentative: 0,
            token: None,
            token_asked: Vec::new(),
            hold_tokens: false,
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

    fn entries_from(&self, offset: u64) -> Vec<TailEntry> {
        let read = (offset..).zip(self.log.iter().skip(usize::try_from(offset).unwrap_or(usize::MAX)));
        read.map(|(offset, record)| TailEntry { position: at(offset), delta: record.delta.clone() }).collect()
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
                // What lies beyond a hole is not in the document, and the position stays before it.
                let held = self.log.iter().position(|record| {
                    let delta = Delta::decode(&record.delta).unwrap();
                    delta.last() > document.vector().get(delta.site)
                });
                let loaded = Loaded {
                    generation: 1,
                    vector: document.vector().clone(),
                    position: at(held.unwrap_or(self.log.len()) as u64),
                    read_to: (!self.log_away).then_some(at(self.log.len() as u64)),
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
            RoomEffect::Bind { .. } if self.hold_binds => {}
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
                    Ok(TailPage { entries: self.entries_from(from.offset), next: at(end), at_end: true })
                };
                self.answer(RoomEvent::Tail { request, outcome });
            }
            RoomEffect::Materialise { request, since, beyond } => {
                let document = self.fold();
                let diffs = since.iter().map(|since| document.state_diff(since).encode().into()).collect();
                let text_bytes = document.len_bytes() as u64;
                let from = beyond.map_or(u64::MAX, |position| position.offset);
                let beyond = self.entries_from(from);
                let outcome = Ok(Materialised { vector: document.vector().clone(), text_bytes, diffs, beyond });
                self.answer(RoomEvent::Materialised { request, outcome });
            }
            RoomEffect::ReadWatermark => {
                self.watermark_reads += 1;
                self.answer(RoomEvent::Watermark(self.watermark.map(at)));
            }
            RoomEffect::ReadBacklog => self.answer(RoomEvent::Backlog(self.persist_lag)),
            RoomEffect::Send { key, message } => self.deliver(key, &message),
            RoomEffect::Watch { key } => self.watched.push(key),
            RoomEffect::Close { key, closed } => self.closed.push((key, CloseCode(closed.code))),
            RoomEffect::CloseSession { key, code } => self.closed.push((key, code)),
            RoomEffect::Unload => self.unloads += 1,
            RoomEffect::PublishTentative { records } => self.tentative += records.len(),
            RoomEffect::PublishPresence { session, data, .. } => self.presence_told.push((session, data)),
            RoomEffect::TakeToken { key, for_ms } => {
                self.token_asked.push(key);
                if !self.hold_tokens {
                    self.answer_token(key, for_ms);
                }
            }
            RoomEffect::GiveToken { key } => {
                self.token.take_if(|(holder, _)| *holder == key.session);
            }
            RoomEffect::Publish { .. } | RoomEffect::Absorb { .. } => {}
        }
    }

    /// The region says whether a session has the rebase token.
    fn answer_token(&mut self, key: SessionKey, for_ms: u64) {
        let now = self.now;
        let taken = self.token.is_none_or(|(holder, until)| holder == key.session || until <= now);
        if taken {
            self.token = Some((key.session, now.after(for_ms)));
        }
        self.answer(RoomEvent::TokenTaken { key, taken });
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
        reader.bytes += bytes.len();
        match message {
            ServerMessage::OpenOk(ok) => {
                reader.lease = ok.lease;
                reader.credit = ok.credit;
            }
            ServerMessage::Deltas(deltas) => {
                reader.frames += 1;
                reader.tags.extend(deltas.tag);
                for delta in reader.decoder.decode(&deltas).unwrap() {
                    let applied = reader.document.apply(&delta);
                    // The proof of what a state brings comes before it.
                    assert!(applied.is_ok() || (deltas.tag.is_some() && deltas.epoch == 0));
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
                let before = reader.replicated.insert(ack.site, ack.replicated).unwrap_or(0);
                assert!(ack.replicated >= before, "a replicated ack went back");
            }
            ServerMessage::Gap(gap) => reader.gaps.push((gap.site, gap.have)),
            ServerMessage::Refused(refused) => reader.refused.push((refused.site, CloseCode(refused.code))),
            ServerMessage::Presence(presence) => {
                reader.presence.insert(presence.session, presence.data.map(Into::into));
            }
            ServerMessage::Credit(credit) => reader.credit += credit.bytes,
            ServerMessage::RebaseAnswer(answer) => {
                assert!(answer.for_ms > 0);
                reader.granted.push(answer.granted);
            }
            _ => {}
        }
    }

    fn join(&mut self, session: u64) {
        self.join_as(session, Rights::Write, open());
    }

    fn join_as(&mut self, session: u64, rights: Rights, open: Open) {
        self.enter(session, rights, open);
        self.settle();
    }

    /// Joins, and leaves undone for now what the room asks for.
    fn enter(&mut self, session: u64, rights: Rights, open: Open) {
        let principal = format!("anon:{session}");
        let join =
            Join { key: key(session), principal, user: None, rights, open, listens: true, seeds: false, tags: true };
        self.readers.insert(key(session), Reader::default());
        self.answer(RoomEvent::Join(Box::new(join)));
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

    fn replicated(&self, session: u64, site: SiteId) -> u64 {
        self.readers[&key(session)].replicated.get(&site).copied().unwrap_or(0)
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
