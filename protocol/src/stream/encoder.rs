//! Deltas to stream form.

use core::ops::{Range, RangeInclusive};

use selvedge_engine::{Delta, Digit, Direction, Dot, DotRange, Op, Path, Rebase, SiteId};

use super::index::RunIndex;
use super::memory::{Author, Forgotten, Memory, write_site};
use super::runs::{Atom, Run, Runs};
use super::{PACKED_FROM_BYTES, code, packing};
use crate::error::DecodeError;
use crate::varint::{write_varint, zigzag};

/// The writing side of a stream. One per channel upstream, one per room downstream.
#[derive(Clone, Debug, Default)]
pub struct StreamEncoder {
    memory: Memory,
    index: RunIndex,
    /// Where the texts of inserts stand in what the last delta took.
    texts: Vec<Range<usize>>,
}

/// The fields of an insert.
struct Insert<'a> {
    parent: &'a Path,
    digit: Digit,
    direction: Direction,
    text: &'a str,
}

impl StreamEncoder {
    /// A stream that begins.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one delta to `out`; one of 256 bytes or more is packed. O(bytes of the delta).
    pub fn push(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        let start = out.len();
        self.write(delta, out);
        if out.len() - start >= PACKED_FROM_BYTES {
            packing::pack(start, &self.texts, delta, out);
            self.texts = Vec::new();
        }
    }

    /// [`push`](Self::push) that does not pack.
    pub(super) fn write(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        self.texts.clear();
        match self.memory.begin_delta() {
            Forgotten::Nothing => {}
            Forgotten::Runs(gone) => self.index.turn(gone),
            Forgotten::Everything => self.index = RunIndex::default(),
        }
        let author = self.memory.author(delta.site);
        let continues = author.map_or(1, |author| self.memory.next_of(author)) == delta.first;
        if !(continues && delta.ops.len() == 1 && author.is_some() && author == self.memory.last_author()) {
            self.delta_head(delta, continues, out);
        }
        let Some(author) = author.or_else(|| self.memory.author(delta.site)) else { return };
        let mut counter = delta.first;
        for op in &delta.ops {
            let next = counter.saturating_add(op.counters());
            self.op(author, counter, next.saturating_sub(1), op, out);
            counter = next;
        }
        self.memory.end_delta(author, counter);
    }

