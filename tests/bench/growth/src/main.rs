//! How an edit's time and an identifier's length grow with the document: `cargo run --release -p selvedge-bench-growth`.
//!
//! For every kind of editing a text is written character by character, up to ten million; at 1, 2 and 5 times every
//! power of ten it tells the processor time and the message of an edit since the last such place, what the identifiers
//! of all characters count for, and the memory, as the engine's `stats` has them. Two replicas; the texts of both are compared with a
//! rope each time.

mod kinds;
mod pair;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde::Serialize;

use crate::kinds::{Hand, Kind};
use crate::pair::Pair;

/// Measures how an edit's time and an identifier's length grow with the document.
#[derive(Parser)]
struct Args {
    /// Characters to write by each kind of editing.
    #[arg(long, default_value_t = 10_000_000)]
    characters: usize,
    /// Processor time after which a kind of editing is not taken any further, in seconds.
    #[arg(long, default_value_t = 300)]
    patience: u64,
    /// Only kinds of editing whose name contains this.
    #[arg(long)]
    kind: Option<String>,
    /// Writes the rows to this file, a JSON array.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One figure; the case is `KIND/CHARACTERS`.
#[derive(Serialize)]
struct Row {
    suite: &'static str,
    case: String,
    subject: &'static str,
    figure: &'static str,
    value: f64,
    unit: &'static str,
    runs: usize,
    verified: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let wanted = |kind: &Kind| args.kind.as_ref().is_none_or(|only| kind.name().contains(only.as_str()));
    let mut rows = Vec::new();
    for kind in Kind::ALL.into_iter().filter(wanted) {
        grow(kind, &args, &mut rows);
        // After every kind: what was measured is there, should a later one be broken off.
        if let Some(path) = &args.json {
            std::fs::write(path, serde_json::to_vec_pretty(&rows)?)
                .with_context(|| format!("--json {}: cannot be written", path.display()))?;
        }
    }
    ensure!(!rows.is_empty(), "--kind or --characters leaves nothing to measure");
    ensure!(rows.iter().all(|row| row.verified), "a text differs from the rope's");
    Ok(())
}

/// 1,000, 2,000, 5,000, 10,000 and so on.
fn lengths(end: usize) -> impl Iterator<Item = usize> {
    let powers = (3..).map(|power| 10_usize.pow(power));
    powers.flat_map(|power| [power, 2 * power, 5 * power]).take_while(move |length| *length <= end)
}

fn grow(kind: Kind, args: &Args, rows: &mut Vec<Row>) {
    eprintln!(
        "\n{:<19} {:>10} {:>9} {:>9} {:>9} {:>12} {:>12} {:>9}",
        kind.name(),
        "characters",
        "local us",
        "remote us",
        "message B",
        "levels",
        "identifier B",
        "heap B",
    );
    let (mut pair, mut hand, mut spent) = (Pair::default(), Hand::new(kind), Duration::ZERO);
    for length in lengths(args.characters) {
        let cost = pair.grow(&mut hand, length);
        spent += cost.local + cost.remote;
        let (stats, verified) = (pair.stats(), pair.agrees());
        let each = |sum: f64| sum / cost.edits as f64;
        let mean = |sum: usize| sum as f64 / stats.scalars as f64;
        let figures = [
            ("local_message_time", each(cost.local.as_secs_f64() * 1e6), "us"),
            ("remote_time", each(cost.remote.as_secs_f64() * 1e6), "us"),
            ("message_bytes", each(cost.message_bytes as f64), "B"),
            ("levels_mean", mean(stats.depth_sum), "levels"),
            ("levels_max", stats.depth_max as f64, "levels"),
            ("identifier_bytes_mean", mean(stats.path_bytes_sum), "B"),
            ("identifier_bytes_max", stats.path_bytes_max as f64, "B"),
            ("heap_bytes_per_character", mean(stats.heap_bytes), "B"),
        ];
        let [local, remote, message, levels, levels_max, bytes, bytes_max, heap] = figures.map(|(_, value, _)| value);
        let (levels, bytes) = (format!("{levels:.2} {levels_max:>3}"), format!("{bytes:.2} {bytes_max:>3}"));
        eprintln!(
            "{:<19} {length:>10} {local:>9.3} {remote:>9.3} {message:>9.2} {levels:>12} {bytes:>12} {heap:>9.2}{}",
            "",
            if verified { "" } else { "  WRONG TEXT" },
        );
        let case = format!("{}/{length}", kind.name());
        rows.extend(figures.map(|(figure, value, unit)| Row {
            suite: "growth",
            case: case.clone(),
            subject: "selvedge",
            figure,
            value,
            unit,
            runs: 1,
            verified,
        }));
        if spent > Duration::from_secs(args.patience) {
            eprintln!("{:<19} not taken further: {:.0} s of processor time", "", spent.as_secs_f64());
            break;
        }
    }
}
