//! The contract of [`RegionLog`].

use super::{DeadLetter, EntryContent, LogEntry, RegionLog};
use crate::contract::{Fault, Faults, UNFIT_BYTES, document, injected, outages};
use crate::{DocumentId, Error, LogId, LogRecord, Position};

/// Holds a log to its contract. It may hold other documents' records before; those of `contract/log-*` it must not.
///
/// # Panics
/// Where the contract is broken.
pub async fn log(log: &dyn RegionLog, faults: &dyn Faults) {
    order_and_positions(log).await;
    paging(log).await;
    concurrent_appends(log).await;
    refused_positions(log).await;
    bad_batches(log).await;
    progress(log).await;
    undecodable(log, faults).await;
    out_of_service(log, faults).await;
    trimmed(log).await;
}

/// A record whose delta is that text.
fn record(document: &DocumentId, text: &str) -> LogRecord {
    LogRecord::new(document.clone(), 1, "anon:contract".to_owned(), text.as_bytes().to_vec())
}

fn texts(entries: &[LogEntry]) -> Vec<String> {
    let text = |entry: &LogEntry| match &entry.content {
        EntryContent::Record(record) => String::from_utf8_lossy(&record.delta).into_owned(),
        EntryContent::Undecodable { bytes, .. } => format!("undecodable {bytes:?}"),
    };
    entries.iter().map(text).collect()
}

/// Everything of a document from a position, page by page.
async fn all(log: &dyn RegionLog, document: &DocumentId, mut from: Option<Position>, limit: usize) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    loop {
        let page = log.tail(document, from, limit).await.expect("a tail within the log is read");
        assert!(page.entries.len() <= limit, "a page keeps its limit");
        entries.extend(page.entries);
        if page.at_end {
            return entries;
        }
        assert!(from != Some(page.next), "a page that is not the last moves on");
        from = Some(page.next);
    }
}

async fn order_and_positions(log: &dyn RegionLog) {
    let (one, other) = (document("log-one"), document("log-other"));
    let before = log.head(&one).await.expect("an unwritten document has a head");
    assert_eq!(before.log, log.log_id(), "positions name their log");
    assert_ne!(log.log_id(), LogId(0), "0 is no log id");
    assert!(log.partition(&one) < log.partitions());
    let empty = log.tail(&one, None, 10).await.expect("an unwritten document has a tail");
    assert!(empty.entries.is_empty() && empty.at_end);

    let mut traced = record(&one, "a");
    traced.trace = true;
    traced.epoch = 7;
    let traced = traced.copied_from(Position { log: LogId(9), partition: 3, offset: 11 });
    let batch = vec![traced.clone(), record(&other, "x"), record(&one, "b")];
    let positions = log.append(batch).await.expect("a good batch is appended");
    assert_eq!(positions.len(), 3, "one position a record");
    log.append(vec![record(&one, "c")]).await.expect("a good batch is appended");

    let entries = all(log, &one, Some(before), 10).await;
    assert_eq!(texts(&entries), ["a", "b", "c"], "a document's records come in order");
    assert_eq!(entries[0].content, EntryContent::Record(traced), "a record comes back with all its fields");
    assert_eq!(entries[0].position, positions[0], "a record lies where append said");
    assert_eq!(entries[1].position, positions[2]);
    assert!(entries.windows(2).all(|pair| pair[0].position.offset < pair[1].position.offset), "offsets grow");
    assert_eq!(texts(&all(log, &other, None, 10).await), ["x"], "documents do not mix");

    let after_first = Position { offset: positions[0].offset + 1, ..positions[0] };
    assert_eq!(texts(&all(log, &one, Some(after_first), 10).await), ["b", "c"], "one past a record reads on behind it");
    let head = log.head(&one).await.expect("head");
    assert!(head.offset > entries[2].position.offset, "the head is past the last record");
    assert!(all(log, &one, Some(head), 10).await.is_empty(), "nothing lies at the head");

    let page = log.read(positions[0].partition, positions[0].offset, 1).await.expect("a partition is read");
    assert_eq!(texts(&page.entries), ["a"], "a partition is read from an offset");
}

