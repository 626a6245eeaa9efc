//! The fuzz targets of `fuzz/` on what is kept of their inputs, on valid encodings, and on those damaged.
#![allow(clippy::unwrap_used, reason = "tests may")]

#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;
#[path = "../golden/mod.rs"]
mod golden;
mod seeds;

use std::path::{Path, PathBuf};

use fuzz::{TARGETS, Target};
use selvedge_protocol::Random;

/// Damaged inputs of a target for each of its seeds.
const DAMAGES: u64 = 40;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

fn run((name, target): Target, bytes: &[u8], what: &str) {
    if std::panic::catch_unwind(|| target(bytes)).is_err() {
        panic!("target {name} failed on {what}: {bytes:02x?}");
    }
}

/// Each corpus is there, and nothing in it is found fault with.
#[test]
fn what_is_kept_is_replayed() {
    for target in TARGETS {
        let folder = corpora().join(target.0);
        let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for file in files {
            let path = file.unwrap().path();
            run(target, &std::fs::read(&path).unwrap(), &path.display().to_string());
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}

/// Without a fuzzer's guidance, and on whatever the encoders write today.
#[test]
fn valid_encodings_and_damaged_ones_are_read_or_refused() {
    for target in TARGETS {
        let mut random = Random::new(1);
        let seeds = seeds::of(target.0);
        assert!(!seeds.is_empty(), "{} has no seeds", target.0);
        for seed in &seeds {
            run(target, seed, "a seed");
            for _ in 0..DAMAGES {
                let other = &seeds[random.below(seeds.len() as u64) as usize];
                run(target, &damaged(seed, other, &mut random), "a damaged seed");
            }
        }
    }
}

/// Some bytes changed, lost, doubled or from another input.
fn damaged(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + random.below(3) {
        let mut place = |length: usize| random.below(length as u64 + 1) as usize;
        let (at, end) = (place(bytes.len()), place(bytes.len()));
        let (at, end) = (at.min(end), at.max(end));
        let from = place(other.len());
        match (random.below(5), bytes.get_mut(at)) {
            (0, Some(byte)) => *byte = random.draw() as u8,
            (1, Some(byte)) => *byte ^= 1 << random.below(8),
            (2, _) => drop(bytes.drain(at..end)),
            (3, _) => bytes.extend_from_within(at..end),
            _ => drop(bytes.splice(at..end, other[from..].iter().take(32).copied())),
        }
    }
    bytes
}
