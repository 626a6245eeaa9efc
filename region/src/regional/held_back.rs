//! Clients that their brokers hold back, for the contract suites: a quota of next to nothing, used up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout};

use super::quota::set_quota;
use crate::DocumentId;
use crate::control::kafka::KafkaControl;
use crate::log::kafka::{KafkaLog, KafkaOptions};

/// How long a broker may take to hold a client back, or to take its records again.
const FAULT_WITHIN: Duration = Duration::from_secs(60);
/// How long a producer may take to tell that it is held back.
const TOLD_WITHIN: Duration = Duration::from_secs(3);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A client of Kafka that can be held back.
pub(super) trait Writer: Send + Sync {
    /// How it reaches its brokers.
    fn kafka(&self) -> &KafkaOptions;

    /// Whether they hold it back, as far as they have said.
    fn is_throttled(&self) -> bool;

    /// Writes something that nobody heeds, and answers whether that was confirmed.
    fn write(&self) -> BoxFuture<'_, bool>;
}

impl Writer for KafkaLog {
    fn kafka(&self) -> &KafkaOptions {
        self.options()
    }

    fn is_throttled(&self) -> bool {
        self.is_throttled()
    }

    fn write(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let unread: Result<DocumentId, _> = "contract/log-quota".parse();
            match unread {
                Ok(document) => self.append_raw(&document, vec![0]).await.is_ok(),
                Err(_) => false,
            }
        })
    }
}

impl Writer for KafkaControl {
    fn kafka(&self) -> &KafkaOptions {
        self.kafka()
    }

    fn is_throttled(&self) -> bool {
        self.is_throttled()
    }

    fn write(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move { self.write_void().await.is_ok() })
    }
}

/// Whether a writer's client has a quota.
#[derive(Debug, Default)]
pub(super) struct Quota(AtomicBool);

impl Quota {
    /// Gives the writer's client next to nothing to write a second, and writes until the broker reads no more from it.
    pub(super) async fn impose(&self, on: &dyn Writer) -> bool {
        self.0.store(true, Ordering::Release);
        if set_quota(on.kafka(), Some(1)).await.is_err() {
            return false;
        }
        let begin = Instant::now();
        while begin.elapsed() < FAULT_WITHIN {
            // The record that is too much is taken; what comes after it waits. One that is not taken had to wait for another one, and
            // the next one has a new connection.
            on.write().await;
            let told = async {
                while !on.is_throttled() {
                    sleep(LOOK).await;
                }
            };
            if timeout(TOLD_WITHIN, told).await.is_ok() {
                return true;
            }
        }
        false
    }

    /// Takes the quota away, and waits until the broker takes records again: it forgives no client before its time, but a new
    /// connection.
    pub(super) async fn lift(&self, on: &dyn Writer) -> bool {
        if !self.0.swap(false, Ordering::AcqRel) {
            return true;
        }
        if set_quota(on.kafka(), None).await.is_err() {
            return false;
        }
        let begin = Instant::now();
        while begin.elapsed() < FAULT_WITHIN {
            if on.write().await {
                return true;
            }
        }
        false
    }
}