async fn paging(log: &dyn RegionLog) {
    let paged = document("log-paged");
    let big = "x".repeat(20_000);
    let batch = (0..150).map(|number| record(&paged, &format!("{number}{big}"))).collect();
    log.append(batch).await.expect("a big batch is appended");
    for limit in [1, 7, 150, 1000] {
        let entries = all(log, &paged, None, limit).await;
        assert_eq!(entries.len(), 150, "nothing is lost between pages of {limit}");
        assert!(texts(&entries).iter().enumerate().all(|(number, text)| *text == format!("{number}{big}")));
    }
    let many = document("log-many");
    let batch = (0..20_000).map(|number| record(&many, &number.to_string())).collect();
    log.append(batch).await.expect("a batch of very many small records is appended");
    let entries = all(log, &many, None, 1000).await;
    assert!(texts(&entries).iter().enumerate().all(|(number, text)| *text == number.to_string()));
    assert_eq!(entries.len(), 20_000, "all of it, in order");
    let page = log.tail(&paged, None, 1000).await.expect("tail");
    assert!(page.entries.len() < 150 && !page.at_end, "a page is bounded by bytes, too");
}

async fn concurrent_appends(log: &dyn RegionLog) {
    let shared = document("log-concurrent");
    let writer = |writer: u32| {
        let shared = shared.clone();
        async move {
            for number in 0..25 {
                log.append(vec![record(&shared, &format!("{writer}:{number}"))]).await.expect("append");
            }
        }
    };
    futures_util::future::join_all((0..8).map(writer)).await;
    let texts = texts(&all(log, &shared, None, 64).await);
    assert_eq!(texts.len(), 200, "every append is there once");
    for writer in 0..8 {
        let own: Vec<_> = texts.iter().filter(|text| text.starts_with(&format!("{writer}:"))).collect();
        let expected: Vec<_> = (0..25).map(|number| format!("{writer}:{number}")).collect();
        assert!(own.into_iter().eq(expected.iter()), "each writer's appends keep their order");
    }
}

async fn refused_positions(log: &dyn RegionLog) {
    let one = document("log-one");
    let head = log.head(&one).await.expect("head");
    let foreign = LogId(head.log.0 ^ 1);
    let beyond = [Position { offset: head.offset + 1000, ..head }, Position { log: foreign, ..head }];
    for asked in beyond {
        let refused = log.tail(&one, Some(asked), 10).await.expect_err("what this log never had is refused");
        assert!(matches!(refused, Error::BeyondEnd { asked: named, .. } if named == asked), "{refused}");
    }
    let refused = log.read(head.partition, head.offset + 1000, 10).await.expect_err("past the end is refused");
    assert!(matches!(refused, Error::BeyondEnd { .. }), "{refused}");
}

async fn bad_batches(log: &dyn RegionLog) {
    let bad = document("log-bad");
    let mut forged = record(&bad, "text");
    forged.delta = b"other".to_vec();
    let empty = record(&bad, "");
    let mut long = record(&bad, "text");
    long.principal = "p".repeat(300);
    for broken in [forged, empty, long] {
        let refused = log.append(vec![record(&bad, "good"), broken]).await.expect_err("a broken record is refused");
        assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    }
    assert!(all(log, &bad, None, 10).await.is_empty(), "nothing of a refused batch is kept");
    assert_eq!(log.append(Vec::new()).await.expect("an empty batch is nothing to do"), []);
}

async fn progress(log: &dyn RegionLog) {
    let head = log.head(&document("log-one")).await.expect("head");
    let reader = "contract";
    assert_eq!(log.progress(reader, head.partition).await.expect("progress"), None);
    for offset in [1, head.offset, 0] {
        log.commit_progress(reader, head.partition, offset).await.expect("an offset within the log is committed");
        assert_eq!(log.progress(reader, head.partition).await.expect("progress"), Some(offset));
    }
    let refused = log.commit_progress(reader, head.partition, head.offset + 1000).await;
    assert!(matches!(refused, Err(Error::BeyondEnd { .. })), "an offset never reached is not committed");
}

