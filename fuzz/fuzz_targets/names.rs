#![no_main]
//! See `selvedge_fuzz::names`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::names(bytes));
