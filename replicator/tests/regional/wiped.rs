//! A region that has lost everything, and is fed by the other one until it holds everything again.

use std::sync::Arc;

use selvedge_region::fold::{PERSIST_READER, materialise};
use selvedge_region::regional::{Proxy, RedisBus, RegionalOptions, RegionalRegion, Way, wipe_log};
use selvedge_region::{NewDocument, Region};
use selvedge_replicator::link::{Link, side};
use selvedge_replicator::metrics::ShipMetrics;
use selvedge_replicator::ship::{ShipConfig, ShipTask, postgres, reader_of};

use super::{Writer, from_ops_alone, is_through, key, options, persist, records, trimming, unique, until};

/// Takes from a region all that it keeps of these documents, and its log and control plane whole.
async fn wipe(region: RegionalRegion, writers: &[&Writer]) {
    for writer in writers {
        region.region().ops.erase(&writer.key).await.unwrap();
        region.region().snapshots.erase(&writer.key).await.unwrap();
    }
    let options = region.options().clone();
    region.close().await;
    RedisBus::open(options.redis.clone()).await.unwrap().evict().await.unwrap();
    wipe_log(&options.kafka).await.unwrap();
}

/// Removes what every region has and covers from a log, as cleanup does.
async fn trim(region: &Region) {
    for partition in 0..region.log.partitions() {
        let end = region.log.bounds(partition).await.unwrap().end.offset;
        region.log.trim(partition, end).await.unwrap();
    }
}

async fn text(region: &Region, writer: &Writer) -> String {
    materialise(region, &writer.key).await.unwrap().into_document().text()
}

/// The region's services with Kafka reached by the link's own port, and the way that begins there.
async fn linked(options: &RegionalOptions, test: &str) -> Option<(RegionalOptions, Proxy)> {
    let address = |name: &str| std::env::var(format!("SELVEDGE_STACK_B_KAFKA_{name}")).ok();
    let (Some(begin), Some(broker)) = (address("LINK"), address("LINKED")) else {
        eprintln!("skipped: {test} (SELVEDGE_STACK_B_KAFKA_LINK names no way to the broker that can be cut)");
        return None;
    };
    let way = Proxy::at(&begin, broker).await.unwrap();
    let mut far = options.clone();
    far.kafka.bootstrap = begin;
    Some((far, way))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_wiped_while_nobody_writes_is_fed_everything_when_somebody_does() {
    const TEST: &str = "a_region_wiped_while_nobody_writes";
    let Some([own, other]) = options(TEST, &unique()) else { return };
    let Some((far, way)) = linked(&other, TEST).await else { return };
    let (a, b) = tokio::try_join!(RegionalRegion::open(own), RegionalRegion::open(other.clone())).unwrap();
    let a = Arc::new(a);
    let (in_a, before) = (a.region().clone(), b.log_id());
    let (mut old, mut new) = (Writer::new(key("old"), 1, 1), Writer::new(key("new"), 1, 1));
    for word in ["of ", "long ", "ago"] {
        in_a.log.append(vec![old.record(word)]).await.unwrap();
    }
    trimming::settle(&[in_a.clone(), b.region().clone()]).await;
    trim(&in_a).await;
    in_a.log.append(vec![new.record("in the log ")]).await.unwrap();
    let document = old.key.document.clone();
    in_a.control.create(NewDocument { document, creator: "user:ann".into(), now_ms: 5 }).await.unwrap();

    let metrics = Arc::new(ShipMetrics::default());
    let link = Link::spawn(Arc::clone(&a), far, None, Arc::clone(&metrics));
    let reader = reader_of(a.log_id(), before);
    until("b has everything", async || is_through(&in_a, &reader).await && metrics.copied.get() > 0).await;
    let known = async |region: &Region| {
        let found = region.control.document(&old.key.document).await.unwrap();
        found.is_some_and(|info| info.creator == "user:ann")
    };
    until("b knows the document", async || known(b.region()).await).await;

    way.set(Way::Cut);
    wipe(b, &[&old, &new]).await;
    let b = RegionalRegion::open(other).await.unwrap();
    let in_b = b.region().clone();
    assert_ne!(b.log_id(), before, "another log");
    assert!(!known(&in_b).await && text(&in_b, &old).await.is_empty(), "nothing is left");
    way.set(Way::Open);
    // Nobody wrote meanwhile: nothing was refused that could have told a that b is another one.
    assert_eq!(metrics.peers_replaced.get(), 0);
    in_a.log.append(vec![new.record("and on")]).await.unwrap();

    let reader = reader_of(a.log_id(), b.log_id());
    until("b is fed", async || is_through(&in_a, &reader).await).await;
    assert_eq!(metrics.peers_replaced.get(), 1);
    assert_eq!(text(&in_b, &old).await, old.document.text(), "from op store and snapshot: no log has it");
    assert_eq!(text(&in_b, &new).await, new.document.text(), "from the log");
    assert_eq!(from_ops_alone(&in_b, &old.key).await, old.document.text());
    until("b knows the document again", async || known(&in_b).await).await;
    let (task, _) = persist(&in_b);
    until("b persists what it was fed", async || is_through(&in_b, PERSIST_READER).await).await;
    task.stop().await;
    assert_eq!(from_ops_alone(&in_b, &new.key).await, new.document.text());

    // And nothing of it goes back.
    let had = records(&in_a).await.len();
    let back = ShipTask::spawn(in_b.clone(), in_a.clone(), ShipConfig::default(), Arc::new(ShipMetrics::default()));
    let reader = reader_of(b.log_id(), a.log_id());
    until("b's log is looked through", async || is_through(&in_b, &reader).await).await;
    back.stop().await;
    assert_eq!(records(&in_a).await.len(), had);
    link.stop().await;
    postgres::detach(&side(a.options()), &side(b.options())).await.unwrap();
    b.close().await;
    Arc::into_inner(a).expect("the link has let go").close().await;
}
