//! The client: one connection, many documents, driven by a shell that only executes effects.
//!
//! Bytes, instants and answers go in; [`Effect`]s and deadlines come out. It owns the engine's documents, so both shells
//! (native and WebAssembly) hold nothing but a socket, a store and a clock. After every call a shell takes effects until
//! there are none, and calls [`Client::tick`] at [`Client::deadline`].

mod channel;
mod config;
mod effect;
mod error;
mod frames;
mod link;
mod listing;
mod outbox;
mod ping;
mod presence;
mod push;
mod quota;
mod race;
mod rebase;
mod rebuild;
mod replica;
mod restore;
mod rule;
mod seed;
mod store;
mod sync;
mod untold;

use std::collections::VecDeque;

use selvedge_engine::undo::UndoStack;
use selvedge_engine::{ApplyError, SEED_TEXT_BYTES_MAX, StateDiff, TextPatch, VersionVector};

pub use config::{ClientConfig, KeptFrame, OutboxEntry, OutboxKey, ReplicaConfig, Restored};
pub use effect::{
    Effect, LinkInfo, ListFault, Origin, Pending, PresenceChange, SaveState, Status, StoreError, StoreTicket,
    StoreTransaction, StoredState,
};
pub use error::Error;
pub use frames::{FRAMES_BYTES_MAX, GIVE_BACK_MS};
pub use link::{ATTEMPT_MS_MAX, RACE_MS};
pub use ping::{DEAD_MS_MIN, SUSPECT_MS_MIN};
pub use presence::{PRESENCE_MS_MIN, PRESENCES_MAX};
pub use push::PUSH_WINDOW_BYTES;
pub use race::ADDRESS_MS;
pub use replica::{Flushed, Refusal, Replica, SEAL_MS_MAX};
#[cfg(feature = "planted-faults")]
pub use rule::Rule;
pub use store::STATE_MS;

use crate::close::CloseCode;
use crate::frame::Channel;
use crate::level::Instant;
use crate::message::{PRESENCE_BYTES_MAX, ServerMessage};
use crate::signed_list::ListStamp;
use link::{Link, LinkEvent};

/// Most documents of one client.
const DOCUMENTS_MAX: usize = 64;

/// One connection and the documents on it. See the module.
#[derive(Debug)]
pub struct Client {
    link: Link,
    /// At most [`DOCUMENTS_MAX`], in the order they were opened.
    replicas: Vec<Replica>,
    next_handle: u32,
    effects: VecDeque<Effect>,
    now: Instant,
    active: bool,
    told: Option<LinkInfo>,
}

/// What a document's parts share during one call.
struct Context<'a> {
    link: &'a mut Link,
    effects: &'a mut VecDeque<Effect>,
    now: Instant,
}

/// What the link has during one call.
struct Io<'a> {
    effects: &'a mut VecDeque<Effect>,
    now: Instant,
}

impl Client {
    /// A client; it connects with its first document, if its configuration says so.
    pub fn new(config: ClientConfig, now: Instant) -> Self {
        Self {
            link: Link::new(config, now),
            replicas: Vec::new(),
            next_handle: 1,
            effects: VecDeque::new(),
            now,
            active: true,
            told: None,
        }
    }

    /// Opens a document: at once from what the store held, then from the server. The channel names it in every call.
    ///
    /// # Errors
    /// [`Error::TooManyDocuments`], [`Error::AlreadyOpen`], [`Error::InitialTextTooLong`].
    pub fn open(&mut self, config: ReplicaConfig, now: Instant) -> Result<Channel, Error> {
        self.now = now;
        if self.replicas.len() >= DOCUMENTS_MAX {
            return Err(Error::TooManyDocuments);
        }
        if self.replicas.iter().any(|replica| replica.id == config.document && !replica.closing) {
            return Err(Error::AlreadyOpen);
        }
        if config.initial_text.as_ref().is_some_and(|text| text.len() > SEED_TEXT_BYTES_MAX) {
            return Err(Error::InitialTextTooLong);
        }
        let channel = Channel(self.next_handle);
        self.next_handle += 1;
        let document = config.document.as_str().to_owned();
        let first = self.replicas.is_empty();
        let mut cx = Context { link: &mut self.link, effects: &mut self.effects, now };
        let mut replica = Replica::new(channel, config, &mut cx);
        if first {
            cx.link.document = Some(document);
        }
        if cx.link.is_up() {
            replica.open_channel(&mut cx);
        }
        self.replicas.push(replica);
        self.tick(now);
        Ok(channel)
    }

