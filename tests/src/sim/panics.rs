//! Panics of the machines become findings, told once and in full, instead of noise on the screen.

use std::cell::{Cell, RefCell};
use std::panic;
use std::sync::Once;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `body`; what a panic in it says is kept for [`last`] and not printed.
pub(super) fn quietly<T>(body: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                LAST.replace(info.to_string());
            } else {
                usual(info);
            }
        }));
    });
    CATCHING.set(true);
    let value = body();
    CATCHING.set(false);
    value
}

/// What the last panic on this thread said.
pub(super) fn last() -> String {
    LAST.take()
}
