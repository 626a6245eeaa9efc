#![no_main]
//! See `selvedge_fuzz::stream`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::stream(bytes));
