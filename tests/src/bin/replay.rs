//! `replay`: a recorded editing session through two real clients, native or in browsers, and a relay of its own.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};
use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use selvedge_tests::process::RelayProcess;
use selvedge_tests::replay::{Outcome, RAISED_LIMITS, Row, SAMPLE_SEED, Trace, Venue, append_rows, play, sample};

/// The project's own recording.
const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/traces/on-edges.json");

/// Replay a recorded editing session: each person's edits by a client of their own, at the recorded causal points, over a
/// relay started for it; then compare both clients' texts and the relay's with the recording's end.
#[derive(Debug, Parser)]
#[command(name = "replay")]
struct Arguments {
    /// A recording, *.json or *.json.gz, sequential or concurrent [default: the project's own].
    file: Option<PathBuf>,
    /// Append the figures to this file, as an array of rows.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Through two headless browsers that run the demo, in place of two native clients.
    #[arg(long)]
    browsers: bool,
    /// In two regions on the local stack, one person in each by turns, 40 ms between them.
    #[arg(long)]
    stack: bool,
    /// Write the project's own recording anew to FILE, and end.
    #[arg(long, conflicts_with_all = ["json", "browsers", "stack"])]
    record: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("replay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let file = arguments.file.clone().unwrap_or_else(|| PathBuf::from(OWN));
    if arguments.record {
        let recording = format!("{}\n", serde_json::to_string(&sample(SAMPLE_SEED))?);
        std::fs::write(&file, recording).with_context(|| file.display().to_string())?;
        return Ok(true);
    }
    let trace = Trace::read(&file)?;
    let data = tempfile::tempdir().context("a folder for the relay's data")?;
    if arguments.stack {
        return on_stack(&file, &trace, &arguments, data.path()).await;
    }
    if arguments.browsers {
        return in_browsers(&file, arguments.json.as_deref(), data.path()).await;
    }
    let relay = RelayProcess::start(data.path(), RAISED_LIMITS).await?;
    println!(
        "{}: {} transactions of {}, through {} native clients and {}",
        file.display(),
        trace.transactions.len(),
        if trace.agents == 1 { "one person".to_owned() } else { format!("{} people", trace.agents) },
        trace.agents.max(2),
        relay.url()
    );
    println!("raised limits: {}", RAISED_LIMITS.join(" "));
    let progress = Progress::new(trace.transactions.len());
    let outcome = play(&trace, &Venue::at(relay.url()), "replay", &|| progress.step()).await;
    progress.end();
    let outcome = outcome?;
    tell(&outcome, trace.transactions.len());
    if let Some(json) = arguments.json {
        append_rows(&json, &rows("native", &file, &outcome, trace.transactions.len()))?;
    }
    Ok(true)
}

fn tell(outcome: &Outcome, transactions: usize) {
    let seconds = outcome.elapsed.as_secs_f64();
    println!("{transactions} transactions in {seconds:.1} s, {:.0} a second", transactions as f64 / seconds);
    match &outcome.difference {
        None => println!("ok: all clients and the relay have the recording's {} characters", outcome.length),
        Some(difference) => {
            let by = difference.transaction.map_or(String::new(), |index| format!(", first by transaction {index}"));
            println!(
                "ok: all clients and the relay agree on {} characters. The recording merged in another order{by}: from \
                 character {} it has {:?}, we have {:?}",
                outcome.length, difference.at, difference.recorded, difference.ours
            );
        }
    }
}

fn rows(form: &str, file: &Path, outcome: &Outcome, transactions: usize) -> [Row; 3] {
    let seconds = outcome.elapsed.as_secs_f64();
    let row = |figure: &str, value: f64, unit: &str| Row {
        suite: "replay".to_owned(),
        case: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        subject: "selvedge".to_owned(),
        figure: figure.to_owned(),
        value,
        unit: unit.to_owned(),
        runs: 1,
        verified: true,
    };
    [
        row(&format!("{form}_wall"), seconds, "s"),
        row(&format!("{form}_transactions_per_s"), transactions as f64 / seconds, "1/s"),
        row(&format!("{form}_end_differs"), f64::from(u8::from(outcome.difference.is_some())), "count"),
    ]
}

/// Through two regions: people in both, then each relay, each snapshot, and the text rebuilt from each op store and log alone.
#[cfg(feature = "regional")]
async fn on_stack(file: &Path, trace: &Trace, arguments: &Arguments, folder: &Path) -> anyhow::Result<bool> {
    use selvedge_tests::replay::{DOCUMENT, Regions};

    let (json, browsers) = (arguments.json.as_deref(), arguments.browsers);
    let page = if browsers { Some(Page::named()?) } else { None };
    let flags = page.as_ref().map_or(Ok(Vec::new()), |page| {
        let web = page.web.to_str().context("SELVEDGE_WEB: the folder's name is no text")?;
        anyhow::Ok(vec!["--web".to_owned(), web.to_owned()])
    });
    let regions = Regions::start(folder, flags?).await?;
    let relays = regions.relays();
    if let Some(page) = page {
        // The first relay of each region.
        if !page.replay(file, &relays[..2], DOCUMENT, json).await? {
            return Ok(false);
        }
    } else {
        let progress = Progress::new(trace.transactions.len());
        let venue = Venue { relays: relays.clone(), addresses: relays };
        let played = play(trace, &venue, DOCUMENT, &|| progress.step()).await;
        progress.end();
        let outcome = played?;
        tell(&outcome, trace.transactions.len());
        if let Some(json) = json {
            append_rows(json, &rows("stack", file, &outcome, trace.transactions.len()))?;
        }
    }
    let places = regions.places().await?;
    places.iter().for_each(|place| println!("  the same text: {place}"));
    Ok(true)
}

#[cfg(not(feature = "regional"))]
async fn on_stack(_: &Path, _: &Trace, _: &Arguments, _: &Path) -> anyhow::Result<bool> {
    bail!(
        "--stack: this program was built without services: run `cargo xtask replay --stack`, which builds and starts them"
    )
}

/// Hands the recording to the browsers' own replay, over a relay that serves the page.
async fn in_browsers(file: &Path, json: Option<&Path>, data: &Path) -> anyhow::Result<bool> {
    let page = Page::named()?;
    let mut flags: Vec<_> = RAISED_LIMITS.iter().map(|flag| flag.to_string().into()).collect();
    flags.extend(["--web".into(), page.web.clone().into_os_string()]);
    let relay = RelayProcess::start(data, flags).await?;
    println!("raised limits: {}", RAISED_LIMITS.join(" "));
    page.replay(file, &[relay.url().to_owned()], "replay", json).await
}

/// The built demo, and the folder of the program that opens it in two browsers.
struct Page {
    web: PathBuf,
    tests: PathBuf,
}

impl Page {
    fn named() -> anyhow::Result<Self> {
        let named = |variable: &str| {
            std::env::var_os(variable).map(PathBuf::from).with_context(|| {
                format!(
                    "--browsers needs {variable}: run `cargo xtask replay --browsers`, which builds the page and sets it"
                )
            })
        };
        Ok(Self { web: named("SELVEDGE_WEB")?, tests: named("SELVEDGE_BROWSER_TESTS")? })
    }

