//! Numbers of the runs of a state, and of the groups they stand on.
//!
//! ```text
//! runs     runs  groups  numbers { turn  [more]  [next]  [parent k]  { site  k  digit or behind }*  length }*      per run, in text order
//!   turn      3 up + new; up: groups from the one of the run before to the last one that both paths have; the root is above all
//!   new       0: the run stands on that group; 1: below it on a new group; 2: below it are more + 2, each the parent of the next, the run on the last
//!   next      without new groups: k between the last one of the group and the run's first
//!   parent k  of the first new group, unless it is at the root: k from the one the path before has there
//!   site      2 n, or 2 n + 1 if k is negative; n is its number in vector + sites
//!   k         without its sign, of the group's first character or of what the next group stands on: zigzag of the difference to
//!             the one before of that site
//!   digit     as in a delta, hashed by the dot of that k
//!   behind    instead, if a group came below the same k: 0 and 1 as for a digit, else what is to be added to that one's digit, and 2
//!   length    characters - 1
//! ```
//!
//! Paths in text order are the branches of a tree, walked depth first: each stands on a group of the path before, at a higher k, or below one,
//! in groups that sort behind those that came there before. So what is told stands in order and nothing twice, and the path before is all that a
//! reader must know to tell.

use std::borrow::Cow;

use super::delta::{digit_code, digit_of};
use super::numbers::{NumberReader, Numbers};
use super::sites::Sites;
use super::text::Packing;
use super::{Reader, Writer};
use crate::error::DecodeError;
use crate::id::{COUNTER_END, Dot, SiteId};
use crate::limits::{PATH_BYTES_MAX, PATH_LEVELS_MAX};
use crate::position::{Digit, group_bytes, k_bytes, unzigzag, zigzag};
use crate::state::{StateGroup, StateRun};

const TURN: usize = 0;
const NEXT: usize = 1;
const LENGTH: usize = 2;
const MORE: usize = 3;
/// Those from here on are of groups.
const RUN_COLUMNS: usize = 3;
const PARENT_K: usize = 4;
const SITE: usize = 5;
const K: usize = 6;
const DIGIT: usize = 7;
const BEHIND: usize = 8;
const COLUMNS: usize = 9;

/// New groups that a turn tells at most; it is this number, or more, that come by [`MORE`].
const TURN_NEW: u64 = 2;

/// Codes of digits below this are hashes.
const EXPLICIT: u64 = 2;

/// Runs and groups for each byte at most: a decoder's memory stays within a constant of its input.
const RATIO_MAX: usize = 16;
/// Numbers of a run and of a group, about.
const NUMBERS: usize = 4;

/// Writes runs and the groups they stand on, shorter or as they are.
#[inline(never)]
pub(super) fn write(groups: &[StateGroup], runs: &[StateRun], sites: &Sites, packing: Packing, writer: &mut Writer) {
    let count = groups.len() + runs.len();
    let numbers = Numbers::with_capacity(NUMBERS * count);
    let mut teller = Teller { sites, walk: Walk::new(sites), numbers, groups: 0 };
    for run in runs {
        teller.run(groups, *run);
    }
    let mut numbers = match packing {
        Packing::Shortest => teller.numbers.pack(),
        Packing::None => teller.numbers.leave(),
    };
    if count > numbers.len() * RATIO_MAX {
        numbers = teller.numbers.leave();
    }
    writer.varint(runs.len() as u64);
    writer.varint(groups.len() as u64);
    writer.blob(&numbers);
}

/// Groups and runs that wait to be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting<'a> {
    /// How many there are of each.
    runs: u64,
    groups: u64,
    numbers: Cow<'a, [u8]>,
}

impl<'a> Waiting<'a> {
    /// Passes over them.
    pub(super) fn pass(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (runs, groups) = (reader.varint()?, reader.varint()?);
        let numbers = reader.blob()?;
        let most = (numbers.len() * RATIO_MAX) as u64;
        if runs > most || groups > most {
            return Err(DecodeError::TooLarge);
        }
        if runs == 0 {
            return Err(DecodeError::NotCanonical);
        }
        Ok(Self { runs, groups, numbers: Cow::Borrowed(numbers) })
    }

