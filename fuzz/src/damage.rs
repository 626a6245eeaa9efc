//! Damage to what is kept or encoded, for the tests that replay it.

use selvedge_protocol::Random;

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
