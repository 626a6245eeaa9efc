//! The control plane on Kafka and PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use selvedge_protocol::Rights;
use selvedge_region::regional::{
    ControlFaults, ControlOptions, KafkaControl, Postgres, PostgresOptions, Proxy, Way, stack_process,
};
use selvedge_region::{Control, ControlLog, DocumentId, DocumentKey, DocumentQuery, Error, NewDocument, contract};

use super::{KAFKA, address, host, kafka, unique};

/// PostgreSQL of a region with a schema of its own, and the way that the connections go.
async fn postgres_of(server: &str, number: u8) -> (Postgres, Proxy) {
    let way = Proxy::to(host(server)).await.unwrap();
    let servers = vec![server.replace(&host(server), &way.address())];
    let options = PostgresOptions { servers, schema: unique().replace('-', "_"), ..PostgresOptions::new(server) };
    (Postgres::open(&options, number).await.unwrap(), way)
}

fn who(region: &str, number: u8) -> ControlOptions {
    ControlOptions { region: region.to_owned(), number, home: "a".to_owned(), far: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control() {
    let Some(bootstrap) = address("A_KAFKA", "control") else { return };
    let Some(server) = address("A_POSTGRES", "control") else { return };
    let _halts = KAFKA.write().await;
    let (postgres, _way) = postgres_of(&server, 1).await;
    let control = Arc::new(KafkaControl::open(&kafka(&bootstrap), postgres.clone(), who("a", 1)).await.unwrap());
    let faults = ControlFaults::new(Arc::clone(&control), stack_process("a-kafka"));
    contract::control(&*control, &faults).await;
    control.close().await;
    postgres.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_of_two_regions() {
    let Some(bootstrap) = address("A_KAFKA", "control_of_two_regions") else { return };
    let Some(server) = address("A_POSTGRES", "control_of_two_regions") else { return };
    let _needs = KAFKA.read().await;
    let (postgres_a, _way_a) = postgres_of(&server, 1).await;
    let (postgres_b, _way_b) = postgres_of(&server, 2).await;
    let a = KafkaControl::open(&kafka(&bootstrap), postgres_a, who("a", 1)).await.unwrap();
    let b = KafkaControl::open(&kafka(&bootstrap), postgres_b, who("b", 2)).await.unwrap();
    contract::control_of_two_regions(contract::Pair {
        home: &a,
        home_log: &a,
        home_name: "a",
        standby: &b,
        standby_log: &b,
        standby_name: "b",
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_goes_on_without_its_index_and_makes_it_again() {
    let test = "control_goes_on_without_its_index_and_makes_it_again";
    let (Some(bootstrap), Some(server)) = (address("A_KAFKA", test), address("A_POSTGRES", test)) else { return };
    let _needs = KAFKA.read().await;
    let (postgres, way) = postgres_of(&server, 1).await;
    let control = KafkaControl::open(&kafka(&bootstrap), postgres.clone(), who("a", 1)).await.unwrap();
    let new = |name: &str| NewDocument {
        document: format!("contract/{name}").parse().unwrap(),
        creator: "ann".to_owned(),
        now_ms: 1,
    };
    let (early, late) = (new("early"), new("late"));
    control.create(early.clone()).await.unwrap();
    way.set(Way::Cut);
    assert!(control.document(&early.document).await.unwrap().is_some(), "what was known before");
    control.create(late.clone()).await.unwrap();
    let key = DocumentKey::new(late.document.clone(), 1);
    let leased = control.lease_site(&key, "ann", &Default::default()).await.unwrap();
    let taken = control.bind_site(&key, leased.site, "bob").await;
    assert!(matches!(taken, Err(Error::SiteTaken { .. })), "{taken:?}");
    way.set(Way::Open);
    drop_tables(&server, &postgres).await;
    // The index is made again from the topic, by whoever keeps it up to date.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while !has_document(&postgres, &late.document).await {
        assert!(tokio::time::Instant::now() < deadline, "the index is not made again");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let owner = control.site_owner(&key, leased.site).await.unwrap();
    assert_eq!(owner.as_deref(), Some("ann"));
    let query = DocumentQuery { tenant: "contract".into(), prefix: String::new(), after: None, limit: 9 };
    assert_eq!(control.list(&query).await.unwrap().documents.len(), 2);
    control.close().await;
    postgres.close().await;
}

/// Copies one region's records to another one.
async fn carry(from: &KafkaControl, to: &KafkaControl) {
    let mut next = 0;
    loop {
        let page = from.records(next, 100).await.unwrap();
        to.import(from.log_id(), page.records).await.unwrap();
        next = page.next;
        if page.at_end {
            return;
        }
    }
}

/// What a home decided that its successor had not heard of is undone by making the index again. Nobody sees it half made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_is_made_again_out_of_sight() {
    const DOCUMENTS: usize = 1_500;
    let test = "the_index_is_made_again_out_of_sight";
    let (Some(bootstrap), Some(server)) = (address("A_KAFKA", test), address("A_POSTGRES", test)) else { return };
    let _needs = KAFKA.read().await;
    let (postgres, _way) = postgres_of(&server, 1).await;
    let (postgres_b, _way_b) = postgres_of(&server, 2).await;
    let home = KafkaControl::open(&kafka(&bootstrap), postgres.clone(), who("a", 1)).await.unwrap();
    let standby = KafkaControl::open(&kafka(&bootstrap), postgres_b.clone(), who("b", 2)).await.unwrap();
    let document = |number: usize| format!("contract/{number:04}").parse::<DocumentId>().unwrap();
    let create = |number| home.create(NewDocument { document: document(number), creator: "ann".to_owned(), now_ms: 1 });
    futures_util::stream::iter(0..DOCUMENTS)
        .for_each_concurrent(50, async |number| drop(create(number).await.unwrap()))
        .await;
    carry(&home, &standby).await;
    home.set_rights(&document(0), "bob", Rights::Write).await.unwrap();
    standby.begin_epoch(1, "b").await.unwrap();
    let is_over = AtomicBool::new(false);
    let watched = async {
        let mut looks = 0_usize;
        while !is_over.load(Ordering::Acquire) {
            // The last is the last that comes again.
            for number in [0, DOCUMENTS - 1] {
                assert!(has_document(&postgres, &document(number)).await, "document {number} was away in look {looks}");
            }
            looks += 1;
        }
        looks
    };
    let fed = async {
        carry(&standby, &home).await;
        is_over.store(true, Ordering::Release);
    };
    let (looks, ()) = tokio::join!(watched, fed);
    assert!(looks > 1);
    assert_eq!(home.standing().home, "b");
    assert_eq!(home.rights(&document(0), "bob").await.unwrap(), Rights::None, "the decision nobody heard of is undone");
    home.close().await;
    standby.close().await;
}

/// Whoever brings the index up has its lock, and may be cut off anywhere in that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_is_not_locked_for_long_by_who_is_cut_off() {
    let test = "the_index_is_not_locked_for_long_by_who_is_cut_off";
    let (Some(bootstrap), Some(server)) = (address("A_KAFKA", test), address("A_POSTGRES", test)) else { return };
    let _needs = KAFKA.read().await;
    let (kafka, (postgres, _way)) = (kafka(&bootstrap), postgres_of(&server, 1).await);
    let control = KafkaControl::open(&kafka, postgres.clone(), who("a", 1)).await.unwrap();
    let mut halted = Vec::new();
    for pieces in 4..20 {
        let way = Proxy::to(host(&server)).await.unwrap();
        let through = PostgresOptions {
            servers: vec![server.replace(&host(&server), &way.address())],
            schema: postgres.schema().to_owned(),
            connections_max: 1,
        };
        let through = Postgres::open(&through, 1).await.unwrap();
        let sibling = KafkaControl::open(&kafka, through.clone(), who("a", 1)).await.unwrap();
        halted.push((pieces, way, through, sibling));
    }
    for (pieces, way, ..) in &halted {
        way.set(Way::Halts(*pieces));
    }
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(90);
    for round in 0..20 {
        let new =
            NewDocument { document: format!("contract/{round}").parse().unwrap(), creator: "ann".into(), now_ms: 1 };
        control.create(new.clone()).await.unwrap();
        while !has_document(&postgres, &new.document).await {
            assert!(tokio::time::Instant::now() < deadline, "the index stays locked in round {round}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    for (_, way, ..) in &halted {
        way.set(Way::Cut);
    }
    control.close().await;
    postgres.close().await;
}

/// Over a link that may fall silent nothing is asked of another region's index.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_far_region_is_seen_without_its_index() {
    let test = "a_far_region_is_seen_without_its_index";
    let (Some(bootstrap), Some(server)) = (address("A_KAFKA", test), address("A_POSTGRES", test)) else { return };
    let _needs = KAFKA.read().await;
    let (kafka, (postgres, way)) = (kafka(&bootstrap), postgres_of(&server, 1).await);
    let far = ControlOptions { far: true, ..who("a", 1) };
    let seen = KafkaControl::open(&kafka, postgres.clone(), far).await.unwrap();
    way.set(Way::Cut);
    let new = NewDocument { document: "contract/far".parse().unwrap(), creator: "ann".to_owned(), now_ms: 1 };
    seen.create(new.clone()).await.unwrap();
    assert!(seen.document(&new.document).await.unwrap().is_some());
    // The region's own processes do not come by that way.
    let own = PostgresOptions { schema: postgres.schema().to_owned(), ..PostgresOptions::new(&server) };
    let own = Postgres::open(&own, 1).await.unwrap();
    assert!(!has_document(&own, &new.document).await, "the index is theirs to bring up");
    let near = KafkaControl::open(&kafka, own.clone(), who("a", 1)).await.unwrap();
    assert!(has_document(&own, &new.document).await);
    near.close().await;
    seen.close().await;
    own.close().await;
}

async fn drop_tables(server: &str, postgres: &Postgres) {
    let direct = sqlx::PgPool::connect(server).await.unwrap();
    let sql = sqlx::AssertSqlSafe(format!("DROP SCHEMA {} CASCADE", postgres.schema()));
    sqlx::query(sql).execute(&direct).await.unwrap();
    direct.close().await;
}

async fn has_document(postgres: &Postgres, document: &DocumentId) -> bool {
    let rows = sqlx::query("SELECT 1 FROM documents WHERE document = $1").bind(document.as_str());
    rows.fetch_optional(postgres.first()).await.is_ok_and(|row| row.is_some())
}
