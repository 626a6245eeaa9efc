//! How pushes become records of the log, and what is told when they are.

use std::sync::Arc;

use selvedge_engine::{Delta, DeltaHeader, Op, SiteId, SiteKind, verify_seed};
use selvedge_protocol::message::{Ack, Gap, Refused};
use selvedge_protocol::{CloseCode, Instant, Position};
use selvedge_region::LogRecord;

use super::event::{Failure, PushedDelta, RoomEffect, SessionKey, TailPage};
use super::ledger::Entry;
use super::queue::{Binding, Pending, Refusal};
use super::replicated::Replicated;
use super::{PAUSE_MS, Phase, Room, Upload};

const READ_ONLY: Refusal = Refusal { code: CloseCode::FORBIDDEN, message: "This document may only be read." };
const NOT_YOURS: Refusal =
    Refusal { code: CloseCode::CONFLICT, message: "This writing identity belongs to someone else." };
const NOT_A_SEED: Refusal = Refusal { code: CloseCode::FORBIDDEN, message: "The seed does not fit its text." };
const SYSTEM_SITE: Refusal = Refusal { code: CloseCode::FORBIDDEN, message: "Only the system writes as the system." };
const OTHER_CONTENT: Refusal =
    Refusal { code: CloseCode::CONFLICT, message: "These operations are in the log with another content." };
const TOO_MANY_SITES: Refusal = Refusal { code: CloseCode::TOO_LARGE, message: "Too many have written this document." };
const TOO_LONG: Refusal =
    Refusal { code: CloseCode::TOO_LARGE, message: "The document has reached its greatest size." };
const NO_PROOF: Refusal =
    Refusal { code: CloseCode::FORBIDDEN, message: "Nothing proves that a relay has shown these operations." };
const UNWRITTEN: Refusal =
    Refusal { code: CloseCode::MALFORMED, message: "The operations name text that nobody can have written." };
const NO_RECORD: Refusal = Refusal { code: CloseCode::MALFORMED, message: "The operations cannot be kept." };

/// Counters that a delete or a rebase may name beyond those known of a site: of text whose author or region has not brought it yet.
/// A site steps over what was deleted before it was written, and who could name all its counters would leave it none. No text still
/// on its way is as long, and a site could step over as much two million times.
const AHEAD_MAX: u64 = 1 << 32;

/// What becomes of a pushed delta.
enum Verdict {
    /// It goes on.
    Take,
    /// The log has all of it.
    Known,
    /// It is on its way already.
    Underway,
    /// It begins beyond what is here.
    Gap(u64),
    /// There is no room at the moment: asked for again.
    Later,
    /// Never.
    Refuse(Refusal),
}

impl Room {
    pub(super) fn push(&mut self, key: SessionKey, deltas: Vec<PushedDelta>, now: Instant) {
        let mut gapped: Vec<SiteId> = Vec::new();
        for pushed in deltas {
            let site = pushed.delta.site;
            if gapped.contains(&site) {
                continue;
            }
            let last = pushed.delta.last();
            let Phase::Ready(ready) = &self.phase else { return };
            let record = self.record(key, ready.generation, pushed.bytes.clone());
            let Some(record) = record else { return };
            match self.judge(key, &pushed, last, &record, now) {
                Verdict::Take => {
                    self.note_rebase(key, &pushed.delta);
                    self.take(key, pushed, last, record);
                }
                Verdict::Known => {
                    self.counts.repeated += 1;
                    self.note_own(key, &pushed.delta, last);
                    self.give_credit(key, &pushed);
                    self.interest(key, site);
                    self.ack(key, site);
                }
                Verdict::Underway => {
                    self.counts.repeated += 1;
                    self.note_own(key, &pushed.delta, last);
                    self.give_credit(key, &pushed);
                    self.interest(key, site);
                }
                Verdict::Gap(have) => {
                    self.counts.gaps += 1;
                    gapped.push(site);
                    self.send(key, Gap { site, have });
                }
                Verdict::Later => {
                    self.counts.deferred += 1;
                    gapped.push(site);
                    self.queue.site(site).starve(key);
                    self.starved_at = Some(now.after(PAUSE_MS));
                }
                Verdict::Refuse(refusal) => {
                    gapped.push(site);
                    self.refuse(key, site, pushed.delta.first, refusal);
                }
            }
        }
    }

