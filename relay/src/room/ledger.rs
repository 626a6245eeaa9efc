//! What the room knows of the log: the two vectors, what waits beyond holes, and the recent past.
//!
//! `logged` is confirmed by the region's own log or read from it: only it is advertised, answers a sync, drops a push or causes
//! an ack. `seen` is `logged` plus what the bus told; it finds gaps and nothing else. Deltas beyond a hole are held, bounded;
//! what does not fit is read again from the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use selvedge_engine::{Delta, SiteId, VersionVector};
use selvedge_protocol::Position;

use super::event::{Loaded, TailEntry};
use super::rule::{Missing, Rule};

/// A delta that sessions may need.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) delta: Arc<Delta>,
    pub(crate) last: u64,
    /// Where the log holds it; `None`: only the bus told of it.
    pub(crate) position: Option<Position>,
    /// Length of its durable form.
    pub(crate) bytes: usize,
}

impl Entry {
    pub(crate) fn new(delta: Arc<Delta>, position: Option<Position>, bytes: usize) -> Self {
        Entry { last: delta.last(), delta, position, bytes }
    }

    /// A record as it was read; none if it is no delta.
    pub(crate) fn of_tail(read: TailEntry) -> Option<Self> {
        let delta = Delta::decode(&read.delta).ok()?;
        Some(Self::new(Arc::new(delta), Some(read.position), read.delta.len()))
    }

    pub(crate) fn site(&self) -> SiteId {
        self.delta.site
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    logged: VersionVector,
    seen: VersionVector,
    held: BTreeMap<(SiteId, u64), Entry>,
    held_bytes: usize,
    held_bytes_max: usize,
    /// Every record below this was read or confirmed.
    covered: Position,
    /// One past the highest record known, own confirmations included.
    highest: u64,
    /// Lowest offset of what did not fit beyond a hole: to be read again.
    dropped: Option<u64>,
    recent: VecDeque<Entry>,
    recent_bytes: usize,
    recent_bytes_max: usize,
    /// Every record taken into `logged` that lies here or above is in `recent`.
    floor: u64,
    /// A rule that a test has taken away.
    pub(super) missing: Missing,
    /// Hashes of what is in `recent`, to tell a repeated dot from a forged one.
    hashes: FxHashMap<(SiteId, u64), (u64, u64)>,
}

impl Ledger {
    pub(crate) fn new(loaded: &Loaded, held_bytes_max: u64, recent_bytes_max: u64) -> Self {
        Ledger {
            logged: loaded.vector.clone(),
            seen: loaded.vector.clone(),
            held: BTreeMap::new(),
            held_bytes: 0,
            held_bytes_max: usize::try_from(held_bytes_max).unwrap_or(usize::MAX),
            covered: loaded.position,
            highest: loaded.read_to.unwrap_or(loaded.position).offset.max(loaded.position.offset),
            dropped: None,
            recent: VecDeque::new(),
            recent_bytes: 0,
            recent_bytes_max: usize::try_from(recent_bytes_max).unwrap_or(usize::MAX),
            floor: loaded.position.offset,
            missing: Missing::default(),
            hashes: FxHashMap::default(),
        }
    }

    pub(crate) fn logged(&self) -> &VersionVector {
        &self.logged
    }

    pub(crate) fn seen(&self) -> &VersionVector {
        &self.seen
    }

    /// Where the room has read to.
    pub(crate) fn covered(&self) -> Position {
        self.covered
    }

    /// The position a session's copy covers: nothing below it is held back.
    pub(crate) fn advertised(&self) -> Position {
        let held = self.held.values().filter_map(|entry| entry.position).map(|position| position.offset);
        let offset = held.chain(self.dropped).min().map_or(self.covered.offset, |held| held.min(self.covered.offset));
        Position { offset, ..self.covered }
    }

    /// What pairs with `logged` for a replicated watermark: one past the highest record known.
    pub(crate) fn paired(&self) -> Position {
        let offset = if self.missing.is(Rule::PairWithHighest) { self.covered.offset } else { self.highest };
        Position { offset, ..self.covered }
    }

    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn recent(&self) -> impl Iterator<Item = &Entry> {
        self.recent.iter()
    }

