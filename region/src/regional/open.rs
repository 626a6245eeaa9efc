//! A region on services: opened together, closed in reverse.

use std::sync::Arc;
use std::time::Duration;

use super::options::{RegionalOptions, without_secret};
use super::postgres::Postgres;
use crate::blobs::s3::S3Blobs;
use crate::bus::redis::RedisBus;
use crate::control::kafka::{ControlOptions, KafkaControl};
use crate::log::kafka::KafkaLog;
use crate::ops::dynamodb::DynamoOps;
use crate::snapshots::postgres::{INLINE_BYTES_MAX, PostgresSnapshots};
use crate::{ControlLog, Error, LogId, Region, RegionLog};
use futures_util::future::BoxFuture;

const FIX: &str = "start it, or give another address; `cargo xtask stack up` starts all services of two regions on one machine, \
    and `cargo xtask stack status` shows which of them answer";

/// How long a start waits for the bucket's answer.
const BUCKET_WITHIN: Duration = Duration::from_secs(10);

/// A service that a region cannot be opened without.
#[derive(Debug, thiserror::Error)]
#[error("--{flag} {address}: {service} cannot be used\n  fix: {fix}")]
pub struct OpenError {
    /// The service.
    pub service: &'static str,
    /// The flag that names it.
    pub flag: String,
    /// The address that was tried, without secrets.
    pub address: String,
    /// What to do.
    pub fix: String,
    /// What it answered.
    #[source]
    pub source: Error,
}

/// A region whose parts stand on services.
pub struct RegionalRegion {
    region: Region,
    options: RegionalOptions,
    log: Arc<KafkaLog>,
    control: Arc<KafkaControl>,
    postgres: Postgres,
    ops: Arc<DynamoOps>,
    blobs: Arc<S3Blobs>,
}

