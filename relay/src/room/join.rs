//! How sessions come, get what they lacked, fall behind and go.

use std::sync::Arc;

use selvedge_engine::VersionVector;
use selvedge_protocol::message::{ChunkContent, Known, OpenOk, RightsChanged, SiteLease, SyncPlan, Synced};
use selvedge_protocol::{AckLevel, CloseCode, DecodeError, Instant, Rights, ServerMessage, transfer};

use super::event::{Failure, Join, Loaded, Materialised, RoomEffect, SessionKey, Shared, TailPage};
use super::ledger::{Entry, Ledger};
use super::member::{Joining, Member, Plan, State, Transfer};
use super::replicated::Replicated;
use super::rule::Rule;
use super::{Growth, PAUSE_MS, Phase, Ready, Room, Upload, WAITING_JOINS_MAX};

/// Bytes handed to a session before it has to drain: three chunks.
const BYTES_AT_ONCE: usize = 3 * (transfer::CHUNK_BYTES_MAX + 128);
/// A state diff as encoded messages, shared by all that are sent the same.
type Chunks = Arc<Vec<Shared>>;

/// What a resync may take from the recent past instead of a state diff, in deltas.
const CATCH_UP_DELTAS_MAX: usize = 2_000;

const BEYOND_END: &str = "The log of this relay ends before what this device has seen: its data was put back from an \
    older copy. The operator has to start it with --restored.";

impl Room {
    pub(super) fn join(&mut self, join: Join, now: Instant) {
        match &mut self.phase {
            Phase::New => {
                self.effects.push_back(RoomEffect::Load { creator: join.principal.clone() });
                self.phase = Phase::Loading(vec![join]);
            }
            Phase::Loading(waiting) if waiting.len() < WAITING_JOINS_MAX => waiting.push(join),
            Phase::Loading(_) => self.close(join.key, CloseCode::DRAINING, "Too many are waiting for this document."),
            Phase::Refused(code, reason) => {
                let (code, reason) = (*code, *reason);
                self.close(join.key, code, reason);
            }
            Phase::Ready(_) => self.admit(join, now),
        }
    }

    pub(super) fn loaded(&mut self, outcome: Result<Loaded, Failure>, now: Instant) {
        let Phase::Loading(waiting) = std::mem::replace(&mut self.phase, Phase::New) else { return };
        // It may have been deleted while it was read.
        let outcome = outcome.and_then(|loaded| match loaded.generation <= self.deleted_to {
            true => Err(Failure::Deleted),
            false => Ok(loaded),
        });
        match outcome {
            Ok(loaded) => {
                let config = &self.setup.config;
                let mut ledger = Ledger::new(&loaded, config.held_bytes_max, config.recent_bytes_max);
                ledger.missing = self.missing;
                self.sent = loaded.vector.clone();
                self.growth = Growth { text_bytes: loaded.text_bytes, exact: true, measure: false };
                let paired = loaded.read_to.is_some();
                let none = VersionVector::new();
                let replicated = (self.setup.highest >= AckLevel::Replicated)
                    .then(|| Replicated::new(if paired { ledger.logged() } else { &none }, ledger.paired()));
                let generation = loaded.generation;
                self.phase = Phase::Ready(Box::new(Ready { generation, ledger, replicated, paired }));
                if !paired {
                    self.read_tail();
                }
                self.ask_watermark();
                for join in waiting {
                    self.admit(join, now);
                }
            }
            Err(failure) => {
                let (code, reason) = match failure {
                    Failure::Deleted => (CloseCode::DELETED, "The document was deleted."),
                    Failure::Missing | Failure::Foreign => (CloseCode::FORBIDDEN, CloseCode::FORBIDDEN.sentence()),
                    Failure::Invalid | Failure::Gone => (CloseCode::INTERNAL, "The document could not be read."),
                    Failure::Retry => (CloseCode::DRAINING, "The document cannot be read at the moment."),
                };
                for join in waiting {
                    self.close(join.key, code, reason);
                }
            }
        }
    }

