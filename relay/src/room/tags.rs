//! Broadcast tags in the room: what is shown beyond the highest ack level goes out with a proof, so that whoever was shown it
//! can give it back when this relay, or this region, is lost.
//!
//! With tags a room may show what its log is silent about: after [`SILENT_MS`] of an outage it fans out first: the proof is all
//! that such a frame has, no log may hold it. Readers are told how safe what they keep is: every [`READER_ACKS_MS`] one ack for
//! each site that rose, encoded once for all of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use selvedge_engine::{Delta, SiteId, VersionVector};
use selvedge_protocol::message::{Ack, Deltas};
use selvedge_protocol::stream::standalone;
use selvedge_protocol::{AckLevel, Instant, Position, ServerMessage};

use super::event::{PushedDelta, RoomEffect, SessionKey, Shared};
use super::ledger::Entry;
use super::rule::Rule;
use super::{Phase, Room};

/// How long the log may be silent before what waits for it is shown all the same, in milliseconds.
pub(super) const SILENT_MS: u64 = 250;
/// How often readers are told how safe is what they keep, in milliseconds. Nothing waits for it but their memory.
const READER_ACKS_MS: u64 = 500;

impl Room {
    /// Whether a delta goes out with a tag: the room has keys, and the highest level does not cover it yet.
    pub(super) fn needs_tag(&self, entry: &Entry) -> bool {
        let Some(ready) = self.ready().filter(|_| self.setup.tags.is_some()) else { return false };
        let covered = match (&ready.replicated, self.setup.highest) {
            (Some(replicated), AckLevel::Replicated) => replicated.vector(),
            _ => ready.ledger.logged(),
        };
        entry.last > covered.get(entry.site())
    }

    /// Marks a message that holds this one delta with its proof. The durable form is made anew: no entry keeps it.
    fn tag(&self, message: &mut Deltas, delta: &Delta) {
        if let (Some(keys), Some(ready)) = (&self.setup.tags, self.ready()) {
            message.tag = Some(keys.tag(&self.setup.document, ready.generation, delta, &delta.encode()));
        }
    }

    /// The room's stream for these: a tagged delta has a message of its own, the others share as many as they fill.
    pub(super) fn encode_live(&mut self, entries: &[Entry], now: Instant) -> Vec<Deltas> {
        let tagged: Vec<bool> = entries.iter().map(|entry| self.needs_tag(entry)).collect();
        let mut messages = Vec::new();
        let mut begin = 0;
        while begin < entries.len() {
            let run = if tagged[begin] { 1 } else { tagged[begin..].iter().take_while(|tagged| !**tagged).count() };
            let deltas: Vec<&Delta> = entries[begin..begin + run].iter().map(|entry| &*entry.delta).collect();
            let mut some = self.encoder.encode(&deltas, None, now);
            if tagged[begin] {
                some.iter_mut().for_each(|message| self.tag(message, deltas[0]));
                self.reader_acks(entries[begin].site(), now);
            }
            messages.append(&mut some);
            begin += run;
        }
        messages
    }

    /// The same outside the room's stream, for one session.
    pub(super) fn encode_alone(&self, key: SessionKey, entries: &[Entry]) -> Vec<Shared> {
        let proofs = self.gives_proofs(key);
        let tagged = |entry: &Entry| proofs && self.needs_tag(entry);
        let mut messages = Vec::new();
        for run in entries.chunk_by(|left, right| !tagged(left) && !tagged(right)) {
            let deltas: Vec<&Delta> = run.iter().map(|entry| &*entry.delta).collect();
            for mut message in standalone(&deltas, None) {
                if tagged(&run[0]) {
                    self.tag(&mut message, deltas[0]);
                }
                messages.push(Shared::new(&ServerMessage::Deltas(message)));
            }
        }
        messages
    }

    /// Where the records begin of which a state diff for these sessions needs proofs. Where one region is all there is, what its
    /// log holds has reached the highest level.
    pub(super) fn proofs_from(&self, keys: &[SessionKey]) -> Option<Position> {
        let replicated = self.ready()?.replicated.as_ref().filter(|_| self.setup.highest == AckLevel::Replicated)?;
        keys.iter().any(|key| self.gives_proofs(*key)).then(|| replicated.watermark())
    }

