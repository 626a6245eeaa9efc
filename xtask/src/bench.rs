//! Measuring: runs the benches there are and gathers their figures.
//!
//! Every figure is one row `{suite, case, subject, figure, value, unit, runs, verified}`, printed as a table and, with
//! `--json`, appended to a file that may hold rows of earlier runs. What was measured on the project's own recordings is
//! kept in the results folder, with plots, and told in README.

mod comparison;
mod criterion;
mod machine;
mod results;
mod rows;
pub(crate) mod summary;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};

use crate::console::say;
use crate::programs::Selection;
use crate::setup::{self, Tool};
use crate::stack::{self, Region, Service, Stack};
use crate::{demo, drill, npm, paths, process, programs, wasm};

use results::{Measured, Results};
use rows::Row;

/// Measures one part; its rows.
type Bench = fn(&Path, &Options) -> anyhow::Result<Vec<Row>>;

/// What the benches need to know beside the checkout.
struct Options {
    /// The folder of recorded sessions.
    traces: PathBuf,
}

/// What can be measured, and how.
const BENCHES: [(&str, Bench); 5] =
    [("engine", engine), ("wasm", package), ("growth", growth), ("browser", browser), ("region", region)];
/// The npm project of the package's peers.
pub(crate) const NODE: &str = "tests/bench/node";
/// Measures nothing: draws what is kept, and writes README's table.
const SUMMARY: &str = "summary";
/// Where figures on recordings that somebody names are kept, from the root.
const OTHERS: &str = "target/bench-results";

/// The command `bench`.
pub(crate) fn arguments() -> Command {
    Command::new("bench")
        .about("Measure, print the figures and keep them")
        .arg(
            Arg::new("what")
                .num_args(0..)
                .value_name("BENCH")
                .value_parser(BENCHES.map(|(name, _)| name).into_iter().chain([SUMMARY]).collect::<Vec<_>>())
                .help("What to measure; everything when not given. `summary` only draws what is kept and writes README's table"),
        )
        .arg(
            Arg::new("traces")
                .long("traces")
                .value_name("DIR")
                .value_parser(clap::value_parser!(PathBuf))
                .help("Recorded sessions to measure on, in place of the project's own"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("Append the figures to this file, an array of rows"),
        )
}

/// Measures.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let root = paths::root();
    let chosen: Vec<&String> = matches.get_many("what").into_iter().flatten().collect();
    let named = matches.get_one::<PathBuf>("traces");
    let options = Options { traces: traces(&root, named)? };
    let results = Results::at(root.join(if named.is_some() { OTHERS } else { results::FOLDER }));
    let mut all = Vec::new();
    for (bench, measure) in BENCHES {
        if chosen.is_empty() || chosen.iter().any(|chosen| *chosen == bench) {
            let (load, begin) = (machine::load(), Instant::now());
            let rows = measure(&root, &options)?;
            results.keep(&root, &Measured { bench, rows: &rows, took: begin.elapsed(), load })?;
            all.extend(rows);
        }
    }
    rows::print(&all);
    if let Some(file) = matches.get_one::<PathBuf>("json") {
        rows::append(file, &all)?;
        say("bench", &format!("{} rows appended to {}", all.len(), file.display()));
    }
    results.draw(&root)?;
    if named.is_none() {
        summary::write(&root)?;
    }
    if all.is_empty() && !chosen.iter().any(|chosen| *chosen == SUMMARY) {
        bail!("nothing was measured");
    }
    if let Some(row) = all.iter().find(|row| !row.verified) {
        bail!("{} {} {} was not verified", row.suite, row.case, row.figure);
    }
    Ok(())
}

/// The folder of recordings: the one named, else the first there is of the usual ones.
fn traces(root: &Path, named: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = named {
        // The bench runs in another folder.
        return folder.canonicalize().with_context(|| format!("--traces {}", folder.display()));
    }
    let usual = [root.join("../shared/traces"), root.join("tests/traces")];
    let [shared, own] = &usual;
    Ok(if shared.is_dir() { shared } else { own }.clone())
}

