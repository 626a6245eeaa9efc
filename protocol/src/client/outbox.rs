//! The outbox: sealed deltas until the highest level this deployment gives acknowledges them. Where there is neither a device's store
//! nor a server they are counted, and not kept.
//!
//! One queue per site, each in counter order; sites are independent of each other. Unbounded by design: the bound is the
//! device's quota.

use std::collections::VecDeque;
use std::sync::Arc;

use selvedge_engine::{DeltaHeader, SiteId, SiteKind, SortedMap, VersionVector};

use super::config::{OutboxEntry, OutboxKey};
use super::effect::Pending;
use crate::level::{AckLevel, Instant};
use crate::message::{Known, OUTBOX_SITES_MAX, SiteRange};

/// One sealed delta.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) principal: Arc<str>,
    pub(super) bytes: Vec<u8>,
    pub(super) acked: AckLevel,
    pub(super) stored: bool,
    /// The number of the last edit before this entry.
    pub(super) edit_before: u64,
    pub(super) sealed: Instant,
}

impl Entry {
    fn ops(&self) -> u64 {
        self.last - self.first + 1
    }

    fn lacks(&self, level: AckLevel) -> bool {
        self.marks().lacks(level)
    }

    fn marks(&self) -> Marks {
        let bytes = self.bytes.len() as u64;
        Marks { acked: self.acked, stored: self.stored, ops: self.ops(), bytes, last: self.last }
    }
}

/// One site's entries, and where they stand on the connection in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    pub(super) entries: VecDeque<Entry>,
    /// Last counter sent on this connection.
    pub(super) sent: u64,
    /// Last counter that the server is known to have.
    pub(super) server: u64,
    /// Entries up to this counter were announced at open and are paced by credit.
    pub(super) announced: u64,
    /// Refused for good, or waiting to be restamped: from this counter on nothing is sent.
    pub(super) blocked_from: Option<u64>,
    /// From this counter on a quota refused it; kept while it is tried again, until the log has it.
    refused_from: Option<u64>,
    /// Deletes up to this counter were said again under another site.
    repeated: u64,
    /// Nothing is sent before this instant: the server reported the same gap again.
    pub(super) hold_until: Instant,
    /// The gap reported last.
    pub(super) gap: Option<u64>,
    /// Per level, a counter up to which no entry lacks it. What waits can be long; where it begins is looked up, not looked for.
    reached: [u64; 3],
}

impl Queue {
    /// Whether one entry has all of these counters.
    pub(super) fn holds(&self, first: u64, last: u64) -> bool {
        let at = self.entries.partition_point(|entry| entry.last < first);
        self.entries.get(at).is_some_and(|entry| entry.first <= first && last <= entry.last)
    }

    /// The entries from the first on that lacks a level.
    fn lacking(&self, level: AckLevel) -> impl Iterator<Item = &Entry> {
        let reached = self.reached[level as usize];
        self.entries.range(self.entries.partition_point(|entry| entry.last <= reached)..)
    }

    /// Takes in that entries have risen, or are gone.
    fn advance(&mut self) {
        for level in LEVELS {
            let has = self.lacking(level).take_while(|entry| !entry.lacks(level)).last();
            if let Some(last) = has.map(|entry| entry.last) {
                self.reached[level as usize] = last;
            }
        }
    }

    /// Takes in an entry at its place.
    fn insert(&mut self, at: usize, entry: Entry) {
        self.reached = self.reached.map(|reached| reached.min(entry.first.saturating_sub(1)));
        if at == self.entries.len() && LEVELS.into_iter().all(|level| entry.lacks(level)) {
            // Behind everything else, and with no level reached, it moves none of them.
            return self.entries.push_back(entry);
        }
        self.entries.insert(at, entry);
        self.advance();
    }
}

/// What an ack did.
#[derive(Debug, Default)]
pub(super) struct Acked {
    pub(super) changed: bool,
    /// Entries that the outbox forgot.
    pub(super) forgotten: Vec<OutboxKey>,
    /// Entries that rose to a level and stay.
    pub(super) risen: Vec<OutboxKey>,
}