    /// Closes a document: everything goes to the store, the site back to the server where everything is acknowledged.
    /// [`Effect::Closed`] with code 1000 says that the store has it all; until then store answers are still taken.
    pub fn close(&mut self, channel: Channel, now: Instant) {
        self.with(channel, now, |replica, cx| {
            replica.seal(cx.now);
            replica.push_due(cx);
            replica.closing = true;
            replica.leave_channel(cx);
        });
    }

    /// An open document.
    pub fn replica(&self, channel: Channel) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.handle == channel)
    }

    /// An open document goes on without one of its rules: only for tests that show what the rule is for.
    #[cfg(feature = "planted-faults")]
    pub fn without(&mut self, channel: Channel, rule: Rule) {
        if let Some(replica) = find(&mut self.replicas, channel) {
            replica.forget_rule(rule);
        }
    }

    /// The open documents.
    pub fn replicas(&self) -> impl Iterator<Item = (Channel, &Replica)> {
        self.replicas.iter().map(|replica| (replica.handle, replica))
    }

    /// What a document is doing.
    pub fn status(&self, channel: Channel) -> Option<Status> {
        self.replica(channel).map(|replica| replica.status(self.link.is_online()))
    }

    /// The connection in use.
    pub fn link(&self) -> Option<LinkInfo> {
        self.link.info()
    }

    /// Replaces `delete` UTF-16 units at `at` by `insert`. The patches are the echo: what the editor must change to show
    /// what was really written; normally none. Edits up to the next [`Client::poll_effect`] travel together.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Edit`], [`Error::NotOpen`]; nothing was changed.
    pub fn edit(
        &mut self,
        channel: Channel,
        at: usize,
        delete: usize,
        insert: &str,
        now: Instant,
    ) -> Result<Vec<TextPatch>, Error> {
        let grows = !insert.is_empty();
        self.change(channel, now, |_| grows, |undo, document| undo.replace(document, at, delete, insert))
    }

    /// [`Client::edit`] with UTF-16 text; lone surrogates become U+FFFD, which the echo shows.
    ///
    /// # Errors
    /// As [`Client::edit`].
    pub fn edit_utf16(
        &mut self,
        channel: Channel,
        at: usize,
        delete: usize,
        insert: &[u16],
        now: Instant,
    ) -> Result<Vec<TextPatch>, Error> {
        let grows = !insert.is_empty();
        self.change(channel, now, |_| grows, |undo, document| undo.replace_utf16(document, at, delete, insert))
    }

    /// [`Client::edit`] that is no undo step: taking steps back, before or after it, leaves it alone.
    ///
    /// # Errors
    /// As [`Client::edit`].
    pub fn edit_untracked(
        &mut self,
        channel: Channel,
        at: usize,
        delete: usize,
        insert: &str,
        now: Instant,
    ) -> Result<Vec<TextPatch>, Error> {
        let grows = !insert.is_empty();
        self.change(channel, now, |_| grows, |_, document| document.replace(at, delete, insert))
    }

    /// [`Client::edit_untracked`] with UTF-16 text.
    ///
    /// # Errors
    /// As [`Client::edit`].
    pub fn edit_untracked_utf16(
        &mut self,
        channel: Channel,
        at: usize,
        delete: usize,
        insert: &[u16],
        now: Instant,
    ) -> Result<Vec<TextPatch>, Error> {
        let grows = !insert.is_empty();
        self.change(channel, now, |_| grows, |_, document| document.replace_utf16(at, delete, insert))
    }

    /// Writes one entry of the document's `meta` map; `None` removes it.
    ///
    /// # Errors
    /// As [`Client::edit`].
    pub fn set_meta(&mut self, channel: Channel, key: &str, value: Option<&[u8]>, now: Instant) -> Result<(), Error> {
        self.change(channel, now, |_| false, |_, document| document.set_meta(key, value))
    }

    /// Takes this replica's last step back; the patches are for the editor.
    ///
    /// # Errors
    /// As [`Client::edit`].
    pub fn undo(&mut self, channel: Channel, now: Instant) -> Result<Vec<TextPatch>, Error> {
        self.change(channel, now, UndoStack::undo_inserts, |undo, document| undo.undo(document))
    }

    /// Does the last undone step again; the patches are for the editor.
    ///
    /// # Errors
    /// As [`Client::edit`].
    pub fn redo(&mut self, channel: Channel, now: Instant) -> Result<Vec<TextPatch>, Error> {
        self.change(channel, now, UndoStack::redo_inserts, |undo, document| undo.redo(document))
    }

    /// Makes what comes next an undo step of its own.
    pub fn stop_capturing(&mut self, channel: Channel) {
        if let Some(replica) = find(&mut self.replicas, channel) {
            replica.undo.stop_capturing();
        }
    }

    /// Forgets what could be undone.
    pub fn clear_undo(&mut self, channel: Channel) {
        if let Some(replica) = find(&mut self.replicas, channel) {
            replica.undo.clear();
        }
    }

    /// This session's presence: coalesced, at most ten a second. `None`: gone.
    ///
    /// # Errors
    /// [`Error::PresenceTooLarge`], [`Error::NotOpen`].
    pub fn set_presence(&mut self, channel: Channel, data: Option<Vec<u8>>, now: Instant) -> Result<(), Error> {
        if data.as_ref().is_some_and(|data| data.len() > PRESENCE_BYTES_MAX) {
            return Err(Error::PresenceTooLarge);
        }
        self.with(channel, now, |replica, cx| {
            replica.presence.set(data);
            replica.presence_due(cx);
        })
        .ok_or(Error::NotOpen)
    }

    /// Connects, and again after every loss. Also after a close for good: tries again.
    pub fn go_online(&mut self, now: Instant) {
        self.link.go_online(now);
        for replica in &mut self.replicas {
            replica.closed = None;
        }
        self.tick(now);
    }

    /// Disconnects and stays so. Editing goes on.
    pub fn go_offline(&mut self, now: Instant) {
        for replica in &mut self.replicas {
            replica.seal(now);
        }
        let event = self.link.go_offline(&mut Io { effects: &mut self.effects, now });
        self.link_event(event, now);
    }

    /// Seals what was edited until now: the document's vector then ends where a delta does.
    pub fn seal(&mut self, channel: Channel, now: Instant) {
        self.with(channel, now, |replica, cx| {
            replica.seal(cx.now);
            replica.push_due(cx);
        });
    }

    /// [`Client::seal`] for a caller that takes each update at once: where nobody stores, a delta of this replica that is still to be
    /// told is handed out here, and by no effect. Everything else waits for the next [`Client::poll_effect`].
    pub fn flush(&mut self, channel: Channel, now: Instant) -> Option<Flushed<'_>> {
        let (replica, mut cx) = self.replica_now(channel, now)?;
        if replica.seal(now) {
            replica.push_due(&mut cx);
        }
        replica.take_untold()
    }

    /// Whether changes of the text that come from elsewhere are told, as [`Effect::Patch`]: they are unless this says no.
    pub fn watch(&mut self, channel: Channel, watched: bool) {
        if let Some(replica) = find(&mut self.replicas, channel) {
            replica.watched = watched;
        }
    }

    /// Whether somebody looks at the page or has used it lately: pings are frequent only then, or with something
    /// unacknowledged.
    pub fn set_active(&mut self, active: bool, now: Instant) {
        self.active = active;
        self.tick(now);
    }

    /// A connection is open.
    pub fn connect_opened(&mut self, attempt: u64, now: Instant) {
        self.link.connect_opened(attempt, &mut Io { effects: &mut self.effects, now });
        self.tick(now);
    }

    /// A connection could not be opened.
    pub fn connect_failed(&mut self, attempt: u64, now: Instant) {
        self.link.connect_failed(attempt, &mut Io { effects: &mut self.effects, now });
        self.tick(now);
    }

    /// A message arrived. Bytes of connections that are not in use any more are ignored.
    pub fn received(&mut self, attempt: u64, bytes: &[u8], now: Instant) {
        let Self { link, replicas, effects, .. } = self;
        let event = link.received(attempt, bytes, &mut Io { effects, now }, |link, frame, io| {
            let of_channel = |replica: &&mut Replica| replica.session.wire == Some(frame.channel);
            // Frames still under way on a channel that was left are nobody's.
            let Some(replica) = replicas.iter_mut().find(of_channel) else { return Ok(()) };
            match ServerMessage::decode(&frame)? {
                Some(message) => replica.handle(message, &mut Context { link, effects: io.effects, now: io.now }),
                None => Ok(()),
            }
        });
        self.link_event(event, now);
    }

    /// A connection was closed by the other side or lost; code 1006 where there was no close.
    pub fn closed(&mut self, attempt: u64, code: CloseCode, reason: &str, now: Instant) {
        let event = self.link.closed(attempt, code, reason, &mut Io { effects: &mut self.effects, now });
        self.link_event(event, now);
    }

    /// The list of endpoints that an earlier load was asked to keep, verified again: `list` are its bytes, `signed` the whole. It
    /// holds from the start on.
    pub fn restore_endpoints(&mut self, signed: String, list: &[u8], now: Instant) {
        self.link.restore_endpoints(signed, list, &mut self.effects);
        self.tick(now);
    }

    /// Answers [`Effect::VerifyEndpoints`]: a trusted key has signed it, and these are the bytes of the list.
    pub fn endpoints_verified(&mut self, list: &[u8], now: Instant) {
        self.link.endpoints_answered(Some(list), &mut self.effects);
        self.tick(now);
    }

    /// Answers [`Effect::VerifyEndpoints`]: no trusted key has signed it.
    pub fn endpoints_forged(&mut self, now: Instant) {
        self.link.endpoints_answered(None, &mut self.effects);
        self.tick(now);
    }

    /// The newest list of endpoints known.
    pub fn endpoints(&self) -> Option<ListStamp> {
        self.link.listed()
    }

    /// A store transaction is durable.
    pub fn stored(&mut self, channel: Channel, ticket: StoreTicket, now: Instant) {
        self.with(channel, now, |replica, cx| replica.stored(ticket, cx));
    }

    /// A store transaction did not happen, none of it.
    pub fn store_failed(&mut self, channel: Channel, ticket: StoreTicket, error: StoreError, now: Instant) {
        self.with(channel, now, |replica, cx| replica.store_failed(ticket, error, cx));
    }

    /// Another tab of this profile stored a delta, or the application brought one. Storing it waits for the next
    /// [`Client::poll_effect`].
    ///
    /// # Errors
    /// [`Error::Missing`] (what comes before it comes with the next sync), [`Error::Update`] if it is no delta to be applied here,
    /// [`Error::NotOpen`].
    pub fn apply_from_tab(&mut self, channel: Channel, delta: &[u8], now: Instant) -> Result<(), Error> {
        let (replica, mut cx) = self.replica_now(channel, now).ok_or(Error::NotOpen)?;
        replica.apply_from_tab(delta, &mut cx).map_err(|error| match error {
            ApplyError::Gap { .. } => Error::Missing,
            error => Error::Update(error.to_string()),
        })
    }

    /// Takes up entries of the outbox that another tab of this profile stored: any tab may push any entry of its principal, and
    /// the one that wrote it may be gone. Entries known here, or of another principal, change nothing.
    ///
    /// # Errors
    /// [`Error::NotOpen`]. A damaged entry is told as [`Effect::StoreFailed`].
    pub fn adopt_outbox(&mut self, channel: Channel, entries: Vec<OutboxEntry>, now: Instant) -> Result<(), Error> {
        let mut entries = entries;
        entries.sort_by_key(|entry| (entry.site, entry.first));
        let adopt = |replica: &mut Replica, cx: &mut Context<'_>| {
            entries.into_iter().for_each(|entry| replica.adopt_entry(entry, cx));
        };
        self.with(channel, now, adopt).ok_or(Error::NotOpen)
    }

    /// Merges an encoded state diff that came by hand (an export, a file). What the server lacks of it is offered at the
    /// next sync.
    ///
    /// # Errors
    /// [`Error::Update`], [`Error::NotOpen`].
    pub fn merge_state(&mut self, channel: Channel, diff: &[u8], now: Instant) -> Result<(), Error> {
        let diff = StateDiff::decode(diff).map_err(|error| Error::Update(error.to_string()))?;
        let merged = self.with(channel, now, |replica, cx| replica.apply_state(&diff, Origin::Restore, cx));
        merged.ok_or(Error::NotOpen)?.map_err(|error| Error::Update(error.to_string()))
    }

    /// For replays and tests: deltas of others that this vector does not cover are kept aside, in their order and without
    /// limit, until a later vector covers them or `None` lifts the hold.
    pub fn hold_remote(&mut self, channel: Channel, hold: Option<VersionVector>, now: Instant) {
        self.with(channel, now, |replica, cx| replica.hold_remote(hold, cx));
    }

    /// Answers [`Effect::TokenNeeded`], or brings a new token unasked. The token that was refused, or none, means stop.
    pub fn provide_token(&mut self, channel: Option<Channel>, token: Option<String>, now: Instant) {
        match channel {
            Some(channel) => {
                self.with(channel, now, |replica, cx| replica.provide_token(token, cx));
            }
            None => {
                let event = self.link.provide_token(token, now);
                self.link_event(event, now);
            }
        }
    }

    /// Sends what was refused again: rights or quotas may have changed.
    pub fn retry_refused(&mut self, channel: Channel, now: Instant) {
        self.with(channel, now, |replica, cx| replica.retry_refused(cx));
    }

    /// Gives up what was refused and takes the server's copy, when it can be reached.
    pub fn discard_refused(&mut self, channel: Channel, now: Instant) {
        self.with(channel, now, |replica, cx| replica.discard_refused(cx));
    }

    /// Does what is due. Calling it at any time is harmless.
    pub fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let busy = self.is_busy();
        let event = self.link.tick(busy, &mut Io { effects: &mut self.effects, now });
        if event.is_some() {
            self.link_event(event, now);
            return;
        }
        let mut cx = Context { link: &mut self.link, effects: &mut self.effects, now };
        for replica in &mut self.replicas {
            if replica.reopen_at.is_some_and(|at| at <= now) && cx.link.is_up() {
                replica.open_channel(&mut cx);
            }
            if replica.give_back_deadline().is_some_and(|at| at <= now) {
                replica.give_back_due(&mut cx);
            }
            if replica.push_deadline().is_some_and(|at| at <= now) {
                replica.push_due(&mut cx);
            }
            replica.growth_due(&mut cx);
            replica.presence_due(&mut cx);
        }
        self.settle(now);
    }

    /// When [`Client::tick`] is to be called next; `None`: not before something else happens.
    pub fn deadline(&self) -> Option<Instant> {
        let up = self.link.is_up();
        let link = if self.replicas.is_empty() { None } else { self.link.deadline(self.is_busy()) };
        self.replicas.iter().filter_map(|replica| replica.deadline(up)).chain(link).min()
    }

    /// The next thing to do. What was edited since the last call is sealed, stored and sent by this one.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if self.effects.is_empty() {
            self.settle(self.now);
        }
        self.effects.pop_front()
    }

    /// Seals, stores, sends and tells whatever is ready.
    fn settle(&mut self, now: Instant) {
        let online = self.link.is_online();
        let mut cx = Context { link: &mut self.link, effects: &mut self.effects, now };
        for replica in &mut self.replicas {
            if replica.seal_due(now) {
                replica.seal(now);
                replica.push_due(&mut cx);
            }
            replica.rebase_ask_due(&mut cx);
            replica.store_due(&mut cx);
            replica.tell(online, &mut cx);
        }
        self.replicas.retain(|replica| {
            let gone = replica.closing && replica.store.is_idle();
            if gone {
                let (code, reason) = (CloseCode::NORMAL, CloseCode::NORMAL.sentence().to_owned());
                cx.effects.push_back(Effect::Closed { channel: replica.handle, code, reason });
            }
            !gone
        });
        let Self { link, effects, .. } = self;
        link.flush(effects, now);
        let info = link.info();
        if info.as_ref().map(place) != self.told.as_ref().map(place) {
            self.told.clone_from(&info);
            effects.push_back(Effect::Link { link: info });
        }
    }

    fn link_event(&mut self, event: Option<LinkEvent>, now: Instant) {
        let mut cx = Context { link: &mut self.link, effects: &mut self.effects, now };
        for replica in &mut self.replicas {
            match &event {
                None => break,
                Some(LinkEvent::Up) => {
                    replica.disconnected();
                    replica.open_channel(&mut cx);
                }
                Some(LinkEvent::Down) => replica.disconnected(),
                Some(LinkEvent::Stopped(code, reason)) => {
                    replica.disconnected();
                    replica.closed = Some(Refusal { code: *code, message: reason.clone() });
                    let (channel, code, reason) = (replica.handle, *code, reason.clone());
                    cx.effects.push_back(Effect::Closed { channel, code, reason });
                }
            }
        }
        self.tick(now);
    }

    fn is_busy(&self) -> bool {
        self.active || self.replicas.iter().any(Replica::is_waiting)
    }

    fn change<T>(
        &mut self,
        channel: Channel,
        now: Instant,
        grows: impl FnOnce(&UndoStack) -> bool,
        change: impl FnOnce(&mut UndoStack, &mut selvedge_engine::Document) -> Result<T, selvedge_engine::EditError>,
    ) -> Result<T, Error> {
        self.now = self.now.max(now);
        let replica = find(&mut self.replicas, channel).filter(|replica| !replica.closing).ok_or(Error::NotOpen)?;
        replica.change(now, grows, change)
    }

    /// A document and what it needs, for a call whose effects wait for the next poll.
    fn replica_now(&mut self, channel: Channel, now: Instant) -> Option<(&mut Replica, Context<'_>)> {
        self.now = self.now.max(now);
        let replica = find(&mut self.replicas, channel)?;
        Some((replica, Context { link: &mut self.link, effects: &mut self.effects, now }))
    }

    fn with<T>(
        &mut self,
        channel: Channel,
        now: Instant,
        act: impl FnOnce(&mut Replica, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let replica = find(&mut self.replicas, channel)?;
        let result = act(replica, &mut Context { link: &mut self.link, effects: &mut self.effects, now });
        self.tick(now);
        Some(result)
    }
}

fn find(replicas: &mut [Replica], channel: Channel) -> Option<&mut Replica> {
    replicas.iter_mut().find(|replica| replica.handle == channel)
}

fn place(info: &LinkInfo) -> (&str, u64) {
    (&info.url, info.session)
}
