//! The distributed region: every part on a service that many relays share.

mod faults;

pub use faults::{KafkaFaults, stack_process};

pub use crate::log::kafka::{KafkaLog, KafkaOptions};
