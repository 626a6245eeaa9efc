//! `region-bench`: what one region carries on this machine, from a keystroke through relay, Kafka and replicator to DynamoDB.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use selvedge_replicator::persist::PersistConfig;
use selvedge_tests::drill::{Counters, Load, LoadOptions, Machine, Observed, Processors, Recorder, read_stores};
use selvedge_tests::fleet::{Fleet, FleetOptions, Stack};
use selvedge_tests::history::{Event, Final, History, Level, Mark, Writer, acked_within_ms, percentile};
use selvedge_tests::replay::{RAISED_LIMITS, Row, append_rows};

/// How long everything may take to reach the op store after the last keystroke.
const PERSISTED_WITHIN: Duration = Duration::from_secs(300);
/// How often a client looks whether it is to type, and what it was told, in milliseconds.
const LOOK_MS: u64 = 2;

/// Let clients type as fast as they can into one region on the local stack, and measure what goes through.
#[derive(Debug, Parser)]
#[command(name = "region-bench")]
struct Arguments {
    /// Clients that type.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    clients: u32,
    /// From one edit of a client to its next, in milliseconds.
    #[arg(long, default_value_t = 20)]
    pause_ms: u64,
    /// How long they type, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Append the figures to this file, as an array of rows.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("region-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> anyhow::Result<bool> {
    let folder = tempfile::tempdir().context("a folder for logs")?;
    let stack = Stack::from_environment()?;
    let options = FleetOptions {
        regions: vec!["a".to_owned()],
        relays: 2,
        replicators: true,
        prefix: format!("bench-{:08x}-", rand::random::<u32>()),
        delay: Duration::ZERO,
        ports: stack.base()? + 30,
        relay_flags: RAISED_LIMITS.map(str::to_owned).into(),
    };
    println!("raised limits: {}", RAISED_LIMITS.join(" "));
    let fleet = Fleet::start(&options, Some(stack), folder.path()).await?;
    let recorder = Recorder::default();
    let load = LoadOptions {
        regions: vec![("a".to_owned(), fleet.regions[0].urls.clone())],
        clients: arguments.clients,
        documents: arguments.clients.div_ceil(4),
        prefix: "bench-".to_owned(),
        pause: Duration::from_millis(arguments.pause_ms),
        look: Duration::from_millis(LOOK_MS),
        trust: fleet.trust.clone(),
        seed: 1,
    };
    let load = Load::start(&load, &recorder).await?;
    let region = &fleet.regions[0];
    let (processes, counted, began) = (fleet.processes()?, Counters::read(region).await?, Instant::now());
    let (before, machine) = (Processors::read(&processes), Machine::read());
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    let typed_for = began.elapsed().as_secs_f64();
    let shares = Processors::read(&processes).since(&before, typed_for);
    let busy = machine.zip(Machine::read()).map(|(before, after)| after.since(before, typed_for));
    // Before it is asked who has what, which others do meanwhile.
    let acked = acked(&recorder.events());
    let counters = Counters::read(region).await?.since(&counted);
    let (finals, settled) = load.rest(PERSISTED_WITHIN, &recorder).await;
    settled?;
    let persisted = persisted(&fleet, &finals).await?;
    let until_stored = began.elapsed().as_secs_f64();
    let figures = Figures { events: recorder.events(), typed_for, until_stored, acked, counters, shares, busy };
    report(arguments, &figures, persisted)?;
    Ok(persisted)
}

/// Edits acked in the region so far.
fn acked(events: &[Event]) -> u64 {
    let mut through = BTreeMap::new();
    for event in events {
        if let Event::Acked { client, level: Level::Region, through: now, .. } = event {
            through.insert(*client, *now);
        }
    }
    through.values().sum()
}

