//! The log record: one sealed delta with everything a region, its peer and an audit need to know about it.
//!
//! Bytes, version 1 (all integers are minimal LEB128 varints of at most 10 bytes unless a width is given):
//!
//! ```text
//! version       1 byte   = 1
//! flags         1 byte   bit 0 trace, bit 1 origin present, bit 2 first origin present; others are 0
//! generation    varint   generation of the document
//! epoch         varint   epoch of the decision that let the delta in
//! key id        varint   0 = the delta is clear
//! origin        16 bytes big-endian log id, varint partition, varint offset       if bit 1
//! first origin  the same                                                          if bit 2
//! document      varint length (1..=193), UTF-8 `tenant/name`
//! principal     varint length (0..=256), UTF-8
//! payload hash  32 bytes SHA-256 of the clear durable delta
//! delta         varint length (1..=65,536), bytes
//! ```
//!
//! The encoding is canonical: equal records are equal bytes, and the decoder refuses every other form.

use sha2::{Digest, Sha256};

use crate::bytes::{Damage, Input, put_bytes, put_varint};
use crate::{DocumentId, LogId, Position};

/// The version written by this code.
pub const RECORD_VERSION: u8 = 1;
/// Longest principal, in bytes.
pub const PRINCIPAL_BYTES_MAX: usize = 256;
/// Longest delta in a record: a sealed delta (32 KiB) with room for an encryption header.
pub const RECORD_DELTA_BYTES_MAX: usize = 64 * 1024;

/// Longest document id, in bytes.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 64 + 1 + 128;
const FLAG_TRACE: u8 = 1;
const FLAG_ORIGIN: u8 = 2;
const FLAG_FIRST_ORIGIN: u8 = 4;

/// One delta as a region's log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The document's generation.
    pub generation: u64,
    /// The last hop: position in the log this record was copied from. `None`: it was written here.
    pub origin: Option<Position>,
    /// Position in the log the delta entered first, kept for the audit. `None`: it entered here.
    pub first_origin: Option<Position>,
    /// The document.
    pub document: DocumentId,
    /// Who wrote the delta, as authenticated at the relay.
    pub principal: String,
    /// The control plane's epoch under which the delta was accepted.
    pub epoch: u64,
    /// The key the delta is encrypted with; 0 = clear.
    pub key_id: u64,
    /// Whether this record's way is traced.
    pub trace: bool,
    /// SHA-256 of the clear durable delta.
    pub payload_hash: [u8; 32],
    /// The durable delta; encrypted unless `key_id` is 0.
    pub delta: Vec<u8>,
}

