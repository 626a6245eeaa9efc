//! A document's session on the connection in use: opening, syncing, pushing, and what the server says.

use selvedge_engine::{ApplyError, Delta, Op, StateDiff, VersionVector};

use super::Context;
use super::config::OutboxKey;
use super::effect::{Effect, Origin};
use super::rebuild::Rebuild;
use super::replica::{Refusal, Replica};
use crate::close::{CloseCode, Reaction};
use crate::error::DecodeError;
use crate::frame::{Channel, FRAME_CONTENT_BYTES_MAX};
use crate::level::{AckLevel, Instant};
use crate::message::{
    Ack, Bye, Chunk, ChunkContent, Closed, Deltas, Gap, Open, OpenOk, Push, Refused, ServerMessage, SyncPlan, Synced,
};
use crate::stream::{RoomDecoder, StreamEncoder};
use crate::transfer::{Staging, chunks};

/// Most bytes of pushes that wait for the region's acknowledgement: memory of the socket and the room stays bounded.
pub const PUSH_WINDOW_BYTES: u64 = 256 * 1024;

/// Where a document stands on the connection in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has no channel.
    #[default]
    Closed,
    /// `open` is sent.
    Opening,
    /// `open-ok` is here, not yet everything the server has.
    Syncing,
    /// Everything is here.
    Live,
}

/// What lives as long as a channel.
#[derive(Debug, Default)]
pub(super) struct Session {
    phase: Phase,
    /// The channel's number on the wire.
    pub(super) wire: Option<Channel>,
    upstream: StreamEncoder,
    pushes: u64,
    room: RoomDecoder,
    staging: Staging,
    transfers: u64,
    credit: u64,
    /// The vector was sent since open: an unequal hash is not asked about again.
    vector_sent: bool,
    /// Deltas were dropped: positions mean nothing until the next `synced`.
    dropped: bool,
}

impl Session {
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }
}

impl Replica {
    /// Opens the document on the connection in use.
    pub(super) fn open_channel(&mut self, cx: &mut Context<'_>) {
        self.reopen_at = None;
        if self.closed.is_some() || self.awaiting_token || self.closing {
            return;
        }
        let Some(wire) = cx.link.new_channel() else { return };
        self.seal(cx.now);
        self.session = Session { phase: Phase::Opening, wire: Some(wire), ..Session::default() };
        if let Some(rebuild) = &mut self.rebuild {
            rebuild.begin(&mut self.outbox);
        }
        let rebuilding = self.rebuild.is_some();
        let mut outbox = self.outbox.announce();
        if let Some(rebuild) = &self.rebuild {
            outbox.retain(|range| !rebuild.concerns(range.site));
        }
        let base = self.outbox.base(self.document.vector().clone());
        let open = Open {
            document: self.id.as_str().into(),
            generation: self.generation,
            position: self.position.filter(|_| !rebuilding),
            vector_hash: if rebuilding { 0 } else { base.hash() },
            outbox,
            outbox_bytes: self.outbox.bytes(),
            token: self.token.clone(),
            wants_site: self.document.site().is_none() && self.lease.is_none(),
        };
        cx.link.send(wire, open);
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self) {
        self.session = Session::default();
        self.presence.disconnected();
        self.reopen_at = None;
        self.saved_changed = true;
    }

    /// Takes a message on this document's channel.
    pub(super) fn handle(&mut self, message: ServerMessage, cx: &mut Context<'_>) -> Result<(), DecodeError> {
        match message {
            ServerMessage::OpenOk(ok) if self.session.phase == Phase::Opening => self.open_ok(ok, cx),
            ServerMessage::Closed(closed) => self.channel_closed(closed, cx),
            _ if self.session.phase == Phase::Opening => {
                return Err(DecodeError::Malformed("a message before open-ok"));
            }
            ServerMessage::Chunk(chunk) => self.chunk(chunk, cx)?,
            ServerMessage::Synced(synced) => self.synced(synced, cx)?,
            ServerMessage::Deltas(deltas) => self.deltas(&deltas, cx)?,
            ServerMessage::Ack(ack) => self.ack(ack, cx),
            ServerMessage::Gap(gap) => self.gap(gap, cx),
            ServerMessage::Credit(credit) => {
                self.session.credit = self.session.credit.saturating_add(credit.bytes);
                self.push_due(cx);
            }
            ServerMessage::Presence(presence) => {
                if cx.link.session() != Some(presence.session) {
                    self.presence.heard(presence);
                }
            }
            ServerMessage::Rights(changed) => self.set_rights(changed.rights, cx),
            ServerMessage::Move(moved) => cx.link.leave(&moved.endpoints, moved.after_ms, cx.now),
            ServerMessage::Refused(refused) => self.refuse(refused, cx),
            ServerMessage::TokenExpiring(_) => {
                cx.effects.push_back(Effect::TokenNeeded { channel: Some(self.handle) });
            }
            _ => return Err(DecodeError::Malformed("a message of the connection on a document's channel")),
        }
        Ok(())
    }

