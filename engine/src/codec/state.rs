//! Bytes of state diffs and snapshots.
//!
//! ```text
//! diff      0x12  since  body      or, where rebases left something,    0x15  since  rebases  body
//! snapshot  0x13  rebases (0 where they left nothing)  body  checksum: 8 bytes of SHA-256 of all before
//! rebases   see `rebases`
//! body      vector  live  pending  meta  sites { site }*  packed(columns)  packed(text)
//! sites     those of paths that the vector does not have, ascending; a site is its number in vector + sites
//! columns   runs, then eight lengths and columns of varints, in text order:
//!   group     2 n: n + 1 groups not seen before, each the parent of the next, the run on the last
//!             2 zigzag(g - previous run's g) + 1: a group seen before
//!   k         group seen before: first k - last k of the group - 1, else zigzag(first k - previous run's last k)
//!   length    characters - 1
//!   parent    of the first new group: 0 the root, else zigzag(previous run's g - parent) + 1
//!   parent k  unless the parent is the root; of the first: minus last k of the parent, of others zigzag(- the run's first k)
//!   digit     as in a delta, hashed by the dot the group was first met with
//!   site      number
//! packed    0  length  bytes      or    1  length  deflate's length  deflate
//! ```
//!
//! Within a group k only rises along the text; "last k" is the highest that runs so far, or children of dead characters,
//! imply. Differences are then small, and so are the columns.

use std::collections::BTreeMap;

use super::delta::{digit_code, digit_of};
use super::text::{leave, pack, unpack};
use super::{Reader, Writer, rebases};
use crate::dots::DotSet;
use crate::error::DecodeError;
use crate::hash::digest64;
use crate::id::{COUNTER_END, Dot, SiteId};
use crate::limits::{PATH_BYTES_MAX, PATH_LEVELS_MAX};
use crate::meta::Meta;
use crate::position::{Digit, group_bytes, k_bytes, unzigzag, zigzag};
use crate::rebase::Rebases;
use crate::state::{StateDiff, StateGroup, StateRun};
use crate::vector::VersionVector;

/// Format version 1 in the high nibble, kind in the low one.
const DIFF: u8 = 0x12;
const SNAPSHOT: u8 = 0x13;
/// A diff with rebases.
const REBASED_DIFF: u8 = 0x15;
const CHECKSUM_BYTES: usize = 8;

/// One character's structure costs at least this many bytes less than it may claim: a run is at most the whole text.
const COLUMNS: usize = 7;

pub(crate) fn encode_diff(diff: &StateDiff) -> Vec<u8> {
    let mut writer = Writer::default();
    let rebased = !diff.rebases.is_empty();
    writer.byte(if rebased { REBASED_DIFF } else { DIFF });
    diff.since.write(&mut writer);
    if rebased {
        rebases::write(&diff.rebases, &mut writer);
    }
    write_body(diff, &mut writer, pack);
    writer.finish()
}

pub(crate) fn encode_snapshot(diff: &StateDiff) -> Vec<u8> {
    encode_snapshot_by(diff, pack)
}

/// A snapshot whose columns and text are left as they are.
pub(crate) fn encode_snapshot_plain(diff: &StateDiff) -> Vec<u8> {
    encode_snapshot_by(diff, leave)
}

