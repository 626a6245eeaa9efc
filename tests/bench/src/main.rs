//! Selvedge's engine beside its peers: `cargo run --release -- --traces DIR [--json FILE]`.

mod cases;
mod concurrent;
mod measure;
mod messages;
mod rows;
mod subjects;
mod trace;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::subjects::{Selvedge, Subject};
use crate::trace::Trace;

/// Compares text CRDT engines on recorded editing sessions: processor time, bytes, heap; medians; every result verified.
#[derive(Parser)]
struct Args {
    /// A folder of recordings (.json or .json.gz, sequential or concurrent).
    #[arg(long)]
    traces: PathBuf,
    /// Runs of every timed row, of which the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only engines whose name contains this.
    #[arg(long)]
    subject: Option<String>,
    /// Only recordings whose name contains this.
    #[arg(long)]
    trace: Option<String>,
    /// Appends the rows to this file, a JSON array.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.runs > 0, "--runs 0: at least one run is needed");
    let mut files: Vec<_> = fs::read_dir(&args.traces)
        .with_context(|| format!("--traces {}: cannot be read", args.traces.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".json") || path.to_string_lossy().ends_with(".json.gz"))
        .filter(|path| args.trace.as_ref().is_none_or(|only| path.to_string_lossy().contains(only.as_str())))
        .collect();
    files.sort();
    let mut out = Vec::new();
    for file in files {
        match trace::read(&file)? {
            Trace::Sequential(trace) => rows::sequential(&trace, args.runs, args.subject.as_deref(), &mut out),
            Trace::Concurrent(trace) => rows::concurrent(&trace, args.runs, args.subject.as_deref(), &mut out)?,
        }
    }
    let named = |name: &str| args.trace.as_ref().is_none_or(|only| name.contains(only.as_str()));
    for trace in cases::sequential().iter().filter(|trace| named(&trace.name)) {
        rows::sequential(trace, args.runs, args.subject.as_deref(), &mut out);
    }
    for trace in cases::concurrent().iter().filter(|trace| named(&trace.name)) {
        rows::concurrent(trace, args.runs, args.subject.as_deref(), &mut out)?;
    }
    if let Some(path) = &args.json {
        let mut all: Vec<serde_json::Value> = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("--json {}: holds no array of rows", path.display()))?,
            Err(_) => Vec::new(),
        };
        for row in &out {
            all.push(serde_json::to_value(row)?);
        }
        fs::write(path, serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("--json {}: cannot be written", path.display()))?;
    }
    ensure!(!out.is_empty(), "--traces {}: no recording there, and no case of that name", args.traces.display());
    let wrong = out.iter().any(|row| row.subject == Selvedge::NAME && !row.verified);
    ensure!(!wrong, "a result differs from the recording's end content");
    Ok(())
}
