//! `cargo xtask` on a stack, as a person calls it.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selvedge_tests::fleet::program;
use serde_json::Value;

/// How long something may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where free ports are looked for; a stack takes 30.
const PORTS: std::ops::Range<u16> = 26_000..27_000;
const BLOCK: u16 = 50;

/// The services that run are everybody's: who wrongs them does it alone.
static ALONE: Mutex<()> = Mutex::new(());

/// A stack, and whoever works on it.
pub(crate) struct Stack {
    xtask: PathBuf,
    base: u16,
    folder: PathBuf,
    given: Vec<(String, String)>,
    /// Removed with what is in it.
    own: Option<tempfile::TempDir>,
}

/// How a service stands, as `stack status` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) standing: String,
    pub(crate) process: Option<u64>,
}

/// What a command came to.
pub(crate) struct Told {
    pub(crate) succeeded: bool,
    /// Standard output.
    pub(crate) out: String,
    /// What it said of its doings, and its error.
    pub(crate) said: String,
}

impl Stack {
    /// The stack whose services run for the suite, to be wronged by nobody else meanwhile; `None`, said by name: none is named.
    pub(crate) fn running(test: &str) -> Option<(Self, MutexGuard<'static, ()>)> {
        let named = |name: &str| {
            let value = std::env::var(name).ok().filter(|value| !value.is_empty());
            if value.is_none() {
                eprintln!("skipped: {test} ({name} is not set; `cargo xtask stack up` starts the services)");
            }
            value
        };
        let (base, folder) = (named("SELVEDGE_STACK_PORTS")?, named("SELVEDGE_STACK_FOLDER")?);
        let mut stack = Self::nowhere(base.parse().unwrap());
        stack.folder = folder.into();
        Some((stack, ALONE.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// A stack of which nothing runs yet, on ports that nobody has.
    pub(crate) fn fresh(test: &str) -> Option<(Self, MutexGuard<'static, ()>)> {
        // Where no services are, there is nothing to start them with.
        let (_, alone) = Self::running(test)?;
        let free = |base: &u16| (*base..*base + BLOCK).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        let base = PORTS.step_by(BLOCK.into()).find(free).expect("ports are free");
        let (own, mut stack) = (tempfile::tempdir().unwrap(), Self::nowhere(base));
        stack.folder = own.path().join("stack");
        stack.own = Some(own);
        Some((stack, alone))
    }

    fn nowhere(base: u16) -> Self {
        let named = std::env::var_os("SELVEDGE_XTASK").map(PathBuf::from);
        let xtask = named.unwrap_or_else(|| program("xtask").unwrap());
        Self { xtask, base, folder: PathBuf::new(), given: Vec::new(), own: None }
    }

    /// The environment says where that service is.
    pub(crate) fn given(mut self, service: &str, address: &str) -> Self {
        self.given.push((variable(service), address.to_owned()));
        self
    }

    pub(crate) fn base(&self) -> u16 {
        self.base
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file that names a service's process.
    pub(crate) fn pid_file(&self, service: &str) -> PathBuf {
        self.folder.join(service).join("pid")
    }

    /// Runs `cargo xtask WORDS` on this stack.
    pub(crate) fn run(&self, words: &[&str]) -> Told {
        let mut command = Command::new(&self.xtask);
        command.args(words).args(["--ports", &self.base.to_string(), "--data"]).arg(&self.folder);
        // Addresses in the environment would be taken for somebody else's services.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SELVEDGE_STACK_")) {
            command.env_remove(name);
        }
        let Output { status, stdout, stderr } = command.envs(self.given.iter().cloned()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Told { succeeded: status.success(), out: text(stdout), said: text(stderr) }
    }

    /// The same, which has to succeed.
    #[track_caller]
    pub(crate) fn done(&self, words: &[&str]) -> Told {
        let told = self.run(words);
        assert!(told.succeeded, "{words:?}: {}\n{}", told.out, told.said);
        told
    }

    /// How each of the services stands.
    #[track_caller]
    pub(crate) fn status(&self) -> BTreeMap<String, Standing> {
        let told = self.done(&["stack", "status", "--json"]);
        let rows: Vec<Value> = serde_json::from_str(&told.out).unwrap();
        let read = |row: &Value| {
            let standing = row["standing"].as_str().unwrap().to_owned();
            (row["service"].as_str().unwrap().to_owned(), Standing { standing, process: row["pid"].as_u64() })
        };
        rows.iter().map(read).collect()
    }

    /// The process of a service that answers.
    #[track_caller]
    pub(crate) fn process(&self, service: &str) -> u64 {
        let found = self.status()[service].clone();
        assert_eq!(found.standing, "healthy", "{service}");
        found.process.unwrap()
    }

    /// Waits until a service stands so.
    #[track_caller]
    pub(crate) fn until(&self, service: &str, standing: &str) {
        let begin = Instant::now();
        loop {
            let found = self.status()[service].clone();
            if found.standing == standing {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{service} is {found:?}, not {standing}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Whatever a test came to, nothing of its own stack goes on.
impl Drop for Stack {
    fn drop(&mut self) {
        if self.own.is_some() {
            self.run(&["stack", "down", "--wipe"]);
        }
    }
}

/// The variable that names a service's address.
pub(crate) fn variable(service: &str) -> String {
    format!("SELVEDGE_STACK_{}", service.to_uppercase().replace('-', "_"))
}

/// Sends a signal to a service with all it started, which leads a group of its own.
#[track_caller]
pub(crate) fn signal(process: u64, signal: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{signal} -{process}")]).status().unwrap();
    assert!(status.success(), "kill -{signal} -{process}");
}

/// Whether a process is there and has not ended.
pub(crate) fn lives(process: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the program's name in brackets stands its state; Z has ended and waits to be collected.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