    fn record(&self, key: SessionKey, generation: u64, delta: Vec<u8>) -> Option<LogRecord> {
        let member = self.members.get(&key)?;
        Some(LogRecord::new(self.setup.document.clone(), generation, member.principal.clone(), delta))
    }

    fn judge(&mut self, key: SessionKey, pushed: &PushedDelta, last: u64, record: &LogRecord, now: Instant) -> Verdict {
        let (Phase::Ready(ready), Some(member)) = (&self.phase, self.members.get(&key)) else {
            return Verdict::Refuse(READ_ONLY);
        };
        let (delta, ledger) = (&*pushed.delta, &ready.ledger);
        let logged = ledger.logged().get(delta.site);
        let bytes = pushed.bytes.len() as u64;
        // A reader may give back what a relay has shown it: its author had the right to write it.
        let proven = self.is_proven(pushed);
        if pushed.tag.is_some() && !proven {
            return Verdict::Refuse(NO_PROOF);
        }
        if !proven && !member.rights.may_write() {
            return Verdict::Refuse(READ_ONLY);
        }
        if ledger.contradicts(delta, last, &record.payload_hash) {
            return Verdict::Refuse(OTHER_CONTENT);
        }
        if last <= logged {
            return Verdict::Known;
        }
        let known_site = self.queue.known_site(delta.site);
        let owner = known_site.map(|site| &site.binding);
        if proven && matches!(owner, Some(Binding::Asking(_))) {
            // The author is here, too, and what it sent goes first.
            return Verdict::Later;
        }
        if !proven
            && let Some(Binding::Asking(owner) | Binding::Bound(owner)) = owner
            && *owner != member.principal
        {
            return Verdict::Refuse(NOT_YOURS);
        }
        let is_seed = || verify_seed(self.setup.document.as_str(), ready.generation, std::slice::from_ref(delta));
        match delta.site.kind() {
            _ if proven => {}
            SiteKind::System => return Verdict::Refuse(SYSTEM_SITE),
            SiteKind::Seed if !member.seeds && !is_seed() => return Verdict::Refuse(NOT_A_SEED),
            _ => {}
        }
        let accepted = self.accepted(delta.site);
        if delta.first > accepted + 1 {
            let starved = known_site.is_some_and(|site| !site.starved.is_empty());
            return if starved { Verdict::Later } else { Verdict::Gap(accepted) };
        }
        if last <= accepted {
            return Verdict::Underway;
        }
        if !proven
            && delta.named_dots().any(|dots| dots.last > AHEAD_MAX && dots.last - AHEAD_MAX > self.accepted(dots.site))
        {
            return Verdict::Refuse(UNWRITTEN);
        }
        let (ops, grows) = weigh(delta);
        let new_site = logged == 0 && accepted == 0;
        // A merge is never refused for a quota, and what takes text away passes: whoever is refused growth deletes under a site of its own.
        if grows > 0 && !proven && new_site && ledger.logged().len() as u64 >= self.setup.config.document_sites_max {
            return Verdict::Refuse(TOO_MANY_SITES);
        }
        if record.check().is_err() {
            return Verdict::Refuse(NO_RECORD);
        }
        let no_credit = pushed.announced && member.outbox_left < bytes;
        if no_credit || !self.queue.has_room(bytes) {
            return Verdict::Later;
        }
        if grows > 0 && !proven && self.growth.text_bytes + grows > self.setup.config.document_bytes_max {
            self.growth.measure = !self.growth.exact;
            return if self.growth.measure { Verdict::Later } else { Verdict::Refuse(TOO_LONG) };
        }
        if !pushed.announced && !self.op_rate.take(ops, self.setup.config.document_ops_per_second, now) {
            return Verdict::Later;
        }
        self.growth.text_bytes += grows;
        self.growth.exact &= delta.ops.iter().all(|op| matches!(op, Op::Meta { .. }));
        self.counts.ops += ops;
        Verdict::Take
    }