/// What was sealed where nobody will ever take it, neither the device nor a server: counted, and not kept.
#[derive(Clone, Copy, Debug)]
struct Passed {
    /// The site that wrote last, and its last counter.
    site: SiteId,
    last: u64,
    /// The number of the last edit before the first of them, and when that was sealed.
    edit_before: u64,
    sealed: Instant,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    queues: SortedMap<SiteId, Queue>,
    passed: Option<Passed>,
    /// Pending operations and bytes per level.
    pending: [Pending; 3],
    bytes: u64,
    in_flight: u64,
}

const LEVELS: [AckLevel; 3] = [AckLevel::Device, AckLevel::Region, AckLevel::Replicated];

impl Outbox {
    pub(super) fn new() -> Self {
        Self { queues: SortedMap::new(), passed: None, pending: [Pending::default(); 3], bytes: 0, in_flight: 0 }
    }

    /// Counts a delta that nobody will ever take, and keeps nothing of it.
    pub(super) fn pass(&mut self, header: DeltaHeader, bytes: usize, edit_before: u64, sealed: Instant) {
        let DeltaHeader { site, first, last } = header;
        for pending in &mut self.pending {
            pending.ops += last - first + 1;
            pending.bytes += bytes as u64;
        }
        let passed = self.passed.get_or_insert(Passed { site, last, edit_before, sealed });
        (passed.site, passed.last) = (site, last);
    }

    /// The last counter of a site that was sealed, as far as is known here.
    pub(super) fn sealed_to(&self, site: SiteId) -> u64 {
        if let Some(passed) = self.passed.filter(|passed| passed.site == site) {
            return passed.last;
        }
        self.queue(site).map_or(0, |queue| queue.entries.back().map_or(queue.server, |last| last.last))
    }

    pub(super) fn push(&mut self, site: SiteId, entry: Entry) {
        self.count(&entry, true);
        self.bytes += entry.bytes.len() as u64;
        let queue = self.queues.or_insert_with(site, Queue::default);
        queue.insert(queue.entries.len(), entry);
    }

    /// Takes in an entry that another tab of this profile stored, at its place. False if it is here already, or the server
    /// is known to have it.
    pub(super) fn adopt(&mut self, site: SiteId, entry: Entry) -> bool {
        let queue = self.queues.or_insert_with(site, Queue::default);
        let at = queue.entries.partition_point(|other| other.first < entry.first);
        let is_here = queue.entries.range(..at).next_back().is_some_and(|before| before.last >= entry.last);
        if is_here || queue.server >= entry.last || queue.entries.get(at).is_some_and(|next| next.first <= entry.last) {
            return false;
        }
        if queue.sent >= entry.first {
            let again =
                |other: &&Entry| other.first > entry.last && other.last <= queue.sent && other.acked < AckLevel::Region;
            let bytes: u64 = queue.entries.iter().filter(again).map(|other| other.bytes.len() as u64).sum();
            self.in_flight = self.in_flight.saturating_sub(bytes);
            queue.sent = entry.first - 1;
        }
        self.bytes += entry.bytes.len() as u64;
        queue.insert(at, entry.clone());
        self.count(&entry, true);
        true
    }

    /// Whether something waits to be sent: for the connection, for credit, for room in the window.
    pub(super) fn has_unsent(&self) -> bool {
        let unsent = |queue: &Queue| queue.entries.back().is_some_and(|last| last.last > queue.sent);
        self.queues.values().any(unsent)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.values().all(|queue| queue.entries.is_empty())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes sent on this connection that the region has not acknowledged.
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn sites(&self) -> Vec<SiteId> {
        self.queues.keys().copied().collect()
    }

    pub(super) fn queue(&self, site: SiteId) -> Option<&Queue> {
        self.queues.get(&site)
    }

    pub(super) fn entry(&self, key: OutboxKey) -> Option<&Entry> {
        let queue = self.queues.get(&key.site)?;
        let at = queue.entries.binary_search_by_key(&key.first, |entry| entry.first).ok()?;
        queue.entries.get(at)
    }

    /// The entry as a store keeps it.
    pub(super) fn stored_form(site: SiteId, entry: &Entry) -> OutboxEntry {
        OutboxEntry {
            site,
            first: entry.first,
            last: entry.last,
            principal: entry.principal.to_string(),
            bytes: entry.bytes.clone(),
            acked: entry.acked,
        }
    }

    /// Every entry, by site and counter.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SiteId, &Entry)> {
        self.queues.iter().flat_map(|(site, queue)| queue.entries.iter().map(move |entry| (*site, entry)))
    }

