#![no_main]
//! See `selvedge_fuzz::vector`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::vector(bytes));
