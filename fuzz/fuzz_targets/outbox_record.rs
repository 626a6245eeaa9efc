#![no_main]
//! See `src/client.rs`.

#[path = "../src/client.rs"]
mod client;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| client::outbox_record(bytes));
