//! The standby's copy of a region's snapshots: PostgreSQL's own logical replication.
//!
//! Each region writes the table of its own number and publishes only that; the other region subscribes to it into a table of
//! the same name. So no two ever write one row. When a region is lost, the subscription to it is taken away, by which its
//! copy becomes an ordinary table, and what its snapshots cover beyond the own ones is merged into those.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use selvedge_region::fold::{Fold, publish_snapshot};
use selvedge_region::regional::{PostgresOptions, PostgresSnapshots};
use selvedge_region::{Blobs, Error, Region, Result, SnapshotStore};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

const WHAT: &str = "replication of PostgreSQL";
const DOCUMENTS_PAGE: usize = 500;

/// One region's servers and number.
#[derive(Debug, Clone)]
pub struct Side {
    /// Where its servers are.
    pub options: PostgresOptions,
    /// The region's number.
    pub number: u8,
}

/// How one server of the standby follows its publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Following {
    /// Whether there is a subscription.
    pub subscribed: bool,
    /// Bytes of the publisher's journal that have not arrived, where the publisher can be asked.
    pub behind_bytes: Option<u64>,
}

/// Copies the snapshots that `source` writes to `target`'s servers: its publication and the subscription to it. Done already,
/// it changes nothing.
///
/// # Errors
/// `Invalid` when the regions have different numbers of servers; `Unavailable` when one does not answer.
pub async fn follow(source: &Side, target: &Side) -> Result<()> {
    check(source, target)?;
    for (publisher, subscriber) in source.options.servers.iter().zip(&target.options.servers) {
        publish(source, publisher).await?;
        subscribe(source, publisher, target, subscriber).await?;
    }
    Ok(())
}

/// Takes the subscriptions to `source` away from `target`'s servers, whether or not `source` still answers. What arrived stays
/// and can be written to.
///
/// # Errors
/// `Unavailable` when a server of `target` does not answer.
pub async fn detach(source: &Side, target: &Side) -> Result<()> {
    for subscriber in &target.options.servers {
        let mut connection = connect(subscriber).await?;
        let name = subscription(source, target);
        if !exists(&mut connection, "SELECT 1 FROM pg_subscription WHERE subname = $1", &name).await? {
            continue;
        }
        for sql in [
            format!("ALTER SUBSCRIPTION {name} DISABLE"),
            // The publisher may be gone, and its slot with it.
            format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
            format!("DROP SUBSCRIPTION {name}"),
        ] {
            execute(&mut connection, sql).await?;
        }
        tracing::warn!(subscription = name, "the copy of the other region's snapshots stands by itself now");
    }
    Ok(())
}

/// How `target` follows `source`, a server each.
///
/// # Errors
/// `Unavailable` when a server of `target` does not answer.
pub async fn following(source: &Side, target: &Side) -> Result<Vec<Following>> {
    let name = subscription(source, target);
    let mut all = Vec::new();
    for (publisher, subscriber) in source.options.servers.iter().zip(&target.options.servers) {
        let mut there = connect(subscriber).await?;
        let subscribed = exists(&mut there, "SELECT 1 FROM pg_subscription WHERE subname = $1", &name).await?;
        let behind_bytes = behind(publisher, &name).await.ok().flatten();
        all.push(Following { subscribed, behind_bytes });
    }
    Ok(all)
}

