//! Durable form of a delta. All numbers are varints unless said otherwise.
//!
//! ```text
//! delta    0x11  site  first  counters  op+            counters = last - first + 1; operations to the end of the bytes
//! op       code                                        one byte: kind in bits 0-2, flags above; other bits are 0
//!   insert 1 | before<<3 | again<<4 | placed<<5
//!                                     [depth element*]  [digit]  length utf8     again: group of the insert before it, without
//!                                                                                path and digit; placed: the digit is no hash
//!   delete 2 | single<<3              single:  ref  first  last-first
//!                                     else:    sites { ref  count { gap  last-first }* }*   gap: first - previous last - 2;
//!                                                                                          the first one is `first` itself
//!   meta   3 | value<<3               length key  [length value]  lamport
//!   void   4                          length
//!   rebase 5                          depth element* digit  lamport  spacing  pieces { slot  ref  zigzag k  length-1 }*
//!                                     slot: - previous slot - 1; the first one is `slot` itself; k: of the first character
//! element  head  [digit]  [ref]                        head: zigzag k << 2 | other<<1 | placed
//!                                                      other: not of the site of the element before it, or the delta's site
//! digit    0: the hash of the element's dot   1: its negative   else zigzag + 1; never 0 where it is placed
//! ref      0: the delta's site   1..=n: a site named before   n+1: a new one, its 64 bits follow
//! ```
//!
//! There is one encoding of a delta; a decoder refuses any other.

use smallvec::SmallVec;

use super::site_numbers::SiteNumbers;
use super::{Reader, Writer, varint_len};
use crate::delta::{Delta, DeltaHeader};
use crate::error::DecodeError;
use crate::id::{COUNTER_END, Dot, DotRange, SiteId};
use crate::limits::{DELTA_BYTES_MAX, OP_RANGES_MAX, OP_TEXT_BYTES_MAX, PATH_LEVELS_MAX};
use crate::op::{Direction, Op};
use crate::position::{Digit, Element, Elements, Path, unzigzag, zigzag};
use crate::rebase::{Piece, Rebase};

/// Format version 1 in the high nibble, kind in the low one.
pub(super) const DELTA: u8 = 0x11;

const KIND_MASK: u8 = 0b111;
pub(super) const INSERT: u8 = 1;
pub(super) const DELETE: u8 = 2;
const META: u8 = 3;
const VOID: u8 = 4;
const REBASE: u8 = 5;
pub(super) const BEFORE: u8 = 1 << 3;
const AGAIN: u8 = 1 << 4;
pub(super) const PLACED: u8 = 1 << 5;
pub(super) const SINGLE: u8 = 1 << 3;
const VALUE: u8 = 1 << 3;

/// What to reserve per operation and for a header: keystrokes take less.
const OP_BYTES_GUESS: usize = 32;
const HEADER_BYTES_GUESS: usize = 16;

/// Flags of an element's head, below its k.
const ELEMENT_PLACED: u64 = 1;
const ELEMENT_OTHER: u64 = 1 << 1;
const ELEMENT_FLAGS: u32 = 2;

/// Bytes of a site's number: a delta has no room for 2^21 of them.
const REFERENCE_BYTES_MAX: usize = 3;

/// The code of a digit that is the hash of its dot.
const HASHED: u64 = 0;

pub(crate) fn encode(delta: &Delta) -> Vec<u8> {
    let mut writer = Writer::with_capacity(delta.ops.len() * OP_BYTES_GUESS + HEADER_BYTES_GUESS);
    writer.byte(DELTA);
    writer.varint(delta.site.get());
    writer.varint(delta.first);
    writer.varint(delta.counters());
    let mut encoder = Encoder::new(delta.site, writer);
    let mut next = delta.first;
    for op in &delta.ops {
        encoder.op(op, next);
        next += op.counters();
    }
    encoder.writer.finish()
}