async fn undecodable(log: &dyn RegionLog, faults: &dyn Faults) {
    let raw = document("log-raw");
    log.append(vec![record(&raw, "before")]).await.expect("append");
    if !injected(faults, Fault::RawRecord(raw.clone(), vec![0xff; 5]), "an undecodable record").await {
        return;
    }
    let entries = all(log, &raw, None, 10).await;
    assert_eq!(entries.len(), 2, "an undecodable record is read like any other");
    let EntryContent::Undecodable { bytes, reason } = &entries[1].content else {
        panic!("garbage is told as such: {entries:?}");
    };
    assert_eq!(*bytes, [0xff; 5]);
    let letter = DeadLetter { position: entries[1].position, reason: reason.to_string(), bytes: bytes.clone() };
    for _ in 0..2 {
        log.dead_letter(letter.clone()).await.expect("a dead letter is kept");
    }
    let letters = log.dead_letters(100).await.expect("dead letters");
    assert_eq!(letters.iter().filter(|kept| **kept == letter).count(), 1, "once, however often it is put aside");
}

async fn out_of_service(log: &dyn RegionLog, faults: &dyn Faults) {
    let out = document("log-out");
    let mut kept = Vec::new();
    for (fault, kind) in outages() {
        if !injected(faults, fault, "a log out of service").await {
            continue;
        }
        let batch = kind.repeat(UNFIT_BYTES / kind.len());
        let refused = log.append(vec![record(&out, &batch)]).await.expect_err("nothing is acknowledged out of service");
        assert_eq!(refused.kind(), kind);
        assert!(refused.retryable());
        assert!(faults.inject(Fault::Healed).await, "what can be broken can be healed");
        log.append(vec![record(&out, &batch)]).await.expect("the same batch is appended once the fault is over");
        kept.push(batch);
    }
    let mut texts = texts(&all(log, &out, None, 10).await);
    // A batch that was refused may be there all the same, and then twice.
    texts.dedup();
    assert_eq!(texts, kept);
}

async fn trimmed(log: &dyn RegionLog) {
    let trimmed = document("log-trimmed");
    let mut positions = Vec::new();
    for text in ["a", "b", "c"] {
        positions.extend(log.append(vec![record(&trimmed, text)]).await.expect("append"));
    }
    let partition = positions[0].partition;
    log.trim(partition, positions[1].offset).await.expect("a log is trimmed below an offset");
    log.trim(partition, positions[0].offset).await.expect("trimming less is nothing to do");
    assert_eq!(texts(&all(log, &trimmed, None, 10).await), ["b", "c"], "from the earliest there is");
    assert_eq!(texts(&all(log, &trimmed, Some(positions[1]), 10).await), ["b", "c"]);
    for gone in [log.tail(&trimmed, Some(positions[0]), 10).await, log.read(partition, positions[0].offset, 10).await] {
        let Err(Error::Gone { earliest: Some(earliest), .. }) = gone else {
            panic!("a trimmed position is gone, and not an empty page: {gone:?}");
        };
        assert!(earliest.offset > positions[0].offset && earliest.offset <= positions[1].offset, "{earliest:?}");
    }
    let head = log.head(&trimmed).await.expect("head");
    log.trim(partition, head.offset).await.expect("a log may be trimmed whole");
    assert_eq!(log.head(&trimmed).await.expect("head"), head, "trimming moves no head");
    let next = log.append(vec![record(&trimmed, "d")]).await.expect("append");
    assert!(next[0].offset >= head.offset, "no offset is given twice");
    let refused = log.trim(partition, head.offset + 1000).await;
    assert!(matches!(refused, Err(Error::BeyondEnd { .. })), "what is not there cannot be trimmed");
}