    /// Blocks everything of a site from a counter on.
    pub(super) fn block(&mut self, site: SiteId, from: u64) {
        let queue = self.queues.or_insert_with(site, Queue::default);
        queue.blocked_from = Some(queue.blocked_from.map_or(from, |before| before.min(from)));
    }

    /// Blocks everything of a site from a counter on, because it grows the document; answers the entries held back that
    /// were not answered before.
    pub(super) fn refuse_growth(&mut self, site: SiteId, from: u64) -> Vec<Vec<u8>> {
        self.block(site, from);
        let queue = self.queues.or_insert_with(site, Queue::default);
        queue.refused_from = Some(queue.refused_from.map_or(from, |before| before.min(from)));
        let fresh = queue.entries.iter().filter(|entry| entry.first >= from && entry.first > queue.repeated);
        let fresh = fresh.map(|entry| entry.bytes.clone()).collect();
        queue.repeated = queue.entries.back().map_or(0, |entry| entry.last);
        fresh
    }

    /// Whether a quota refused something of this site that the log still lacks.
    pub(super) fn is_refused(&self, site: SiteId) -> bool {
        self.queues.get(&site).is_some_and(|queue| queue.refused_from.is_some())
    }

    /// Whether a quota refused something that the log still lacks.
    pub(super) fn has_refused_growth(&self) -> bool {
        self.queues.values().any(|queue| queue.refused_from.is_some())
    }

    /// The log has this much of a site.
    pub(super) fn growth_passed(&mut self, site: SiteId, region: u64) {
        if let Some(queue) = self.queues.get_mut(&site)
            && queue.refused_from.is_some_and(|from| from <= region)
        {
            (queue.blocked_from, queue.refused_from) = (None, None);
        }
    }

    /// What a quota refused may be sent again.
    pub(super) fn unblock_growth(&mut self, now: Instant) {
        let refused = self.queues.iter().filter(|(_, queue)| queue.refused_from.is_some());
        for site in refused.map(|(site, _)| *site).collect::<Vec<_>>() {
            self.unblock(site, now);
        }
    }

    /// Seeds that no server is known to have wait until the server has said what it has.
    pub(super) fn hold_seeds(&mut self) {
        for (site, queue) in self.queues.iter_mut() {
            if site.kind() == SiteKind::Seed && queue.server == 0 && !queue.entries.is_empty() {
                queue.blocked_from.get_or_insert(1);
            }
        }
    }

    /// Seeds that wait. One whose beginning the server turned out to have does not.
    pub(super) fn held_seeds(&mut self) -> Vec<SiteId> {
        let mut held = Vec::new();
        for (site, queue) in self.queues.iter_mut().filter(|(site, _)| site.kind() == SiteKind::Seed) {
            if queue.server > 0 || queue.entries.is_empty() {
                queue.blocked_from = None;
            } else if queue.blocked_from.is_some() {
                held.push(*site);
            }
        }
        held
    }

    /// Lets a site go out again from where the server has it. Answers whether it was blocked.
    pub(super) fn unblock(&mut self, site: SiteId, now: Instant) -> bool {
        let Some(queue) = self.queues.get_mut(&site) else { return false };
        if queue.blocked_from.take().is_none() {
            return false;
        }
        let server = queue.server;
        self.rewind(site, server, now);
        if let Some(queue) = self.queues.get_mut(&site) {
            (queue.gap, queue.hold_until) = (None, Instant(0));
        }
        true
    }

    /// From which counter on a site was refused for good.
    pub(super) fn refused_from(&self, site: SiteId) -> Option<u64> {
        let queue = self.queues.get(&site)?;
        queue.refused_from.or(queue.blocked_from)
    }

