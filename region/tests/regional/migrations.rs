//! PostgreSQL's tables brought up to date: from an older version's, by several processes at once, and where a newer one has been.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_engine::{Document, SiteId};
use selvedge_region::regional::{INLINE_BYTES_MAX, Postgres, PostgresOptions, PostgresSnapshots, S3Blobs, S3Options};
use selvedge_region::{DocumentKey, Snapshot, SnapshotStore};
use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqlSafeStr};
use tokio::process::{Child, Command};

use super::{address, unique};

/// A machine under load takes long; a test that has to wait longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// The tables as the first version made them.
const OLDEST: &str = include_str!("../../migrations/postgres_0001.sql");
/// Set for a process that a test starts: the schema that it is to bring up to date.
const SCHEMA: &str = "SELVEDGE_TEST_SCHEMA";
const PROCESSES: usize = 4;

fn options(server: &str) -> PostgresOptions {
    PostgresOptions { schema: unique().replace('-', "_"), connections_max: 2, ..PostgresOptions::new(server) }
}

/// A connection that sees a schema, which need not be there.
async fn connect(options: &PostgresOptions) -> PgConnection {
    let mut connection = PgConnection::connect(&options.servers[0]).await.unwrap();
    let see = AssertSqlSafe(format!("SET search_path TO {}", options.schema));
    sqlx::query(see).execute(&mut connection).await.unwrap();
    connection
}

/// Makes the schema as the first version left it.
async fn oldest(options: &PostgresOptions) {
    let mut connection = connect(options).await;
    let make = AssertSqlSafe(format!("CREATE SCHEMA {}", options.schema));
    sqlx::query(make).execute(&mut connection).await.unwrap();
    let sql = AssertSqlSafe(OLDEST.replace("{region}", "1")).into_sql_str();
    let first = Migration::new(1, "initial".into(), MigrationType::Simple, sql, false);
    Migrator::with_migrations(vec![first]).run_direct(None, &mut connection, false).await.unwrap();
    connection.close().await.unwrap();
}

/// The versions that have been made, in order.
async fn versions(options: &PostgresOptions) -> Vec<i64> {
    let mut connection = connect(options).await;
    let rows = sqlx::query("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version");
    let rows = rows.fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.iter().map(|row| row.get("version")).collect()
}

fn snapshots(postgres: &Postgres) -> PostgresSnapshots {
    // Small snapshots are in rows: nobody asks for a blob.
    let nowhere = S3Options {
        bucket: "none".to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        keys: Some(("local".to_owned(), "local".to_owned())),
        prefix: String::new(),
    };
    PostgresSnapshots::new(postgres.clone(), Arc::new(S3Blobs::new(nowhere).unwrap()), INLINE_BYTES_MAX)
}

fn snapshot(text: &mut Document, word: &str) -> Snapshot {
    text.replace(text.len_utf16(), 0, word).unwrap();
    text.seal();
    Snapshot { vector: text.vector().clone(), position: None, bytes: text.snapshot() }
}

/// A document to write, and its key.
fn document() -> (Document, DocumentKey) {
    let mut text = Document::new();
    text.begin_writing(SiteId::leased(1, 7), 1).unwrap();
    (text, DocumentKey::new("contract/old".parse().unwrap(), 1))
}