/// Bytes `op` takes at most in a delta of `site`: as if nothing before it could be referred to.
pub(crate) fn op_bytes_max(site: SiteId, op: &Op, first: u64) -> usize {
    if let Op::Void { .. } = op {
        // Voids that meet become one, whose length may take all its bytes.
        return 1 + varint_len(COUNTER_END);
    }
    if let Op::Insert { parent, digit, text, .. } = op {
        let path = path_bytes_max(site, parent) + digit_bytes_max(*digit);
        return 1 + path + varint_len(text.len() as u64) + text.len();
    }
    let mut encoder = Encoder::new(site, Writer::default());
    encoder.op(op, first);
    // Behind other sites a reference may take more than the one byte it takes as the first.
    encoder.writer.len() + (REFERENCE_BYTES_MAX - 1) * encoder.references
}

/// Bytes a path takes at most in a delta of `site`: as if no digit were hashed. Nothing is written to count them.
fn path_bytes_max(site: SiteId, path: &Path) -> usize {
    let mut bytes = varint_len(path.depth() as u64);
    let mut above = site;
    for element in path.elements() {
        bytes += varint_len(zigzag(element.k) << ELEMENT_FLAGS) + digit_bytes_max(element.digit);
        if element.site != above {
            bytes += REFERENCE_BYTES_MAX + varint_len(element.site.get());
        }
        above = element.site;
    }
    bytes
}

const fn digit_bytes_max(digit: Digit) -> usize {
    varint_len(zigzag(digit.get()) + 1)
}

struct Encoder<'a> {
    writer: Writer,
    site: SiteId,
    sites: SiteNumbers,
    references: usize,
    group: Option<(&'a Path, Digit)>,
}

impl<'a> Encoder<'a> {
    fn new(site: SiteId, writer: Writer) -> Self {
        Self { writer, site, sites: SiteNumbers::of(site), references: 0, group: None }
    }

    fn op(&mut self, op: &'a Op, first: u64) {
        match op {
            Op::Insert { parent, digit, direction, text } => {
                let before = if *direction == Direction::Before { BEFORE } else { 0 };
                if self.group == Some((parent, *digit)) {
                    self.writer.byte(INSERT | before | AGAIN);
                } else {
                    let code = digit_code(*digit, Dot::new(self.site, first), parent.depth());
                    self.writer.byte(INSERT | before | placed(code));
                    self.path(parent);
                    write_placed(&mut self.writer, code);
                    self.group = Some((parent, *digit));
                }
                self.writer.blob(text.as_bytes());
            }
            Op::Delete { ranges } => self.ranges(ranges),
            Op::Meta { key, value, lamport } => {
                self.writer.byte(META | if value.is_some() { VALUE } else { 0 });
                self.writer.blob(key.as_bytes());
                if let Some(value) = value {
                    self.writer.blob(value);
                }
                self.writer.varint(*lamport);
            }
            Op::Rebase(rebase) => self.rebase(rebase, first),
            Op::Void { length } => {
                self.writer.byte(VOID);
                self.writer.varint(*length);
            }
        }
    }

    fn rebase(&mut self, rebase: &Rebase, counter: u64) {
        self.writer.byte(REBASE);
        self.path(&rebase.parent);
        let dot = Dot::new(self.site, counter);
        self.writer.varint(digit_code(rebase.digit, dot, rebase.parent.depth()));
        self.writer.varint(rebase.lamport);
        self.writer.varint(rebase.spacing);
        self.writer.varint(rebase.pieces.len() as u64);
        let mut slot = 0;
        for piece in &rebase.pieces {
            self.writer.varint(piece.slot - slot);
            self.reference(piece.site);
            self.writer.signed(piece.first_k);
            self.writer.varint(piece.length - 1);
            slot = piece.slot + 1;
        }
    }

    fn path(&mut self, path: &Path) {
        write_path(&mut self.writer, &mut self.sites, path.elements());
        self.references += path.depth();
    }

    fn reference(&mut self, site: SiteId) {
        self.references += 1;
        write_reference(&mut self.writer, &mut self.sites, site);
    }