    fn delta_head(&mut self, delta: &Delta, continues: bool, out: &mut Vec<u8>) {
        let single = delta.ops.len() == 1;
        let flags = if continues { code::CONTINUES } else { 0 } | if single { code::SINGLE } else { 0 };
        match self.memory.number(delta.site).map(|number| u64::from(number) + code::SITES) {
            Some(who) if who >= code::WHO_BEHIND => {
                out.push(code::DELTA | flags | (code::WHO_BEHIND as u8) << code::WHO_SHIFT);
                write_varint(out, who);
            }
            Some(who) => out.push(code::DELTA | flags | (who as u8) << code::WHO_SHIFT),
            None => {
                // Who is new is told by one byte, which fits the flags.
                let at = out.len();
                self.who(delta.site, out);
                out[at] = code::DELTA | flags | out[at] << code::WHO_SHIFT;
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
        let memory = Memory::read(bytes)?;
        let mut index = RunIndex::default();
        index.catch_up(memory.runs());
        Ok(Self { memory, index, texts: Vec::new() })
    }

    fn op(&mut self, author: Author, first: u64, last: u64, op: &Op, out: &mut Vec<u8>) {
        match op {
            Op::Insert { parent, digit, direction, text } => {
                let insert = Insert { parent, digit: *digit, direction: *direction, text };
                self.insert(author, first..=last, &insert, out);
            }
            Op::Delete { ranges } => {
                match self.dot_number(author, first, ranges) {
                    Some(number) => head(code::DELETE_DOT, number, out),
                    None => self.ranges(author.site, first, ranges, out),
                }
                if let Some(last) = ranges.last() {
                    self.memory.set_deleted(author, *last);
                }
            }
            Op::Meta { key, value, lamport } => {
                head(code::OTHER, code::META, out);
                write_varint(out, key.len() as u64);
                out.extend_from_slice(key.as_bytes());
                out.push(u8::from(value.is_some()));
                if let Some(value) = value {
                    write_varint(out, value.len() as u64);
                    out.extend_from_slice(value);
                }
                write_varint(out, *lamport);
            }
            Op::Rebase(rebase) => self.rebase(author.site, first, rebase, out),
            Op::Void { length } => {
                head(code::OTHER, code::VOID, out);
                write_varint(out, *length);
            }
        }
    }

    fn insert(&mut self, author: Author, counters: RangeInclusive<u64>, insert: &Insert<'_>, out: &mut Vec<u8>) {
        let Insert { parent, digit, direction, text } = *insert;
        let (first, last) = counters.into_inner();
        let place = self.memory.place(author);
        let extends =
            place.is_some_and(|place| place.digit == digit && place.direction == direction && place.parent == *parent);
        if extends {
            head(code::EXTEND, text.len() as u64, out);
            self.memory.extend(author, first, last);
        } else {
            let above = self.place(author.site, first, insert, out);
            let run = Run { parent: above, digit, site: author.site, direction, first, last };
            self.memory.insert(author, run, parent.clone());
        }
        self.texts.push(out.len()..out.len() + text.len());
        out.extend_from_slice(text.as_bytes());
        self.index.catch_up(self.memory.runs());
    }

    /// Tells where an insert stands that does not go on where its site's last one did; what it stands below is returned.
    fn place(&mut self, site: SiteId, first: u64, insert: &Insert<'_>, out: &mut Vec<u8>) -> Option<Atom> {
        let Insert { parent, digit, direction, text } = *insert;
        let runs = self.memory.runs();
        if let Some(number) = self.index.beside(runs, site, parent, digit) {
            let before = u8::from(direction == Direction::Before);
            short_head(code::BESIDE, before, text.len(), out);
            write_varint(out, u64::from(runs.len() - 1 - number));
            return runs.get(number).and_then(|run| run.parent);
        }
        let (above, depth) = self.index.deepest(runs, parent);
        let hashed = digit == Digit::hashed(Dot::new(site, first), parent.depth());
        if depth < parent.depth() || direction == Direction::Before {
            short_head(code::APART, code::PATH, text.len(), out);
            return self.path(above, depth, (parent, digit, direction), hashed, out);
        }
        if hashed {
            head(code::BELOW, text.len() as u64, out);
            write_atom(runs, above, out);
        } else {
            short_head(code::APART, code::DIGIT, text.len(), out);
            write_atom(runs, above, out);
            write_varint(out, zigzag(digit.get()));
        }
        above
    }

    /// A path, told by the deepest of its elements that is remembered and those below it, a direction and the digit below.
    fn path(
        &mut self,
        above: Option<Atom>,
        depth: usize,
        (parent, digit, direction): (&Path, Digit, Direction),
        hashed: bool,
        out: &mut Vec<u8>,
    ) -> Option<Atom> {
        write_atom(self.memory.runs(), above, out);
        let below = &parent.elements()[depth..];
        out.push((below.len() as u8) << 1 | u8::from(direction == Direction::Before));
        for (level, element) in below.iter().enumerate() {
            let hashed = element.digit == Digit::hashed(element.dot(), depth + level);
            write_varint(out, if hashed { 0 } else { zigzag(element.digit.get()) });
            self.who(element.site, out);
            write_varint(out, zigzag(element.k));
        }
        write_varint(out, if hashed { 0 } else { zigzag(digit.get()) });
        self.memory.push_elements(above, below)
    }

    fn rebase(&mut self, site: SiteId, counter: u64, rebase: &Rebase, out: &mut Vec<u8>) {
        head(code::OTHER, code::REBASE, out);
        let Rebase { parent, digit, .. } = rebase;
        let (above, depth) = self.index.deepest(self.memory.runs(), parent);
        let hashed = *digit == Digit::hashed(Dot::new(site, counter), parent.depth());
        self.path(above, depth, (parent, *digit, Direction::After), hashed, out);
        self.index.catch_up(self.memory.runs());
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

    /// The number that names the only dot of `ranges`, which the operation `counter` of `author` deletes, if one does.
    fn dot_number(&self, author: Author, counter: u64, ranges: &[DotRange]) -> Option<u64> {
        let [DotRange { site: of, first: dot, last }] = *ranges else { return None };
        if dot != last {
            return None;
        }
        if let Some(before) = self.memory.deleted(author).filter(|before| before.site == of) {
            if before.first == dot + 1 {
                return Some(code::BEFORE_LAST);
            }
            if before.last + 1 == dot {
                return Some(code::BEHIND_LAST);
            }
        }
        (of == author.site && dot < counter).then(|| counter + 1 - dot)
    }

    fn ranges(&mut self, site: SiteId, counter: u64, ranges: &[DotRange], out: &mut Vec<u8>) {
        let own = ranges.iter().all(|range| range.site == site && range.first < counter);
        short_head(code::DELETE, u8::from(own), ranges.len(), out);
        let mut before: Option<DotRange> = None;
        for range in ranges {
            if !own {
                self.who(range.site, out);
            }
            let start = match before.filter(|before| before.site == range.site) {
                Some(before) => range.first.wrapping_sub(before.last).wrapping_sub(2),
                None if own => counter - range.first,
                None => zigzag(self.memory.next(range.site).wrapping_sub(range.first) as i64),
            };
            let others = range.last.wrapping_sub(range.first);
            let short = others.min(code::RANGE_BEHIND);
            write_varint(out, start << 2 | short);
            if short == code::RANGE_BEHIND {
                write_varint(out, others - short);
            }
            before = Some(*range);
        }
    }

    fn who(&mut self, site: SiteId, out: &mut Vec<u8>) {
        match self.memory.number(site) {
            Some(number) => write_varint(out, u64::from(number) + code::SITES),
            None => {
                write_site(site, out);
                self.memory.add(site).expect("it has no number");
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

/// A head with a flag and a number, which is not 0.
fn short_head(code: u8, flag: u8, number: usize, out: &mut Vec<u8>) {
    if number < code::SHORT_END {
        out.push(code | flag << 3 | (number as u8) << code::SHORT_SHIFT);
    } else {
        out.push(code | flag << 3);
        write_varint(out, number as u64);
    }
}

/// A character of a remembered run, counted back from the newest, or the root.
fn write_atom(runs: &Runs, atom: Option<Atom>, out: &mut Vec<u8>) {
    let Some((atom, run)) = atom.and_then(|atom| Some((atom, runs.get(atom.run)?))) else { return out.push(0) };
    let back = run.last - atom.counter;
    let short = back.min(code::ATOM_BEHIND);
    write_varint(out, (u64::from(runs.len() - 1 - atom.run) << 2 | short) + 1);
    if short == code::ATOM_BEHIND {
        write_varint(out, back - short);
    }
}
