//! Frames kept: deltas of others that this copy shows and that the highest level does not cover yet, each with the tag that
//! proves a relay showed it.
//!
//! If that relay and its log are lost, whoever kept the frame gives it back: on the next connection whatever its server
//! lacks, and while connected what no region's ack has covered for 10 s. Bounded: the oldest go first. Dots make all of it
//! harmless to repeat.

use std::collections::VecDeque;

use selvedge_engine::{Delta, SiteId, SortedMap, VersionVector};

use super::Context;
use super::config::{KeptFrame, OutboxKey};
use super::replica::Replica;
use super::rule::{Missing, Rule};
use super::sync::Phase;
use crate::level::{AckLevel, Instant};
use crate::message::{Known, OUTBOX_SITES_MAX, Push, SiteRange, TAG_BYTES};

/// Bytes of frames kept of one document.
pub const FRAMES_BYTES_MAX: usize = 1024 * 1024;
/// How long a kept frame waits, while connected, for a region's ack before it is given back, in milliseconds.
pub const GIVE_BACK_MS: u64 = 10_000;
/// Frames given back at a time while connected, and how long the others wait then, in milliseconds: what was announced in `open`
/// is paced by credit, this by the limits on pushes.
const GIVE_BACK_FRAMES: usize = 32;
const GIVE_BACK_PAUSE_MS: u64 = 1_000;
/// How long after a gap what is missing is given back, in milliseconds.
const GAP_MS: u64 = 500;

#[derive(Debug)]
struct Kept {
    frame: KeptFrame,
    /// When it is to be given back; `None`: the region is known to have it.
    due: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Frames {
    kept: SortedMap<OutboxKey, Kept>,
    /// Those that no region is known to have, by when each is to be given back.
    due: SortedMap<(Instant, OutboxKey), ()>,
    /// The same ones by site.
    unacked: SortedMap<OutboxKey, ()>,
    /// In the order they came; may name what is gone.
    order: VecDeque<OutboxKey>,
    bytes: usize,
    /// Not in the store yet.
    unstored: SortedMap<OutboxKey, ()>,
    /// In the store and not needed any more.
    deletable: SortedMap<OutboxKey, ()>,
    /// A rule that a test has taken away.
    missing: Missing,
}

impl Frames {
    /// What the store held.
    pub(super) fn restore(&mut self, frames: Vec<KeptFrame>, now: Instant) {
        for frame in frames {
            self.keep(frame, now.after(GIVE_BACK_MS));
        }
        self.unstored.clear();
    }

    fn keep(&mut self, frame: KeptFrame, due: Instant) {
        let key = OutboxKey { site: frame.site, first: frame.first };
        if self.kept.contains_key(&key) {
            return;
        }
        self.bytes += frame.bytes.len();
        self.kept.insert(key, Kept { frame, due: None });
        self.set_due(key, Some(due));
        self.order.push_back(key);
        self.unstored.insert(key, ());
        self.deletable.remove(&key);
        while self.bytes > FRAMES_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            self.forget(oldest);
        }
    }

    /// When a kept frame is to be given back from now on; `None`: the region is known to have it.
    fn set_due(&mut self, key: OutboxKey, due: Option<Instant>) {
        let Some(kept) = self.kept.get_mut(&key) else { return };
        let before = std::mem::replace(&mut kept.due, due);
        if let Some(at) = before {
            self.due.remove(&(at, key));
        }
        match due {
            Some(at) => {
                self.due.insert((at, key), ());
                self.unacked.insert(key, ());
            }
            None => {
                self.unacked.remove(&key);
            }
        }
    }

    fn forget(&mut self, key: OutboxKey) {
        self.set_due(key, None);
        if let Some(kept) = self.kept.remove(&key) {
            self.bytes -= kept.frame.bytes.len();
            if self.unstored.remove(&key).is_none() {
                self.deletable.insert(key, ());
            }
        }
        while self.order.front().is_some_and(|oldest| !self.kept.contains_key(oldest)) {
            self.order.pop_front();
        }
    }

    fn of_site(&self, site: SiteId) -> impl Iterator<Item = (OutboxKey, &Kept)> {
        let from = self.kept.from(&OutboxKey { site, first: 0 });
        from.take_while(move |(key, _)| key.site == site).map(|(key, kept)| (*key, kept))
    }