    /// What a level lacks, and up to which edit it has everything.
    pub(super) fn pending(&self, level: AckLevel, edited: u64) -> Pending {
        let oldest = |queue: &Queue| queue.lacking(level).next().map(|entry| entry.edit_before);
        let passed = self.passed.map(|passed| passed.edit_before);
        let through = self.queues.values().filter_map(oldest).chain(passed).min();
        Pending { through: through.unwrap_or(edited), ..self.pending[level as usize] }
    }

    /// When the oldest entry that lacks `level` was sealed.
    pub(super) fn oldest(&self, level: AckLevel) -> Option<Instant> {
        let oldest = |queue: &Queue| queue.lacking(level).next().map(|entry| entry.sealed);
        self.queues.values().filter_map(oldest).chain(self.passed.map(|passed| passed.sealed)).min()
    }

    /// Marks an entry as stored. False if the outbox forgot it meanwhile.
    pub(super) fn stored(&mut self, key: OutboxKey) -> bool {
        self.change(key, |entry| entry.stored = true)
    }

    /// Takes an ack: `region` and `replicated` only ever raise entries; those at `highest` are forgotten.
    pub(super) fn ack(&mut self, site: SiteId, region: u64, replicated: u64, highest: AckLevel) -> Acked {
        let mut acked = Acked::default();
        let Some(queue) = self.queues.get_mut(&site) else { return acked };
        queue.server = queue.server.max(region);
        queue.gap = None;
        let mut touched = Vec::new();
        // Those between what both have and what the region had before are as they were.
        let safe = queue.entries.iter().take_while(|entry| entry.last <= replicated);
        let fresh = queue.lacking(AckLevel::Region).skip_while(|entry| entry.last <= replicated);
        for entry in safe.chain(fresh.take_while(|entry| entry.first <= region)) {
            let level = match entry.last {
                last if last <= replicated => AckLevel::Replicated,
                last if last <= region => AckLevel::Region,
                _ => break,
            };
            if level > entry.acked || level >= highest {
                touched.push((OutboxKey { site, first: entry.first }, level));
            }
        }
        for (key, level) in touched {
            acked.changed = true;
            self.change(key, |entry| entry.acked = entry.acked.max(level));
            if level >= highest {
                self.remove(key);
                acked.forgotten.push(key);
            } else {
                acked.risen.push(key);
            }
        }
        acked
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, key: OutboxKey) -> Option<Entry> {
        let queue = self.queues.get_mut(&key.site)?;
        let at = queue.entries.binary_search_by_key(&key.first, |entry| entry.first).ok()?;
        let entry = queue.entries.remove(at)?;
        queue.advance();
        if entry.last <= queue.sent && entry.acked < AckLevel::Region {
            self.in_flight = self.in_flight.saturating_sub(entry.bytes.len() as u64);
        }
        self.bytes -= entry.bytes.len() as u64;
        self.count(&entry, false);
        Some(entry)
    }

    /// Takes out everything of a site from a counter on, and forgets the site.
    pub(super) fn take_site(&mut self, site: SiteId, from: u64) -> Vec<Entry> {
        let firsts: Vec<u64> = match self.queues.get(&site) {
            Some(queue) => queue.entries.iter().filter(|entry| entry.last >= from).map(|entry| entry.first).collect(),
            None => return Vec::new(),
        };
        let taken = firsts.into_iter().filter_map(|first| self.remove(OutboxKey { site, first })).collect();
        if let Some(queue) = self.queues.get_mut(&site) {
            (queue.blocked_from, queue.refused_from, queue.repeated) = (None, None, 0);
        }
        taken
    }

    /// What `open` announces: one range per site with something to send. Everything announced is paced by credit.
    pub(super) fn announce(&mut self) -> Vec<SiteRange> {
        self.in_flight = 0;
        let mut ranges = Vec::new();
        for (site, queue) in self.queues.iter_mut() {
            (queue.sent, queue.gap, queue.hold_until) = (0, None, Instant(0));
            if queue.refused_from.is_some() {
                // Another relay, or this one after a while, may have room.
                queue.blocked_from = None;
            }
            queue.announced = queue.entries.back().map_or(0, |entry| entry.last);
            if let Some(first) = queue.entries.front().map(|entry| entry.first)
                && ranges.len() < OUTBOX_SITES_MAX
            {
                ranges.push(SiteRange { site: *site, first, last: queue.announced });
            }
        }
        self.queues.retain(|_, queue| !queue.entries.is_empty() || queue.server > 0);
        ranges
    }

