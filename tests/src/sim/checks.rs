//! What must always hold, looked at while a run goes on and reckoned up when it has come to rest.

use std::collections::BTreeMap;

use selvedge_engine::{Delta, Document, SiteId, VersionVector};
use selvedge_protocol::client::{Replica, Status};
use selvedge_protocol::{Channel, DocumentId, Frames, LogId, Position, ServerMessage};

use super::fault::Fault;
use super::history::History;
use super::network::ConnectionId;
use super::outcome::Invariant;
use super::rooms::Host;
use super::shape::Shape;
use super::world::{Stop, World};

/// Texts up to so many units are compared with the plain reading of the history as a run goes on.
const PLAIN_UNITS_MAX: usize = 6_000;

/// What was promised and to whom.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Acked as in a region's log, by region and document: not lost as long as the region is not.
    acked: BTreeMap<(usize, DocumentId), VersionVector>,
    /// Acked as in some region's log, lost since or not, by document.
    acked_ever: BTreeMap<DocumentId, VersionVector>,
    /// Acked as in both regions' logs, by document: must never be lost.
    replicated: BTreeMap<DocumentId, VersionVector>,
    /// The last ack of each site on each channel.
    last_ack: BTreeMap<(ConnectionId, Channel, SiteId), (u64, u64)>,
    /// Which document a channel is.
    channels: BTreeMap<(ConnectionId, Channel), DocumentId>,
    /// Who writes as a site.
    authors: BTreeMap<(DocumentId, SiteId), String>,
    /// What the logs that were not lost ever held, by document: what anyone may show without proof.
    logged: BTreeMap<DocumentId, VersionVector>,
    /// Whose turn it is to be looked at closely.
    turn: usize,
    /// What living replicas held when the faults ended.
    living: BTreeMap<DocumentId, VersionVector>,
}

impl Books {
    /// A channel was opened for a document.
    pub(super) fn channel(&mut self, connection: ConnectionId, channel: Channel, document: DocumentId) {
        self.channels.insert((connection, channel), document);
    }

    /// `principal` writes as `site`.
    pub(super) fn author(&mut self, document: &DocumentId, site: SiteId, principal: &str) {
        self.authors.entry((document.clone(), site)).or_insert_with(|| principal.to_owned());
    }

    /// Some log holds this much.
    pub(super) fn logged(&mut self, document: &DocumentId, vector: &VersionVector) {
        self.logged.entry(document.clone()).or_default().join(vector);
    }

    /// How many operations were ever acked.
    #[cfg(test)]
    pub(super) fn acked_ops(&self, document: &DocumentId) -> u64 {
        self.acked_ever.get(document).map_or(0, |acked| acked.iter().map(|(_, counter)| counter).sum())
    }

    /// What was acked as in both regions' logs.
    pub(super) fn replicated(&self, document: &DocumentId) -> Option<&VersionVector> {
        self.replicated.get(document)
    }

    /// A region is lost: what it alone had acked is owed by devices and readers alone, and who shows what it alone held has to
    /// prove it. `kept` is what the other region holds.
    pub(super) fn region_lost(&mut self, region: usize, kept: BTreeMap<DocumentId, VersionVector>) {
        self.acked.retain(|(of, _), _| *of != region);
        self.logged = kept;
    }

    /// The log was put back to hold only this: what was acked beyond it is owed by living replicas alone.
    pub(super) fn log_restored(&mut self, document: &DocumentId, kept: &VersionVector) {
        let Some(acked) = self.acked.get_mut(&(0, document.clone())) else { return };
        let mut owed = VersionVector::default();
        for (site, counter) in acked.iter() {
            owed.advance(site, counter.min(kept.get(site)));
        }
        *acked = owed;
    }
}

