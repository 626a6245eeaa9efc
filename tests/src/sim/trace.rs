//! What happened in a run: a hash over all of it and the last lines of it.
//!
//! Two runs of one seed must give the same hash: this is how the simulator proves to itself that nothing in the machines
//! depends on a real clock, a real random source or the order of a hash map.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use super::schedule::Micros;

/// The story of one run.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    keep: usize,
    tail: VecDeque<String>,
    print: bool,
}

impl Trace {
    /// Keeps the last `keep` lines; prints every line as it comes when `print`.
    pub(super) fn new(keep: usize, print: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, keep, tail: VecDeque::with_capacity(keep), print }
    }

    /// Adds a line.
    pub(super) fn note(&mut self, now: Micros, what: fmt::Arguments<'_>) {
        let mut line =
            if self.tail.len() >= self.keep { self.tail.pop_front().unwrap_or_default() } else { String::new() };
        line.clear();
        // Writing into a String cannot fail.
        let _ = write!(line, "{:>10.3} ms  {what}", now as f64 / 1_000.0);
        self.absorb(line.as_bytes());
        if self.print {
            println!("{line}");
        }
        self.tail.push_back(line);
    }

    /// Adds bytes to the hash alone.
    pub(super) fn absorb(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let word = u64::from_le_bytes(word.try_into().expect("chunks are eight bytes"));
            self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
        for byte in words.remainder() {
            self.hash = (self.hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    /// The hash of everything so far.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines, oldest first.
    pub(super) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }
}
