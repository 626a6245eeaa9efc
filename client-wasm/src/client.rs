//! The machine, method by method.

use selvedge_engine::{Document, TextPatch};
use selvedge_protocol::client::{self, ClientConfig, Replica, ReplicaConfig, StoreError, StoreTicket};
use selvedge_protocol::{Channel, CloseCode, Endpoint};
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::convert::{channel_number, failure, instant, integer, number, transport};
use crate::reading;
use crate::restored::Restored;
use crate::shell::Shell;
use crate::window;

/// What a call through the window answers when it was refused: `explain` says why.
pub(crate) const REFUSED: i32 = -1;

/// The protocol's client: one connection, many documents by channel.
///
/// What is called for each edit and each update goes through the *window* ([`call_window`](crate::call_window)), so that such a
/// call takes and answers numbers alone.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Client {
    machine: client::Client,
    /// What the last edit, undo or redo owes its editor.
    owed: Vec<TextPatch>,
    /// Why the last call through the window was refused.
    refusal: Option<client::Error>,
}

#[wasm_bindgen]
impl Client {
    /// A client of the relays at `urls`, best first, over `transports`, best first. `seed`: random bits, drawn anew at
    /// each load. `signed`: other relays are learnt from signed lists alone, which the shell verifies.
    #[wasm_bindgen(constructor)]
    pub fn new(
        urls: Vec<String>,
        transports: Vec<String>,
        token: Option<String>,
        seed: u64,
        name: String,
        signed: bool,
        now: f64,
    ) -> Client {
        let transports: Vec<_> = transports.iter().filter_map(|name| transport(name)).collect();
        let endpoints = urls.iter().map(|url| Endpoint::at(url, &transports)).collect();
        let config = ClientConfig { endpoints, signed, transports, token, seed, client: name, online: false };
        Client { machine: client::Client::new(config, instant(now)), owed: Vec::new(), refusal: None }
    }

    /// Opens a document on a new channel. `store`: whether transactions will be executed; `adopt`: whether entries of other
    /// principals in the restored outbox are taken over; `initial_text`: what a document begins with that nobody has written
    /// yet.
    ///
    /// # Errors
    /// A name outside the limits, too many documents, a stored copy that cannot be read, or an initial text over 16 KiB.
    #[allow(clippy::too_many_arguments)] // one call of JavaScript; a struct would have to be built by more of them
    pub fn open(
        &mut self,
        document: &str,
        principal: String,
        site_seed: u64,
        store: bool,
        restored: Option<Restored>,
        adopt: bool,
        initial_text: Option<String>,
        now: f64,
    ) -> Result<f64, JsError> {
        let document = document.parse().map_err(|error| failure("bad-document", error))?;
        let config = ReplicaConfig {
            store,
            restored: restored.map(|restored| restored.0),
            adopt,
            initial_text,
            ..ReplicaConfig::new(document, principal, site_seed)
        };
        let channel = self.machine.open(config, instant(now)).map_err(thrown)?;
        Ok(channel_number(channel))
    }

    /// Closes a document: says bye where it can, and lets the store take everything; then [`Client::is_open`] is false.
    pub fn close(&mut self, channel: f64, now: f64) {
        self.machine.close(self::channel(channel), instant(now));
    }

    /// Whether a channel is there.
    #[wasm_bindgen(js_name = isOpen)]
    pub fn is_open(&self, channel: f64) -> bool {
        self.machine.replica(self::channel(channel)).is_some()
    }

    /// Hands everything the machine wants done to `shell`.
    pub fn drain(&mut self, shell: &Shell) {
        while let Some(effect) = self.machine.poll_effect() {
            shell.tell(effect);
        }
    }

    /// When [`Client::tick`] wants to be called next.
    pub fn deadline(&self) -> Option<f64> {
        self.machine.deadline().map(|at| number(at.0))
    }

    /// Time has passed.
    pub fn tick(&mut self, now: f64) {
        self.machine.tick(instant(now));
    }

    /// Connects, and stays connected.
    #[wasm_bindgen(js_name = goOnline)]
    pub fn go_online(&mut self, now: f64) {
        self.machine.go_online(instant(now));
    }

    /// Disconnects, and stays so.
    #[wasm_bindgen(js_name = goOffline)]
    pub fn go_offline(&mut self, now: f64) {
        self.machine.go_offline(instant(now));
    }

