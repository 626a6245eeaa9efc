//! Rebases: characters that stand too deep are moved under one new base.
//!
//! ```text
//! before   (96,A,+1) (81,B,+2) (70,A,+9) ... (12,B,+40)      one character, 48 levels deep
//! base     (97,A,+50)                                        the place of the operation A50, which is no character
//! after    (97,A,+50) (3,B,+40)                              the same character: the same dot at the end, two levels deep
//! ```
//!
//! The last element of a moved character's path keeps the character's site and k, so that a path still says whose it is, and
//! a run is what it was. The character's place is a register: of the place it was inserted at and of those that rebases
//! give it the one of the greatest stamp (Lamport time, dot of the rebase) holds, the inserted one being the least. So
//! rebases commute with each other and with deletes, which name dots, and with inserts, which stand on paths: what
//! somebody else writes meanwhile between the moved characters, at the old paths, comes to stand right before or right behind
//! all of them, the same for everybody.

use crate::dot_map::DotMap;
use crate::error::DecodeError;
use crate::id::{COUNTER_END, Dot, DotRange, SiteId};
use crate::limits::{OP_RANGES_MAX, PATH_BYTES_MAX, PATH_LEVELS_MAX};
use crate::position::{Digit, Path, group_bytes, k_bytes};

/// Moves characters under a new base: `parent` + (`digit`, the delta's site, the operation's counter).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebase {
    /// The path the base stands on.
    pub parent: Path,
    /// The digit of the base's own level; never 0.
    pub digit: Digit,
    /// Of two rebases of one character the greater (lamport, site, counter) wins.
    pub lamport: u64,
    /// Between the digits of neighbouring slots, at least 1.
    pub spacing: u64,
    /// What is moved, in the order of the text; 1 to [`OP_RANGES_MAX`](crate::OP_RANGES_MAX), disjoint.
    pub pieces: Vec<Piece>,
}

/// Characters of one site with consecutive k: they stand at the base + (`spacing` * (`slot` + 1), `site`, k).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Its place below the base; ascending along the text.
    pub slot: u64,
    /// Who wrote them.
    pub site: SiteId,
    /// The signed counter of the first one; those of the others rise along the text.
    pub first_k: i64,
    /// How many.
    pub length: u64,
}

impl Piece {
    /// Its dots, if its counters are ones that dots have.
    pub fn dots(&self) -> Option<DotRange> {
        let last_k = self.first_k.checked_add_unsigned(self.length.checked_sub(1)?)?;
        let (a, b) = (self.first_k.unsigned_abs(), last_k.unsigned_abs());
        let one_sign = self.first_k.signum() == last_k.signum() && last_k != 0;
        let valid = one_sign && a.max(b) < COUNTER_END;
        valid.then_some(DotRange { site: self.site, first: a.min(b), last: a.max(b) })
    }

    /// The digit of its slot, if there is such a number.
    pub(crate) fn digit(&self, spacing: u64) -> Option<Digit> {
        let digit = spacing.checked_mul(self.slot.checked_add(1)?)?;
        i64::try_from(digit).ok().map(Digit::new)
    }
}

impl Rebase {
    /// Checks every rule of the format for the rebase whose own counter is `counter`.
    pub(crate) fn validate(&self, counter: u64) -> Result<(), DecodeError> {
        if self.lamport == 0 || self.lamport >= COUNTER_END {
            return Err(DecodeError::Counter);
        }
        let base_bytes = valid_base(&self.parent, self.digit, counter)?;
        if self.pieces.is_empty() || self.pieces.len() > OP_RANGES_MAX {
            return Err(DecodeError::Order);
        }
        let mut dots = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            if !piece.site.is_valid() {
                return Err(DecodeError::Site);
            }
            let range = piece.dots().ok_or(DecodeError::Counter)?;
            let digit = piece.digit(self.spacing).ok_or(DecodeError::Digit)?;
            valid_slot(self.parent.depth() + 1, base_bytes, digit, range)?;
            dots.push(range);
        }
        if !self.pieces.windows(2).all(|pair| pair[0].slot < pair[1].slot) {
            return Err(DecodeError::Order);
        }
        dots.sort_unstable();
        let disjoint = dots.windows(2).all(|pair| pair[0].site != pair[1].site || pair[0].last < pair[1].first);
        if disjoint { Ok(()) } else { Err(DecodeError::Dots) }
    }

    /// Where the rebase with this dot moves what, in the order of the text. It must be valid.
    pub(crate) fn targets(&self, dot: Dot) -> impl Iterator<Item = (DotRange, Target)> + '_ {
        let stamp = Stamp { lamport: self.lamport, dot };
        self.pieces.iter().filter_map(move |piece| {
            let target = Target {
                stamp,
                parent: self.parent.clone(),
                base_digit: self.digit,
                digit: piece.digit(self.spacing)?,
                falling: piece.first_k < 0,
            };
            Some((piece.dots()?, target))
        })
    }
}