async fn latest(snapshots: &PostgresSnapshots, key: &DocumentKey) -> (u64, Snapshot) {
    let latest = snapshots.latest(key).await.unwrap().expect("there is one");
    (latest.version, latest.snapshot)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_schema_is_brought_up_to_date_and_keeps_what_is_in_it() {
    let Some(server) = address("A_POSTGRES", "an_older_schema_is_brought_up_to_date") else { return };
    let options = options(&server);
    oldest(&options).await;
    let (mut text, key) = document();
    let before = Postgres::copies(&options, 1).await.unwrap();
    let early = snapshot(&mut text, "of the first version");
    let version = snapshots(&before).put(&key, None, &early).await.unwrap();
    let known = "INSERT INTO documents (document, generation, creator, created_ms, at) VALUES ($1, 1, 'ann', 5, 0)";
    sqlx::query(known).bind(key.document.as_str()).execute(before.first()).await.unwrap();
    assert_eq!(versions(&options).await, [1]);

    let postgres = Postgres::open(&options, 1).await.unwrap();
    assert_eq!(versions(&options).await, [1, 2, 3]);
    assert_eq!(latest(&snapshots(&postgres), &key).await, (version, early.clone()));
    let row = sqlx::query("SELECT creator, record, copied FROM documents WHERE document = $1");
    let row = row.bind(key.document.as_str()).fetch_one(postgres.first()).await.unwrap();
    assert_eq!((row.get("creator"), row.get("record"), row.get("copied")), ("ann", 0_i64, false));
    // A process of the version before goes on meanwhile, and each sees what the other writes.
    let late = snapshot(&mut text, ", and of the next");
    let newer = snapshots(&before).put(&key, Some(version), &late).await.unwrap();
    assert_eq!(latest(&snapshots(&postgres), &key).await, (newer, late));
    let latest_of_all = snapshot(&mut text, ", and of this one");
    let newest = snapshots(&postgres).put(&key, Some(newer), &latest_of_all).await.unwrap();
    assert_eq!(latest(&snapshots(&before), &key).await, (newest, latest_of_all));
    before.close().await;
    postgres.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_starts_where_one_of_the_next_version_has_been() {
    let Some(server) = address("A_POSTGRES", "a_process_starts_where_one_of_the_next_version_has_been") else { return };
    let options = options(&server);
    Postgres::open(&options, 1).await.unwrap().close().await;
    let mut connection = connect(&options).await;
    let next = "ALTER TABLE documents ADD COLUMN next bigint NOT NULL DEFAULT 0; \
        INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
        VALUES (1000, 'next', true, '\\x00', 0)";
    sqlx::raw_sql(next).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let postgres = Postgres::open(&options, 1).await.unwrap();
    let (mut text, key) = document();
    let written = snapshot(&mut text, "of this version");
    let version = snapshots(&postgres).put(&key, None, &written).await.unwrap();
    assert_eq!(latest(&snapshots(&postgres), &key).await, (version, written));
    assert_eq!(versions(&options).await, [1, 2, 3, 1000], "nothing is undone");
    postgres.close().await;
}

/// This test once more, in a process of its own, on that schema.
fn process(schema: &str) -> Child {
    let test = "migrations::several_processes_bring_a_schema_up_to_date_at_once";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(SCHEMA, schema).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// How many wait for the lock of migrations.
async fn waiting(connection: &mut PgConnection) -> usize {
    let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = \
        (SELECT oid FROM pg_database WHERE datname = current_database())";
    let count: i64 = sqlx::query_scalar(sql).fetch_one(connection).await.unwrap();
    usize::try_from(count).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_bring_a_schema_up_to_date_at_once() {
    let Some(server) = address("A_POSTGRES", "several_processes_bring_a_schema_up_to_date_at_once") else { return };
    if let Ok(schema) = std::env::var(SCHEMA) {
        // One of them.
        let options = PostgresOptions { schema, ..options(&server) };
        Postgres::open(&options, 1).await.unwrap().close().await;
        return;
    }
    for begun in [false, true] {
        let options = options(&server);
        if begun {
            oldest(&options).await;
        }
        // None goes on before all have come.
        let (mut holding, mut looking) = (connect(&options).await, connect(&options).await);
        holding.lock().await.unwrap();
        let processes: Vec<Child> = (0..PROCESSES).map(|_| process(&options.schema)).collect();
        let begin = Instant::now();
        while waiting(&mut looking).await < PROCESSES {
            assert!(begin.elapsed() < PATIENCE, "they do not all come to the lock");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        holding.unlock().await.unwrap();
        for process in processes {
            let ended = process.wait_with_output().await.unwrap();
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        }
        assert_eq!(versions(&options).await, [1, 2, 3], "each once");
    }
}