    /// Whether somebody works in the page: pings are frequent only then.
    #[wasm_bindgen(js_name = setActive)]
    pub fn set_active(&mut self, active: bool, now: f64) {
        self.machine.set_active(active, instant(now));
    }

    /// Answers `tokenNeeded`; without a channel for the connection.
    #[wasm_bindgen(js_name = provideToken)]
    pub fn provide_token(&mut self, channel: Option<f64>, token: Option<String>, now: f64) {
        self.machine.provide_token(channel.map(self::channel), token, instant(now));
    }

    /// A connection is open.
    #[wasm_bindgen(js_name = connectOpened)]
    pub fn connect_opened(&mut self, attempt: f64, now: f64) {
        self.machine.connect_opened(integer(attempt), instant(now));
    }

    /// A connection never came to be.
    #[wasm_bindgen(js_name = connectFailed)]
    pub fn connect_failed(&mut self, attempt: f64, now: f64) {
        self.machine.connect_failed(integer(attempt), instant(now));
    }

    /// A message came in.
    pub fn received(&mut self, attempt: f64, bytes: &[u8], now: f64) {
        self.machine.received(integer(attempt), bytes, instant(now));
    }

    /// A connection is over.
    pub fn disconnected(&mut self, attempt: f64, code: u16, reason: &str, now: f64) {
        self.machine.closed(integer(attempt), CloseCode(code), reason, instant(now));
    }

    /// The list of endpoints that was kept by an earlier load and verified again.
    #[wasm_bindgen(js_name = restoreEndpoints)]
    pub fn restore_endpoints(&mut self, signed: String, list: &[u8], now: f64) {
        self.machine.restore_endpoints(signed, list, instant(now));
    }

    /// Answers `verifyEndpoints`: a trusted key has signed `list`.
    #[wasm_bindgen(js_name = endpointsVerified)]
    pub fn endpoints_verified(&mut self, list: &[u8], now: f64) {
        self.machine.endpoints_verified(list, instant(now));
    }

    /// Answers `verifyEndpoints`: no trusted key has.
    #[wasm_bindgen(js_name = endpointsForged)]
    pub fn endpoints_forged(&mut self, now: f64) {
        self.machine.endpoints_forged(instant(now));
    }

    /// A transaction is durable.
    pub fn stored(&mut self, channel: f64, ticket: f64, now: f64) {
        self.machine.stored(self::channel(channel), StoreTicket(integer(ticket)), instant(now));
    }

    /// Nothing was written: another tab stored `state`, which ours lacks part of.
    #[wasm_bindgen(js_name = storeConflict)]
    pub fn store_conflict(&mut self, channel: f64, ticket: f64, state: Vec<u8>, now: f64) {
        self.fail_store(channel, ticket, StoreError::Behind { state }, now);
    }

    /// Nothing was written: `quota` for no room, else a sentence.
    #[wasm_bindgen(js_name = storeFailed)]
    pub fn store_failed(&mut self, channel: f64, ticket: f64, reason: String, now: f64) {
        let error = if reason == "quota" { StoreError::Quota } else { StoreError::Failed(reason) };
        self.fail_store(channel, ticket, error, now);
    }

    /// Why the last call through the window was refused.
    ///
    /// # Errors
    /// That.
    pub fn explain(&mut self) -> Result<(), JsError> {
        self.refusal.take().map_or(Ok(()), |error| Err(thrown(error)))
    }

    /// Applies the delta of `length` bytes in the window: of another tab, or one that the application brought. 1; 0 when one
    /// before it is missing; or -1.
    #[wasm_bindgen(js_name = applyFromTab)]
    pub fn apply_from_tab(&mut self, channel: f64, length: usize, now: f64) -> i32 {
        let applied =
            window::read(length, |delta| self.machine.apply_from_tab(self::channel(channel), delta, instant(now)));
        match applied {
            Ok(()) => 1,
            Err(client::Error::Missing) => 0,
            Err(error) => self.refuse(error),
        }
    }

    /// Whether changes of the text that come from elsewhere are told to the shell.
    pub fn watch(&mut self, channel: f64, watched: bool) {
        self.machine.watch(self::channel(channel), watched);
    }

