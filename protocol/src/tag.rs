//! Broadcast tags: the proof that a relay took a delta from its author and showed it.
//!
//! A tag is a MAC under a key that the relays of all regions hold. Whoever was shown a tagged delta can give it back to any
//! relay when the one that showed it, and its log, are gone: a relay takes a foreign site's delta only with a valid tag.
//!
//! ```text
//! tag   16 bytes: number of the key (1 byte), first 15 bytes of HMAC-SHA-256(key, content)
//! content   "selvedge broadcast 1", length of the document's name (4), name, generation (8), site (8), first (8), last (8),
//!           canonical durable bytes of the delta; integers little-endian
//! ```

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use selvedge_engine::Delta;
use sha2::Sha256;

use crate::document_id::DocumentId;
use crate::message::TAG_BYTES;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
const CONTEXT: &[u8] = b"selvedge broadcast 1";
/// Most keys at a time: one that signs, and those it follows on.
const KEYS_MAX: usize = 16;

/// The keys of broadcast tags: one signs, all of them verify. Its debug form shows no key.
#[derive(Clone)]
pub struct TagKeys {
    signs: u8,
    keys: BTreeMap<u8, [u8; KEY_BYTES]>,
}

/// Why a text gives no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagKeysError {
    /// No key at all.
    #[error("there is no key; give a line `NUMBER KEY`, NUMBER from 0 to 255, KEY as 64 hexadecimal digits")]
    None,
    /// More than fit.
    #[error("there are more than {KEYS_MAX} keys; take out those that no reader can hold a tag of any more")]
    TooMany,
    /// A line that is no key.
    #[error("line {line} is no key; write `NUMBER KEY`, NUMBER from 0 to 255, KEY as 64 hexadecimal digits")]
    Line {
        /// Its number, from 1.
        line: usize,
    },
    /// A number given twice.
    #[error("line {line} gives key {number} a second time; every key has a number of its own")]
    Twice {
        /// The line's number, from 1.
        line: usize,
        /// The key's.
        number: u8,
    },
}

impl TagKeys {
    /// Reads keys, one a line (or separated by commas): the first signs, the others only verify. Empty lines and those that
    /// begin with `#` say nothing. To rotate, put the new key second everywhere, then first everywhere, then take the old one out.
    ///
    /// # Errors
    /// [`TagKeysError`] with the line at fault; no key is shown.
    pub fn parse(text: &str) -> Result<Self, TagKeysError> {
        let mut keys = BTreeMap::new();
        let mut signs = None;
        for (index, line) in text.split(['\n', ',']).map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line_number = index + 1;
            let (number, key) = parse_line(line).ok_or(TagKeysError::Line { line: line_number })?;
            if keys.insert(number, key).is_some() {
                return Err(TagKeysError::Twice { line: line_number, number });
            }
            signs.get_or_insert(number);
        }
        if keys.len() > KEYS_MAX {
            return Err(TagKeysError::TooMany);
        }
        Ok(Self { signs: signs.ok_or(TagKeysError::None)?, keys })
    }

    /// The tag of a delta of a document. `bytes` is its durable form. O(bytes).
    pub fn tag(&self, document: &DocumentId, generation: u64, delta: &Delta, bytes: &[u8]) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        tag[0] = self.signs;
        let mac = mac(&self.keys[&self.signs], document, generation, delta, bytes).finalize().into_bytes();
        tag[1..].copy_from_slice(&mac[..TAG_BYTES - 1]);
        tag
    }

    /// Whether a relay that holds one of these keys tagged this delta. Takes the same time for every wrong tag of a known key.
    pub fn verify(
        &self,
        document: &DocumentId,
        generation: u64,
        delta: &Delta,
        bytes: &[u8],
        tag: &[u8; TAG_BYTES],
    ) -> bool {
        let Some(key) = self.keys.get(&tag[0]) else { return false };
        mac(key, document, generation, delta, bytes).verify_truncated_left(&tag[1..]).is_ok()
    }
}

impl fmt::Debug for TagKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TagKeys").field("signs", &self.signs).field("numbers", &self.keys.keys()).finish()
    }
}

