//! How long to wait before the next attempt: capped exponential backoff with full jitter.

use crate::random::Random;

/// Shortest ceiling of a wait, in milliseconds.
pub const BACKOFF_MS_MIN: u64 = 200;
/// Longest ceiling of a wait, in milliseconds.
pub const BACKOFF_MS_MAX: u64 = 15_000;

/// Waits before attempts. The nth is drawn evenly from 0 to min(15 s, 200 ms * 2^n): full jitter, so that a thousand
/// clients of a dead relay do not come back in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    failures: u32,
    random: Random,
}

impl Backoff {
    /// A machine that has not failed yet.
    pub fn new(seed: u64) -> Self {
        Self { failures: 0, random: Random::new(seed) }
    }

    /// Notes a failure and says how many milliseconds to wait.
    pub fn fail(&mut self) -> u64 {
        let ceiling = BACKOFF_MS_MAX.min(BACKOFF_MS_MIN << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        self.random.below(ceiling + 1)
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes that a connection held.
    pub fn succeed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_start_again() {
        let mut longest = [0; 12];
        for seed in 0..500 {
            let mut backoff = Backoff::new(seed);
            for slot in &mut longest {
                *slot = backoff.fail().max(*slot);
            }
            backoff.succeed();
            assert!(backoff.fail() <= BACKOFF_MS_MIN);
        }
        assert!(longest[0] <= 200 && longest[0] > 180);
        assert!(longest[3] <= 1_600 && longest[3] > 1_400);
        assert!(longest[11] <= BACKOFF_MS_MAX && longest[11] > 14_000);
    }
}
