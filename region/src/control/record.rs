//! What the topic `control` holds: one record a change, each with the epoch it was made in and the region that made it.
//!
//! ```text
//! key    nonce, 8 bytes big-endian: every record has its own, so that compaction removes only what is erased by name
//! value  version 1 byte = 1, then `ControlRecord` in bincode 2 (varint integers)
//! ```
//!
//! An empty value erases the record of its key: one that took no effect, or that a later one has replaced.
//!
//! Numbers are below 2^63, documents are whole ids, and no text has a zero character: PostgreSQL keeps nothing else, and one record
//! that it refused would hold up all behind it. There is one encoding of a record; a decoder refuses every other.

use bincode::error::DecodeError;
use bincode::{Decode, Encode};

use crate::{DocumentId, Error, LogId, Result};

const VERSION: u8 = 1;
/// Longest value, in bytes: an entry of the audit with a long detail.
pub(super) const RECORD_BYTES_MAX: usize = 512 * 1024;
/// The greatest number in a record, of an offset the greatest that has a next one.
const NUMBER_MAX: u64 = i64::MAX as u64;
/// What fields may claim in memory for each byte: a place heard of takes two bytes at least, and 32 in memory.
const CLAIM_EACH: usize = 16;
/// And besides: numbers of one byte claim eight.
const CLAIM_BASE: usize = 256;

/// One change of the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ControlRecord {
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

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let invalid = |problem: &str| Error::Invalid(format!("a record of the control plane: {problem}"));
        self.check().map_err(invalid)?;
        let body = bincode::encode_to_vec(self, bincode::config::standard());
        let body = body.map_err(|error| invalid(&error.to_string()))?;
        if body.len() >= RECORD_BYTES_MAX {
            return Err(invalid(&format!("it has more than {RECORD_BYTES_MAX} bytes")));
        }
        Ok([&[VERSION], body.as_slice()].concat())
    }

    /// Reads a record back. Claims at most 256 times the memory of `bytes`, and 4 KiB.
    ///
    /// # Errors
    /// `Corrupt` for every other byte string than one [`ControlRecord::encode`] gives.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = |detail: &str| Error::Corrupt {
            what: "a record of the control plane".to_owned(),
            detail: detail.to_owned(),
        };
        let body = match bytes.split_first() {
            Some(_) if bytes.len() > RECORD_BYTES_MAX => return Err(damaged("it is too long")),
            Some((&VERSION, body)) => body,
            Some((version, _)) => return Err(damaged(&format!("version {version} is not known here"))),
            None => return Err(damaged("it is empty")),
        };
        let record = read(body).map_err(|error| damaged(&error.to_string()))?;
        record.check().map_err(damaged)?;
        if record.encode()? == bytes { Ok(record) } else { Err(damaged("it is not in its one form")) }
    }

    /// Whether every index can keep it; else what is wrong with it.
    fn check(&self) -> std::result::Result<(), &'static str> {
        let mut numbers = vec![self.epoch];
        let mut texts = vec![self.author.as_str()];
        // One past it is noted.
        numbers.extend(self.origin.map(|origin| origin.offset.saturating_add(1)));
        let named = match &self.change {
            Change::Epoch { home, heard } => {
                texts.push(home);
                numbers.extend(heard.iter().map(|(_, next)| *next));
                None
            }
            Change::Document { document, generation, creator, created_ms, deleted_ms } => {
                texts.push(creator);
                numbers.extend([*generation, *created_ms].into_iter().chain(*deleted_ms));
                Some(document)
            }
            Change::Forgotten { document, generation } => {
                numbers.push(*generation);
                Some(document)
            }
            Change::Rights { document, principal, .. } => {
                texts.push(principal);
                Some(document)
            }
            Change::Site { document, generation, principal, version, leased_from, released, .. } => {
                texts.push(principal);
                numbers.extend([*generation, *version].into_iter().chain(*leased_from).chain(*released));
                Some(document)
            }
            Change::Audit { at_ms, principal, action, document, detail } => {
                texts.extend([principal.as_str(), action, detail]);
                numbers.push(*at_ms);
                document.as_ref()
            }
            Change::Endpoints { signed } => {
                texts.push(signed);
                None
            }
        };
        if numbers.iter().any(|number| *number > NUMBER_MAX) {
            return Err("a number is beyond 2^63 - 1");
        }
        if texts.iter().any(|text| text.contains('\0')) {
            return Err("a text has a zero character");
        }
        let whole = |text: &String| text.parse::<DocumentId>().is_ok_and(|document| document.as_str() == text);
        if named.is_none_or(whole) { Ok(()) } else { Err("its document is none") }
    }

    /// Whether it came from that topic in its last hop.
    pub(super) fn came_from(&self, log: LogId) -> bool {
        self.origin.is_some_and(|origin| origin.log == log.0)
    }
}