    fn admit(&mut self, join: Join, now: Instant) {
        let Some(ready) = self.ready() else { return };
        let generation = ready.generation;
        if self.members.len() as u64 >= self.setup.config.document_connections_max {
            return self.close(join.key, CloseCode::DRAINING, "Too many have this document open.");
        }
        if join.rights == Rights::None {
            return self.close(join.key, CloseCode::FORBIDDEN, CloseCode::FORBIDDEN.sentence());
        }
        if join.open.generation != 0 && join.open.generation != generation {
            return self.close(join.key, CloseCode::CONFLICT, "The document was rebuilt.");
        }
        let Join { key, principal, user, rights, open, listens, seeds, tags } = join;
        for range in &open.outbox {
            self.queue.site(range.site).interested.push(key);
        }
        let lease = if open.wants_site && rights.may_write() {
            let logged = self.logged().cloned().unwrap_or_default();
            self.effects.push_back(RoomEffect::Lease { key, principal: principal.clone(), logged });
            None
        } else {
            Some(None)
        };
        let joining = Joining { open, listens, lease, plan: Plan::Head };
        let member = Member {
            principal,
            user,
            rights,
            seeds,
            tags: tags && self.setup.tags.is_some(),
            state: State::Joining(Box::new(joining)),
            own: VersionVector::new(),
            presence: None,
            credit_due: 0,
            outbox_left: self.setup.config.outbox_credit_bytes,
        };
        self.members.insert(key, member);
        self.plan(key, false);
        self.open_ok(key, now);
    }

    /// Decides how a session gets what it lacks. `read` says that the log has just been read to its end.
    fn plan(&mut self, key: SessionKey, read: bool) {
        let Phase::Ready(ready) = &mut self.phase else { return };
        let Some(Member { state: State::Joining(joining), .. }) = self.members.get_mut(&key) else { return };
        let ledger = &ready.ledger;
        let (open, covered) = (&joining.open, ledger.covered());
        let here =
            open.position.filter(|position| (position.log, position.partition) == (covered.log, covered.partition));
        joining.plan = match here {
            Some(position) if position.offset > covered.offset && read => {
                return self.refuse_document(CloseCode::DRAINING, BEYOND_END);
            }
            Some(position) if position.offset > covered.offset => {
                joining.plan = Plan::Head;
                return self.read_tail();
            }
            _ if !joining.listens => Plan::Equal,
            _ if open.vector_hash == ledger.logged().hash() => Plan::Equal,
            _ if open.vector_hash == 0 => Plan::Whole,
            Some(position) if position.offset >= ledger.floor() => {
                let (has, entries) = behind(ledger, position.offset, Vec::new());
                Plan::Tail { has, entries }
            }
            Some(position) => {
                self.requests += 1;
                let request = self.requests;
                self.effects.push_back(RoomEffect::ReadTail { request, from: position });
                Plan::Reading { request }
            }
            None => Plan::Ask,
        };
    }

    /// The log has been read to its end: sessions that named a later position than the room knew are decided.
    pub(super) fn plan_waiting(&mut self, now: Instant) {
        let waiting = self.members.iter().filter_map(|(&key, member)| match &member.state {
            State::Joining(joining) if matches!(joining.plan, Plan::Head) => Some(key),
            _ => None,
        });
        for key in waiting.collect::<Vec<_>>() {
            self.plan(key, true);
            self.open_ok(key, now);
        }
    }

    /// The tail of one session has been read.
    pub(super) fn session_tail(&mut self, request: u64, outcome: Result<TailPage, Failure>, now: Instant) {
        let found = self.members.iter().find_map(|(&key, member)| match &member.state {
            State::Joining(joining) => match joining.plan {
                Plan::Reading { request: mine } if mine == request => Some((key, joining.open.position)),
                _ => None,
            },
            _ => None,
        });
        let (Some((key, position)), Phase::Ready(ready)) = (found, &self.phase) else { return };
        let floor = ready.ledger.floor();
        let plan = match (outcome, position) {
            (Ok(page), Some(position)) if page.at_end || page.next.offset >= floor => {
                let read = page.entries.into_iter().filter(|entry| entry.position.offset < floor);
                let entries = read.filter_map(Entry::of_tail).collect();
                let (has, entries) = behind(&ready.ledger, position.offset, entries);
                Plan::Tail { has, entries }
            }
            _ => Plan::Ask,
        };
        if let Some(Member { state: State::Joining(joining), .. }) = self.members.get_mut(&key) {
            joining.plan = plan;
        }
        self.open_ok(key, now);
    }