    fn ranges(&mut self, ranges: &[DotRange]) {
        if let [range] = ranges {
            self.writer.byte(DELETE | SINGLE);
            self.reference(range.site);
            self.writer.varint(range.first);
            self.writer.varint(range.last - range.first);
            return;
        }
        self.writer.byte(DELETE);
        self.writer.varint(ranges.chunk_by(|a, b| a.site == b.site).count() as u64);
        for chunk in ranges.chunk_by(|a, b| a.site == b.site) {
            self.reference(chunk[0].site);
            self.writer.varint(chunk.len() as u64);
            let mut base = 0;
            for range in chunk {
                self.writer.varint(range.first - base);
                self.writer.varint(range.last - range.first);
                base = range.last + 2;
            }
        }
    }
}

/// The path an insert stands on: depth and elements.
pub(super) fn write_path(writer: &mut Writer, sites: &mut SiteNumbers, elements: &[Element]) {
    writer.varint(elements.len() as u64);
    let mut site = sites.own();
    for (level, element) in elements.iter().enumerate() {
        let code = digit_code(element.digit, element.dot(), level);
        let other = if element.site == site { 0 } else { ELEMENT_OTHER };
        let placed = if code == HASHED { 0 } else { ELEMENT_PLACED };
        writer.varint(zigzag(element.k) << ELEMENT_FLAGS | other | placed);
        write_placed(writer, code);
        if other != 0 {
            write_reference(writer, sites, element.site);
        }
        site = element.site;
    }
}

/// The flag of an insert whose digit has this code.
pub(super) const fn placed(code: u64) -> u8 {
    if code == HASHED { 0 } else { PLACED }
}

/// The code of a digit, unless it is hashed.
pub(super) fn write_placed(writer: &mut Writer, code: u64) {
    if code != HASHED {
        writer.varint(code);
    }
}

/// Reads the code of a digit that is placed, or not.
#[cfg_attr(not(target_family = "wasm"), inline(always))]
pub(super) fn read_placed(reader: &mut Reader<'_>, placed: bool) -> Result<u64, DecodeError> {
    if !placed {
        return Ok(HASHED);
    }
    let code = reader.varint()?;
    if code == HASHED { Err(DecodeError::NotCanonical) } else { Ok(code) }
}

pub(super) fn write_reference(writer: &mut Writer, sites: &mut SiteNumbers, site: SiteId) {
    match sites.number(site) {
        Some(number) => writer.varint(number as u64),
        None => {
            writer.varint(sites.len() as u64);
            writer.varint(site.get());
            sites.add(site);
        }
    }
}

/// A digit as it is written: hashed ones cost a byte however deep they are.
pub(crate) fn digit_code(digit: Digit, dot: Dot, level: usize) -> u64 {
    let hashed = Digit::hashed(dot, level).get();
    match digit.get() {
        value if value == hashed => 0,
        value if value == -hashed => 1,
        value => zigzag(value) + 1,
    }
}

pub(crate) fn digit_of(code: u64, dot: Dot, level: usize) -> Result<Digit, DecodeError> {
    let hashed = Digit::hashed(dot, level).get();
    let digit = match code {
        0 => return Ok(Digit::new(hashed)),
        1 => return Ok(Digit::new(-hashed)),
        _ => Digit::new(unzigzag(code - 1)),
    };
    if !digit.fits(level) {
        Err(DecodeError::Digit)
    } else if digit.get().abs() == hashed {
        Err(DecodeError::NotCanonical)
    } else {
        Ok(digit)
    }
}

