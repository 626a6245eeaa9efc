//! A segment: runs of one document's operations in one object, packed and checked.
//!
//! Bytes, version 1 (varints are minimal LEB128 of at most 10 bytes):
//!
//! ```text
//! magic      4 bytes  "SLVG"
//! version    1 byte   = 1
//! packing    1 byte   0 = plain, 1 = deflate
//! length     varint   of the plain bytes, at most 5 MiB and 64 times the packed ones
//! packed     varint length, bytes
//! checksum   32 bytes SHA-256 of everything before it
//! ```
//!
//! The plain bytes, which nothing but the document and its runs decides, wherever and whenever they are packed:
//!
//! ```text
//! document   varint length (1..=193), UTF-8 `tenant/name`
//! generation varint
//! count      varint   at least 1
//! then each run, in the order of (site, first, last), none twice:
//! site       8 bytes  big-endian
//! first      varint   at least 1
//! more       varint   last - first
//! delta      varint length (1..=400 KiB), the durable delta of just these counters
//! ```

use selvedge_engine::{DeltaHeader, SiteId};
use sha2::{Digest, Sha256};

use crate::bytes::{Damage, Input, put_bytes, put_varint};
use crate::ops::{DocumentKey, OpRun};
use crate::record::DOCUMENT_BYTES_MAX;

/// The version written by this code.
pub const SEGMENT_VERSION: u8 = 1;
/// Runs are packed into one segment until their deltas have so many bytes: large enough that an object's price does not count,
/// small enough to be held in memory several times over.
pub const SEGMENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Runs of one segment.
pub const SEGMENT_RUNS_MAX: usize = 16_384;

const MAGIC: [u8; 4] = *b"SLVG";
const PLAIN: u8 = 0;
const DEFLATE: u8 = 1;
/// Effort of the compressor, as for snapshots.
const LEVEL: u8 = 6;
/// What packs better than this is left plain, so that a decoder's memory stays within a constant of its input.
const RATIO_MAX: usize = 64;
/// The longest delta of a run: an item of the op store takes no more.
const RUN_BYTES_MAX: usize = 400 * 1024;
/// A full segment, one more run, and 30 bytes around each.
const PLAIN_BYTES_MAX: usize = 5 * 1024 * 1024;
const CHECKSUM_BYTES: usize = 32;
/// The shortest run: site, two counters, length and a byte.
const RUN_BYTES_MIN: usize = 12;