    /// Apart from the bytes they stand in.
    pub(super) fn into_owned(self) -> Waiting<'static> {
        Waiting { runs: self.runs, groups: self.groups, numbers: Cow::Owned(self.numbers.into_owned()) }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.runs == 0
    }

    /// Reads them. Their bytes are measured when their text is known.
    #[inline(never)]
    pub(super) fn read(&self, sites: &Sites) -> Result<(Vec<StateGroup>, Vec<StateRun>), DecodeError> {
        let mut listener = Listener {
            sites,
            walk: Walk::new(sites),
            numbers: NumberReader::new(Reader::new(&self.numbers))?,
            groups: Vec::with_capacity(self.groups as usize),
        };
        let told = listener.runs(self.runs as usize, self.groups as usize)?;
        let Listener { numbers, groups: listed, .. } = listener;
        numbers.end()?;
        if listed.len() as u64 == self.groups { Ok((listed, told)) } else { Err(DecodeError::NotCanonical) }
    }
}

/// A group of the path told last.
#[derive(Clone, Copy, Debug)]
struct Level {
    group: u32,
    digit: Digit,
    /// Number of its site.
    site: u32,
    /// Where the path goes on or ends.
    k: i64,
    /// Whether what stands at k itself lies behind.
    passed: bool,
    /// Bytes of the path without its last k, at most [`PATH_BYTES_MAX`].
    bytes: u16,
}

// One is written for each group that is told.
const _: () = assert!(size_of::<Level>() <= 32);

impl Level {
    /// The lowest k that a run of the group may go on with.
    const fn next_k(&self) -> i64 {
        self.k + self.passed as i64
    }
}

/// What both directions know of what was told so far.
struct Walk {
    path: Vec<Level>,
    /// Per site the k told last, without its sign.
    counters: Vec<u64>,
}

impl Walk {
    fn new(sites: &Sites) -> Self {
        Self { path: Vec::with_capacity(PATH_LEVELS_MAX), counters: vec![0; sites.len()] }
    }

    /// The path goes on at `k` of its last group.
    fn go_on(&mut self, k: i64) {
        if let Some(level) = self.path.last_mut() {
            level.passed &= level.k == k;
            level.k = k;
        }
    }

    /// The path goes on in a group below the last one.
    #[inline(always)]
    fn push(&mut self, level: Level) {
        if let Some(above) = self.path.last_mut() {
            above.passed |= level.digit.get() > 0;
        }
        self.path.push(level);
    }

    /// A run ends at `k` of the path's last group.
    #[inline(always)]
    fn end_run(&mut self, k: i64) {
        if let Some(level) = self.path.last_mut() {
            self.counters[level.site as usize] = k.unsigned_abs();
            (level.k, level.passed) = (k, true);
        }
    }
}

/// Tells runs.
struct Teller<'a> {
    sites: &'a Sites,
    walk: Walk,
    numbers: Numbers<COLUMNS, RUN_COLUMNS>,
    groups: u32,
}