    /// What open-ok says the server has. A site it does not name starts from nothing: re-sending is harmless.
    pub(super) fn begin_sending(&mut self, known: &[Known]) {
        for (site, queue) in self.queues.iter_mut() {
            let named = known.iter().find(|known| known.site == *site);
            if let Some(known) = named {
                (queue.sent, queue.server) = (known.counter, known.counter);
            } else {
                queue.sent = queue.entries.front().map_or(queue.server, |entry| entry.first - 1);
            }
        }
    }

    /// `vector` without what the region has not acknowledged: what a server should have.
    pub(super) fn base(&self, mut vector: VersionVector) -> VersionVector {
        for (site, queue) in self.queues.iter() {
            if let Some(first) = queue.lacking(AckLevel::Region).next() {
                let before = (first.first - 1).max(queue.server);
                let have = vector.get(*site);
                vector.set(*site, have.min(before));
            }
        }
        vector
    }

    /// Notes that everything of a site up to `last`, `bytes` long, went out.
    pub(super) fn note_sent(&mut self, site: SiteId, last: u64, bytes: u64) {
        if let Some(queue) = self.queues.get_mut(&site) {
            queue.sent = last;
        }
        self.in_flight += bytes;
    }

    /// Sends again from `have + 1`. False if the outbox lacks what is asked for.
    pub(super) fn rewind(&mut self, site: SiteId, have: u64, now: Instant) -> bool {
        let Some(queue) = self.queues.get_mut(&site) else { return false };
        let unacked = |entry: &&Entry| entry.last > have && entry.last <= queue.sent && entry.acked < AckLevel::Region;
        let bytes: u64 = queue.entries.iter().filter(unacked).map(|entry| entry.bytes.len() as u64).sum();
        self.in_flight = self.in_flight.saturating_sub(bytes);
        queue.sent = queue.sent.min(have);
        queue.server = have;
        if queue.gap == Some(have) {
            queue.hold_until = now.after(500);
        }
        queue.gap = Some(have);
        queue.entries.front().is_some_and(|entry| entry.first <= have + 1)
    }

    /// Ends the holds that are over, so that they are not waited for again.
    pub(super) fn release_holds(&mut self, now: Instant) {
        for (_, queue) in self.queues.iter_mut().filter(|(_, queue)| queue.hold_until <= now) {
            queue.hold_until = Instant(0);
        }
    }

    fn change(&mut self, key: OutboxKey, change: impl FnOnce(&mut Entry)) -> bool {
        let Some(queue) = self.queues.get_mut(&key.site) else { return false };
        let Ok(at) = queue.entries.binary_search_by_key(&key.first, |entry| entry.first) else { return false };
        let sent = queue.sent;
        let entry = &mut queue.entries[at];
        let before = entry.marks();
        change(entry);
        let after = entry.marks();
        if before.acked < AckLevel::Region && after.acked >= AckLevel::Region && after.last <= sent {
            self.in_flight = self.in_flight.saturating_sub(after.bytes);
        }
        for level in LEVELS {
            if before.lacks(level) && !after.lacks(level) {
                let pending = &mut self.pending[level as usize];
                pending.ops -= before.ops;
                pending.bytes -= before.bytes;
            }
        }
        queue.advance();
        true
    }

    fn count(&mut self, entry: &Entry, add: bool) {
        for level in LEVELS {
            if entry.lacks(level) {
                let pending = &mut self.pending[level as usize];
                let bytes = entry.bytes.len() as u64;
                if add {
                    pending.ops += entry.ops();
                    pending.bytes += bytes;
                } else {
                    pending.ops -= entry.ops();
                    pending.bytes -= bytes;
                }
            }
        }
    }
}

/// What counting needs of an entry.
struct Marks {
    acked: AckLevel,
    stored: bool,
    ops: u64,
    bytes: u64,
    last: u64,
}

