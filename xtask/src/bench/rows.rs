//! Rows of figures: printed, kept, read back.

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) suite: String,
    pub(super) case: String,
    /// `selvedge`, or the name of what it is compared with.
    pub(super) subject: String,
    /// What was measured; one that ends in `_per_s` is better when greater, every other when smaller.
    pub(super) figure: String,
    pub(super) value: f64,
    pub(super) unit: String,
    pub(super) runs: u64,
    /// Whether the result that was measured was also checked.
    pub(super) verified: bool,
}

impl Row {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "suite": self.suite,
            "case": self.case,
            "subject": self.subject,
            "figure": self.figure,
            "value": self.value,
            "unit": self.unit,
            "runs": self.runs,
            "verified": self.verified,
        })
    }

    fn from_json(row: &Value) -> Option<Self> {
        let text = |field: &str| row[field].as_str().map(str::to_owned);
        Some(Row {
            suite: text("suite")?,
            case: text("case")?,
            subject: text("subject")?,
            figure: text("figure")?,
            value: row["value"].as_f64()?,
            unit: text("unit")?,
            runs: row["runs"].as_u64()?,
            verified: row["verified"].as_bool()?,
        })
    }
}

/// Prints the rows as a table.
pub(super) fn print(rows: &[Row]) {
    let width = |of: fn(&Row) -> &String| rows.iter().map(|row| of(row).len()).max().unwrap_or(0);
    let (suite, case) = (width(|row| &row.suite), width(|row| &row.case));
    let (subject, figure) = (width(|row| &row.subject), width(|row| &row.figure));
    for row in rows {
        println!(
            "{:suite$}  {:case$}  {:subject$}  {:figure$}  {:>14.3} {}{}",
            row.suite,
            row.case,
            row.subject,
            row.figure,
            row.value,
            row.unit,
            if row.verified { "" } else { "  NOT VERIFIED" },
        );
    }
}

/// Reads a file of rows.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<Row>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|rows| from_json(&rows))
        .with_context(|| format!("{} is not an array of rows", file.display()))
}

/// The rows of an array of them.
pub(super) fn from_json(rows: &Value) -> Option<Vec<Row>> {
    rows.as_array()?.iter().map(Row::from_json).collect()
}

/// Appends rows to a file, which is made when it is not there.
pub(super) fn append(file: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let mut all = if file.exists() { read(file)? } else { Vec::new() };
    all.extend_from_slice(rows);
    let all: Value = all.iter().map(Row::to_json).collect();
    std::fs::write(file, format!("{all:#}\n")).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::{Row, append, read};

    #[test]
    fn rows_are_appended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.json");
        let row = Row {
            suite: "engine".into(),
            case: "append".into(),
            subject: "selvedge".into(),
            figure: "time_median".into(),
            value: 1.5,
            unit: "us".into(),
            runs: 100,
            verified: true,
        };
        append(&file, std::slice::from_ref(&row)).unwrap();
        append(&file, std::slice::from_ref(&row)).unwrap();
        assert_eq!(read(&file).unwrap(), [row.clone(), row]);
        std::fs::write(&file, "{}").unwrap();
        assert!(append(&file, &[]).is_err(), "what is there is never overwritten by mistake");
    }
}