impl World {
    /// The relay says something: acks and advertised vectors must be true of the log as it is at this moment.
    pub(super) fn relay_says(&mut self, relay: usize, connection: ConnectionId, bytes: &[u8]) -> Result<(), Stop> {
        let region = self.relays[relay].region;
        for frame in Frames::new(bytes) {
            let frame = frame
                .map_err(|error| self.stop(Invariant::Sound, format!("the relay sends a malformed frame: {error}")))?;
            let channel = frame.channel;
            let message = ServerMessage::decode(&frame).map_err(|error| {
                self.stop(Invariant::Sound, format!("the relay sends a malformed message: {error}"))
            })?;
            let Some(document) = self.books.channels.get(&(connection, channel)).cloned() else { continue };
            match message {
                Some(ServerMessage::Ack(ack)) => {
                    self.acked(region, connection, channel, &document, ack.site, ack.region, ack.replicated)?
                }
                Some(ServerMessage::OpenOk(ok)) => {
                    for known in &ok.known {
                        self.must_be_logged(region, &document, known.site, known.counter, "open-ok")?;
                    }
                }
                Some(ServerMessage::Gap(gap)) => {
                    self.must_be_logged(region, &document, gap.site, gap.have, "a gap").or(Ok(()))?
                }
                Some(ServerMessage::Synced(synced)) => {
                    self.synced(relay, &document, synced.position, synced.vector_hash)?
                }
                _ => {}
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one ack, and where it came from")]
    fn acked(
        &mut self,
        region: usize,
        connection: ConnectionId,
        channel: Channel,
        document: &DocumentId,
        site: SiteId,
        logged: u64,
        replicated: u64,
    ) -> Result<(), Stop> {
        let last = self.books.last_ack.entry((connection, channel, site)).or_default();
        let before = *last;
        *last = (logged.max(before.0), replicated.max(before.1));
        if logged < before.0 || replicated < before.1 {
            return Err(self.stop(
                Invariant::MonotoneAcks,
                format!("{site} acked up to {before:?}, then up to {:?}", (logged, replicated)),
            ));
        }
        self.must_be_logged(region, document, site, logged, "an ack")?;
        self.books.acked.entry((region, document.clone())).or_default().advance(site, logged);
        self.books.acked_ever.entry(document.clone()).or_default().advance(site, logged);
        self.replicated_is_true(document, site, replicated)?;
        *self.figures.entry("acks").or_default() += 1;
        self.note(format_args!("connection {}: {site} is acked up to {logged}, {replicated}", connection.0));
        Ok(())
    }

    /// What is acked as replicated is in every region's log, unless one was lost meanwhile.
    fn replicated_is_true(&mut self, document: &DocumentId, site: SiteId, replicated: u64) -> Result<(), Stop> {
        if replicated == 0 {
            return Ok(());
        }
        self.books.replicated.entry(document.clone()).or_default().advance(site, replicated);
        if self.faults.of(Fault::RegionWiped) > 0 {
            return Ok(());
        }
        for region in 0..self.regions.len() {
            self.must_be_logged(region, document, site, replicated, "a replicated ack")?;
        }
        Ok(())
    }

    fn must_be_logged(
        &self,
        region: usize,
        document: &DocumentId,
        site: SiteId,
        counter: u64,
        what: &str,
    ) -> Result<(), Stop> {
        let held = self.regions[region].logged(document).get(site);
        if held < counter {
            return Err(self.stop(
                Invariant::NoHoles,
                format!("{what} names {site} up to {counter}; the log holds it whole up to {held}"),
            ));
        }
        Ok(())
    }

    fn synced(&self, relay: usize, document: &DocumentId, position: Option<Position>, hash: u64) -> Result<(), Stop> {
        let region = self.relays[relay].region;
        let Some(position) = position else { return Ok(()) };
        if position.log != LogId(self.regions[region].log.id()) || position.offset > self.regions[region].log.head() {
            return Err(self.stop(
                Invariant::NoHoles,
                format!("synced names {position:?}; the log ends at {}", self.regions[region].log.head()),
            ));
        }
        if self.options.shape != Shape::Alone {
            return self.covered(relay, document, position);
        }
        // The position is a place to read on from, and may lie before what the vector covers; never behind it.
        if !self.regions[region].hashes_from(document, position.offset).any(|known| known == hash) {
            return Err(self.stop(
                Invariant::NoHoles,
                format!("synced at {position:?} names vector {hash:x}, which the log never had from there on"),
            ));
        }
        Ok(())
    }

    /// A room that shares its log with others knows its own confirmations before it has read what lies between: its vector is
    /// that of no place in the log. But all of it is in the log, and all that lies below the position is in it.
    fn covered(&self, relay: usize, document: &DocumentId, position: Position) -> Result<(), Stop> {
        let region = &self.regions[self.relays[relay].region];
        let Some(logged) = self.relays[relay].rooms.get(document).and_then(Host::logged) else { return Ok(()) };
        if !region.logged(document).dominates(logged) {
            let detail =
                format!("relay {relay} claims more than its log: {}", difference(logged, region.logged(document)));
            return Err(self.stop(Invariant::NoHoles, detail));
        }
        let below = region.vector_below(document, position.offset);
        if !logged.dominates(&below) {
            let detail = format!("synced at {position:?} lacks what lies below: {}", difference(logged, &below));
            return Err(self.stop(Invariant::NoHoles, detail));
        }
        Ok(())
    }

    /// A load was opened from its device: all that was promised is there.
    pub(super) fn check_restored(&mut self, id: usize) -> Result<(), Stop> {
        let Some(load) = &self.loads[id] else { return Ok(()) };
        for opened in &load.opened {
            let Some(saved) = self.devices[load.device].saved.get(&opened.document) else { continue };
            let Some(replica) = load.client.replica(opened.channel) else { continue };
            let vector = replica.document().vector();
            if let Some((site, counter)) = saved.iter().find(|(site, counter)| vector.get(*site) < *counter) {
                let detail = format!(
                    "load {id} opens with {site} up to {}; device {} had saved it up to {counter}",
                    vector.get(site),
                    load.device
                );
                return Err(self.stop(Invariant::OwnText, detail));
            }
        }
        Ok(())
    }

    /// What a device holds now is what it has promised from now on: a fault took the rest.
    pub(super) fn promise_what_is_stored(&mut self, device: usize) {
        for document in self.documents.clone() {
            let saved = self.devices[device].store.covers(&document);
            self.devices[device].saved.insert(document, saved);
        }
    }

    /// No transaction takes away what a device's store knows, except what a region has from a device without room.
    pub(super) fn check_commit(
        &mut self,
        id: usize,
        device: usize,
        document: &DocumentId,
        before: &VersionVector,
    ) -> Result<(), Stop> {
        let after = self.devices[device].store.covers(document);
        // Of a site's outbox the oldest goes: what follows it is still here.
        let known = self.books.acked_ever.get(document).cloned().unwrap_or_default();
        let here_or_acked = self.devices[device].store.covers_beyond(document, &known);
        let pressed = self.devices[device].pressed && !self.routes.is_empty();
        let gone = || before.iter().filter(|(site, counter)| after.get(*site) < *counter);
        let lost = gone().find(|(site, counter)| !pressed || here_or_acked.get(*site) < *counter);
        let forgot = gone().next().is_some();
        match lost {
            None if forgot => {
                self.devices[device].saved.insert(document.clone(), after);
                Ok(())
            }
            None => Ok(()),
            Some((site, counter)) => {
                let detail = format!(
                    "a transaction of load {id} leaves device {device} with {site} up to {} of {counter}",
                    after.get(site)
                );
                Err(self.stop(Invariant::OwnText, detail))
            }
        }
    }

    /// A look at everything that lives.
    pub(super) fn inspect(&mut self) -> Result<(), Stop> {
        let mut states: BTreeMap<(usize, Vec<u8>), (usize, Vec<u8>)> = BTreeMap::new();
        self.books.turn += 1;
        for (id, load) in self.loads.iter().enumerate() {
            let Some(load) = load else { continue };
            let close = (id + self.books.turn).is_multiple_of(4);
            for (index, opened) in load.opened.iter().enumerate() {
                let Some(replica) = load.client.replica(opened.channel) else { continue };
                let document = replica.document();
                self.same_text(id, &opened.mirror, &document.text())?;
                self.nothing_unlogged(id, load.device, &opened.document, replica)?;
                if close {
                    document.assert_invariants();
                }
                // While states are uploaded to a log that was put back, a part of a site's chain may be told otherwise
                // than it was written; all are equal again when all of it is there. A hole that is closed takes from some
                // what others never had.
                let closed = self.history.get(&opened.document).is_some_and(History::has_closed);
                if self.restored || closed {
                    continue;
                }
                if close {
                    self.as_written(id, &opened.document, document, PLAIN_UNITS_MAX)?;
                }
                let state = (id, document.snapshot());
                if let Some((other, snapshot)) = states.get(&(index, document.vector().encode()))
                    && *snapshot != state.1
                {
                    return Err(self.stop(
                        Invariant::Convergence,
                        format!("loads {other} and {id} have one vector and two states"),
                    ));
                }
                states.insert((index, document.vector().encode()), state);
            }
        }
        Ok(())
    }

    fn same_text(&self, id: usize, mirror: &[u16], text: &str) -> Result<(), Stop> {
        if mirror.iter().copied().eq(text.encode_utf16()) {
            return Ok(());
        }
        let at = mirror.iter().copied().zip(text.encode_utf16()).take_while(|(left, right)| left == right).count();
        let detail = format!(
            "load {id}: the editor's {} units and the document's {} differ from unit {at} on",
            mirror.len(),
            text.encode_utf16().count()
        );
        Err(self.stop(Invariant::Patches, detail))
    }

    /// What another device wrote is shown only when some log held it, or with a proof that a relay showed it.
    fn nothing_unlogged(&self, id: usize, device: usize, document: &DocumentId, replica: &Replica) -> Result<(), Stop> {
        let own = &self.devices[device].principal;
        let logged = self.books.logged.get(document);
        let stored = self.devices[device].store.read(document);
        for (site, counter) in replica.document().vector().iter() {
            let mut held = logged.map_or(0, |logged| logged.get(site));
            if held >= counter {
                continue;
            }
            // What another tab of the profile stored comes without its proofs; they are in the same store.
            let mut proven: Vec<(u64, u64)> = replica
                .kept_frames()
                .chain(stored.frames.values())
                .filter(|frame| frame.site == site)
                .map(|frame| (frame.first, frame.last))
                .collect();
            proven.sort_unstable();
            for (first, last) in proven {
                held = if first <= held + 1 { held.max(last) } else { held };
            }
            if held < counter && self.books.authors.get(&(document.clone(), site)).is_some_and(|author| author != own) {
                return Err(self.stop(
                    Invariant::NoLoss,
                    format!("load {id} shows {site} up to {counter}; no log holds, and no kept frame proves, more than {held}"),
                ));
            }
        }
        Ok(())
    }

    /// The document is what the plain reading of the history makes of its vector.
    fn as_written(&self, id: usize, name: &DocumentId, document: &Document, most: usize) -> Result<(), Stop> {
        let Some(history) = self.history.get(name) else { return Ok(()) };
        if document.len_utf16() > most || document.has_unsealed() || history.unknown_within(document.vector()).is_some()
        {
            return Ok(());
        }
        let (expected, text) = (history.text(document.vector()), document.text());
        if expected != text {
            let at = expected.chars().zip(text.chars()).take_while(|(left, right)| left == right).count();
            let counts = (expected.chars().count(), text.chars().count());
            return Err(self.stop(
                Invariant::Convergence,
                format!(
                    "load {id}: written were {} characters, shown are {}; they differ from {at} on",
                    counts.0, counts.1
                ),
            ));
        }
        let meta: BTreeMap<String, Vec<u8>> =
            document.meta().map(|(key, value)| (key.to_owned(), value.to_vec())).collect();
        if meta != history.meta(document.vector()) {
            return Err(self.stop(
                Invariant::Convergence,
                format!("load {id}: meta is {meta:?}, written was {:?}", history.meta(document.vector())),
            ));
        }
        Ok(())
    }

    /// What living replicas hold now must be in the end's text.
    pub(super) fn count_the_living(&mut self) {
        for load in self.loads.iter().flatten() {
            for opened in &load.opened {
                if let Some(replica) = load.client.replica(opened.channel) {
                    self.books.living.entry(opened.document.clone()).or_default().join(replica.document().vector());
                }
            }
        }
    }

    /// The end: all faults have stopped, all had time.
    pub(super) fn reckon(&mut self) -> Result<(), Stop> {
        self.inspect()?;
        self.somebody_decides()?;
        for document in self.documents.clone() {
            let ended = self.one_state(&document)?;
            self.nothing_lost(&document, &ended)?;
            self.as_written(usize::MAX, &document, &ended, usize::MAX)?;
            for region in 0..self.regions.len() {
                self.fold_is(region, &document, &ended)?;
                self.replay(region, &document, &ended)?;
                self.op_store_is(region, &document, &ended)?;
                self.check_snapshot(region, &document)?;
            }
            *self.figures.entry("final characters").or_default() += ended.len_scalars() as u64;
            *self.figures.entry("final sites").or_default() += ended.vector().len() as u64;
        }
        for (dots, sites) in self.history.values().map(History::size) {
            *self.figures.entry("dots").or_default() += dots as u64;
            *self.figures.entry("sites").or_default() += sites as u64;
        }
        let records = self.regions.iter().map(|region| region.log.durable().len() as u64).sum();
        self.figures.insert("log records", records);
        self.figures.insert("loads", self.loads.len() as u64);
        let hash = self.trace.hash();
        self.trace.absorb(&hash.to_le_bytes());
        Ok(())
    }

    /// I3, I11: every load is connected, has nothing left to send, and all are equal.
    fn one_state(&mut self, document: &DocumentId) -> Result<Document, Stop> {
        let mut first: Option<(usize, &Document)> = None;
        for (id, load) in self.loads.iter().enumerate() {
            let Some(load) = load else { continue };
            for opened in load.opened.iter().filter(|opened| opened.document == *document) {
                if opened.status != Status::Connected {
                    return Err(self.stop(
                        Invariant::Drained,
                        format!("load {id} is {} long after the last fault", opened.status.name()),
                    ));
                }
                let Some(replica) = load.client.replica(opened.channel) else { continue };
                let state = replica.document();
                state.assert_invariants();
                match first {
                    None => first = Some((id, state)),
                    Some((other, equal)) if equal.vector() == state.vector() => {
                        if equal.snapshot() != state.snapshot() {
                            return Err(self.stop(
                                Invariant::Convergence,
                                format!(
                                    "loads {other} and {id} have one vector and two states: {}",
                                    apart(equal, state)
                                ),
                            ));
                        }
                    }
                    Some((other, different)) => {
                        let detail = format!(
                            "loads {other} and {id} still differ: {}{}",
                            difference(different.vector(), state.vector()),
                            self.whereabouts(document, different.vector(), state.vector())
                        );
                        return Err(self.stop(Invariant::Drained, detail));
                    }
                }
            }
        }
        for (index, device) in self.devices.iter().enumerate() {
            if let Some(entry) = device.store.read(document).outbox.values().next() {
                let detail = format!(
                    "device {index} still has {} from {} to {} in its outbox, acked as {:?}",
                    entry.site, entry.first, entry.last, entry.acked
                );
                return Err(self.stop(Invariant::Drained, detail));
            }
        }
        let (_, ended) = first.ok_or_else(|| self.stop(Invariant::Drained, "no load lives".to_owned()))?;
        Ok(ended.clone())
    }

    /// Who has how much of the first site in which two vectors differ.
    fn whereabouts(&self, document: &DocumentId, left: &VersionVector, right: &VersionVector) -> String {
        let mut joined = left.clone();
        joined.join(right);
        let Some((site, _)) = joined.iter().find(|(site, _)| left.get(*site) != right.get(*site)) else {
            return String::new();
        };
        let mut lines = String::new();
        for (index, region) in self.regions.iter().enumerate() {
            let (logged, holes) = (region.logged(document).get(site), region.fold(document).holes());
            lines += &format!("\n  region {index}: logged up to {logged}, holes {holes:?}");
        }
        for (index, relay) in self.relays.iter().enumerate() {
            let logged = relay.rooms.get(document).and_then(Host::logged).map(|logged| logged.get(site));
            lines += &format!("\n  relay {index}: room {logged:?}");
        }
        for (id, load) in self.loads.iter().enumerate() {
            let Some(load) = load else { continue };
            let opened = load.opened.iter().find(|opened| opened.document == *document);
            let Some(replica) = opened.and_then(|opened| load.client.replica(opened.channel)) else { continue };
            let frames: Vec<(u64, u64)> = replica
                .kept_frames()
                .filter(|frame| frame.site == site)
                .map(|frame| (frame.first, frame.last))
                .collect();
            let (device, shown) = (load.device, replica.document().vector().get(site));
            let stored = self.devices[device].store.read(document);
            let outbox: Vec<(u64, u64)> = stored
                .outbox
                .values()
                .filter(|entry| entry.site == site)
                .map(|entry| (entry.first, entry.last))
                .collect();
            lines += &format!(
                "\n  load {id} of device {device}: shows up to {shown}, keeps {frames:?}, outbox {outbox:?}, pending {:?}",
                replica.saved(self.schedule.instant()),
            );
        }
        let author = self.books.authors.get(&(document.clone(), site));
        let replicated = self.books.replicated.get(document).map_or(0, |replicated| replicated.get(site));
        lines + &format!("\n  written by {author:?}, acked as replicated up to {replicated}")
    }

    /// I1: what was acked, and what anyone showed when the faults ended, is there.
    fn nothing_lost(&self, document: &DocumentId, ended: &Document) -> Result<(), Stop> {
        let acked = (0..self.regions.len()).map(|region| ("acked", self.books.acked.get(&(region, document.clone()))));
        let others =
            [("acked replicated", self.books.replicated.get(document)), ("shown", self.books.living.get(document))];
        for (what, owed) in acked.chain(others) {
            let Some(owed) = owed else { continue };
            if let Some((site, counter)) = owed.iter().find(|(site, counter)| ended.vector().get(*site) < *counter) {
                return Err(self.stop(
                    Invariant::NoLoss,
                    format!(
                        "{site} was {what} up to {counter}; in the end it is there up to {}",
                        ended.vector().get(site)
                    ),
                ));
            }
        }
        let unknown = self.history.get(document).and_then(|history| history.unknown_within(ended.vector()));
        if let Some(dot) = unknown {
            return Err(self.stop(Invariant::OneContent, format!("{dot:?} is in the text, and nobody wrote it")));
        }
        Ok(())
    }

    /// I12: the log alone, read in its order, gives what the clients have.
    fn fold_is(&self, region: usize, document: &DocumentId, ended: &Document) -> Result<(), Stop> {
        if !self.routes.is_empty() {
            return self.region_is(region, document, ended);
        }
        let deltas = self.regions[region].deltas(document);
        let mut folded = Document::new();
        let mut held: Vec<Delta> = Vec::new();
        for delta in deltas {
            held.push(delta);
            // A record beyond a hole waits for what is missing.
            while let Some(index) = held.iter().position(|delta| folded.vector().get(delta.site) + 1 >= delta.first) {
                let delta = held.swap_remove(index);
                if let Err(error) = folded.apply(&delta) {
                    return Err(self.stop(
                        Invariant::SnapshotIsFold,
                        format!("the log holds {:?}, which does not apply: {error}", delta.header()),
                    ));
                }
            }
        }
        if folded.vector() != ended.vector() {
            return Err(self.stop(
                Invariant::SnapshotIsFold,
                format!("log and clients differ: {}", difference(folded.vector(), ended.vector())),
            ));
        }
        if folded.snapshot() != ended.snapshot() {
            return Err(self.stop(
                Invariant::SnapshotIsFold,
                "the log's fold has the clients' vector and another state".to_owned(),
            ));
        }
        Ok(())
    }

    /// I11, I12: no hole is open for ever, and the op store alone gives what the clients have.
    fn op_store_is(&self, region: usize, document: &DocumentId, ended: &Document) -> Result<(), Stop> {
        if self.options.shape == Shape::Alone {
            return Ok(());
        }
        if let Some(hole) = self.regions[region].fold(document).holes().first() {
            let detail = format!(
                "region {region}: what follows waits for {} to {} of {} for ever",
                hole.first, hole.last, hole.site
            );
            return Err(self.stop(Invariant::Drained, detail));
        }
        let rebuilt = self.regions[region].rebuilt(document);
        if rebuilt.vector() != ended.vector() {
            let detail = format!(
                "op store of region {region} and clients differ: {}",
                difference(rebuilt.vector(), ended.vector())
            );
            return Err(self.stop(Invariant::SnapshotIsFold, detail));
        }
        if rebuilt.snapshot() != ended.snapshot() {
            let detail = format!("the op store of region {region} has the clients' vector and another state");
            return Err(self.stop(Invariant::SnapshotIsFold, detail));
        }
        Ok(())
    }

    /// I12 where logs are trimmed and regions fed: snapshot and log together give what the clients have.
    fn region_is(&self, region: usize, document: &DocumentId, ended: &Document) -> Result<(), Stop> {
        let folded = self.regions[region].fold(document);
        if folded.vector() != ended.vector() {
            return Err(self.stop(
                Invariant::SnapshotIsFold,
                format!("region {region} and clients differ: {}", difference(folded.vector(), ended.vector())),
            ));
        }
        if folded.document().snapshot() != ended.snapshot() {
            let detail = format!("region {region} has the clients' vector and another state");
            return Err(self.stop(Invariant::SnapshotIsFold, detail));
        }
        Ok(())
    }

    /// I2: everything once more, in any order, some of it twice, changes nothing.
    fn replay(&mut self, region: usize, document: &DocumentId, ended: &Document) -> Result<(), Stop> {
        let mut again = ended.clone();
        let mut deltas = self.regions[region].deltas(document);
        let mut dice = self.dice.fork("replay", 0);
        for index in (1..deltas.len()).rev() {
            deltas.swap(index, dice.index(index + 1));
        }
        for delta in deltas.iter().chain(deltas.iter().rev().take(50)) {
            let patches = again.apply(delta).map(|applied| applied.patches);
            if patches.as_ref().map_or(true, |patches| !patches.is_empty()) {
                return Err(
                    self.stop(Invariant::ReplayProof, format!("replaying {:?} gives {patches:?}", delta.header()))
                );
            }
        }
        if again.snapshot() != ended.snapshot() {
            return Err(self.stop(Invariant::ReplayProof, "replaying the log changed the state".to_owned()));
        }
        Ok(())
    }

    /// I12: the stored snapshot is the fold of the log up to its vector.
    fn check_snapshot(&self, region: usize, document: &DocumentId) -> Result<(), Stop> {
        let Some(snapshot) = self.regions[region].snapshot(document) else { return Ok(()) };
        let stored = Document::load(&snapshot.bytes).map_err(|error| {
            self.stop(Invariant::SnapshotIsFold, format!("a stored snapshot does not load: {error}"))
        })?;
        stored.assert_invariants();
        let expected = self.history.get(document).map(|history| history.text(stored.vector())).unwrap_or_default();
        if stored.text() != expected {
            return Err(self.stop(
                Invariant::SnapshotIsFold,
                format!(
                    "a stored snapshot of {} characters should have {}",
                    stored.len_scalars(),
                    expected.chars().count()
                ),
            ));
        }
        Ok(())
    }
}

/// Advances `vector` over `first..=last` where that leaves no hole.
pub(super) fn promise(vector: &mut VersionVector, site: SiteId, first: u64, last: u64) {
    if first <= vector.get(site) + 1 {
        vector.advance(site, last);
    }
}

/// Where two vectors differ, in a line.
fn difference(left: &VersionVector, right: &VersionVector) -> String {
    let mut joined = left.clone();
    joined.join(right);
    let differing: Vec<String> = joined
        .iter()
        .filter(|(site, _)| left.get(*site) != right.get(*site))
        .map(|(site, _)| format!("{site}: {} and {}", left.get(site), right.get(site)))
        .collect();
    differing.join(", ")
}

/// Where two states differ, in a line.
fn apart(left: &Document, right: &Document) -> String {
    let (one, other) = (left.text(), right.text());
    let at = one.chars().zip(other.chars()).take_while(|(left, right)| left == right).count();
    let counts = (one.chars().count(), other.chars().count());
    let author = |document: &Document| document.author_at(document.scalar_to_utf16(at.min(document.len_scalars())));
    format!("{} and {} characters, apart from {at} on ({:?}, {:?})", counts.0, counts.1, author(left), author(right))
}