impl Marks {
    fn lacks(&self, level: AckLevel) -> bool {
        match level {
            AckLevel::Device => !self.stored && self.acked < AckLevel::Region,
            level => self.acked < level,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SITE: fn() -> SiteId = || SiteId::leased(0, 1);

    fn entry(first: u64, last: u64, acked: AckLevel) -> Entry {
        Entry {
            first,
            last,
            principal: "".into(),
            bytes: vec![0; 8],
            acked,
            stored: false,
            edit_before: first,
            sealed: Instant(first),
        }
    }

    /// What a level lacks, looked for from the beginning.
    fn looked_for(outbox: &Outbox, level: AckLevel) -> Option<u64> {
        outbox.iter().find(|(_, entry)| entry.lacks(level)).map(|(_, entry)| entry.first)
    }

    fn looked_up(outbox: &Outbox, level: AckLevel) -> Option<u64> {
        outbox.queue(SITE())?.lacking(level).next().map(|entry| entry.first)
    }

    #[test]
    fn an_entry_within_another_is_not_adopted() {
        let mut outbox = Outbox::new();
        outbox.push(SITE(), entry(49, 51, AckLevel::Device));
        assert!(!outbox.adopt(SITE(), entry(50, 50, AckLevel::Device)));
        assert!(!outbox.adopt(SITE(), entry(49, 49, AckLevel::Device)));
        assert!(outbox.adopt(SITE(), entry(48, 48, AckLevel::Device)), "it was not here");
        assert!(outbox.adopt(SITE(), entry(52, 52, AckLevel::Device)), "neither was this");
        assert_eq!(outbox.iter().map(|(_, entry)| entry.first).collect::<Vec<_>>(), [48, 49, 52]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u64, AckLevel),
        Adopt(u64, AckLevel),
        Stored(u64),
        Ack(u64, u64),
        Rewind(u64),
        Remove(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let level = || prop_oneof![Just(AckLevel::Device), Just(AckLevel::Region), Just(AckLevel::Replicated)];
        prop_oneof![
            3 => (1..4_u64, level()).prop_map(|(ops, acked)| Step::Push(ops, acked)),
            1 => (1..80_u64, level()).prop_map(|(first, acked)| Step::Adopt(first, acked)),
            2 => (1..80_u64).prop_map(Step::Stored),
            3 => (0..80_u64, 0..80_u64).prop_map(|(one, other)| Step::Ack(one.max(other), one.min(other))),
            1 => (0..80_u64).prop_map(Step::Rewind),
            1 => (1..80_u64).prop_map(Step::Remove),
        ]
    }

    proptest! {
        /// Whatever comes, goes and rises in whatever order: where what lacks a level begins is never missed, and an ack raises all
        /// that it covers.
        #[test]
        fn what_lacks_a_level_begins_where_it_is_looked_up(
            steps in proptest::collection::vec(step(), 0..60),
            highest in prop_oneof![Just(AckLevel::Region), Just(AckLevel::Replicated)],
        ) {
            let mut outbox = Outbox::new();
            let mut last = 0;
            for step in steps {
                match step {
                    Step::Push(ops, acked) => {
                        outbox.push(SITE(), entry(last + 1, last + ops, acked));
                        last += ops;
                    }
                    Step::Adopt(first, acked) => {
                        if outbox.adopt(SITE(), entry(first, first, acked)) {
                            last = last.max(first);
                        }
                    }
                    Step::Stored(first) => drop(outbox.stored(OutboxKey { site: SITE(), first })),
                    Step::Ack(region, replicated) => {
                        outbox.ack(SITE(), region, replicated, highest);
                        let lacks = |(_, entry): (SiteId, &Entry)| entry.last <= region && entry.acked < AckLevel::Region;
                        prop_assert!(!outbox.iter().any(lacks));
                        let kept = |(_, entry): (SiteId, &Entry)| entry.last <= replicated;
                        prop_assert!(!outbox.iter().any(kept));
                    }
                    Step::Rewind(have) => drop(outbox.rewind(SITE(), have, Instant(0))),
                    Step::Remove(first) => drop(outbox.remove(OutboxKey { site: SITE(), first })),
                }
                for level in LEVELS {
                    prop_assert_eq!(looked_up(&outbox, level), looked_for(&outbox, level), "{:?}", level);
                }
            }
        }
    }
}
