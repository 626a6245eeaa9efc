//! What the native client reads of its files, on arbitrary bytes. The codec is a module of the client that stands on nothing but the
//! protocol, and is built here by itself; the client's own tests replay what is kept.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests may")]

#[path = "allocation.rs"]
mod allocation;
#[path = "../../client/src/store/codec.rs"]
mod codec;

use allocation::Allowance;
use codec::{Next, decode, encode};
use sha2::{Digest, Sha256};

/// A frame of 52 bytes is 112 in memory, in a vector that grows by doubling; bytes and names are copied.
const RECORD: Allowance = Allowance { each: 8, base: 1024 };

/// The payload of a record, whose length and checksum are put before it: it has one encoding in its version, and the record is
/// told from one that is torn or damaged.
pub fn outbox_record(payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap();
    let hash = Sha256::digest(payload);
    let record = [&length.to_le_bytes(), &(!length).to_le_bytes(), &hash[..], payload].concat();
    let next = RECORD.hold(&record, || decode(&record));
    assert_ne!(next, Next::Torn, "its checksum fits");
    assert_eq!(decode(&record[..record.len() - 1]), Next::Torn);
    if let Next::Record(transaction, taken) = next {
        assert_eq!(taken, record.len());
        let again = encode(&transaction);
        match payload[0] {
            1 => assert!(transaction.put_frames.is_empty() && transaction.delete_frames.is_empty()),
            _ => assert_eq!(again, record, "one encoding"),
        }
        assert_eq!(decode(&again), Next::Record(transaction, again.len()));
    }
    // A file begins with anything.
    if !payload.is_empty() {
        let _ = RECORD.hold(payload, || decode(payload));
    }
}
