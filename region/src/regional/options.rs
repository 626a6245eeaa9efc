//! Where a region's services are and how they are laid out: flags and environment, checked before anything is asked of them.

use crate::blobs::s3::S3Options;
use crate::bus::redis::RedisOptions;
use crate::log::kafka::KafkaOptions;
use crate::ops::dynamodb::OpLayout;
use crate::regional::DynamoDbOptions;
use crate::regional::postgres::PostgresOptions;

/// A setting that cannot be, in terms of flag, value and fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--{flag} {value}: {problem}\n  fix: {fix}")]
pub struct SettingError {
    /// The flag.
    pub flag: String,
    /// Its value, without secrets; `(none)` where there is none.
    pub value: String,
    /// Why it cannot be.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

/// Everything a region's services are reached by.
#[derive(Debug, Clone)]
pub struct RegionalOptions {
    /// The region's name.
    pub region: String,
    /// Its number, from 1: its leased sites and its tables carry it.
    pub number: u8,
    /// The region that decides before the first epoch is begun.
    pub home: String,
    /// What flags of these services begin with, e.g. `peer-`: for messages.
    pub flags: &'static str,
    /// The log and the topic of the control plane.
    pub kafka: KafkaOptions,
    /// Snapshots and the control plane's index.
    pub postgres: PostgresOptions,
    /// The bus.
    pub redis: RedisOptions,
    /// The op store.
    pub dynamodb: DynamoDbOptions,
    /// Its table.
    pub table: String,
    /// How its keys are cut.
    pub layout: OpLayout,
    /// The blobs.
    pub s3: S3Options,
}

const PARTITIONS: u32 = 64;
const REPLICAS: u32 = 3;
const TIMEOUT_MS: u64 = 10_000;
const LINGER_MS: u64 = 2;
const SCHEMA: &str = "selvedge";
const CONNECTIONS: u32 = 16;
const TABLE: &str = "selvedge-ops";
const AWS_REGION: &str = "us-east-1";
const NUMBER: u8 = 1;

/// Declares the flags of one region's services, all of them beginning alike.
macro_rules! regional_args {
    ($(#[$attribute:meta])* $name:ident, $flag:literal, $id:literal, $env:literal) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, clap::Args)]
        pub struct $name {
            /// Kafka brokers, `host:port` separated by commas. Without them there is no region of services.
            #[arg(id = concat!($id, "kafka"), long = concat!($flag, "kafka"), env = concat!($env, "KAFKA"), value_name = "BROKERS")]
            pub kafka: Option<String>,
            /// Virtual partitions of the log: fixed for its life, the same in every region.
            #[arg(id = concat!($id, "kafka_partitions"), long = concat!($flag, "kafka-partitions"), env = concat!($env, "KAFKA_PARTITIONS"), default_value_t = PARTITIONS)]
            pub kafka_partitions: u32,
            /// Copies of each partition; a single broker can hold 1.
            #[arg(id = concat!($id, "kafka_replicas"), long = concat!($flag, "kafka-replicas"), env = concat!($env, "KAFKA_REPLICAS"), default_value_t = REPLICAS)]
            pub kafka_replicas: u32,
            /// How long, in milliseconds, a record may wait for the brokers before its append is repeated.
            #[arg(id = concat!($id, "kafka_timeout_ms"), long = concat!($flag, "kafka-timeout-ms"), env = concat!($env, "KAFKA_TIMEOUT_MS"), default_value_t = TIMEOUT_MS)]
            pub kafka_timeout_ms: u64,
            /// How long, in milliseconds, a record waits for others to go with it.
            #[arg(id = concat!($id, "kafka_linger_ms"), long = concat!($flag, "kafka-linger-ms"), env = concat!($env, "KAFKA_LINGER_MS"), default_value_t = LINGER_MS)]
            pub kafka_linger_ms: u64,
            /// PostgreSQL servers, `postgres://user:password@host:port/database` separated by commas, in the order of their shards.
            #[arg(id = concat!($id, "postgres"), long = concat!($flag, "postgres"), env = concat!($env, "POSTGRES"), hide_env_values = true, value_delimiter = ',', value_name = "URLS")]
            pub postgres: Vec<String>,
            /// The schema of the tables; made when missing.
            #[arg(id = concat!($id, "postgres_schema"), long = concat!($flag, "postgres-schema"), env = concat!($env, "POSTGRES_SCHEMA"), default_value = SCHEMA)]
            pub postgres_schema: String,
            /// Connections of this process to each PostgreSQL server.
            #[arg(id = concat!($id, "postgres_connections"), long = concat!($flag, "postgres-connections"), env = concat!($env, "POSTGRES_CONNECTIONS"), default_value_t = CONNECTIONS)]
            pub postgres_connections: u32,
            /// Redis, `redis://host:port`.
            #[arg(id = concat!($id, "redis"), long = concat!($flag, "redis"), env = concat!($env, "REDIS"), hide_env_values = true, value_name = "URL")]
            pub redis: Option<String>,
            /// Endpoint of DynamoDB, `http://host:port` [default: AWS].
            #[arg(id = concat!($id, "dynamodb"), long = concat!($flag, "dynamodb"), env = concat!($env, "DYNAMODB"), value_name = "URL")]
            pub dynamodb: Option<String>,
            /// DynamoDB's table of operations; made when missing.
            #[arg(id = concat!($id, "dynamodb_table"), long = concat!($flag, "dynamodb-table"), env = concat!($env, "DYNAMODB_TABLE"), default_value = TABLE)]
            pub dynamodb_table: String,
            /// How keys of the table are cut: split, or literal.
            #[arg(id = concat!($id, "op_layout"), long = concat!($flag, "op-layout"), env = concat!($env, "OP_LAYOUT"), default_value = "split", value_enum)]
            pub op_layout: OpLayout,
            /// Endpoint of S3, `http://host:port` [default: AWS].
            #[arg(id = concat!($id, "s3"), long = concat!($flag, "s3"), env = concat!($env, "S3"), value_name = "URL")]
            pub s3: Option<String>,
            /// The bucket of large snapshots and assets; it has to be there.
            #[arg(id = concat!($id, "s3_bucket"), long = concat!($flag, "s3-bucket"), env = concat!($env, "S3_BUCKET"), value_name = "NAME")]
            pub s3_bucket: Option<String>,
            /// AWS' name of the place of table and bucket.
            #[arg(id = concat!($id, "aws_region"), long = concat!($flag, "aws-region"), env = concat!($env, "AWS_REGION"), default_value = AWS_REGION)]
            pub aws_region: String,
            /// Number of the region, 1 to 255, never another region's: its leased sites carry it.
            #[arg(id = concat!($id, "region_number"), long = concat!($flag, "region-number"), env = concat!($env, "REGION_NUMBER"), default_value_t = NUMBER)]
            pub region_number: u8,
            /// Put before every name in the services, so that several deployments can share them.
            #[arg(id = concat!($id, "prefix"), long = concat!($flag, "prefix"), env = concat!($env, "PREFIX"), default_value = "")]
            pub prefix: String,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    kafka: None,
                    kafka_partitions: PARTITIONS,
                    kafka_replicas: REPLICAS,
                    kafka_timeout_ms: TIMEOUT_MS,
                    kafka_linger_ms: LINGER_MS,
                    postgres: Vec::new(),
                    postgres_schema: SCHEMA.to_owned(),
                    postgres_connections: CONNECTIONS,
                    redis: None,
                    dynamodb: None,
                    dynamodb_table: TABLE.to_owned(),
                    op_layout: OpLayout::Split,
                    s3: None,
                    s3_bucket: None,
                    aws_region: AWS_REGION.to_owned(),
                    region_number: NUMBER,
                    prefix: String::new(),
                }
            }
        }

        impl $name {
            /// The options they stand for; `None` where no region of services is named. `home`: the region that decides
            /// before the first epoch is begun.
            ///
            /// # Errors
            /// [`SettingError`] names the flag, the value and the fix.
            pub fn options(&self, region: &str, home: &str) -> Result<Option<RegionalOptions>, SettingError> {
                let given = Given {
                    flags: $flag,
                    kafka: self.kafka.as_deref(),
                    partitions: self.kafka_partitions,
                    replicas: self.kafka_replicas,
                    timeout_ms: self.kafka_timeout_ms,
                    linger_ms: self.kafka_linger_ms,
                    postgres: &self.postgres,
                    schema: &self.postgres_schema,
                    connections: self.postgres_connections,
                    redis: self.redis.as_deref(),
                    dynamodb: self.dynamodb.as_deref(),
                    table: &self.dynamodb_table,
                    layout: self.op_layout,
                    s3: self.s3.as_deref(),
                    bucket: self.s3_bucket.as_deref(),
                    aws_region: &self.aws_region,
                    number: self.region_number,
                    prefix: &self.prefix,
                };
                given.options(region, home)
            }
        }
    };
}