    pub(super) fn leased(&mut self, key: SessionKey, lease: Option<SiteLease>, now: Instant) {
        match self.members.get_mut(&key) {
            Some(Member { state: State::Joining(joining), .. }) if joining.lease.is_none() => {
                joining.lease = Some(lease);
                self.open_ok(key, now);
            }
            // It left meanwhile and never heard of the site: nobody has written it.
            _ => {}
        }
    }

    /// Answers `open` once lease and plan are there.
    fn open_ok(&mut self, key: SessionKey, now: Instant) {
        let Phase::Ready(ready) = &self.phase else { return };
        let (generation, logged) = (ready.generation, ready.ledger.logged().clone());
        let Some(member) = self.members.get_mut(&key) else { return };
        let State::Joining(joining) = &mut member.state else { return };
        let sync = match &joining.plan {
            Plan::Head | Plan::Reading { .. } => return,
            Plan::Equal => SyncPlan::Equal,
            Plan::Tail { .. } | Plan::Whole => SyncPlan::Tail,
            Plan::Ask => SyncPlan::SendVector,
        };
        let Some(lease) = joining.lease else { return };
        let known = joining.open.outbox.iter().map(|range| Known { site: range.site, counter: logged.get(range.site) });
        let ok = OpenOk {
            lease,
            rights: member.rights,
            generation,
            highest: self.setup.highest,
            sync,
            known: known.collect(),
            credit: self.setup.config.outbox_credit_bytes,
        };
        let (listens, announced) = (joining.listens, std::mem::take(&mut joining.open.outbox));
        let plan = std::mem::replace(&mut joining.plan, Plan::Head);
        member.state = State::Asked;
        if let Some(lease) = lease {
            let principal = member.principal.clone();
            self.queue.lease(lease.site, principal, key);
        }
        self.send(key, ok);
        if self.setup.highest >= AckLevel::Replicated {
            // `open-ok` says what this region has of the outbox; this, what the other one has.
            announced.iter().for_each(|range| self.ack(key, range.site));
        }
        match plan {
            _ if !listens => self.set_state(key, State::Writer),
            Plan::Tail { has, entries } => self.go_live(key, has, entries, now),
            Plan::Whole => self.set_state(key, State::Waiting { has: VersionVector::new() }),
            Plan::Equal => self.go_live(key, logged, Vec::new(), now),
            Plan::Ask | Plan::Head | Plan::Reading { .. } => {}
        }
    }

    /// A session says what it has and wants the rest.
    pub(super) fn vector(&mut self, key: SessionKey, vector: VersionVector, now: Instant) {
        let Phase::Ready(ready) = &self.phase else { return };
        let logged = ready.ledger.logged();
        let ahead = !logged.dominates(&vector);
        let wanted = (ahead && self.setup.restored).then(|| logged.encode());
        let Some(member) = self.members.get_mut(&key) else { return };
        if matches!(member.state, State::Joining(_) | State::Writer) {
            return;
        }
        let may_write = member.rights.may_write();
        if let Some(wanted) = wanted.filter(|_| may_write && !self.uploads.contains_key(&key)) {
            self.uploads.insert(key, Upload::Asked);
            self.transfers += 1;
            self.send_transfer(key, ChunkContent::Wanted, &wanted);
        }
        self.resync(key, vector, now);
    }

