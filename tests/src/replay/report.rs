//! Figures in the form that everything that measures writes: one row a figure, appended to a JSON array.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was run, e.g. `replay`.
    pub suite: String,
    /// On what, e.g. a recording.
    pub case: String,
    /// Who was measured: `selvedge` or a peer.
    pub subject: String,
    /// What; greater is better where it ends in `_per_s`.
    pub figure: String,
    /// How much.
    pub value: f64,
    /// In what.
    pub unit: String,
    /// How often it was run.
    pub runs: u32,
    /// Whether the result was checked and right.
    pub verified: bool,
}

/// Appends rows to the array in a file, or begins it.
///
/// # Errors
/// When the file is there and no array of rows, or cannot be written; it is left as it was.
pub fn append_rows(file: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let context = || format!("--json {}", file.display());
    let mut all: Vec<serde_json::Value> = match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .context("the file is there and no JSON array; name another one")
            .with_context(context)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(context),
    };
    for row in rows {
        all.push(serde_json::to_value(row)?);
    }
    std::fs::write(file, format!("{}\n", serde_json::to_string_pretty(&all)?)).with_context(context)
}