    /// Takes an ack: what `highest` covers is forgotten, what the region has is not given back. True if something went.
    pub(super) fn ack(&mut self, site: SiteId, region: u64, replicated: u64, highest: AckLevel) -> bool {
        let covered = if highest >= AckLevel::Replicated { replicated } else { region };
        let gone: Vec<OutboxKey> = self
            .of_site(site)
            .take_while(|(key, _)| key.first <= covered)
            .filter(|(_, kept)| kept.frame.last <= covered)
            .map(|(key, _)| key)
            .collect();
        let unacked = self.unacked.from(&OutboxKey { site, first: 0 }).map(|(key, ())| *key);
        let known = unacked.take_while(|key| *key <= OutboxKey { site, first: region });
        let has = |key: &OutboxKey| self.kept.get(key).is_some_and(|kept| kept.frame.last <= region);
        let safe: Vec<OutboxKey> = known.filter(has).collect();
        safe.into_iter().for_each(|key| self.set_due(key, None));
        gone.iter().for_each(|key| self.forget(*key));
        !gone.is_empty()
    }

    /// Everything of another generation, or of a site from a counter on that no relay takes, is given up. True if something was.
    pub(super) fn give_up(&mut self, given_up: impl Fn(&KeptFrame) -> bool) -> bool {
        let gone: Vec<OutboxKey> =
            self.kept.iter().filter(|(_, kept)| given_up(&kept.frame)).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| self.forget(*key));
        !gone.is_empty()
    }

    /// Whether anything of a site is kept.
    pub(super) fn concerns(&self, site: SiteId) -> bool {
        self.of_site(site).next().is_some()
    }

    /// Adds what is kept to the ranges that `open` announces, so that its answer says what the server has of it.
    pub(super) fn announce(&self, ranges: &mut Vec<SiteRange>) {
        let mut kept: SortedMap<SiteId, (u64, u64)> = SortedMap::new();
        for Kept { frame, .. } in self.kept.values() {
            let range = kept.or_insert_with(frame.site, || (frame.first, frame.last));
            *range = (range.0.min(frame.first), range.1.max(frame.last));
        }
        for (site, (first, last)) in kept {
            match ranges.binary_search_by_key(&site, |range| range.site) {
                Err(at) if ranges.len() < OUTBOX_SITES_MAX => ranges.insert(at, SiteRange { site, first, last }),
                _ => {}
            }
        }
    }

    /// What `open-ok` says that the server has: the rest is due at once.
    fn answered(&mut self, known: &[Known], now: Instant) {
        let known: SortedMap<SiteId, u64> = known.iter().map(|known| (known.site, known.counter)).collect();
        let due = |(key, kept): (&OutboxKey, &Kept)| {
            let counter = known.get(&key.site)?;
            Some((*key, (kept.frame.last > *counter).then_some(now)))
        };
        let told: Vec<_> = self.kept.iter().filter_map(due).collect();
        told.into_iter().for_each(|(key, due)| self.set_due(key, due));
    }

    /// The server has a site up to `have` and was given something beyond: what fills the hole is due soon, if it is here.
    /// True if it is.
    fn gap(&mut self, site: SiteId, have: u64, now: Instant) -> bool {
        let fills = self.of_site(site).any(|(_, kept)| kept.frame.first <= have + 1 && kept.frame.last > have);
        let again = now.after(if fills { GAP_MS } else { GIVE_BACK_MS });
        let beyond: Vec<OutboxKey> =
            self.of_site(site).filter(|(_, kept)| kept.frame.last > have).map(|(key, _)| key).collect();
        beyond.into_iter().for_each(|key| self.set_due(key, Some(again)));
        fills
    }

    fn next_due(&self) -> Option<Instant> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// What is due by now, each site's in its order.
    fn due_by(&self, now: Instant) -> Vec<OutboxKey> {
        let mut due: Vec<OutboxKey> = self.due.keys().take_while(|(at, _)| *at <= now).map(|(_, key)| *key).collect();
        due.sort_unstable();
        due
    }

    /// `vector` without what is not known to be at the server.
    pub(super) fn base(&self, mut vector: VersionVector) -> VersionVector {
        for Kept { frame, due } in self.kept.values() {
            let have = vector.get(frame.site);
            if due.is_some() && have >= frame.first {
                vector.set(frame.site, frame.first - 1);
            }
        }
        vector
    }

    /// What the next state row takes along: frames to be put and keys to be deleted.
    pub(super) fn take_stores(&mut self) -> (Vec<KeptFrame>, Vec<OutboxKey>) {
        let unstored = std::mem::take(&mut self.unstored);
        let puts = unstored.keys().filter_map(|key| self.kept.get(key)).map(|kept| kept.frame.clone()).collect();
        (puts, keys_of(std::mem::take(&mut self.deletable)))
    }

    /// The transaction with these did not happen.
    pub(super) fn not_stored(&mut self, puts: &[KeptFrame], deletes: Vec<OutboxKey>) {
        let keys = puts.iter().map(|frame| OutboxKey { site: frame.site, first: frame.first });
        let again: Vec<OutboxKey> = keys.filter(|key| self.kept.contains_key(key)).collect();
        // What was forgotten meanwhile was taken for stored.
        for frame in puts {
            self.deletable.remove(&OutboxKey { site: frame.site, first: frame.first });
        }
        self.unstored.extend(again.into_iter().map(|key| (key, ())));
        let gone = deletes.into_iter().filter(|key| !self.kept.contains_key(key));
        self.deletable.extend(gone.map(|key| (key, ())));
    }
}

