//! A document without a client: the application alone carries its updates.

use selvedge_engine::undo::UndoStack;
use selvedge_engine::{
    ApplyError, DecodeError, Document, EditError, OpenedSnapshot, PatchList, SiteId, StateDiff, TextPatch,
};
use selvedge_protocol::client;
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::client::{REFUSED, thrown};
use crate::reading;
use crate::shell::Shell;
use crate::window;

/// What [`Standalone::apply`] answers.
const MISSING: i32 = 0;
const APPLIED: i32 = 1;
const APPLIED_META: i32 = 2;

/// A document and its steps of undo. What is called for each edit and each update goes through the *window*, as with
/// [`Client`](crate::Client).
///
/// Of a snapshot the text is there at once. Anything else may be called when [`Standalone::read`] has read the rest.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Standalone {
    /// Empty while a snapshot waits.
    document: Document,
    /// The snapshot that waits to be read.
    waiting: Option<OpenedSnapshot>,
    site: SiteId,
    undo: UndoStack,
    /// What the last update changed, for who watches.
    changed: PatchList,
    /// What the last edit, undo, redo or state changed that nobody was told of.
    owed: Vec<TextPatch>,
    /// Room for the bytes of what is sealed.
    sealing: Vec<u8>,
    /// Why the last call through the window was refused.
    refusal: Option<client::Error>,
}

#[wasm_bindgen]
impl Standalone {
    /// A document as `snapshot` has it, without one empty, written under a random site. `seed`: random bits, never twice the same.
    ///
    /// # Errors
    /// What is wrong with the snapshot, as far as the text and all that is not runs goes.
    #[wasm_bindgen(constructor)]
    pub fn new(seed: u64, snapshot: Option<Vec<u8>>) -> Result<Standalone, JsError> {
        let site = SiteId::random(seed);
        let waiting = snapshot.map(|bytes| OpenedSnapshot::open(&bytes)).transpose().map_err(unreadable_copy)?;
        let mut document = Document::new();
        if waiting.is_none() {
            document.begin_writing(site, 1).map_err(refused)?;
        }
        Ok(Standalone {
            document,
            waiting,
            site,
            undo: UndoStack::new(),
            changed: PatchList::new(),
            owed: Vec::new(),
            sealing: Vec::new(),
            refusal: None,
        })
    }

    /// Reads what waits of a snapshot.
    ///
    /// # Errors
    /// What is wrong with its runs: then it goes on waiting, and its text is there.
    pub fn read(&mut self) -> Result<(), JsError> {
        let Some(snapshot) = self.waiting.take() else { return Ok(()) };
        match snapshot.into_document() {
            Ok(mut document) => {
                // A site that was drawn before is refused: the text is there all the same, and edits are refused with it.
                let begun = document.begin_writing(self.site, 1);
                self.document = document;
                begun.map_err(refused)
            }
            Err((snapshot, error)) => {
                self.waiting = Some(snapshot);
                Err(unreadable_copy(error))
            }
        }
    }

    /// Replaces text by the `length` bytes of UTF-8 in the window; how many patches `takePatches` has for the editor, normally
    /// none, or -1. `tracked`: as an undo step.
    pub fn edit(&mut self, at: f64, remove: f64, length: usize, tracked: bool) -> i32 {
        let (at, remove) = (at as usize, remove as usize);
        let Self { document, undo, .. } = self;
        let edited = window::read(length, |bytes| {
            let insert = String::from_utf8_lossy(bytes);
            if tracked { undo.replace(document, at, remove, &insert) } else { document.replace(at, remove, &insert) }
        });
        match edited {
            Ok(owed) => {
                self.owed = owed;
                self.owed.len() as i32
            }
            Err(error) => self.refuse(error.into()),
        }
    }

