#![no_main]
//! See `src/region.rs`.

#[allow(dead_code, reason = "a target is one of them")]
#[path = "../src/region.rs"]
mod region;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| region::snapshot_row(bytes));