    /// One person at each of these relays by turns; answers whether all pages and relays ended with one text.
    async fn replay(&self, file: &Path, relays: &[String], name: &str, json: Option<&Path>) -> anyhow::Result<bool> {
        let script = self.tests.join("replay.mjs");
        let mut node = tokio::process::Command::new("node");
        node.arg(&script).arg(file).args(["--name", name]).kill_on_drop(true);
        for relay in relays {
            node.args(["--relay", relay]);
        }
        if let Some(json) = json {
            node.arg("--json").arg(json);
        }
        let status = node.status().await.with_context(|| format!("node {}", script.display()))?;
        if status.code().is_none() {
            bail!("the browsers' replay was ended: {status}");
        }
        Ok(status.success())
    }
}

/// A bar on a terminal, else a line every tenth.
struct Progress {
    bar: ProgressBar,
    made: AtomicUsize,
    total: usize,
}

impl Progress {
    fn new(total: usize) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(total as u64)
        } else {
            ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::hidden())
        };
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} transactions, {per_sec}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, made: AtomicUsize::new(0), total }
    }

    fn step(&self) {
        let made = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        self.bar.inc(1);
        let tenths = |count: usize| count * 10 / self.total.max(1);
        if self.bar.is_hidden() && tenths(made) > tenths(made - 1) {
            println!("  {made} of {} transactions ({} %)", self.total, tenths(made) * 10);
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
