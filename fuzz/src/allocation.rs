//! Memory that decoding claims, held against the size of what is decoded.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    // Gone where a thread ends.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What decoding may hold at a time: so many bytes for each of its input, and so many besides.
#[derive(Clone, Copy)]
pub struct Allowance {
    pub each: usize,
    pub base: usize,
}

impl Allowance {
    /// Decodes, and panics if more memory was held meanwhile than `input` entitles to.
    pub fn hold<T>(self, input: &[u8], decode: impl FnOnce() -> T) -> T {
        let before = HELD.get();
        MOST.set(before);
        let decoded = decode();
        let claimed = usize::try_from(MOST.get() - before).unwrap_or(0);
        let most = self.each * input.len() + self.base;
        assert!(claimed <= most, "{} bytes claimed {claimed}, more than {most}", input.len());
        decoded
    }
}