/// Waits until the op store alone makes the clients' texts; whether it came to that.
async fn persisted(fleet: &Fleet, finals: &[Final]) -> anyhow::Result<bool> {
    let deadline = Instant::now() + PERSISTED_WITHIN;
    let mut documents: Vec<String> = finals.iter().map(|end| end.document.clone()).collect();
    documents.sort();
    documents.dedup();
    loop {
        let (stored, _) = read_stores(&fleet.regions[0], &documents, true).await?;
        let lags = |stored: &Final| finals.iter().any(|end| end.document == stored.document && end.text != stored.text);
        if !stored.iter().any(lags) {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

struct Figures {
    events: Vec<Event>,
    typed_for: f64,
    until_stored: f64,
    /// Edits that were acked by the last keystroke.
    acked: u64,
    /// What the programs counted up to there.
    counters: Counters,
    /// Cores used by each process, greatest first.
    shares: Vec<(String, f64)>,
    /// Cores used by anybody.
    busy: Option<f64>,
}

impl Figures {
    /// Operations made: one a character, one a deletion.
    fn operations(&self) -> u64 {
        let length = |event: &Event| match event {
            Event::Typed { client, number, .. } => Mark { client: *client, number: *number }.to_string().len() as u64,
            Event::Erased { .. } => 1,
            _ => 0,
        };
        self.events.iter().map(length).sum()
    }

    fn edits(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Typed { .. } | Event::Erased { .. })).count()
    }

    /// Quantiles of the time from an edit to its ack, in milliseconds.
    fn acks(&self, clients: u32) -> [f64; 3] {
        let writer = Writer { document: String::new(), region: "a".to_owned() };
        let history =
            History { writers: vec![writer; clients as usize], events: self.events.clone(), ..History::default() };
        let waits = acked_within_ms(&history, Level::Region);
        [0.5, 0.95, 0.99].map(|share| percentile(&waits, share).unwrap_or_default() as f64)
    }

    /// What says what holds the region up.
    fn observed(&self, arguments: &Arguments, ack_ms: f64) -> Observed {
        let used = self.shares.iter().map(|(_, share)| share).sum();
        let counters = &self.counters;
        Observed {
            offered_per_s: f64::from(arguments.clients) * 1_000.0 / (arguments.pause_ms.max(LOOK_MS) as f64),
            typed_per_s: self.edits() as f64 / self.typed_for,
            acked_per_s: self.acked as f64 / self.typed_for,
            ack_ms,
            append_ms: counters.append_ms(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64,
            busy: self.busy.unwrap_or(used),
            shares: self.shares.clone(),
            read_share: if counters.appended > 0.0 { (counters.read / counters.appended).min(1.0) } else { 1.0 },
            write_ms: counters.write_ms(),
            writes_share: counters.write_seconds / self.typed_for / PersistConfig::default().writes_max as f64,
        }
    }
}

fn report(arguments: &Arguments, figures: &Figures, verified: bool) -> anyhow::Result<()> {
    let [p50, p95, p99] = figures.acks(arguments.clients);
    let observed = figures.observed(arguments, p50);
    let operations = figures.operations() as f64;
    let mut rows: Vec<Row> = [
        ("operations_per_s", operations / figures.typed_for, "1/s"),
        ("edits_offered_per_s", observed.offered_per_s, "1/s"),
        ("edits_per_s", observed.typed_per_s, "1/s"),
        ("edits_acked_per_s", observed.acked_per_s, "1/s"),
        ("operations_stored_per_s", operations / figures.until_stored, "1/s"),
        ("ack_region_p50", p50, "ms"),
        ("ack_region_p95", p95, "ms"),
        ("ack_region_p99", p99, "ms"),
        ("append_mean", observed.append_ms, "ms"),
        ("op_store_write_mean", observed.write_ms, "ms"),
        ("op_store_writes_in_use", 100.0 * observed.writes_share, "%"),
        ("log_read_by_persist", 100.0 * observed.read_share, "%"),
        ("stored_after_last_edit", figures.until_stored - figures.typed_for, "s"),
        ("cores_machine", observed.busy, "cores"),
    ]
    .into_iter()
    .map(|(figure, value, unit)| row(arguments, figure, value, unit, verified))
    .collect();
    rows.extend(
        figures.shares.iter().map(|(name, share)| {
            row(arguments, &format!("cores_{}", name.replace('-', "_")), *share, "cores", verified)
        }),
    );
    for row in &rows {
        println!("  {:28} {:>12.2} {}", row.figure, row.value, row.unit);
    }
    println!("bottleneck: {observed}");
    match &arguments.json {
        Some(json) => append_rows(json, &rows),
        None => Ok(()),
    }
}

fn row(arguments: &Arguments, figure: &str, value: f64, unit: &str, verified: bool) -> Row {
    Row {
        suite: "region".to_owned(),
        case: format!("{}-clients", arguments.clients),
        subject: "selvedge".to_owned(),
        figure: figure.to_owned(),
        value,
        unit: unit.to_owned(),
        runs: 1,
        verified,
    }
}
