//! A stack as a whole: services started side by side, found again, ended.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::daemon::Daemon;
use super::service::{Kind, Region, Service};
use super::{health, launch};
use crate::console::{human, say};
use crate::paths;

/// How long a service may take until it answers, on a machine that is busy.
const HEALTHY_WITHIN: Duration = Duration::from_secs(120);
/// How long the ports of a process that was killed may stay taken.
const FREED_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
/// The file by which two commands on one stack wait for each other.
const LOCK: &str = "lock";
/// Lines of a service's log shown when it does not start.
const LOG_LINES: usize = 20;

/// Services whose ports begin at `base`, each in a folder of its own below `folder`.
pub(crate) struct Stack {
    pub(crate) root: PathBuf,
    pub(crate) base: u16,
    pub(crate) folder: PathBuf,
}

/// How a service stands.
pub(crate) enum Standing {
    /// The environment names it; it is not ours.
    Given,
    /// Our process runs and answers.
    Healthy(u32),
    /// Our process runs and does not answer.
    Silent(u32),
    /// It was not started, or it ended.
    Down,
}

/// Keeps two commands from working on one stack at a time.
pub(crate) struct Lock {
    _file: File,
}

impl Stack {
    /// The folder of one service.
    pub(crate) fn of(&self, service: Service) -> PathBuf {
        self.folder.join(service.to_string())
    }

    /// Waits for its turn to work on this stack.
    pub(crate) fn lock(&self) -> anyhow::Result<Lock> {
        loop {
            let file = self.lock_file()?;
            file.lock().with_context(|| format!("cannot lock {}", self.folder.display()))?;
            // Whoever had it before may have removed it with the whole stack: then it keeps nobody away any more.
            let there = fs::metadata(self.folder.join(LOCK)).map(|file| file.ino()).ok();
            if there == Some(file.metadata()?.ino()) {
                return Ok(Lock { _file: file });
            }
        }
    }

    /// Removes the stack's folder if nothing is left in it but the lock, which the caller has.
    pub(super) fn forget(&self, _: &Lock) -> anyhow::Result<()> {
        let left = fs::read_dir(&self.folder)?.flatten().filter(|entry| entry.file_name() != LOCK).count();
        if left == 0 {
            let context = || format!("cannot remove {}", self.folder.display());
            fs::remove_dir_all(&self.folder).with_context(context)?;
        }
        Ok(())
    }

    fn lock_file(&self) -> anyhow::Result<File> {
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot create {}", self.folder.display()))?;
        Ok(File::options().create(true).truncate(false).write(true).open(self.folder.join(LOCK))?)
    }

    /// How a service stands now.
    pub(crate) fn standing(&self, service: Service) -> Standing {
        if service.given().is_some() {
            return Standing::Given;
        }
        match Daemon::find(&self.of(service)) {
            None => Standing::Down,
            Some(daemon) if health::answers(service.kind, service.port(self.base)) => Standing::Healthy(daemon.pid()),
            Some(daemon) => Standing::Silent(daemon.pid()),
        }
    }

    /// Its address: the given one, else where this stack starts it.
    pub(crate) fn address(&self, service: Service) -> String {
        service.given().unwrap_or_else(|| service.address(self.base))
    }

    /// Starts all of these side by side, and returns when every one of them answers.
    pub(crate) fn up(&self, services: &[Service]) -> anyhow::Result<()> {
        let begin = Instant::now();
        let failures: Vec<String> = std::thread::scope(|scope| {
            let starting: Vec<_> =
                services.iter().map(|service| (service, scope.spawn(|| self.start(*service)))).collect();
            starting
                .into_iter()
                .filter_map(|(service, started)| {
                    let outcome = started.join().unwrap_or_else(|_| bail!("the start broke off"));
                    outcome.err().map(|error| format!("{service}: {error:#}"))
                })
                .collect()
        });
        if !failures.is_empty() {
            bail!("not all of the stack could be started:\n{}", failures.join("\n"));
        }
        say("stack", &format!("{} services answer, after {}", services.len(), human(begin.elapsed())));
        Ok(())
    }

