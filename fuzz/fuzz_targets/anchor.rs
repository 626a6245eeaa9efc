#![no_main]
//! See `selvedge_fuzz::anchor`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::anchor(bytes));
