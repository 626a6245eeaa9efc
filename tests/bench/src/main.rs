//! Selvedge's engine beside its peers: `cargo run --release -- --traces DIR [--json FILE]`.

mod cases;
mod concurrent;
mod measure;
mod messages;
mod rows;
mod subjects;
mod trace;
mod turns;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::rows::{Row, SUBJECTS};
use crate::subjects::{Selvedge, Subject};
use crate::trace::Trace;
use crate::turns::Outcome;

/// Compares text CRDT engines on recorded editing sessions: processor time, bytes, heap; medians; every result verified.
#[derive(Parser)]
struct Args {
    /// A folder of recordings (.json or .json.gz, sequential or concurrent).
    #[arg(long)]
    traces: PathBuf,
    /// Turns that every engine has at a timed row: one run each, or as many as fit into 20 ms; the median of all runs counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only engines whose name contains this.
    #[arg(long)]
    subject: Option<String>,
    /// Only recordings whose name contains this.
    #[arg(long)]
    trace: Option<String>,
    /// Appends the rows to this file, a JSON array, as they come.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measures the one engine and the one recording of these names, and writes each row as a line of JSON.
    #[arg(long, hide = true)]
    alone: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.runs > 0, "--runs 0: at least one run is needed");
    if args.alone {
        let (Some(name), Some(subject)) = (&args.trace, &args.subject) else { return Ok(()) };
        rows::measure(&find(&args.traces, name)?, subject, args.runs);
        return Ok(());
    }
    let chosen = |only: &Option<String>, name: &str| only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let (mut all, mut unfinished) = (Vec::new(), false);
    for trace in names(&args.traces)?.iter().filter(|trace| chosen(&args.trace, trace)) {
        let (bearable, too_large): (Vec<_>, Vec<_>) = SUBJECTS
            .into_iter()
            .filter(|subject| chosen(&args.subject, subject))
            .partition(|subject| cases::is_bearable(trace, subject));
        for subject in too_large {
            eprintln!("{trace:<18} {subject:<15} left out: it takes more memory than a common machine has");
        }
        for Outcome { subject, rows, is_finished } in turns::measure(&args.traces, trace, &bearable, args.runs)? {
            unfinished |= !is_finished && subject == Selvedge::NAME;
            if let Some(file) = &args.json {
                append(file, &rows)?;
            }
            all.extend(rows);
        }
    }
    ensure!(!all.is_empty(), "--traces {}: no recording there, and no case of that name", args.traces.display());
    let wrong = all.iter().any(|row| row.subject == Selvedge::NAME && !row.verified);
    ensure!(!unfinished, "{} did not finish every row", Selvedge::NAME);
    ensure!(!wrong, "a result differs from the recording's end content");
    Ok(())
}

/// The names of a folder's recordings and of the cases that are made up. What cannot be measured is told.
fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in files(folder)? {
        match trace::read(&file) {
            Ok(trace) => names.push(trace.name().to_owned()),
            Err(error) => eprintln!("{}: left out: {error:#}", file.display()),
        }
    }
    names.extend(cases().iter().map(|case| case.name().to_owned()));
    names.extend(cases::large_names().map(str::to_owned));
    Ok(names)
}

/// The recording or the case of this name.
fn find(folder: &Path, name: &str) -> Result<Trace> {
    if let Some(file) = files(folder)?.iter().find(|file| trace::name(file) == name) {
        return trace::read(file);
    }
    let large = cases::large(name).map(Trace::Sequential);
    large.or_else(|| cases().into_iter().find(|case| case.name() == name)).context("no such recording")
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("--traces {}: cannot be read", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".json") || path.to_string_lossy().ends_with(".json.gz"))
        .collect();
    files.sort();
    Ok(files)
}

fn cases() -> Vec<Trace> {
    let several = cases::concurrent().into_iter().map(Trace::Concurrent);
    cases::sequential().into_iter().map(Trace::Sequential).chain(several).collect()
}

/// Adds rows to a file, which is made if it is not there.
fn append(file: &Path, rows: &[Row]) -> Result<()> {
    let mut all: Vec<serde_json::Value> = match fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("--json {}: holds no array of rows", file.display()))?,
        Err(_) => Vec::new(),
    };
    for row in rows {
        all.push(serde_json::to_value(row)?);
    }
    fs::write(file, serde_json::to_vec_pretty(&all)?)
        .with_context(|| format!("--json {}: cannot be written", file.display()))
}
