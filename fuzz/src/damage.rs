//! Damage to what is kept or encoded, for the tests that replay it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use selvedge_protocol::Random;

/// For how many seconds each target is to be damaged at length; not at all unless it is set.
const SECONDS: &str = "SELVEDGE_DAMAGE_SECONDS";
/// Most times an input is damaged before it is run.
const ROUNDS_MAX: u64 = 6;

/// `bytes` with some of them changed, lost, doubled, or replaced by some of `other`.
pub(crate) fn damaged(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.below(3) {
        let mut place = |length: usize| random.below(length as u64 + 1) as usize;
        let (at, end) = (place(bytes.len()), place(bytes.len()));
        let (at, end) = (at.min(end), at.max(end));
        let from = place(other.len());
        match (random.below(5), bytes.get_mut(at)) {
            (0, Some(byte)) => *byte = random.draw() as u8,
            (1, Some(byte)) => *byte ^= 1 << random.below(8),
            (2, _) => drop(bytes.drain(at..end)),
            (3, _) => bytes.extend_from_within(at..end),
            _ => drop(bytes.splice(at..end, other[from..].iter().take(32).copied())),
        }
    }
    bytes
}

/// Runs a target on inputs damaged again and again, others each time, for as long as is asked. What it fails on is printed by `run`.
pub(crate) fn damage_at_length(target: &str, inputs: &[Vec<u8>], run: impl Fn(&[u8])) {
    let Ok(seconds) = std::env::var(SECONDS) else { return };
    let time = Duration::from_secs(seconds.parse().unwrap_or_else(|_| panic!("{SECONDS} is a number")));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = Random::new(now.as_nanos() as u64);
    let (begin, mut runs) = (Instant::now(), 0_u64);
    while begin.elapsed() < time {
        let mut pick = || &inputs[random.below(inputs.len() as u64) as usize];
        let (input, other) = (pick(), pick());
        let mut bytes = damaged(input, other, &mut random);
        for _ in 0..random.below(ROUNDS_MAX) {
            bytes = damaged(&bytes, other, &mut random);
        }
        run(&bytes);
        runs += 1;
    }
    println!("{target}: {runs} damaged inputs in {seconds} s");
}
