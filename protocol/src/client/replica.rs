//! One document of a client: the engine's document, its outbox, and where its sync stands.

use std::sync::Arc;

use selvedge_engine::undo::UndoStack;
use selvedge_engine::{Delta, DeltaHeader, Document, SiteId, TextPatch, VersionVector};

use super::Context;
use super::config::ReplicaConfig;
use super::effect::{Effect, Origin, SaveState, Status};
use super::error::Error;
use super::frames::Frames;
use super::outbox::{Entry, Outbox};
use super::presence::Presences;
use super::quota::Quota;
use super::rebuild::Rebuild;
use super::store::Store;
use super::sync::Session;
use super::untold::Untold;
use crate::backoff::Backoff;
use crate::close::CloseCode;
use crate::document_id::DocumentId;
use crate::frame::Channel;
use crate::level::{AckLevel, Instant, Position, Rights};
use crate::message::SiteLease;
use crate::random::Random;

/// Longest time an edit waits to be sealed while a store transaction is in flight, or others wait to be sent, in milliseconds.
pub const SEAL_MS_MAX: u64 = 50;

/// Why a document turned read-only for good, or was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason's code.
    pub code: CloseCode,
    /// A sentence for people.
    pub message: String,
}

impl Refusal {
    /// Whether only growth was refused: deletes still pass.
    pub fn takes_deletes(&self) -> bool {
        self.code == CloseCode::TOO_LARGE
    }
}

/// A delta of this replica, told at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed<'a> {
    /// The durable delta.
    pub delta: &'a [u8],
    /// Whether another follows.
    pub more: bool,
}

/// One open document. All changes go through [`super::Client`].
#[derive(Debug)]
pub struct Replica {
    pub(super) handle: Channel,
    pub(super) id: DocumentId,
    pub(super) principal: Arc<str>,
    pub(super) token: Option<String>,
    pub(super) document: Document,
    pub(super) undo: UndoStack,
    pub(super) random: Random,
    /// A leased site that this load has not written on yet.
    pub(super) lease: Option<SiteLease>,
    pub(super) generation: u64,
    pub(super) highest: AckLevel,
    pub(super) position: Option<Position>,
    pub(super) rights: Option<Rights>,
    pub(super) outbox: Outbox,
    pub(super) frames: Frames,
    pub(super) store: Store,
    /// Neither a device nor a server will ever take what is written here.
    is_alone: bool,
    pub(super) session: Session,
    pub(super) presence: Presences,
    pub(super) rebuild: Option<Rebuild>,
    pub(super) refused: Option<Refusal>,
    pub(super) quota: Quota,
    pub(super) closed: Option<Refusal>,
    pub(super) awaiting_token: bool,
    pub(super) backoff: Backoff,
    pub(super) reopen_at: Option<Instant>,
    /// Remote deltas beyond this vector are kept aside; see [`super::Client::hold_remote`].
    pub(super) hold: Option<VersionVector>,
    pub(super) held: Vec<Delta>,
    /// Closing: gone once the store has everything.
    pub(super) closing: bool,
    pub(super) edited: u64,
    edit_sealed: u64,
    unsealed_since: Option<Instant>,
    pub(super) saved_changed: bool,
    /// Whether somebody is told of changes of the text.
    pub(super) watched: bool,
    /// Sealed deltas to tell, where no store tells when they are safe.
    untold: Untold,
    /// Room for the bytes of what is sealed.
    sealing: Vec<u8>,
    saved_told: Option<SaveState>,
    status_told: Option<Status>,
}

impl Replica {
    pub(super) fn new(handle: Channel, config: ReplicaConfig, cx: &mut Context<'_>) -> Self {
        let mut random = Random::new(config.site_seed);
        let backoff = Backoff::new(random.draw());
        let mut replica = Self {
            handle,
            id: config.document,
            principal: config.principal.into(),
            token: config.token,
            document: Document::new(),
            undo: UndoStack::new(),
            random,
            lease: None,
            generation: 0,
            highest: AckLevel::Region,
            position: None,
            rights: None,
            outbox: Outbox::new(),
            frames: Frames::default(),
            store: Store::new(config.store),
            is_alone: !config.store && cx.link.is_alone(),
            session: Session::default(),
            presence: Presences::default(),
            rebuild: None,
            refused: None,
            quota: Quota::default(),
            closed: None,
            awaiting_token: false,
            backoff,
            reopen_at: None,
            hold: None,
            held: Vec::new(),
            closing: false,
            edited: 0,
            edit_sealed: 0,
            unsealed_since: None,
            saved_changed: true,
            watched: true,
            untold: Untold::default(),
            sealing: Vec::new(),
            saved_told: None,
            status_told: None,
        };
        if let Some(restored) = config.restored {
            replica.restore(restored, config.adopt, cx);
        }
        if let Some(text) = &config.initial_text {
            replica.seed(text, cx.now);
        }
        replica
    }