/// The bytes of the path of a base, if decoders accept it with something below.
fn valid_base(parent: &Path, digit: Digit, counter: u64) -> Result<usize, DecodeError> {
    let bytes = parent.valid_bytes()? + group_bytes(digit) + k_bytes(counter as i64);
    if !digit.fits(parent.depth()) {
        return Err(DecodeError::Digit);
    }
    if parent.depth() + 2 > PATH_LEVELS_MAX { Err(DecodeError::PathTooLong) } else { Ok(bytes) }
}

fn valid_slot(level: usize, base_bytes: usize, digit: Digit, dots: DotRange) -> Result<(), DecodeError> {
    if digit.get() <= 0 || !digit.fits(level) {
        return Err(DecodeError::Digit);
    }
    // As for inserts: the longest k counted as positive.
    let bytes = base_bytes + group_bytes(digit) + k_bytes(dots.last as i64);
    if bytes > PATH_BYTES_MAX { Err(DecodeError::PathTooLong) } else { Ok(()) }
}

/// When a character was moved: of two places the one of the greater stamp holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Stamp {
    pub(crate) lamport: u64,
    /// Of the rebase.
    pub(crate) dot: Dot,
}

/// Where a rebase moves characters of one slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) stamp: Stamp,
    pub(crate) parent: Path,
    pub(crate) base_digit: Digit,
    pub(crate) digit: Digit,
    /// k = -counter.
    pub(crate) falling: bool,
}

impl Target {
    /// Checks the rules of the format for characters with these dots.
    pub(crate) fn validate(&self, dots: DotRange) -> Result<(), DecodeError> {
        let base_bytes = valid_base(&self.parent, self.base_digit, self.stamp.dot.counter)?;
        valid_slot(self.parent.depth() + 1, base_bytes, self.digit, dots)
    }

    /// The k of the first of these characters along the text.
    pub(crate) const fn first_k(&self, dots: DotRange) -> i64 {
        if self.falling { -(dots.last as i64) } else { dots.first as i64 }
    }
}

/// What rebases left: by which one living characters were moved, and where those go that have not come yet. Empty in a
/// document that was never rebased.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rebases {
    pub(crate) moved: DotMap<Stamp>,
    /// None of these dots is covered by the vector, nor deleted.
    pub(crate) pending: DotMap<Target>,
}

impl Rebases {
    pub(crate) fn is_empty(&self) -> bool {
        self.moved.is_empty() && self.pending.is_empty()
    }

    /// The greatest Lamport time at which one of the characters was moved; 0 if none was. O(r), r = their ranges.
    pub(crate) fn latest(&self) -> u64 {
        self.moved.iter().map(|(_, stamp)| stamp.lamport).max().unwrap_or(0)
    }

    /// These characters are gone.
    pub(crate) fn forget(&mut self, range: DotRange) {
        if !self.moved.is_empty() {
            self.moved.remove(range);
        }
    }

    /// Where characters go when they come, unless something later is known already.
    pub(crate) fn wait(&mut self, range: DotRange, target: &Target) {
        for (part, known) in self.pending.divide(range) {
            if known.is_none_or(|known| known.stamp < target.stamp) {
                self.pending.insert(part, target.clone());
            }
        }
    }

    /// Whether a rebase of this stamp moves all of a range of living characters.
    pub(crate) fn are_outdone_by(&self, range: DotRange, stamp: Stamp) -> bool {
        self.moved.divide(range).into_iter().all(|(_, known)| known.is_none_or(|known| known < stamp))
    }

    /// The parts of a range of living characters that a rebase of this stamp moves.
    pub(crate) fn outdone_by(&self, range: DotRange, stamp: Stamp) -> Vec<DotRange> {
        let parts = self.moved.divide(range).into_iter();
        parts.filter(|(_, known)| known.is_none_or(|known| known < stamp)).map(|(part, _)| part).collect()
    }
}
