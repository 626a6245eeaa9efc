//! Records that nobody can read, in the topic of the control plane: whoever may write there, an older or a newer version or an
//! attacker, stops nobody.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use selvedge_protocol::Rights;
use selvedge_region::regional::{ControlOptions, KafkaControl, KafkaOptions, Postgres, PostgresOptions};
use selvedge_region::{Control, DocumentKey, DocumentQuery, NewDocument};

use super::{KAFKA, address, kafka, unique};

fn new(name: &str) -> NewDocument {
    NewDocument { document: format!("contract/{name}").parse().unwrap(), creator: "ann".to_owned(), now_ms: 1 }
}

fn who(far: bool) -> ControlOptions {
    ControlOptions { region: "a".to_owned(), number: 1, home: "a".to_owned(), far }
}

async fn index(server: &str) -> Postgres {
    let schema = unique().replace('-', "_");
    Postgres::open(&PostgresOptions { schema, ..PostgresOptions::new(server) }, 1).await.unwrap()
}

/// Writes those bytes as the topic's next record.
async fn write(options: &KafkaOptions, bytes: &[u8]) {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &options.bootstrap).set("acks", "all").create().unwrap();
    let topic = format!("{}control", options.prefix);
    let record = FutureRecord::to(&topic).partition(0).key("garbage").payload(bytes);
    producer.send(record, Duration::from_secs(30)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_among_the_records_of_the_control_plane_is_passed_over() {
    let test = "garbage_among_the_records_of_the_control_plane";
    let (Some(bootstrap), Some(server)) = (address("A_KAFKA", test), address("A_POSTGRES", test)) else { return };
    let _needs = KAFKA.read().await;
    let options = kafka(&bootstrap);
    let postgres = index(&server).await;
    let control = KafkaControl::open(&options, postgres.clone(), who(false)).await.unwrap();
    control.create(new("before")).await.unwrap();
    // Of no version, of this version and cut short, and of a length that no record has.
    for garbage in [&b"garbage"[..], &[1], &[1, 0xff, 0xff], &[0xfe; 100_000]] {
        write(&options, garbage).await;
    }
    let (early, late) = (new("before").document, new("after"));
    let key = DocumentKey::new(late.document.clone(), 1);
    control.create(late).await.unwrap();
    control.set_rights(&key.document, "bob", Rights::Write).await.unwrap();
    let leased = control.lease_site(&key, "bob", &Default::default()).await.unwrap();
    // Who reads the topic from its beginning, into memory or into an index of its own, finds the same.
    let far = KafkaControl::open(&options, postgres.clone(), who(true)).await.unwrap();
    let fresh = index(&server).await;
    let again = KafkaControl::open(&options, fresh.clone(), who(false)).await.unwrap();
    for (name, seen) in [("its writer", &control), ("memory", &far), ("a new index", &again)] {
        for document in [&early, &key.document] {
            assert!(seen.document(document).await.unwrap().is_some(), "{name}: {document}");
        }
        assert_eq!(seen.rights(&key.document, "bob").await.unwrap(), Rights::Write, "{name}");
        assert_eq!(seen.site_owner(&key, leased.site).await.unwrap().as_deref(), Some("bob"), "{name}");
        let all = DocumentQuery { tenant: "contract".into(), prefix: String::new(), after: None, limit: 9 };
        assert_eq!(seen.list(&all).await.unwrap().documents.len(), 2, "{name}: nothing was made of garbage");
    }
    for (control, postgres) in [(control, postgres), (again, fresh)] {
        control.close().await;
        postgres.close().await;
    }
    far.close().await;
}
