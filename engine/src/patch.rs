//! Text patches: what an editor must do to show what the document now says.

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

/// Collects patches, joining neighbours so that the list stays minimal.
#[derive(Default)]
pub(crate) struct PatchList {
    patches: Vec<TextPatch>,
    /// UTF-16 length of the last patch's insert.
    inserted: usize,
}

impl PatchList {
    pub(crate) fn insert(&mut self, at: usize, text: &str, utf16: usize) {
        if let Some(last) = self.patches.last_mut()
            && last.at + self.inserted == at
        {
            last.insert.push_str(text);
            self.inserted += utf16;
            return;
        }
        self.push(TextPatch { at, delete: 0, insert: text.to_owned() });
        self.inserted = utf16;
    }

    pub(crate) fn delete(&mut self, at: usize, utf16: usize) {
        if let Some(last) = self.patches.last_mut()
            && last.insert.is_empty()
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
        self.push(TextPatch { at, delete: utf16, insert: String::new() });
        self.inserted = 0;
    }

    /// `text`, which stood at `at`, is gone, and `put` put it somewhere: nothing to do if that is the same place.
    pub(crate) fn replace_unless_same(&mut self, at: usize, text: &str, utf16: usize, put: Self) {
        if let [patch] = put.patches.as_slice()
            && patch.at == at
            && patch.insert == text
        {
            return;
        }
        self.delete(at, utf16);
        for TextPatch { at, insert, .. } in &put.patches {
            self.insert(*at, insert, insert.encode_utf16().count());
        }
    }

    fn push(&mut self, patch: TextPatch) {
        // A keystroke is one patch: no room for more before there are more.
        if self.patches.is_empty() {
            self.patches.reserve_exact(1);
        }
        self.patches.push(patch);
    }

    pub(crate) fn finish(self) -> Vec<TextPatch> {
        self.patches
    }
}
