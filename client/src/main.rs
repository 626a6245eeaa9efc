//! `selvedge`: reads, writes and watches documents from a terminal or a script.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use selvedge_client::{
    AckLevel, ClientOptions, Doc, Error, FileStore, Handle, OpenOptions, PatchEvent, Store, TextPatch,
};

/// Edit documents of a Selvedge deployment from a terminal.
#[derive(Debug, Parser)]
#[command(name = "selvedge", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Token of the person or program; without one, an anonymous principal.
    #[arg(long, env = "SELVEDGE_TOKEN", global = true, hide_env_values = true)]
    token: Option<String>,
    /// Folder that keeps documents and what is not yet saved between calls.
    #[arg(long, env = "SELVEDGE_STORE", global = true, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Certificates (PEM) of authorities to trust beside those of this system.
    #[arg(long, env = "SELVEDGE_CA", global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// SHA-256, hexadecimal, of the certificate to accept at quic:// addresses; may be given several times. A relay without a certificate of
    /// its own tells them at /v1/endpoints.
    #[arg(long, env = "SELVEDGE_CERT_HASH", global = true, value_delimiter = ',', value_name = "HEX", value_parser = certificate_hash)]
    cert_hash: Vec<[u8; 32]>,
    /// Public key (P-256, PEM) of whoever signs the deployment's list of endpoints; a file may hold several. Then only signed lists say
    /// where relays are; with --store the newest one is kept.
    #[arg(long, env = "SELVEDGE_TRUST", global = true, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Give up when the relay has not answered within so many milliseconds.
    #[arg(long, default_value_t = 10_000, global = true, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a document's text.
    Cat(Place),
    /// Make a document's text that of a file; only what differs is changed.
    Put {
        #[command(flatten)]
        place: Place,
        /// File with the text; `-` or none reads the standard input.
        file: Option<PathBuf>,
    },
    /// Add text to the end of a document.
    Append {
        #[command(flatten)]
        place: Place,
        /// The text; `-` or none reads the standard input.
        text: Option<String>,
    },
    /// Print a document's text, then every change of others as a line of JSON, until interrupted.
    Watch(Place),
    /// Type text to the end of a document, one character after the other.
    Type {
        #[command(flatten)]
        place: Place,
        /// The text; `-` or none reads the standard input.
        text: Option<String>,
        /// Characters a second.
        #[arg(long, default_value_t = 12.0, value_name = "N", value_parser = rate)]
        rate: f64,
    },
}

/// Where the document is.
#[derive(Debug, Args)]
struct Place {
    /// Address of a relay, e.g. http://127.0.0.1:4400, https://relay.example or quic://relay.example:4400; several are separated by
    /// commas, and any of them will do.
    url: String,
    /// The document, `tenant/name` or a bare name.
    document: String,
}

