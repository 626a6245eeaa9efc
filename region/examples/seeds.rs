//! Writes what a fuzzer of a region's decoders begins with into the corpora of `fuzz/`:
//! `cargo run -p selvedge-region --no-default-features --example seeds`.
#![allow(clippy::unwrap_used, reason = "a failure ends it")]

#[path = "../tests/embedded/fuzz/seeds.rs"]
mod seeds;
#[path = "../../fuzz/src/region.rs"]
mod targets;

use std::fs;
use std::path::Path;

fn main() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, _) in targets::TARGETS {
        let folder = corpora.join(name);
        fs::create_dir_all(&folder).unwrap();
        for (index, seed) in seeds::of(name).iter().enumerate() {
            fs::write(folder.join(format!("encoded-{index:03}")), seed).unwrap();
        }
    }
}
