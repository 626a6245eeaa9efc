//! The little of HTTP that tests ask of programs.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(30);

/// The body of `GET {url}{path}`; `url` is `http://host:port`.
///
/// # Errors
/// When nobody answers in time, or the answer is another one than 200.
pub async fn get(url: &str, path: &str) -> anyhow::Result<String> {
    let answered = tokio::time::timeout(WITHIN, ask(url, path)).await;
    answered.context("no answer in time").and_then(|answer| answer).with_context(|| format!("GET {url}{path}"))
}

/// One request without keep-alive, so that the end of the answer is the end of the stream.
async fn ask(url: &str, path: &str) -> anyhow::Result<String> {
    let host = url.strip_prefix("http://").context("the address is not http")?;
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
