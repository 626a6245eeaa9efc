//! Undo of a replica's own edits.
//!
//! Taking an insert back deletes what is still alive of it. Taking a delete back inserts the text with new dots at the
//! deleted characters' paths: no deleted character returns, and others, who may have deleted it too or written beside
//! it, see a plain insert. Others' text is never touched.

mod origins;

use std::collections::VecDeque;

use crate::document::{Change, Document, Reverted};
use crate::error::EditError;
use crate::patch::TextPatch;
use origins::Origins;

/// Steps kept; older ones are forgotten.
const STEPS_MAX: usize = 1000;

/// What this replica did and can take back. Edits go through it to be remembered; consecutive ones are one step until
/// [`stop_capturing`](Self::stop_capturing): the caller owns the clock.
///
/// ```
/// use selvedge_engine::{Document, SiteId, undo::UndoStack};
///
/// let mut document = Document::new();
/// document.begin_writing(SiteId::leased(0, 1), 1)?;
/// let mut undo = UndoStack::new();
/// undo.replace(&mut document, 0, 0, "woven")?;
/// undo.stop_capturing();
/// undo.replace(&mut document, 0, 5, "")?;
/// undo.undo(&mut document)?;
/// assert_eq!(document.text(), "woven");
/// undo.undo(&mut document)?;
/// assert_eq!(document.text(), "");
/// undo.redo(&mut document)?;
/// assert_eq!(document.text(), "woven");
/// # Ok::<(), selvedge_engine::EditError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct UndoStack {
    done: VecDeque<Change>,
    undone: VecDeque<Change>,
    /// Whether the next edit belongs to the last step.
    capturing: bool,
    origins: Origins,
}

impl UndoStack {
    /// An empty stack.
    pub fn new() -> Self {
        Self::default()
    }

    /// [`Document::replace`], remembered.
    ///
    /// # Errors
    /// As there; then nothing is remembered.
    pub fn replace(
        &mut self,
        document: &mut Document,
        at: usize,
        delete: usize,
        insert: &str,
    ) -> Result<Vec<TextPatch>, EditError> {
        if delete == 0 && insert.is_empty() {
            return document.replace(at, delete, insert);
        }
        self.capture(|change| document.replace_captured(at, delete, insert, Some(change)))
    }

    /// [`Document::replace_utf16`], remembered.
    ///
    /// # Errors
    /// As there; then nothing is remembered.
    pub fn replace_utf16(
        &mut self,
        document: &mut Document,
        at: usize,
        delete: usize,
        insert: &[u16],
    ) -> Result<Vec<TextPatch>, EditError> {
        if delete == 0 && insert.is_empty() {
            return document.replace_utf16(at, delete, insert);
        }
        self.capture(|change| document.replace_utf16_captured(at, delete, insert, Some(change)))
    }

    fn capture<T>(&mut self, edit: impl FnOnce(&mut Change) -> Result<T, EditError>) -> Result<T, EditError> {
        let mut change = if self.capturing { self.done.pop_back() } else { None }.unwrap_or_default();
        let removed = change.removed.len();
        let result = edit(&mut change);
        self.originate(&mut change, removed);
        if result.is_ok() {
            self.undone.clear();
            // A step that came to nothing is none, and the next edit must not join the one before it.
            self.capturing = !change.is_empty();
        }
        if !change.is_empty() {
            push(&mut self.done, change);
        }
        result
    }

    /// What comes next is a step of its own.
    pub fn stop_capturing(&mut self) {
        self.capturing = false;
    }

    /// Whether there is something to take back.
    pub fn can_undo(&self) -> bool {
        !self.done.is_empty()
    }

    /// Whether there is something to do again.
    pub fn can_redo(&self) -> bool {
        !self.undone.is_empty()
    }

    /// Whether [`undo`](Self::undo) would bring text back, and not only take some away.
    pub fn undo_inserts(&self) -> bool {
        self.done.back().is_some_and(|change| !change.removed.is_empty())
    }

    /// Whether [`redo`](Self::redo) would bring text back, and not only take some away.
    pub fn redo_inserts(&self) -> bool {
        self.undone.back().is_some_and(|change| !change.removed.is_empty())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes the last step back; the patches are for the editor, none if there is no step.
    ///
    /// # Errors
    /// As [`Document::replace`]; then the step is still there.
    pub fn undo(&mut self, document: &mut Document) -> Result<Vec<TextPatch>, EditError> {
        self.capturing = false;
        let Some(change) = self.done.back() else { return Ok(Vec::new()) };
        let reverted = document.revert(change)?;
        self.done.pop_back();
        let (inverse, patches) = self.settle(reverted);
        push(&mut self.undone, inverse);
        Ok(patches)
    }

    /// Does the last undone step again.
    ///
    /// # Errors
    /// As [`Document::replace`]; then the step is still there.
    pub fn redo(&mut self, document: &mut Document) -> Result<Vec<TextPatch>, EditError> {
        self.capturing = false;
        let Some(change) = self.undone.back() else { return Ok(Vec::new()) };
        let reverted = document.revert(change)?;
        self.undone.pop_back();
        let (inverse, patches) = self.settle(reverted);
        push(&mut self.done, inverse);
        Ok(patches)
    }

    /// Removed text is remembered by its first paths: that of the runs from the `from`-th on, as others are already.
    fn originate(&self, change: &mut Change, from: usize) {
        let removed = change.removed.split_off(from);
        change.removed.extend(removed.into_iter().flat_map(|run| self.origins.original(run)));
    }

    /// Other steps mean characters that came back under new dots: from now on by those.
    fn settle(&mut self, reverted: Reverted) -> (Change, Vec<TextPatch>) {
        let Reverted { patches, mut inverse, renamed } = reverted;
        self.originate(&mut inverse, 0);
        for change in self.done.iter_mut().chain(&mut self.undone).chain([&mut inverse]) {
            for part in renamed.iter() {
                part.rename_all(&mut change.inserted);
            }
            for run in &mut change.removed {
                run.left = run.left.map(|dot| renamed.now(dot));
                run.right = run.right.map(|dot| renamed.now(dot));
            }
        }
        renamed.into_parts().for_each(|part| self.origins.register(part));
        (inverse, patches)
    }
}

fn push(steps: &mut VecDeque<Change>, change: Change) {
    if steps.len() == STEPS_MAX {
        steps.pop_front();
    }
    steps.push_back(change);
}
