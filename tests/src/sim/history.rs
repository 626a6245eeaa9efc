//! Everything that was ever written in a run, read off the sealed deltas, in the plainest possible form.
//!
//! This is the simulator's own reading of the text type: identifiers are lists compared element by element, the text is
//! a sort, a delete is a set. It shares no code with the engine beyond the decoder of durable bytes, so that what the
//! engine makes of the same deltas can be checked against it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use selvedge_engine::{Delta, Direction, Dot, Op, Path, SiteId, VersionVector};

/// One element of an identifier: digit, site, k.
type Element = (i64, SiteId, i64);

/// What a dot stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    /// A character and where it stands.
    Character { identifier: Vec<Element>, character: char },
    /// Deleted dots, as ranges.
    Delete(Vec<(SiteId, u64, u64)>),
    /// A write of `meta`.
    Meta { key: String, value: Option<Vec<u8>>, lamport: u64 },
    /// Where dots were moved, and its Lamport time.
    Rebase { lamport: u64, moves: Vec<(Dot, Vec<Element>)> },
    /// A counter used up for nothing.
    Void,
}

/// All contents ever seen, by dot.
#[derive(Debug, Default)]
pub(super) struct History {
    contents: BTreeMap<SiteId, BTreeMap<u64, Content>>,
    seen: BTreeSet<(SiteId, u64, u64, u64)>,
    /// What deltas made from an uploaded state say of dots that once said something else.
    retold: Vec<(SiteId, u64, Content)>,
    /// What was closed because nobody was left to fill it: dots from one counter to another.
    closed: Vec<(SiteId, u64, u64)>,
    /// A region's data was put back from a backup: writers upload states, and deltas are made from them.
    pub(super) retelling: bool,
}

/// A dot was seen with two contents.
#[derive(Debug)]
pub(super) struct TwoContents {
    /// The dot.
    pub(super) dot: Dot,
    /// Both contents, as text.
    pub(super) contents: [String; 2],
}

impl History {
    /// Adds a sealed delta.
    ///
    /// # Errors
    /// When one of its dots is known with another content.
    pub(super) fn add(&mut self, delta: &Delta, hash: u64) -> Result<(), TwoContents> {
        if !self.seen.insert((delta.site, delta.first, delta.last(), hash)) {
            return Ok(());
        }
        let mut counter = delta.first;
        for op in &delta.ops {
            for (number, content) in contents(delta.site, counter, op) {
                self.add_one(delta.site, number, content)?;
            }
            counter += length(op);
        }
        Ok(())
    }

    fn add_one(&mut self, site: SiteId, counter: u64, content: Content) -> Result<(), TwoContents> {
        let moved = self.is_moved(Dot { site, counter }, &content);
        let known = self.contents.entry(site).or_default();
        match known.get(&counter) {
            None => {
                known.insert(counter, content);
            }
            // A void may stand for anything whose effect is over; that the effect is over is checked on the text.
            Some(_) if content == Content::Void => {}
            Some(Content::Void) => {
                known.insert(counter, content);
            }
            Some(other) if *other == content => {}
            Some(_) if self.retelling && !matches!(content, Content::Character { .. }) => {
                self.retold.push((site, counter, content));
            }
            Some(Content::Delete(_) | Content::Meta { .. }) if self.retelling => {
                self.retold.push((site, counter, content));
            }
            // It is inserted where a rebase moved it, by deltas that tell that rebase, too.
            Some(Content::Character { .. }) if self.retelling && moved => {}
            Some(other) => {
                return Err(TwoContents {
                    dot: Dot { site, counter },
                    contents: [format!("{other:?}"), format!("{content:?}")],
                });
            }
        }
        Ok(())
    }

    /// Whether a dot is known as this character at another place, and one of both is where a rebase moves it.
    fn is_moved(&self, dot: Dot, content: &Content) -> bool {
        let known = self.contents.get(&dot.site).and_then(|known| known.get(&dot.counter));
        match (known, content) {
            (
                Some(Content::Character { identifier: before, character: known }),
                Content::Character { identifier, character },
            ) => known == character && [before, identifier].into_iter().any(|place| self.moves_to(dot, place)),
            _ => false,
        }
    }