    /// As [`Stack::up`], by a process of its own. Nobody waits for the services of a program that goes on: one that is
    /// killed would stay as a zombie, which PostgreSQL takes for a server that runs, and never starts again.
    pub(crate) fn up_apart(&self, services: &[Service]) -> anyhow::Result<()> {
        let mut command = Command::new(paths::program()?);
        command.args(["stack", "up", "--ports", &self.base.to_string(), "--data"]).arg(&self.folder);
        for region in Region::ALL.into_iter().filter(|region| services.iter().any(|it| it.region == Some(*region))) {
            command.args(["--region", region.name()]);
        }
        for kind in Kind::ALL.into_iter().filter(|kind| services.iter().any(|it| it.kind == *kind)) {
            command.args(["--only", kind.name()]);
        }
        // It prints the addresses, which this program knows.
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "the stack was not started: {status}");
        Ok(())
    }

    fn start(&self, service: Service) -> anyhow::Result<()> {
        if let Some(address) = service.given() {
            say("stack", &format!("{service}: {} names {address}, which is used", service.variable()));
            return Ok(());
        }
        let (folder, port) = (self.of(service), service.port(self.base));
        fs::create_dir_all(&folder)?;
        if let Some(daemon) = Daemon::find(&folder) {
            if answers_within(service.kind, port, Duration::from_secs(5), || daemon.lives()) {
                return self.furnish(service);
            }
            say("stack", &format!("{service}: process {} of an earlier run does not answer; ending it", daemon.pid()));
            daemon.end(launch::ending(service.kind))?;
        }
        if let Some(taken) = self.taken(service) {
            bail!(
                "port {taken} is taken by a program that this stack did not start; end that, choose other ports with \
                 `--ports BASE`, or give the service's address in {}",
                service.variable()
            );
        }
        let begin = Instant::now();
        let mut command = launch::command(&self.root, service, self.base, &folder)?;
        let (daemon, mut child) = Daemon::start(&folder, &mut command)?;
        // A child that ended stays until it is asked for; asking also tells that it ended.
        let lives = || matches!(child.try_wait(), Ok(None));
        if !answers_within(service.kind, port, HEALTHY_WITHIN, lives) {
            let log = folder.join("log");
            daemon.end(launch::ending(service.kind))?;
            bail!("it did not answer at port {port}; the end of {}:\n{}", log.display(), tail(&log));
        }
        say("stack", &format!("{service}: answers at {} after {}", service.address(self.base), human(begin.elapsed())));
        self.furnish(service)
    }

    /// A port of the service that somebody has. A process that was killed a moment ago has its ports until it is taken apart.
    fn taken(&self, service: Service) -> Option<u16> {
        let begin = Instant::now();
        loop {
            let taken = service.ports(self.base).into_iter().find(|port| !health::is_free(*port));
            if taken.is_none() || begin.elapsed() > FREED_WITHIN {
                return taken;
            }
            std::thread::sleep(POLL);
        }
    }

    /// What a fresh service lacks.
    fn furnish(&self, service: Service) -> anyhow::Result<()> {
        let port = service.port(self.base);
        match service.kind {
            Kind::Postgres => launch::make_database(port),
            Kind::DynamoDb => {
                if let Err(error) = launch::index_streams(&self.root, port, &self.of(service)) {
                    say("stack", &format!("{service}: its streams stay without an index, and become slow: {error:#}"));
                }
                Ok(())
            }
            Kind::Aws => {
                let make = |region| health::make_bucket(port, &bucket(region), HEALTHY_WITHIN);
                Region::ALL.into_iter().try_for_each(make)
            }
            _ => Ok(()),
        }
    }

    /// Ends what this stack started of these services; with `wipe` their data goes, too.
    pub(crate) fn down(&self, services: &[Service], wipe: bool) -> anyhow::Result<()> {
        let failures: Vec<String> = std::thread::scope(|scope| {
            let ending: Vec<_> =
                services.iter().map(|service| (service, scope.spawn(move || self.end(*service, wipe)))).collect();
            ending
                .into_iter()
                .filter_map(|(service, ended)| {
                    let outcome = ended.join().unwrap_or_else(|_| bail!("the end broke off"));
                    outcome.err().map(|error| format!("{service}: {error:#}"))
                })
                .collect()
        });
        if !failures.is_empty() {
            bail!("not all of the stack could be ended:\n{}", failures.join("\n"));
        }
        Ok(())
    }

    fn end(&self, service: Service, wipe: bool) -> anyhow::Result<()> {
        let folder = self.of(service);
        match Daemon::find(&folder) {
            Some(daemon) => {
                daemon.end(launch::ending(service.kind))?;
                say("stack", &format!("{service}: ended"));
            }
            None => Daemon::forget(&folder)?,
        }
        if wipe && folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        Ok(())
    }
}

/// The bucket of a region in the emulator.
pub(crate) fn bucket(region: Region) -> String {
    format!("selvedge-{}", region.name())
}

fn answers_within(kind: Kind, port: u16, time: Duration, mut lives: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while !health::answers(kind, port) {
        if !lives() || begin.elapsed() > time {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