    /// The document: text, meta, anchors, measures.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Its name.
    pub fn id(&self) -> &DocumentId {
        &self.id
    }

    /// Who writes here.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// The site this load writes as; `None` before its first edit.
    pub fn site(&self) -> Option<SiteId> {
        self.document.site()
    }

    /// The document's generation; 0 before a server was asked.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What this session may do; `None` before a server was asked.
    pub fn rights(&self) -> Option<Rights> {
        self.rights
    }

    /// The last place in a log that this copy covers.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// Why the document is read-only, or takes deletes alone, if a push was refused for good.
    pub fn refused(&self) -> Option<&Refusal> {
        self.refused.as_ref()
    }

    /// Whether there is something to take back.
    pub fn can_undo(&self) -> bool {
        self.undo.can_undo()
    }

    /// Whether there is something to do again.
    pub fn can_redo(&self) -> bool {
        self.undo.can_redo()
    }

    /// How safe the text is.
    pub fn saved(&self, now: Instant) -> SaveState {
        let unsealed = self.unsealed_ops();
        let pending = |level| {
            let mut pending = self.outbox.pending(level, self.edited);
            pending.ops += unsealed;
            if unsealed > 0 {
                pending.through = pending.through.min(self.edit_sealed);
            }
            pending
        };
        let oldest = self.outbox.oldest(self.highest).into_iter().chain(self.unsealed_since).min();
        SaveState {
            device: pending(AckLevel::Device),
            region: pending(AckLevel::Region),
            replicated: pending(AckLevel::Replicated),
            oldest_pending_ms: oldest.map_or(0, |at| now.since(at)),
            highest: self.highest,
            edited: self.edited,
        }
    }

    /// What the document is doing, given the link.
    pub(super) fn status(&self, online: bool) -> Status {
        if self.closed.is_some() {
            return Status::Closed;
        }
        match self.session.phase() {
            _ if !online => Status::Offline,
            super::sync::Phase::Closed => Status::Connecting,
            super::sync::Phase::Opening | super::sync::Phase::Syncing => Status::Syncing,
            super::sync::Phase::Live if self.may_grow().is_err() => Status::ReadOnly,
            super::sync::Phase::Live => Status::Connected,
        }
    }

    /// Whether edits that add text are accepted now.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] with the reason.
    pub fn may_grow(&self) -> Result<(), Error> {
        match &self.refused {
            Some(refusal) => Err(Error::ReadOnly(refusal.code)),
            None => self.may_edit(),
        }
    }

    /// Whether edits are accepted now, if only those that take text away: a quota refuses growth alone.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] with the reason.
    pub fn may_edit(&self) -> Result<(), Error> {
        let refused = self.refused.as_ref().filter(|refusal| !refusal.takes_deletes());
        if let Some(refusal) = refused.or(self.closed.as_ref()) {
            return Err(Error::ReadOnly(refusal.code));
        }
        match self.rights {
            Some(rights) if !rights.may_write() => Err(Error::ReadOnly(CloseCode::FORBIDDEN)),
            _ => Ok(()),
        }
    }

    /// Runs a change of the user's, under this load's site. `grows`: it adds text.
    pub(super) fn change<T>(
        &mut self,
        now: Instant,
        grows: impl FnOnce(&UndoStack) -> bool,
        change: impl FnOnce(&mut UndoStack, &mut Document) -> Result<T, selvedge_engine::EditError>,
    ) -> Result<T, Error> {
        if grows(&self.undo) { self.may_grow() } else { self.may_edit() }?;
        self.ensure_site()?;
        self.ready_depth(now);
        let result = change(&mut self.undo, &mut self.document)?;
        self.note_depth(now);
        if self.document.has_unsealed() {
            self.edited += 1;
            self.unsealed_since.get_or_insert(now);
            self.saved_changed = true;
        }
        Ok(result)
    }

    /// Takes a site for this load at its first edit: the leased one once the document is synced, else a random one. Never
    /// one read back from a store, nor one of which the outbox holds what this copy lacks, whatever is leased; and another
    /// one behind what a quota refused.
    pub(super) fn ensure_site(&mut self) -> Result<(), Error> {
        match self.document.site() {
            Some(site) if self.outbox.is_refused(site) => return self.begin_random_site(),
            Some(_) => return Ok(()),
            None => {}
        }
        if self.session.phase() == super::sync::Phase::Live
            && let Some(lease) = self.lease
            && self.document.vector().get(lease.site) + 1 == lease.next_counter
            && self.outbox.sealed_to(lease.site) < lease.next_counter
            && self.document.begin_writing(lease.site, lease.next_counter).is_ok()
        {
            self.lease = None;
            return Ok(());
        }
        self.begin_random_site()
    }

    /// Starts writing as a new random site.
    pub(super) fn begin_random_site(&mut self) -> Result<(), Error> {
        let site = SiteId::random(self.random.draw());
        Ok(self.document.begin_writing(site, 1)?)
    }