    /// Whether a place is below the base of a rebase: of one that is not known, or that moves this dot there.
    fn moves_to(&self, dot: Dot, place: &[Element]) -> bool {
        let Some(&(_, site, k)) = place.len().checked_sub(2).and_then(|above| place.get(above)) else { return false };
        match self.contents.get(&site).and_then(|known| known.get(&k.unsigned_abs())) {
            None | Some(Content::Void) => true,
            Some(Content::Rebase { moves, .. }) => moves.iter().any(|(moved, to)| *moved == dot && to == place),
            Some(_) => false,
        }
    }

    /// These dots are closed: whatever they said is undone.
    pub(super) fn close(&mut self, site: SiteId, first: u64, last: u64) {
        self.closed.push((site, first, last));
    }

    /// Whether anything was closed.
    pub(super) fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    fn is_closed(&self, site: SiteId, counter: u64) -> bool {
        self.closed.iter().any(|(closed, first, last)| *closed == site && (*first..=*last).contains(&counter))
    }

    /// How many counters of how many sites are known.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.contents.values().map(BTreeMap::len).sum(), self.contents.len())
    }

    /// The first dot that `vector` covers and nobody ever wrote.
    pub(super) fn unknown_within(&self, vector: &VersionVector) -> Option<Dot> {
        vector.iter().find_map(|(site, last)| {
            let known = self.contents.get(&site);
            let count = known.map_or(0, |known| known.range(1..=last).count()) as u64;
            (count < last).then(|| {
                let counter =
                    (1..=last).find(|counter| known.is_none_or(|known| !known.contains_key(counter))).unwrap_or(last);
                Dot { site, counter }
            })
        })
    }

    /// The text of everything that `vector` covers, by sorting.
    pub(super) fn text(&self, vector: &VersionVector) -> String {
        let mut deleted: BTreeMap<SiteId, Vec<(u64, u64)>> = BTreeMap::new();
        let mut living: Vec<(&[Element], char, Dot)> = Vec::new();
        let mut moved: BTreeMap<Dot, ((u64, Dot), &[Element])> = BTreeMap::new();
        for (site, last) in vector.iter() {
            let Some(known) = self.contents.get(&site) else { continue };
            for (counter, content) in known.range(1..=last) {
                match content {
                    Content::Character { identifier, character } => {
                        living.push((identifier, *character, Dot { site, counter: *counter }))
                    }
                    Content::Delete(ranges) => {
                        for (site, first, last) in ranges {
                            deleted.entry(*site).or_default().push((*first, *last));
                        }
                    }
                    Content::Rebase { lamport, moves } => {
                        let stamp = (*lamport, Dot { site, counter: *counter });
                        for (dot, identifier) in moves {
                            let latest = moved.entry(*dot).or_insert((stamp, identifier));
                            if latest.0 < stamp {
                                *latest = (stamp, identifier);
                            }
                        }
                    }
                    Content::Meta { .. } | Content::Void => {}
                }
            }
        }
        for (identifier, _, dot) in &mut living {
            if let Some((_, moved)) = moved.get(dot) {
                *identifier = moved;
            }
        }
        for (site, counter, content) in &self.retold {
            if let Content::Delete(ranges) = content
                && vector.get(*site) >= *counter
            {
                for (site, first, last) in ranges {
                    deleted.entry(*site).or_default().push((*first, *last));
                }
            }
        }
        let deleted: BTreeMap<SiteId, Vec<(u64, u64)>> =
            deleted.into_iter().map(|(site, ranges)| (site, united(ranges))).collect();
        living.retain(|(_, _, dot)| !self.is_closed(dot.site, dot.counter));
        living.retain(|(_, _, dot)| !deleted.get(&dot.site).is_some_and(|ranges| within(ranges, dot.counter)));
        living.sort_by(|(left, ..), (right, ..)| compare(left, right));
        living.into_iter().map(|(_, character, _)| character).collect()
    }

    /// The `meta` map of everything that `vector` covers.
    pub(super) fn meta(&self, vector: &VersionVector) -> BTreeMap<String, Vec<u8>> {
        let mut winners: BTreeMap<&str, (u64, SiteId, &Option<Vec<u8>>)> = BTreeMap::new();
        for (site, last) in vector.iter() {
            let Some(known) = self.contents.get(&site) else { continue };
            for (counter, content) in known.range(1..=last) {
                let Content::Meta { key, value, lamport } = content else { continue };
                if self.is_closed(site, *counter) {
                    continue;
                }
                let rival = winners.entry(key).or_insert((*lamport, site, value));
                if (*lamport, site) >= (rival.0, rival.1) {
                    *rival = (*lamport, site, value);
                }
            }
        }
        winners
            .into_iter()
            .filter_map(|(key, (_, _, value))| value.clone().map(|value| (key.to_owned(), value)))
            .collect()
    }
}

