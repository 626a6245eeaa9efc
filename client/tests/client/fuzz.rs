//! The fuzz target of the store's file on what is kept of its inputs, and on those damaged.

#[path = "../../../fuzz/src/client.rs"]
mod targets;

use std::path::Path;

use selvedge_protocol::Random;

/// Damaged inputs for each that is kept.
const DAMAGES: u64 = 40;

fn run(payload: &[u8], what: &str) {
    if std::panic::catch_unwind(|| targets::outbox_record(payload)).is_err() {
        panic!("outbox_record failed on {what}: {payload:02x?}");
    }
}

#[test]
fn what_is_kept_of_outbox_records_is_replayed_whole_and_damaged() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/outbox_record");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let (mut random, mut count) = (Random::new(1), 0);
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    for path in files {
        let payload = std::fs::read(&path).unwrap();
        run(&payload, &path.display().to_string());
        for _ in 0..DAMAGES {
            run(&damaged(&payload, &mut random), &format!("{} damaged", path.display()));
        }
        count += 1;
    }
    assert!(count >= 4, "{} keeps {count} inputs", folder.display());
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