    /// The last counter of a site that is in the log or on its way there.
    fn accepted(&self, site: SiteId) -> u64 {
        let logged = self.logged().map_or(0, |logged| logged.get(site));
        self.queue.known_site(site).map_or(0, |site| site.accepted).max(logged)
    }

    fn take(&mut self, key: SessionKey, pushed: PushedDelta, last: u64, record: LogRecord) {
        let PushedDelta { delta, bytes, announced, tag } = pushed;
        let site = delta.site;
        self.note_own(key, &delta, last);
        self.interest(key, site);
        if let Phase::Ready(ready) = &mut self.phase {
            ready.ledger.remember_hash(&delta, last, &record.payload_hash);
        }
        if announced && let Some(member) = self.members.get_mut(&key) {
            member.outbox_left = member.outbox_left.saturating_sub(bytes.len() as u64);
        }
        if tag.is_some() {
            // Whoever brings it is not its author: the site stays whose it was.
            self.counts.proven += 1;
            self.queue.push_unbound(Pending { record, delta, last, from: key, announced, shown: false });
            return;
        }
        let principal = record.principal.clone();
        self.queue.push(Pending { record, delta, last, from: key, announced, shown: false });
        let state = self.queue.site(site);
        if matches!(state.binding, Binding::Unknown) {
            if site.kind() == SiteKind::Seed {
                state.binding = Binding::Anyone;
                self.queue.bound(site);
            } else {
                state.binding = Binding::Asking(principal.clone());
                self.effects.push_back(RoomEffect::Bind { site, principal });
            }
        }
    }

    pub(super) fn bound(&mut self, site: SiteId, outcome: Result<(), Failure>, now: Instant) {
        let Some(failure) = outcome.err() else { return self.queue.bound(site) };
        let logged = self.logged().map_or(0, |logged| logged.get(site));
        let waiting = self.queue.unbound(site, logged);
        let mut told: Vec<SessionKey> = Vec::new();
        for pending in waiting {
            if told.contains(&pending.from) {
                continue;
            }
            told.push(pending.from);
            if failure == Failure::Retry {
                self.counts.deferred += 1;
                self.queue.site(site).starve(pending.from);
                self.starved_at = Some(now.after(PAUSE_MS));
            } else {
                self.refuse(pending.from, site, pending.delta.first, NOT_YOURS);
            }
        }
    }

    fn refuse(&mut self, key: SessionKey, site: SiteId, from: u64, refusal: Refusal) {
        self.counts.refused += 1;
        self.send(key, Refused { site, from, code: refusal.code.0, message: refusal.message.to_owned() });
    }

    /// Hands the next batch to the log.
    pub(super) fn append(&mut self, now: Instant) {
        if let Some((append, records)) = self.queue.next_append(now) {
            self.silent_since.get_or_insert(now);
            self.effects.push_back(RoomEffect::Append { append, records });
        }
    }

    pub(super) fn appended(&mut self, append: u64, outcome: Result<Vec<Position>, Failure>, now: Instant) {
        let positions = match outcome {
            Ok(positions) => positions,
            Err(_) => {
                self.counts.append_failures += 1;
                return self.queue.failed(append, now);
            }
        };
        self.silent_since = None;
        let mut published = Vec::with_capacity(positions.len());
        let mut sites: Vec<SiteId> = Vec::new();
        for (pending, position) in self.queue.confirmed(append).into_iter().zip(positions) {
            self.counts.confirmed += 1;
            let bytes = pending.record.delta.len();
            if pending.announced
                && let Some(member) = self.members.get_mut(&pending.from)
            {
                member.credit_due += bytes as u64;
            }
            if !sites.contains(&pending.delta.site) {
                sites.push(pending.delta.site);
            }
            published.push((position, pending.record));
            self.logged_record(position, pending.delta, bytes);
        }
        if !published.is_empty() {
            self.effects.push_back(RoomEffect::Publish { records: published });
        }
        self.tell_logged(&sites, now);
    }

