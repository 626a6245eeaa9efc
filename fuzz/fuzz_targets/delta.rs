#![no_main]
//! See `selvedge_fuzz::delta`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::delta(bytes));
