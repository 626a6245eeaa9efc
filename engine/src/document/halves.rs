//! Edits that split a surrogate pair, or bring half of one: characters are inserted and deleted whole.

use super::{Change, Document};
use crate::error::EditError;
use crate::patch::TextPatch;
use crate::sequence::Unit;

/// UTF-16 unit that stands for a lone surrogate.
const REPLACEMENT: u16 = 0xfffd;

impl Document {
    /// An edit whose text, together with the halves of pairs it leaves, is not well formed: the edit is widened to whole
    /// characters, and each lone half becomes U+FFFD.
    #[cold]
    #[inline(never)]
    pub(super) fn mend(
        &mut self,
        at: usize,
        delete: usize,
        insert: &[u16],
        capture: Option<&mut Change>,
    ) -> Result<Vec<TextPatch>, EditError> {
        if delete == 0 && insert.is_empty() {
            return Ok(Vec::new());
        }
        let end = at + delete;
        let (mut start, mut stop) = (at, end);
        let mut units = Vec::with_capacity(insert.len() + 2);
        if self.splits_pair(at) {
            start = at - 1;
            units.push(self.unit_at(start));
        }
        units.extend_from_slice(insert);
        if self.splits_pair(end) {
            units.push(self.unit_at(end));
            stop = end + 1;
        }
        let text = String::from_utf16_lossy(&units);
        self.edit(start, stop - start, &text, capture)?;
        Ok(echo(start, &units, &text))
    }

    /// Whether any character takes two units.
    pub(super) fn has_pairs(&self) -> bool {
        let whole = self.sequence.measure();
        whole.utf16 != whole.scalars
    }

    /// Whether a position is between the halves of a pair.
    pub(super) fn splits_pair(&mut self, utf16: usize) -> bool {
        self.has_pairs() && self.sequence.seek(utf16).1.utf16 as usize != utf16
    }

    fn unit_at(&self, utf16: usize) -> u16 {
        let before = self.measure_before(Unit::Utf16, utf16);
        let character = self.slice_utf16(utf16..utf16 + 1);
        character.encode_utf16().nth(utf16 - before.utf16 as usize).unwrap_or(REPLACEMENT)
    }
}

/// Patches that turn `units`, which an editor shows from `at` on, into `text`: both have the same length.
fn echo(at: usize, units: &[u16], text: &str) -> Vec<TextPatch> {
    let mut patches: Vec<TextPatch> = Vec::new();
    for (index, (shown, meant)) in units.iter().zip(text.encode_utf16()).enumerate() {
        if *shown == meant {
            continue;
        }
        match patches.last_mut() {
            Some(last) if last.at + last.delete == at + index => {
                last.delete += 1;
                last.insert.push('\u{fffd}');
            }
            _ => patches.push(TextPatch { at: at + index, delete: 1, insert: "\u{fffd}".to_owned() }),
        }
    }
    patches
}