/// The keys of a set in order.
pub(super) fn keys_of(set: SortedMap<OutboxKey, ()>) -> Vec<OutboxKey> {
    set.keys().copied().collect()
}

impl Replica {
    /// Frames this copy keeps: what it shows of others and no highest level covers yet.
    pub fn kept_frames(&self) -> impl Iterator<Item = &KeptFrame> {
        self.frames.kept.values().map(|kept| &kept.frame)
    }

    /// Keeps a tagged delta that was just shown, unless the outbox holds it. A site of one's own is no reason: what an earlier
    /// load sent and never stored is nowhere else, and what it wrote may come back under a site that was leased again.
    pub(super) fn keep_frame(&mut self, delta: &Delta, tag: [u8; TAG_BYTES], cx: &mut Context<'_>) {
        let (first, last) = (delta.first, delta.last());
        if self.outbox.queue(delta.site).is_some_and(|queue| queue.holds(first, last)) {
            return;
        }
        let frame =
            KeptFrame { site: delta.site, first, last, generation: self.generation, tag, bytes: delta.encode() };
        self.frames.keep(frame, cx.now.after(GIVE_BACK_MS));
        self.store.state_changed(cx.now);
    }

    /// `open-ok` is here: what the server lacks of the frames kept is given back.
    pub(super) fn frames_answered(&mut self, known: &[Known], cx: &mut Context<'_>) {
        let generation = self.generation;
        if self.frames.give_up(|frame| frame.generation != generation) {
            self.store.state_changed(cx.now);
        }
        self.frames.answered(known, cx.now);
        self.give_back(usize::MAX, cx);
    }

    /// A gap: what was given back is due again. True if what fills it is among the frames kept.
    pub(super) fn frames_gap(&mut self, site: SiteId, have: u64, now: Instant) -> bool {
        self.frames.gap(site, have, now)
    }

    /// This copy without one of its rules.
    #[cfg(feature = "planted-faults")]
    pub(super) fn forget_rule(&mut self, rule: Rule) {
        self.frames.missing = Missing::one(rule);
    }

    /// Gives back what has come due while connected.
    pub(super) fn give_back_due(&mut self, cx: &mut Context<'_>) {
        if !self.frames.missing.is(Rule::GiveBackWhileConnected) {
            self.give_back(GIVE_BACK_FRAMES, cx);
        }
    }

    /// Gives back what is due, as far as the credit goes, and at most so many frames.
    fn give_back(&mut self, frames_max: usize, cx: &mut Context<'_>) {
        if !matches!(self.session.phase, Phase::Syncing | Phase::Live) || !cx.link.has_tags() {
            return;
        }
        let Some(wire) = self.session.wire else { return };
        let now = cx.now;
        for (index, key) in self.frames.due_by(now).into_iter().enumerate() {
            if self.session.credit == 0 {
                return;
            }
            if index >= frames_max {
                self.frames.set_due(key, Some(now.after(GIVE_BACK_PAUSE_MS)));
                continue;
            }
            self.frames.set_due(key, Some(now.after(GIVE_BACK_MS)));
            let Some(kept) = self.frames.kept.get(&key) else { continue };
            // It was encoded here, or decoded when it was restored.
            let Ok(delta) = Delta::decode(&kept.frame.bytes) else { continue };
            self.session.credit = self.session.credit.saturating_sub(kept.frame.bytes.len() as u64);
            let mut deltas = Vec::new();
            self.session.upstream.push(&delta, &mut deltas);
            let seq = self.session.pushes;
            self.session.pushes += 1;
            cx.link.send(wire, Push { seq, tag: Some(kept.frame.tag), deltas: deltas.into() });
        }
    }