impl Teller<'_> {
    #[inline(never)]
    fn run(&mut self, groups: &[StateGroup], run: StateRun) {
        let (known, path) = (self.groups, &mut self.walk.path);
        let is_new = run.group >= known;
        let above = if is_new { groups[known as usize].parent.map(|parent| parent.0) } else { Some(run.group) };
        let levels =
            above.map_or(0, |above| path.iter().rposition(|level| level.group == above).map_or(0, |at| at + 1));
        let new = u64::from((run.group + 1).saturating_sub(known));
        self.numbers.tell(TURN, (path.len() - levels) as u64 * (TURN_NEW + 1) + new.min(TURN_NEW));
        let sibling = path.get(levels).map(|level| level.digit);
        path.truncate(levels);
        if is_new {
            if new >= TURN_NEW {
                self.numbers.tell(MORE, new - TURN_NEW);
            }
            let mut sibling = self.parent_k(groups[known as usize], sibling);
            for number in known..=run.group {
                let child = if number < run.group { groups[number as usize + 1].parent } else { None };
                self.group(number, groups[number as usize], child.map_or(run.first_k, |(_, k)| k), sibling.take());
            }
        } else if let Some(level) = self.walk.path.last() {
            self.numbers.tell(NEXT, (run.first_k - level.next_k()) as u64);
        }
        self.numbers.tell(LENGTH, u64::from(run.scalars) - 1);
        self.walk.end_run(run.last_k());
    }

    /// The path goes on where a new group stands. Answers the digit of what came below the same k.
    fn parent_k(&mut self, group: StateGroup, sibling: Option<Digit>) -> Option<Digit> {
        let (Some(level), Some((_, k))) = (self.walk.path.last(), group.parent) else { return sibling };
        let more = (k - level.k) as u64;
        self.numbers.tell(PARENT_K, more);
        self.walk.go_on(k);
        sibling.filter(|_| more == 0)
    }

    fn group(&mut self, number: u32, group: StateGroup, k: i64, sibling: Option<Digit>) {
        let StateGroup { digit, site, .. } = group;
        let at = self.sites.number(site);
        let counter = k.unsigned_abs();
        self.numbers.tell(SITE, at as u64 * 2 + u64::from(k < 0));
        self.numbers.tell(K, zigzag(counter as i64 - self.walk.counters[at] as i64));
        let code = digit_code(digit, Dot::new(site, counter), self.walk.path.len());
        match sibling {
            Some(sibling) if code >= EXPLICIT => {
                self.numbers.tell(BEHIND, (digit.get() - sibling.get()) as u64 + EXPLICIT);
            }
            Some(_) => self.numbers.tell(BEHIND, code),
            None => self.numbers.tell(DIGIT, code),
        }
        self.walk.counters[at] = counter;
        self.walk.push(Level { group: number, digit, site: at as u32, k, passed: false, bytes: 0 });
        self.groups = number + 1;
    }
}

/// Listens to what a [`Teller`] told.
struct Listener<'a> {
    sites: &'a Sites,
    walk: Walk,
    numbers: NumberReader<'a, COLUMNS, RUN_COLUMNS>,
    groups: Vec<StateGroup>,
}

