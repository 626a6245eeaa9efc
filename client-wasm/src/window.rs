//! The window: memory that both sides see, so that calls that come for each edit and each update need not allocate to hand over bytes.
//!
//! There is one for all clients: what a call left in it is read before the next one.

use std::cell::RefCell;

use selvedge_engine::DELTA_BYTES_MAX;
use wasm_bindgen::prelude::wasm_bindgen;

/// Bytes it has at least: the longest delta fits.
const BYTES_MIN: usize = 64 * 1024;
const _: () = assert!(BYTES_MIN >= DELTA_BYTES_MAX);

thread_local! {
    static WINDOW: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Where the window is, made to hold `bytes`. It stays there until the next call of this; a view of it does not outlive growth of the
/// memory.
#[wasm_bindgen(js_name = callWindow)]
pub fn call_window(bytes: usize) -> *const u8 {
    let room = bytes.max(BYTES_MIN);
    WINDOW.with_borrow_mut(|window| {
        if window.len() < room || window.len() / 4 > room {
            *window = vec![0; room];
        }
        window.as_ptr()
    })
}

/// Calls `reader` with the first `length` bytes; with none if it has fewer.
pub(crate) fn read<T>(length: usize, reader: impl FnOnce(&[u8]) -> T) -> T {
    WINDOW.with_borrow(|window| reader(window.get(..length).unwrap_or_default()))
}

/// Leaves bytes, a delta's at most, for who made the call.
pub(crate) fn write(bytes: &[u8]) {
    WINDOW.with_borrow_mut(|window| {
        if window.len() < bytes.len() {
            window.resize(BYTES_MIN, 0);
        }
        window[..bytes.len()].copy_from_slice(bytes);
    });
}
