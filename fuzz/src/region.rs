//! What a region keeps, on arbitrary bytes. It stands beside the other targets, not among them: the crate of these decoders is
//! built on those of the others, and its own tests replay what is kept.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests may")]

#[path = "allocation.rs"]
mod allocation;

use allocation::Allowance;
use selvedge_region::history::{SEGMENTS, document_of as segments_document};
use selvedge_region::{BlobKey, BusMessage, DocumentKey, LogId, LogRecord, Position, RunDots, decoders};
use sha2::{Digest, Sha256};

/// Document, principal and delta are copied once each, and a document's name is looked at in two parts.
const RECORD: Allowance = Allowance { each: 3, base: 256 };
/// A record in a message, and the message encoded again, in a vector that grows by doubling.
const MESSAGE: Allowance = Allowance { each: 8, base: 1024 };
/// A length is believed up to a limit that is at most 256 times the bytes at hand, and at least 4 KiB; then the record is encoded
/// again twice, and looked through.
const CONTROL: Allowance = Allowance { each: 256 + 16, base: 4096 + 2048 };
/// Reason and record are copied, decoding and encoding.
const LETTER: Allowance = Allowance { each: 4, base: 512 };
/// A run of 12 bytes is 56 in memory, and its delta an allocation of its own; all of it encoded again.
const PLAIN: Allowance = Allowance { each: 16, base: 1024 };
/// Plain bytes are at most 64 times the packed ones; the unpacking has a window of its own.
const PACKED: Allowance = Allowance { each: 64 * PLAIN.each, base: 64 * 1024 };
/// A vector's entry of two bytes is 16 in memory.
const SNAPSHOT: Allowance = Allowance { each: 16, base: 512 };
/// Names are copied, and put together again to be compared.
const NAMES: Allowance = Allowance { each: 16, base: 1024 };

/// A target: its name, that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 7] = [
    ("bus_message", bus_message),
    ("control_record", control_record),
    ("dead_letter", dead_letter),
    ("log_record", log_record),
    ("region_names", region_names),
    ("segment", segment),
    ("snapshot_row", snapshot_row),
];

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

/// What Redis hands over has one encoding, and a record in it keeps its limits.
pub fn bus_message(bytes: &[u8]) {
    let Some((message, again)) = MESSAGE.hold(bytes, || decoders::bus_message(bytes)) else { return };
    assert_eq!(again, bytes, "canonical");
    if let BusMessage::Logged { record, .. } | BusMessage::Tentative { record } = message {
        assert_eq!(record.check(), Ok(()));
    }
}

/// A record of the topic `control` has one encoding.
pub fn control_record(bytes: &[u8]) {
    if let Ok(again) = CONTROL.hold(bytes, || decoders::control_record(bytes)) {
        assert_eq!(again, bytes, "canonical");
    }
}

/// A letter of the dead-letter topic has one encoding.
pub fn dead_letter(bytes: &[u8]) {
    let Ok((letter, again)) = LETTER.hold(bytes, || decoders::dead_letter(bytes)) else { return };
    assert_eq!(again, bytes, "canonical");
    assert_eq!(letter.reason.len() + letter.bytes.len() + 32, bytes.len());
}

/// Behind a byte, the plain bytes of a segment (0), which have one form; or a segment without its checksum, which is put there: what
/// decodes is packed anew, and the same.
pub fn segment(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let document = segmented();
    if kind == 0 {
        let Ok((runs, again)) = PLAIN.hold(bytes, || decoders::segment_plain(&document, bytes)) else { return };
        assert_eq!(again, bytes, "one form");
        let packed = decoders::segment_packed(bytes);
        assert_eq!(decoders::segment(&document, &packed).as_ref(), Ok(&runs));
        let mut dots = RunDots::default();
        runs.iter().for_each(|run| dots.insert(run));
        assert!(runs.iter().all(|run| dots.cover(run)));
        return;
    }
    assert!(decoders::segment(&document, bytes).is_err(), "no checksum fits by chance");
    let sealed = [bytes, &Sha256::digest(bytes)].concat();
    if let Ok(runs) = PACKED.hold(&sealed, || decoders::segment(&document, &sealed)) {
        assert!(runs.is_sorted_by(|one, next| one.cursor() < next.cursor()));
    }
}

/// The document whose segments these are.
pub fn segmented() -> DocumentKey {
    DocumentKey::new("t/segmented".parse().unwrap(), 3)
}

/// The columns of a snapshot: its vector behind a length in a byte, then its bytes. With a checksum that fits it is what it was,
/// and with no other.
pub fn snapshot_row(bytes: &[u8]) {
    let Some((&length, rest)) = bytes.split_first() else { return };
    let Some((vector, content)) = rest.split_at_checked(usize::from(length)) else { return };
    let sums = [&(vector.len() as u64).to_le_bytes(), vector, content].concat();
    let checksum = Sha256::digest(sums);
    let row = content.to_vec();
    assert!(decoders::snapshot_row(vector, row.clone(), &checksum[1..]).is_err());
    if let Ok(snapshot) = SNAPSHOT.hold(bytes, || decoders::snapshot_row(vector, row, &checksum)) {
        assert_eq!(snapshot.vector.encode(), vector, "canonical");
        assert_eq!(snapshot.bytes, content);
        assert_eq!(snapshot.checksum()[..], checksum[..]);
    }
}

/// Texts that name things in stores: runs and documents of a table, blobs, and documents of segments. Each has one form.
pub fn region_names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some((run, again)) = NAMES.hold(bytes, || decoders::run_named(text)) {
        assert_eq!(again, text);
        assert!(1 <= run.first && run.first <= run.last);
    }
    if let Some((_, begin)) = NAMES.hold(bytes, || decoders::document_of(text)) {
        assert!(text.starts_with(&begin));
    }
    if let Ok(key) = NAMES.hold(bytes, || text.parse::<BlobKey>()) {
        assert_eq!(key.as_str(), text);
        assert!(!text.split('/').any(|segment| matches!(segment, "" | "." | "..")), "it stays in its folder");
        if let Some(document) = NAMES.hold(bytes, || segments_document(&key)) {
            let id = document.document.as_str().replacen('/', "/n-", 1);
            assert!(text.starts_with(&format!("{SEGMENTS}t-{id}/{}/", document.generation)));
        }
    }
}
