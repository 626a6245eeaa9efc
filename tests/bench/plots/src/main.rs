//! Plots of the results folder: `cargo run --release -p selvedge-bench-plots -- DIR`.
//!
//! `growth.json` gives `growth-*.svg`; every other `NAME.json` in which there is a peer gives `NAME.svg`.

mod growth;
mod peers;
mod results;
mod style;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::results::Results;

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("which folder? cargo run -- DIR")?);
    let entries = std::fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|end| end == "json"));
    files.sort();
    for file in files {
        let results = Results::read(&file)?;
        if file.file_stem().is_some_and(|name| name == "growth") {
            growth::draw(&results, &folder)?;
        } else if !results.comparisons.is_empty() {
            peers::draw(&results, &file.with_extension("svg"))?;
        }
    }
    Ok(())
}
