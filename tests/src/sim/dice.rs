//! The simulator's only source of chance: a splitmix64 stream, forked by name.
//!
//! Every concern (network, log, each writer) rolls dice of its own, so that a change in one of them leaves the draws of
//! the others alone: a seed keeps most of its story while the code under it moves.

/// A stream of pseudo-random numbers that is a function of its seed alone.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    /// The stream of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { state: mix(seed) }
    }

    /// An independent stream for the concern `name`, number `index` of its kind.
    pub(super) fn fork(&self, name: &str, index: u64) -> Self {
        let named = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { state: mix(self.state ^ named ^ mix(index)) }
    }

    /// The next 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64 }
    }

    /// An index in `0..bound`; 0 when `bound` is 0.
    pub(super) fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }

    /// A number in `low..=high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True `percent` times in a hundred.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// An exponential-like spread around `mean`: mostly less, at times several times more, never 0.
    pub(super) fn spread(&mut self, mean: u64) -> u64 {
        let tail = match self.below(16) {
            0 => 6,
            1..=3 => 3,
            _ => 1,
        };
        1 + self.below(mean.max(1) * tail)
    }

    /// One of `choices`, weighted.
    ///
    /// # Panics
    /// When `choices` is empty or all weights are 0.
    pub(super) fn weighted<'a, T>(&mut self, choices: &'a [(u64, T)]) -> &'a T {
        let total = choices.iter().map(|(weight, _)| weight).sum();
        let mut rest = self.below(total);
        for (weight, choice) in choices {
            if rest < *weight {
                return choice;
            }
            rest -= weight;
        }
        unreachable!("some weight is positive")
    }
}

/// The finaliser of splitmix64.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
