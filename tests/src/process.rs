//! A relay as a process of its own, started and stopped by whoever tests it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::fleet;

/// How long a relay may take to be ready.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A running relay. Dropping it kills it.
pub struct RelayProcess {
    child: Child,
    url: String,
}

impl RelayProcess {
    /// Starts `selvedge-relay serve` on free ports of this machine, with its data in `data` and these flags besides, and waits
    /// until it is ready.
    ///
    /// # Errors
    /// When the program is missing, ends at once, or is not ready in time.
    pub async fn start<S: AsRef<OsStr>>(data: &Path, flags: impl IntoIterator<Item = S>) -> anyhow::Result<Self> {
        let program = fleet::program("selvedge-relay")?;
        let mut child = Command::new(&program)
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-level", "warn", "--data"])
            .arg(data)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let stdout = child.stdout.take().context("the relay has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = tokio::time::timeout(ANSWER_WITHIN, lines.next_line()).await;
        let Some(line) = ready.context("the relay was not ready in time")?? else {
            bail!("the relay ended before it was ready: {}", child.wait().await?);
        };
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.with_context(|| format!("the relay printed no address but {line:?}"))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), child })
    }

    /// Its address, e.g. `http://127.0.0.1:4400`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The text that the relay has of a document.
    ///
    /// # Errors
    /// When it does not answer, or answers anything but a text.
    pub async fn text(&self, tenant: &str, name: &str) -> anyhow::Result<String> {
        fleet::get(&self.url, &format!("/v1/docs/{tenant}/{name}/text")).await
    }

    /// Kills it, as a power cut would.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}