    /// Brings a session up to date from what it has: from the recent past if that reaches, else by a state diff.
    fn resync(&mut self, key: SessionKey, has: VersionVector, now: Instant) {
        let Phase::Ready(ready) = &self.phase else { return };
        let (reached, entries) = catch_up(&ready.ledger, has.clone(), Vec::new());
        if reached.dominates(ready.ledger.seen()) && entries.len() <= CATCH_UP_DELTAS_MAX {
            self.go_live(key, has, Vec::new(), now);
        } else {
            self.set_state(key, State::Waiting { has });
        }
    }

    /// From here on a session is sent what happens. `has` is what it has; `entries` and the recent past are sent first.
    fn go_live(&mut self, key: SessionKey, mut has: VersionVector, entries: Vec<Entry>, now: Instant) {
        let Phase::Ready(ready) = &self.phase else { return };
        let Some(member) = self.members.get(&key) else { return };
        has.join(&member.own);
        let (reached, missing) = catch_up(&ready.ledger, has, entries);
        let by_seen = ready.ledger.missing.is(Rule::SentByOwnVector);
        let whole = by_seen || reached.dominates(ready.ledger.seen());
        let (position, vector_hash) = (ready.ledger.advertised(), ready.ledger.logged().hash());
        let messages = self.encode_alone(key, &missing);
        let proven = self.proven_sites(key, &missing);
        if messages.iter().map(|message| message.payload.len()).sum::<usize>() > BYTES_AT_ONCE {
            // All of it at once would overrun the session's queue: it goes piece by piece, as a state diff does.
            let chunks = Arc::new(messages);
            self.set_state(
                key,
                State::Receiving(Transfer { then_has: reached, chunks, next: 0, progress: now, proven }),
            );
            return self.pump(key, now);
        }
        self.set_state(key, if whole { State::Live } else { State::Waiting { has: reached } });
        messages.into_iter().for_each(|message| self.send(key, message));
        proven.into_iter().for_each(|site| self.ack(key, site));
        if !whole {
            self.materialise_at = Some(now.after(PAUSE_MS));
            return;
        }
        let codec = Some(self.encoder.state(now));
        self.send(key, Synced { position: Some(position), vector_hash, codec });
        self.show_others(key);
    }

    /// Asks for the state diffs that sessions wait for, one request at a time.
    pub(super) fn materialise(&mut self, now: Instant) {
        if self.materialising.is_some() || self.materialise_at.is_some_and(|at| now < at) {
            return;
        }
        self.materialise_at = None;
        let waiting = self.members.iter().filter_map(|(&key, member)| match &member.state {
            State::Waiting { has } => Some((key, has.clone())),
            _ => None,
        });
        let (keys, since): (Vec<_>, Vec<_>) = waiting.unzip();
        if keys.is_empty() && !std::mem::take(&mut self.growth.measure) {
            return;
        }
        let request = self.next_request();
        let beyond = self.proofs_from(&keys);
        self.materialising = Some((request, keys));
        self.effects.push_back(RoomEffect::Materialise { request, since, beyond });
    }

    pub(super) fn materialised(&mut self, request: u64, outcome: Result<Materialised, Failure>, now: Instant) {
        let Some((_, keys)) = self.materialising.take_if(|(current, _)| *current == request) else { return };
        let materialised = match outcome {
            Ok(materialised) => materialised,
            Err(failure) => return self.not_materialised(keys, &failure, now),
        };
        // What is on its way into the log counts by its length, and is measured again once it is there.
        self.growth.text_bytes = materialised.text_bytes + self.queue.bytes();
        self.growth.exact = self.queue.is_idle();
        let beyond: Vec<Entry> = materialised.beyond.into_iter().filter_map(Entry::of_tail).collect();
        let mut encoded: Vec<(Arc<[u8]>, Chunks)> = Vec::new();
        for (key, diff) in keys.into_iter().zip(materialised.diffs) {
            let Some(Member { state: State::Waiting { has }, .. }) = self.members.get(&key) else { continue };
            let mut then_has = has.clone();
            then_has.join(&materialised.vector);
            let known =
                encoded.iter().find(|(known, _)| Arc::ptr_eq(known, &diff)).map(|(_, chunks)| Arc::clone(chunks));
            let chunks = match known {
                Some(chunks) => chunks,
                None => {
                    self.transfers += 1;
                    let Ok(chunks) = encode_chunks(self.transfers, ChunkContent::StateDiff, &diff) else {
                        self.close(key, CloseCode::TOO_LARGE, "The document is too large to be sent.");
                        continue;
                    };
                    encoded.push((diff, Arc::clone(&chunks)));
                    chunks
                }
            };
            self.counts.transfers += 1;
            let (mut messages, proven) = self.proofs(key, has, &then_has, &beyond);
            let chunks = if messages.is_empty() {
                chunks
            } else {
                messages.extend(chunks.iter().cloned());
                Arc::new(messages)
            };
            self.set_state(key, State::Receiving(Transfer { then_has, chunks, next: 0, progress: now, proven }));
            self.pump(key, now);
        }
    }