    /// Takes a record of the log: an own confirmation, or one that was read. Returns what sessions may now need, in order.
    pub(crate) fn log(&mut self, position: Position, delta: Arc<Delta>, bytes: usize) -> Vec<Entry> {
        self.highest = self.highest.max(position.offset + 1);
        if position.offset == self.covered.offset {
            self.covered.offset += 1;
        }
        let entry = Entry::new(delta, Some(position), bytes);
        let have = self.logged.get(entry.site());
        if entry.last <= have {
            return Vec::new();
        }
        let site = entry.site();
        let mut released = Vec::new();
        if entry.delta.first <= have + 1 {
            self.take_logged(entry, &mut released);
        } else {
            if entry.delta.first <= self.seen.get(site) + 1 {
                self.take_seen(entry.clone(), &mut released);
            }
            self.hold(entry);
        }
        self.release(site, &mut released);
        released
    }

    /// Takes what the bus told. Returns what sessions may now need, and whether the log should be read for what lies between.
    pub(crate) fn heard(&mut self, position: Position, delta: Arc<Delta>, bytes: usize) -> (Vec<Entry>, bool) {
        self.highest = self.highest.max(position.offset + 1);
        let site = delta.site;
        let entry = Entry::new(delta, None, bytes);
        let have = self.seen.get(site);
        if entry.last <= have {
            return (Vec::new(), false);
        }
        if entry.delta.first > have + 1 {
            self.hold(entry);
            return (Vec::new(), true);
        }
        let mut released = Vec::new();
        self.take_seen(entry, &mut released);
        self.release(site, &mut released);
        (released, false)
    }

    /// Takes what is shown before any log is known to hold it. Returns what sessions may now need; nothing, where it is known
    /// already or something before it is missing.
    pub(crate) fn tentative(&mut self, delta: Arc<Delta>, bytes: usize) -> Vec<Entry> {
        let site = delta.site;
        let entry = Entry::new(delta, None, bytes);
        let have = self.seen.get(site);
        let mut released = Vec::new();
        if entry.delta.first <= have + 1 && entry.last > have {
            self.take_seen(entry, &mut released);
            self.release(site, &mut released);
        }
        released
    }

    /// Notes that everything below `next` was read.
    pub(crate) fn advance_to(&mut self, next: Position) {
        if next.log == self.covered.log && next.offset > self.covered.offset {
            self.covered.offset = next.offset;
        }
        self.highest = self.highest.max(next.offset);
    }

    /// Where to read on: the position, or before it what did not fit when it was read.
    pub(crate) fn read_from(&mut self) -> Position {
        match self.dropped.take() {
            Some(offset) => Position { offset: offset.min(self.covered.offset), ..self.covered },
            None => self.covered,
        }
    }

    /// Whether a record of the log waits beyond a hole.
    pub(crate) fn has_hole(&self) -> bool {
        self.held.values().any(|entry| entry.position.is_some())
    }

    /// Takes what snapshot and log make together. False if no hole is filled by it.
    pub(crate) fn refill(&mut self, loaded: &Loaded) -> bool {
        let waits = |(site, _): &(SiteId, u64)| loaded.vector.get(*site) > self.logged.get(*site);
        if !self.held.keys().any(waits) {
            return false;
        }
        self.logged.join(&loaded.vector);
        self.seen.join(&loaded.vector);
        if let Some(read_to) = loaded.read_to.filter(|read_to| read_to.log == self.covered.log) {
            self.highest = self.highest.max(read_to.offset);
        }
        let sites: BTreeSet<SiteId> = self.held.keys().map(|(site, _)| *site).collect();
        // Whoever is shown the document opens it again: what is released goes to nobody.
        sites.into_iter().for_each(|site| self.release(site, &mut Vec::new()));
        true
    }

    /// Remembers what was just given out under `hash`, to compare repeated dots with.
    pub(crate) fn remember_hash(&mut self, delta: &Delta, last: u64, hash: &[u8; 32]) {
        self.hashes.insert((delta.site, delta.first), (last, short_hash(hash)));
    }