    /// Takes up entries of the outbox that another tab stored; `entries` carries them, its state is not looked at.
    ///
    /// # Errors
    /// If the document is not open.
    #[wasm_bindgen(js_name = adoptOutbox)]
    pub fn adopt_outbox(&mut self, channel: f64, entries: Restored, now: f64) -> Result<(), JsError> {
        self.machine.adopt_outbox(self::channel(channel), entries.0.outbox, instant(now)).map_err(thrown)
    }

    /// Merges a state diff of another replica.
    ///
    /// # Errors
    /// If the bytes are none, or begin beyond what this replica has.
    #[wasm_bindgen(js_name = applyState)]
    pub fn apply_state(&mut self, channel: f64, diff: &[u8], now: f64) -> Result<(), JsError> {
        self.machine.merge_state(self::channel(channel), diff, instant(now)).map_err(thrown)
    }

    /// Replaces text by the `length` bytes of UTF-8 in the window; how many patches `takePatches` has for the editor, normally
    /// none, or -1. `tracked`: as an undo step.
    pub fn edit(&mut self, channel: f64, at: f64, remove: f64, length: usize, tracked: bool, now: f64) -> i32 {
        let edit = if tracked { client::Client::edit } else { client::Client::edit_untracked };
        let (channel, at, remove) = (self::channel(channel), at as usize, remove as usize);
        let edited = window::read(length, |bytes| {
            // The encoder of JavaScript writes nothing else; a program that does gets what it would write.
            let insert = String::from_utf8_lossy(bytes);
            edit(&mut self.machine, channel, at, remove, &insert, instant(now))
        });
        match edited {
            Ok(owed) => {
                self.owed = owed;
                self.owed.len() as i32
            }
            Err(error) => self.refuse(error),
        }
    }

    /// Seals what was edited until now, and writes the next delta that nobody was told of into the window, where nobody stores: its
    /// length, less than 0 if more of them wait; or 0: there is none.
    pub fn flush(&mut self, channel: f64, now: f64) -> i32 {
        let Some(flushed) = self.machine.flush(self::channel(channel), instant(now)) else { return 0 };
        let length = flushed.delta.len();
        window::write(flushed.delta);
        if flushed.more { -(length as i32) } else { length as i32 }
    }

    /// [`Client::edit`] with text that has lone surrogates.
    ///
    /// # Errors
    /// As there.
    #[wasm_bindgen(js_name = editUtf16)]
    pub fn edit_utf16(
        &mut self,
        channel: f64,
        at: f64,
        remove: f64,
        insert: &[u16],
        tracked: bool,
        now: f64,
    ) -> Result<usize, JsError> {
        let edit = if tracked { client::Client::edit_utf16 } else { client::Client::edit_untracked_utf16 };
        let (channel, at, remove) = (self::channel(channel), at as usize, remove as usize);
        self.owed = edit(&mut self.machine, channel, at, remove, insert, instant(now)).map_err(thrown)?;
        Ok(self.owed.len())
    }

    /// Takes the last step back; returns how many patches `takePatches` has for the editor.
    ///
    /// # Errors
    /// Read-only.
    pub fn undo(&mut self, channel: f64, now: f64) -> Result<usize, JsError> {
        self.owed = self.machine.undo(self::channel(channel), instant(now)).map_err(thrown)?;
        Ok(self.owed.len())
    }

    /// Does the last undone step again.
    ///
    /// # Errors
    /// Read-only.
    pub fn redo(&mut self, channel: f64, now: f64) -> Result<usize, JsError> {
        self.owed = self.machine.redo(self::channel(channel), instant(now)).map_err(thrown)?;
        Ok(self.owed.len())
    }

    /// Tells the patches the last call owes the editor, as `textPatch` calls.
    #[wasm_bindgen(js_name = takePatches)]
    pub fn take_patches(&mut self, shell: &Shell) {
        shell.tell_patches(core::mem::take(&mut self.owed));
    }

    /// What comes next is an undo step of its own.
    #[wasm_bindgen(js_name = stopCapturing)]
    pub fn stop_capturing(&mut self, channel: f64) {
        self.machine.stop_capturing(self::channel(channel));
    }

    /// Forgets what could be undone.
    #[wasm_bindgen(js_name = clearUndo)]
    pub fn clear_undo(&mut self, channel: f64) {
        self.machine.clear_undo(self::channel(channel));
    }

