//! Anchors: places that stay where they were put while the text around them changes.

use crate::codec::delta::{digit_code, digit_of};
use crate::codec::{Reader, Writer};
use crate::error::DecodeError;
use crate::id::{COUNTER_END, Dot};
use crate::limits::PATH_LEVELS_MAX;
use crate::position::{Element, Path};

/// Format version 1 in the high nibble, kind in the low one.
const ANCHOR: u8 = 0x14;

/// Which neighbour an anchor holds on to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Bias {
    /// The character before it: text typed at the anchor comes after it.
    Before,
    /// The character after it: text typed at the anchor comes before it.
    After,
}

/// A place in the text: a character's dot with its path, and a side of it. It still means a place when the character
/// and all around it are deleted, and a replica that never saw the character finds the same one.
///
/// ```
/// use selvedge_engine::{Bias, Document, SiteId};
///
/// let mut document = Document::new();
/// document.begin_writing(SiteId::leased(0, 1), 1)?;
/// document.replace(0, 0, "warp weft")?;
/// let weft = document.anchor_at(5, Bias::After);
/// document.replace(0, 4, "the long warp")?;
/// assert_eq!(document.resolve(&weft), 14);
/// # Ok::<(), selvedge_engine::EditError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Anchor {
    pub(crate) bias: Bias,
    /// The character's path; the root for an end of the document.
    pub(crate) path: Path,
}

impl Anchor {
    /// The side of its character it holds on to.
    pub fn bias(&self) -> Bias {
        self.bias
    }

    /// The character it holds on to; `None` at an end of the document.
    pub fn dot(&self) -> Option<Dot> {
        self.path.elements().last().map(|element| element.dot())
    }

    /// Its canonical bytes: `0x14  bias (0 before, 1 after)  levels { digit site k }*`, digits as in a delta.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.byte(ANCHOR);
        writer.byte(u8::from(self.bias == Bias::After));
        writer.varint(self.path.depth() as u64);
        for (level, element) in self.path.elements().iter().enumerate() {
            writer.varint(digit_code(element.digit, element.dot(), level));
            writer.varint(element.site.get());
            writer.signed(element.k);
        }
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != ANCHOR {
            return Err(DecodeError::Unsupported);
        }
        let bias = match reader.byte()? {
            0 => Bias::Before,
            1 => Bias::After,
            _ => return Err(DecodeError::NotCanonical),
        };
        let depth = reader.count(3)?;
        if depth > PATH_LEVELS_MAX {
            return Err(DecodeError::PathTooLong);
        }
        let mut path = Path::root();
        for level in 0..depth {
            let code = reader.varint()?;
            let (site, k) = (reader.site()?, reader.signed()?);
            if k == 0 || k.unsigned_abs() >= COUNTER_END {
                return Err(DecodeError::Counter);
            }
            let unplaced = Element { digit: crate::position::Digit::new(1), site, k };
            path.push(Element { digit: digit_of(code, unplaced.dot(), level)?, ..unplaced });
        }
        reader.end()?;
        path.validate()?;
        Ok(Self { bias, path })
    }
}