fn parse_line(line: &str) -> Option<(u8, [u8; KEY_BYTES])> {
    let (number, digits) = line.split_once(char::is_whitespace)?;
    let digits = digits.trim().as_bytes();
    if digits.len() != 2 * KEY_BYTES {
        return None;
    }
    let mut key = [0; KEY_BYTES];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let nibble = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(nibble(pair[0])? << 4 | nibble(pair[1])?).ok()?;
    }
    Some((number.parse().ok()?, key))
}

fn mac(key: &[u8; KEY_BYTES], document: &DocumentId, generation: u64, delta: &Delta, bytes: &[u8]) -> Hmac<Sha256> {
    let name = document.as_str().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(CONTEXT);
    mac.update(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
    mac.update(name);
    for number in [generation, delta.site.get(), delta.first, delta.last()] {
        mac.update(&number.to_le_bytes());
    }
    mac.update(bytes);
    mac
}

#[cfg(test)]
mod tests {
    use selvedge_engine::{Op, SiteId};

    use super::*;

    fn keys(text: &str) -> TagKeys {
        TagKeys::parse(text).unwrap()
    }

    fn line(number: u8, digit: char) -> String {
        format!("{number} {}", digit.to_string().repeat(2 * KEY_BYTES))
    }

    fn delta(first: u64) -> Delta {
        Delta { site: SiteId::random(4), first, ops: vec![Op::Void { length: 3 }] }
    }

    #[test]
    fn a_tag_proves_one_delta_of_one_generation_of_one_document() {
        let keys = keys(&line(7, 'a'));
        let (here, elsewhere): (DocumentId, DocumentId) = ("t/d".parse().unwrap(), "t/e".parse().unwrap());
        let (one, other) = (delta(1), delta(2));
        let tag = keys.tag(&here, 3, &one, &one.encode());
        assert_eq!(tag[0], 7);
        assert!(keys.verify(&here, 3, &one, &one.encode(), &tag));
        assert!(!keys.verify(&elsewhere, 3, &one, &one.encode(), &tag));
        assert!(!keys.verify(&here, 4, &one, &one.encode(), &tag));
        assert!(!keys.verify(&here, 3, &other, &other.encode(), &tag));
        for at in 0..TAG_BYTES {
            let mut changed = tag;
            changed[at] ^= 1;
            assert!(!keys.verify(&here, 3, &one, &one.encode(), &changed), "byte {at}");
        }
    }

    #[test]
    fn a_key_that_signs_no_more_still_verifies_until_it_is_taken_out() {
        let document = "t/d".parse().unwrap();
        let delta = delta(1);
        let old = keys(&line(1, 'a'));
        let tag = old.tag(&document, 1, &delta, &delta.encode());
        let rotated = keys(&format!("# the new one signs\n{}\n\n{}\n", line(2, 'b'), line(1, 'a')));
        assert_eq!(rotated.tag(&document, 1, &delta, &delta.encode())[0], 2);
        assert!(rotated.verify(&document, 1, &delta, &delta.encode(), &tag));
        assert!(!keys(&line(2, 'b')).verify(&document, 1, &delta, &delta.encode(), &tag));
        assert!(!keys(&line(1, 'b')).verify(&document, 1, &delta, &delta.encode(), &tag), "a number is no key");
    }

    #[test]
    fn what_is_no_key_is_told_by_its_line_and_never_shown() {
        let check = |text: &str, expected: TagKeysError| assert_eq!(TagKeys::parse(text).unwrap_err(), expected);
        check("", TagKeysError::None);
        check("# nothing\n", TagKeysError::None);
        check(&format!("{}\n1 abc", line(0, 'a')), TagKeysError::Line { line: 2 });
        check(&line(0, 'g'), TagKeysError::Line { line: 1 });
        check(&line(3, 'a').replace('3', "300"), TagKeysError::Line { line: 1 });
        check(&format!("{},{}", line(1, 'a'), line(1, 'b')), TagKeysError::Twice { line: 2, number: 1 });
        let many: Vec<String> = (0..=KEYS_MAX as u8).map(|number| line(number, 'c')).collect();
        check(&many.join("\n"), TagKeysError::TooMany);
        assert!(!format!("{:?}", keys(&line(1, 'a'))).contains("aaaa"));
    }
}