pub(crate) fn read_header(reader: &mut Reader<'_>) -> Result<DeltaHeader, DecodeError> {
    if reader.byte()? != DELTA {
        return Err(DecodeError::Unsupported);
    }
    let site = reader.site()?;
    let first = reader.counter()?;
    let counters = reader.counter()?;
    let last = first + counters - 1;
    if last >= COUNTER_END { Err(DecodeError::Counter) } else { Ok(DeltaHeader { site, first, last }) }
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Delta, DecodeError> {
    if bytes.len() > DELTA_BYTES_MAX {
        return Err(DecodeError::TooLarge);
    }
    let mut reader = Reader::new(bytes);
    let header = read_header(&mut reader)?;
    let mut decoder = Decoder::new(reader, header.site);
    let mut delta = Delta { site: header.site, first: header.first, ops: Vec::new() };
    let mut next = header.first;
    while decoder.reader.remaining() > 0 {
        let op = decoder.op(next)?;
        next = next.saturating_add(op.counters());
        delta.ops.push(op);
    }
    if next - 1 != header.last {
        return Err(DecodeError::Counter);
    }
    delta.validate()?;
    Ok(delta)
}

/// Ranges that a delete takes: seldom many.
pub(crate) type Ranges = SmallVec<[DotRange; 4]>;

pub(super) struct Decoder<'a> {
    reader: Reader<'a>,
    site: SiteId,
    sites: SiteNumbers,
    group: Option<(Path, Digit)>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(reader: Reader<'a>, site: SiteId) -> Self {
        Self { reader, site, sites: SiteNumbers::of(site), group: None }
    }

    /// What is not read yet.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.reader.rest()
    }

    /// Whether no site but the delta's own was named.
    pub(super) fn names_no_other(&self) -> bool {
        self.sites.len() == 1
    }

    fn op(&mut self, first: u64) -> Result<Op, DecodeError> {
        let code = self.reader.byte()?;
        let flags = code & !KIND_MASK;
        let allowed = match code & KIND_MASK {
            INSERT if code & AGAIN != 0 => BEFORE | AGAIN,
            INSERT => BEFORE | PLACED,
            DELETE => SINGLE,
            META => VALUE,
            VOID | REBASE => 0,
            _ => return Err(DecodeError::Unsupported),
        };
        if flags & !allowed != 0 {
            return Err(DecodeError::Unsupported);
        }
        match code & KIND_MASK {
            INSERT => self.insert(flags, first),
            DELETE => Ok(Op::Delete { ranges: self.ranges(flags)?.into_vec() }),
            META => self.meta(flags),
            REBASE => self.rebase(first),
            _ => Ok(Op::Void { length: self.reader.counter()? }),
        }
    }

    #[inline(never)]
    fn insert(&mut self, flags: u8, first: u64) -> Result<Op, DecodeError> {
        let group = if flags & AGAIN != 0 {
            self.group.take().ok_or(DecodeError::NotCanonical)?
        } else {
            let path = self.path()?;
            let code = read_placed(&mut self.reader, flags & PLACED != 0)?;
            let digit = digit_of(code, Dot::new(self.site, first), path.depth())?;
            let group = (path, digit);
            if self.group.as_ref() == Some(&group) {
                return Err(DecodeError::NotCanonical);
            }
            group
        };
        let text = self.text(OP_TEXT_BYTES_MAX)?;
        self.group = Some(group.clone());
        let (parent, digit) = group;
        let direction = if flags & BEFORE != 0 { Direction::Before } else { Direction::After };
        Ok(Op::Insert { parent, digit, direction, text })
    }

    fn path(&mut self) -> Result<Path, DecodeError> {
        let mut elements = Elements::new();
        self.elements(&mut elements)?;
        Ok(elements.as_slice().into())
    }

    /// Adds the path an insert stands on. Its bytes are not counted.
    pub(super) fn elements(&mut self, elements: &mut Elements) -> Result<(), DecodeError> {
        let mut above = self.site;
        for level in 0..self.depth()? {
            let element = self.element(level, above)?;
            above = element.site;
            elements.push(element);
        }
        Ok(())
    }

    /// Levels of a path.
    pub(super) fn depth(&mut self) -> Result<usize, DecodeError> {
        let depth = self.reader.count(1)?;
        if depth < PATH_LEVELS_MAX { Ok(depth) } else { Err(DecodeError::PathTooLong) }
    }

    /// The element of a level of a path; `above`: the site of the element before it, or the delta's site.
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn element(&mut self, level: usize, above: SiteId) -> Result<Element, DecodeError> {
        let head = self.reader.any_varint()?;
        let k = unzigzag(head >> ELEMENT_FLAGS);
        if k == 0 || k.unsigned_abs() >= COUNTER_END {
            return Err(DecodeError::Counter);
        }
        let code = read_placed(&mut self.reader, head & ELEMENT_PLACED != 0)?;
        let site = if head & ELEMENT_OTHER == 0 { above } else { self.reference()? };
        if head & ELEMENT_OTHER != 0 && site == above {
            return Err(DecodeError::NotCanonical);
        }
        let digit = digit_of(code, Dot::new(site, k.unsigned_abs()), level)?;
        Ok(Element { digit, site, k })
    }

    /// Passes `bytes` bytes that are these elements.
    pub(super) fn skip(&mut self, elements: &[Element], bytes: usize) {
        for element in elements {
            if element.site != self.site && self.sites.number(element.site).is_none() {
                self.sites.add(element.site);
            }
        }
        self.reader.skip(bytes);
    }

    #[inline(always)]
    fn reference(&mut self) -> Result<SiteId, DecodeError> {
        match self.reader.varint()? {
            0 => Ok(self.site),
            number => self.foreign_reference(number),
        }
    }

    fn foreign_reference(&mut self, number: u64) -> Result<SiteId, DecodeError> {
        if number != self.sites.len() as u64 {
            let known = usize::try_from(number).ok().and_then(|number| self.sites.get(number));
            return known.ok_or(DecodeError::NotCanonical);
        }
        let site = self.reader.site()?;
        if self.sites.number(site).is_some() {
            return Err(DecodeError::NotCanonical);
        }
        self.sites.add(site);
        Ok(site)
    }

    fn text(&mut self, bytes_max: usize) -> Result<String, DecodeError> {
        let bytes = self.reader.blob()?;
        if bytes.len() > bytes_max {
            return Err(DecodeError::TooLarge);
        }
        simdutf8::basic::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError::Text)
    }

    /// The ranges of a delete. Their counters are not checked.
    #[inline(never)]
    pub(super) fn ranges(&mut self, flags: u8) -> Result<Ranges, DecodeError> {
        let mut ranges = Ranges::new();
        if flags & SINGLE != 0 {
            let site = self.reference()?;
            let first = self.reader.counter()?;
            let last = first.saturating_add(self.reader.varint()?);
            ranges.push(DotRange { site, first, last });
            return Ok(ranges);
        }
        for _ in 0..self.reader.count(4)? {
            let site = self.reference()?;
            if ranges.last().is_some_and(|range: &DotRange| range.site >= site) {
                return Err(DecodeError::Order);
            }
            let count = self.reader.count(2)?;
            if count == 0 || ranges.len() + count > OP_RANGES_MAX {
                return Err(DecodeError::Order);
            }
            let mut base = 0_u64;
            for _ in 0..count {
                let first = base.saturating_add(self.reader.varint()?);
                let last = first.saturating_add(self.reader.varint()?);
                ranges.push(DotRange { site, first, last });
                base = last.saturating_add(2);
            }
        }
        if ranges.len() == 1 { Err(DecodeError::NotCanonical) } else { Ok(ranges) }
    }

    #[inline(never)]
    fn rebase(&mut self, counter: u64) -> Result<Op, DecodeError> {
        let parent = self.path()?;
        let digit = digit_of(self.reader.varint()?, Dot::new(self.site, counter), parent.depth())?;
        let (lamport, spacing) = (self.reader.counter()?, self.reader.varint()?);
        let count = self.reader.count(4)?;
        if count > OP_RANGES_MAX {
            return Err(DecodeError::Order);
        }
        let mut pieces = Vec::with_capacity(count);
        let mut next_slot = 0_u64;
        for _ in 0..count {
            let slot = next_slot.checked_add(self.reader.varint()?).ok_or(DecodeError::Digit)?;
            next_slot = slot.checked_add(1).ok_or(DecodeError::Digit)?;
            let site = self.reference()?;
            let first_k = self.reader.signed()?;
            let length = self.reader.varint()?.checked_add(1).ok_or(DecodeError::Counter)?;
            pieces.push(Piece { slot, site, first_k, length });
        }
        Ok(Op::Rebase(Box::new(Rebase { parent, digit, lamport, spacing, pieces })))
    }

    #[inline(never)]
    fn meta(&mut self, flags: u8) -> Result<Op, DecodeError> {
        let key = self.text(crate::limits::META_KEY_BYTES_MAX)?;
        let value = if flags & VALUE != 0 { Some(self.reader.blob()?.to_vec()) } else { None };
        Ok(Op::Meta { key, value, lamport: self.reader.counter()? })
    }
}
