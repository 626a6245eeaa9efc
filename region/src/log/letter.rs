//! The bytes of a dead letter in its topic.
//!
//! ```text
//! log id     16 bytes, big-endian: where the record lies
//! partition  4 bytes
//! offset     8 bytes
//! reason     length, 4 bytes; UTF-8
//! record     its bytes, to the end
//! ```

use super::DeadLetter;
use crate::{Error, LogId, Position, Result};

/// The bytes of a letter.
pub(crate) fn letter_bytes(letter: &DeadLetter) -> Vec<u8> {
    let mut out = letter.position.log.0.to_be_bytes().to_vec();
    out.extend(letter.position.partition.to_be_bytes());
    out.extend(letter.position.offset.to_be_bytes());
    out.extend(u32::try_from(letter.reason.len()).unwrap_or(0).to_be_bytes());
    out.extend(letter.reason.as_bytes());
    out.extend(&letter.bytes);
    out
}

/// The letter of these bytes.
///
/// # Errors
/// `Corrupt` when they are none.
pub(crate) fn letter_from(bytes: &[u8]) -> Result<DeadLetter> {
    let read = || {
        let (log, rest) = bytes.split_first_chunk()?;
        let (partition, rest) = rest.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (reason, bytes) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let log = LogId(u128::from_be_bytes(*log));
        let position = Position { log, partition: u32::from_be_bytes(*partition), offset: u64::from_be_bytes(*offset) };
        Some(DeadLetter { position, reason: std::str::from_utf8(reason).ok()?.to_owned(), bytes: bytes.to_vec() })
    };
    read().ok_or_else(|| Error::Corrupt {
        what: "a dead letter".to_owned(),
        detail: "it is not in their form".to_owned(),
    })
}
