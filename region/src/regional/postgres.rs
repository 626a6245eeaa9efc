//! The PostgreSQL servers of a region: connections, migrations, and which server keeps which document.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqlSafeStr};

use crate::{DocumentId, Error, Result};

/// Documents are spread over this many shards, and shards over servers: a server more moves shards, not single documents.
pub const SHARDS: u16 = 1024;
const WHAT: &str = "PostgreSQL";
/// A server that does not answer by then is away; what can do without it goes on without.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "initial", include_str!("../../migrations/postgres_0001.sql")),
    (2, "control", include_str!("../../migrations/postgres_0002.sql")),
    (3, "endpoints", include_str!("../../migrations/postgres_0003.sql")),
];
/// How long to wait before asking a server again that has no connection to spare, in milliseconds.
const RETRY_AFTER_MS: u64 = 500;

/// The servers.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`, one a server, in the order of their shards. The first one also keeps the
    /// index of the control plane.
    pub servers: Vec<String>,
    /// The schema the tables are in; created when missing.
    pub schema: String,
    /// Connections to each server.
    pub connections_max: u32,
}

impl PostgresOptions {
    /// One server.
    #[must_use]
    pub fn new(server: impl Into<String>) -> Self {
        Self { servers: vec![server.into()], schema: "selvedge".to_owned(), connections_max: 16 }
    }
}

/// The logical shard of a document.
#[must_use]
pub fn shard(document: &DocumentId) -> u16 {
    let hash = Sha256::digest(document.as_str().as_bytes());
    u16::from_be_bytes([hash[0], hash[1]]) % SHARDS
}

/// Connections to all servers. Clones share them.
#[derive(Clone)]
pub struct Postgres {
    servers: Vec<PgPool>,
    schema: String,
    region: u8,
}

impl Postgres {
    /// Connects to every server and brings its tables up to date, under a lock that the servers keep.
    ///
    /// # Errors
    /// `Unavailable` when a server does not answer; `Invalid` when an address is none.
    pub fn open<'a>(options: &'a PostgresOptions, region: u8) -> BoxFuture<'a, Result<Self>> {
        Box::pin(async move {
            if options.servers.is_empty() || !is_name(&options.schema) {
                return Err(Error::Invalid("PostgreSQL needs a server, and a schema of a-z, 0-9 and _".to_owned()));
            }
            let mut servers = Vec::with_capacity(options.servers.len());
            for server in &options.servers {
                servers.push(connect(server, options).await?);
            }
            let postgres = Self { servers, schema: options.schema.clone(), region };
            postgres.migrate().await?;
            Ok(postgres)
        })
    }

    /// The copies of another region's tables on these servers, as replication keeps them. Nothing is made.
    ///
    /// # Errors
    /// As [`Postgres::open`].
    pub fn copies<'a>(options: &'a PostgresOptions, other: u8) -> BoxFuture<'a, Result<Self>> {
        Box::pin(async move {
            let mut servers = Vec::with_capacity(options.servers.len());
            for server in &options.servers {
                servers.push(connect(server, options).await?);
            }
            Ok(Self { servers, schema: options.schema.clone(), region: other })
        })
    }

    /// Brings the tables of every server up to date; those that are gone are made again, empty.
    pub(crate) async fn migrate(&self) -> Result<()> {
        for server in &self.servers {
            // Two that create it at once: the second one's failure is the other's success.
            let schema = AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {}", self.schema));
            if let Err(error) = sqlx::query(schema).execute(server).await
                && !matches!(&error, sqlx::Error::Database(database) if database.is_unique_violation())
            {
                return Err(postgres_error(WHAT, error));
            }
            let migrated = migrator(self.region).run(server).await;
            migrated.map_err(|error| Error::Failed { what: "migration of PostgreSQL", source: error.into() })?;
        }
        Ok(())
    }

    /// The server that keeps a document's snapshots.
    pub(crate) fn of(&self, document: &DocumentId) -> &PgPool {
        &self.servers[usize::from(shard(document)) * self.servers.len() / usize::from(SHARDS)]
    }

    /// Every server.
    pub(crate) fn servers(&self) -> &[PgPool] {
        &self.servers
    }

    /// The server that keeps the index of the control plane.
    pub(crate) fn control(&self) -> &PgPool {
        &self.servers[0]
    }

    /// The first server, which keeps the index of the control plane.
    #[must_use]
    pub fn first(&self) -> &PgPool {
        self.control()
    }

    /// The schema of the tables.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The region whose tables are written.
    pub(crate) fn region(&self) -> u8 {
        self.region
    }

    /// Closes all connections.
    pub async fn close(&self) {
        for server in &self.servers {
            server.close().await;
        }
    }
}

