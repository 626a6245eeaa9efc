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

use damage::{damage_at_length, damaged};
use fuzz::{Heard, Reached, TARGETS, Target, run_connection, run_downstream, run_history};
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

#[test]
fn kept_scripts_of_a_server_come_to_all_that_they_are_for() {
    let heard: Vec<Heard> = kept("downstream").iter().map(|(_, bytes)| run_downstream(bytes)).collect();
    let scripts = |what: fn(&Heard) -> usize| heard.iter().filter(|heard| what(heard) > 0).count();
    let counts = [
        ("end a sync", scripts(|heard| heard.synced)),
        ("show others' edits", scripts(|heard| heard.patched)),
        ("show a copy fetched anew", scripts(|heard| heard.restored)),
        ("tell a state in several chunks", scripts(|heard| heard.long_transfers)),
        ("have deltas pushed", scripts(|heard| heard.pushed)),
        ("have a state diff sent", scripts(|heard| heard.diffs_sent)),
        ("have a vector sent", scripts(|heard| heard.vectors_sent)),
        ("begin another generation", scripts(|heard| heard.resets)),
        ("refuse a push", scripts(|heard| heard.refusals)),
        ("are hung up on", scripts(|heard| heard.refused_bytes)),
    ];
    for (what, count) in counts {
        assert!(count >= 3, "{count} of {} scripts {what}", heard.len());
    }
}

#[test]
fn kept_connections_bring_whole_transfers() {
    let whole = kept("connection").iter().filter(|(_, bytes)| run_connection(bytes) > 0).count();
    assert!(whole >= 3, "{whole} connections");
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

/// Where a fuzzer is not at hand: for as long as `SELVEDGE_DAMAGE_SECONDS` asks, on inputs that are others each time.
#[test]
fn damaged_at_length() {
    for target in TARGETS {
        let kept = kept(target.0).into_iter().map(|(_, bytes)| bytes);
        let inputs: Vec<Vec<u8>> = kept.chain(seeds::of(target.0)).collect();
        damage_at_length(target.0, &inputs, |bytes| run(target, bytes, "a damaged input"));
    }
}
