//! Bytes of what rebases left in a state.
//!
//! ```text
//! rebases   count { site  counter  lamport  moved  waiting { dots  slot }* [base] }*      ascending by site and counter
//! moved     living characters, as `live` of a state
//! waiting   how many ranges of characters that have not come
//! dots      site  first  2 (last-first) + 1 if they fall: k = -counter
//! slot      digit below the base
//! base      if something waits: depth { digit site zigzag k }*  zigzag digit
//! ```
//!
//! There is one encoding of it; a decoder refuses any other.

use super::delta::{digit_code, digit_of};
use super::{Reader, Writer};
use crate::dots::DotSet;
use crate::error::DecodeError;
use crate::id::{COUNTER_END, Dot, DotRange};
use crate::limits::PATH_LEVELS_MAX;
use crate::position::{Digit, Element, Path};
use crate::rebase::{Rebases, Stamp, Target};
use crate::sorted_map::SortedMap;

/// What one rebase left.
#[derive(Default)]
struct Entry<'a> {
    lamport: u64,
    moved: DotSet,
    waiting: Vec<(DotRange, &'a Target)>,
}

/// Whether there is an entry at all decides the kind of a diff: see [`super::state`].
pub(super) fn write(rebases: &Rebases, writer: &mut Writer) {
    let mut entries: SortedMap<Dot, Entry<'_>> = SortedMap::new();
    for (range, stamp) in rebases.moved.iter() {
        let entry = entries.or_insert_with(stamp.dot, Entry::default);
        entry.lamport = stamp.lamport;
        entry.moved.insert(range);
    }
    for (range, target) in rebases.pending.iter() {
        let entry = entries.or_insert_with(target.stamp.dot, Entry::default);
        entry.lamport = target.stamp.lamport;
        entry.waiting.push((range, target));
    }
    writer.varint(entries.len() as u64);
    for (dot, entry) in entries {
        writer.varint(dot.site.get());
        writer.varint(dot.counter);
        writer.varint(entry.lamport);
        entry.moved.write(writer);
        writer.varint(entry.waiting.len() as u64);
        for (range, target) in &entry.waiting {
            writer.varint(range.site.get());
            writer.varint(range.first);
            writer.varint((range.last - range.first) << 1 | u64::from(target.falling));
            writer.varint(target.digit.get() as u64);
        }
        if let Some((_, target)) = entry.waiting.first() {
            write_path(&target.parent, writer);
            writer.signed(target.base_digit.get());
        }
    }
}

fn write_path(path: &Path, writer: &mut Writer) {
    writer.varint(path.depth() as u64);
    for (level, element) in path.elements().iter().enumerate() {
        writer.varint(digit_code(element.digit, element.dot(), level));
        writer.varint(element.site.get());
        writer.signed(element.k);
    }
}

/// Reads entries, as many as there must be at least.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Rebases, DecodeError> {
    let start = reader.rest();
    let mut rebases = Rebases::default();
    let mut before: Option<Dot> = None;
    for _ in 0..reader.count(5)? {
        let dot = Dot::new(reader.site()?, reader.counter()?);
        if before.is_some_and(|before| before >= dot) {
            return Err(DecodeError::Order);
        }
        before = Some(dot);
        read_entry(dot, &mut rebases, reader)?;
    }
    // Ranges that overlap, meet or repeat what another rebase has are found by writing them again.
    let mut again = Writer::default();
    write(&rebases, &mut again);
    let read = &start[..start.len() - reader.remaining()];
    if again.as_bytes() == read { Ok(rebases) } else { Err(DecodeError::NotCanonical) }
}

fn read_entry(dot: Dot, rebases: &mut Rebases, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let stamp = Stamp { lamport: reader.counter()?, dot };
    for range in DotSet::read(reader)?.iter() {
        rebases.moved.insert(range, stamp);
    }
    let count = reader.count(4)?;
    let mut waiting = Vec::with_capacity(count);
    for _ in 0..count {
        let (site, first) = (reader.site()?, reader.counter()?);
        let code = reader.varint()?;
        let last = first.checked_add(code >> 1).filter(|&last| last < COUNTER_END).ok_or(DecodeError::Counter)?;
        let digit = i64::try_from(reader.varint()?).map_err(|_| DecodeError::Digit)?;
        waiting.push((DotRange { site, first, last }, Digit::new(digit), code & 1 == 1));
    }
    if waiting.is_empty() {
        return Ok(());
    }
    let parent = read_path(reader)?;
    let base_digit = Digit::new(reader.signed()?);
    for (range, digit, falling) in waiting {
        let target = Target { stamp, parent: parent.clone(), base_digit, digit, falling };
        target.validate(range)?;
        rebases.pending.insert(range, target);
    }
    Ok(())
}

fn read_path(reader: &mut Reader<'_>) -> Result<Path, DecodeError> {
    let depth = reader.count(3)?;
    if depth > PATH_LEVELS_MAX {
        return Err(DecodeError::PathTooLong);
    }
    let mut elements = Vec::with_capacity(depth);
    for level in 0..depth {
        let code = reader.varint()?;
        let (site, k) = (reader.site()?, reader.signed()?);
        if k == 0 || k.unsigned_abs() >= COUNTER_END {
            return Err(DecodeError::Counter);
        }
        let digit = digit_of(code, Dot::new(site, k.unsigned_abs()), level)?;
        elements.push(Element { digit, site, k });
    }
    Ok(elements.into())
}