fn encode_snapshot_by(diff: &StateDiff, pack: fn(&[u8], &mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.byte(SNAPSHOT);
    rebases::write(&diff.rebases, &mut writer);
    write_body(diff, &mut writer, pack);
    let checksum = digest64(&[writer.as_bytes()]);
    writer.raw(&checksum.to_le_bytes());
    writer.finish()
}

pub(crate) fn decode_diff(bytes: &[u8]) -> Result<StateDiff, DecodeError> {
    let mut reader = Reader::new(bytes);
    let rebased = match reader.byte()? {
        DIFF => false,
        REBASED_DIFF => true,
        _ => return Err(DecodeError::Unsupported),
    };
    let since = VersionVector::read(&mut reader)?;
    let rebases = if rebased { rebases::read(&mut reader)? } else { Rebases::default() };
    if rebased && rebases.is_empty() {
        return Err(DecodeError::NotCanonical);
    }
    read_body(since, rebases, reader)
}

pub(crate) fn decode_snapshot(bytes: &[u8]) -> Result<StateDiff, DecodeError> {
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(DecodeError::Incomplete)?;
    let mut reader = Reader::new(content);
    if reader.byte()? != SNAPSHOT {
        return Err(DecodeError::Unsupported);
    }
    if digest64(&[content]).to_le_bytes() != *checksum {
        return Err(DecodeError::Checksum);
    }
    let rebases = rebases::read(&mut reader)?;
    read_body(VersionVector::new(), rebases, reader)
}

fn write_body(diff: &StateDiff, writer: &mut Writer, pack: fn(&[u8], &mut Writer)) {
    diff.vector.write(writer);
    diff.live.write(writer);
    diff.pending.write(writer);
    diff.meta.write(writer);
    let sites = Sites::of(diff);
    writer.varint(sites.extra.len() as u64);
    for site in &sites.extra {
        writer.varint(site.get());
    }
    let columns = Columns::of(diff, &sites);
    let mut structure = Writer::default();
    structure.varint(diff.runs.len() as u64);
    for column in columns.columns {
        structure.blob(column.as_bytes());
    }
    pack(structure.as_bytes(), writer);
    pack(diff.text.as_bytes(), writer);
}

fn read_body(since: VersionVector, rebases: Rebases, mut reader: Reader<'_>) -> Result<StateDiff, DecodeError> {
    let vector = VersionVector::read(&mut reader)?;
    let live = DotSet::read(&mut reader)?;
    let pending = DotSet::read(&mut reader)?;
    let meta = Meta::read(&mut reader)?;
    let sites = Sites::read(&vector, &mut reader)?;
    let structure = unpack(&mut reader)?;
    let text = String::from_utf8(unpack(&mut reader)?).map_err(|_| DecodeError::Text)?;
    reader.end()?;
    let (groups, runs) = Columns::read(&structure, &sites, &text)?;
    let diff = StateDiff { since, vector, groups, runs, text, live, pending, meta, rebases };
    diff.validate()?;
    Ok(diff)
}

/// The numbers of sites: those of the vector, then those only paths name.
struct Sites {
    all: Vec<SiteId>,
    extra: Vec<SiteId>,
    numbers: BTreeMap<SiteId, u64>,
}

impl Sites {
    fn of(diff: &StateDiff) -> Self {
        let mut extra: Vec<_> =
            diff.groups.iter().map(|group| group.site).filter(|&site| diff.vector.get(site) == 0).collect();
        extra.sort_unstable();
        extra.dedup();
        Self::new(&diff.vector, extra)
    }

    fn new(vector: &VersionVector, extra: Vec<SiteId>) -> Self {
        let all: Vec<_> = vector.iter().map(|entry| entry.0).chain(extra.iter().copied()).collect();
        let numbers = all.iter().enumerate().map(|(number, site)| (*site, number as u64)).collect();
        Self { all, extra, numbers }
    }

    fn read(vector: &VersionVector, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.count(1)?;
        let mut extra: Vec<SiteId> = Vec::with_capacity(count);
        for _ in 0..count {
            let site = reader.site()?;
            if vector.get(site) != 0 || extra.last().is_some_and(|&last| last >= site) {
                return Err(DecodeError::Order);
            }
            extra.push(site);
        }
        Ok(Self::new(vector, extra))
    }
}

const GROUP: usize = 0;
const K: usize = 1;
const LENGTH: usize = 2;
const PARENT: usize = 3;
const PARENT_K: usize = 4;
const DIGIT: usize = 5;
const SITE: usize = 6;

/// What both directions remember of the runs so far.
#[derive(Default)]
struct Context {
    group: u32,
    last_k: i64,
    /// Per group the highest k implied so far; `None` before the first.
    group_k: Vec<Option<i64>>,
}

impl Context {
    /// A child with this digit stands on `k` of `parent`: what comes of the parent later lies behind.
    fn child(&mut self, parent: u32, k: i64, digit: Digit) {
        self.group_k[parent as usize] = Some(if digit.get() > 0 { k } else { k - 1 });
    }
}

#[derive(Default)]
struct Columns {
    columns: [Writer; COLUMNS],
}

impl Columns {
    fn of(diff: &StateDiff, sites: &Sites) -> Self {
        let mut columns = Self::default();
        let mut context = Context::default();
        for run in &diff.runs {
            columns.run(diff, sites, *run, &mut context);
        }
        columns
    }

    fn run(&mut self, diff: &StateDiff, sites: &Sites, run: StateRun, context: &mut Context) {
        let seen = context.group_k.len() as u32;
        if run.group >= seen {
            self.columns[GROUP].varint(u64::from(run.group - seen) * 2);
            self.new_groups(diff, sites, run, context);
        } else {
            let distance = i64::from(run.group) - i64::from(context.group);
            self.columns[GROUP].varint(zigzag(distance) * 2 + 1);
        }
        match context.group_k[run.group as usize] {
            Some(last) => self.columns[K].varint((run.first_k - last - 1) as u64),
            None => self.columns[K].signed(run.first_k - context.last_k),
        }
        self.columns[LENGTH].varint(u64::from(run.scalars) - 1);
        context.group = run.group;
        context.last_k = run.last_k();
        context.group_k[run.group as usize] = Some(run.last_k());
    }

    fn new_groups(&mut self, diff: &StateDiff, sites: &Sites, run: StateRun, context: &mut Context) {
        let seen = context.group_k.len() as u32;
        for number in seen..=run.group {
            let StateGroup { parent, digit, site } = diff.groups[number as usize];
            if number == seen {
                let code = parent.map_or(0, |(parent, _)| zigzag(i64::from(context.group) - i64::from(parent)) + 1);
                self.columns[PARENT].varint(code);
            }
            if let Some((parent, k)) = parent {
                match context.group_k[parent as usize] {
                    Some(last) => self.columns[PARENT_K].signed(k - last),
                    None => self.columns[PARENT_K].signed(k - run.first_k),
                }
                context.child(parent, k, digit);
            }
            let next = diff.groups.get(number as usize + 1).filter(|_| number < run.group);
            let k = next.and_then(|next| next.parent).map_or(run.first_k, |(_, k)| k);
            let level = levels(&diff.groups, number) - 1;
            self.columns[DIGIT].varint(digit_code(digit, Dot::new(site, k.unsigned_abs()), level));
            self.columns[SITE].varint(sites.numbers.get(&site).copied().unwrap_or(0));
            context.group_k.push(None);
        }
    }

    fn read(bytes: &[u8], sites: &Sites, text: &str) -> Result<(Vec<StateGroup>, Vec<StateRun>), DecodeError> {
        let mut reader = Reader::new(bytes);
        let count = reader.count(3)?;
        let mut columns = ColumnReaders { columns: [const { Reader::new(&[]) }; COLUMNS], levels: Vec::new() };
        for column in &mut columns.columns {
            *column = Reader::new(reader.blob()?);
        }
        reader.end()?;
        let mut groups = Vec::new();
        let mut runs = Vec::with_capacity(count);
        let mut context = Context::default();
        let mut rest = text;
        let ascii = text.is_ascii();
        for _ in 0..count {
            let mut run = columns.run(sites, &mut groups, &mut context)?;
            let bytes = if ascii { run.scalars as usize } else { byte_length(rest, run.scalars)? };
            if bytes > rest.len() {
                return Err(DecodeError::Text);
            }
            run.bytes = bytes as u32;
            rest = &rest[bytes..];
            runs.push(run);
        }
        if !rest.is_empty() {
            return Err(DecodeError::Text);
        }
        for column in &columns.columns {
            column.end()?;
        }
        Ok((groups, runs))
    }
}

struct ColumnReaders<'a> {
    columns: [Reader<'a>; COLUMNS],
    /// Levels and bytes of each group's paths.
    levels: Vec<(usize, usize)>,
}

impl ColumnReaders<'_> {
    fn run(
        &mut self,
        sites: &Sites,
        groups: &mut Vec<StateGroup>,
        context: &mut Context,
    ) -> Result<StateRun, DecodeError> {
        let code = self.columns[GROUP].varint()?;
        let (group, first_k);
        if code % 2 == 0 {
            let new = code / 2 + 1;
            if new > PATH_LEVELS_MAX as u64 {
                return Err(DecodeError::PathTooLong);
            }
            group = groups.len() as u32 + new as u32 - 1;
            first_k = valid_k(context.last_k.checked_add(self.columns[K].signed()?))?;
            self.new_groups(sites, groups, new as usize, first_k, context)?;
        } else {
            let number = i64::from(context.group).checked_add(unzigzag(code / 2)).ok_or(DecodeError::Order)?;
            group = u32::try_from(number).map_err(|_| DecodeError::Order)?;
            let Some(last) = context.group_k.get(group as usize) else {
                return Err(DecodeError::Order);
            };
            let last = last.ok_or(DecodeError::Order)?;
            let difference = i64::try_from(self.columns[K].varint()?).map_err(|_| DecodeError::Counter)?;
            first_k = valid_k(last.checked_add(1).and_then(|next| next.checked_add(difference)))?;
        }
        let length = self.columns[LENGTH].varint()?;
        let scalars = u32::try_from(length).ok().and_then(|length| length.checked_add(1)).ok_or(DecodeError::Text)?;
        let run = StateRun { group, first_k, scalars, bytes: 0 };
        let last_k = valid_k(Some(run.last_k()))?;
        if (first_k > 0) != (last_k > 0) {
            return Err(DecodeError::Counter);
        }
        let (level, bytes) = self.levels[group as usize];
        let k = if first_k > 0 { last_k } else { first_k };
        if level > PATH_LEVELS_MAX || bytes + k_bytes(k) > PATH_BYTES_MAX {
            return Err(DecodeError::PathTooLong);
        }
        context.group = group;
        context.last_k = last_k;
        context.group_k[group as usize] = Some(last_k);
        Ok(run)
    }

    fn new_groups(
        &mut self,
        sites: &Sites,
        groups: &mut Vec<StateGroup>,
        count: usize,
        first_k: i64,
        context: &mut Context,
    ) -> Result<(), DecodeError> {
        let mut parent = match self.columns[PARENT].varint()? {
            0 => None,
            code => {
                let number = i64::from(context.group).checked_sub(unzigzag(code - 1)).ok_or(DecodeError::Order)?;
                let number = u32::try_from(number).ok().filter(|&number| (number as usize) < groups.len());
                Some(number.ok_or(DecodeError::Order)?)
            }
        };
        let mut parents = Vec::with_capacity(count);
        for index in 0..count {
            parents.push(match parent {
                None => None,
                Some(number) => {
                    let base = context.group_k.get(number as usize).copied().flatten().unwrap_or(first_k);
                    Some((number, valid_k(base.checked_add(self.columns[PARENT_K].signed()?))?))
                }
            });
            parent = Some((groups.len() + index) as u32);
        }
        for (index, &above) in parents.iter().enumerate() {
            let site = self.columns[SITE].varint()?;
            let site =
                usize::try_from(site).ok().and_then(|site| sites.all.get(site)).copied().ok_or(DecodeError::Site)?;
            let k = parents.get(index + 1).copied().flatten().map_or(first_k, |(_, k)| k);
            let (level, bytes) = above.map_or((0, 0), |(parent, k)| {
                let (level, bytes) = self.levels[parent as usize];
                (level, bytes + k_bytes(k))
            });
            if level >= PATH_LEVELS_MAX {
                return Err(DecodeError::PathTooLong);
            }
            let digit = digit_of(self.columns[DIGIT].varint()?, Dot::new(site, k.unsigned_abs()), level)?;
            let bytes = bytes + group_bytes(digit);
            if bytes > PATH_BYTES_MAX {
                return Err(DecodeError::PathTooLong);
            }
            if let Some((parent, k)) = above {
                context.child(parent, k, digit);
            }
            groups.push(StateGroup { parent: above, digit, site });
            self.levels.push((level + 1, bytes));
            context.group_k.push(None);
        }
        Ok(())
    }
}

fn levels(groups: &[StateGroup], number: u32) -> usize {
    let mut levels = 1;
    let mut group = groups[number as usize];
    while let Some((parent, _)) = group.parent {
        levels += 1;
        group = groups[parent as usize];
    }
    levels
}

fn valid_k(k: Option<i64>) -> Result<i64, DecodeError> {
    k.filter(|&k| k != 0 && k.unsigned_abs() < COUNTER_END).ok_or(DecodeError::Counter)
}

/// Bytes of the first `scalars` characters of `text`.
fn byte_length(text: &str, scalars: u32) -> Result<usize, DecodeError> {
    // Most runs are ASCII: then as many bytes as characters.
    if let Some(head) = text.as_bytes().get(..scalars as usize)
        && head.is_ascii()
    {
        return Ok(head.len());
    }
    let mut characters = text.char_indices();
    let last = characters.nth(scalars as usize - 1).ok_or(DecodeError::Text)?;
    Ok(last.0 + last.1.len_utf8())
}
