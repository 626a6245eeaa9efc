#![no_main]
//! See `selvedge_fuzz::history`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::history(bytes));
