#![no_main]
//! See `selvedge_fuzz::downstream`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::downstream(bytes));
