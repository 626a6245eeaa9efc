#![no_main]
//! See `selvedge_fuzz::endpoint_list`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::endpoint_list(bytes));
