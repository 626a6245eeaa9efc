//! Identities: who writes ([`SiteId`]) and what was written ([`Dot`], [`DotRange`]).
//!
//! Pure values. Who is given which site is the business of the control plane; the engine only needs them distinct and
//! totally ordered.

use core::fmt;
use core::str::FromStr;

use crate::hash::{mix, seed_site_hash};

/// One past the largest counter a dot may carry: what a JavaScript number still counts exactly.
pub const COUNTER_END: u64 = 1 << 53;

const INDEX_BITS: u32 = 23;
const REGION_BITS: u32 = 8;
const RANDOM_TAG: u64 = 0b10 << 62;
const SEED_TAG: u64 = 0b110 << 61;
const SYSTEM_TAG: u64 = 0b111 << 61;
const RANDOM_MASK: u64 = (1 << 62) - 1;
const TAGGED_MASK: u64 = (1 << 61) - 1;

/// Identity of one writer for one load. No replica continues a site it read back from a disk.
///
/// 64 bits; the top ones say where it comes from: `0` leased (then only the low 31 bits are used: region 8, index 23),
/// `10` random, `110` seed, `111` system.
///
/// ```
/// use selvedge_engine::{SiteId, SiteKind};
///
/// let site = SiteId::leased(3, 7);
/// assert_eq!(site.kind(), SiteKind::Leased { region: 3, index: 7 });
/// assert_eq!(site.to_string().parse(), Ok(site));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SiteId(u64);

/// Where a [`SiteId`] comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SiteKind {
    /// Leased per document by a control plane; dense, hence short on the wire.
    Leased {
        /// The region that leased it; an embedded relay is region 0.
        region: u8,
        /// Its number there, below 2^23.
        index: u32,
    },
    /// Drawn by a replica that had no server to ask.
    Random,
    /// The author of a document's initial text.
    Seed,
    /// The system itself: edits that undo what the control plane forbids, deletes of a state that is told as deltas.
    System,
}

impl SiteId {
    /// The site with these bits, whatever they are.
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// Its 64 bits.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The site leased as number `index` (its low 23 bits count) by `region`.
    pub const fn leased(region: u8, index: u32) -> Self {
        Self(((region as u64) << INDEX_BITS) | (index as u64 & ((1 << INDEX_BITS) - 1)))
    }

    /// A random site from 64 random bits, of which 62 are used. The caller brings the entropy.
    pub const fn random(entropy: u64) -> Self {
        Self(RANDOM_TAG | (entropy & RANDOM_MASK))
    }

    /// The seed site of an initial text: a hash of document, generation and text, so that equal seeds are equal dots.
    pub fn seed_of(document: &str, generation: u64, text: &str) -> Self {
        Self(SEED_TAG | (seed_site_hash(document, generation, text) & TAGGED_MASK))
    }

    /// The system site number `number` (its low 61 bits count).
    pub const fn system(number: u64) -> Self {
        Self(SYSTEM_TAG | (number & TAGGED_MASK))
    }

    /// Where it comes from, by its top bits.
    pub const fn kind(self) -> SiteKind {
        if self.0 >> 63 == 0 {
            SiteKind::Leased { region: (self.0 >> INDEX_BITS) as u8, index: (self.0 & ((1 << INDEX_BITS) - 1)) as u32 }
        } else if self.0 >> 62 == 0b10 {
            SiteKind::Random
        } else if self.0 >> 61 == 0b110 {
            SiteKind::Seed
        } else {
            SiteKind::System
        }
    }

    /// Whether the bits are ones a decoder accepts: a leased site uses its low 31 bits only.
    pub const fn is_valid(self) -> bool {
        self.0 >> 63 == 1 || self.0 >> (INDEX_BITS + REGION_BITS) == 0
    }

    pub(crate) const fn mixed_with(self, value: u64) -> u64 {
        mix(mix(self.0) ^ value)
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteId({:x})", self.0)
    }
}

/// A string that is no site: sites are 1 to 16 lower-case hexadecimal digits without leading zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a site is written as 1 to 16 lower-case hexadecimal digits")]
pub struct ParseSiteError;

impl FromStr for SiteId {
    type Err = ParseSiteError;

    fn from_str(text: &str) -> Result<Self, ParseSiteError> {
        let digits = text.as_bytes();
        let canonical = matches!(digits.len(), 1..=16)
            && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && (digits.len() == 1 || digits[0] != b'0');
        if !canonical {
            return Err(ParseSiteError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| ParseSiteError)
    }
}

/// Names one operation: the `counter`-th thing `site` wrote. Counters start at 1 and stay below [`COUNTER_END`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Dot {
    /// Who wrote it.
    pub site: SiteId,
    /// Its number among what the site wrote.
    pub counter: u64,
}

impl Dot {
    /// The dot of `site` with this `counter`.
    pub const fn new(site: SiteId, counter: u64) -> Self {
        Self { site, counter }
    }

    /// 64 well mixed bits of this dot, the same on every machine and in every version.
    pub const fn hash64(self) -> u64 {
        self.site.mixed_with(self.counter)
    }
}

/// The dots `first..=last` of one site.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DotRange {
    /// Who wrote them.
    pub site: SiteId,
    /// The lowest counter.
    pub first: u64,
    /// The highest counter, inclusive.
    pub last: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_survive_their_encoding() {
        assert_eq!(SiteId::leased(255, (1 << 23) - 1).kind(), SiteKind::Leased { region: 255, index: (1 << 23) - 1 });
        assert_eq!(SiteId::random(u64::MAX).kind(), SiteKind::Random);
        assert_eq!(SiteId::seed_of("t/d", 1, "x").kind(), SiteKind::Seed);
        assert_eq!(SiteId::system(5).kind(), SiteKind::System);
        assert!(SiteId::leased(255, (1 << 23) - 1).is_valid());
        assert!(!SiteId::new(1 << 40).is_valid());
    }

    #[test]
    fn strings_have_one_form() {
        for site in [SiteId::leased(0, 0), SiteId::leased(1, 2), SiteId::random(99), SiteId::system(0)] {
            assert_eq!(site.to_string().parse(), Ok(site));
        }
        for wrong in ["", "00", "0a", "A", "g", "+1", "11112222333344445"] {
            assert_eq!(wrong.parse::<SiteId>(), Err(ParseSiteError), "{wrong}");
        }
    }
}