/// Why bytes are no segment, or runs cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The bytes end before the segment does.
    #[error("the segment ends early, in its {0}")]
    Incomplete(&'static str),
    /// They begin as no segment does.
    #[error("the bytes do not begin as a segment does")]
    Magic,
    /// A newer version than this code reads.
    #[error("segment version {0} is not known here: this program reads version {SEGMENT_VERSION}")]
    Version(u8),
    /// The bytes are not those whose hash stands at their end.
    #[error("the segment's checksum does not match its bytes")]
    Checksum,
    /// A field breaks its rule.
    #[error("the segment's {0} is malformed")]
    Malformed(&'static str),
    /// It is intact, and of another document.
    #[error("the segment is of {document}, generation {generation}")]
    Another {
        /// Whose it is.
        document: String,
        /// Of which generation.
        generation: u64,
    },
}

impl From<Damage> for SegmentError {
    fn from(damage: Damage) -> Self {
        match damage {
            Damage::Incomplete(field) => Self::Incomplete(field),
            Damage::Malformed(field) => Self::Malformed(field),
        }
    }
}

/// The plain bytes of runs: what a segment says, and what it is named by.
///
/// # Errors
/// `Malformed` where they break a rule of the format: none, too many, out of order, a delta of other counters.
pub(crate) fn plain_of(key: &DocumentKey, runs: &[OpRun]) -> Result<Vec<u8>, SegmentError> {
    if runs.is_empty() || runs.len() > SEGMENT_RUNS_MAX {
        return Err(SegmentError::Malformed("count"));
    }
    if !runs.is_sorted_by(|one, next| one.cursor() < next.cursor()) {
        return Err(SegmentError::Malformed("order"));
    }
    let mut plain = Vec::new();
    put_bytes(&mut plain, key.document.as_str().as_bytes());
    put_varint(&mut plain, key.generation);
    put_varint(&mut plain, runs.len() as u64);
    for run in runs {
        check(run)?;
        plain.extend(run.site.get().to_be_bytes());
        put_varint(&mut plain, run.first);
        put_varint(&mut plain, run.last - run.first);
        put_bytes(&mut plain, &run.bytes);
    }
    if plain.len() > PLAIN_BYTES_MAX { Err(SegmentError::Malformed("length")) } else { Ok(plain) }
}

/// Packs plain bytes. O(n), n = their length.
pub(crate) fn pack(plain: &[u8]) -> Vec<u8> {
    let packed = miniz_oxide::deflate::compress_to_vec(plain, LEVEL);
    let smaller = packed.len() < plain.len() && plain.len() <= packed.len() * RATIO_MAX;
    let (packing, body) = if smaller { (DEFLATE, packed.as_slice()) } else { (PLAIN, plain) };
    let mut out = Vec::with_capacity(body.len() + 64);
    out.extend(MAGIC);
    out.extend([SEGMENT_VERSION, packing]);
    put_varint(&mut out, plain.len() as u64);
    put_bytes(&mut out, body);
    let checksum = Sha256::digest(&out);
    out.extend(checksum);
    out
}

/// The plain bytes of a packed segment. Allocates at most 64 times the input, and at most 5 MiB.
///
/// # Errors
/// What is wrong with the bytes.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Vec<u8>, SegmentError> {
    let mut input = Input::new(bytes);
    if input.array("magic")? != MAGIC {
        return Err(SegmentError::Magic);
    }
    match input.byte("version")? {
        SEGMENT_VERSION => {}
        other => return Err(SegmentError::Version(other)),
    }
    let content = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(SegmentError::Incomplete("checksum"))?;
    let (content, checksum) = bytes.split_at(content);
    if checksum != Sha256::digest(content).as_slice() {
        return Err(SegmentError::Checksum);
    }
    let packing = input.byte("packing")?;
    let length = usize::try_from(input.varint("length")?).map_err(|_| SegmentError::Malformed("length"))?;
    let body = input.sized(PLAIN_BYTES_MAX, "packed bytes")?;
    input.take(CHECKSUM_BYTES, "checksum")?;
    if !input.is_empty() || length > PLAIN_BYTES_MAX || length > body.len().saturating_mul(RATIO_MAX) {
        return Err(SegmentError::Malformed("length"));
    }
    match packing {
        PLAIN if body.len() == length => Ok(body.to_vec()),
        DEFLATE => {
            let mut plain = vec![0; length];
            let body = std::iter::once(body);
            let unpacked = miniz_oxide::inflate::decompress_slice_iter_to_slice(&mut plain, body, false, true);
            if unpacked == Ok(length) { Ok(plain) } else { Err(SegmentError::Malformed("packed bytes")) }
        }
        _ => Err(SegmentError::Malformed("packing")),
    }
}

