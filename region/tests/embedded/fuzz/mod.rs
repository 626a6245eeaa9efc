//! The fuzz targets of what a region reads: on what is kept of their inputs, on valid encodings, and on both damaged.

#[path = "../../../../fuzz/src/damage.rs"]
mod damage;
pub(crate) mod seeds;
#[path = "../../../../fuzz/src/region.rs"]
mod targets;

use std::path::{Path, PathBuf};

use damage::{damage_at_length, damaged};
use selvedge_protocol::Random;
use selvedge_region::{LogRecord, decoders};
use targets::{TARGETS, Target, segmented};

/// Damaged inputs for each that is kept.
const DAMAGES_OF_KEPT: u64 = 40;
/// Damaged inputs for each seed.
const DAMAGES_OF_SEEDS: u64 = 400;

fn kept(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn run((name, target): Target, bytes: &[u8], what: &str) {
    if std::panic::catch_unwind(|| target(bytes)).is_err() {
        panic!("{name} failed on {what}: {bytes:02x?}");
    }
}

/// Whether an input is what its target is about, and not refused.
fn decodes(target: &str, bytes: &[u8]) -> bool {
    let text = || std::str::from_utf8(bytes).unwrap_or_default();
    match target {
        "bus_message" => decoders::bus_message(bytes).is_some(),
        "control_record" => decoders::control_record(bytes).is_ok(),
        "dead_letter" => decoders::dead_letter(bytes).is_ok(),
        "log_record" => LogRecord::decode(bytes).is_ok(),
        "region_names" => decoders::run_named(text()).is_some() || decoders::document_of(text()).is_some(),
        "segment" => bytes.split_first().is_some_and(|(_, plain)| decoders::segment_plain(&segmented(), plain).is_ok()),
        "snapshot_row" => {
            let vector = bytes.split_first().and_then(|(length, rest)| rest.get(..usize::from(*length)));
            vector.is_some_and(|vector| selvedge_engine::VersionVector::decode(vector).is_ok())
        }
        other => panic!("nobody says what {other} reads"),
    }
}

#[test]
fn what_is_kept_is_replayed_whole_and_damaged() {
    for target in TARGETS {
        let (kept, mut random) = (kept(target.0), Random::new(1));
        for (path, bytes) in &kept {
            run(target, bytes, &path.display().to_string());
            for _ in 0..DAMAGES_OF_KEPT {
                run(target, &damaged(bytes, bytes, &mut random), &format!("{} damaged", path.display()));
            }
        }
        let read = kept.iter().filter(|(_, bytes)| decodes(target.0, bytes)).count();
        assert!(read >= 2 && read < kept.len(), "{read} of {} of {} are read", kept.len(), target.0);
    }
}

/// Whatever the encoders write today is read.
#[test]
fn what_is_encoded_is_read_and_damage_to_it_does_no_harm() {
    for target in TARGETS {
        let mut random = Random::new(2);
        for seed in seeds::of(target.0) {
            run(target, &seed, "a seed");
            let told = target.0 == "region_names" || (target.0 == "segment" && seed[0] == 1);
            assert!(told || decodes(target.0, &seed), "{}: {seed:02x?}", target.0);
            for _ in 0..DAMAGES_OF_SEEDS {
                run(target, &damaged(&seed, &seed, &mut random), "a damaged seed");
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
