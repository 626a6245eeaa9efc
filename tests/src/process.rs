//! A relay as a process of its own, started and stopped by whoever tests it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How long a relay may take to be ready, or to answer a request.
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
        let program = program()?;
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
        let path = format!("/v1/docs/{tenant}/{name}/text");
        let answer = tokio::time::timeout(ANSWER_WITHIN, get(&self.url, &path)).await;
        answer.context("the relay did not answer in time")?.with_context(|| format!("GET {}{path}", self.url))
    }

    /// Kills it, as a power cut would.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// The relay's program: `SELVEDGE_RELAY_BIN`, else beside this one.
fn program() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("SELVEDGE_RELAY_BIN") {
        return Ok(named.into());
    }
    let own = std::env::current_exe()?;
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("selvedge-relay"));
    beside.into_iter().find(|path| path.is_file()).context(
        "there is no selvedge-relay beside this program: build it with `cargo build -p selvedge-relay`, or name it in \
         SELVEDGE_RELAY_BIN",
    )
}

/// One request without keep-alive, so that the end of the answer is the end of the stream.
async fn get(url: &str, path: &str) -> anyhow::Result<String> {
    let host = url.strip_prefix("http://").context("the relay's address is not http")?;
    let mut stream = TcpStream::connect(host).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no head")?;
    if head.split(' ').nth(1) != Some("200") {
        bail!("{}: {body}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}
