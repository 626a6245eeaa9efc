//! The results of one bench, as `cargo xtask bench` keeps them.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Results {
    pub about: About,
    pub comparisons: Vec<Comparison>,
    pub rows: Vec<Row>,
}

#[derive(Deserialize)]
pub struct About {
    pub command: String,
    pub date: String,
    pub machine: Machine,
}

#[derive(Deserialize)]
pub struct Machine {
    pub processor: Option<String>,
    pub cores: usize,
}

/// A figure of ours beside the best peer's; a ratio below 1 is ahead.
#[derive(Deserialize)]
pub struct Comparison {
    pub case: String,
    pub figure: String,
    pub best: f64,
    pub ratio: f64,
}

#[derive(Deserialize)]
pub struct Row {
    pub case: String,
    pub subject: String,
    pub figure: String,
    pub value: f64,
}

impl Results {
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} holds no results", file.display()))
    }

    /// What was measured where, for the foot of a plot.
    pub fn origin(&self) -> String {
        let About { command, date, machine } = &self.about;
        let processor = machine.processor.as_deref().unwrap_or("an unknown processor");
        format!("{command}, {date}, {processor}, {} cores", machine.cores)
    }
}
