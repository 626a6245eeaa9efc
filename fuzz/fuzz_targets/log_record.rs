#![no_main]
//! See `src/region.rs`.

#[path = "../src/region.rs"]
mod region;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| region::log_record(bytes));