    /// Seals what is unsealed into the outbox and the store's next transaction. False if there was nothing.
    pub(super) fn seal(&mut self, now: Instant) -> bool {
        if !self.document.has_unsealed() {
            self.unsealed_since = None;
            return false;
        }
        let sealed = self.unsealed_since.take().unwrap_or(now);
        let mut bytes = std::mem::take(&mut self.sealing);
        while let Some(header) = self.document.seal_into(&mut bytes) {
            self.queue(header, &bytes, sealed, now);
            bytes.clear();
        }
        self.sealing = bytes;
        self.edit_sealed = self.edited;
        self.saved_changed = true;
        true
    }

    /// The next delta of this replica that is still to be told, where no store tells when it is safe.
    pub(super) fn take_untold(&mut self) -> Option<Flushed<'_>> {
        let more = self.untold.len() > 1;
        self.untold.pop().map(|delta| Flushed { delta, more })
    }

    /// Takes a sealed delta into the outbox, and to whom it is told next.
    pub(super) fn queue(&mut self, header: DeltaHeader, bytes: &[u8], sealed: Instant, now: Instant) {
        if !self.store.is_enabled() {
            self.untold.push(bytes);
        }
        if self.is_alone {
            self.outbox.pass(header, bytes.len(), self.edit_sealed, sealed);
        } else {
            self.keep_sealed(header, bytes, sealed, now);
        }
    }

    #[inline(never)]
    fn keep_sealed(&mut self, header: DeltaHeader, bytes: &[u8], sealed: Instant, now: Instant) {
        let DeltaHeader { site, first, last } = header;
        let entry = Entry {
            first,
            last,
            principal: self.principal.clone(),
            bytes: bytes.to_vec(),
            acked: AckLevel::Device,
            stored: false,
            edit_before: self.edit_sealed,
            sealed,
        };
        if self.store.is_enabled() {
            self.store.put(Outbox::stored_form(site, &entry), now);
        }
        self.outbox.push(site, entry);
    }

    /// Whether it is time to seal: nothing is being stored, or, where nobody stores, everything sealed is on its way; or the
    /// oldest edit has waited long enough. What waits anyway waits joined: in fewer and shorter deltas.
    pub(super) fn seal_due(&self, now: Instant) -> bool {
        let waited = self.unsealed_since.is_some_and(|since| now.since(since) >= SEAL_MS_MAX);
        let is_busy = if self.store.is_enabled() { self.store.is_busy() } else { self.outbox.has_unsent() };
        self.document.has_unsealed() && (waited || !is_busy)
    }

    fn unsealed_ops(&self) -> u64 {
        if !self.document.has_unsealed() {
            return 0;
        }
        let Some(site) = self.document.site() else { return 0 };
        self.document.vector().get(site).saturating_sub(self.outbox.sealed_to(site)).max(1)
    }

    /// Shows patches in the editor.
    pub(super) fn show(&mut self, patches: Vec<TextPatch>, origin: Origin, cx: &mut Context<'_>) {
        if self.watched && !patches.is_empty() {
            cx.effects.push_back(Effect::Patch { channel: self.handle, patches, origin });
        }
    }

    /// Tells what changed: save state and status.
    pub(super) fn tell(&mut self, online: bool, cx: &mut Context<'_>) {
        let status = self.status(online);
        if self.status_told != Some(status) {
            self.status_told = Some(status);
            cx.effects.push_back(Effect::Status { channel: self.handle, status });
        }
        if std::mem::take(&mut self.saved_changed) {
            let state = self.saved(cx.now);
            let same = self
                .saved_told
                .is_some_and(|told| SaveState { oldest_pending_ms: told.oldest_pending_ms, ..state } == told);
            if !same {
                self.saved_told = Some(state);
                cx.effects.push_back(Effect::Saved { channel: self.handle, state });
            }
        }
        while let Some(delta) = self.untold.pop() {
            cx.effects.push_back(Effect::LocalDelta { channel: self.handle, bytes: delta.to_vec() });
        }
        self.presence.tell(self.handle, cx);
    }

    /// Whether something waits for an acknowledgement.
    pub(super) fn is_waiting(&self) -> bool {
        self.outbox.pending(AckLevel::Region, 0).ops > 0
    }

    pub(super) fn deadline(&self, up: bool) -> Option<Instant> {
        let seal = self.unsealed_since.map(|since| since.after(SEAL_MS_MAX));
        let due = [
            seal.filter(|_| self.document.has_unsealed()),
            self.store.deadline(),
            self.reopen_at.filter(|_| up),
            self.presence.deadline().filter(|_| self.session.phase() == super::sync::Phase::Live),
            self.push_deadline().filter(|_| up),
            self.growth_deadline().filter(|_| up),
            self.give_back_deadline().filter(|_| up),
        ];
        due.into_iter().flatten().min()
    }
}