    fn open_ok(&mut self, ok: OpenOk, cx: &mut Context<'_>) {
        self.backoff.succeed();
        if self.generation != 0 && ok.generation != self.generation {
            self.reset(ok.generation, cx);
            self.leave_channel(cx);
            self.open_channel(cx);
            return;
        }
        self.generation = ok.generation;
        self.highest = ok.highest;
        self.saved_changed = true;
        if ok.lease.is_some() {
            self.lease = ok.lease;
        }
        self.session.phase = Phase::Syncing;
        self.session.credit = ok.credit;
        self.outbox.begin_sending(&ok.known);
        for known in &ok.known {
            self.acked(known.site, known.counter, 0, cx.now);
        }
        // What was replicated under a higher level before may be enough for this deployment.
        for site in self.outbox.sites() {
            let server = self.outbox.queue(site).map_or(0, |queue| queue.server);
            self.acked(site, server, 0, cx.now);
        }
        self.set_rights(ok.rights, cx);
        if ok.sync == SyncPlan::SendVector {
            self.send_vector(cx);
        }
        self.push_due(cx);
    }

    fn set_rights(&mut self, rights: crate::level::Rights, cx: &mut Context<'_>) {
        if self.rights != Some(rights) {
            self.rights = Some(rights);
            cx.effects.push_back(Effect::Rights { channel: self.handle, rights });
            self.push_due(cx);
        }
    }

    /// Tells the server everything this copy has, and asks for the rest.
    fn send_vector(&mut self, cx: &mut Context<'_>) {
        self.session.vector_sent = true;
        let vector = self.syncing_document().vector().encode();
        self.send_transfer(ChunkContent::Vector, &vector, cx);
    }

    fn send_transfer(&mut self, content: ChunkContent, bytes: &[u8], cx: &mut Context<'_>) {
        let Some(wire) = self.session.wire else { return };
        self.session.transfers += 1;
        // Over the limit of 32 MiB nothing is sent: such a document is over the server's limit of text long before.
        for chunk in chunks(self.session.transfers, content, bytes).unwrap_or_default() {
            cx.link.send(wire, chunk);
        }
    }

    fn chunk(&mut self, chunk: Chunk, cx: &mut Context<'_>) -> Result<(), DecodeError> {
        let Some((content, bytes)) = self.session.staging.take(chunk)? else { return Ok(()) };
        let malformed = |error: selvedge_engine::DecodeError| DecodeError::Delta(error.to_string());
        match content {
            ChunkContent::StateDiff => {
                let diff = StateDiff::decode(&bytes).map_err(malformed)?;
                self.apply_state(&diff, Origin::Remote, cx).map_err(|error| DecodeError::Delta(error.to_string()))
            }
            ChunkContent::Wanted => {
                let vector = VersionVector::decode(&bytes).map_err(malformed)?;
                if self.rebuild.is_none() && self.may_edit().is_ok() {
                    self.seal(cx.now);
                    let diff = self.document.state_diff(&vector).encode();
                    self.send_transfer(ChunkContent::StateDiff, &diff, cx);
                }
                Ok(())
            }
            ChunkContent::Vector => Err(DecodeError::Malformed("a vector from a server")),
        }
    }

    /// Merges a state diff: all of it or nothing.
    pub(super) fn apply_state(
        &mut self,
        diff: &StateDiff,
        origin: Origin,
        cx: &mut Context<'_>,
    ) -> Result<(), ApplyError> {
        if let Some(staged) = self.rebuild.as_mut().filter(|_| origin == Origin::Remote).and_then(Rebuild::staged) {
            return staged.apply_state(diff).map(|_| ());
        }
        let meta: Vec<(String, Vec<u8>)> = owned_meta(&self.document);
        let patches = match self.document.apply_state(diff) {
            Err(ApplyError::OwnSite { .. }) => {
                self.change_site(cx.now);
                self.document.apply_state(diff)?
            }
            result => result?,
        };
        self.store.state_changed(cx.now);
        self.show(patches, origin, cx);
        if owned_meta(&self.document) != meta {
            cx.effects.push_back(Effect::Meta { channel: self.handle });
        }
        Ok(())
    }

