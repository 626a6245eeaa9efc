//! Faults for the contract suites: what befalls real services, brought about on the local stack.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::contract::{Fault, Faults};
use crate::log::kafka::KafkaLog;

/// The faults of a log on a Kafka whose process may be halted.
pub struct KafkaFaults {
    log: Arc<KafkaLog>,
    /// The broker's process; `None`: it cannot be halted from here.
    process: Option<u32>,
}

impl KafkaFaults {
    /// Faults of that log, on a broker with that process.
    #[must_use]
    pub fn new(log: Arc<KafkaLog>, process: Option<u32>) -> Self {
        Self { log, process }
    }

    fn signal(&self, signal: &str) -> bool {
        self.process.is_some_and(|process| {
            let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {process}")]).status();
            sent.is_ok_and(|status| status.success())
        })
    }
}

impl Faults for KafkaFaults {
    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match fault {
                Fault::Full => {
                    self.log.fill(true);
                    true
                }
                Fault::Unavailable => self.signal("STOP"),
                Fault::Healed => {
                    self.log.fill(false);
                    self.process.is_none() || self.signal("CONT")
                }
                Fault::RawRecord(document, bytes) => self.log.append_raw(&document, bytes).await.is_ok(),
                Fault::Throttled | Fault::DamagedSnapshot(_) | Fault::DamagedBlob(_) | Fault::Evicted => false,
            }
        })
    }
}

impl Drop for KafkaFaults {
    fn drop(&mut self) {
        // A test that failed halfway leaves no halted broker behind.
        self.signal("CONT");
    }
}

/// The process id that `cargo xtask stack` noted for a service, from the folder named in `SELVEDGE_STACK_FOLDER`.
#[must_use]
pub fn stack_process(service: &str) -> Option<u32> {
    let folder = PathBuf::from(std::env::var_os("SELVEDGE_STACK_FOLDER")?);
    let text = std::fs::read_to_string(folder.join(service).join("pid")).ok()?;
    text.split(' ').next()?.parse().ok()
}
