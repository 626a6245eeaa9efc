//! Position identifiers: paths of elements (digit, site, k), totally ordered and dense.
//!
//! ```text
//! path        (96,A,+1)                      character A1
//!             (96,A,+1) (-70,B,+1)           B1, written before A1: its digit below A1's place is negative
//!             (96,A,+1) (+81,B,+2)           B2, written after A1
//!             (96,A,+2)                      A2
//! order       B1 < A1 < B2 < A2
//! ```
//!
//! Two paths compare element by element. Where one ends and the other goes on, the one that ends stands at "digit 0",
//! which nothing else has: what goes on with a negative digit sorts before it, with a positive one after it.
//!
//! [`group`] interns paths, so that neither comparison nor storage spells digits; [`allocate`] chooses new ones.
//!
//! Nédelec, Molli, Mostefaoui, Desmontils: LSEQ, an adaptive structure for sequences in distributed collaborative
//! editing, DocEng 2013, gave the growing levels and boundaries; Weiss, Urso, Molli: Logoot, 2009, the paths. Signed
//! digits, the counter k inside the element and with it runs are ours.

pub(crate) mod allocate;
pub(crate) mod group;
mod packed_group;

use core::cmp::Ordering;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::codec::varint_len;
use crate::error::DecodeError;
use crate::id::{COUNTER_END, Dot, SiteId};
use crate::limits::{PATH_BYTES_MAX, PATH_LEVELS_MAX};

/// A digit of a path element: never 0, and at most 2^min(32, 8 + 4 level) either side of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Digit(i64);

impl Digit {
    /// This number as a digit. Whether its level has room for it is checked where it is used.
    pub const fn new(value: i64) -> Self {
        Self(value)
    }

    /// Its number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The digit as far below its parent as this is above it, or the other way around.
    pub(crate) const fn negative(self) -> Self {
        Self(-self.0)
    }

    /// The largest digit of a level (the root's children are level 0): 2^min(32, 8 + 4 level).
    pub const fn max_of(level: usize) -> i64 {
        let bits = 8 + 4 * level;
        1 << if bits > 32 { 32 } else { bits }
    }

    /// The digit that `dot` has where nothing of its level is known on either side: a hash scaled to the middle half of
    /// the level's positive digits. Below a path that must sort after the text, its negative is used.
    pub const fn hashed(dot: Dot, level: usize) -> Self {
        let max = Self::max_of(level);
        let scaled = ((dot.hash64() >> 32) as i64 * (max / 2)) >> 32;
        Self(max / 4 + scaled)
    }

    /// Whether a level has this digit.
    pub const fn fits(self, level: usize) -> bool {
        self.0 != 0 && self.0.unsigned_abs() <= Self::max_of(level) as u64
    }
}

/// One step of a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Element {
    /// Place within the level.
    pub digit: Digit,
    /// Who chose it.
    pub site: SiteId,
    /// The signed counter of the character this element was made for: +counter when written after what the site had
    /// there, -counter when before.
    pub k: i64,
}

impl Element {
    /// The dot of the character this element was made for.
    pub const fn dot(self) -> Dot {
        Dot::new(self.site, self.k.unsigned_abs())
    }

    /// Its share of [`PATH_BYTES_MAX`].
    pub(crate) const fn bytes(self) -> usize {
        element_bytes(self.digit, self.k)
    }
}

/// Bytes an element counts for at most: of a digit of 2^32, a site, and a k of 2^53.
pub(crate) const ELEMENT_BYTES_MAX: usize = 5 + 1 + 8;

/// A path in the making.
pub(crate) type Elements = SmallVec<[Element; 16]>;

/// Bytes an element counts for: digit and k as zigzag varints, one byte for the site.
pub(crate) const fn element_bytes(digit: Digit, k: i64) -> usize {
    group_bytes(digit) + k_bytes(k)
}

pub(crate) const fn group_bytes(digit: Digit) -> usize {
    varint_len(zigzag(digit.get())) + 1
}

pub(crate) const fn k_bytes(k: i64) -> usize {
    varint_len(zigzag(k))
}

pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// A position identifier, or the empty path of the root. Clones share their elements: the inserts of one delta often
/// stand on one path, and a delta may not take much more memory than its bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Path {
    /// `None` for the root.
    elements: Option<Arc<[Element]>>,
}

