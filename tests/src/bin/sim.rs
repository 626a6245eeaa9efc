//! `sim`: runs seeds of the simulator and tells what they came to.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use selvedge_tests::sim::{Batch, Options, Outcome, Plant, Shape, run, run_batch, write_rows};

/// Runs the whole system, deterministically, under faults.
#[derive(Debug, Parser)]
struct Arguments {
    /// Run this seed alone, twice, and compare the two stories.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// How many seeds.
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Threads to run them on.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Seconds of virtual time under faults, before the quiet end.
    #[arg(long, default_value_t = Options::default().seconds)]
    seconds: u64,
    /// How much of the system there is: `alone` (one relay with its region inside), `relays` (several on one region),
    /// `regions` (two, shipped to each other).
    #[arg(long)]
    shape: Option<String>,
    /// Break a rule on purpose, to see it found; `list` names them.
    #[arg(long)]
    plant: Option<String>,
    /// Print the whole story of the seed.
    #[arg(long, requires = "seed")]
    story: bool,
    /// Go on after a violation.
    #[arg(long)]
    keep_going: bool,
    /// Append one row a figure to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.plant.as_deref() == Some("list") {
        for plant in Plant::ALL {
            println!("{:24} {}", plant.name(), plant.meaning());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let plant = match &arguments.plant {
        None => None,
        Some(name) => Some(
            Plant::named(name).with_context(|| format!("--plant {name}: no such fault; `--plant list` names them"))?,
        ),
    };
    let shape = match &arguments.shape {
        None => plant.map_or(Shape::Alone, Plant::shape),
        Some(name) => Shape::named(name).with_context(|| {
            let names: Vec<&str> = Shape::ALL.iter().map(|shape| shape.name()).collect();
            format!("--shape {name}: no such world; there are {}", names.join(", "))
        })?,
    };
    let options = Options { seconds: arguments.seconds, plant, shape, story: arguments.story, ..Options::default() };
    match arguments.seed {
        Some(seed) => one(seed, &options),
        None => many(&arguments, options),
    }
}

/// One seed, twice.
fn one(seed: u64, options: &Options) -> anyhow::Result<ExitCode> {
    let first = run(seed, options);
    println!("{first}");
    for (figure, value) in &first.figures {
        println!("  {figure:32} {value}");
    }
    for (name, count) in first.faults.named() {
        println!("  fault {name:26} {count}");
    }
    let second = run(seed, &Options { story: false, ..options.clone() });
    if second.hash != first.hash {
        println!("seed {seed}: two runs differ: {:016x} and {:016x}", first.hash, second.hash);
        return Ok(ExitCode::FAILURE);
    }
    println!("seed {seed}: the second run was the same, bit for bit");
    Ok(if first.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Many seeds.
fn many(arguments: &Arguments, options: Options) -> anyhow::Result<ExitCode> {
    let batch = Batch {
        from: arguments.from,
        seeds: arguments.seeds,
        threads: arguments.threads,
        stop_at_first: !arguments.keep_going,
        options,
    };
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(batch.seeds) } else { ProgressBar::hidden() };
    bar.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} seeds {msg} {eta}")
            .context("the progress bar's template")?,
    );
    let done = AtomicU64::new(0);
    let quiet = bar.is_hidden();
    let progress = |outcome: &Outcome| {
        bar.inc(1);
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if outcome.violation.is_some() {
            bar.suspend(|| println!("{outcome}"));
        }
        if quiet && done.is_multiple_of(100) {
            println!("{done} of {} seeds", batch.seeds);
        }
    };
    let summary = run_batch(&batch, &progress);
    bar.finish_and_clear();
    println!("{summary}");
    if let Some(file) = &arguments.json {
        write_rows(file, &summary).with_context(|| format!("--json {}", file.display()))?;
    }
    Ok(if summary.held() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
