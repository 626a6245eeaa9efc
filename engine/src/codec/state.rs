//! Bytes of state diffs and snapshots.
//!
//! ```text
//! diff      0x12  parts  since  body
//! snapshot  0x13  parts  body  checksum: the lower 4 bytes of XXH64 of all before
//! parts     one byte: which of the parts in brackets there are, the first one in the lowest bit; a part that is there is not empty
//! body      vector  [rebases]  [live]  [pending]  [meta]  [sites]  [runs  text]
//! sites     count { site }*   those of paths that the vector does not have, ascending
//! ```
//!
//! The parts are told by `rebases`, [`DotSet`], [`Meta`], `sites`, `runs` and `text`. The checksum finds damage to what is kept: it is no seal,
//! and a diff, which comes through a channel that has its own, goes without.

use xxhash_rust::xxh64::xxh64;

use super::runs::Waiting;
use super::sites::Sites;
use super::text::Packing;
use super::{Reader, Writer, rebases, runs, text};
use crate::dots::DotSet;
use crate::error::DecodeError;
use crate::meta::Meta;
use crate::rebase::Rebases;
use crate::state::{StateDiff, StateRun};
use crate::vector::VersionVector;

/// Format version 1 in the high nibble, kind in the low one.
const DIFF: u8 = 0x12;
const SNAPSHOT: u8 = 0x13;

const REBASES: u8 = 1;
const LIVE: u8 = 1 << 1;
const PENDING: u8 = 1 << 2;
const META: u8 = 1 << 3;
const SITES: u8 = 1 << 4;
const TEXT: u8 = 1 << 5;
const PARTS: u8 = 2 * TEXT - 1;

const CHECKSUM_BYTES: usize = 4;

pub(crate) fn encode_diff(diff: &StateDiff) -> Vec<u8> {
    let sites = Sites::of(diff);
    let mut writer = Writer::default();
    writer.byte(DIFF);
    writer.byte(parts_of(diff, &sites));
    diff.since.write(&mut writer);
    write_body(diff, &sites, Packing::Shortest, &mut writer);
    writer.finish()
}

pub(crate) fn encode_snapshot(diff: &StateDiff) -> Vec<u8> {
    encode_snapshot_by(diff, Packing::Shortest)
}

/// A snapshot whose runs and text are left as they are.
pub(crate) fn encode_snapshot_plain(diff: &StateDiff) -> Vec<u8> {
    encode_snapshot_by(diff, Packing::None)
}

fn encode_snapshot_by(diff: &StateDiff, packing: Packing) -> Vec<u8> {
    let sites = Sites::of(diff);
    let mut writer = Writer::default();
    writer.byte(SNAPSHOT);
    writer.byte(parts_of(diff, &sites));
    write_body(diff, &sites, packing, &mut writer);
    let checksum = checksum(writer.as_bytes());
    writer.raw(&checksum);
    writer.finish()
}

pub(crate) fn decode_diff(bytes: &[u8]) -> Result<StateDiff, DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != DIFF {
        return Err(DecodeError::Unsupported);
    }
    let parts = read_parts(&mut reader)?;
    let since = VersionVector::read(&mut reader)?;
    read_body(since, parts, reader)?.finish()
}

pub(crate) fn open_snapshot(bytes: &[u8]) -> Result<Opened<'_>, DecodeError> {
    let (content, expected) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(DecodeError::Incomplete)?;
    let mut reader = Reader::new(content);
    if reader.byte()? != SNAPSHOT {
        return Err(DecodeError::Unsupported);
    }
    if checksum(content) != *expected {
        return Err(DecodeError::Checksum);
    }
    let parts = read_parts(&mut reader)?;
    read_body(VersionVector::new(), parts, reader)
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    (xxh64(content, 0) as u32).to_le_bytes()
}

fn parts_of(diff: &StateDiff, sites: &Sites) -> u8 {
    let part = |there: bool, part: u8| if there { part } else { 0 };
    part(!diff.rebases.is_empty(), REBASES)
        | part(!diff.live.is_empty(), LIVE)
        | part(!diff.pending.is_empty(), PENDING)
        | part(diff.meta.len() > 0, META)
        | part(sites.has_extra(), SITES)
        | part(!diff.runs.is_empty(), TEXT)
}

