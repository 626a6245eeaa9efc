//! What a region reads of a broker, a database and a bucket beside its log, for the fuzz targets: each decoder as it is, and what
//! it read encoded again. Nothing that ships calls these.

use crate::bus::codec;
use crate::control::record::ControlRecord;
use crate::history::{SegmentError, pack, plain_of, runs_of, unpack};
use crate::log::letter;
use crate::ops::keys;
use crate::{BusMessage, DeadLetter, DocumentKey, OpCursor, OpRun, Result, Snapshot};

/// A message of the bus, and its bytes again.
#[must_use]
pub fn bus_message(bytes: &[u8]) -> Option<(BusMessage, Vec<u8>)> {
    codec::decode(bytes).map(|message| {
        let again = codec::encode(&message);
        (message, again)
    })
}

/// The bytes of a message of the bus.
#[must_use]
pub fn bus_bytes(message: &BusMessage) -> Vec<u8> {
    codec::encode(message)
}

/// A record of the control plane, encoded again.
///
/// # Errors
/// What is wrong with it.
pub fn control_record(bytes: &[u8]) -> Result<Vec<u8>> {
    ControlRecord::decode(bytes)?.encode()
}

/// A dead letter, and its bytes again.
///
/// # Errors
/// What is wrong with it.
pub fn dead_letter(bytes: &[u8]) -> Result<(DeadLetter, Vec<u8>)> {
    letter::letter_from(bytes).map(|found| {
        let again = letter::letter_bytes(&found);
        (found, again)
    })
}

/// The runs of a document's segment.
///
/// # Errors
/// What is wrong with it.
pub fn segment(document: &DocumentKey, bytes: &[u8]) -> std::result::Result<Vec<OpRun>, SegmentError> {
    runs_of(document, &unpack(bytes)?)
}

/// The runs in a segment's plain bytes, and these again.
///
/// # Errors
/// What is wrong with them.
pub fn segment_plain(document: &DocumentKey, bytes: &[u8]) -> std::result::Result<(Vec<OpRun>, Vec<u8>), SegmentError> {
    let runs = runs_of(document, bytes)?;
    let again = plain_of(document, &runs)?;
    Ok((runs, again))
}

/// Plain bytes as a segment.
#[must_use]
pub fn segment_packed(plain: &[u8]) -> Vec<u8> {
    pack(plain)
}

/// A snapshot of what a row keeps of it.
///
/// # Errors
/// What is wrong with it.
pub fn snapshot_row(vector: &[u8], bytes: Vec<u8>, checksum: &[u8]) -> Result<Snapshot> {
    crate::snapshots::checked("t/d", vector, None, bytes, checksum)
}

/// The run that a sort key names, and that name again.
#[must_use]
pub fn run_named(sort_key: &str) -> Option<(OpCursor, String)> {
    keys::run_named(sort_key).map(|run| (run, keys::operation_part(&run)))
}

/// The document that a partition key is of, and how all its partition keys begin.
#[must_use]
pub fn document_of(partition_key: &str) -> Option<(DocumentKey, String)> {
    keys::document_of(partition_key).map(|key| {
        let begin = keys::document_part(&key);
        (key, begin)
    })
}

/// The bytes of a dead letter.
#[must_use]
pub fn letter_bytes(letter: &DeadLetter) -> Vec<u8> {
    letter::letter_bytes(letter)
}

/// The plain bytes of a segment.
///
/// # Errors
/// What is wrong with it.
pub fn segment_unpacked(bytes: &[u8]) -> std::result::Result<Vec<u8>, SegmentError> {
    unpack(bytes)
}

/// The sort key of a run.
#[must_use]
pub fn run_name(run: &OpCursor) -> String {
    keys::operation_part(run)
}

/// A partition key of a document.
#[must_use]
pub fn partition_key(document: &DocumentKey, part: u8) -> String {
    keys::part_key(&keys::document_part(document), part)
}
