//! Processor time and heap, and medians of them.

use std::alloc::System;
use std::time::Duration;

use cpu_time::ProcessTime;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Processor time of one call of `work`, whose result is handed back so that it can be verified and is not dropped inside.
pub fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = ProcessTime::now();
    let result = work();
    (start.elapsed(), result)
}

/// Bytes on the heap that `make`'s result holds.
pub fn heap<T>(make: impl FnOnce() -> T) -> (usize, T) {
    let live = || {
        let s = HEAP.stats();
        // Growth and shrinking by reallocation are counted in these two already.
        s.bytes_allocated as i64 - s.bytes_deallocated as i64
    };
    let before = live();
    let made = make();
    ((live() - before).max(0) as usize, made)
}

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