/// The engine: its own criterion benches, then beside its peers on recorded sessions.
fn engine(root: &Path, options: &Options) -> anyhow::Result<Vec<Row>> {
    say("bench", "engine: compiling and running its criterion benches");
    let folder = root.join("target/criterion-figures");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).context("cannot clear old figures")?;
    }
    process::run(
        process::cargo(&["bench", "--package", "selvedge-engine", "--benches"])
            .env("CRITERION_HOME", &folder)
            .current_dir(root),
    )?;
    let mut all = criterion::rows("engine", &folder)?;
    say("bench", &format!("engine: beside its peers on {}, every result verified", options.traces.display()));
    let file = scratch(root, "engine-figures.json")?;
    process::run(
        process::cargo(&["run", "--release", "--quiet", "--", "--traces"])
            .arg(&options.traces)
            .arg("--json")
            .arg(&file)
            .current_dir(root.join("tests/bench")),
    )?;
    all.extend(rows::read(&file)?);
    Ok(all)
}

/// The engine alone: an edit's time and an identifier's length while a document grows.
fn growth(root: &Path, _options: &Options) -> anyhow::Result<Vec<Row>> {
    say("bench", "growth: texts written in several ways, up to ten million characters");
    let file = scratch(root, "growth-figures.json")?;
    process::run(
        process::cargo(&["run", "--release", "--quiet", "--package", "selvedge-bench-growth", "--", "--json"])
            .arg(&file)
            .current_dir(root.join("tests/bench")),
    )?;
    rows::read(&file)
}

/// The npm package beside its peers in Node.js, on recorded sessions and on the text cases of crdt-benchmarks.
fn package(root: &Path, options: &Options) -> anyhow::Result<Vec<Row>> {
    setup::require(&[Tool::Node, Tool::Npm])?;
    wasm::module(root, false)?;
    wasm::package(root, false)?;
    // The package's own tools bundle what sizes are taken of.
    for project in [wasm::PACKAGE, NODE] {
        npm::install(root, project)?;
    }
    say("bench", &format!("wasm: beside its peers on {}, every result verified", options.traces.display()));
    let file = scratch(root, "wasm-figures.json")?;
    let mut command = process::program("node");
    command.arg("run.mjs").arg("--traces").arg(&options.traces).arg("--json").arg(&file);
    process::run(command.current_dir(root.join(NODE)))?;
    rows::read(&file)
}

/// A file for a bench to write its rows to, not there yet.
fn scratch(root: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = root.join("target");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = folder.join(name);
    if file.exists() {
        std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(file)
}

/// The page in headless Chromium, by the browser tests' own bench.
fn browser(root: &Path, _options: &Options) -> anyhow::Result<Vec<Row>> {
    setup::require(&[Tool::Node, Tool::Npm, Tool::Chromium])?;
    demo::site(root)?;
    let [relay] = programs::build(root, Selection::Workspace, ["selvedge-relay"])?;
    npm::install(root, "tests/browser")?;
    say("bench", "browser: opening and typing into a large document");
    let file = scratch(root, "browser-figures.json")?;
    let mut command = process::program("node");
    command
        .arg(root.join("tests/browser/bench.mjs"))
        .arg("--json")
        .arg(&file)
        .env("SELVEDGE_RELAY_BIN", relay)
        .env("SELVEDGE_WEB", root.join(demo::WEB).join("dist"));
    if let Some(browser) = setup::chromium() {
        command.env("SELVEDGE_CHROMIUM", browser);
    }
    process::run(&mut command)?;
    rows::read(&file)
}

/// One region on the local stack, from a keystroke to the op store.
fn region(root: &Path, _options: &Options) -> anyhow::Result<Vec<Row>> {
    say("bench", "region: compiling relay and replicator with the clients of the services");
    let programs = drill::build("region-bench")?;
    let stack = Stack::at(stack::PORTS, None);
    let file = scratch(root, "region-figures.json")?;
    let mut command = drill::on_stack(&stack, &Service::select(&[Region::A], &[]), &programs)?;
    say("bench", "region: clients type as fast as they can through relays and Kafka to DynamoDB");
    process::run(command.arg("--json").arg(&file))?;
    rows::read(&file)
}
