//! Faults for the contract suites: what befalls real services, brought about on the local stack.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::AssertSqlSafe;

use super::held_back::Quota;
use super::{Postgres, Proxy, Way};
use crate::Result;
use crate::blobs::s3::S3Blobs;
use crate::bus::redis::RedisBus;
use crate::contract::{Fault, Faults};
use crate::control::kafka::KafkaControl;
use crate::log::kafka::{KafkaLog, KafkaOptions, delete_all};
use crate::snapshots::postgres::PostgresSnapshots;

/// The faults of a log on a Kafka whose process may be halted.
pub struct KafkaFaults {
    log: Arc<KafkaLog>,
    /// The broker's process; `None`: it cannot be halted from here.
    process: Option<u32>,
    quota: Quota,
}

impl KafkaFaults {
    /// Faults of that log, on a broker with that process.
    #[must_use]
    pub fn new(log: Arc<KafkaLog>, process: Option<u32>) -> Self {
        Self { log, process, quota: Quota::default() }
    }
}

fn signal(process: Option<u32>, signal: &str) -> bool {
    process.is_some_and(|process| {
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {process}")]).status();
        sent.is_ok_and(|status| status.success())
    })
}

impl Faults for KafkaFaults {
    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match fault {
                Fault::Full => {
                    self.log.fill(true);
                    true
                }
                Fault::Throttled => self.quota.impose(&*self.log).await,
                Fault::Unavailable => signal(self.process, "STOP"),
                Fault::Healed => {
                    self.log.fill(false);
                    let running = self.process.is_none() || signal(self.process, "CONT");
                    running && self.quota.lift(&*self.log).await
                }
                Fault::RawRecord(document, bytes) => self.log.append_raw(&document, bytes).await.is_ok(),
                Fault::DamagedSnapshot(_) | Fault::DamagedBlob(_) | Fault::Evicted => false,
            }
        })
    }
}

impl Drop for KafkaFaults {
    fn drop(&mut self) {
        // A test that failed halfway leaves no halted broker behind.
        signal(self.process, "CONT");
    }
}

/// The faults of a control plane whose topic's Kafka may be halted.
pub struct ControlFaults {
    control: Arc<KafkaControl>,
    /// The broker's process; `None`: it cannot be halted from here.
    process: Option<u32>,
    quota: Quota,
}

impl ControlFaults {
    /// Faults of that control plane, on a broker with that process.
    #[must_use]
    pub fn new(control: Arc<KafkaControl>, process: Option<u32>) -> Self {
        Self { control, process, quota: Quota::default() }
    }
}

impl Faults for ControlFaults {
    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match fault {
                Fault::Full => {
                    self.control.fill(true);
                    true
                }
                Fault::Throttled => self.quota.impose(&*self.control).await,
                Fault::Unavailable => signal(self.process, "STOP"),
                Fault::Healed => {
                    self.control.fill(false);
                    let running = self.process.is_none() || signal(self.process, "CONT");
                    running && self.quota.lift(&*self.control).await
                }
                _ => false,
            }
        })
    }
}

impl Drop for ControlFaults {
    fn drop(&mut self) {
        // A test that failed halfway leaves no halted broker behind.
        signal(self.process, "CONT");
    }
}

/// The faults of a bus on Redis.
pub struct RedisFaults(pub Arc<RedisBus>);

impl Faults for RedisFaults {
    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        Box::pin(async move { fault == Fault::Evicted && self.0.evict().await.is_ok() })
    }
}

/// The faults of snapshots on PostgreSQL.
pub struct SnapshotFaults {
    /// The snapshots.
    pub snapshots: Arc<PostgresSnapshots>,
    /// Connections that do not go by the way.
    pub direct: Postgres,
    /// The way that the snapshots' connections go.
    pub way: Proxy,
}

