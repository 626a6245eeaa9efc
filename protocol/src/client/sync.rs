//! A document's session on the connection in use: opening, syncing, pushing, and what the server says.

use selvedge_engine::{ApplyError, Delta, Op, StateDiff, VersionVector};

use super::Context;
use super::effect::{Effect, Origin};
use super::rebase::RebaseToken;
use super::rebuild::Rebuild;
use super::replica::Replica;
use crate::error::DecodeError;
use crate::frame::Channel;
use crate::level::Instant;
use crate::message::{Chunk, ChunkContent, Deltas, OpenOk, ServerMessage, SyncPlan, Synced};
use crate::stream::{RoomDecoder, StreamEncoder};
use crate::transfer::{Staging, chunks};
use crate::version::Features;

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
    pub(super) phase: Phase,
    /// The channel's number on the wire.
    pub(super) wire: Option<Channel>,
    pub(super) upstream: StreamEncoder,
    pub(super) pushes: u64,
    room: RoomDecoder,
    staging: Staging,
    transfers: u64,
    pub(super) credit: u64,
    /// The vector was sent since open: an unequal hash is not asked about again.
    pub(super) vector_sent: bool,
    /// Broadcast tags were agreed on this connection.
    pub(super) tags: bool,
    pub(super) rebase: RebaseToken,
    /// Deltas were dropped: positions mean nothing until the next `synced`.
    dropped: bool,
}

impl Session {
    /// `open` goes out on this channel.
    pub(super) fn opening(wire: Channel, agreed: Features) -> Self {
        Self {
            phase: Phase::Opening,
            wire: Some(wire),
            tags: agreed.contains(Features::BROADCAST_TAGS),
            rebase: RebaseToken::opening(agreed),
            ..Self::default()
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }
}

impl Replica {
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
                self.give_back_due(cx);
            }
            ServerMessage::Presence(presence) => {
                if cx.link.session() != Some(presence.session) {
                    self.presence.heard(presence);
                }
            }
            ServerMessage::Rights(changed) => self.set_rights(changed.rights, cx),
            ServerMessage::Move(moved) => cx.link.leave(&moved.endpoints, moved.after_ms, cx.now),
            ServerMessage::Refused(refused) => self.refuse(refused, cx),
            ServerMessage::RebaseAnswer(answer) => self.session.rebase.answered(answer, cx.now),
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
        self.frames_answered(&ok.known, cx);
    }

    pub(super) fn set_rights(&mut self, rights: crate::level::Rights, cx: &mut Context<'_>) {
        if self.rights != Some(rights) {
            self.rights = Some(rights);
            cx.effects.push_back(Effect::Rights { channel: self.handle, rights });
            self.push_due(cx);
        }
    }

    /// Tells the server everything this copy has, and asks for the rest.
    pub(super) fn send_vector(&mut self, cx: &mut Context<'_>) {
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
        let meta = self.document.meta_changes();
        let patches = match self.document.apply_state(diff) {
            Err(ApplyError::OwnSite { .. }) => {
                self.change_site(cx.now);
                self.document.apply_state(diff)?
            }
            result => result?,
        };
        self.store.state_changed(cx.now);
        self.show(patches, origin, cx);
        if self.document.meta_changes() != meta {
            cx.effects.push_back(Effect::Meta { channel: self.handle });
        }
        Ok(())
    }

    fn synced(&mut self, synced: Synced, cx: &mut Context<'_>) -> Result<(), DecodeError> {
        self.session.room.join(synced.codec.as_ref())?;
        self.session.dropped = false;
        let base = self.outbox.base(self.syncing_document().vector().clone());
        let have = self.frames.base(base).hash();
        if have != synced.vector_hash && !self.session.vector_sent {
            self.send_vector(cx);
            return Ok(());
        }
        if self.rebuild.is_some() {
            self.finish_rebuild(cx);
        } else if !self.settle_seeds(synced.vector_hash != 0, cx) {
            return Ok(());
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
        let shown = match (message.tag, &deltas[..]) {
            (None, _) => None,
            (Some(tag), [delta]) => Some((tag, delta.clone())),
            (Some(_), _) => return Err(DecodeError::Malformed("a tag over more than one delta")),
        };
        let whole = self.take_remote(deltas, cx);
        if let Some((tag, delta)) = &shown {
            self.keep_frame(delta, *tag, cx);
        }
        if !whole && message.epoch == 0 && shown.is_some() {
            // The proof of what a state diff brings comes before it.
            return Ok(());
        }
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
    pub(super) fn apply_from_tab(&mut self, delta: &[u8], cx: &mut Context<'_>) -> Result<(), ApplyError> {
        let meta = self.document.meta_changes();
        let applied = self.document.apply_encoded(delta)?;
        if applied.outcome != selvedge_engine::Outcome::Known {
            self.store.state_changed(cx.now);
            if self.document.meta_changes() != meta {
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

    /// Sends this session's presence, if it is time.
    pub(super) fn presence_due(&mut self, cx: &mut Context<'_>) {
        if self.session.phase == Phase::Live
            && let Some(wire) = self.session.wire
            && let Some(presence) = self.presence.take_due(cx.now)
        {
            cx.link.send(wire, presence);
        }
    }
}
