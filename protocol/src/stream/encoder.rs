//! Deltas to stream form.

use selvedge_engine::{Delta, Digit, Direction, Dot, DotRange, Op, Path, Rebase, SiteId};

use super::code;
use super::memory::{Memory, Place};
use crate::error::DecodeError;
use crate::varint::{write_varint, zigzag};

/// The writing side of a stream. One per channel upstream, one per room downstream.
#[derive(Clone, Debug, Default)]
pub struct StreamEncoder {
    memory: Memory,
}

impl StreamEncoder {
    /// A stream that begins.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one delta to `out`. O(bytes of the delta).
    pub fn push(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        self.memory.begin_delta();
        let site = delta.site;
        let continues = self.memory.next(site) == delta.first;
        if !(continues && delta.ops.len() == 1 && self.memory.last_site() == Some(site)) {
            self.delta_head(delta, continues, out);
        }
        let mut counter = delta.first;
        for op in &delta.ops {
            self.op(site, counter, op, out);
            counter = counter.saturating_add(op.counters());
        }
        self.memory.end_delta(site, counter);
    }

    fn delta_head(&mut self, delta: &Delta, continues: bool, out: &mut Vec<u8>) {
        let single = delta.ops.len() == 1;
        let flags = if continues { code::CONTINUES } else { 0 } | if single { code::SINGLE } else { 0 };
        match self.memory.number(delta.site).filter(|&number| number < code::SITES_INLINE) {
            Some(number) => out.push(code::DELTA | flags | ((number + 1) << code::SITE_SHIFT) as u8),
            None => {
                out.push(code::DELTA | flags);
                self.who(delta.site, out);
            }
        }
        if !continues {
            write_varint(out, delta.first);
        }
        if !single {
            write_varint(out, delta.ops.len() as u64);
        }
    }

    /// What a reader that joins now needs. O(size of the memory).
    pub fn state(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.memory.write(&mut out);
        out
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are no state.
    pub fn from_state(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { memory: Memory::read(bytes)? })
    }

