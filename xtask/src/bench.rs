//! Measuring: runs the benches there are and gathers their figures.
//!
//! Every figure is one row `{suite, case, subject, figure, value, unit, runs, verified}`, printed as a table and, with
//! `--json`, appended to a file that may hold rows of earlier runs.

mod criterion;
mod rows;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};

use crate::console::say;
use crate::setup::{self, Tool};
use crate::{demo, npm, paths, process, programs};

use rows::Row;

/// Measures one part; its rows.
type Bench = fn(&Path) -> anyhow::Result<Vec<Row>>;

/// What can be measured, and how.
const BENCHES: [(&str, Bench); 2] = [("engine", engine), ("browser", browser)];

/// The command `bench`.
pub(crate) fn arguments() -> Command {
    Command::new("bench")
        .about("Measure, print the figures and keep them")
        .arg(
            Arg::new("what")
                .num_args(0..)
                .value_name("BENCH")
                .value_parser(BENCHES.map(|(name, _)| name))
                .help("What to measure; everything when not given"),
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
    let mut all = Vec::new();
    for (name, bench) in BENCHES {
        if chosen.is_empty() || chosen.iter().any(|chosen| *chosen == name) {
            all.extend(bench(&root)?);
        }
    }
    rows::print(&all);
    if let Some(file) = matches.get_one::<PathBuf>("json") {
        rows::append(file, &all)?;
        say("bench", &format!("{} rows appended to {}", all.len(), file.display()));
    }
    if all.is_empty() {
        bail!("nothing was measured");
    }
    if let Some(row) = all.iter().find(|row| !row.verified) {
        bail!("{} {} {} was not verified", row.suite, row.case, row.figure);
    }
    Ok(())
}

/// The engine's criterion benches, with the checks of a release build off as they are for users.
fn engine(root: &Path) -> anyhow::Result<Vec<Row>> {
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
    criterion::rows("engine", &folder)
}

/// The page in headless Chromium, by the browser tests' own bench.
fn browser(root: &Path) -> anyhow::Result<Vec<Row>> {
    setup::require(&[Tool::Node, Tool::Npm, Tool::Chromium])?;
    demo::site(root)?;
    let [relay] = programs::build(root, ["selvedge-relay"])?;
    npm::install(root, "tests/browser")?;
    say("bench", "browser: opening and typing into a large document");
    let file = root.join("target/browser-figures.json");
    let _ = std::fs::remove_file(&file);
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
