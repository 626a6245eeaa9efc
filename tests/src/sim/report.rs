//! The summary of a batch as a table and as rows.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::batch::Summary;
use super::fault::{Fault, FaultCounts};

impl FaultCounts {
    /// Every kind with its count, in the order of reports.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        Fault::ALL.iter().map(|fault| (fault.name(), self.of(*fault))).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{} seeds, {} simulated s in {:.1} s, {} events, at least {} faults each",
            self.runs,
            self.simulated_ms / 1_000,
            self.wall_s,
            self.events,
            self.faults_least,
        )?;
        for (figure, value) in &self.figures {
            writeln!(formatter, "  {figure:32} {value:>12}")?;
        }
        for (name, count) in self.faults.named() {
            writeln!(formatter, "  fault {name:26} {count:>12}")?;
        }
        for fault in self.faults_missing() {
            writeln!(formatter, "  NEVER HIT: {}", fault.name())?;
        }
        for outcome in &self.violated {
            if let Some(violation) = &outcome.violation {
                writeln!(formatter, "  VIOLATED: seed {}: {}{}", outcome.seed, violation.invariant, outcome.arguments)?;
            }
        }
        let missing = self.faults_missing().len();
        let verdict = if self.held() { "every invariant held" } else { "NOT held" };
        writeln!(
            formatter,
            "{verdict}{}",
            if missing > 0 { format!("; {missing} kinds of fault never hit") } else { String::new() }
        )?;
        write!(formatter, "{} passed, {} failed", self.runs - self.violated.len() as u64, self.violated.len())
    }
}

/// Appends the batch's rows to the array in `file`, which is made when it is not there.
///
/// # Errors
/// When the file cannot be read or written, or holds something else than an array.
pub fn write_rows(file: &Path, summary: &Summary) -> io::Result<()> {
    let mut rows: Vec<Value> = match fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let verified = summary.held();
    let mut row = |case: &str, figure: &str, value: f64, unit: &str| {
        rows.push(json!({
            "suite": "sim", "case": case, "subject": "selvedge", "figure": figure, "value": value, "unit": unit,
            "runs": summary.runs, "verified": verified,
        }));
    };
    row("seeds", "violations", summary.violated.len() as f64, "count");
    row("seeds", "simulated", summary.simulated_ms as f64 / 1_000.0, "s");
    row("seeds", "simulated_per_s", summary.simulated_ms as f64 / 1_000.0 / summary.wall_s.max(0.001), "s/s");
    row("seeds", "events", summary.events as f64, "count");
    row("seeds", "faults_least", summary.faults_least as f64, "count");
    for (figure, value) in &summary.figures {
        row("workload", figure, *value as f64, "count");
    }
    for (name, count) in summary.faults.named() {
        row("faults", name, count as f64, "count");
    }
    fs::write(file, serde_json::to_vec_pretty(&rows)?)
}