fn certificate_hash(text: &str) -> Result<[u8; 32], String> {
    let mut hash = [0; 32];
    let read = hex::decode_to_slice(text, &mut hash).map(|()| hash);
    read.map_err(|_| "write the 64 hexadecimal digits of a SHA-256".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1000.0 => Ok(rate),
        _ => Err("write a number above 0 and up to 1000".to_owned()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
        .with_writer(std::io::stderr)
        .init();
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("selvedge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let text = cli.command.input()?;
    let place = cli.command.place();
    let session = Session::open(&cli, place).await?;
    let doc = &session.doc;
    match &cli.command {
        Command::Cat(_) => print(&doc.text())?,
        Command::Put { .. } => {
            doc.set_text(&text)?;
            session.saved().await?;
        }
        Command::Append { .. } => {
            append(doc, &text)?;
            session.saved().await?;
        }
        Command::Watch(_) => session.watch().await?,
        Command::Type { rate, .. } => {
            let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
            for character in text.chars() {
                tick.tick().await;
                append(doc, character.encode_utf8(&mut [0; 4]))?;
            }
            session.saved().await?;
        }
    }
    session.close().await
}

impl Cli {
    /// The keys that --trust names.
    fn trusted(&self) -> anyhow::Result<Vec<String>> {
        let read = |file: &PathBuf| {
            std::fs::read_to_string(file).with_context(|| format!("--trust {} cannot be read", file.display()))
        };
        self.trust.iter().map(read).collect()
    }
}

impl Command {
    fn place(&self) -> &Place {
        match self {
            Self::Cat(place) | Self::Watch(place) => place,
            Self::Put { place, .. } | Self::Append { place, .. } | Self::Type { place, .. } => place,
        }
    }

    /// The text to write, read before anything is opened.
    fn input(&self) -> anyhow::Result<String> {
        match self {
            Self::Cat(_) | Self::Watch(_) => Ok(String::new()),
            Self::Put { file: Some(file), .. } if file.as_os_str() != "-" => {
                let bytes = std::fs::read(file).with_context(|| format!("FILE {} cannot be read", file.display()))?;
                String::from_utf8(bytes).with_context(|| format!("FILE {} is not UTF-8 text", file.display()))
            }
            Self::Append { text: Some(text), .. } | Self::Type { text: Some(text), .. } if text != "-" => {
                Ok(text.clone())
            }
            _ => {
                if std::io::stdin().is_terminal() {
                    eprintln!("reading the text from the terminal; end it with Ctrl-D");
                }
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("the standard input is not UTF-8 text")?;
                Ok(text)
            }
        }
    }
}

/// One document, opened and synced.
struct Session {
    handle: Handle,
    doc: Doc,
    timeout_ms: u64,
    url: String,
}

impl Session {
    async fn open(cli: &Cli, place: &Place) -> anyhow::Result<Self> {
        let files = cli.store.as_ref().map(FileStore::open).transpose().context("--store")?;
        let principal = files.as_ref().map(FileStore::principal).transpose().context("--store")?;
        let options = ClientOptions {
            token: cli.token.clone(),
            principal,
            ca: cli.ca.clone(),
            certificate_hashes: cli.cert_hash.clone(),
            trust: cli.trusted()?,
            endpoints_file: files.as_ref().map(FileStore::endpoints),
            ..ClientOptions::default()
        };
        let handle = Handle::connect(&place.url, options)
            .map_err(|error| (flag_of(&error), error))
            .map_err(|(given, error)| anyhow::Error::new(error).context(given))?;
        let store = files.map(|files| Arc::new(files) as Arc<dyn Store>);
        let doc =
            handle.open(&place.document, OpenOptions { store, ..OpenOptions::default() }).await.context("DOCUMENT")?;
        let session = Self { handle, doc, timeout_ms: cli.timeout_ms, url: place.url.clone() };
        session.within(session.doc.when_synced(), "the document").await?;
        Ok(session)
    }

    /// Waits until what was written is as safe as this deployment makes it.
    async fn saved(&self) -> anyhow::Result<()> {
        self.within(self.doc.when_saved(AckLevel::Replicated), "that the text is saved").await
    }

    async fn within(&self, answer: impl Future<Output = Result<(), Error>>, what: &str) -> anyhow::Result<()> {
        match tokio::time::timeout(Duration::from_millis(self.timeout_ms), answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => bail!(
                "{} did not answer within {} ms ({what}); is a relay running there? start one with `selvedge-relay serve`, \
                 or give it longer with --timeout-ms",
                self.url,
                self.timeout_ms
            ),
        }
    }

    async fn watch(&self) -> anyhow::Result<()> {
        let mut patches = self.doc.patches();
        print(&self.doc.text())?;
        loop {
            let event = tokio::select! {
                event = patches.next() => event,
                _ = tokio::signal::ctrl_c() => return Ok(()),
            };
            match event {
                Some(PatchEvent::Patches { patches, .. }) => {
                    for patch in patches {
                        print(&line(&patch))?;
                    }
                }
                Some(PatchEvent::Reset { .. } | PatchEvent::Lagged) => {
                    print(&format!("{}\n", serde_json::json!({ "text": self.doc.text() })))?;
                }
                None => return Ok(()),
            }
        }
    }

    async fn close(self) -> anyhow::Result<()> {
        self.doc.close().await?;
        self.handle.close().await;
        Ok(())
    }
}

/// What was given wrongly.
fn flag_of(error: &Error) -> &'static str {
    match error {
        Error::Authorities { .. } => "--ca",
        Error::TrustKey(_) => "--trust",
        _ => "URL",
    }
}

fn append(doc: &Doc, text: &str) -> Result<(), Error> {
    doc.transact(|transaction| {
        let end = transaction.document()?.len_utf16();
        transaction.replace(end, 0, text).map(|_| ())
    })
}

fn line(patch: &TextPatch) -> String {
    format!("{}\n", serde_json::json!({ "at": patch.at, "delete": patch.delete, "insert": patch.insert }))
}

/// Prints at once; a reader that went away, such as `head`, ends the program without a word.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.context("the standard output"),
    }
}
