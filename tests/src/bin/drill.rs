//! `drill`: what happens to clients when a part of a deployment fails, measured on real processes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use selvedge_tests::drill::{Case, DrillOptions, Outcome, ReadStores, Reading, print, read_stores, rows, run};
use selvedge_tests::fleet::{RegionFleet, Stack};
use selvedge_tests::replay::append_rows;

/// Run drills: relays, replicators and services as real processes, native clients that type, one thing that fails; then check
/// what everybody has, and print figures beside their targets.
#[derive(Debug, Parser)]
#[command(name = "drill")]
struct Arguments {
    /// Which drills; none: all of them.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(Case::ALL.map(Case::name)))]
    names: Vec<String>,
    /// How often each is run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Clients that type.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    clients: u32,
    /// Characters that the home region's log holds alone when it is lost in the drill `failback`.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    stranded: u32,
    /// A short form: fewer clients, and nothing is away for long.
    #[arg(long)]
    short: bool,
    /// Without replicators: nothing is persisted, and only clients, relays and the log are compared.
    #[arg(long)]
    without_replicators: bool,
    /// Append the figures to this file, as an array of rows.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the histories and the programs' logs in this folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match drills(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("drill: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn drills(arguments: Arguments) -> anyhow::Result<bool> {
    let stack = Stack::from_environment()?;
    let scratch = tempfile::tempdir().context("a folder for logs")?;
    let folder = arguments.keep.as_deref().unwrap_or(scratch.path());
    let (mut passed, mut failed) = (0, 0);
    for case in Case::ALL.into_iter().filter(|case| wanted(&arguments, *case)) {
        let mut outcomes = Vec::new();
        for number in 1..=arguments.runs {
            println!("{}: run {number} of {}", case.name(), arguments.runs);
            let outcome = once(case, number, &arguments, &stack, folder).await;
            let outcome = outcome.with_context(|| format!("{} run {number}", case.name()))?;
            if outcome.breaches.is_empty() {
                passed += 1
            } else {
                failed += 1
            }
            outcomes.push(outcome);
        }
        print(case, &outcomes);
        if let Some(json) = &arguments.json {
            append_rows(json, &rows(case, &outcomes))?;
        }
    }
    println!("drill: {passed} passed, {failed} failed");
    Ok(failed == 0)
}

fn wanted(arguments: &Arguments, case: Case) -> bool {
    arguments.names.is_empty() || arguments.names.iter().any(|name| name == case.name())
}

async fn once(case: Case, number: u32, arguments: &Arguments, stack: &Stack, folder: &Path) -> anyhow::Result<Outcome> {
    let folder = folder.join(format!("{}-{number}", case.name()));
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let mut options = DrillOptions {
        clients: arguments.clients,
        replicators: !arguments.without_replicators,
        stranded: arguments.stranded as usize,
        seed: u64::from(number),
        ..DrillOptions::default()
    };
    if arguments.short {
        options.clients = options.clients.min(10);
        options.documents = 2;
        (options.before, options.after) = (Duration::from_secs(2), Duration::from_secs(2));
        (options.away, options.region_away) = (Duration::from_secs(2), Duration::from_secs(15));
    }
    let read: &ReadStores = if options.replicators { &all_stores } else { &log_alone };
    let outcome = run(case, &options, Some(stack.clone()), &folder, read).await?;
    let history = serde_json::to_string(&outcome.history)?;
    std::fs::write(folder.join("history.json"), history).context("the history cannot be kept")?;
    Ok(outcome)
}

fn all_stores<'a>(region: &'a RegionFleet, documents: &'a [String]) -> BoxFuture<'a, anyhow::Result<Reading>> {
    read_stores(region, documents, true).boxed()
}

fn log_alone<'a>(region: &'a RegionFleet, documents: &'a [String]) -> BoxFuture<'a, anyhow::Result<Reading>> {
    read_stores(region, documents, false).boxed()
}
