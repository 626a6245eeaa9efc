//! The results folder: one JSON file for each bench, written anew when it is run again, and the plots made of them.
//!
//! It lies beside the benches and belongs to the sources: what README says is read from it, and a change of speed shows as
//! a change of these files. `{about, comparisons, rows}`: machine and versions; each figure of ours beside the best
//! peer's; the rows as they were measured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::comparison::{self, Comparison};
use super::machine;
use super::rows::{self, Row};
use crate::console::{human, say};
use crate::process;

/// Where the published results are, from the root.
pub(super) const FOLDER: &str = "tests/bench/results";

/// A folder of results.
pub(super) struct Results {
    folder: PathBuf,
}

/// One bench's figures.
pub(super) struct Measured<'a> {
    pub(super) bench: &'a str,
    pub(super) rows: &'a [Row],
    /// Of the clock, with compiling.
    pub(super) took: Duration,
    /// How busy the machine was before.
    pub(super) load: Option<f64>,
}

/// What is kept of one bench.
pub(super) struct Kept {
    pub(super) bench: String,
    pub(super) about: Value,
    pub(super) rows: Vec<Row>,
}

impl Results {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Keeps a bench's figures in place of those of its last run.
    pub(super) fn keep(&self, root: &Path, measured: &Measured<'_>) -> anyhow::Result<()> {
        let Measured { bench, rows, took, load } = measured;
        let about = json!({
            "command": format!("cargo xtask bench {bench}"),
            "date": machine::today()?,
            "minutes": (took.as_secs_f64() / 6.0).round() / 10.0,
            "load_before": load,
            "machine": machine::describe()?,
            "peers": machine::peers(root, bench)?,
        });
        let compared = comparison::compare(rows);
        let lines = |values: Vec<Value>| {
            let lines: Vec<String> = values.iter().map(|value| format!("    {value}")).collect();
            lines.join(",\n")
        };
        // One line for each figure, so that a change shows as that.
        let text = format!(
            "{{\n  \"about\": {about},\n  \"comparisons\": [\n{}\n  ],\n  \"rows\": [\n{}\n  ]\n}}\n",
            lines(compared.iter().map(Comparison::to_json).collect()),
            lines(rows.iter().map(Row::to_json).collect()),
        );
        std::fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
        let file = self.folder.join(format!("{bench}.json"));
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        say("bench", &format!("{bench}: {} rows in {}, kept in {}", rows.len(), human(*took), file.display()));
        Ok(())
    }

    /// What is kept, by the benches' names.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Kept>> {
        let mut files = Vec::new();
        if self.folder.is_dir() {
            let folder = std::fs::read_dir(&self.folder);
            for entry in folder.with_context(|| format!("cannot list {}", self.folder.display()))? {
                files.push(entry?.path());
            }
        }
        files.retain(|file| file.extension().is_some_and(|end| end == "json"));
        files.sort();
        files.iter().map(|file| Kept::read(file)).collect()
    }

    /// Draws every plot anew.
    pub(super) fn draw(&self, root: &Path) -> anyhow::Result<()> {
        say("bench", &format!("drawing what is in {}", self.folder.display()));
        process::run(
            process::cargo(&["run", "--release", "--quiet", "--package", "selvedge-bench-plots", "--"])
                .arg(&self.folder)
                .current_dir(root.join("tests/bench")),
        )
    }
}

impl Kept {
    fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let kept: Value = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))?;
        let rows = rows::from_json(&kept["rows"]).with_context(|| format!("{} has no rows", file.display()))?;
        let bench = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { bench, about: kept["about"].clone(), rows })
    }
}