    /// Whether a delta of exactly these dots was taken lately with another content.
    pub(crate) fn contradicts(&self, delta: &Delta, last: u64, hash: &[u8; 32]) -> bool {
        let known = self.hashes.get(&(delta.site, delta.first));
        known.is_some_and(|&(known_last, known_hash)| known_last == last && known_hash != short_hash(hash))
    }

    fn take_logged(&mut self, entry: Entry, released: &mut Vec<Entry>) {
        let shown = self.missing.is(Rule::SentByOwnVector) && entry.last <= self.seen.get(entry.site());
        self.logged.advance(entry.site(), entry.last);
        self.seen.advance(entry.site(), entry.last);
        self.keep_recent(entry.clone());
        if !shown {
            released.push(entry);
        }
    }

    fn take_seen(&mut self, entry: Entry, released: &mut Vec<Entry>) {
        if entry.last > self.seen.get(entry.site()) {
            self.seen.advance(entry.site(), entry.last);
            let shown = Entry { position: None, ..entry };
            self.keep_recent(shown.clone());
            released.push(shown);
        }
    }

    /// Gives out whatever waited for this site's hole to fill.
    fn release(&mut self, site: SiteId, released: &mut Vec<Entry>) {
        if self.missing.is(Rule::ReleaseHeld) {
            return;
        }
        loop {
            let next = self.seen.get(site) + 1;
            let mut found = None;
            for (&key, entry) in self.held.range((site, 0)..=(site, next)) {
                let logs = entry.position.is_some() && key.1 <= self.logged.get(site) + 1;
                let shows = entry.last > self.seen.get(site);
                let known = entry.last <= self.logged.get(site) || (entry.position.is_none() && !shows);
                if logs || shows || known {
                    found = Some((key, logs, known));
                    break;
                }
            }
            let Some((key, logs, known)) = found else { return };
            if known || logs || self.held[&key].position.is_none() {
                let entry = self.held.remove(&key).expect("the key was found above");
                self.held_bytes -= entry.bytes;
                match (known, logs) {
                    (true, _) => {}
                    (false, true) => self.take_logged(entry, released),
                    (false, false) => self.take_seen(entry, released),
                }
            } else {
                let entry = self.held[&key].clone();
                self.take_seen(entry, released);
            }
        }
    }

    fn hold(&mut self, entry: Entry) {
        if self.missing.is(Rule::HoldBeyondHoles) {
            return;
        }
        let key = (entry.site(), entry.delta.first);
        if let Some(old) = self.held.get(&key) {
            let better = entry.last > old.last || (entry.last == old.last && old.position.is_none());
            if !better {
                return;
            }
            self.held_bytes -= old.bytes;
            self.held.remove(&key);
        }
        if self.held_bytes + entry.bytes > self.held_bytes_max {
            if let Some(position) = entry.position {
                self.dropped = Some(self.dropped.map_or(position.offset, |dropped| dropped.min(position.offset)));
            }
            return;
        }
        self.held_bytes += entry.bytes;
        self.held.insert(key, entry);
    }

    fn keep_recent(&mut self, entry: Entry) {
        self.recent_bytes += entry.bytes;
        self.recent.push_back(entry);
        while self.recent_bytes > self.recent_bytes_max {
            let Some(old) = self.recent.pop_front() else { return };
            self.recent_bytes -= old.bytes;
            self.hashes.remove(&(old.site(), old.delta.first));
            if let Some(position) = old.position {
                self.floor = self.floor.max(position.offset + 1);
            }
        }
    }
}

fn short_hash(hash: &[u8; 32]) -> u64 {
    u64::from_le_bytes(hash[..8].try_into().expect("eight of 32 bytes"))
}

#[cfg(test)]
mod tests {
    use selvedge_engine::Op;
    use selvedge_protocol::LogId;

    use super::*;

    fn at(offset: u64) -> Position {
        Position { log: LogId(7), partition: 0, offset }
    }