    /// When something is to be given back.
    pub(super) fn give_back_deadline(&self) -> Option<Instant> {
        let can = matches!(self.session.phase, Phase::Syncing | Phase::Live) && self.session.credit > 0;
        let gives = !self.frames.missing.is(Rule::GiveBackWhileConnected);
        self.frames.next_due().filter(|_| can && gives && self.session.tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(number: u32) -> SiteId {
        SiteId::leased(0, number)
    }

    fn frame(number: u32, first: u64, last: u64, bytes: usize) -> KeptFrame {
        KeptFrame { site: site(number), first, last, generation: 1, tag: [7; TAG_BYTES], bytes: vec![0; bytes] }
    }

    fn kept(frames: &Frames) -> Vec<(SiteId, u64)> {
        frames.kept.keys().map(|key| (key.site, key.first)).collect()
    }

    fn with(all: &[KeptFrame]) -> Frames {
        let mut frames = Frames::default();
        all.iter().for_each(|frame| frames.keep(frame.clone(), Instant(100)));
        frames
    }

    #[test]
    fn the_highest_level_lets_a_frame_go_and_the_regions_ack_only_its_giving_back() {
        let mut frames = with(&[frame(1, 1, 3, 10), frame(1, 4, 6, 10), frame(2, 1, 1, 10)]);
        assert!(!frames.ack(site(1), 6, 2, AckLevel::Replicated));
        assert_eq!(frames.next_due(), Some(Instant(100)), "the other site's is still due");
        frames.ack(site(2), 1, 0, AckLevel::Replicated);
        assert_eq!(frames.next_due(), None);
        assert!(frames.ack(site(1), 6, 3, AckLevel::Replicated));
        assert_eq!(kept(&frames), [(site(1), 4), (site(2), 1)]);
        assert!(frames.ack(site(1), 6, 0, AckLevel::Region), "where there is one region, its ack is the highest");
        assert_eq!(frames.bytes, 10);
    }

    #[test]
    fn what_a_server_lacks_is_due_at_once_and_what_fills_its_hole_soon() {
        let mut frames = with(&[frame(1, 1, 3, 10), frame(1, 4, 6, 10), frame(2, 5, 5, 10)]);
        let known = [Known { site: site(1), counter: 3 }, Known { site: site(2), counter: 0 }];
        frames.answered(&known, Instant(50));
        let due = |frames: &Frames| frames.kept.values().map(|kept| kept.due).collect::<Vec<_>>();
        assert_eq!(due(&frames), [None, Some(Instant(50)), Some(Instant(50))]);
        frames.gap(site(1), 2, Instant(60));
        assert_eq!(due(&frames)[..2], [Some(Instant(60 + GAP_MS)), Some(Instant(60 + GAP_MS))]);
        frames.gap(site(2), 1, Instant(60));
        assert_eq!(due(&frames)[2], Some(Instant(60 + GIVE_BACK_MS)), "nothing here fills that hole");
        let mut vector = VersionVector::new();
        vector.advance(site(1), 6);
        assert_eq!(frames.base(vector).get(site(1)), 0);
    }

    #[test]
    fn the_oldest_go_first_and_the_store_follows() {
        let half = FRAMES_BYTES_MAX / 2;
        let mut frames = with(&[frame(1, 1, 1, half), frame(2, 1, 1, half)]);
        let (puts, deletes) = frames.take_stores();
        assert_eq!((puts.len(), deletes.len()), (2, 0));
        frames.keep(frame(3, 1, 1, half), Instant(100));
        assert_eq!(kept(&frames), [(site(2), 1), (site(3), 1)]);
        let (puts, deletes) = frames.take_stores();
        assert_eq!((puts.len(), deletes.clone()), (1, vec![OutboxKey { site: site(1), first: 1 }]));
        // The transaction fails, and meanwhile what it would have put is covered.
        frames.ack(site(3), 1, 1, AckLevel::Replicated);
        frames.not_stored(&puts, deletes);
        let (puts, deletes) = frames.take_stores();
        assert_eq!((puts.len(), deletes), (0, vec![OutboxKey { site: site(1), first: 1 }]));
        // One that came and went before any store saw it costs nothing.
        frames.keep(frame(4, 1, 1, 10), Instant(100));
        frames.ack(site(4), 1, 1, AckLevel::Replicated);
        assert_eq!(frames.take_stores(), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_is_kept_is_announced_beside_the_outbox() {
        let frames = with(&[frame(1, 4, 6, 10), frame(1, 9, 9, 10), frame(3, 1, 1, 10)]);
        let own = SiteRange { site: site(2), first: 7, last: 8 };
        let mut ranges = vec![own];
        frames.announce(&mut ranges);
        let kept = |number, first, last| SiteRange { site: site(number), first, last };
        assert_eq!(ranges, [kept(1, 4, 9), own, kept(3, 1, 1)]);
    }

    #[test]
    fn a_frame_is_read_back_from_a_store_of_bytes_and_damage_is_none() {
        let delta = Delta { site: site(1), first: 3, ops: vec![selvedge_engine::Op::Void { length: 4 }] };
        let one = KeptFrame { bytes: delta.encode(), ..frame(1, 3, 6, 0) };
        assert_eq!(KeptFrame::decode(&one.encode()), Some(one.clone()));
        assert_eq!(KeptFrame::decode(&one.encode()[..20]), None);
        assert_eq!(KeptFrame::decode(&[0; 40]), None);
    }
}
