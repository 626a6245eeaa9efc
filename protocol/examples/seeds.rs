//! Writes what a fuzzer begins with, valid encodings for every target, into the corpora of `fuzz/`:
//! `cargo run -p selvedge-protocol --example seeds`.
#![allow(clippy::unwrap_used, reason = "a failure ends it")]

#[allow(unused_imports, reason = "nothing is run here")]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;
#[path = "../tests/golden/mod.rs"]
mod golden;
#[path = "../tests/fuzz/seeds.rs"]
mod seeds;

use std::fs;
use std::path::Path;

fn main() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, _) in fuzz::TARGETS {
        let folder = corpora.join(name);
        fs::create_dir_all(&folder).unwrap();
        for (index, seed) in seeds::of(name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{index:03}")), seed).unwrap();
        }
    }
}
