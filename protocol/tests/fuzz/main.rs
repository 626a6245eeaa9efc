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
use fuzz::{Reached, TARGETS, Target, run_history};
use selvedge_protocol::Random;

/// Damaged inputs of a target for each of its seeds.
const DAMAGES: u64 = 40;

fn run((name, target): Target, bytes: &[u8], what: &str) {
    if std::panic::catch_unwind(|| target(bytes)).is_err() {
        panic!("target {name} failed on {what}: {bytes:02x?}");
    }
}

fn kept(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Each corpus is there, and nothing in it is found fault with.
#[test]
fn what_is_kept_is_replayed() {
    for target in TARGETS {
        for (path, bytes) in kept(target.0) {
            run(target, &bytes, &path.display().to_string());
        }
    }
}

/// Not by what a fuzzer may find, but by what is kept: a target that came to nothing any more would find fault with nothing.
#[test]
fn kept_histories_come_to_all_that_they_are_for() {
    let reached: Vec<Reached> = kept("history").iter().map(|(_, bytes)| run_history(bytes)).collect();
    let histories = |what: fn(&Reached) -> usize| reached.iter().filter(|reached| what(reached) > 0).count();
    let counts = [
        ("rebase", histories(|reached| reached.rebases)),
        ("rebase wildly", histories(|reached| reached.wild_rebases)),
        ("end with characters moved", histories(|reached| reached.moved)),
        ("merge a state diff", histories(|reached| reached.state_diffs)),
        ("are refused one", histories(|reached| reached.refused_diffs)),
        ("load", histories(|reached| reached.loads)),
        ("open a snapshot first", histories(|reached| reached.reopened)),
        ("make a version again", histories(|reached| reached.versions)),
        ("tell a state again", histories(|reached| reached.retold)),
        ("restamp", histories(|reached| reached.restamped)),
    ];
    for (what, count) in counts {
        assert!(count >= 3, "{count} of {} histories {what}", reached.len());
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