    fn synced(&mut self, synced: Synced, cx: &mut Context<'_>) -> Result<(), DecodeError> {
        self.session.room.join(synced.codec.as_ref())?;
        self.session.dropped = false;
        let have = self.outbox.base(self.syncing_document().vector().clone()).hash();
        if have != synced.vector_hash && !self.session.vector_sent {
            self.send_vector(cx);
            return Ok(());
        }
        if self.rebuild.is_some() {
            self.finish_rebuild(cx);
        }
        self.position = synced.position;
        let first = self.session.phase != Phase::Live;
        self.session.phase = Phase::Live;
        if first {
            cx.effects.push_back(Effect::Synced { channel: self.handle });
        }
        self.push_due(cx);
        self.presence_due(cx);
        Ok(())
    }

    fn deltas(&mut self, message: &Deltas, cx: &mut Context<'_>) -> Result<(), DecodeError> {
        let deltas = match self.session.room.decode(message) {
            Ok(deltas) => deltas,
            Err(DecodeError::StreamGap) => {
                self.resync(cx);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let whole = self.take_remote(deltas, cx);
        if !whole {
            self.resync(cx);
        } else if !self.session.dropped && message.position.is_some() && self.rebuild.is_none() && self.held.is_empty()
        {
            self.position = message.position;
        }
        Ok(())
    }

    /// Applies deltas of others, but for those beyond a hold. False if something before one of them is missing.
    fn take_remote(&mut self, deltas: Vec<Delta>, cx: &mut Context<'_>) -> bool {
        let mut patches = Vec::new();
        let mut whole = true;
        for delta in deltas {
            if self.hold.as_ref().is_some_and(|hold| delta.last() > hold.get(delta.site)) {
                self.held.push(delta);
                continue;
            }
            match self.apply(&delta, cx) {
                Ok(mut more) => patches.append(&mut more),
                Err(_) => whole = false,
            }
        }
        self.show(patches, Origin::Remote, cx);
        whole
    }

    /// Sets or lifts the hold and applies what it lets through.
    pub(super) fn hold_remote(&mut self, hold: Option<VersionVector>, cx: &mut Context<'_>) {
        self.hold = hold;
        let held = std::mem::take(&mut self.held);
        if !self.take_remote(held, cx) {
            self.resync(cx);
        }
    }

    /// Applies one delta of others to the copy that is being synced.
    fn apply(&mut self, delta: &Delta, cx: &mut Context<'_>) -> Result<Vec<selvedge_engine::TextPatch>, ApplyError> {
        if let Some(staged) = self.rebuild.as_mut().and_then(Rebuild::staged) {
            return staged.apply(delta).map(|_| Vec::new());
        }
        let applied = match self.document.apply(delta) {
            Err(ApplyError::OwnSite { .. }) => {
                self.change_site(cx.now);
                self.document.apply(delta)?
            }
            result => result?,
        };
        if applied.outcome != selvedge_engine::Outcome::Known {
            self.store.state_changed(cx.now);
            if delta.ops.iter().any(|op| matches!(op, Op::Meta { .. })) {
                cx.effects.push_back(Effect::Meta { channel: self.handle });
            }
        }
        Ok(applied.patches)
    }

    /// Somebody else wrote under this load's site: leave it to them.
    fn change_site(&mut self, now: Instant) {
        self.seal(now);
        // A random site that nobody has used yet is always accepted once everything is sealed.
        let _ = self.begin_random_site();
    }

    /// A delta of another tab of this profile.
    pub(super) fn apply_from_tab(&mut self, delta: &Delta, cx: &mut Context<'_>) -> Result<(), ApplyError> {
        let applied = self.document.apply(delta)?;
        if applied.outcome != selvedge_engine::Outcome::Known {
            self.store.state_changed(cx.now);
            if delta.ops.iter().any(|op| matches!(op, Op::Meta { .. })) {
                cx.effects.push_back(Effect::Meta { channel: self.handle });
            }
        }
        self.show(applied.patches, Origin::Tab, cx);
        Ok(())
    }

    /// Something is missing: asks for it by vector, once until the answer.
    fn resync(&mut self, cx: &mut Context<'_>) {
        if !self.session.dropped {
            self.session.dropped = true;
            if self.session.phase == Phase::Live {
                self.seal(cx.now);
                self.send_vector(cx);
            } else {
                // The answer to open is still coming; its hash decides whether to ask.
                self.session.vector_sent = false;
            }
        }
    }

    fn ack(&mut self, ack: Ack, cx: &mut Context<'_>) {
        self.acked(ack.site, ack.region, ack.replicated, cx.now);
        self.push_due(cx);
    }

    fn acked(&mut self, site: selvedge_engine::SiteId, region: u64, replicated: u64, now: Instant) {
        let acked = self.outbox.ack(site, region, replicated, self.highest);
        self.saved_changed |= acked.changed;
        self.store.forget(acked.forgotten, now);
        self.store.rose(acked.risen);
    }

    fn gap(&mut self, gap: Gap, cx: &mut Context<'_>) {
        let can_fill = self.outbox.rewind(gap.site, gap.have, cx.now);
        if can_fill {
            self.push_due(cx);
        } else if !self.session.vector_sent {
            // What the server lacks is not in the outbox any more: it comes as state.
            self.send_vector(cx);
        }
    }

    /// Sends what may be sent.
    pub(super) fn push_due(&mut self, cx: &mut Context<'_>) {
        if !matches!(self.session.phase, Phase::Syncing | Phase::Live)
            || !self.rights.is_some_and(|rights| rights.may_write())
        {
            return;
        }
        let Some(wire) = self.session.wire else { return };
        let mut buffer = Vec::new();
        for site in self.outbox.sites() {
            while let Some((key, last, length)) = self.next_push(site, cx.now) {
                let bytes = self.outbox.entry(key).map(|entry| entry.bytes.clone()).unwrap_or_default();
                self.outbox.note_sent(site, last, length);
                // Entries were sealed here or decoded when they were restored.
                let Ok(delta) = Delta::decode(&bytes) else { continue };
                let mut one = Vec::new();
                self.session.upstream.push(&delta, &mut one);
                if !buffer.is_empty() && buffer.len() + one.len() > FRAME_CONTENT_BYTES_MAX {
                    self.send_push(wire, std::mem::take(&mut buffer), cx);
                }
                buffer.append(&mut one);
            }
        }
        if !buffer.is_empty() {
            self.send_push(wire, buffer, cx);
        }
    }

    fn send_push(&mut self, wire: Channel, deltas: Vec<u8>, cx: &mut Context<'_>) {
        let seq = self.session.pushes;
        self.session.pushes += 1;
        cx.link.send(wire, Push { seq, tag: None, deltas: deltas.into() });
    }

    /// The next entry of a site that may be sent now; takes its credit.
    fn next_push(&mut self, site: selvedge_engine::SiteId, now: Instant) -> Option<(OutboxKey, u64, u64)> {
        if self.rebuild.as_ref().is_some_and(|rebuild| rebuild.concerns(site)) {
            return None;
        }
        let in_flight = self.outbox.in_flight();
        let queue = self.outbox.queue(site)?;
        if queue.hold_until > now {
            return None;
        }
        let at = queue.entries.partition_point(|entry| entry.last <= queue.sent);
        let entry = queue.entries.get(at)?;
        let length = entry.bytes.len() as u64;
        let blocked = queue.blocked_from.is_some_and(|from| entry.last >= from);
        if blocked || (in_flight > 0 && in_flight + length > PUSH_WINDOW_BYTES) {
            return None;
        }
        if entry.last <= queue.announced {
            // An entry may overdraw what is left, or the last bytes of a grant would never be used.
            if self.session.credit == 0 {
                return None;
            }
            self.session.credit = self.session.credit.saturating_sub(length);
        }
        let counted = if entry.acked < AckLevel::Region { length } else { 0 };
        Some((OutboxKey { site, first: entry.first }, entry.last, counted))
    }

    /// When a site held back after repeated gaps may send again.
    pub(super) fn push_deadline(&self) -> Option<Instant> {
        let sites = self.outbox.sites().into_iter();
        let held = sites.filter_map(|site| self.outbox.queue(site)).filter(|queue| queue.hold_until > Instant(0));
        held.filter(|queue| queue.entries.back().is_some_and(|last| last.last > queue.sent))
            .map(|queue| queue.hold_until)
            .min()
    }

    /// Sends this session's presence, if it is time.
    pub(super) fn presence_due(&mut self, cx: &mut Context<'_>) {
        if self.session.phase == Phase::Live
            && let Some(wire) = self.session.wire
            && let Some(presence) = self.presence.take_due(cx.now)
        {
            cx.link.send(wire, presence);
        }
    }

    fn refuse(&mut self, refused: Refused, cx: &mut Context<'_>) {
        if CloseCode(refused.code) == CloseCode::CONFLICT {
            self.restamp([(refused.site, refused.from)], cx);
            return;
        }
        self.outbox.block(refused.site, refused.from);
        if self.refused.is_none() {
            let (code, message) = (CloseCode(refused.code), refused.message);
            self.refused = Some(Refusal { code, message: message.clone() });
            cx.effects.push_back(Effect::Refused { channel: self.handle, code, message });
        }
    }

    fn channel_closed(&mut self, closed: Closed, cx: &mut Context<'_>) {
        let code = CloseCode(closed.code);
        self.disconnected();
        let reason = if closed.reason.is_empty() { code.sentence().into() } else { closed.reason };
        match code.reaction() {
            Reaction::Stop => {
                self.closed = Some(Refusal { code, message: reason.clone() });
                cx.effects.push_back(Effect::Closed { channel: self.handle, code, reason });
            }
            Reaction::AskToken => {
                self.awaiting_token = true;
                cx.effects.push_back(Effect::TokenNeeded { channel: Some(self.handle) });
            }
            Reaction::Restart if closed.generation != 0 && closed.generation != self.generation => {
                self.reset(closed.generation, cx);
                self.open_channel(cx);
            }
            Reaction::Restart => {
                let sites: Vec<_> = self.outbox.iter().map(|(site, _)| (site, 1)).collect();
                self.begin_rebuild(Rebuild::restamp(sites));
                self.reopen_at = Some(cx.now.after(self.backoff.fail()));
            }
            Reaction::Resync => self.open_channel(cx),
            Reaction::Retry | Reaction::Follow => {
                let wait = self.backoff.fail().max(closed.retry_after_ms);
                self.reopen_at = Some(cx.now.after(wait));
            }
        }
    }

    /// Leaves the channel, giving the site back where everything is acknowledged at the highest level.
    pub(super) fn leave_channel(&mut self, cx: &mut Context<'_>) {
        let Some(wire) = self.session.wire else { return };
        let bye = if self.closing { self.release() } else { Bye::default() };
        cx.link.send(wire, bye);
        self.disconnected();
    }

    fn release(&mut self) -> Bye {
        use selvedge_engine::SiteKind;
        if self.session.phase != Phase::Live || !self.outbox.is_empty() || self.document.has_unsealed() {
            return Bye::default();
        }
        let leased = self.document.site().filter(|site| matches!(site.kind(), SiteKind::Leased { .. }));
        if let Some(site) = leased {
            return Bye { site: Some(site), counter: self.document.vector().get(site) };
        }
        match self.lease.take() {
            Some(lease) => Bye { site: Some(lease.site), counter: lease.next_counter - 1 },
            None => Bye::default(),
        }
    }

    /// A new token for this document.
    pub(super) fn provide_token(&mut self, token: Option<String>, cx: &mut Context<'_>) {
        let same = self.token == token;
        self.token = token;
        if std::mem::take(&mut self.awaiting_token) {
            if same || self.token.is_none() {
                let (code, reason) = (CloseCode::TOKEN, CloseCode::TOKEN.sentence().to_owned());
                self.closed = Some(Refusal { code, message: reason.clone() });
                cx.effects.push_back(Effect::Closed { channel: self.handle, code, reason });
            } else if cx.link.is_up() {
                self.open_channel(cx);
            }
        } else if let (Some(wire), Some(token)) = (self.session.wire, self.token.clone()) {
            cx.link.send(wire, crate::message::Token { token });
        }
    }
}

fn owned_meta(document: &selvedge_engine::Document) -> Vec<(String, Vec<u8>)> {
    document.meta().map(|(key, value)| (key.to_owned(), value.to_vec())).collect()
}
