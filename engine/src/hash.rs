//! Fixed hashes: the same on every machine and in every version, since digits and seed sites are made of them.

use sha2::{Digest, Sha256};

/// The finaliser of SplitMix64 (Steele, Lea, Flood, 2014): a bijection of 64 bits that mixes well.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The first eight bytes, little-endian, of SHA-256 over `parts`.
pub(crate) fn digest64(parts: &[&[u8]]) -> u64 {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&digest.finalize()[..8]);
    u64::from_le_bytes(first)
}

/// Hash of (document, generation, text) that names a seed site. The length keeps document and text apart.
pub(crate) fn seed_site_hash(document: &str, generation: u64, text: &str) -> u64 {
    let length = (document.len() as u64).to_le_bytes();
    digest64(&[b"selvedge seed 1", &length, document.as_bytes(), &generation.to_le_bytes(), text.as_bytes()])
}
