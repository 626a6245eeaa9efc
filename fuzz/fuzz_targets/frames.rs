#![no_main]
//! See `selvedge_fuzz::frames`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::frames(bytes));
