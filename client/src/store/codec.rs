//! The bytes of a store transaction in a file.
//!
//! ```text
//! record    length of the payload (4 bytes, at most 2^30), the same with every bit flipped (4 bytes), SHA-256 of the payload
//!           (32 bytes), payload
//! payload   version 2 (1 byte), entries put, keys deleted, state, frames put, keys of frames deleted (version 1: no frames)
//! entries   count (4 bytes), each: site, first, last (8 bytes each), level (1 byte), principal, delta (length 4 bytes + bytes)
//! keys      count (4 bytes), each: site, first (8 bytes each)
//! state     0, or 1 and: generation (8), level (1), replace (0 or 1), 0 or 1 and log (16), partition (4), offset (8); vector, snapshot
//! frames    count (4 bytes), each: site, first, last, generation (8 bytes each), tag (16), delta (length 4 bytes + bytes)
//! ```
//!
//! Numbers are little-endian. One record is one transaction, so a torn one is none.

use selvedge_engine::SiteId;
use selvedge_protocol::client::{KeptFrame, OutboxEntry, OutboxKey, StoreTransaction, StoredState};
use selvedge_protocol::{AckLevel, LogId, Position};
use sha2::{Digest, Sha256};

const VERSION: u8 = 2;
/// The version without frames.
const VERSION_WITHOUT_FRAMES: u8 = 1;
/// Length, its complement and checksum in front of a payload.
const HEAD_BYTES: usize = 40;
/// Longest payload.
const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// What was read at the end of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A transaction, and the bytes of its record.
    Record(Box<StoreTransaction>, usize),
    /// The file ends inside a record: the write that a crash cut short.
    Torn,
    /// A whole record that fails its check, or has another form.
    Damaged(&'static str),
}

/// A transaction as a record.
pub(super) fn encode(transaction: &StoreTransaction) -> Vec<u8> {
    let mut out = vec![0; HEAD_BYTES];
    out.push(VERSION);
    put_count(&mut out, transaction.put_outbox.len());
    for entry in &transaction.put_outbox {
        for number in [entry.site.get(), entry.first, entry.last] {
            out.extend(number.to_le_bytes());
        }
        out.push(level_byte(entry.acked));
        put_bytes(&mut out, entry.principal.as_bytes());
        put_bytes(&mut out, &entry.bytes);
    }
    put_keys(&mut out, &transaction.delete_outbox);
    match &transaction.state {
        None => out.push(0),
        Some(state) => {
            out.push(1);
            out.extend(state.generation.to_le_bytes());
            out.extend([level_byte(state.highest), u8::from(state.replace), u8::from(state.position.is_some())]);
            if let Some(position) = state.position {
                out.extend(position.log.0.to_le_bytes());
                out.extend(position.partition.to_le_bytes());
                out.extend(position.offset.to_le_bytes());
            }
            put_bytes(&mut out, &state.vector);
            put_bytes(&mut out, &state.snapshot);
        }
    }
    put_count(&mut out, transaction.put_frames.len());
    for frame in &transaction.put_frames {
        for number in [frame.site.get(), frame.first, frame.last, frame.generation] {
            out.extend(number.to_le_bytes());
        }
        out.extend(frame.tag);
        put_bytes(&mut out, &frame.bytes);
    }
    put_keys(&mut out, &transaction.delete_frames);
    let (length, hash) = (out.len() - HEAD_BYTES, Sha256::digest(&out[HEAD_BYTES..]));
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_le_bytes());
    out[4..8].copy_from_slice(&(!length).to_le_bytes());
    out[8..HEAD_BYTES].copy_from_slice(&hash);
    out
}