    fn ledger() -> Ledger {
        let loaded = Loaded {
            generation: 1,
            vector: VersionVector::new(),
            position: at(0),
            read_to: Some(at(0)),
            text_bytes: 0,
        };
        Ledger::new(&loaded, 1000, 1000)
    }

    fn delta(site: u32, first: u64, length: u64) -> Arc<Delta> {
        Arc::new(Delta { site: SiteId::leased(0, site), first, ops: vec![Op::Void { length }] })
    }

    fn spans(released: &[Entry]) -> Vec<(u64, u64)> {
        released.iter().map(|entry| (entry.delta.first, entry.last)).collect()
    }

    #[test]
    fn what_lies_beyond_a_hole_is_held_and_released_in_order() {
        let mut ledger = ledger();
        assert!(spans(&ledger.log(at(0), delta(1, 4, 2), 10)).is_empty());
        assert!(spans(&ledger.log(at(1), delta(1, 3, 1), 10)).is_empty());
        assert_eq!(ledger.advertised().offset, 0);
        assert_eq!(ledger.covered().offset, 2);
        assert_eq!(spans(&ledger.log(at(2), delta(1, 1, 2), 10)), [(1, 2), (3, 3), (4, 5)]);
        assert_eq!(ledger.logged().get(SiteId::leased(0, 1)), 5);
        assert_eq!(ledger.advertised().offset, 3);
    }

    #[test]
    fn what_was_only_heard_is_shown_again_when_the_log_holds_it() {
        let mut ledger = ledger();
        let site = SiteId::leased(0, 1);
        let (released, read) = ledger.heard(at(5), delta(1, 1, 1), 10);
        assert_eq!((spans(&released), read), (vec![(1, 1)], false));
        assert_eq!((ledger.seen().get(site), ledger.logged().get(site)), (1, 0));
        assert_eq!(spans(&ledger.log(at(5), delta(1, 1, 1), 10)), [(1, 1)]);
        assert_eq!(ledger.logged().get(site), 1);
        let (released, read) = ledger.heard(at(9), delta(1, 3, 1), 10);
        assert_eq!((spans(&released), read), (vec![], true));
        assert_eq!(spans(&ledger.log(at(6), delta(1, 2, 1), 10)), [(2, 2), (3, 3)]);
        assert_eq!((ledger.seen().get(site), ledger.logged().get(site)), (3, 2));
        assert_eq!(spans(&ledger.log(at(9), delta(1, 3, 1), 10)), [(3, 3)]);
    }

    #[test]
    fn a_logged_delta_is_shown_across_a_hole_of_the_log_that_was_heard() {
        let mut ledger = ledger();
        let site = SiteId::leased(0, 1);
        ledger.heard(at(8), delta(1, 1, 1), 10);
        assert_eq!(spans(&ledger.log(at(0), delta(1, 2, 1), 10)), [(2, 2)]);
        assert_eq!((ledger.seen().get(site), ledger.logged().get(site)), (2, 0));
        assert_eq!(spans(&ledger.log(at(8), delta(1, 1, 1), 10)), [(1, 1), (2, 2)]);
        assert_eq!(ledger.logged().get(site), 2);
    }

    #[test]
    fn what_does_not_fit_beyond_a_hole_is_read_again() {
        let mut ledger = ledger();
        ledger.log(at(0), delta(1, 2, 1), 600);
        ledger.log(at(1), delta(1, 3, 1), 600);
        assert_eq!(ledger.read_from().offset, 1);
        ledger.log(at(2), delta(1, 1, 1), 10);
        assert_eq!(ledger.logged().get(SiteId::leased(0, 1)), 2);
        assert_eq!(spans(&ledger.log(at(1), delta(1, 3, 1), 600)), [(3, 3)]);
    }

    #[test]
    fn the_recent_past_is_bounded_and_knows_where_it_begins() {
        let mut ledger = ledger();
        for n in 0..100 {
            ledger.log(at(n), delta(1, n + 1, 1), 100);
        }
        assert_eq!(ledger.recent().count(), 10);
        assert_eq!(ledger.floor(), 90);
    }
}