impl Faults for SnapshotFaults {
    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match fault {
                Fault::Unavailable => {
                    self.way.set(Way::Cut);
                    true
                }
                Fault::Full | Fault::Throttled => refuse_writes(&self.direct, &fault).await,
                Fault::Healed => {
                    self.way.set(Way::Open);
                    refuse_writes(&self.direct, &fault).await
                }
                Fault::DamagedSnapshot(document) => {
                    // Bytes that lie in a blob are no longer those of their checksum, if that is flipped instead.
                    let sql = self.snapshots.sql(
                        "UPDATE {t} SET bytes = set_byte(bytes, length(bytes) - 1, get_byte(bytes, length(bytes) - 1) # 1), \
                         checksum = CASE WHEN bytes IS NULL THEN set_byte(checksum, 0, get_byte(checksum, 0) # 1) \
                         ELSE checksum END WHERE document = $1 AND generation = 1 AND version = \
                         (SELECT max(version) FROM {t} WHERE document = $1 AND generation = 1)",
                    );
                    let damaged = sqlx::query(sql).bind(document.as_str()).execute(self.direct.of(&document)).await;
                    damaged.is_ok_and(|done| done.rows_affected() > 0)
                }
                _ => false,
            }
        })
    }
}

/// Makes the server refuse new rows with the codes it has for a full disk and for too many connections, or take them again.
async fn refuse_writes(postgres: &Postgres, fault: &Fault) -> bool {
    let code = match fault {
        Fault::Full => Some("53100"),
        Fault::Throttled => Some("53300"),
        _ => None,
    };
    let tables = [format!("snapshots_{}", postgres.region()), "audit".to_owned()];
    for table in tables {
        let mut sql = format!("DROP TRIGGER IF EXISTS refuse ON {table};");
        if let Some(code) = code {
            sql += &format!(
                "CREATE OR REPLACE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS \
                 $$BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END$$; \
                 CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_{table}();"
            );
        }
        if sqlx::raw_sql(AssertSqlSafe(sql)).execute(postgres.control()).await.is_err() {
            return false;
        }
    }
    true
}

/// The faults of an op store on DynamoDB, reached by a way.
pub struct OpFaults(pub Proxy);

impl Faults for OpFaults {
    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        let answer = |code: &str| {
            let body = format!("{{\"__type\":\"com.amazonaws.dynamodb.v20120810#{code}\",\"message\":\"refused\"}}");
            refusal("400 Bad Request", "application/x-amz-json-1.0", &body)
        };
        let way = match fault {
            Fault::Throttled => Some(answer("ProvisionedThroughputExceededException")),
            Fault::Full => Some(answer("ItemCollectionSizeLimitExceededException")),
            Fault::Unavailable => Some(Way::Cut),
            Fault::Healed => Some(Way::Open),
            _ => None,
        };
        set(&self.0, way)
    }
}

/// The faults of blobs on S3, reached by a way.
pub struct BlobFaults {
    /// The blobs.
    pub blobs: Arc<S3Blobs>,
    /// The way to them.
    pub way: Proxy,
}

impl Faults for BlobFaults {
    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool> {
        let answer = |status: &str, code: &str| {
            let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>refused</Message></Error>");
            refusal(status, "application/xml", &body)
        };
        match fault {
            Fault::Throttled => set(&self.way, Some(answer("503 Slow Down", "SlowDown"))),
            Fault::Full => set(&self.way, Some(answer("507 Insufficient Storage", "QuotaExceeded"))),
            Fault::Unavailable => set(&self.way, Some(Way::Cut)),
            Fault::Healed => set(&self.way, Some(Way::Open)),
            Fault::DamagedBlob(key) => Box::pin(async move {
                let Ok(key) = key.parse() else { return false };
                self.blobs.damage(&key).await.is_ok()
            }),
            _ => set(&self.way, None),
        }
    }
}

fn set(proxy: &Proxy, way: Option<Way>) -> BoxFuture<'static, bool> {
    let done = way.is_some();
    if let Some(way) = way {
        proxy.set(way);
    }
    Box::pin(async move { done })
}

fn refusal(status: &str, kind: &str, body: &str) -> Way {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
    Way::Answer(format!("{head}Connection: close\r\n\r\n{body}").into_bytes().into())
}

/// Deletes a region's topics with all they hold, as if its brokers had been wiped: the next that is opened is another log.
///
/// # Errors
/// When a topic is not there, or the brokers do not delete it.
pub async fn wipe_log(options: &KafkaOptions) -> Result<()> {
    delete_all(options).await
}

/// The process id that `cargo xtask stack` noted for a service, from the folder named in `SELVEDGE_STACK_FOLDER`.
#[must_use]
pub fn stack_process(service: &str) -> Option<u32> {
    let folder = PathBuf::from(std::env::var_os("SELVEDGE_STACK_FOLDER")?);
    let text = std::fs::read_to_string(folder.join(service).join("pid")).ok()?;
    text.split(' ').next()?.parse().ok()
}
