//! The fuzz target of the store's file on what is kept of its inputs, and on those damaged.

#[path = "../../../fuzz/src/damage.rs"]
mod damage;
#[path = "../../../fuzz/src/client.rs"]
mod targets;

use std::path::{Path, PathBuf};

use damage::{damage_at_length, damaged};
use selvedge_protocol::Random;

/// Damaged inputs for each that is kept.
const DAMAGES: u64 = 40;

fn run(payload: &[u8], what: &str) {
    if std::panic::catch_unwind(|| targets::outbox_record(payload)).is_err() {
        panic!("outbox_record failed on {what}: {payload:02x?}");
    }
}

fn kept() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/outbox_record");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn what_is_kept_of_outbox_records_is_replayed_whole_and_damaged() {
    let (kept, mut random) = (kept(), Random::new(1));
    for (path, payload) in &kept {
        run(payload, &path.display().to_string());
        for _ in 0..DAMAGES {
            run(&damaged(payload, payload, &mut random), &format!("{} damaged", path.display()));
        }
    }
    assert!(kept.len() >= 4, "{} inputs are kept", kept.len());
}

/// Where a fuzzer is not at hand: for as long as `SELVEDGE_DAMAGE_SECONDS` asks, on inputs that are others each time.
#[test]
fn damaged_at_length() {
    let inputs: Vec<Vec<u8>> = kept().into_iter().map(|(_, payload)| payload).collect();
    damage_at_length("outbox_record", &inputs, |payload| run(payload, "a damaged input"));
}
