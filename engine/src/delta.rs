//! Deltas: one site's contiguous operations, the unit of outbox, push, log and op store.

use crate::codec::{Reader, delta as codec};
use crate::error::DecodeError;
use crate::id::{COUNTER_END, DotRange, SiteId};
use crate::limits::{
    META_KEY_BYTES_MAX, META_VALUE_BYTES_MAX, OP_RANGES_MAX, OP_TEXT_BYTES_MAX, PATH_BYTES_MAX, PATH_LEVELS_MAX,
};
use crate::op::Op;
use crate::position::{group_bytes, k_bytes};
use crate::rebase::Piece;

/// What `site` did with its counters `first..=last`, in order (delta-state CRDTs: Almeida, Shoker, Baquero, 2018).
///
/// ```
/// use selvedge_engine::{Delta, Document, SiteId};
///
/// let mut here = Document::new();
/// here.begin_writing(SiteId::leased(0, 1), 1)?;
/// here.replace(0, 0, "hello")?;
/// let delta = here.seal().remove(0);
///
/// let mut there = Document::new();
/// let sent = delta.encode();
/// there.apply(&Delta::decode(&sent)?)?;
/// assert_eq!(there.text(), "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delta {
    /// Who did it.
    pub site: SiteId,
    /// The counter of its first operation.
    pub first: u64,
    /// The operations, at least one; counters follow from their lengths.
    pub ops: Vec<Op>,
}

/// What a delta covers, read without its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeltaHeader {
    /// Who did it.
    pub site: SiteId,
    /// Its lowest counter.
    pub first: u64,
    /// Its highest counter.
    pub last: u64,
}

impl DeltaHeader {
    /// Reads the header of a delta's durable bytes: O(1). The body is not looked at.
    ///
    /// # Errors
    /// What is wrong with the header.
    pub fn peek(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::read_header(&mut Reader::new(bytes))
    }
}

impl Delta {
    /// The counter of its last operation. O(b), b = bytes of text.
    pub fn last(&self) -> u64 {
        self.first.saturating_add(self.counters()).saturating_sub(1)
    }

    /// How many counters it takes.
    pub(crate) fn counters(&self) -> u64 {
        self.ops.iter().fold(0, |sum, op| sum.saturating_add(op.counters()))
    }

    /// What it covers.
    pub fn header(&self) -> DeltaHeader {
        DeltaHeader { site: self.site, first: self.first, last: self.last() }
    }

    /// The dots it deletes or moves. O(1) each.
    pub fn named_dots(&self) -> impl Iterator<Item = DotRange> + '_ {
        self.ops.iter().flat_map(|op| {
            let (ranges, pieces) = match op {
                Op::Delete { ranges } => (&ranges[..], &[][..]),
                Op::Rebase(rebase) => (&[][..], &rebase.pieces[..]),
                Op::Insert { .. } | Op::Void { .. } | Op::Meta { .. } => (&[][..], &[][..]),
            };
            ranges.iter().copied().chain(pieces.iter().filter_map(Piece::dots))
        })
    }

    /// Its durable bytes, which stand alone and are canonical: equal deltas have equal bytes, and no others decode.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads durable bytes.
    ///
    /// # Errors
    /// What is wrong with them: they are damaged, not canonical, or break a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }

    /// Checks every rule of the format; what [`decode`](Self::decode) returns and the engine seals always passes.
    ///
    /// # Errors
    /// The first rule it breaks.
    #[inline(never)]
    pub fn validate(&self) -> Result<(), DecodeError> {
        if !self.site.is_valid() {
            return Err(DecodeError::Site);
        }
        if self.ops.is_empty() {
            return Err(DecodeError::Order);
        }
        let mut next = self.first;
        if next == 0 {
            return Err(DecodeError::Counter);
        }
        for op in &self.ops {
            let counters = op.counters();
            let end = next.checked_add(counters).filter(|&end| end <= COUNTER_END).ok_or(DecodeError::Counter)?;
            validate_op(op, end - 1)?;
            next = end;
        }
        Ok(())
    }

    /// The part with counters up to `counter`; `None` if there is none. A run of text is cut within.
    pub fn until(&self, counter: u64) -> Option<Self> {
        let mut next = self.first;
        let mut ops = Vec::new();
        for op in &self.ops {
            if next > counter {
                break;
            }
            let (counters, most) = (op.counters(), counter - next + 1);
            ops.push(if counters <= most { op.clone() } else { op.slice(0, most) });
            next = next.saturating_add(counters);
        }
        if ops.is_empty() { None } else { Some(Self { site: self.site, first: self.first, ops }) }
    }

    /// The part with counters above `counter`; `None` if there is none. A run of text is cut within.
    pub fn after(&self, counter: u64) -> Option<Self> {
        let mut next = self.first;
        let mut ops = Vec::new();
        for op in &self.ops {
            let end = next.saturating_add(op.counters());
            if next > counter {
                ops.push(op.clone());
            } else if end - 1 > counter {
                ops.push(op.slice(counter + 1 - next, end - 1 - counter));
            }
            next = end;
        }
        if ops.is_empty() { None } else { Some(Self { site: self.site, first: self.first.max(counter + 1), ops }) }
    }
}

fn validate_op(op: &Op, last: u64) -> Result<(), DecodeError> {
    match op {
        Op::Insert { parent, digit, text, .. } => {
            if text.is_empty() || text.len() > OP_TEXT_BYTES_MAX {
                return Err(DecodeError::Text);
            }
            let parent_bytes = parent.valid_bytes()?;
            if parent.depth() >= PATH_LEVELS_MAX {
                return Err(DecodeError::PathTooLong);
            }
            if !digit.fits(parent.depth()) {
                return Err(DecodeError::Digit);
            }
            // zigzag(-k) < zigzag(k): counting the longest k as positive keeps one rule for both directions.
            if parent_bytes + group_bytes(*digit) + k_bytes(last as i64) > PATH_BYTES_MAX {
                return Err(DecodeError::PathTooLong);
            }
            Ok(())
        }
        Op::Delete { ranges } => validate_ranges(ranges),
        Op::Meta { key, value, lamport } => {
            if key.len() > META_KEY_BYTES_MAX || value.as_ref().is_some_and(|value| value.len() > META_VALUE_BYTES_MAX)
            {
                return Err(DecodeError::TooLarge);
            }
            if *lamport == 0 || *lamport >= COUNTER_END { Err(DecodeError::Counter) } else { Ok(()) }
        }
        Op::Rebase(rebase) => rebase.validate(last),
        Op::Void { length } => {
            if *length == 0 {
                return Err(DecodeError::Counter);
            }
            Ok(())
        }
    }
}

pub(crate) fn validate_ranges(ranges: &[DotRange]) -> Result<(), DecodeError> {
    if ranges.is_empty() || ranges.len() > OP_RANGES_MAX {
        return Err(DecodeError::Order);
    }
    for range in ranges {
        if !range.site.is_valid() {
            return Err(DecodeError::Site);
        }
        if range.first == 0 || range.last >= COUNTER_END || range.first > range.last {
            return Err(DecodeError::Counter);
        }
    }
    let ordered = ranges.windows(2).all(|pair| {
        let (a, b) = (pair[0], pair[1]);
        a.site < b.site || (a.site == b.site && a.last + 1 < b.first)
    });
    if ordered { Ok(()) } else { Err(DecodeError::Order) }
}
