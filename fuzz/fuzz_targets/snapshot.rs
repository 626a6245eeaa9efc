#![no_main]
//! See `selvedge_fuzz::snapshot`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::snapshot(bytes));