    /// [`Standalone::edit`] with text that has lone surrogates.
    ///
    /// # Errors
    /// As there.
    #[wasm_bindgen(js_name = editUtf16)]
    pub fn edit_utf16(&mut self, at: f64, remove: f64, insert: &[u16], tracked: bool) -> Result<usize, JsError> {
        let (at, remove) = (at as usize, remove as usize);
        let edited = if tracked {
            self.undo.replace_utf16(&mut self.document, at, remove, insert)
        } else {
            self.document.replace_utf16(at, remove, insert)
        };
        self.owes(edited)
    }

    /// Seals what was edited until now, and writes the next delta of it into the window: its length, less than 0 if more of them
    /// wait; or 0: there is none.
    pub fn flush(&mut self) -> i32 {
        self.sealing.clear();
        if self.document.seal_into(&mut self.sealing).is_none() {
            return 0;
        }
        window::write(&self.sealing);
        let length = self.sealing.len() as i32;
        if self.document.has_unsealed() { -length } else { length }
    }

    /// Applies the delta of `length` bytes in the window: 0 when one before it is missing; 1; 2 when it changed the `meta` map;
    /// or -1. What it changes of the text is kept for `takeChanges`.
    pub fn apply(&mut self, length: usize) -> i32 {
        let meta = self.document.meta_changes();
        let Self { document, changed, .. } = self;
        changed.clear();
        match window::read(length, |delta| document.apply_encoded_into(delta, changed)) {
            Ok(_) if meta == document.meta_changes() => APPLIED,
            Ok(_) => APPLIED_META,
            Err(ApplyError::Gap { .. }) => MISSING,
            Err(error) => self.refuse(client::Error::Update(error.to_string())),
        }
    }

    /// Why the last call through the window was refused.
    ///
    /// # Errors
    /// That.
    pub fn explain(&mut self) -> Result<(), JsError> {
        self.refusal.take().map_or(Ok(()), |error| Err(thrown(error)))
    }

    /// Merges a state diff of another replica; whether the `meta` map changed. `watched`: what it changes of the text is kept for
    /// `takePatches`.
    ///
    /// # Errors
    /// If the bytes are none, or begin beyond what this replica has.
    #[wasm_bindgen(js_name = applyState)]
    pub fn apply_state(&mut self, diff: &[u8], watched: bool) -> Result<bool, JsError> {
        let diff = StateDiff::decode(diff).map_err(|error| unreadable(error.to_string()))?;
        let meta = self.document.meta_changes();
        let patches = self.document.apply_state(&diff).map_err(|error| unreadable(error.to_string()))?;
        self.owed = if watched { patches } else { Vec::new() };
        Ok(meta != self.document.meta_changes())
    }

    /// Tells the patches of the last edit, undo, redo or state, as `textPatch` calls.
    #[wasm_bindgen(js_name = takePatches)]
    pub fn take_patches(&mut self, shell: &Shell) {
        shell.tell_patches(core::mem::take(&mut self.owed));
    }

    /// Tells what the last update changed, in the same way.
    #[wasm_bindgen(js_name = takeChanges)]
    pub fn take_changes(&mut self, shell: &Shell) {
        shell.tell_changes(&self.changed);
        self.changed.clear();
    }

    /// Takes the last step back; returns how many patches `takePatches` has for the editor.
    ///
    /// # Errors
    /// The engine's, for who has written more than a site can.
    pub fn undo(&mut self) -> Result<usize, JsError> {
        let undone = self.undo.undo(&mut self.document);
        self.owes(undone)
    }

    /// Does the last undone step again.
    ///
    /// # Errors
    /// As [`undo`](Self::undo).
    pub fn redo(&mut self) -> Result<usize, JsError> {
        let redone = self.undo.redo(&mut self.document);
        self.owes(redone)
    }

    /// What comes next is an undo step of its own.
    #[wasm_bindgen(js_name = stopCapturing)]
    pub fn stop_capturing(&mut self) {
        self.undo.stop_capturing();
    }

    /// Forgets what could be undone.
    #[wasm_bindgen(js_name = clearUndo)]
    pub fn clear_undo(&mut self) {
        self.undo.clear();
    }

    /// Whether there is something to take back.
    #[wasm_bindgen(js_name = canUndo)]
    pub fn can_undo(&self) -> bool {
        self.undo.can_undo()
    }

