//! The table of main figures in README: written from the results, and compared with them by `tidy`.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::comparison::{Comparison, compare};
use super::results::{FOLDER, Kept, Results};
use crate::console::say;

const README: &str = "README.md";
const BEGIN: &str = "<!-- The table is written by `cargo xtask bench summary`, from tests/bench/results. -->\n";
const END: &str = "<!-- End of the table. -->\n";

/// The rows of the table: bench, case, figure, and what they say to a reader. Those that were not measured are left out.
const ROWS: [(&str, &str, &str, &str); 23] = [
    ("engine", "automerge-paper", "local_time", "one person's 259,778 edits, applied"),
    ("engine", "automerge-paper", "local_message_time", "the same, each with its message"),
    ("engine", "automerge-paper", "messages_bytes", "all these messages on one connection"),
    ("engine", "automerge-paper", "remote_time", "applying them one by one"),
    ("engine", "automerge-paper", "bulk_bytes", "all of it as one message"),
    ("engine", "automerge-paper", "bulk_time", "applying that"),
    ("engine", "automerge-paper", "document_bytes", "the document that merges with anyone, stored"),
    ("engine", "automerge-paper", "load_edit_time", "loading it, its text, the first edit and its message"),
    ("engine", "automerge-paper", "loaded_heap", "memory it takes, loaded"),
    ("engine", "automerge-paper", "edited_heap", "memory it takes, edited"),
    ("engine", "automerge-paper", "emptied_bytes", "the document after deleting everything, stored"),
    ("engine", "friendsforever", "remote_time", "two people's session: applying their messages one by one"),
    ("engine", "friendsforever", "bulk_time", "the same as one message"),
    ("engine", "friendsforever", "document_bytes", "their document, stored"),
    ("engine", "cycles", "document_bytes", "1,000 characters after 10,000 inserts and deletes, stored"),
    ("wasm", "automerge-paper", "local_message_time", "in Node.js: one person's edits, each with its message"),
    ("wasm", "automerge-paper", "remote_time", "in Node.js: applying them one by one"),
    ("wasm", "automerge-paper", "messages_bytes", "in Node.js: all these messages on one channel"),
    ("wasm", "automerge-paper", "document_bytes", "in Node.js: the document, stored"),
    ("wasm", "automerge-paper", "load_time", "in Node.js: loading it, and its text"),
    ("wasm", "automerge-paper", "load_edit_time", "in Node.js: the same, the first edit and its message"),
    ("wasm", "start", "start_time", "in Node.js: starting, with all that is made ready meanwhile"),
    ("wasm", "package", "gzip_bytes", "the module and its script, after gzip (of those that have a module)"),
];

/// Writes the table into README.
pub(super) fn write(root: &Path) -> anyhow::Result<()> {
    let file = root.join(README);
    let readme = std::fs::read_to_string(&file).context("cannot read README.md")?;
    let new = with_table(&readme, &of(root)?)?;
    if new != readme {
        std::fs::write(&file, new).context("cannot write README.md")?;
        say("bench", "README.md has a new table: look at it, and commit it with the results");
    }
    Ok(())
}

/// Whether README says something else than the results do.
pub(crate) fn is_stale(root: &Path) -> anyhow::Result<bool> {
    let readme = std::fs::read_to_string(root.join(README)).context("cannot read README.md")?;
    Ok(with_table(&readme, &of(root)?)? != readme)
}