    /// Whether there is something to take back.
    #[wasm_bindgen(js_name = canUndo)]
    pub fn can_undo(&self, channel: f64) -> bool {
        self.find(channel).is_ok_and(Replica::can_undo)
    }

    /// Whether there is something to do again.
    #[wasm_bindgen(js_name = canRedo)]
    pub fn can_redo(&self, channel: f64) -> bool {
        self.find(channel).is_ok_and(Replica::can_redo)
    }

    /// Writes one entry of the `meta` map; without a value removes it.
    ///
    /// # Errors
    /// Read-only, or too large.
    #[wasm_bindgen(js_name = setMeta)]
    pub fn set_meta(&mut self, channel: f64, key: &str, value: Option<Vec<u8>>, now: f64) -> Result<(), JsError> {
        self.machine.set_meta(self::channel(channel), key, value.as_deref(), instant(now)).map_err(thrown)
    }

    /// The value of a key of the `meta` map.
    ///
    /// # Errors
    /// If the document is not open.
    pub fn meta(&self, channel: f64, key: &str) -> Result<Option<Vec<u8>>, JsError> {
        Ok(self.document(channel)?.meta_value(key).map(<[u8]>::to_vec))
    }

    /// The keys of the `meta` map.
    ///
    /// # Errors
    /// If the document is not open.
    #[wasm_bindgen(js_name = metaKeys)]
    pub fn meta_keys(&self, channel: f64) -> Result<Vec<String>, JsError> {
        Ok(reading::meta_keys(self.document(channel)?))
    }

    /// The whole text.
    ///
    /// # Errors
    /// If the document is not open.
    pub fn text(&self, channel: f64) -> Result<String, JsError> {
        Ok(self.document(channel)?.text())
    }

    /// Part of the text; a half character at an end becomes U+FFFD or is left out.
    ///
    /// # Errors
    /// If the document is not open.
    pub fn slice(&self, channel: f64, from: f64, to: f64) -> Result<String, JsError> {
        Ok(self.document(channel)?.slice_utf16(from as usize..to as usize))
    }

    /// Length of the text.
    ///
    /// # Errors
    /// If the document is not open.
    pub fn length(&self, channel: f64) -> Result<f64, JsError> {
        Ok(self.document(channel)?.len_utf16() as f64)
    }

    /// The document's generation; 0 before a server was asked.
    ///
    /// # Errors
    /// If the document is not open.
    pub fn generation(&self, channel: f64) -> Result<f64, JsError> {
        Ok(number(self.find(channel)?.generation()))
    }

    /// The site this load writes as.
    ///
    /// # Errors
    /// If the document is not open.
    pub fn site(&self, channel: f64) -> Result<Option<String>, JsError> {
        Ok(self.find(channel)?.site().map(|site| site.to_string()))
    }

    /// Who wrote the character at a place.
    ///
    /// # Errors
    /// If the document is not open.
    #[wasm_bindgen(js_name = authorAt)]
    pub fn author_at(&self, channel: f64, at: f64) -> Result<Option<String>, JsError> {
        Ok(reading::author_at(self.document(channel)?, at))
    }

    /// A place that survives edits; `after`: it stays with the character on its right.
    ///
    /// # Errors
    /// If the document is not open.
    #[wasm_bindgen(js_name = anchorAt)]
    pub fn anchor_at(&self, channel: f64, at: f64, after: bool) -> Result<Vec<u8>, JsError> {
        Ok(reading::anchor_at(self.document(channel)?, at, after))
    }