/// The record at the beginning of the bytes, which are not empty.
pub(super) fn decode(bytes: &[u8]) -> Next {
    let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else { return Next::Torn };
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    if u32::from_le_bytes([head[4], head[5], head[6], head[7]]) != !length {
        // A file may have grown without its bytes.
        let empty = bytes.iter().all(|byte| *byte == 0);
        return if empty { Next::Torn } else { Next::Damaged("a record's length contradicts itself") };
    }
    let length = length as usize;
    let Some(payload) = rest.get(..length) else { return Next::Torn };
    if length > PAYLOAD_BYTES_MAX || head[8..] != Sha256::digest(payload)[..] {
        // The last record of a file may have grown to its length without its bytes.
        return if rest.len() == length { Next::Torn } else { Next::Damaged("a record fails its checksum") };
    }
    match read(&mut Input(payload)) {
        Some(transaction) => Next::Record(Box::new(transaction), HEAD_BYTES + length),
        None => Next::Damaged("a record has a form that this version does not know"),
    }
}

fn read(input: &mut Input<'_>) -> Option<StoreTransaction> {
    let version = input.byte()?;
    if ![VERSION_WITHOUT_FRAMES, VERSION].contains(&version) {
        return None;
    }
    let mut transaction = StoreTransaction::default();
    for _ in 0..input.number()? {
        transaction.put_outbox.push(OutboxEntry {
            site: SiteId::new(input.long()?),
            first: input.long()?,
            last: input.long()?,
            acked: input.level()?,
            principal: String::from_utf8(input.bytes()?).ok()?,
            bytes: input.bytes()?,
        });
    }
    transaction.delete_outbox = input.keys()?;
    if input.flag()? {
        let (generation, highest) = (input.long()?, input.level()?);
        let (replace, has_position) = (input.flag()?, input.flag()?);
        let position = if has_position { Some(input.position()?) } else { None };
        let (vector, snapshot) = (input.bytes()?, input.bytes()?);
        transaction.state = Some(StoredState { vector, generation, highest, position, snapshot, replace });
    }
    if version >= VERSION {
        for _ in 0..input.number()? {
            transaction.put_frames.push(KeptFrame {
                site: SiteId::new(input.long()?),
                first: input.long()?,
                last: input.long()?,
                generation: input.long()?,
                tag: input.take()?,
                bytes: input.bytes()?,
            });
        }
        transaction.delete_frames = input.keys()?;
    }
    input.0.is_empty().then_some(transaction)
}

