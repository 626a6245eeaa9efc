//! The fuzz target of the log record on what is kept of its inputs, and on those damaged.

#[path = "../../../fuzz/src/region.rs"]
mod targets;

use std::path::{Path, PathBuf};

use selvedge_protocol::Random;
use selvedge_region::LogRecord;

/// Damaged inputs for each that is kept.
const DAMAGES: u64 = 400;

fn kept() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/log_record");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files.map(|file| file.unwrap().path()).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn run(bytes: &[u8], what: &str) {
    if std::panic::catch_unwind(|| targets::log_record(bytes)).is_err() {
        panic!("log_record failed on {what}: {bytes:02x?}");
    }
}

#[test]
fn what_is_kept_of_records_is_replayed_whole_and_damaged() {
    let (kept, mut random, mut decoded) = (kept(), Random::new(1), 0);
    for (path, bytes) in &kept {
        run(bytes, &path.display().to_string());
        decoded += usize::from(LogRecord::decode(bytes).is_ok());
        for _ in 0..DAMAGES {
            run(&damaged(bytes, &mut random), &format!("{} damaged", path.display()));
        }
    }
    assert!(decoded >= 4 && decoded < kept.len(), "{decoded} of {} are records", kept.len());
}

/// Some bytes changed, lost or doubled.
fn damaged(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.below(3) {
        let mut place = || random.below(bytes.len() as u64 + 1) as usize;
        let (one, other) = (place(), place());
        let (at, end) = (one.min(other), one.max(other));
        match (random.below(4), bytes.get_mut(at)) {
            (0, Some(byte)) => *byte = random.draw() as u8,
            (1, Some(byte)) => *byte ^= 1 << random.below(8),
            (2, _) => drop(bytes.drain(at..end)),
            _ => bytes.extend_from_within(at..end),
        }
    }
    bytes
}
