//! The distributed region: every part on a service that many relays share.

pub(crate) mod dynamodb;
mod faults;
mod held_back;
mod open;
mod options;
pub(crate) mod postgres;
mod proxy;
mod quota;
pub(crate) mod tls;

pub use dynamodb::DynamoDbOptions;
pub use faults::{
    BlobFaults, ControlFaults, KafkaFaults, OpFaults, RedisFaults, SnapshotFaults, stack_process, wipe_log,
};
pub use open::{OpenError, RegionalRegion};
pub use options::{PeerArgs, RegionalArgs, RegionalOptions, SettingError, without_secret};
pub use postgres::{Postgres, PostgresOptions, SHARDS, shard};
pub use proxy::{Proxy, Way};

pub use crate::blobs::s3::{S3Blobs, S3Options};
pub use crate::bus::redis::{RedisBus, RedisOptions, carry_presence};
pub use crate::control::kafka::{ControlOptions, KafkaControl};
pub use crate::log::kafka::{KafkaLog, KafkaOptions};
pub use crate::ops::dynamodb::{DynamoOps, OpLayout};
pub use crate::ops::keys::document_of;
pub use crate::snapshots::postgres::{INLINE_BYTES_MAX, PostgresSnapshots, snapshot_blobs};
