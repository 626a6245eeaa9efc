#![no_main]
//! See `selvedge_fuzz::keystroke`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::keystroke(bytes));