    /// The proofs of what a state diff brings to a session beyond the highest level, from the log's records `beyond` what the
    /// other region was known to have; they go first.
    pub(super) fn proofs(
        &self,
        key: SessionKey,
        has: &VersionVector,
        then_has: &VersionVector,
        beyond: &[Entry],
    ) -> (Vec<Shared>, Vec<SiteId>) {
        if !self.gives_proofs(key) {
            return Default::default();
        }
        let mut told = BTreeSet::new();
        let brings = |entry: &&Entry| {
            let (site, last) = (entry.site(), entry.last);
            let brought = last > has.get(site) && last <= then_has.get(site) && self.needs_tag(entry);
            // The log may hold a delta twice.
            brought && told.insert((site, entry.delta.first, last))
        };
        let entries: Vec<Entry> = beyond.iter().filter(brings).cloned().collect();
        (self.encode_alone(key, &entries), self.proven_sites(key, &entries))
    }

    /// Sites of what a session is given with proofs: it is told afterwards how safe they are.
    pub(super) fn proven_sites(&self, key: SessionKey, entries: &[Entry]) -> Vec<SiteId> {
        if !self.gives_proofs(key) {
            return Vec::new();
        }
        let proven = entries.iter().filter(|entry| self.needs_tag(entry)).map(Entry::site);
        proven.collect::<BTreeSet<SiteId>>().into_iter().collect()
    }

    /// Whether what a sync brings to this session comes with proofs.
    fn gives_proofs(&self, key: SessionKey) -> bool {
        !self.missing.is(Rule::TagSyncs) && self.members.get(&key).is_some_and(|member| member.tags)
    }

    /// Whether a pushed delta carries a valid proof that some relay showed it.
    pub(super) fn is_proven(&self, pushed: &PushedDelta) -> bool {
        let (Some(keys), Some(ready), Some(tag)) = (&self.setup.tags, self.ready(), &pushed.tag) else { return false };
        keys.verify(&self.setup.document, ready.generation, &pushed.delta, &pushed.bytes, tag)
    }

    /// Readers are told of a site soon.
    pub(super) fn reader_acks(&mut self, site: SiteId, now: Instant) {
        if self.setup.tags.is_some() {
            self.rising.insert(site);
            self.reader_acks_at.get_or_insert(now.after(READER_ACKS_MS));
        }
    }

    /// Tells the readers of every site that rose.
    pub(super) fn tell_readers(&mut self) {
        self.reader_acks_at = None;
        let rising = std::mem::take(&mut self.rising);
        let readers: Vec<SessionKey> =
            self.members.iter().filter(|(_, member)| member.tags && member.is_live()).map(|(&key, _)| key).collect();
        for site in rising {
            let region = self.logged().map_or(0, |logged| logged.get(site));
            let replicated = self.replicated().map_or(0, |replicated| replicated.get(site));
            let shared = Shared::new(&ServerMessage::Ack(Ack { site, region, replicated }));
            for &key in &readers {
                self.send(key, shared.clone());
            }
        }
    }

    /// The log has been silent for long: what waits for it is shown here and told to the other relays.
    pub(super) fn show_tentatively(&mut self, now: Instant) {
        if self.silent_at().is_none_or(|at| now < at) {
            return;
        }
        let Phase::Ready(ready) = &mut self.phase else { return };
        let mut told = Vec::new();
        for (delta, record) in self.queue.take_unshown() {
            let released = ready.ledger.tentative(delta, record.delta.len());
            if !released.is_empty() {
                told.push(record);
            }
            self.batch.extend(released);
        }
        if !told.is_empty() {
            self.counts.tentative += told.len() as u64;
            self.effects.push_back(RoomEffect::PublishTentative { records: told });
        }
    }

    /// When what waits for the log is shown without it.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        let since = self.silent_since.filter(|_| self.setup.tags.is_some() && self.queue.has_unshown())?;
        Some(since.after(SILENT_MS))
    }

    /// Another relay shows what its log is silent about.
    pub(super) fn heard_tentative(&mut self, generation: u64, bytes: &[u8]) {
        let Phase::Ready(ready) = &mut self.phase else { return };
        if generation != ready.generation || self.setup.tags.is_none() {
            return;
        }
        if let Ok(delta) = Delta::decode(bytes) {
            let released = ready.ledger.tentative(Arc::new(delta), bytes.len());
            self.batch.extend(released);
        }
    }
}
