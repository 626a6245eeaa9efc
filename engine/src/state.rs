//! State diffs.
use crate::error::DecodeError;
use crate::vector::VersionVector;

/// What a peer at `since` lacks of a document's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateDiff {
    since: VersionVector,
    vector: VersionVector,
}

impl StateDiff {
    /// The vector it is for: a receiver must have reached it.
    pub fn since(&self) -> &VersionVector {
        &self.since
    }
    /// The vector it brings.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }
    /// Its canonical bytes.
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