    fn op(&mut self, site: SiteId, first: u64, op: &Op, out: &mut Vec<u8>) {
        match op {
            Op::Insert { parent, digit, direction, text } => {
                self.insert(site, first, parent, *digit, *direction, text, out);
            }
            Op::Delete { ranges } => {
                match self.dot_number(site, first, ranges) {
                    Some(number) => head(code::DELETE_DOT, number, out),
                    None => {
                        head(code::DELETE, ranges.len() as u64, out);
                        self.ranges(ranges, out);
                    }
                }
                if let Some(last) = ranges.last() {
                    self.memory.set_deleted(site, *last);
                }
            }
            Op::Meta { key, value, lamport } => {
                head(code::META, key.len() as u64, out);
                out.extend_from_slice(key.as_bytes());
                out.push(u8::from(value.is_some()));
                if let Some(value) = value {
                    write_varint(out, value.len() as u64);
                    out.extend_from_slice(value);
                }
                write_varint(out, *lamport);
            }
            Op::Rebase(rebase) => self.rebase(site, first, rebase, out),
            Op::Void { length } => head(code::VOID, *length, out),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one insert")]
    fn insert(
        &mut self,
        site: SiteId,
        first: u64,
        parent: &Path,
        digit: Digit,
        direction: Direction,
        text: &str,
        out: &mut Vec<u8>,
    ) {
        let last = self.memory.place(site);
        let extends =
            last.is_some_and(|place| place.digit == digit && place.direction == direction && place.parent == *parent);
        if extends {
            head(code::EXTEND, text.len() as u64, out);
        } else {
            let code = if direction == Direction::After { code::INSERT_AFTER } else { code::INSERT_BEFORE };
            head(code, text.len() as u64, out);
            self.path(site, first, parent, digit, out);
            self.memory.set_place(site, Place { parent: parent.clone(), digit, direction });
        }
        out.extend_from_slice(text.as_bytes());
    }

    /// A path, told by what it shares with that of the site's last insert, and the digit below it.
    fn path(&mut self, site: SiteId, first: u64, parent: &Path, digit: Digit, out: &mut Vec<u8>) {
        let before = self.memory.place(site).map_or(&[][..], |place| place.parent.elements());
        let shared = before.iter().zip(parent.elements()).take_while(|(a, b)| a == b).count();
        path_lengths(shared, parent.depth() - shared, out);
        for (level, element) in parent.elements().iter().enumerate().skip(shared) {
            write_digit(element.digit, element.dot(), level, out);
            self.who(element.site, out);
            write_varint(out, zigzag(element.k));
        }
        write_digit(digit, Dot::new(site, first), parent.depth(), out);
    }

    fn rebase(&mut self, site: SiteId, counter: u64, rebase: &Rebase, out: &mut Vec<u8>) {
        head(code::VOID, code::REBASE, out);
        self.path(site, counter, &rebase.parent, rebase.digit, out);
        write_varint(out, rebase.lamport);
        write_varint(out, rebase.spacing);
        write_varint(out, rebase.pieces.len() as u64);
        let mut next_slot = 0_u64;
        for piece in &rebase.pieces {
            write_varint(out, piece.slot.wrapping_sub(next_slot));
            self.who(piece.site, out);
            write_varint(out, zigzag(piece.first_k));
            write_varint(out, piece.length.wrapping_sub(1));
            next_slot = piece.slot.wrapping_add(1);
        }
    }

    /// The number that names the only dot of `ranges`, which the operation `counter` of `site` deletes, if one does.
    fn dot_number(&self, site: SiteId, counter: u64, ranges: &[DotRange]) -> Option<u64> {
        let [DotRange { site: of, first: dot, last }] = *ranges else { return None };
        if dot != last {
            return None;
        }
        if let Some(before) = self.memory.deleted(site).filter(|before| before.site == of) {
            if before.first == dot + 1 {
                return Some(code::BEFORE_LAST);
            }
            if before.last + 1 == dot {
                return Some(code::BEHIND_LAST);
            }
        }
        (of == site && dot < counter).then(|| counter + 1 - dot)
    }

    fn ranges(&mut self, ranges: &[DotRange], out: &mut Vec<u8>) {
        let mut previous: Option<DotRange> = None;
        for range in ranges {
            self.who(range.site, out);
            match previous.filter(|previous| previous.site == range.site) {
                Some(previous) => write_varint(out, range.first.wrapping_sub(previous.last)),
                None => {
                    let next = self.memory.next(range.site).max(1);
                    write_varint(out, zigzag(next.wrapping_sub(range.first) as i64));
                }
            }
            write_varint(out, range.last.wrapping_sub(range.first));
            previous = Some(*range);
        }
    }

    fn who(&mut self, site: SiteId, out: &mut Vec<u8>) {
        match self.memory.number(site) {
            Some(number) => write_varint(out, u64::from(number) + 1),
            None => {
                out.push(0);
                out.extend_from_slice(&site.get().to_le_bytes());
                self.memory.add(site);
            }
        }
    }
}

fn head(code: u8, number: u64, out: &mut Vec<u8>) {
    if number < code::INLINE_END {
        out.push(code | (number as u8) << 3);
    } else {
        out.push(code | (code::INLINE_END as u8) << 3);
        write_varint(out, number);
    }
}

fn path_lengths(shared: usize, others: usize, out: &mut Vec<u8>) {
    if shared < code::LENGTHS_END && others < code::LENGTHS_END {
        out.push((shared | others << 4) as u8);
    } else {
        out.push(code::LENGTHS_BEHIND);
        write_varint(out, shared as u64);
        write_varint(out, others as u64);
    }
}

fn write_digit(digit: Digit, dot: Dot, level: usize, out: &mut Vec<u8>) {
    if digit == Digit::hashed(dot, level) {
        out.push(0);
    } else {
        write_varint(out, zigzag(digit.get()));
    }
}
