//! A document whose invariants are checked after every step of a test: when it is about to be changed again, and at its end.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::ops::{Deref, DerefMut};

use selvedge_engine::Document;

/// Up to so many runs every step is checked.
const RUNS_MAX: usize = 1_000;
/// Checks of a larger document in one test.
const CHECKS: u64 = 200;

/// See the module. A step is one look at it as something to be changed.
#[derive(Clone, Debug)]
pub struct Checked {
    document: Document,
    /// Steps from one check to the next while it is large.
    every: u64,
    step: u64,
    is_large: bool,
}

impl Checked {
    /// One that stays small, or is changed a few times.
    pub fn of(document: Document) -> Self {
        Self::over(CHECKS, document)
    }

    /// One that takes so many steps.
    pub fn over(steps: u64, document: Document) -> Self {
        Self { document, every: steps.div_ceil(CHECKS), step: 0, is_large: false }
    }

    fn check(&mut self) {
        self.step += 1;
        if !self.is_large || self.step.is_multiple_of(self.every) {
            self.document.assert_invariants();
            self.is_large = self.document.stats().runs > RUNS_MAX;
        }
    }
}

impl Deref for Checked {
    type Target = Document;

    fn deref(&self) -> &Document {
        &self.document
    }
}

impl DerefMut for Checked {
    fn deref_mut(&mut self) -> &mut Document {
        self.check();
        &mut self.document
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.document.assert_invariants();
        }
    }
}