impl RegionalRegion {
    /// Connects to every service, and makes the topics, tables and schemas that are missing.
    ///
    /// # Errors
    /// [`OpenError`] names the first service that does not answer, the address tried, and how to start it.
    pub fn open(options: RegionalOptions) -> BoxFuture<'static, Result<Self, OpenError>> {
        Self::seen(options, false)
    }

    /// [`RegionalRegion::open`] for a process of another region: what is kept up to date here by the region's own processes is
    /// left to them.
    ///
    /// # Errors
    /// As [`RegionalRegion::open`].
    pub fn open_far(options: RegionalOptions) -> BoxFuture<'static, Result<Self, OpenError>> {
        Self::seen(options, true)
    }

    fn seen(options: RegionalOptions, far: bool) -> BoxFuture<'static, Result<Self, OpenError>> {
        Box::pin(async move {
            let failed = |service, flag: &str, address: String| {
                let flag = format!("{}{flag}", options.flags);
                move |source| OpenError { service, flag, address, fix: FIX.to_owned(), source }
            };
            let servers: Vec<String> = options.postgres.servers.iter().map(|server| without_secret(server)).collect();
            let kafka_failed = failed("Kafka", "kafka", options.kafka.bootstrap.clone());
            let control_failed = failed("the control plane", "kafka", options.kafka.bootstrap.clone());
            let postgres_failed = failed("PostgreSQL", "postgres", servers.join(","));
            let redis_failed = failed("Redis", "redis", without_secret(&options.redis.url));
            let place =
                |endpoint: &Option<String>, region: &str| endpoint.clone().unwrap_or_else(|| format!("AWS {region}"));
            let dynamodb_failed =
                failed("DynamoDB", "dynamodb", place(&options.dynamodb.endpoint, &options.dynamodb.region));
            let s3_failed = failed("S3", "s3", place(&options.s3.endpoint, &options.s3.region));
            let blobs = Arc::new(S3Blobs::new(options.s3.clone()).map_err(s3_failed)?);

            let log = async { KafkaLog::open(options.kafka.clone()).await.map_err(kafka_failed) };
            let postgres = async { Postgres::open(&options.postgres, options.number).await.map_err(postgres_failed) };
            let bus = async { RedisBus::open(options.redis.clone()).await.map_err(redis_failed) };
            let ops = async {
                let client = options.dynamodb.client().await;
                DynamoOps::open(client, options.table.clone(), options.layout).await.map_err(dynamodb_failed)
            };
            // What is wrong with another region's bucket is said by that region's own processes.
            let looked = async { if far { Ok(()) } else { bucket(&options, blobs.look()).await } };
            let (log, postgres, bus, ops, ()) = tokio::try_join!(log, postgres, bus, ops, looked)?;
            let (name, home) = (options.region.clone(), options.home.clone());
            let who = ControlOptions { region: name, number: options.number, home, far };
            let control = KafkaControl::open(&options.kafka, postgres.clone(), who).await.map_err(control_failed)?;
            let (log, control, ops) = (Arc::new(log), Arc::new(control), Arc::new(ops));
            let region = Region {
                log: Arc::clone(&log) as _,
                ops: Arc::clone(&ops) as _,
                snapshots: Arc::new(PostgresSnapshots::new(
                    postgres.clone(),
                    Arc::clone(&blobs) as _,
                    INLINE_BYTES_MAX,
                )),
                bus: Arc::new(bus),
                blobs: Arc::clone(&blobs) as _,
                control: Arc::clone(&control) as _,
            };
            Ok(Self { region, options, log, control, postgres, ops, blobs })
        })
    }

    /// Whether this process may write to the region's bucket, for whoever is going to: writes one object and removes it. A
    /// bucket that does not answer is no fault of the settings, and is warned of.
    ///
    /// # Errors
    /// [`OpenError`] names the bucket and what it has to allow.
    pub fn try_writing_blobs(&self) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(bucket(&self.options, self.blobs.try_writing()))
    }

    /// The parts, to be cloned and handed on.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// What it was opened with.
    #[must_use]
    pub fn options(&self) -> &RegionalOptions {
        &self.options
    }

    /// Names the log.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.log.log_id()
    }

    /// The control plane's topic, for whoever carries it between regions.
    #[must_use]
    pub fn control_log(&self) -> Arc<dyn ControlLog> {
        Arc::clone(&self.control) as _
    }

    /// The op store itself, for whoever replicates its table.
    #[must_use]
    pub fn dynamo_ops(&self) -> &Arc<DynamoOps> {
        &self.ops
    }

    /// The PostgreSQL servers, for whoever replicates them.
    #[must_use]
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// Waits for what is on its way and closes the connections.
    pub fn close(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.control.close().await;
            self.log.close().await;
            self.postgres.close().await;
        })
    }
}

/// What asking the bucket came to. That it is missing or refuses does not pass by itself: nobody starts with it. That it does
/// not answer passes, and holds up large snapshots and assets alone: it is said, and the rest goes on.
async fn bucket(options: &RegionalOptions, asked: impl Future<Output = Result<(), Error>>) -> Result<(), OpenError> {
    let asked = tokio::time::timeout(BUCKET_WITHIN, asked).await;
    let (name, region) = (&options.s3.bucket, &options.s3.region);
    let place = options.s3.endpoint.clone().unwrap_or_else(|| format!("AWS {region}"));
    let away = |error: String| {
        tracing::warn!(
            bucket = name,
            place,
            error,
            "S3 does not answer: large snapshots and assets wait until it does, everything else goes on"
        );
    };
    let flags = options.flags;
    match asked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error @ (Error::Unavailable { .. } | Error::Throttled { .. }))) => {
            away(chain(&error));
            Ok(())
        }
        Err(_) => {
            away(format!("no answer within {} s", BUCKET_WITHIN.as_secs()));
            Ok(())
        }
        Ok(Err(source)) => Err(OpenError {
            service: "the bucket",
            flag: format!("{flags}s3-bucket"),
            address: format!("{name} at {place}"),
            fix: format!(
                "make the bucket there (`aws s3 mb s3://{name} --region {region}`), or name another one, its place with \
                 --{flags}aws-region; allow this process s3:ListBucket on it, and s3:GetObject, s3:PutObject and \
                 s3:DeleteObject on what is in it"
            ),
            source,
        }),
    }
}

fn chain(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