/// The runs in the plain bytes of a document's segment.
///
/// # Errors
/// What is wrong with the bytes; [`SegmentError::Another`] when they are of another document.
pub(crate) fn runs_of(key: &DocumentKey, plain: &[u8]) -> Result<Vec<OpRun>, SegmentError> {
    let mut input = Input::new(plain);
    let document = input.text(DOCUMENT_BYTES_MAX, "document")?;
    let generation = input.varint("generation")?;
    if document != key.document.as_str() || generation != key.generation {
        return Err(SegmentError::Another { document: document.to_owned(), generation });
    }
    let count = usize::try_from(input.varint("count")?).map_err(|_| SegmentError::Malformed("count"))?;
    if count == 0 || count > SEGMENT_RUNS_MAX || count > plain.len() / RUN_BYTES_MIN {
        return Err(SegmentError::Malformed("count"));
    }
    let mut runs: Vec<OpRun> = Vec::with_capacity(count);
    for _ in 0..count {
        let site = SiteId::new(u64::from_be_bytes(input.array("site")?));
        let first = input.varint("first counter")?;
        let more = input.varint("last counter")?;
        let last = first.checked_add(more).ok_or(SegmentError::Malformed("last counter"))?;
        let run = OpRun { site, first, last, bytes: input.sized(RUN_BYTES_MAX, "delta")?.to_vec() };
        check(&run)?;
        if runs.last().is_some_and(|before| before.cursor() >= run.cursor()) {
            return Err(SegmentError::Malformed("order"));
        }
        runs.push(run);
    }
    if input.is_empty() { Ok(runs) } else { Err(SegmentError::Malformed("end")) }
}