    fn logged_record(&mut self, position: Position, delta: Arc<Delta>, bytes: usize) {
        if let Some(ledger) = self.ledger() {
            let released: Vec<Entry> = ledger.log(position, delta, bytes);
            self.batch.extend(released);
        }
    }

    /// The log holds more of these sites: acks, credit, sites given back, uploads done.
    fn tell_logged(&mut self, sites: &[SiteId], now: Instant) {
        self.pair(sites);
        for &site in sites {
            self.ack_interested(site);
            self.reader_acks(site, now);
            self.give_back(site);
        }
        self.give_due_credits();
        self.finish_uploads(now);
    }

    pub(super) fn ack(&mut self, key: SessionKey, site: SiteId) {
        let region = self.logged().map_or(0, |logged| logged.get(site));
        // Where there is no other region, `region` is the highest level.
        let replicated = self.replicated().map_or(0, |replicated| replicated.get(site));
        debug_assert!(replicated <= region, "what both regions hold, this one holds");
        self.send(key, Ack { site, region, replicated });
    }

    /// The other region has this region's log up to here.
    pub(super) fn watermark(&mut self, watermark: Position, now: Instant) {
        let Phase::Ready(ready) = &mut self.phase else { return };
        let Some(replicated) = &mut ready.replicated else { return };
        replicated.told(watermark);
        for site in replicated.pass() {
            self.ack_interested(site);
            self.reader_acks(site, now);
        }
    }

    pub(super) fn watermark_read(&mut self, watermark: Option<Position>, now: Instant) {
        self.asking_watermark = false;
        if let Some(watermark) = watermark {
            self.watermark(watermark, now);
        }
    }

    /// Asks how far the other region is, if that matters to somebody. The bus tells it too, and may lose it.
    pub(super) fn ask_watermark(&mut self) {
        let waits = self.ready().and_then(|ready| ready.replicated.as_ref()).is_some_and(Replicated::is_waiting);
        if waits && !self.asking_watermark {
            self.asking_watermark = true;
            self.effects.push_back(RoomEffect::ReadWatermark);
        }
    }

    fn ack_interested(&mut self, site: SiteId) {
        let interested = self.queue.known_site(site).map(|state| state.interested.clone()).unwrap_or_default();
        for key in interested {
            self.ack(key, site);
        }
    }

    fn interest(&mut self, key: SessionKey, site: SiteId) {
        let interested = &mut self.queue.site(site).interested;
        if !interested.contains(&key) {
            interested.push(key);
        }
    }

    /// What `logged` has come to hold waits for the other region.
    pub(super) fn pair(&mut self, sites: &[SiteId]) {
        let Phase::Ready(ready) = &mut self.phase else { return };
        let Some(replicated) = &mut ready.replicated else { return };
        let paired = ready.ledger.paired().offset;
        for &site in sites {
            replicated.logged(site, ready.ledger.logged().get(site), paired);
        }
        // The watermark may be past it already: what other relays wrote is read later than it is shipped. `sites` are acked next.
        let moved = replicated.pass();
        moved.into_iter().filter(|site| !sites.contains(site)).for_each(|site| self.ack_interested(site));
    }

    /// The log has been read to its end: whatever was loaded without it lies below.
    fn pair_loaded(&mut self) {
        let Phase::Ready(ready) = &mut self.phase else { return };
        if !std::mem::replace(&mut ready.paired, true) {
            let sites: Vec<SiteId> = ready.ledger.logged().iter().map(|(site, _)| site).collect();
            self.pair(&sites);
            self.ask_watermark();
        }
    }