impl Listener<'_> {
    #[inline(never)]
    fn runs(&mut self, count: usize, groups_max: usize) -> Result<Vec<StateRun>, DecodeError> {
        let mut runs = Vec::with_capacity(count);
        for _ in 0..count {
            runs.push(self.run(groups_max)?);
        }
        Ok(runs)
    }

    #[inline(never)]
    fn run(&mut self, groups_max: usize) -> Result<StateRun, DecodeError> {
        let path = &mut self.walk.path;
        let turn = self.numbers.next(TURN)?;
        let (up, mut new) = (turn / (TURN_NEW + 1), turn % (TURN_NEW + 1));
        let levels = (path.len() as u64).checked_sub(up).ok_or(DecodeError::Order)? as usize;
        if new == 0 {
            path.truncate(levels);
            let level = path.last_mut().ok_or(DecodeError::Order)?;
            let next = self.numbers.next(NEXT)?;
            if up == 0 && next == 0 {
                // It would be one run with the one before.
                return Err(DecodeError::NotCanonical);
            }
            level.k = valid_k(add(level.next_k(), next))?;
        } else {
            if new == TURN_NEW {
                new = new.saturating_add(self.numbers.next(MORE)?);
            }
            if new > (groups_max - self.groups.len()) as u64 {
                return Err(DecodeError::NotCanonical);
            }
            self.new_groups(levels, new)?;
        }
        let Some(&Level { group, k: first_k, bytes, .. }) = self.walk.path.last() else {
            return Err(DecodeError::Order);
        };
        let length = self.numbers.next(LENGTH)?;
        let scalars = u32::try_from(length).ok().and_then(|length| length.checked_add(1)).ok_or(DecodeError::Text)?;
        let run = StateRun { group, first_k, scalars, bytes: 0 };
        let last_k = valid_k(Some(run.last_k()))?;
        if (first_k > 0) != (last_k > 0) {
            return Err(DecodeError::Counter);
        }
        if usize::from(bytes) + k_bytes(if first_k > 0 { last_k } else { first_k }) > PATH_BYTES_MAX {
            return Err(DecodeError::PathTooLong);
        }
        self.walk.end_run(last_k);
        Ok(run)
    }

    /// Reads groups below the first `levels` of the path before.
    #[inline(never)]
    fn new_groups(&mut self, levels: usize, count: u64) -> Result<(), DecodeError> {
        let mut sibling = self.walk.path.get(levels).map(|level| self.key(level));
        self.walk.path.truncate(levels);
        if let Some(level) = self.walk.path.last() {
            let more = self.numbers.next(PARENT_K)?;
            let k = valid_k(add(level.k, more))?;
            sibling = sibling.filter(|_| more == 0);
            self.walk.go_on(k);
        }
        let passed = self.walk.path.last().is_some_and(|level| level.passed);
        self.group(sibling.map(|sibling| sibling.0))?;
        let first = &self.walk.path[levels];
        let behind = sibling.is_none_or(|sibling| sibling < self.key(first));
        if !behind || (passed && first.digit.get() < 0) {
            return Err(DecodeError::Order);
        }
        (1..count).try_for_each(|_| self.group(None))
    }

    /// What groups below one character are ordered by.
    fn key(&self, level: &Level) -> (Digit, Option<SiteId>) {
        (level.digit, self.sites.get(u64::from(level.site)))
    }

    fn group(&mut self, sibling: Option<Digit>) -> Result<(), DecodeError> {
        let code = self.numbers.next(SITE)?;
        let site = self.sites.get(code / 2).ok_or(DecodeError::Site)?;
        let at = (code / 2) as usize;
        let counter = (self.walk.counters[at] as i64).checked_add(unzigzag(self.numbers.next(K)?));
        let counter = valid_k(counter.filter(|&counter| counter > 0))?;
        let k = if code % 2 == 1 { -counter } else { counter };
        let above = self.walk.path.last();
        let level = self.walk.path.len();
        if level >= PATH_LEVELS_MAX {
            return Err(DecodeError::PathTooLong);
        }
        let code = match sibling {
            None => self.numbers.next(DIGIT)?,
            Some(sibling) => behind(sibling, self.numbers.next(BEHIND)?)?,
        };
        let digit = digit_of(code, Dot::new(site, counter as u64), level)?;
        let bytes = above.map_or(0, |above| usize::from(above.bytes) + k_bytes(above.k)) + group_bytes(digit);
        if bytes > PATH_BYTES_MAX {
            return Err(DecodeError::PathTooLong);
        }
        let group = self.groups.len() as u32;
        self.groups.push(StateGroup { parent: above.map(|above| (above.group, above.k)), digit, site });
        self.walk.counters[at] = counter as u64;
        self.walk.push(Level { group, digit, site: at as u32, k, passed: false, bytes: bytes as u16 });
        Ok(())
    }
}

/// The code of a digit that is told by how far it is behind another.
fn behind(sibling: Digit, code: u64) -> Result<u64, DecodeError> {
    let Some(more) = code.checked_sub(EXPLICIT) else { return Ok(code) };
    let digit = sibling.get().checked_add_unsigned(more).filter(|&digit| digit != 0).ok_or(DecodeError::Digit)?;
    zigzag(digit).checked_add(1).ok_or(DecodeError::Digit)
}

fn add(k: i64, more: u64) -> Option<i64> {
    k.checked_add_unsigned(more)
}

fn valid_k(k: Option<i64>) -> Result<i64, DecodeError> {
    k.filter(|&k| k != 0 && k.unsigned_abs() < COUNTER_END).ok_or(DecodeError::Counter)
}
