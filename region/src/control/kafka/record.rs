//! What the topic `control` holds: one record a change, each with the epoch it was made in and the region that made it.
//!
//! ```text
//! key    nonce, 8 bytes big-endian: every record has its own, so that compaction removes only what is erased by name
//! value  version 1 byte = 1, then `ControlRecord` in bincode 2 (varint integers)
//! ```
//!
//! An empty value erases the record of its key: one that took no effect, or that a later one has replaced.

use bincode::{Decode, Encode};
use selvedge_engine::SiteId;

use crate::{DocumentId, Error, LogId, Result};

const VERSION: u8 = 1;
/// Longest value, in bytes: an entry of the audit with a long detail.
pub(super) const RECORD_BYTES_MAX: usize = 512 * 1024;

/// One change of the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct ControlRecord {
    /// Names the record.
    pub(super) nonce: u64,
    /// The epoch it was made in; of [`Change::Epoch`], the one that begins.
    pub(super) epoch: u64,
    /// The region that made it.
    pub(super) author: String,
    /// The topic it was copied from, and its offset there: the last hop. `None`: it was written here.
    pub(super) origin: Option<Origin>,
    /// What changed.
    pub(super) change: Change,
}

/// A place in another region's topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) struct Origin {
    pub(super) log: u128,
    pub(super) offset: u64,
}

/// A change. *Decisions* are the home's alone, in the present epoch; *facts* every region writes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum Change {
    /// An epoch begins, with this home. `heard`: of which topics its home had read how much.
    Epoch { home: String, heard: Vec<(u128, u64)> },
    /// A generation of a document as it is now. A fact where generation 1 is created, else a decision.
    Document { document: String, generation: u64, creator: String, created_ms: u64, deleted_ms: Option<u64> },
    /// A deleted generation's bindings are forgotten. A fact: its contents are gone.
    Forgotten { document: String, generation: u64 },
    /// A principal's rights. A decision.
    Rights { document: String, principal: String, rights: u8 },
    /// A site as it is now; `version` counts its states. A fact.
    Site {
        document: String,
        generation: u64,
        site: u64,
        principal: String,
        version: u64,
        leased_from: Option<u64>,
        released: Option<u64>,
    },
    /// A line of the audit. A fact.
    Audit { at_ms: u64, principal: String, action: String, document: Option<String>, detail: String },
    /// The list of endpoints as it was signed. A decision.
    Endpoints { signed: String },
}

impl Change {
    /// Whether only the home may make it.
    pub(super) fn is_decision(&self) -> bool {
        match self {
            Change::Document { generation, deleted_ms, .. } => *generation > 1 || deleted_ms.is_some(),
            Change::Rights { .. } | Change::Endpoints { .. } => true,
            Change::Epoch { .. } | Change::Forgotten { .. } | Change::Site { .. } | Change::Audit { .. } => false,
        }
    }
}

impl ControlRecord {
    pub(super) fn key(nonce: u64) -> Vec<u8> {
        nonce.to_be_bytes().to_vec()
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let body = bincode::encode_to_vec(self, bincode::config::standard());
        let body = body.map_err(|error| Error::Invalid(format!("a record of the control plane: {error}")))?;
        if body.len() >= RECORD_BYTES_MAX {
            return Err(Error::Invalid(format!(
                "a record of the control plane has more than {RECORD_BYTES_MAX} bytes"
            )));
        }
        Ok([&[VERSION], body.as_slice()].concat())
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = |detail: String| Error::Corrupt { what: "a record of the control plane".to_owned(), detail };
        let body = match bytes.split_first() {
            Some((&VERSION, body)) => body,
            Some((version, _)) => return Err(damaged(format!("version {version} is not known here"))),
            None => return Err(damaged("it is empty".to_owned())),
        };
        let config = bincode::config::standard().with_limit::<RECORD_BYTES_MAX>();
        let (record, length) = bincode::decode_from_slice(body, config).map_err(|error| damaged(error.to_string()))?;
        if length == body.len() { Ok(record) } else { Err(damaged("it is longer than its content".to_owned())) }
    }

    /// Whether it came from that topic in its last hop.
    pub(super) fn came_from(&self, log: LogId) -> bool {
        self.origin.is_some_and(|origin| origin.log == log.0)
    }
}

/// A document's id as a record has it.
pub(super) fn document_of(text: &str) -> Result<DocumentId> {
    text.parse().map_err(|_| Error::Corrupt {
        what: "a record of the control plane".to_owned(),
        detail: format!("{text:?} is not a document id"),
    })
}

/// A site as it is in the topic and in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SiteRow {
    pub(super) principal: String,
    /// The last counter used before the present lease; `None`: not leased.
    pub(super) leased_from: Option<u64>,
    /// The counter it was released with.
    pub(super) released: Option<u64>,
    pub(super) version: u64,
    /// The nonce of the record that says so.
    pub(super) record: u64,
    /// That record was copied from another region.
    pub(super) copied: bool,
}

impl SiteRow {
    pub(super) fn change(&self, key: &crate::DocumentKey, site: SiteId) -> Change {
        Change::Site {
            document: key.document.as_str().to_owned(),
            generation: key.generation,
            site: site.get(),
            principal: self.principal.clone(),
            version: self.version,
            leased_from: self.leased_from,
            released: self.released,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_record_comes_back_and_no_part_of_one_is_one() {
        let changes = [
            Change::Epoch { home: "b".into(), heard: vec![(1 << 100, 7)] },
            Change::Document {
                document: "t/d".into(),
                generation: 3,
                creator: "ann".into(),
                created_ms: 5,
                deleted_ms: Some(9),
            },
            Change::Forgotten { document: "t/d".into(), generation: 2 },
            Change::Rights { document: "t/d".into(), principal: "bob".into(), rights: 2 },
            Change::Site {
                document: "t/d".into(),
                generation: 1,
                site: u64::MAX,
                principal: "bob".into(),
                version: 4,
                leased_from: Some(0),
                released: None,
            },
            Change::Audit { at_ms: 1, principal: "ann".into(), action: "x".into(), document: None, detail: "y".into() },
            Change::Endpoints { signed: "a.b.c".into() },
        ];
        for change in changes {
            let origin = Some(Origin { log: u128::MAX, offset: 12 });
            let record = ControlRecord { nonce: 77, epoch: 2, author: "a".into(), origin, change };
            let bytes = record.encode().unwrap();
            assert_eq!(ControlRecord::decode(&bytes).unwrap(), record);
            assert!((0..bytes.len()).all(|length| ControlRecord::decode(&bytes[..length]).is_err()));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = ControlRecord::decode(&bytes);
            let _ = ControlRecord::decode(&[&[VERSION], bytes.as_slice()].concat());
        }
    }
}
