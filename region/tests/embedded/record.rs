//! The log record's bytes: canonical, checked, and never trusted.

use proptest::prelude::*;
use selvedge_region::record::RECORD_DELTA_BYTES_MAX;
use selvedge_region::{DocumentId, LogId, LogRecord, Position, RecordError};

fn positions() -> impl Strategy<Value = Option<Position>> {
    let position = (1_u128.., any::<u32>(), any::<u64>());
    prop::option::of(position.prop_map(|(log, partition, offset)| Position { log: LogId(log), partition, offset }))
}

fn records() -> impl Strategy<Value = LogRecord> {
    let names = ("[A-Za-z0-9._~:-]{1,64}", "[A-Za-z0-9._~:-]{1,128}");
    let document = names.prop_map(|(tenant, name)| DocumentId::new(&tenant, &name).unwrap());
    let delta = prop::collection::vec(any::<u8>(), 1..300);
    let numbers = (any::<u64>(), any::<u64>(), 0_u64..3, any::<bool>());
    (document, ".{0,40}", delta, numbers, positions(), positions()).prop_map(
        |(document, principal, delta, (generation, epoch, key_id, trace), origin, first_origin)| {
            let record = LogRecord::new(document, generation, principal, delta);
            LogRecord { epoch, key_id, trace, origin, first_origin, ..record }
        },
    )
}

proptest! {
    #[test]
    fn every_record_comes_back(record in records()) {
        let bytes = record.encode();
        prop_assert_eq!(record.check(), Ok(()));
        prop_assert_eq!(LogRecord::decode(&bytes), Ok(record));
    }

    #[test]
    fn only_its_own_bytes_are_a_record(record in records(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(other) = LogRecord::decode(&bytes) {
            prop_assert_ne!(&other, &record);
            prop_assert_eq!(other.encode(), bytes, "what decodes is canonical");
        }
        let whole = record.encode();
        for length in 0..whole.len() {
            prop_assert!(LogRecord::decode(&whole[..length]).is_err(), "a torn record is none");
        }
    }

    #[test]
    fn any_bytes_decode_or_err(bytes in prop::collection::vec(any::<u8>(), 0..200), version in any::<bool>()) {
        let mut bytes = bytes;
        if version && !bytes.is_empty() {
            bytes[0] = 1;
        }
        if let Ok(record) = LogRecord::decode(&bytes) {
            prop_assert_eq!(record.encode(), bytes);
        }
    }

    #[test]
    fn a_changed_clear_delta_is_noticed(record in records(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut record = LogRecord { key_id: 0, ..record };
        let at = at.index(record.delta.len());
        record.delta[at] ^= flip;
        prop_assert_eq!(LogRecord::decode(&record.encode()), Err(RecordError::Hash));
    }
}

fn sample() -> LogRecord {
    LogRecord::new("acme/plan".parse().unwrap(), 2, "anon:ann".to_owned(), b"delta".to_vec())
}

/// Changing these bytes means a new record version; old ones keep decoding.
#[test]
fn golden_bytes() {
    let hash = "4f4a9410ffcdf895c4adb880659e9b5c0dd1f23a30790684340b3eaacb045398";
    let plain = format!(
        "01\
         00\
         02\
         00\
         00\
         0961636d652f706c616e\
         08616e6f6e3a616e6e\
         {hash}\
         0564656c7461"
    );
    assert_eq!(hex(&sample().encode()), plain);

    let log = LogId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    let origin = Position { log, partition: 3, offset: 300 };
    let copied = LogRecord { trace: true, epoch: 1, key_id: 0, ..sample() };
    let copied = copied.copied_from(Position { log: LogId(7), partition: 0, offset: 1 }).copied_from(origin);
    let expected = format!(
        "01\
         07\
         02\
         01\
         00\
         0102030405060708090a0b0c0d0e0f1003ac02\
         000000000000000000000000000000070001\
         0961636d652f706c616e\
         08616e6f6e3a616e6e\
         {hash}\
         0564656c7461"
    );
    assert_eq!(hex(&copied.encode()), expected);
    assert!(copied.came_from(log) && !copied.came_from(LogId(7)), "the last hop decides what is sent back");
}

#[test]
fn named_refusals() {
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: RecordError| {
        let mut bytes = sample().encode();
        change(&mut bytes);
        assert_eq!(LogRecord::decode(&bytes), Err(expected));
    };
    check(&|bytes| bytes[0] = 2, RecordError::Version(2));
    check(&|bytes| bytes[1] = 8, RecordError::Malformed("flags"));
    check(&|bytes| bytes.clear(), RecordError::Incomplete("version"));
    check(&|bytes| bytes.truncate(20), RecordError::Incomplete("principal"));
    check(&|bytes| bytes.push(0), RecordError::Malformed("delta"));
    check(&|bytes| drop(bytes.splice(2..3, [0x82, 0x00])), RecordError::Malformed("generation"));
    check(&|bytes| drop(bytes.splice(2..3, [0xff; 11])), RecordError::Malformed("generation"));
    check(&|bytes| bytes[10] = b' ', RecordError::Malformed("document"));
    check(&|bytes| drop(bytes.splice(5..15, *b"\x04plan")), RecordError::Malformed("document"));
    check(&|bytes| drop(bytes.splice(15..24, [1, 0xff])), RecordError::Malformed("principal"));
    check(
        &|bytes| {
            bytes[1] = 2;
            bytes.splice(5..5, [0; 18]);
        },
        RecordError::Malformed("origin"),
    );
    check(&|bytes| *bytes.last_mut().unwrap() ^= 1, RecordError::Hash);
    // A length that the bytes do not have is refused before anything is allocated for it.
    check(&|bytes| drop(bytes.splice(56..57, [0x80, 0x80, 0x04])), RecordError::Incomplete("delta"));
    check(&|bytes| drop(bytes.splice(56..57, [0x81, 0x80, 0x04])), RecordError::Malformed("delta"));

    let long = LogRecord::new("a/b".parse().unwrap(), 1, String::new(), vec![1; RECORD_DELTA_BYTES_MAX + 1]);
    assert_eq!(long.check(), Err(RecordError::Malformed("delta")));
    assert!(LogRecord::decode(&long.encode()).is_err());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