/// README with this table in place of the one it has.
fn with_table(readme: &str, table: &str) -> anyhow::Result<String> {
    let (before, rest) = readme.split_once(BEGIN).context("README.md has no place for the table of figures")?;
    let (_, after) = rest.split_once(END).context("the table of figures in README.md has no end")?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

/// The table of what is in the results folder.
fn of(root: &Path) -> anyhow::Result<String> {
    Ok(table(&Results::at(root.join(FOLDER)).read()?))
}

fn table(kept: &[Kept]) -> String {
    let mut text = String::from("\n| | Selvedge | the best of the others | ratio |\n|---|--:|--:|--:|\n");
    let compared: Vec<(&Kept, Vec<Comparison>)> = kept.iter().map(|kept| (kept, compare(&kept.rows))).collect();
    for (bench, case, figure, what) in ROWS {
        let of_bench = compared.iter().filter(|(kept, _)| kept.bench == bench).flat_map(|(_, all)| all);
        for one in of_bench.filter(|one| (one.case.as_str(), one.figure.as_str()) == (case, figure)) {
            let (ours, best) = (amount(one.ours, &one.unit), amount(one.best, &one.unit));
            text += &format!("| {what} | {ours} | {best} ({}) | {:.2} |\n", one.peer, one.ratio);
        }
    }
    for (kept, all) in compared.iter().filter(|(_, all)| !all.is_empty()) {
        let ahead = all.iter().filter(|one| !one.is_behind()).count();
        let about = |field: &str| kept.about[field].as_str().unwrap_or("?").to_owned();
        let machine = &kept.about["machine"];
        text += &format!(
            "\n`{}`, {} on {} with {} cores{}{}: ahead of the best of the others in {ahead} of {} figures.\n",
            about("command"),
            about("date"),
            machine["processor"].as_str().unwrap_or("an unknown processor"),
            machine["cores"],
            busy(&kept.about),
            kept.about["minutes"].as_f64().map_or_else(String::new, |minutes| format!(", in {minutes} minutes")),
            all.len(),
        );
        let peers = kept.about["peers"].as_object().into_iter().flatten();
        let peers: Vec<String> =
            peers.map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or("?"))).collect();
        if !peers.is_empty() {
            text += &format!("Beside {}.\n", peers.join(", "));
        }
        // Of figures that did not come out of one run.
        if let Some(note) = kept.about["note"].as_str() {
            text += &format!("These were {note}.\n");
        }
    }
    text + "\n"
}

/// A word of warning, where other work than the bench wanted half the machine or more.
fn busy(about: &Value) -> String {
    let (load, cores) = (about["load_before"].as_f64(), about["machine"]["cores"].as_f64());
    let load = load.filter(|load| *load >= cores.unwrap_or(1.0) / 2.0);
    load.map_or_else(String::new, |load| format!(", busy with other things (load {load:.1})"))
}

/// A figure for a reader: three digits that count, bytes in full.
fn amount(value: f64, unit: &str) -> String {
    if unit == "B" {
        return format!("{} B", grouped(value.round() as u64));
    }
    let decimals = if value < 1.0 {
        3
    } else if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.decimals$} {unit}")
}

/// A number with a comma before every third digit from the right.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, amount, table, with_table};
    use crate::bench::results::Kept;
    use crate::bench::rows::Row;
    use serde_json::json;

    #[test]
    fn amounts_read_well() {
        let check = |value, unit, expected| assert_eq!(amount(value, unit), expected);
        check(106_242.0, "B", "106,242 B");
        check(12.0, "B", "12 B");
        check(0.8264, "ms", "0.826 ms");
        check(1.934, "ms", "1.93 ms");
        check(21.24, "ms", "21.2 ms");
        check(145.3, "ms", "145 ms");
    }

    #[test]
    fn the_table_has_what_was_measured_and_nothing_else() {
        let row = |subject: &str, value| Row {
            suite: "engine".into(),
            case: "automerge-paper".into(),
            subject: subject.into(),
            figure: "bulk_time".into(),
            value,
            unit: "ms".into(),
            runs: 5,
            verified: true,
        };
        let about = json!({
            "command": "cargo xtask bench engine",
            "date": "2026-11-27",
            "minutes": 12.5,
            "load_before": 1.5,
            "machine": { "processor": "a processor", "cores": 2 },
            "peers": { "yrs": "0.28.0" },
        });
        let kept = |about| Kept { bench: "engine".into(), about, rows: vec![row("selvedge", 1.5), row("yrs", 3.0)] };
        let text = table(&[kept(about)]);
        assert!(text.contains("| applying that | 1.50 ms | 3.00 ms (yrs) | 0.50 |\n"), "{text}");
        assert!(
            text.contains("2 cores, busy with other things (load 1.5), in 12.5 minutes: ahead of the best of the others in 1 of 1 figures.\nBeside yrs 0.28.0.\n"),
            "{text}"
        );
        assert_eq!(text.lines().filter(|line| line.starts_with('|')).count(), 3, "{text}");
        assert!(!text.contains("These were"), "{text}");

        let in_parts = json!({ "minutes": null, "machine": { "cores": 2 }, "note": "taken in parts" });
        let told = table(&[kept(in_parts)]);
        assert!(told.contains("2 cores: ahead of") && told.ends_with("These were taken in parts.\n\n"), "{told}");

        let readme = format!("# A\n\n{BEGIN}old\n{END}\nmore\n");
        assert_eq!(with_table(&readme, &text).unwrap(), format!("# A\n\n{BEGIN}{text}{END}\nmore\n"));
        assert!(with_table("# A\n", &text).is_err());
    }
}
