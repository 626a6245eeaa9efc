//! Undo of a replica's own edits.
use crate::document::Document;
use crate::error::EditError;
use crate::patch::TextPatch;

/// What this replica did and can take back; others' text is never touched.
#[derive(Clone, Debug, Default)]
pub struct UndoStack {}

impl UndoStack {
    /// An empty stack.
    pub fn new() -> Self {
        Self::default()
    }
    /// [`Document::replace`], remembered.
    ///
    /// # Errors
    /// As there.
    pub fn replace(&mut self, document: &mut Document, at: usize, delete: usize, insert: &str) -> Result<Vec<TextPatch>, EditError> {
        document.replace(at, delete, insert)
    }
    /// [`Document::replace_utf16`], remembered.
    ///
    /// # Errors
    /// As there.
    pub fn replace_utf16(&mut self, document: &mut Document, at: usize, delete: usize, insert: &[u16]) -> Result<Vec<TextPatch>, EditError> {
        document.replace_utf16(at, delete, insert)
    }
    /// What comes next is a step of its own.
    pub fn stop_capturing(&mut self) {}
    /// Whether there is something to take back.
    pub fn can_undo(&self) -> bool {
        false
    }
    /// Whether there is something to do again.
    pub fn can_redo(&self) -> bool {
        false
    }
    /// Forgets everything.
    pub fn clear(&mut self) {}
    /// Takes the last step back; the patches are for the editor. Empty if there is none.
    ///
    /// # Errors
    /// As [`Document::replace`].
    pub fn undo(&mut self, _document: &mut Document) -> Result<Vec<TextPatch>, EditError> {
        unimplemented!()
    }
    /// Does the last undone step again.
    ///
    /// # Errors
    /// As [`Document::replace`].
    pub fn redo(&mut self, _document: &mut Document) -> Result<Vec<TextPatch>, EditError> {
        unimplemented!()
    }
}
