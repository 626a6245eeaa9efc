//! Records that nobody can read, in a document's log on Kafka: they are put aside with place and cause, and persist goes on.

use std::sync::Arc;

use selvedge_region::contract::{Fault, Faults};
use selvedge_region::fold::PERSIST_READER;
use selvedge_region::regional::{KafkaFaults, KafkaLog};
use selvedge_region::{DeadLetter, EntryContent, LogRecord, Region};

use super::{Writer, from_ops_alone, is_through, key, persist, regions, until};

const GARBAGE: &[u8] = b"garbage";
const NO_DELTA: &[u8] = b"no delta";

/// Everything in the log of a writer's partition, by its content: whether it can be read, and the place.
async fn undecodable(region: &Region, writer: &Writer) -> Vec<DeadLetter> {
    let partition = region.log.partition(&writer.key.document);
    let page = region.log.read(partition, 0, 1000).await.unwrap();
    assert!(page.at_end);
    let letter = |entry: selvedge_region::LogEntry| match entry.content {
        EntryContent::Undecodable { bytes, reason } => {
            Some(DeadLetter { position: entry.position, reason: reason.to_string(), bytes })
        }
        EntryContent::Record(_) => None,
    };
    page.entries.into_iter().filter_map(letter).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_the_log_is_put_aside_with_place_and_cause_and_persist_goes_on() {
    let Some([a, b]) = regions("garbage_in_the_log_is_put_aside").await else { return };
    b.close().await;
    let region = a.region().clone();
    let raw = KafkaFaults::new(Arc::new(KafkaLog::open(a.options().kafka.clone()).await.unwrap()), None);
    let (mut hit, mut beside) = (Writer::new(key("hit"), 1, 1), Writer::new(key("beside"), 1, 1));
    let (task, metrics) = persist(&region);
    region.log.append(vec![hit.record("before "), beside.record("beside ")]).await.unwrap();
    // No record; a record, and no delta in it; nothing at all.
    assert!(raw.inject(Fault::RawRecord(hit.key.document.clone(), GARBAGE.to_vec())).await);
    let principal = "anon:test".to_owned();
    let hollow = LogRecord::new(hit.key.document.clone(), 1, principal, NO_DELTA.to_vec());
    let hollow_at = region.log.append(vec![hollow.clone()]).await.unwrap()[0];
    region.log.append(vec![hit.record("and after "), beside.record("goes on")]).await.unwrap();
    assert!(raw.inject(Fault::RawRecord(hit.key.document.clone(), vec![0xff; 100_000])).await);
    region.log.append(vec![hit.record("all of it")]).await.unwrap();
    until("persist is through", async || is_through(&region, PERSIST_READER).await).await;

    let found = undecodable(&region, &hit).await;
    assert_eq!(found.iter().map(|letter| letter.bytes.len()).collect::<Vec<_>>(), [GARBAGE.len(), 100_000]);
    let mut letters = region.log.dead_letters(10).await.unwrap();
    letters.sort_by_key(|letter| letter.position.offset);
    assert_eq!(letters.len(), 3, "{letters:?}");
    assert_eq!([&letters[0], &letters[2]], [&found[0], &found[1]], "the very bytes, their place, and what is wrong");
    assert_eq!((letters[1].position, &letters[1].bytes), (hollow_at, &hollow.encode()));
    assert!(letters.iter().all(|letter| !letter.reason.is_empty()), "{letters:?}");
    assert_eq!(metrics.dead_letters.get(), 3);
    for writer in [&hit, &beside] {
        assert_eq!(from_ops_alone(&region, &writer.key).await, writer.document.text(), "{}", writer.key.document);
        until("a snapshot of what comes after it, too", async || {
            let latest = region.snapshots.latest(&writer.key).await.unwrap();
            latest.is_some_and(|latest| latest.snapshot.vector == *writer.document.vector())
        })
        .await;
    }
    task.stop().await;

    // What was put aside is done with: who comes next does not read it again.
    let (task, metrics) = persist(&region);
    region.log.append(vec![hit.record(", and more")]).await.unwrap();
    until("persist is through again", async || is_through(&region, PERSIST_READER).await).await;
    task.stop().await;
    assert_eq!((metrics.records.get(), metrics.dead_letters.get()), (1, 0));
    assert_eq!(region.log.dead_letters(10).await.unwrap().len(), 3);
    assert_eq!(from_ops_alone(&region, &hit.key).await, hit.document.text());
    a.close().await;
}
