//! Which relay of a region prefers a document: rendezvous hashing, so that a relay that goes moves only its own documents.

/// Orders `relays` for `document`, the owner first. Cost O(n log n) for n relays.
///
/// The weight of a relay is the first eight bytes, little-endian, of SHA-256(document, 0x00, relay); the greatest wins,
/// equal weights are ordered by name.
pub fn rendezvous<'a>(document: &str, relays: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut weighed: Vec<(u64, &str)> = relays.into_iter().map(|relay| (weight(document, relay), relay)).collect();
    weighed.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    weighed.into_iter().map(|(_, relay)| relay).collect()
}

/// A relay's weight for a document.
pub fn weight(document: &str, relay: &str) -> u64 {
    let mut text = Vec::with_capacity(document.len() + 1 + relay.len());
    text.extend_from_slice(document.as_bytes());
    text.push(0);
    text.extend_from_slice(relay.as_bytes());
    let hash = crate::transfer::sha256(&text);
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_that_goes_moves_only_its_own_documents() {
        let all = ["wss://a", "wss://b", "wss://c", "wss://d"];
        let mut owned = [0; 4];
        for n in 0..400 {
            let document = format!("t/{n}");
            let before = rendezvous(&document, all)[0];
            let after = rendezvous(&document, all.into_iter().filter(|relay| *relay != "wss://c"))[0];
            assert!(before == "wss://c" || before == after);
            owned[all.iter().position(|relay| *relay == before).unwrap()] += 1;
        }
        assert!(owned.iter().all(|count| (60..140).contains(count)), "{owned:?}");
    }
}