impl Path {
    /// The root: the path without elements.
    pub fn root() -> Self {
        Self::default()
    }

    /// Its elements from the root down.
    pub fn elements(&self) -> &[Element] {
        self.elements.as_deref().unwrap_or_default()
    }

    /// How many levels it has.
    pub fn depth(&self) -> usize {
        self.elements().len()
    }

    /// Its last element; `None` for the root.
    pub fn last(&self) -> Option<Element> {
        self.elements().last().copied()
    }

    /// Adds a level: O(d).
    pub fn push(&mut self, element: Element) {
        self.elements = Some(self.elements().iter().copied().chain([element]).collect());
    }

    /// Whether decoders accept it: digits within their levels, counters in range, not too long.
    ///
    /// # Errors
    /// Which of these it breaks.
    pub fn validate(&self) -> Result<(), DecodeError> {
        self.valid_bytes().map(|_| ())
    }

    /// The bytes of a path that decoders accept.
    pub(crate) fn valid_bytes(&self) -> Result<usize, DecodeError> {
        if self.depth() > PATH_LEVELS_MAX {
            return Err(DecodeError::PathTooLong);
        }
        let mut bytes = 0;
        for (level, element) in self.elements().iter().enumerate() {
            if !element.digit.fits(level) {
                return Err(DecodeError::Digit);
            }
            if element.k == 0 || element.k.unsigned_abs() >= COUNTER_END {
                return Err(DecodeError::Counter);
            }
            if !element.site.is_valid() {
                return Err(DecodeError::Site);
            }
            bytes += element.bytes();
        }
        if bytes > PATH_BYTES_MAX { Err(DecodeError::PathTooLong) } else { Ok(bytes) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.elements().iter().map(|element| element.bytes()).sum()
    }
}

impl From<Vec<Element>> for Path {
    fn from(elements: Vec<Element>) -> Self {
        Self::from(elements.as_slice())
    }
}

impl From<&[Element]> for Path {
    fn from(elements: &[Element]) -> Self {
        Self { elements: (!elements.is_empty()).then(|| Arc::from(elements)) }
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Order of position identifiers: O(d), d = the shorter path's depth.
impl Ord for Path {
    fn cmp(&self, other: &Self) -> Ordering {
        for (mine, theirs) in self.elements().iter().zip(other.elements()) {
            match mine.cmp(theirs) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        let here = self.elements().get(other.depth()).map_or(0, |element| element.digit.get());
        let there = other.elements().get(self.depth()).map_or(0, |element| element.digit.get());
        here.cmp(&there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(elements: &[(i64, u64, i64)]) -> Path {
        elements
            .iter()
            .map(|&(digit, site, k)| Element { digit: Digit::new(digit), site: SiteId::new(site), k })
            .collect::<Vec<_>>()
            .into()
    }

    #[test]
    fn a_path_stands_at_the_zero_of_what_extends_it() {
        let order = [
            path(&[(96, 1, 1), (-70, 2, 1)]),
            path(&[(96, 1, 1)]),
            path(&[(96, 1, 1), (81, 2, 2)]),
            path(&[(96, 1, 2)]),
            path(&[(96, 2, 1)]),
            path(&[(97, 1, 1)]),
        ];
        for (i, a) in order.iter().enumerate() {
            for (j, b) in order.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{i} {j}");
            }
        }
    }

    fn paths() -> impl Strategy<Value = Path> {
        let digit = prop_oneof![-2i64..=-1, 1i64..=2];
        let k = prop_oneof![-2i64..=-1, 1i64..=2];
        prop::collection::vec((digit, 1u64..3, k), 0..4).prop_map(|elements| path(&elements))
    }

    proptest! {
        #[test]
        fn order_is_total_and_transitive(a in paths(), b in paths(), c in paths()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
            if a < b && b < c {
                prop_assert!(a < c);
            }
        }

        #[test]
        fn hashed_digits_lie_in_the_middle_half(site: u64, counter in 1u64..1 << 53, level in 0usize..64) {
            let digit = Digit::hashed(Dot::new(SiteId::new(site), counter), level).get();
            let max = Digit::max_of(level);
            prop_assert!(max / 4 <= digit && digit < max * 3 / 4);
        }
    }
}
