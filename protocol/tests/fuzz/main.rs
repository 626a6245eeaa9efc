//! The fuzz targets of `fuzz/` on what is kept of their inputs, on valid encodings, and on those damaged.
#![allow(clippy::unwrap_used, reason = "tests may")]

#[path = "../../../fuzz/src/damage.rs"]
mod damage;
#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;
#[path = "../golden/mod.rs"]
mod golden;
mod seeds;

use std::path::{Path, PathBuf};

use damage::damaged;
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
