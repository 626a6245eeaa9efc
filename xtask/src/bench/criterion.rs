//! Figures of criterion benches, read from the files they leave.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::rows::Row;

/// One row per bench below criterion's folder: its median time.
pub(super) fn rows(suite: &str, folder: &Path) -> anyhow::Result<Vec<Row>> {
    let mut files = Vec::new();
    if folder.is_dir() {
        estimates(folder, &mut files).with_context(|| format!("cannot list {}", folder.display()))?;
    }
    files.sort();
    files.iter().map(|file| row(suite, folder, file)).collect()
}

fn estimates(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            estimates(&path, files)?;
        } else if path.ends_with("new/estimates.json") {
            files.push(path);
        }
    }
    Ok(())
}

fn row(suite: &str, folder: &Path, file: &Path) -> anyhow::Result<Row> {
    let json = |name: &str| -> anyhow::Result<serde_json::Value> {
        let file = file.with_file_name(name);
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))
    };
    let nanoseconds = json("estimates.json")?["median"]["point_estimate"]
        .as_f64()
        .with_context(|| format!("{} has no median", file.display()))?;
    let runs = json("sample.json")?["times"].as_array().map_or(0, Vec::len);
    // .../<case>/new/estimates.json
    let case = file
        .strip_prefix(folder)
        .ok()
        .and_then(|path| path.parent()?.parent())
        .map(|path| path.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(Row {
        suite: suite.to_owned(),
        case,
        subject: "selvedge".to_owned(),
        figure: "time_median".to_owned(),
        value: nanoseconds / 1_000.0,
        unit: "us".to_owned(),
        runs: runs as u64,
        // The benches assert their results while they warm up; a wrong one ends the run.
        verified: true,
    })
}