fn is_name(schema: &str) -> bool {
    !schema.is_empty()
        && schema.len() <= 60
        && schema.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

async fn connect(server: &str, options: &PostgresOptions) -> Result<PgPool> {
    let connect = PgConnectOptions::from_str(server)
        .map_err(|error| Error::Invalid(format!("the PostgreSQL address of a server: {error}")))?
        .application_name("selvedge")
        .options([("search_path", options.schema.as_str())])
        .disable_statement_logging();
    PgPoolOptions::new()
        .max_connections(options.connections_max)
        .acquire_timeout(ANSWER_TIMEOUT)
        .connect_with(connect)
        .await
        .map_err(|error| postgres_error(WHAT, error))
}

fn migrator(region: u8) -> Migrator {
    let migrations = MIGRATIONS.iter().map(|&(version, name, sql)| {
        let sql = AssertSqlSafe(sql.replace("{region}", &region.to_string())).into_sql_str();
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // A process of the next version may have been here: its tables serve this one, too.
    migrator.set_ignore_missing(true);
    migrator
}

/// PostgreSQL's words in the region's.
pub(crate) fn postgres_error(what: &'static str, error: sqlx::Error) -> Error {
    let code = match &error {
        sqlx::Error::Database(database) => database.code().map(Cow::into_owned),
        _ => None,
    };
    match (code.as_deref(), error) {
        (_, sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed) => Error::Closed { what },
        // disk_full
        (Some("53100"), error) => Error::Full { what, source: Some(error.into()) },
        // out_of_memory, too_many_connections, configuration_limit_exceeded
        (Some("53200" | "53300" | "53400"), _) => Error::Throttled { what, retry_after_ms: RETRY_AFTER_MS },
        // data_corrupted, index_corrupted
        (Some("XX001" | "XX002"), error) => Error::Corrupt { what: what.to_owned(), detail: error.to_string() },
        // serialization_failure, deadlock_detected, read_only_sql_transaction; connection exceptions; operator intervention
        (Some(code), error)
            if matches!(code, "40001" | "40P01" | "25006") || code.starts_with("08") || code.starts_with("57P") =>
        {
            Error::Unavailable { what, source: Some(error.into()) }
        }
        (
            None,
            error @ (sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)),
        ) => Error::Unavailable { what, source: Some(error.into()) },
        (_, error) => Error::Failed { what, source: error.into() },
    }
}

/// The number in a column that only `integer` writes.
pub(crate) fn unsigned(row: &PgRow, column: &str) -> Result<u64> {
    let value: i64 = row.try_get(column).map_err(|error| postgres_error("database", error))?;
    u64::try_from(value)
        .map_err(|_| Error::Corrupt { what: format!("column {column}"), detail: "it is negative".to_owned() })
}

/// A counter in a column that may be NULL.
pub(crate) fn counter(row: &PgRow, column: &str) -> Result<Option<u64>> {
    let value: Option<i64> = row.try_get(column).map_err(|error| postgres_error("database", error))?;
    Ok(value.and_then(|value| u64::try_from(value).ok()))
}

#[cfg(test)]
mod tests {
    use super::{SHARDS, is_name, shard};

    #[test]
    fn documents_spread_over_shards() {
        let shards: std::collections::BTreeSet<u16> =
            (0..10_000).map(|number| shard(&format!("t/{number}").parse().unwrap())).collect();
        assert!(shards.len() > 1000 && shards.iter().all(|shard| *shard < SHARDS));
        assert!(is_name("selvedge_1") && !is_name("x; DROP") && !is_name(""));
    }
}
