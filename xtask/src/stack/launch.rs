//! How each service is prepared, started and asked to end.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::daemon::{self, Ending};
use super::install;
use super::service::{self, Kind, Service};
use crate::{paths, process};

/// Where Debian keeps PostgreSQL's programs, one folder a version.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";
/// How long the processes of a killed server may stay.
const ORPHANS_WITHIN: Duration = Duration::from_secs(20);
/// Many small virtual machines on one computer: no parallel collector, no second compiler, one processor each.
const SMALL_JVM: [&str; 3] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:ActiveProcessorCount=1"];
/// Where DynamoDB's database is, in its folder.
const DYNAMODB_DATA: &str = "data";

/// The command that starts the service, after all that has to be there before.
pub(super) fn command(root: &Path, service: Service, base: u16, folder: &Path) -> anyhow::Result<Command> {
    let port = service.port(base);
    match service.kind {
        Kind::Kafka => kafka(root, port, folder),
        Kind::DynamoDb | Kind::Witness => dynamodb(port, folder),
        Kind::Postgres => postgres(port, folder),
        Kind::Redis => Ok(redis(port, folder)),
        Kind::Aws => {
            let mut command = Command::new(install::aws()?);
            command
                .current_dir(folder)
                .env("BIND_HOST", "127.0.0.1")
                .env("GATEWAY_PORT", port.to_string())
                // It would listen on all interfaces.
                .env("IOT_MTLS_ENABLED", "0");
            Ok(command)
        }
    }
}

/// How the service is asked to end.
pub(super) fn ending(kind: Kind) -> Ending {
    let (signal, seconds) = match kind {
        // A fast shutdown: sessions are ended, nothing is lost.
        Kind::Postgres => ("INT", 20),
        Kind::Kafka => ("TERM", 20),
        _ => ("TERM", 5),
    };
    Ending { signal, within: Duration::from_secs(seconds) }
}

fn kafka(root: &Path, port: u16, folder: &Path) -> anyhow::Result<Command> {
    let libs = install::kafka(root)?;
    let data = folder.join("data");
    let properties = folder.join("kafka.properties");
    let text = fs::read_to_string(root.join("infra/local/kafka.properties"))?
        .replace("{broker}", &port.to_string())
        .replace("{controller}", &(port + service::CONTROLLER).to_string())
        .replace("{linked}", &(port + service::LINKED).to_string())
        .replace("{link}", &(port + service::LINK).to_string())
        .replace("{data}", &data.display().to_string());
    fs::write(&properties, text)?;
    let java = || {
        let mut command = Command::new("java");
        command.args(["-Xms96m", "-Xmx384m"]).args(SMALL_JVM);
        command.arg(format!("-Dlog4j2.configurationFile={}", root.join("infra/local/log4j2.properties").display()));
        command.arg("-cp").arg(format!("{}/*", libs.display())).current_dir(folder);
        command
    };
    if !data.join("meta.properties").is_file() {
        let mut format = java();
        format.args(["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", &cluster_id()?, "-c"]);
        process::output(format.arg(&properties)).context("Kafka's storage could not be formatted")?;
    }
    let mut command = java();
    command.arg("kafka.Kafka").arg(&properties);
    Ok(command)
}

/// 16 random bytes in URL-safe base64 without padding, as Kafka writes ids; starting a virtual machine for them takes seconds.
fn cluster_id() -> anyhow::Result<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().replace('-', "");
    let mut bits = u128::from_str_radix(&uuid, 16)?;
    // 22 digits of 6 bits hold 128 bits and 4 more; the last digit's low ones are padding.
    let mut digits = vec![DIGITS[((bits & 3) << 4) as usize]];
    bits >>= 2;
    for _ in 0..21 {
        digits.push(DIGITS[(bits & 63) as usize]);
        bits >>= 6;
    }
    digits.reverse();
    // A leading dash would be taken for an option.
    if digits[0] == b'-' {
        digits[0] = b'A';
    }
    Ok(String::from_utf8(digits)?)
}

fn dynamodb(port: u16, folder: &Path) -> anyhow::Result<Command> {
    let jar = install::dynamodb()?;
    let data = folder.join(DYNAMODB_DATA);
    fs::create_dir_all(&data)?;
    let mut command = Command::new("java");
    command.args(["-Xms64m", "-Xmx256m"]).args(SMALL_JVM).arg("-jar").arg(jar);
    // One database whatever keys and region a client names; on the disk, so that it outlives a killed process.
    command.args(["-sharedDb", "-disableTelemetry", "-port", &port.to_string(), "-dbPath"]).arg(data);
    command.current_dir(folder);
    Ok(command)
}

/// Gives DynamoDB's database the index that it lacks; the script says why.
pub(super) fn index_streams(root: &Path, port: u16, folder: &Path) -> anyhow::Result<()> {
    let database = folder.join(DYNAMODB_DATA).join("shared-local-instance.db");
    let mut command = Command::new("python3");
    command.arg(root.join("infra/local/index_streams.py")).arg(port.to_string()).arg(database);
    process::output(&mut command).map(drop)
}

fn redis(port: u16, folder: &Path) -> Command {
    let mut command = Command::new("redis-server");
    // A cache: nothing of it is kept.
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]);
    command.args(["--port", &port.to_string(), "--dir"]).arg(folder);
    command
}

/// PostgreSQL refuses to be root: then it runs as the user its package made.
struct PostgresUser {
    uid: u32,
    gid: u32,
}

