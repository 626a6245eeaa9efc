//! Anchors: places that stay where they were put while the text around them changes.
use crate::error::DecodeError;
use crate::position::Path;

/// Which neighbour an anchor holds on to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Bias {
    /// The character before it.
    Before,
    /// The character after it.
    After,
}

/// A place in the text: a character's path, and the side of it.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Anchor {
    pub(crate) bias: Bias,
    pub(crate) path: Path,
}

impl Anchor {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        unimplemented!()
    }
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(_bytes: &[u8]) -> Result<Self, DecodeError> {
        unimplemented!()
    }
}
