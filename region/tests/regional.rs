//! The distributed region held to the contracts of its parts, on real services.
//!
//! `cargo xtask test --only region` starts the services and names them in the environment; a part whose service is not named
//! there is skipped by name. Every run works on topics, tables and databases of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use selvedge_region::contract;
use selvedge_region::regional::{KafkaFaults, KafkaLog, KafkaOptions, stack_process};

/// The address of region A's service, or the reason to skip.
fn address(service: &str, test: &str) -> Option<String> {
    let variable = format!("SELVEDGE_STACK_{service}");
    let address = std::env::var(&variable).ok().filter(|address| !address.is_empty());
    if address.is_none() {
        eprintln!("skipped: {test} ({variable} names no service; `cargo xtask stack up` starts one)");
    }
    address
}

fn unique() -> String {
    format!("contract-{:08x}-", rand::random::<u32>())
}

fn kafka(bootstrap: &str) -> KafkaOptions {
    KafkaOptions {
        prefix: unique(),
        partitions: 4,
        replicas: 1,
        message_timeout_ms: 3_000,
        ..KafkaOptions::new(bootstrap)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log() {
    let Some(bootstrap) = address("A_KAFKA", "log") else { return };
    let log = Arc::new(KafkaLog::open(kafka(&bootstrap)).await.unwrap());
    let faults = KafkaFaults::new(Arc::clone(&log), stack_process("a-kafka"));
    contract::log(&*log, &faults).await;
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_readers() {
    let Some(bootstrap) = address("A_KAFKA", "log_readers") else { return };
    let log = KafkaLog::open(kafka(&bootstrap)).await.unwrap();
    contract::log_readers(&log).await;
    log.close().await;
}
