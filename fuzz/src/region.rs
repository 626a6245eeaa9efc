//! What a region keeps, on arbitrary bytes. It stands beside the other targets, not among them: the crate of these decoders is
//! built on those of the others, and its own tests replay what is kept.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests may")]

#[path = "allocation.rs"]
mod allocation;

use allocation::Allowance;
use selvedge_region::{LogId, LogRecord, Position};

/// Document, principal and delta are copied once each, and a document's name is looked at in two parts.
const RECORD: Allowance = Allowance { each: 3, base: 256 };

/// A log record has one encoding, keeps its limits, and is one again where it is copied to another log.
pub fn log_record(bytes: &[u8]) {
    let Ok(record) = RECORD.hold(bytes, || LogRecord::decode(bytes)) else { return };
    assert_eq!(record.check(), Ok(()));
    assert_eq!(record.encode(), bytes, "canonical");
    let position = Position { log: LogId(7), partition: 3, offset: u64::MAX };
    let copy = record.clone().copied_from(position);
    assert!(copy.came_from(position.log));
    assert_eq!(copy.first_origin, record.first_origin.or(Some(position)));
    assert_eq!(LogRecord::decode(&copy.encode()), Ok(copy));
}
