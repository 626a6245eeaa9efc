#![no_main]
//! See `selvedge_fuzz::connection`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::connection(bytes));