    /// What a session sent itself it need not be sent.
    fn note_own(&mut self, key: SessionKey, delta: &Delta, last: u64) {
        let sent = self.sent.get(delta.site);
        if let Some(member) = self.members.get_mut(&key)
            && delta.first <= sent.max(member.own.get(delta.site)) + 1
        {
            member.own.advance(delta.site, last);
        }
    }

    /// Announced bytes that turn out to be here already cost nothing.
    fn give_credit(&mut self, key: SessionKey, pushed: &PushedDelta) {
        if pushed.announced
            && let Some(member) = self.members.get_mut(&key)
        {
            member.outbox_left = member.outbox_left.saturating_sub(pushed.bytes.len() as u64);
            member.credit_due += pushed.bytes.len() as u64;
            self.give_due_credits();
        }
    }

    /// Sites of which something was dropped are asked for again once there is room.
    pub(super) fn ask_starved(&mut self, now: Instant) {
        if self.starved_at.is_none_or(|at| now < at) || !matches!(self.phase, Phase::Ready(_)) {
            return;
        }
        let starved = self.queue.take_starved();
        self.starved_at = starved.is_empty().then(|| now.after(PAUSE_MS)).filter(|_| !self.queue.is_idle());
        for (site, key, accepted) in starved {
            let logged = self.logged().map_or(0, |logged| logged.get(site));
            self.send(key, Gap { site, have: accepted.max(logged) });
        }
    }

    pub(super) fn bye(&mut self, key: SessionKey, site: SiteId, counter: u64) {
        let Some(member) = self.members.get(&key) else { return };
        if matches!(site.kind(), SiteKind::Leased { .. }) {
            let principal = member.principal.clone();
            self.queue.site(site).given_back = Some((counter, principal));
            self.give_back(site);
        }
    }

    /// Releases a site that was given back, once the log holds exactly what its replica wrote.
    fn give_back(&mut self, site: SiteId) {
        let logged = self.logged().map_or(0, |logged| logged.get(site));
        let state = self.queue.site(site);
        let Some((counter, _)) = state.given_back else { return };
        if counter > logged && state.accepted.max(logged) >= counter {
            return;
        }
        if let Some((counter, principal)) = state.given_back.take().filter(|(counter, _)| *counter == logged) {
            self.effects.push_back(RoomEffect::Release { site, principal, counter });
        }
    }

    /// The bus lost something: records, or how far the other region is.
    pub(super) fn bus_lagged(&mut self) {
        self.read_tail();
        self.ask_watermark();
    }

    /// Reads the log up to its head.
    pub(super) fn read_tail(&mut self) {
        if self.tail.request.is_some() {
            self.tail.again = true;
            return;
        }
        let Phase::Ready(ready) = &mut self.phase else { return };
        let from = ready.ledger.read_from();
        let request = self.next_request();
        self.tail.request = Some(request);
        self.effects.push_back(RoomEffect::ReadTail { request, from });
    }

    pub(super) fn tail_read(&mut self, request: u64, outcome: Result<TailPage, Failure>, now: Instant) {
        if self.tail.request != Some(request) {
            return self.session_tail(request, outcome, now);
        }
        self.tail.request = None;
        let page = match outcome {
            Ok(page) => page,
            Err(failure) => return self.tail_failed(&failure),
        };
        let mut sites = Vec::new();
        for entry in page.entries {
            // What no engine can read is put aside by persist and passed over here.
            let Ok(header) = DeltaHeader::peek(&entry.delta) else { continue };
            if self.logged().is_some_and(|logged| header.last <= logged.get(header.site)) {
                continue;
            }
            if let Ok(delta) = Delta::decode(&entry.delta) {
                if !sites.contains(&delta.site) {
                    sites.push(delta.site);
                }
                self.logged_record(entry.position, Arc::new(delta), entry.delta.len());
            }
        }
        if let Some(ledger) = self.ledger() {
            ledger.advance_to(page.next);
        }
        self.tell_logged(&sites, now);
        if page.at_end {
            self.pair_loaded();
        }
        if page.at_end && !std::mem::take(&mut self.tail.again) {
            self.plan_waiting(now);
        } else {
            self.read_tail();
        }
    }

