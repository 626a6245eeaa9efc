//! Valid inputs of the fuzz targets of a region. Those of the control plane's records are written beside their codec.

use std::sync::Arc;

use selvedge_engine::{Document, SiteId};
use selvedge_protocol::Rights;
use selvedge_region::history::{SEGMENTS, Segment};
use selvedge_region::{BusMessage, DeadLetter, LogId, LogRecord, OpRun, Position, Snapshot, decoders};

use super::targets::segmented;

const AT: Position = Position { log: LogId(u128::MAX - 3), partition: 7, offset: 1 << 40 };

/// The seeds of a target, by its name.
pub(crate) fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "bus_message" => messages().iter().map(decoders::bus_bytes).collect(),
        "dead_letter" => letters(),
        "log_record" => vec![record().encode(), record().copied_from(AT).encode()],
        "region_names" => names(),
        "segment" => segments(),
        "snapshot_row" => rows(),
        _ => Vec::new(),
    }
}

fn record() -> LogRecord {
    LogRecord::new("a/b".parse().unwrap(), 3, "user:ada".to_owned(), written().0[0].bytes.clone())
}

/// What two sites wrote, in the order of runs, and one of their documents.
fn written() -> (Vec<OpRun>, Document) {
    let (mut runs, mut document) = (Vec::new(), Document::new());
    for index in 1..3 {
        document.begin_writing(SiteId::leased(1, index), 1).unwrap();
        for text in ["warp", " and weft"] {
            document.replace(document.len_utf16(), 0, text).unwrap();
            runs.extend(document.seal().into_iter().map(|delta| OpRun {
                site: delta.site,
                first: delta.first,
                last: delta.last(),
                bytes: delta.encode(),
            }));
        }
    }
    runs.sort_by_key(OpRun::cursor);
    (runs, document)
}

fn messages() -> Vec<BusMessage> {
    let presence = |data: Option<&[u8]>, user: Option<&str>| BusMessage::Presence {
        relay: 1,
        session: u64::MAX,
        data: data.map(<[u8]>::to_vec),
        user: user.map(str::to_owned),
    };
    vec![
        BusMessage::Logged { position: AT, record: Arc::new(record()) },
        BusMessage::Tentative { record: Arc::new(record()) },
        presence(None, None),
        presence(Some(b"12"), Some("ann")),
        presence(None, Some("ann")),
        BusMessage::Rights { principal: "user:ann".to_owned(), rights: Rights::Write },
        BusMessage::Deleted { generation: 9 },
        BusMessage::Replicated { watermark: AT },
    ]
}

fn letters() -> Vec<Vec<u8>> {
    let letter =
        |reason: &str, bytes: &[u8]| DeadLetter { position: AT, reason: reason.to_owned(), bytes: bytes.to_vec() };
    [letter("", b""), letter("the record ends early, in its flags", b"\x01"), letter("é", &[0xff; 9])]
        .iter()
        .map(decoders::letter_bytes)
        .collect()
}

fn names() -> Vec<Vec<u8>> {
    let (runs, document) = written();
    let segment = Segment::new(&segmented(), document.vector(), &runs).unwrap();
    let run = decoders::run_name(&runs[0].cursor());
    let partition = decoders::partition_key(&segmented(), 3);
    [
        format!("{partition}#{run}"),
        run,
        partition,
        segment.key.to_string(),
        format!("{SEGMENTS}t-t/n-d/1/x"),
        "snapshots/r-1/t-t/n-d/1/0a".to_owned(),
    ]
    .map(String::into_bytes)
    .into()
}

/// Plain bytes, the same packed, and some that pack too well; without their checksums.
fn segments() -> Vec<Vec<u8>> {
    let (runs, document) = written();
    let long: Vec<OpRun> = {
        let mut document = Document::new();
        document.begin_writing(SiteId::leased(1, 7), 1).unwrap();
        document.replace(0, 0, &"warp ".repeat(200)).unwrap();
        let run = |delta: selvedge_engine::Delta| OpRun {
            site: delta.site,
            first: delta.first,
            last: delta.last(),
            bytes: delta.encode(),
        };
        document.seal().into_iter().map(run).collect()
    };
    let mut all = Vec::new();
    for runs in [&runs[..1], &runs, &long] {
        let bytes = Segment::new(&segmented(), document.vector(), runs).unwrap().bytes;
        all.push([&[1], &bytes[..bytes.len() - 32]].concat());
        let plain = decoders::segment_unpacked(&bytes).unwrap();
        if plain.len() < 400 {
            all.push([&[0], &plain[..]].concat());
        }
    }
    all
}

fn rows() -> Vec<Vec<u8>> {
    let document = written().1;
    let of = |document: &Document| {
        let vector = document.vector().clone();
        let snapshot = Snapshot { vector, position: Some(AT), bytes: document.snapshot() };
        let vector = snapshot.vector.encode();
        [&[vector.len() as u8], &vector[..], &snapshot.bytes].concat()
    };
    vec![of(&document), of(&Document::new())]
}