/// Counters an operation consumes.
fn length(op: &Op) -> u64 {
    match op {
        Op::Insert { text, .. } => text.chars().count() as u64,
        Op::Delete { .. } | Op::Meta { .. } | Op::Rebase(_) => 1,
        Op::Void { length } => *length,
    }
}

fn elements(path: &Path) -> Vec<Element> {
    path.elements().iter().map(|element| (element.digit.get(), element.site, element.k)).collect()
}

/// The contents of an operation whose first counter is `first`.
fn contents(site: SiteId, first: u64, op: &Op) -> Vec<(u64, Content)> {
    match op {
        Op::Insert { parent, digit, direction, text } => {
            let parent = elements(parent);
            let last = first + text.chars().count() as u64 - 1;
            let place = |index: usize| match direction {
                Direction::After => (first + index as u64, (first + index as u64) as i64),
                Direction::Before => (last - index as u64, -((last - index as u64) as i64)),
            };
            text.chars()
                .enumerate()
                .map(|(index, character)| {
                    let (counter, k) = place(index);
                    let mut identifier = parent.clone();
                    identifier.push((digit.get(), site, k));
                    (counter, Content::Character { identifier, character })
                })
                .collect()
        }
        Op::Delete { ranges } => {
            let ranges = ranges.iter().map(|range| (range.site, range.first, range.last)).collect();
            vec![(first, Content::Delete(ranges))]
        }
        Op::Meta { key, value, lamport } => {
            vec![(first, Content::Meta { key: key.clone(), value: value.clone(), lamport: *lamport })]
        }
        Op::Rebase(rebase) => {
            let mut base = elements(&rebase.parent);
            base.push((rebase.digit.get(), site, first as i64));
            let moves = rebase.pieces.iter().flat_map(|piece| {
                let digit = (rebase.spacing * (piece.slot + 1)) as i64;
                (piece.first_k..piece.first_k + piece.length as i64).map(move |k| (digit, piece.site, k))
            });
            let moves = moves.map(|element| {
                let identifier = base.iter().copied().chain([element]).collect();
                (Dot { site: element.1, counter: element.2.unsigned_abs() }, identifier)
            });
            vec![(first, Content::Rebase { lamport: rebase.lamport, moves: moves.collect() })]
        }
        Op::Void { length } => (first..first + length).map(|counter| (counter, Content::Void)).collect(),
    }
}

/// The order of identifiers as the design words it: by (digit, site, k); what goes on with a negative digit sorts before
/// what ends there, with a positive one after it.
fn compare(left: &[Element], right: &[Element]) -> Ordering {
    for (left, right) in left.iter().zip(right) {
        match left.cmp(right) {
            Ordering::Equal => {}
            other => return other,
        }
    }
    match (left.get(right.len()), right.get(left.len())) {
        (Some((digit, ..)), _) => digit.cmp(&0),
        (_, Some((digit, ..))) => 0.cmp(digit),
        _ => Ordering::Equal,
    }
}

fn united(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut united: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match united.last_mut() {
            Some((_, end)) if first <= *end + 1 => *end = last.max(*end),
            _ => united.push((first, last)),
        }
    }
    united
}

fn within(ranges: &[(u64, u64)], counter: u64) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= counter);
    after > 0 && ranges[after - 1].1 >= counter
}