    fn tail_failed(&mut self, failure: &Failure) {
        self.tail.again = false;
        if *failure == Failure::Gone {
            // The log was trimmed below or ends before what this room has read: it begins anew from snapshot and tail.
            let reason = "The document has to be read anew.";
            self.refuse_document(CloseCode::DRAINING, reason);
            self.phase = Phase::New;
        }
    }

    pub(super) fn heard(&mut self, position: Position, generation: u64, bytes: &[u8]) {
        let Phase::Ready(ready) = &mut self.phase else { return };
        let Ok(header) = DeltaHeader::peek(bytes) else { return };
        let known = header.last <= ready.ledger.seen().get(header.site);
        if generation != ready.generation || known || position.log != ready.ledger.covered().log {
            return;
        }
        if let Ok(delta) = Delta::decode(bytes) {
            let (released, read) = ready.ledger.heard(position, Arc::new(delta), bytes.len());
            self.batch.extend(released);
            if read {
                self.read_tail();
            }
        }
    }

    pub(super) fn state_diff(&mut self, key: SessionKey, bytes: Vec<u8>) {
        match self.uploads.get(&key) {
            Some(Upload::Asked) => self.effects.push_back(RoomEffect::Absorb { key, bytes }),
            _ if self.members.contains_key(&key) => {
                self.close(key, CloseCode::FORBIDDEN, "Nobody asked for a state of this document.");
            }
            _ => {}
        }
    }

    /// An uploaded state goes into the log under its uploader, whatever sites it is of: the operator asked for it.
    pub(super) fn absorbed(&mut self, key: SessionKey, outcome: Result<Vec<PushedDelta>, Failure>, now: Instant) {
        let Some(Upload::Asked) = self.uploads.remove(&key) else { return };
        let (Phase::Ready(ready), Some(member)) = (&self.phase, self.members.get(&key)) else { return };
        let (generation, principal) = (ready.generation, member.principal.clone());
        let Ok(deltas) = outcome else {
            return self.close(key, CloseCode::MALFORMED, "The uploaded state cannot be read.");
        };
        let mut target = selvedge_engine::VersionVector::new();
        for PushedDelta { delta, bytes, .. } in deltas {
            let last = delta.last();
            let accepted = self.accepted(delta.site);
            if last <= accepted || delta.first > accepted + 1 {
                continue;
            }
            target.advance(delta.site, last);
            let record = LogRecord::new(self.setup.document.clone(), generation, principal.clone(), bytes);
            self.queue.push_unbound(Pending { record, delta, last, from: key, announced: false, shown: false });
        }
        self.uploads.insert(key, Upload::Appending(target));
        self.finish_uploads(now);
    }
}

/// Operations of a delta, and bytes of text it adds.
fn weigh(delta: &Delta) -> (u64, u64) {
    let text = delta.ops.iter().map(|op| match op {
        Op::Insert { text, .. } => text.len() as u64,
        _ => 0,
    });
    (delta.ops.len() as u64, text.sum())
}

impl super::OpRate {
    /// Takes `ops` from a bucket of one second's worth; `false` if it is empty.
    fn take(&mut self, ops: u64, per_second: u64, now: Instant) -> bool {
        let drained = now.since(self.at).saturating_mul(per_second) / 1000;
        if drained > 0 {
            self.level = self.level.saturating_sub(drained);
            self.at = now;
        }
        if self.level > per_second {
            return false;
        }
        self.level += ops;
        true
    }
}