/// Why bytes are no log record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes end before the record does.
    #[error("the record ends early, in its {0}")]
    Incomplete(&'static str),
    /// A newer version than this code reads.
    #[error("record version {0} is not known here: this program reads version {RECORD_VERSION}")]
    Version(u8),
    /// A field breaks its rule.
    #[error("the record's {0} is malformed")]
    Malformed(&'static str),
    /// The delta is not the one whose hash the record carries.
    #[error("the record's payload hash does not match its delta")]
    Hash,
}

impl From<Damage> for RecordError {
    fn from(damage: Damage) -> Self {
        match damage {
            Damage::Incomplete(field) => Self::Incomplete(field),
            Damage::Malformed(field) => Self::Malformed(field),
        }
    }
}

impl LogRecord {
    /// A record of a clear delta written here, in epoch 0.
    #[must_use]
    pub fn new(document: DocumentId, generation: u64, principal: String, delta: Vec<u8>) -> Self {
        let payload_hash = Sha256::digest(&delta).into();
        Self {
            generation,
            origin: None,
            first_origin: None,
            document,
            principal,
            epoch: 0,
            key_id: 0,
            trace: false,
            payload_hash,
            delta,
        }
    }

    /// The same record as a copy of the one at `position` of another log: the last hop is that log, the first origin stays.
    #[must_use]
    pub fn copied_from(mut self, position: Position) -> Self {
        self.first_origin = self.first_origin.or(Some(position));
        self.origin = Some(position);
        self
    }

    /// Whether the delta came from `log` in its last hop, so that it need not be sent back there.
    #[must_use]
    pub fn came_from(&self, log: LogId) -> bool {
        self.origin.is_some_and(|origin| origin.log == log)
    }

    /// The bytes a log keeps. The caller keeps the limits ([`LogRecord::check`]).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let document = self.document.as_str();
        let mut out = Vec::with_capacity(128 + document.len() + self.principal.len() + self.delta.len());
        let flags = u8::from(self.trace) * FLAG_TRACE
            + u8::from(self.origin.is_some()) * FLAG_ORIGIN
            + u8::from(self.first_origin.is_some()) * FLAG_FIRST_ORIGIN;
        out.extend([RECORD_VERSION, flags]);
        put_varint(&mut out, self.generation);
        put_varint(&mut out, self.epoch);
        put_varint(&mut out, self.key_id);
        for origin in [self.origin, self.first_origin].into_iter().flatten() {
            out.extend(origin.log.0.to_be_bytes());
            put_varint(&mut out, u64::from(origin.partition));
            put_varint(&mut out, origin.offset);
        }
        put_bytes(&mut out, document.as_bytes());
        put_bytes(&mut out, self.principal.as_bytes());
        out.extend(self.payload_hash);
        put_bytes(&mut out, &self.delta);
        out
    }

    /// Whether the record keeps the limits of its format.
    ///
    /// # Errors
    /// [`RecordError::Malformed`] names the field.
    pub fn check(&self) -> Result<(), RecordError> {
        if self.principal.len() > PRINCIPAL_BYTES_MAX {
            return Err(RecordError::Malformed("principal"));
        }
        if self.delta.is_empty() || self.delta.len() > RECORD_DELTA_BYTES_MAX {
            return Err(RecordError::Malformed("delta"));
        }
        for origin in [self.origin, self.first_origin].into_iter().flatten() {
            if origin.log.0 == 0 {
                return Err(RecordError::Malformed("origin"));
            }
        }
        self.check_hash()
    }

    /// Reads a record back. Never reads or allocates past `bytes`.
    ///
    /// # Errors
    /// Every other byte string than the one [`LogRecord::encode`] gives is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut input = Input::new(bytes);
        match input.byte("version")? {
            RECORD_VERSION => {}
            other => return Err(RecordError::Version(other)),
        }
        let flags = input.byte("flags")?;
        if flags & !(FLAG_TRACE | FLAG_ORIGIN | FLAG_FIRST_ORIGIN) != 0 {
            return Err(RecordError::Malformed("flags"));
        }
        let generation = input.varint("generation")?;
        let epoch = input.varint("epoch")?;
        let key_id = input.varint("key id")?;
        let origin = (flags & FLAG_ORIGIN != 0).then(|| position(&mut input, "origin")).transpose()?;
        let first_origin =
            (flags & FLAG_FIRST_ORIGIN != 0).then(|| position(&mut input, "first origin")).transpose()?;
        let document = document_from(input.text(DOCUMENT_BYTES_MAX, "document")?)?;
        let principal = input.text(PRINCIPAL_BYTES_MAX, "principal")?.to_owned();
        let payload_hash = input.array("payload hash")?;
        let delta = input.sized(RECORD_DELTA_BYTES_MAX, "delta")?.to_vec();
        if delta.is_empty() || !input.is_empty() {
            return Err(RecordError::Malformed("delta"));
        }
        let record = Self {
            generation,
            origin,
            first_origin,
            document,
            principal,
            epoch,
            key_id,
            trace: flags & FLAG_TRACE != 0,
            payload_hash,
            delta,
        };
        record.check_hash()?;
        Ok(record)
    }

    fn check_hash(&self) -> Result<(), RecordError> {
        let clear = self.key_id == 0;
        if clear && self.payload_hash != <[u8; 32]>::from(Sha256::digest(&self.delta)) {
            return Err(RecordError::Hash);
        }
        Ok(())
    }
}

/// A whole `tenant/name`; a bare name is not canonical.
fn document_from(text: &str) -> Result<DocumentId, RecordError> {
    let document: DocumentId = text.parse().map_err(|_| RecordError::Malformed("document"))?;
    if document.as_str() == text { Ok(document) } else { Err(RecordError::Malformed("document")) }
}

fn position(input: &mut Input<'_>, field: &'static str) -> Result<Position, RecordError> {
    let log = LogId(u128::from_be_bytes(input.array(field)?));
    let partition = u32::try_from(input.varint(field)?).map_err(|_| RecordError::Malformed(field))?;
    let position = Position { log, partition, offset: input.varint(field)? };
    if log.0 == 0 { Err(RecordError::Malformed(field)) } else { Ok(position) }
}