fn postgres_user() -> anyhow::Result<Option<PostgresUser>> {
    let id = |arguments: &[&str]| process::ask("id", arguments).and_then(|id| id.parse().ok());
    if id(&["-u"]) != Some(0) {
        return Ok(None);
    }
    let uid = id(&["-u", "postgres"]).context("there is no user postgres: install the Debian package postgresql")?;
    let gid = id(&["-g", "postgres"]).context("the user postgres has no group")?;
    Ok(Some(PostgresUser { uid, gid }))
}

/// The newest installed version's programs.
fn postgres_programs() -> Option<PathBuf> {
    let versions = fs::read_dir(POSTGRES_VERSIONS).ok()?.flatten();
    let number = |folder: &fs::DirEntry| folder.file_name().to_string_lossy().parse::<u32>().ok();
    let debian = versions.filter_map(|folder| Some((number(&folder)?, folder.path().join("bin")))).max();
    debian.map(|(_, folder)| folder).or_else(|| Some(paths::which("initdb")?.parent()?.to_path_buf()))
}

/// The program `postgres`, for whoever looks for it.
pub(crate) fn find_postgres() -> Option<PathBuf> {
    postgres_programs().map(|folder| folder.join("postgres")).filter(|program| program.is_file())
}

fn postgres(port: u16, folder: &Path) -> anyhow::Result<Command> {
    let programs = postgres_programs().context("PostgreSQL is not installed: `cargo xtask setup`")?;
    let user = postgres_user()?;
    let data = folder.join("data");
    let own = |name: &str| {
        let mut command = Command::new(programs.join(name));
        if let Some(user) = &user {
            command.uid(user.uid).gid(user.gid);
        }
        command.current_dir("/").env("PGDATA", &data);
        command
    };
    if !data.join("PG_VERSION").is_file() {
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        fs::create_dir_all(&data)?;
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
        if let Some(user) = &user {
            chown(&data, Some(user.uid), Some(user.gid))?;
        }
        let mut init = own("initdb");
        init.args(["--username=selvedge", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        process::output(&mut init).context("PostgreSQL's cluster could not be made")?;
    }
    await_orphans(&data);
    forget_ended(&data)?;
    let mut command = own("postgres");
    command.args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""]);
    // What a killed process had written is in the kernel's hands, and that is all a local stack has to survive.
    // Whoever tests here follows the other region's tables under one name after the other, and each takes a slot, a sender
    // and a worker.
    for setting in [
        "fsync=off",
        "wal_level=logical",
        "max_connections=200",
        "shared_buffers=32MB",
        "max_wal_size=256MB",
        "max_replication_slots=50",
        "max_wal_senders=50",
        "max_logical_replication_workers=50",
        "max_worker_processes=60",
    ] {
        command.args(["-c", setting]);
    }
    Ok(command)
}

/// Waits for the sessions of a server that was killed: each is a process of its own, ends when it notices, and until then no
/// server starts over the memory they share. They work in the data folder, by which they are known.
fn await_orphans(data: &Path) {
    let begin = Instant::now();
    // As the kernel names it.
    let Ok(data) = data.canonicalize() else { return };
    while begin.elapsed() < ORPHANS_WITHIN && works_in(&data) {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Removes the lock file of a server that has ended: until its parent has collected it, which may be any program or none,
/// PostgreSQL sees that there is a process of its number and refuses to start.
fn forget_ended(data: &Path) -> anyhow::Result<()> {
    let file = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&file) else { return Ok(()) };
    let server = text.lines().next().and_then(|line| line.trim().parse().ok());
    if server.is_some_and(|server| daemon::started(server).is_none()) {
        fs::remove_file(&file).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// Whether a process works in this folder, as far as this user may know.
fn works_in(folder: &Path) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok()).any(|place| place == folder)
}

/// Makes the database that the stack's address names; one that is there stays.
pub(super) fn make_database(port: u16) -> anyhow::Result<()> {
    let programs = postgres_programs().context("PostgreSQL is not installed: `cargo xtask setup`")?;
    let port = port.to_string();
    let on = ["-h", "127.0.0.1", "-p", &port, "-U", "selvedge"];
    let mut exists = Command::new(programs.join("psql"));
    exists.args(on).args(["-d", "postgres", "-Atc", "SELECT 1 FROM pg_database WHERE datname = 'selvedge'"]);
    if process::output(&mut exists)?.trim() == "1" {
        return Ok(());
    }
    let mut create = Command::new(programs.join("createdb"));
    process::output(create.args(on).arg("selvedge")).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::{cluster_id, forget_ended};

    #[test]
    fn the_lock_of_a_server_that_nobody_collected_is_removed() {
        let data = tempfile::tempdir().unwrap();
        let lock = data.path().join("postmaster.pid");
        let mut server = Command::new("sleep").arg("600").spawn().unwrap();
        fs::write(&lock, format!("{}\n/data\n", server.id())).unwrap();
        forget_ended(data.path()).unwrap();
        assert!(lock.exists(), "it lives");
        server.kill().unwrap();
        // Not collected yet, however long that takes.
        while super::daemon::started(server.id()).is_some() {
            std::thread::yield_now();
        }
        forget_ended(data.path()).unwrap();
        assert!(!lock.exists());
        server.wait().unwrap();
        forget_ended(data.path()).unwrap();
    }

    #[test]
    fn cluster_ids_are_kafkas() {
        let (one, other) = (cluster_id().unwrap(), cluster_id().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 22);
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') && !one.starts_with('-'));
    }
}
