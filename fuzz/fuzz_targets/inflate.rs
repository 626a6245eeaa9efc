#![no_main]
//! See `selvedge_fuzz::inflate`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::inflate(bytes));