    fn not_materialised(&mut self, keys: Vec<SessionKey>, failure: &Failure, now: Instant) {
        if *failure == Failure::Retry {
            self.materialise_at = Some(now.after(PAUSE_MS));
            return;
        }
        for key in keys {
            self.close(key, CloseCode::INTERNAL, "The document could not be read.");
        }
    }

    /// Sends the next chunks of a session's transfer; the rest when it has drained.
    fn pump(&mut self, key: SessionKey, now: Instant) {
        let Some(Member { state: State::Receiving(transfer), .. }) = self.members.get_mut(&key) else { return };
        transfer.progress = now;
        let begin = transfer.next;
        let mut bytes = 0;
        let fits = transfer.chunks[begin..].iter().take_while(|chunk| {
            let first = bytes == 0;
            bytes += chunk.payload.len();
            first || bytes <= BYTES_AT_ONCE
        });
        let end = begin + fits.count();
        transfer.next = end;
        let chunks = Arc::clone(&transfer.chunks);
        let finished = (end == chunks.len())
            .then(|| (std::mem::take(&mut transfer.then_has), std::mem::take(&mut transfer.proven)));
        for chunk in &chunks[begin..end] {
            self.send(key, chunk.clone());
        }
        match finished {
            Some((has, proven)) => {
                proven.into_iter().for_each(|site| self.ack(key, site));
                self.go_live(key, has, Vec::new(), now);
            }
            None => self.effects.push_back(RoomEffect::Watch { key }),
        }
    }

    fn send_transfer(&mut self, key: SessionKey, content: ChunkContent, bytes: &[u8]) {
        // A vector is far below what a transfer may be.
        if let Ok(chunks) = transfer::chunks(self.transfers, content, bytes) {
            for chunk in chunks {
                self.send(key, chunk);
            }
        }
    }

    pub(super) fn congested(&mut self, key: SessionKey, now: Instant) {
        let Some(member) = self.members.get_mut(&key) else { return };
        if !member.is_live() {
            return;
        }
        let mut has = self.sent.clone();
        has.join(&member.own);
        member.state = State::Lagging { has, since: now };
        self.counts.resyncs += 1;
        self.effects.push_back(RoomEffect::Watch { key });
    }

    pub(super) fn drained(&mut self, key: SessionKey, now: Instant) {
        let Some(member) = self.members.get_mut(&key) else { return };
        match &mut member.state {
            State::Receiving(_) => self.pump(key, now),
            State::Lagging { has, .. } => {
                let has = std::mem::take(has);
                self.resync(key, has, now);
            }
            _ => {}
        }
    }

    /// Closes sessions that took too long to catch up.
    pub(super) fn close_slow(&mut self, now: Instant) {
        let most = self.setup.config.resync_ms_max;
        let slow = self.members.iter().filter_map(|(&key, member)| match &member.state {
            State::Lagging { since, .. } if now.since(*since) >= most => Some(key),
            State::Receiving(transfer) if now.since(transfer.progress) >= most => Some(key),
            _ => None,
        });
        for key in slow.collect::<Vec<_>>() {
            self.remove(key);
            self.effects.push_back(RoomEffect::CloseSession { key, code: CloseCode::TOO_SLOW });
        }
    }