/// Merges into the region's own snapshots what the copies of another region's cover beyond them; answers how many documents
/// that changed.
///
/// # Errors
/// As the parts; what was merged stays.
pub async fn adopt(region: &Region, own: &Side, other: u8, blobs: Arc<dyn Blobs>) -> Result<u64> {
    let postgres = selvedge_region::regional::Postgres::copies(&own.options, other).await?;
    let copies = PostgresSnapshots::new(postgres.clone(), blobs, usize::MAX);
    let (mut adopted, mut after) = (0, None);
    loop {
        let keys = copies.documents(after.as_ref(), DOCUMENTS_PAGE).await?;
        let Some(last) = keys.last().cloned() else { break };
        for key in &keys {
            let copy = match copies.latest(key).await {
                Ok(Some(copy)) => copy.snapshot,
                Ok(None) => continue,
                Err(Error::Corrupt { what, detail }) => {
                    tracing::error!(what, detail, "a copied snapshot is passed over: op store and log have the text");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let own = region.snapshots.latest(key).await?.map(|latest| latest.snapshot.vector).unwrap_or_default();
            let damaged = |error: selvedge_engine::DecodeError| Error::Corrupt {
                what: format!("the copied snapshot of {}", key.document),
                detail: error.to_string(),
            };
            if !own.dominates(&copy.vector) {
                let mut fold = Fold::from_snapshot(&copy).map_err(damaged)?;
                publish_snapshot(&*region.snapshots, key, &mut fold).await?;
                adopted += 1;
            }
        }
        after = Some(last);
    }
    postgres.close().await;
    Ok(adopted)
}

fn check(source: &Side, target: &Side) -> Result<()> {
    let (here, there) = (source.options.servers.len(), target.options.servers.len());
    if here != there {
        return Err(Error::Invalid(format!(
            "the regions have {here} and {there} PostgreSQL servers: documents are spread over them alike, so they have to be as many"
        )));
    }
    if source.number == target.number {
        return Err(Error::Invalid(format!(
            "both regions have the number {}: --region-number of one has to change",
            source.number
        )));
    }
    if source.options.schema != target.options.schema {
        return Err(Error::Invalid(format!(
            "the regions' schemas are {} and {}: replication goes from table to table of one name",
            source.options.schema, target.options.schema
        )));
    }
    Ok(())
}

fn tables(side: &Side) -> [String; 2] {
    let (schema, number) = (&side.options.schema, side.number);
    [format!("{schema}.snapshots_{number}"), format!("{schema}.snapshot_versions_{number}")]
}

fn publication(source: &Side) -> String {
    format!("{}_from_{}", source.options.schema, source.number)
}

/// Also the name of the slot at the publisher.
fn subscription(source: &Side, target: &Side) -> String {
    format!("{}_from_{}_to_{}", source.options.schema, source.number, target.number)
}

async fn publish(source: &Side, publisher: &str) -> Result<()> {
    let mut connection = connect(publisher).await?;
    let name = publication(source);
    if !exists(&mut connection, "SELECT 1 FROM pg_publication WHERE pubname = $1", &name).await? {
        let [snapshots, versions] = tables(source);
        execute(&mut connection, format!("CREATE PUBLICATION {name} FOR TABLE {snapshots}, {versions}")).await?;
    }
    Ok(())
}

async fn subscribe(source: &Side, publisher: &str, target: &Side, subscriber: &str) -> Result<()> {
    let mut connection = connect(subscriber).await?;
    let name = subscription(source, target);
    if exists(&mut connection, "SELECT 1 FROM pg_subscription WHERE subname = $1", &name).await? {
        return Ok(());
    }
    let own: BTreeMap<_, _> = tables(source).into_iter().zip(tables(target)).collect();
    for (copy, own) in own {
        execute(&mut connection, format!("CREATE TABLE IF NOT EXISTS {copy} (LIKE {own} INCLUDING ALL)")).await?;
        // What an earlier subscription left is copied anew.
        execute(&mut connection, format!("TRUNCATE {copy}")).await?;
    }
    drop_slot(publisher, &name).await?;
    let from = conninfo(publisher)?.replace('\'', "''");
    let publication = publication(source);
    execute(&mut connection, format!("CREATE SUBSCRIPTION {name} CONNECTION '{from}' PUBLICATION {publication}")).await
}

/// Removes the slot of a subscription that was taken away while its publisher was lost: it would keep the journal for ever.
async fn drop_slot(publisher: &str, name: &str) -> Result<()> {
    let mut connection = connect(publisher).await?;
    let sql =
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND NOT active";
    sqlx::query(sql).bind(name).fetch_all(&mut connection).await.map(drop).map_err(failed)
}

async fn behind(publisher: &str, slot: &str) -> Result<Option<u64>> {
    let mut connection = connect(publisher).await?;
    let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint AS behind \
               FROM pg_replication_slots WHERE slot_name = $1";
    let row = sqlx::query(sql).bind(slot).fetch_optional(&mut connection).await.map_err(failed)?;
    let behind: Option<i64> = row.map(|row| row.try_get("behind")).transpose().map_err(failed)?;
    Ok(behind.map(|bytes| u64::try_from(bytes).unwrap_or(0)))
}

/// An address as PostgreSQL's own library takes it.
fn conninfo(server: &str) -> Result<String> {
    let options = address(server)?;
    // It takes the same addresses, without what only sqlx knows.
    Ok(options.to_url_lossy().as_str().split('?').next().unwrap_or(server).to_owned())
}

async fn connect(server: &str) -> Result<PgConnection> {
    let options = address(server)?;
    PgConnection::connect_with(&options.application_name("selvedge-replicator")).await.map_err(failed)
}

fn address(server: &str) -> Result<PgConnectOptions> {
    PgConnectOptions::from_str(server)
        .map_err(|error| Error::Invalid(format!("the PostgreSQL address of a server: {error}")))
}

async fn exists(connection: &mut PgConnection, sql: &'static str, name: &str) -> Result<bool> {
    let row = sqlx::query(sql).bind(name).fetch_optional(connection).await.map_err(failed)?;
    Ok(row.is_some())
}

/// Statements of replication stand outside of any transaction. Safe: names are made of checked schemas and numbers.
async fn execute(connection: &mut PgConnection, sql: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop).map_err(failed)
}

fn failed(error: sqlx::Error) -> Error {
    let away = matches!(&error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_));
    if away {
        return Error::Unavailable { what: WHAT, source: Some(error.into()) };
    }
    Error::Failed { what: WHAT, source: error.into() }
}