/// The fields of a record. A length is believed as far as the bytes at hand may go: a limit is a constant to bincode, so there are
/// some of them.
fn read(body: &[u8]) -> std::result::Result<ControlRecord, DecodeError> {
    const SHORT: usize = 4 * 1024;
    const MIDDLE: usize = 64 * 1024;
    const LONG: usize = 2 * RECORD_BYTES_MAX;
    let standard = bincode::config::standard();
    let claim = CLAIM_EACH * body.len() + CLAIM_BASE;
    let (record, length) = if claim <= SHORT {
        bincode::decode_from_slice(body, standard.with_limit::<SHORT>())
    } else if claim <= MIDDLE {
        bincode::decode_from_slice(body, standard.with_limit::<MIDDLE>())
    } else {
        bincode::decode_from_slice(body, standard.with_limit::<LONG>())
    }?;
    if length == body.len() { Ok(record) } else { Err(DecodeError::Other("it is longer than its content")) }
}

/// A document's id as a record has it.
pub(super) fn document_of(text: &str) -> Result<DocumentId> {
    text.parse().map_err(|_| Error::Corrupt {
        what: "a record of the control plane".to_owned(),
        detail: format!("{text:?} is not a document id"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Iterator<Item = ControlRecord> {
        let changes = [
            Change::Epoch { home: "b".into(), heard: vec![(1 << 100, 7), (u128::MAX, NUMBER_MAX)] },
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
        changes.into_iter().enumerate().map(|(number, change)| {
            let origin = (number % 2 == 0).then_some(Origin { log: u128::MAX, offset: NUMBER_MAX - 1 });
            ControlRecord { nonce: 77, epoch: 2, author: "a".into(), origin, change }
        })
    }

    #[test]
    fn every_record_comes_back_and_no_part_of_one_is_one() {
        for record in records() {
            let bytes = record.encode().unwrap();
            assert_eq!(ControlRecord::decode(&bytes).unwrap(), record);
            assert!((0..bytes.len()).all(|length| ControlRecord::decode(&bytes[..length]).is_err()));
        }
    }

    /// What the fuzzer begins with; written anew where `SELVEDGE_WRITE_SEEDS` is set.
    #[test]
    fn the_bytes_of_a_record_are_those_that_are_kept() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/control_record");
        for (number, record) in records().enumerate() {
            let (file, bytes) = (folder.join(format!("encoded-{number:03}")), record.encode().unwrap());
            if std::env::var_os("SELVEDGE_WRITE_SEEDS").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&file, &bytes).unwrap();
            }
            assert_eq!(std::fs::read(&file).unwrap(), bytes, "{}", file.display());
        }
    }

    /// What one index could not keep would hold up all behind it there, and be passed over in the other.
    #[test]
    fn what_no_index_keeps_is_no_record() {
        let check = |change: Change, origin: Option<Origin>, epoch: u64| {
            let record = ControlRecord { nonce: 1, epoch, author: "a".into(), origin, change };
            assert!(matches!(record.encode(), Err(Error::Invalid(_))), "{record:?}");
            let body = bincode::encode_to_vec(&record, bincode::config::standard()).unwrap();
            let refused = ControlRecord::decode(&[&[VERSION], &body[..]].concat());
            assert!(matches!(refused, Err(Error::Corrupt { .. })), "{record:?}");
        };
        let rights = |document: &str, principal: &str| Change::Rights {
            document: document.into(),
            principal: principal.into(),
            rights: 1,
        };
        check(rights("t/d", "ann"), None, u64::MAX);
        check(rights("t/d", "a\0"), None, 1);
        check(rights("d", "ann"), None, 1);
        check(rights("t/ d", "ann"), None, 1);
        check(rights("t/d", "ann"), Some(Origin { log: 1, offset: u64::MAX }), 1);
        check(rights("t/d", "ann"), Some(Origin { log: 1, offset: NUMBER_MAX }), 1);
        check(Change::Forgotten { document: "t/d".into(), generation: 1 << 63 }, None, 1);
        check(Change::Epoch { home: "a".into(), heard: vec![(1, 1 << 63)] }, None, 1);
    }

    #[test]
    fn another_form_of_a_record_is_refused() {
        let record = ControlRecord {
            nonce: 1,
            epoch: 2,
            author: "a".into(),
            origin: None,
            change: Change::Endpoints { signed: String::new() },
        };
        let mut bytes = record.encode().unwrap();
        assert_eq!(bytes[1], 1, "the nonce");
        // The same number in three bytes.
        bytes.splice(1..2, [251, 1, 0]);
        assert!(matches!(ControlRecord::decode(&bytes), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn the_longest_record_is_read_again() {
        let detail = "x".repeat(RECORD_BYTES_MAX - 100);
        let change = Change::Audit { at_ms: 1, principal: "a".into(), action: "b".into(), document: None, detail };
        let record = ControlRecord { nonce: 1, epoch: 2, author: "a".into(), origin: None, change };
        assert_eq!(ControlRecord::decode(&record.encode().unwrap()).unwrap(), record);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = ControlRecord::decode(&bytes);
            let _ = ControlRecord::decode(&[&[VERSION], bytes.as_slice()].concat());
        }
    }
}