fn read_parts(reader: &mut Reader<'_>) -> Result<u8, DecodeError> {
    let parts = reader.byte()?;
    if parts & !PARTS == 0 { Ok(parts) } else { Err(DecodeError::Unsupported) }
}

fn write_body(diff: &StateDiff, sites: &Sites, packing: Packing, writer: &mut Writer) {
    diff.vector.write(writer);
    if !diff.rebases.is_empty() {
        rebases::write(&diff.rebases, writer);
    }
    if !diff.live.is_empty() {
        diff.live.write(writer);
    }
    if !diff.pending.is_empty() {
        diff.pending.write(writer);
    }
    if diff.meta.len() > 0 {
        diff.meta.write(writer);
    }
    if sites.has_extra() {
        sites.write_extra(writer);
    }
    if !diff.runs.is_empty() {
        runs::write(&diff.groups, &diff.runs, sites, packing, writer);
        text::write(diff.text.as_bytes(), packing, writer);
    }
}

/// A state of which all has been read but its runs.
#[derive(Clone, Debug)]
pub(crate) struct Opened<'a> {
    /// Without groups and runs.
    pub(crate) state: StateDiff,
    sites: Sites,
    runs: Waiting<'a>,
}

impl Opened<'_> {
    /// Apart from the bytes it was read from.
    pub(crate) fn into_owned(self) -> Opened<'static> {
        Opened { state: self.state, sites: self.sites, runs: self.runs.into_owned() }
    }

    /// Takes the state, its runs read. After an error it is there as it was.
    #[inline(never)]
    pub(crate) fn finish(&mut self) -> Result<StateDiff, DecodeError> {
        let state = &mut self.state;
        if let Err(error) = read_runs(state, &self.runs, &self.sites) {
            (state.groups, state.runs) = Default::default();
            return Err(error);
        }
        Ok(core::mem::take(state))
    }
}

fn read_runs(state: &mut StateDiff, runs: &Waiting<'_>, sites: &Sites) -> Result<(), DecodeError> {
    if !runs.is_empty() {
        (state.groups, state.runs) = runs.read(sites)?;
        measure_runs(&mut state.runs, &state.text)?;
    }
    state.validate_runs()
}

fn read_body(since: VersionVector, parts: u8, mut reader: Reader<'_>) -> Result<Opened<'_>, DecodeError> {
    let reader = &mut reader;
    let vector = VersionVector::read(reader)?;
    let rebases = part(parts & REBASES, Rebases::is_empty, || rebases::read(reader))?;
    let live = part(parts & LIVE, DotSet::is_empty, || DotSet::read(reader))?;
    let pending = part(parts & PENDING, DotSet::is_empty, || DotSet::read(reader))?;
    let meta = part(parts & META, |meta: &Meta| meta.len() == 0, || Meta::read(reader))?;
    let sites = Sites::read(&vector, parts & SITES != 0, reader)?;
    let mut state = StateDiff { since, vector, live, pending, meta, rebases, ..StateDiff::default() };
    state.validate_sets()?;
    let mut runs = Waiting::default();
    if parts & TEXT != 0 {
        runs = Waiting::pass(reader)?;
        state.text = text::read(Reader::new(reader.rest()))?;
    } else {
        reader.end()?;
    }
    Ok(Opened { state, sites, runs })
}

/// A part that is there if its bit is set, and then is not empty.
fn part<T: Default>(
    bit: u8,
    is_empty: impl FnOnce(&T) -> bool,
    read: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    if bit == 0 {
        return Ok(T::default());
    }
    let part = read()?;
    if is_empty(&part) { Err(DecodeError::NotCanonical) } else { Ok(part) }
}

/// Divides a text among the runs it is of.
fn measure_runs(runs: &mut [StateRun], text: &str) -> Result<(), DecodeError> {
    let mut rest = text;
    let ascii = text.is_ascii();
    for run in &mut *runs {
        let bytes = if ascii { run.scalars as usize } else { byte_length(rest, run.scalars)? };
        rest = rest.get(bytes..).ok_or(DecodeError::Text)?;
        run.bytes = bytes as u32;
    }
    if rest.is_empty() && !runs.is_empty() { Ok(()) } else { Err(DecodeError::Text) }
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