regional_args!(
    /// The services of the own region.
    RegionalArgs, "", "", "SELVEDGE_"
);
regional_args!(
    /// The services of the other region.
    PeerArgs, "peer-", "peer_", "SELVEDGE_PEER_"
);

/// What either set of flags says.
struct Given<'a> {
    flags: &'static str,
    kafka: Option<&'a str>,
    partitions: u32,
    replicas: u32,
    timeout_ms: u64,
    linger_ms: u64,
    postgres: &'a [String],
    schema: &'a str,
    connections: u32,
    redis: Option<&'a str>,
    dynamodb: Option<&'a str>,
    table: &'a str,
    layout: OpLayout,
    s3: Option<&'a str>,
    bucket: Option<&'a str>,
    aws_region: &'a str,
    number: u8,
    prefix: &'a str,
}

impl Given<'_> {
    fn options(&self, region: &str, home: &str) -> Result<Option<RegionalOptions>, SettingError> {
        let Some(kafka) = self.kafka else {
            return self.given_without_kafka().map_or(Ok(None), |(flag, value)| {
                let fix = format!("name the brokers with --{}kafka, or leave this out", self.flags);
                Err(self.wrong(
                    flag,
                    &value,
                    "a region of services needs Kafka, and without it this says nothing",
                    &fix,
                ))
            });
        };
        self.check_name("kafka", kafka, kafka.split(',').all(is_host_port), "is not host:port, or several by commas")?;
        let redis = self.present("redis", self.redis, "redis://127.0.0.1:6379")?;
        self.check_name(
            "redis",
            &without_secret(redis),
            is_url(redis, &["redis", "rediss"]),
            "is not redis://host:port",
        )?;
        let bucket = self.present("s3-bucket", self.bucket, "the bucket's name")?;
        if self.postgres.is_empty() {
            return Err(self.missing("postgres", "postgres://user@127.0.0.1:5432/selvedge"));
        }
        for server in self.postgres {
            let fits = is_url(server, &["postgres", "postgresql"]);
            self.check_name(
                "postgres",
                &without_secret(server),
                fits,
                "is not postgres://user:password@host:port/database",
            )?;
        }
        for (flag, url) in [("dynamodb", self.dynamodb), ("s3", self.s3)] {
            let fits = url.is_none_or(|url| is_url(url, &["http", "https"]));
            self.check_name(flag, url.unwrap_or_default(), fits, "is not http://host:port")?;
        }
        self.check_numbers()?;
        let prefix = self.prefix;
        let fits = prefix.len() <= 64 && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        self.check_name(
            "prefix",
            prefix,
            fits,
            "has other characters than letters, digits, `.`, `_` and `-`, or more than 64",
        )?;
        let endpoint = |url: Option<&str>| url.map(|url| url.trim_end_matches('/').to_owned());
        // Whoever names an endpoint of his own may well have no keys; AWS is asked with what the environment has.
        let local = |url: Option<&str>| {
            let keyless = url.is_some() && std::env::var_os("AWS_ACCESS_KEY_ID").is_none();
            keyless.then(|| ("local".to_owned(), "local".to_owned()))
        };
        Ok(Some(RegionalOptions {
            region: region.to_owned(),
            number: self.number,
            home: home.to_owned(),
            flags: self.flags,
            kafka: KafkaOptions {
                prefix: prefix.to_owned(),
                partitions: self.partitions,
                replicas: self.replicas,
                message_timeout_ms: self.timeout_ms,
                linger_ms: self.linger_ms,
                ..KafkaOptions::new(kafka)
            },
            postgres: PostgresOptions {
                servers: self.postgres.to_vec(),
                schema: format!("{}{}", prefix.to_ascii_lowercase().replace(['-', '.'], "_"), self.schema),
                connections_max: self.connections,
            },
            redis: RedisOptions { prefix: prefix.to_owned(), ..RedisOptions::new(redis) },
            dynamodb: DynamoDbOptions {
                endpoint: endpoint(self.dynamodb),
                region: self.aws_region.to_owned(),
                keys: local(self.dynamodb),
            },
            table: format!("{prefix}{}", self.table),
            layout: self.layout,
            s3: S3Options {
                bucket: bucket.to_owned(),
                region: self.aws_region.to_owned(),
                endpoint: endpoint(self.s3),
                keys: local(self.s3),
                prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            },
        }))
    }

    /// A setting that says something else than its default, with its value as it may be shown.
    fn given_without_kafka(&self) -> Option<(&'static str, String)> {
        let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
        let place = |url: Option<&str>| url.map(without_secret);
        let number = |value: u64, default: u64| (value != default).then(|| value.to_string());
        let name = |value: &str, default: &str| (value != default).then(|| value.to_owned());
        let layout = (self.layout != OpLayout::Split).then(|| "literal".to_owned());
        let given = [
            ("postgres", self.postgres.first().map(|url| without_secret(url))),
            ("redis", place(self.redis)),
            ("dynamodb", place(self.dynamodb)),
            ("s3", place(self.s3)),
            ("s3-bucket", self.bucket.and_then(text)),
            ("prefix", text(self.prefix)),
            ("kafka-partitions", number(self.partitions.into(), PARTITIONS.into())),
            ("kafka-replicas", number(self.replicas.into(), REPLICAS.into())),
            ("kafka-timeout-ms", number(self.timeout_ms, TIMEOUT_MS)),
            ("kafka-linger-ms", number(self.linger_ms, LINGER_MS)),
            ("postgres-connections", number(self.connections.into(), CONNECTIONS.into())),
            ("postgres-schema", name(self.schema, SCHEMA)),
            ("dynamodb-table", name(self.table, TABLE)),
            ("op-layout", layout),
            ("region-number", number(self.number.into(), NUMBER.into())),
            ("aws-region", name(self.aws_region, AWS_REGION)),
        ];
        given.into_iter().find_map(|(flag, value)| Some((flag, value?)))
    }

    fn check_numbers(&self) -> Result<(), SettingError> {
        let numbers = [
            ("kafka-partitions", u64::from(self.partitions), 1, 4096),
            ("kafka-replicas", u64::from(self.replicas), 1, 15),
            ("kafka-timeout-ms", self.timeout_ms, 100, 300_000),
            ("kafka-linger-ms", self.linger_ms, 0, 1_000),
            ("postgres-connections", u64::from(self.connections), 2, 1_000),
            ("region-number", u64::from(self.number), 1, 255),
        ];
        for (flag, value, least, most) in numbers {
            if !(least..=most).contains(&value) {
                let fix = format!("give a number from {least} to {most}");
                return Err(self.wrong(flag, &value.to_string(), "is out of range", &fix));
            }
        }
        Ok(())
    }

    fn present<'a>(&self, flag: &str, value: Option<&'a str>, example: &str) -> Result<&'a str, SettingError> {
        value.filter(|value| !value.is_empty()).ok_or_else(|| self.missing(flag, example))
    }

    fn missing(&self, flag: &str, example: &str) -> SettingError {
        let problem = format!("a region on Kafka needs it, and it is not given; --{}kafka is", self.flags);
        self.wrong(
            flag,
            "(none)",
            &problem,
            &format!("give --{}{flag} or its environment variable, e.g. {example}", self.flags),
        )
    }

    fn check_name(&self, flag: &str, value: &str, fits: bool, problem: &str) -> Result<(), SettingError> {
        if fits { Ok(()) } else { Err(self.wrong(flag, value, problem, "correct it")) }
    }

    fn wrong(&self, flag: &str, value: &str, problem: &str, fix: &str) -> SettingError {
        SettingError {
            flag: format!("{}{flag}", self.flags),
            value: value.to_owned(),
            problem: problem.to_owned(),
            fix: fix.to_owned(),
        }
    }
}

