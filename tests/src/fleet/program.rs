//! A program of the deployment: started, killed, halted, started again where it was.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a program may take until it says that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long one may take to end by itself.
const END_WITHIN: Duration = Duration::from_secs(30);

/// How a program is started.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What it is called here.
    pub name: String,
    /// The program's file name, looked for beside this one.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its settings.
    pub environment: Vec<(String, String)>,
    /// Where its standard error goes, appended.
    pub log: PathBuf,
}

/// A program. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    spec: Spec,
    child: Option<Child>,
}

impl Program {
    /// One that is not started yet.
    #[must_use]
    pub fn new(spec: Spec) -> Self {
        Self { spec, child: None }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Whether it was started, and not ended by us.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// Starts it and waits for its first line on standard output, which says that it is ready. One that runs stays.
    ///
    /// # Errors
    /// When the program is missing, ends at once, or is not ready in time; the error has the end of its log.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(&self.spec.log)?;
        let path = find(self.spec.program)?;
        let mut child = Command::new(&path)
            .args(&self.spec.arguments)
            .envs(self.spec.environment.iter().map(|(name, value)| (name, value)))
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", path.display()))?;
        let stdout = child.stdout.take().context("it has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
        match ready {
            Ok(Ok(Some(_))) => {}
            Ok(_) => bail!("{} ended before it was ready:\n{}", self.spec.name, self.log_end()),
            Err(_) => bail!("{} was not ready in {} s:\n{}", self.spec.name, READY_WITHIN.as_secs(), self.log_end()),
        }
        // What else it says is read, so that it is never held up by a full pipe; ends with it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.child = Some(child);
        Ok(())
    }

    /// Kills it, as a power cut would. One that does not run stays so.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        match self.child.take() {
            Some(mut child) => Ok(child.kill().await?),
            None => Ok(()),
        }
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// When it does not end in time (then it is killed), or not well.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal("TERM")?;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let Ok(ended) = tokio::time::timeout(END_WITHIN, child.wait()).await else {
            child.kill().await?;
            bail!("{} did not end in {} s", self.spec.name, END_WITHIN.as_secs());
        };
        let status = ended?;
        anyhow::ensure!(status.success(), "{} ended with {status}:\n{}", self.spec.name, self.log_end());
        Ok(())
    }

    /// Sends it a signal, if it runs.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let Some(process) = self.id() else { return Ok(()) };
        super::stack::signal(signal, &process.to_string())
    }

    fn log_end(&self) -> String {
        const LINES: usize = 20;
        let text = std::fs::read_to_string(&self.spec.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

/// The file of one of the project's programs: named in the environment (`SELVEDGE_RELAY_BIN`), else beside this program.
///
/// # Errors
/// When it is in neither place; the message says how to build it.
pub fn find(program: &str) -> anyhow::Result<PathBuf> {
    let variable = format!("{}_BIN", program.to_uppercase().replace('-', "_"));
    if let Some(named) = std::env::var_os(&variable) {
        return Ok(named.into());
    }
    let own = std::env::current_exe()?;
    let beside = own.ancestors().skip(1).take(2).map(|folder: &Path| folder.join(program));
    beside.into_iter().find(|path| path.is_file()).with_context(|| {
        format!(
            "there is no {program} beside this program: build it with `cargo build -p {program}` (on services with `--features \
             regional`), or name it in {variable}"
        )
    })
}
