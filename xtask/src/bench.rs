//! Measuring: runs the benches there are and gathers their figures.
//!
//! Every figure is one row `{suite, case, subject, figure, value, unit, runs, verified}`, printed as a table and, with
//! `--json`, appended to a file that may hold rows of earlier runs.

mod criterion;
mod rows;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::console::say;
use crate::setup::{self, Tool};
use crate::{demo, npm, paths, process};

use rows::Row;

/// What to measure, and where to put the figures.
#[derive(Args)]
pub(crate) struct Options {
    /// What to measure; everything when not given.
    #[arg(value_enum)]
    what: Vec<What>,
    /// Append the figures to this file, an array of rows.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// The engine, by criterion.
    Engine,
    /// The page in a browser: opening a large document, typing into it.
    Browser,
}

/// Measures.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = paths::root();
    let chosen = |what| options.what.is_empty() || options.what.contains(&what);
    let mut all = Vec::new();
    if chosen(What::Engine) {
        all.extend(engine(&root)?);
    }
    if chosen(What::Browser) {
        all.extend(browser(&root)?);
    }
    rows::print(&all);
    if let Some(file) = &options.json {
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
    let relay = demo::relay(root)?;
    npm::install(root, "tests/browser")?;
    say("bench", "browser: opening and typing into a large document");
    let file = root.join("target/browser-figures.json");
    let _ = std::fs::remove_file(&file);
    let mut command = Command::new("node");
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