    pub(super) fn rights(&mut self, key: SessionKey, rights: Rights) {
        if let Phase::Loading(waiting) = &mut self.phase {
            waiting.iter_mut().filter(|join| join.key == key).for_each(|join| join.rights = rights);
        }
        let Some(member) = self.members.get_mut(&key) else { return };
        if std::mem::replace(&mut member.rights, rights) == rights {
            return;
        }
        if rights == Rights::None {
            self.close(key, CloseCode::FORBIDDEN, CloseCode::FORBIDDEN.sentence());
        } else {
            self.send(key, RightsChanged { rights });
        }
    }

    pub(super) fn leave(&mut self, key: SessionKey, now: Instant) {
        if let Phase::Loading(waiting) = &mut self.phase {
            waiting.retain(|join| join.key != key);
        }
        self.remove(key);
        self.schedule_presence(now);
    }

    pub(super) fn remove(&mut self, key: SessionKey) {
        let Some(member) = self.members.remove(&key) else { return };
        self.uploads.remove(&key);
        self.queue.forget_session(key);
        self.forget_holder(key);
        if member.presence.is_some() {
            self.changed_presence.insert(key.session);
            self.effects.push_back(RoomEffect::PublishPresence { session: key.session, data: None, user: None });
        }
    }

    pub(super) fn set_state(&mut self, key: SessionKey, state: State) {
        if let Some(member) = self.members.get_mut(&key) {
            member.state = state;
        }
    }

    /// An upload is in the log: its author is synced again.
    pub(super) fn finish_uploads(&mut self, now: Instant) {
        let Phase::Ready(ready) = &self.phase else { return };
        let logged = ready.ledger.logged();
        let done = self.uploads.iter().filter_map(|(&key, upload)| match upload {
            Upload::Appending(vector) if logged.dominates(vector) => Some(key),
            _ => None,
        });
        for key in done.collect::<Vec<_>>() {
            let Some(Upload::Appending(vector)) = self.uploads.remove(&key) else { continue };
            if self.members.get(&key).is_some_and(Member::is_live) {
                let mut has = self.sent.clone();
                has.join(&vector);
                self.go_live(key, has, Vec::new(), now);
            }
        }
    }
}

/// What a copy at `offset` has, and what it lacks: `read` (below the floor) and the recent past. Exact, because every record that
/// `logged` holds at or above the offset is among them.
fn behind(ledger: &Ledger, offset: u64, read: Vec<Entry>) -> (VersionVector, Vec<Entry>) {
    let recent = ledger.recent().filter(|entry| entry.position.is_some_and(|position| position.offset >= offset));
    let entries: Vec<Entry> = read.into_iter().chain(recent.cloned()).collect();
    let mut has = ledger.logged().clone();
    for entry in &entries {
        let before = entry.delta.first - 1;
        if before < has.get(entry.site()) {
            has.set(entry.site(), before);
        }
    }
    (has, entries)
}

/// What a copy that has `has` reaches with `entries` and then the recent past, and which of them it needs for it, in order.
fn catch_up(ledger: &Ledger, mut has: VersionVector, entries: Vec<Entry>) -> (VersionVector, Vec<Entry>) {
    let mut missing = Vec::new();
    for entry in entries.iter().chain(ledger.recent()) {
        if ledger.missing.is(Rule::SentByOwnVector) && entry.position.is_none() {
            continue;
        }
        let have = has.get(entry.site());
        if entry.delta.first <= have + 1 && entry.last > have {
            has.advance(entry.site(), entry.last);
            missing.push(entry.clone());
        }
    }
    (has, missing)
}

fn encode_chunks(number: u64, content: ChunkContent, bytes: &[u8]) -> Result<Chunks, DecodeError> {
    let chunks = transfer::chunks(number, content, bytes)?;
    Ok(Arc::new(chunks.into_iter().map(|chunk| Shared::new(&ServerMessage::Chunk(chunk))).collect()))
}