/// Whether a run's delta says that it is of just these counters. What follows in it is the engine's to read.
fn check(run: &OpRun) -> Result<(), SegmentError> {
    let header = DeltaHeader::peek(&run.bytes).map_err(|_| SegmentError::Malformed("delta"))?;
    let same = (header.site, header.first, header.last) == (run.site, run.first, run.last);
    if same && run.bytes.len() <= RUN_BYTES_MAX { Ok(()) } else { Err(SegmentError::Malformed("delta")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use selvedge_engine::{Document, SiteId};

    use super::*;

    fn key() -> DocumentKey {
        DocumentKey::new("t/segmented".parse().unwrap(), 3)
    }

    /// Runs as persist makes them of what some sites wrote.
    fn runs(texts: &[(u32, String)]) -> Vec<OpRun> {
        let mut documents = std::collections::BTreeMap::new();
        let mut runs = Vec::new();
        for (index, text) in texts {
            let document = documents.entry(*index).or_insert_with(|| {
                let mut document = Document::new();
                document.begin_writing(SiteId::leased(1, *index), 1).unwrap();
                document
            });
            document.replace(document.len_utf16(), 0, text).unwrap();
            runs.extend(document.seal().into_iter().map(|delta| OpRun {
                site: delta.site,
                first: delta.first,
                last: delta.last(),
                bytes: delta.encode(),
            }));
        }
        runs.sort_by_key(OpRun::cursor);
        runs
    }

    fn written() -> impl Strategy<Value = Vec<OpRun>> {
        prop::collection::vec((1_u32..5, "[a-z ]{1,40}"), 1..30).prop_map(|texts| runs(&texts))
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<OpRun>, SegmentError> {
        runs_of(&key(), &unpack(bytes)?)
    }

    /// Puts the checksum right, so that what it guards is looked at.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let content = bytes.len().saturating_sub(CHECKSUM_BYTES);
        bytes.truncate(content);
        let checksum = Sha256::digest(&bytes);
        bytes.extend(checksum);
        bytes
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_again(runs in written()) {
            let plain = plain_of(&key(), &runs).unwrap();
            let bytes = pack(&plain);
            prop_assert_eq!(unpack(&bytes).unwrap(), plain);
            prop_assert_eq!(decoded(&bytes).unwrap(), runs);
        }

        #[test]
        fn damage_is_found(runs in written(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut bytes = pack(&plain_of(&key(), &runs).unwrap());
            let place = at.index(bytes.len());
            bytes[place] ^= 1 << bit;
            prop_assert!(decoded(&bytes).is_err(), "byte {place}, bit {bit}");
            bytes.truncate(place);
            prop_assert!(decoded(&bytes).is_err(), "cut at {place}");
        }

        #[test]
        fn damage_under_a_right_checksum_does_no_harm(
            runs in written(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let (plain, mut bytes) = (plain_of(&key(), &runs).unwrap(), pack(&plain_of(&key(), &runs).unwrap()));
            for (at, byte) in &changes {
                let place = at.index(bytes.len());
                bytes[place] = *byte;
            }
            if let Ok(plain) = unpack(&sealed(bytes)) {
                prop_assert!(plain.len() <= PLAIN_BYTES_MAX);
            }
            let mut plain = plain;
            for (at, byte) in &changes {
                let place = at.index(plain.len());
                plain[place] = *byte;
            }
            if let Ok(runs) = runs_of(&key(), &plain) {
                prop_assert_eq!(plain_of(&key(), &runs).unwrap(), plain, "one form");
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decoded(&bytes);
            let _ = runs_of(&key(), &bytes);
            let framed = [&MAGIC[..], &[SEGMENT_VERSION], &bytes, &[0; CHECKSUM_BYTES]].concat();
            let _ = decoded(&sealed(framed));
        }
    }

    #[test]
    fn claims_beyond_the_input_are_refused_before_anything_is_allocated() {
        let framed = |packing, length: u64, body: &[u8]| {
            let mut bytes = [&MAGIC[..], &[SEGMENT_VERSION, packing]].concat();
            put_varint(&mut bytes, length);
            put_bytes(&mut bytes, body);
            bytes.extend([0; CHECKSUM_BYTES]);
            sealed(bytes)
        };
        let bomb = miniz_oxide::deflate::compress_to_vec(&vec![0; 1 << 20], LEVEL);
        for (packing, length, body) in
            [(PLAIN, 5, &b"four"[..]), (DEFLATE, 65, b"1"), (DEFLATE, u64::MAX, b"1"), (DEFLATE, 1 << 20, &bomb)]
        {
            let refused = unpack(&framed(packing, length, body)).unwrap_err();
            assert!(matches!(refused, SegmentError::Malformed(_)), "{packing} {length}: {refused}");
        }
        let mut many = Vec::new();
        put_bytes(&mut many, b"t/segmented");
        put_varint(&mut many, 3);
        put_varint(&mut many, 16_000);
        assert_eq!(runs_of(&key(), &many), Err(SegmentError::Malformed("count")));
    }

    #[test]
    fn what_packs_too_well_is_left_plain() {
        let long: Vec<_> = (0..20).map(|_| (1, "a".repeat(16_000))).collect();
        let (runs, plain) = (runs(&long), plain_of(&key(), &runs(&long)).unwrap());
        let bytes = pack(&plain);
        assert!(bytes.len() > plain.len(), "it would pack to less than a 64th");
        assert_eq!(decoded(&bytes).unwrap(), runs);
    }

    #[test]
    fn what_breaks_a_rule_is_no_segment() {
        let runs = runs(&[(1, "one".to_owned()), (1, "two".to_owned()), (2, "three".to_owned())]);
        let refused = |runs: &[OpRun]| plain_of(&key(), runs).unwrap_err();
        assert_eq!(refused(&[]), SegmentError::Malformed("count"));
        assert_eq!(refused(&[runs[1].clone(), runs[0].clone()]), SegmentError::Malformed("order"));
        assert_eq!(refused(&[runs[0].clone(), runs[0].clone()]), SegmentError::Malformed("order"));
        let moved = OpRun { last: runs[0].last + 1, ..runs[0].clone() };
        assert_eq!(refused(&[moved]), SegmentError::Malformed("delta"), "a delta of other counters");
        let plain = plain_of(&key(), &runs).unwrap();
        let other = DocumentKey::new(key().document, 4);
        assert!(matches!(runs_of(&other, &plain), Err(SegmentError::Another { generation: 3, .. })));
        let later = [&MAGIC[..], &[2]].concat();
        assert_eq!(unpack(&later), Err(SegmentError::Version(2)));
        assert_eq!(unpack(b"PNG\n1"), Err(SegmentError::Magic));
    }
}
