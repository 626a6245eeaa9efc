#![no_main]
//! See `selvedge_fuzz::messages`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::messages(bytes));