fn put_keys(out: &mut Vec<u8>, keys: &[OutboxKey]) {
    put_count(out, keys.len());
    for key in keys {
        out.extend(key.site.get().to_le_bytes());
        out.extend(key.first.to_le_bytes());
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend(bytes);
}

const fn level_byte(level: AckLevel) -> u8 {
    match level {
        AckLevel::Device => 0,
        AckLevel::Region => 1,
        AckLevel::Replicated => 2,
    }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn position(&mut self) -> Option<Position> {
        let log = LogId(u128::from_le_bytes(self.take()?));
        Some(Position { log, partition: self.number()?, offset: self.long()? })
    }

    fn keys(&mut self) -> Option<Vec<OutboxKey>> {
        let mut keys = Vec::new();
        for _ in 0..self.number()? {
            keys.push(OutboxKey { site: SiteId::new(self.long()?), first: self.long()? });
        }
        Some(keys)
    }

    fn level(&mut self) -> Option<AckLevel> {
        match self.byte()? {
            0 => Some(AckLevel::Device),
            1 => Some(AckLevel::Region),
            2 => Some(AckLevel::Replicated),
            _ => None,
        }
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = self.number()? as usize;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head.to_vec())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn sample(first: u64) -> StoreTransaction {
        let site = SiteId::random(7);
        let entry = OutboxEntry {
            site,
            first,
            last: first + 4,
            principal: "anon:test".to_owned(),
            bytes: vec![9; 20],
            acked: AckLevel::Device,
        };
        let position = Some(Position { log: LogId(5), partition: 0, offset: 77 });
        let vector = [(site, first)].into_iter().collect::<selvedge_engine::VersionVector>().encode();
        let state = StoredState {
            vector,
            generation: 1,
            highest: AckLevel::Region,
            position,
            snapshot: vec![1, 2, 3],
            replace: false,
        };
        StoreTransaction {
            put_outbox: vec![entry],
            delete_outbox: vec![OutboxKey { site, first: 100 }],
            put_frames: vec![KeptFrame {
                site,
                first,
                last: first + 1,
                generation: 1,
                tag: [5; 16],
                bytes: vec![8; 9],
            }],
            delete_frames: vec![OutboxKey { site, first: 200 }],
            state: Some(state),
        }
    }

    #[test]
    fn transactions_come_back() {
        let without_position = StoredState { position: None, replace: true, ..sample(1).state.unwrap() };
        for transaction in [
            sample(1),
            StoreTransaction::default(),
            StoreTransaction { state: None, ..sample(2) },
            StoreTransaction { state: Some(without_position), ..StoreTransaction::default() },
        ] {
            let mut bytes = encode(&transaction);
            let length = bytes.len();
            bytes.extend([1, 2, 3]);
            assert_eq!(decode(&bytes), Next::Record(Box::new(transaction), length));
        }
    }

    /// What the fuzzer begins with; written anew where `SELVEDGE_WRITE_SEEDS` is set.
    #[test]
    fn the_bytes_of_a_record_are_those_that_are_kept() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/outbox_record");
        let payload = |transaction: &StoreTransaction| encode(transaction).split_off(HEAD_BYTES);
        let without_position = StoredState { position: None, replace: true, ..sample(1).state.unwrap() };
        let replaced = StoreTransaction { state: Some(without_position), ..StoreTransaction::default() };
        let payloads = [
            payload(&sample(1)),
            payload(&StoreTransaction::default()),
            payload(&replaced),
            without_frames(&sample(3)),
        ];
        for (number, bytes) in payloads.iter().enumerate() {
            let file = folder.join(format!("encoded-{number:03}"));
            if std::env::var_os("SELVEDGE_WRITE_SEEDS").is_some() {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&file, bytes).unwrap();
            }
            assert_eq!(&std::fs::read(&file).unwrap(), bytes, "{}", file.display());
        }
    }

    /// The payload of a transaction as the version without frames wrote it.
    fn without_frames(transaction: &StoreTransaction) -> Vec<u8> {
        let without = StoreTransaction { put_frames: Vec::new(), delete_frames: Vec::new(), ..transaction.clone() };
        let mut payload = encode(&without).split_off(HEAD_BYTES);
        // No frames put, none deleted: two counts of four bytes.
        payload.truncate(payload.len() - 8);
        payload[0] = VERSION_WITHOUT_FRAMES;
        payload
    }

    #[test]
    fn another_form_of_a_flag_is_refused() {
        let payload = encode(&StoreTransaction { state: None, ..StoreTransaction::default() }).split_off(HEAD_BYTES);
        // Behind the version and two counts of four bytes: whether there is a state.
        let at = 1 + 4 + 4;
        assert_eq!(payload[at], 0);
        let changed = [&payload[..at], &[2], &payload[at + 1..]].concat();
        assert_eq!(read(&mut Input(&changed)), None);
    }

    #[test]
    fn a_record_of_the_version_without_frames_is_read() {
        let transaction = StoreTransaction { put_frames: Vec::new(), delete_frames: Vec::new(), ..sample(3) };
        let mut payload = without_frames(&transaction);
        assert_eq!(read(&mut Input(&payload)), Some(transaction.clone()));
        payload[0] = VERSION;
        assert_eq!(read(&mut Input(&payload)), None, "this version says how many frames there are");
    }

    #[test]
    fn a_torn_or_changed_record_is_none() {
        let bytes = encode(&sample(1));
        for length in 1..bytes.len() {
            assert_eq!(decode(&bytes[..length]), Next::Torn, "{length} bytes");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            let expected = if at < 8 { Next::Damaged("a record's length contradicts itself") } else { Next::Torn };
            assert_eq!(decode(&changed), expected, "the last record, byte {at}");
            changed.extend(&bytes);
            assert!(matches!(decode(&changed), Next::Damaged(_)), "a record with others behind it, byte {at}");
        }
    }
}