    /// Whether there is something to do again.
    #[wasm_bindgen(js_name = canRedo)]
    pub fn can_redo(&self) -> bool {
        self.undo.can_redo()
    }

    /// Writes one entry of the `meta` map; without a value removes it.
    ///
    /// # Errors
    /// Too large.
    #[wasm_bindgen(js_name = setMeta)]
    pub fn set_meta(&mut self, key: &str, value: Option<Vec<u8>>) -> Result<(), JsError> {
        self.document.set_meta(key, value.as_deref()).map_err(refused)
    }

    /// The value of a key of the `meta` map.
    pub fn meta(&self, key: &str) -> Option<Vec<u8>> {
        self.document.meta_value(key).map(<[u8]>::to_vec)
    }

    /// The keys of the `meta` map.
    #[wasm_bindgen(js_name = metaKeys)]
    pub fn meta_keys(&self) -> Vec<String> {
        reading::meta_keys(&self.document)
    }

    /// The whole text, also of a snapshot that waits.
    pub fn text(&self) -> String {
        match &self.waiting {
            Some(snapshot) => snapshot.text().to_owned(),
            None => self.document.text(),
        }
    }

    /// Part of the text; a half character at an end becomes U+FFFD or is left out.
    pub fn slice(&self, from: f64, to: f64) -> String {
        self.document.slice_utf16(from as usize..to as usize)
    }

    /// Length of the text.
    pub fn length(&self) -> f64 {
        self.document.len_utf16() as f64
    }

    /// The site this document writes as.
    pub fn site(&self) -> Option<String> {
        self.document.site().map(|site| site.to_string())
    }

    /// Who wrote the character at a place.
    #[wasm_bindgen(js_name = authorAt)]
    pub fn author_at(&self, at: f64) -> Option<String> {
        reading::author_at(&self.document, at)
    }

    /// A place that survives edits; `after`: it stays with the character on its right.
    #[wasm_bindgen(js_name = anchorAt)]
    pub fn anchor_at(&self, at: f64, after: bool) -> Vec<u8> {
        reading::anchor_at(&self.document, at, after)
    }

    /// Where an anchor is now.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn resolve(&self, anchor: &[u8]) -> Result<f64, JsError> {
        reading::resolve(&self.document, anchor)
    }

    /// What this replica has seen.
    pub fn vector(&self) -> Vec<u8> {
        self.document.vector().encode()
    }

    /// Whether this replica has seen everything `vector` has.
    ///
    /// # Errors
    /// If the bytes are no vector.
    pub fn covers(&self, vector: &[u8]) -> Result<bool, JsError> {
        reading::covers(&self.document, vector)
    }

    /// What a replica at `since` lacks; without it everything.
    ///
    /// # Errors
    /// If `since` is no vector.
    #[wasm_bindgen(js_name = stateDiff)]
    pub fn state_diff(&self, since: Option<Vec<u8>>) -> Result<Vec<u8>, JsError> {
        reading::state_diff(&self.document, since.as_deref())
    }

    /// Everything, to be kept: what a document can be opened from.
    pub fn snapshot(&self) -> Vec<u8> {
        self.document.snapshot()
    }

    /// Figures, as [`Client::stats`](crate::Client::stats).
    pub fn stats(&self) -> Vec<f64> {
        reading::stats(&self.document)
    }

    fn owes(&mut self, edited: Result<Vec<TextPatch>, EditError>) -> Result<usize, JsError> {
        self.owed = edited.map_err(refused)?;
        Ok(self.owed.len())
    }

    fn refuse(&mut self, error: client::Error) -> i32 {
        self.refusal = Some(error);
        REFUSED
    }
}

fn refused(error: EditError) -> JsError {
    thrown(error.into())
}

fn unreadable_copy(error: DecodeError) -> JsError {
    thrown(client::Error::Stored(error.to_string()))
}

fn unreadable(error: String) -> JsError {
    thrown(client::Error::Update(error))
}