fn is_host_port(place: &str) -> bool {
    let parts = place.trim().rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn is_url(url: &str, schemes: &[&str]) -> bool {
    url.split_once("://")
        .is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty() && !rest.starts_with('/'))
}

/// An address without its password, for messages.
#[must_use]
pub fn without_secret(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "(unreadable)".to_owned() };
    match rest.rsplit_once('@') {
        Some((user, place)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{place}")
        }
        None => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> RegionalArgs {
        RegionalArgs {
            kafka: Some("127.0.0.1:9092,127.0.0.1:9093".into()),
            postgres: vec!["postgres://me:secret@127.0.0.1:5432/db".into()],
            redis: Some("redis://127.0.0.1:6379".into()),
            s3_bucket: Some("bucket".into()),
            ..RegionalArgs::default()
        }
    }

    fn refused(args: RegionalArgs, parts: &[&str]) {
        let message = args.options("a", "a").unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} is missing in: {message}");
        }
        assert!(!message.contains("secret"), "{message}");
    }

    #[test]
    fn nothing_given_is_no_region_and_everything_given_is_one() {
        assert!(RegionalArgs::default().options("a", "a").unwrap().is_none());
        let options = RegionalArgs { prefix: "Try-1.".into(), ..whole() }.options("a", "b").unwrap().unwrap();
        assert_eq!((options.region.as_str(), options.home.as_str(), options.number), ("a", "b", 1));
        assert_eq!(
            (options.postgres.schema.as_str(), options.table.as_str()),
            ("try_1_selvedge", "Try-1.selvedge-ops")
        );
    }

    #[test]
    fn mistakes_name_flag_value_and_fix() {
        refused(RegionalArgs { kafka: None, ..whole() }, &["--postgres postgres://me@127", "fix:", "--kafka"]);
        let alone = RegionalArgs::default;
        refused(RegionalArgs { s3_bucket: Some("b".into()), ..alone() }, &["--s3-bucket b", "fix:", "--kafka"]);
        refused(RegionalArgs { dynamodb: Some("http://h:1".into()), ..alone() }, &["--dynamodb http://h:1", "fix:"]);
        refused(RegionalArgs { prefix: "try-".into(), ..alone() }, &["--prefix try-", "fix:"]);
        refused(RegionalArgs { region_number: 2, ..alone() }, &["--region-number 2", "fix:"]);
        refused(RegionalArgs { op_layout: OpLayout::Literal, ..alone() }, &["--op-layout literal", "fix:"]);
        refused(RegionalArgs { kafka: Some("localhost".into()), ..whole() }, &["--kafka localhost", "fix:"]);
        refused(RegionalArgs { redis: None, ..whole() }, &["--redis (none)", "fix:", "redis://127.0.0.1:6379"]);
        refused(RegionalArgs { redis: Some("http://x".into()), ..whole() }, &["--redis http://x", "fix:"]);
        refused(RegionalArgs { postgres: vec![], ..whole() }, &["--postgres (none)", "fix:"]);
        let server = "mysql://me:secret@host/db".to_owned();
        refused(RegionalArgs { postgres: vec![server], ..whole() }, &["--postgres mysql://me@host/db", "fix:"]);
        refused(RegionalArgs { s3_bucket: None, ..whole() }, &["--s3-bucket (none)", "fix:"]);
        refused(RegionalArgs { dynamodb: Some("localhost:8000".into()), ..whole() }, &["--dynamodb localhost:8000"]);
        refused(RegionalArgs { kafka_partitions: 0, ..whole() }, &["--kafka-partitions 0", "1 to 4096"]);
        refused(RegionalArgs { region_number: 0, ..whole() }, &["--region-number 0", "1 to 255"]);
        refused(RegionalArgs { prefix: "a b".into(), ..whole() }, &["--prefix a b"]);
        let peer = PeerArgs { kafka: Some("h:1".into()), ..PeerArgs::default() };
        let message = peer.options("b", "a").unwrap_err().to_string();
        assert!(message.contains("--peer-redis") && message.contains("--peer-kafka"), "{message}");
    }
}
