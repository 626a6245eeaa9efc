//! Text patches: what an editor must do to show what the document now says.

use smallvec::SmallVec;

/// Replace `delete` UTF-16 units at `at` by `insert`. Patches of one list are applied in order, each to the text the
/// previous one left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TextPatch {
    /// Position in UTF-16 units.
    pub at: usize,
    /// UTF-16 units removed there.
    pub delete: usize,
    /// Text put there.
    pub insert: String,
}

/// A [`TextPatch`] whose text is its list's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patch<'a> {
    /// Position in UTF-16 units.
    pub at: usize,
    /// UTF-16 units removed there.
    pub delete: usize,
    /// Text put there.
    pub insert: &'a str,
}

/// Patches in order, neighbours joined so that the list stays short. Once cleared it is filled again without asking for memory.
///
/// ```
/// use selvedge_engine::{Document, PatchList, SiteId};
///
/// let mut writer = Document::new();
/// writer.begin_writing(SiteId::leased(0, 1), 1)?;
/// let (mut reader, mut patches) = (Document::new(), PatchList::new());
/// for word in ["warp ", "weft "] {
///     writer.replace(0, 0, word)?;
///     let mut bytes = Vec::new();
///     while writer.seal_into(&mut bytes).is_some() {
///         patches.clear();
///         reader.apply_encoded_into(&bytes, &mut patches)?;
///         bytes.clear();
///         assert_eq!(patches.iter().map(|patch| patch.insert).collect::<Vec<_>>(), [word]);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PatchList {
    /// A keystroke is one patch.
    patches: SmallVec<[Entry; 1]>,
    /// What all of them insert.
    text: String,
    /// UTF-16 length of the last patch's insert.
    inserted: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: usize,
    delete: usize,
    /// Where its insert begins in the text; it ends where the next one begins.
    start: usize,
}

impl PatchList {
    /// No patches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the patches and keeps their memory.
    pub fn clear(&mut self) {
        self.patches.clear();
        self.text.clear();
        self.inserted = 0;
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.patches.is_empty()
    }

    /// The patches, in order, each for the text the previous one left.
    pub fn iter(&self) -> impl Iterator<Item = Patch<'_>> + '_ {
        let ends = self.patches.iter().skip(1).map(|next| next.start).chain([self.text.len()]);
        self.patches.iter().zip(ends).map(|(patch, end)| {
            let Entry { at, delete, start } = *patch;
            Patch { at, delete, insert: &self.text[start..end] }
        })
    }

    pub(crate) fn insert(&mut self, at: usize, text: &str, utf16: usize) {
        match self.patches.last() {
            Some(last) if last.at + self.inserted == at => self.inserted += utf16,
            _ => {
                self.push(at, 0);
                self.inserted = utf16;
            }
        }
        self.text.push_str(text);
    }

    pub(crate) fn delete(&mut self, at: usize, utf16: usize) {
        if let Some(last) = self.patches.last_mut()
            && last.start == self.text.len()
        {
            if at == last.at {
                last.delete += utf16;
                return;
            }
            if at + utf16 == last.at {
                last.at = at;
                last.delete += utf16;
                return;
            }
        }
        self.push(at, utf16);
        self.inserted = 0;
    }

    /// `text`, which stood at `at`, is gone, and `put` put it somewhere: nothing to do if that is the same place.
    pub(crate) fn replace_unless_same(&mut self, at: usize, text: &str, utf16: usize, put: Self) {
        let mut patches = put.iter();
        if patches.next().is_some_and(|patch| patch.at == at && patch.insert == text) && patches.next().is_none() {
            return;
        }
        self.delete(at, utf16);
        for Patch { at, insert, .. } in put.iter() {
            self.insert(at, insert, insert.encode_utf16().count());
        }
    }

    fn push(&mut self, at: usize, delete: usize) {
        self.patches.push(Entry { at, delete, start: self.text.len() });
    }

    pub(crate) fn finish(self) -> Vec<TextPatch> {
        if let [Entry { at, delete, .. }] = *self.patches {
            return vec![TextPatch { at, delete, insert: self.text }];
        }
        self.iter().map(|Patch { at, delete, insert }| TextPatch { at, delete, insert: insert.to_owned() }).collect()
    }
}