    /// Where an anchor is now.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn resolve(&self, channel: f64, anchor: &[u8]) -> Result<f64, JsError> {
        reading::resolve(self.document(channel)?, anchor)
    }

    /// Seals what was edited until now: the vector then ends where a delta does.
    pub fn seal(&mut self, channel: f64, now: f64) {
        self.machine.seal(self::channel(channel), instant(now));
    }

    /// What this replica has seen.
    ///
    /// # Errors
    /// If the document is not open.
    pub fn vector(&self, channel: f64) -> Result<Vec<u8>, JsError> {
        Ok(self.document(channel)?.vector().encode())
    }

    /// Keeps remote deltas that `vector` does not cover aside, until it is raised or taken away.
    ///
    /// # Errors
    /// If the bytes are no vector.
    #[wasm_bindgen(js_name = holdRemote)]
    pub fn hold_remote(&mut self, channel: f64, vector: Option<Vec<u8>>, now: f64) -> Result<(), JsError> {
        let until = vector.map(|bytes| reading::vector(Some(&bytes))).transpose()?;
        self.machine.hold_remote(self::channel(channel), until, instant(now));
        Ok(())
    }

    /// Whether this replica has seen everything `vector` has.
    ///
    /// # Errors
    /// If the bytes are no vector.
    pub fn covers(&self, channel: f64, vector: &[u8]) -> Result<bool, JsError> {
        reading::covers(self.document(channel)?, vector)
    }

    /// What a replica at `since` lacks; without it everything.
    ///
    /// # Errors
    /// If `since` is no vector.
    #[wasm_bindgen(js_name = stateDiff)]
    pub fn state_diff(&self, channel: f64, since: Option<Vec<u8>>) -> Result<Vec<u8>, JsError> {
        reading::state_diff(self.document(channel)?, since.as_deref())
    }

    /// Everything, to be kept: what a document can be opened from.
    ///
    /// # Errors
    /// If the document is not open.
    pub fn snapshot(&self, channel: f64) -> Result<Vec<u8>, JsError> {
        Ok(self.document(channel)?.snapshot())
    }

    /// [`Client::state_diff`], or nothing if a replica at `since` has everything.
    ///
    /// # Errors
    /// As there.
    #[wasm_bindgen(js_name = newsFor)]
    pub fn news_for(&self, channel: f64, since: &[u8]) -> Result<Option<Vec<u8>>, JsError> {
        let since = reading::vector(Some(since))?;
        let document = self.document(channel)?;
        Ok((!since.dominates(document.vector())).then(|| document.state_diff(&since).encode()))
    }

    /// Figures: UTF-16 units, UTF-8 bytes, snapshot bytes, runs, sites, deepest identifier, pending deletes.
    ///
    /// # Errors
    /// If the document is not open.
    pub fn stats(&self, channel: f64) -> Result<Vec<f64>, JsError> {
        Ok(reading::stats(self.document(channel)?))
    }

    /// Number of the latest edit of this load.
    ///
    /// # Errors
    /// If the document is not open.
    pub fn edited(&self, channel: f64, now: f64) -> Result<f64, JsError> {
        Ok(number(self.find(channel)?.saved(instant(now)).edited))
    }

    /// Whether edits are accepted now.
    #[wasm_bindgen(js_name = mayEdit)]
    pub fn may_edit(&self, channel: f64) -> bool {
        self.find(channel).is_ok_and(|replica| replica.may_edit().is_ok())
    }

    /// Pushes again what was refused for good.
    #[wasm_bindgen(js_name = retryRefused)]
    pub fn retry_refused(&mut self, channel: f64, now: f64) {
        self.machine.retry_refused(self::channel(channel), instant(now));
    }

    /// Gives up what was refused for good.
    #[wasm_bindgen(js_name = discardRefused)]
    pub fn discard_refused(&mut self, channel: f64, now: f64) {
        self.machine.discard_refused(self::channel(channel), instant(now));
    }

    /// This session's presence; without data it leaves.
    ///
    /// # Errors
    /// More than 1 KiB.
    #[wasm_bindgen(js_name = setPresence)]
    pub fn set_presence(&mut self, channel: f64, data: Option<Vec<u8>>, now: f64) -> Result<(), JsError> {
        self.machine.set_presence(self::channel(channel), data, instant(now)).map_err(thrown)
    }

    fn refuse(&mut self, error: client::Error) -> i32 {
        self.refusal = Some(error);
        REFUSED
    }

    fn find(&self, channel: f64) -> Result<&Replica, JsError> {
        self.machine.replica(self::channel(channel)).ok_or_else(|| thrown(client::Error::NotOpen))
    }

    fn document(&self, channel: f64) -> Result<&Document, JsError> {
        self.find(channel).map(Replica::document)
    }

    fn fail_store(&mut self, channel: f64, ticket: f64, error: StoreError, now: f64) {
        self.machine.store_failed(self::channel(channel), StoreTicket(integer(ticket)), error, instant(now));
    }
}

fn channel(number: f64) -> Channel {
    Channel(number as u32)
}

pub(crate) fn thrown(error: client::Error) -> JsError {
    failure(error.code(), error)
}
