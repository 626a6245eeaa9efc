//! A snapshot that is shown before it is edited.

use crate::codec::state::{self as codec, Opened};
use crate::document::Document;
use crate::error::DecodeError;
use crate::vector::VersionVector;

/// A snapshot whose text is there, while its runs wait until a document is needed. Reading them is most of a load where text was
/// written in many places; who shows, searches or counts a text never needs them.
///
/// Opening finds damage by the checksum, and reads everything but the runs. Where runs, or what rebases say of them, are nothing an
/// engine writes, [`into_document`](Self::into_document) finds it.
///
/// ```
/// use selvedge_engine::{Document, OpenedSnapshot, SiteId};
///
/// let mut document = Document::new();
/// document.begin_writing(SiteId::leased(0, 1), 1)?;
/// document.replace(0, 0, "salvage")?;
/// document.replace(1, 1, "e")?;
/// let opened = OpenedSnapshot::open(&document.snapshot())?;
/// assert_eq!(opened.text(), "selvage");
/// assert_eq!(opened.into_document().map_err(|(_, error)| error)?.vector(), document.vector());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct OpenedSnapshot(Box<Opened<'static>>);

impl OpenedSnapshot {
    /// Opens a snapshot: O(b + s), b = bytes, s = sites.
    ///
    /// # Errors
    /// What is wrong with the bytes; runs are not looked at.
    pub fn open(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::open_snapshot(bytes).map(|opened| Self(Box::new(opened.into_owned())))
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.0.state.text
    }

    /// What it covers.
    pub fn vector(&self) -> &VersionVector {
        &self.0.state.vector
    }

    /// The document, as [`Document::load`] gives it: O(n log n), n = runs.
    ///
    /// # Errors
    /// What is wrong with the runs, and the snapshot back, whose text is as good as it was.
    pub fn into_document(mut self) -> Result<Document, (Self, DecodeError)> {
        match self.0.finish() {
            Ok(state) => Ok(Document::of_state(state)),
            Err(error) => Err((self, error)),
        }
    }
}
