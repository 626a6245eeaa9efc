//! Devices and what runs on them: tabs with a client each, the stores they share, the people at their keyboards.
//!
//! A tab's life is a *load*: it is opened from what the device's store holds, and ends by a close, a crash or the loss of
//! power. The simulator executes a load's effects as a browser shell would, only that every step between two effects is a
//! place where the load may end.

use std::collections::BTreeMap;

use selvedge_engine::{TextPatch, VersionVector};
use selvedge_protocol::client::{
    Client, ClientConfig, Effect, ReplicaConfig, Status, StoreError, StoreTicket, StoreTransaction,
};
use selvedge_protocol::{Channel, CloseCode, DocumentId, Endpoint, Instant};

use super::checks::promise;
use super::device::DeviceStore;
use super::fault::Fault;
use super::network::{Close, ConnectionId, End, Link, Parcel};
use super::outcome::Invariant;
use super::plant::Plant;
use super::schedule::{MS, Micros, SECOND, micros};
use super::world::{Event, Stop, World};
use super::writer::{Action, Writer};

/// A device: a profile with a store, a link, and tabs.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) principal: String,
    pub(super) store: DeviceStore,
    pub(super) link: Link,
    pub(super) usual_link: Link,
    /// Nothing reaches it before this.
    pub(super) dark_until: Micros,
    /// Store transactions fail before this.
    pub(super) full_until: Micros,
    /// A client was told that there is no room: from then on it may forget here what a region has.
    pub(super) pressed: bool,
    /// Store transactions take long before this.
    pub(super) slow_store_until: Micros,
    /// The user does not want to be online before this.
    pub(super) offline_until: Micros,
    /// The live load of each tab.
    pub(super) tabs: Vec<Option<usize>>,
    /// A copy of the store taken some time ago.
    pub(super) backup: Option<DeviceStore>,
    /// What this device's store was reported to hold, by document.
    pub(super) saved: BTreeMap<DocumentId, VersionVector>,
    pub(super) reader: bool,
    /// The relay it dials first.
    pub(super) near: usize,
    /// It knows no other.
    pub(super) knows_one: bool,
}

impl Device {
    /// A device with one tab, on which nothing is stored.
    pub(super) fn new(principal: String, link: Link) -> Self {
        Self {
            principal,
            store: DeviceStore::default(),
            link,
            usual_link: link,
            dark_until: 0,
            full_until: 0,
            pressed: false,
            slow_store_until: 0,
            offline_until: 0,
            tabs: vec![None],
            backup: None,
            saved: BTreeMap::new(),
            reader: false,
            near: 0,
            knows_one: false,
        }
    }
}

/// A connection that ended without a close.
const LOST: CloseCode = CloseCode(1006);

/// One document of a load.
pub(super) struct Opened {
    pub(super) document: DocumentId,
    pub(super) channel: Channel,
    /// The editor's text, kept by local edits and patches alone.
    pub(super) mirror: Vec<u16>,
    pub(super) writer: Writer,
    pub(super) status: Status,
    pub(super) storing: Option<(StoreTicket, StoreTransaction)>,
    /// Something was sent while it was being stored.
    pub(super) sent_unstored: bool,
    /// A push was refused for good.
    pub(super) refused: bool,
}

/// One life of a tab.
pub(super) struct Load {
    pub(super) device: usize,
    pub(super) tab: usize,
    pub(super) client: Client,
    pub(super) opened: Vec<Opened>,
    pub(super) connections: BTreeMap<u64, ConnectionId>,
    wake: Option<Micros>,
}

impl Load {
    pub(super) fn opened_at(&mut self, channel: Channel) -> Option<&mut Opened> {
        self.opened.iter_mut().find(|opened| opened.channel == channel)
    }
}

impl World {
    /// Opens a tab of a device, from what its store holds now.
    pub(super) fn open_tab(&mut self, device: usize, tab: usize) -> Result<(), Stop> {
        if self.devices[device].tabs[tab].is_some() {
            return Ok(());
        }
        self.devices[device].store.overwrite = self.options.plant == Some(Plant::StateOverwritten);
        let id = self.loads.len();
        let mut dice = self.dice.fork("load", id as u64);
        let online = self.devices[device].offline_until <= self.schedule.now();
        let now = self.schedule.instant();
        let config = ClientConfig {
            endpoints: self.endpoints(&self.devices[device]),
            token: Some(self.devices[device].principal.clone()),
            seed: dice.bits(),
            client: "simulator".to_owned(),
            online,
            ..ClientConfig::default()
        };
        let mut client = Client::new(config, now);
        let mut opened = Vec::new();
        for document in self.documents.clone() {
            let stored = self.devices[device].store.read(&document);
            let principal = self.devices[device].principal.clone();
            let site_seed = if self.continues_site(device, &document) { device as u64 } else { dice.bits() };
            let config = ReplicaConfig {
                store: true,
                restored: stored.restored(),
                ..ReplicaConfig::new(document.clone(), principal, site_seed)
            };
            let restored = config.restored.is_some();
            let channel = client.open(config, now).map_err(|error| {
                self.stop(Invariant::OwnText, format!("a stored copy of {document} does not open: {error}"))
            })?;
            if let Some(rule) = self.options.plant.and_then(Plant::client_rule) {
                client.without(channel, rule);
            }
            let writer = Writer::new(dice.fork("writer", opened.len() as u64), self.devices[device].reader);
            let writer = if self.nesting && !self.devices[device].reader { writer.nesting() } else { writer };
            let mirror: Vec<u16> = client
                .replica(channel)
                .map(|replica| replica.document().text().encode_utf16().collect())
                .unwrap_or_default();
            self.note(format_args!(
                "load {id}: device {device} tab {tab} opens {document} {} with {} units",
                if restored { "from its store" } else { "anew" },
                mirror.len()
            ));
            opened.push(Opened {
                document,
                channel,
                mirror,
                writer,
                status: Status::Connecting,
                storing: None,
                sent_unstored: false,
                refused: false,
            });
        }
        self.devices[device].tabs[tab] = Some(id);
        self.loads.push(Some(Load { device, tab, client, opened, connections: BTreeMap::new(), wake: None }));
        self.check_restored(id)?;
        self.pump(id)?;
        if self.options.calm {
            return Ok(());
        }
        let pause = dice.spread(SECOND);
        for index in 0..self.documents.len() {
            self.schedule.after(pause, Event::Write { load: id, index });
        }
        Ok(())
    }
}

impl World {
    /// Carries out everything a load's client asks for, and sets its alarm.
    pub(super) fn pump(&mut self, id: usize) -> Result<(), Stop> {
        loop {
            let Some(load) = self.loads[id].as_mut() else { return Ok(()) };
            let Some(effect) = load.client.poll_effect() else { break };
            self.carry_out(id, effect)?;
        }
        let now = self.schedule.now();
        let Some(load) = self.loads[id].as_mut() else { return Ok(()) };
        let Some(deadline) = load.client.deadline() else { return Ok(()) };
        let at = micros(deadline).max(now + MS);
        if load.wake.is_none_or(|wake| at < wake || wake <= now) {
            load.wake = Some(at);
            self.schedule.at(at, Event::Wake { load: id });
        }
        Ok(())
    }

    /// A load's alarm rings.
    pub(super) fn wake(&mut self, id: usize) -> Result<(), Stop> {
        let (now, instant) = (self.schedule.now(), self.schedule.instant());
        let Some(load) = self.loads[id].as_mut() else { return Ok(()) };
        if load.wake != Some(now) {
            return Ok(());
        }
        load.wake = None;
        load.client.tick(instant);
        self.pump(id)
    }

    fn carry_out(&mut self, id: usize, effect: Effect) -> Result<(), Stop> {
        match effect {
            Effect::Connect { attempt, url, .. } => self.dial(id, attempt, &url),
            Effect::Send { attempt, bytes } => self.client_sends(id, attempt, bytes),
            Effect::Disconnect { attempt, code } => {
                let close = Close { code, reason: String::new() };
                self.client_hangs_up(id, attempt, Some(close));
            }
            Effect::Store { channel, ticket, transaction } => return self.store(id, channel, ticket, transaction),
            Effect::Patch { channel, patches, origin } => {
                self.note(format_args!("load {id}: {} patches, {origin:?}", patches.len()));
                if let Some(opened) = self.loads[id].as_mut().and_then(|load| load.opened_at(channel)) {
                    return apply_patches(&mut opened.mirror, &patches)
                        .map_err(|error| self.stop(Invariant::Patches, format!("load {id}: {error}")));
                }
            }
            Effect::LocalDelta { channel, bytes } => self.tell_tabs(id, channel, &bytes)?,
            Effect::Status { channel, status } => {
                self.note(format_args!("load {id}: {}", status.name()));
                if let Some(opened) = self.loads[id].as_mut().and_then(|load| load.opened_at(channel)) {
                    opened.status = status;
                }
            }
            Effect::Refused { channel, code, message } => {
                self.note(format_args!("load {id}: refused {code:?}: {message}"));
                if let Some(opened) = self.loads[id].as_mut().and_then(|load| load.opened_at(channel)) {
                    opened.refused = true;
                }
                return Err(self.stop(
                    Invariant::ClearErrors,
                    format!("load {id}: an honest push was refused for good: {code:?} {message}"),
                ));
            }
            Effect::Closed { code: CloseCode::NORMAL, .. } => {}
            Effect::Closed { code, reason, .. } => {
                return Err(self.stop(
                    Invariant::ClearErrors,
                    format!("load {id}: an honest document was closed for good: {code:?} {reason}"),
                ));
            }
            Effect::Reset { generation, .. } => {
                return Err(self.stop(
                    Invariant::NoLoss,
                    format!("load {id}: reset to generation {generation}, and nobody rebuilt the document"),
                ));
            }
            Effect::StoreFailed { error, .. } => {
                self.note(format_args!("load {id}: told that its store failed: {error}"))
            }
            _ => {}
        }
        Ok(())
    }

    /// Planted faults: a load takes up the site of the load before it, always or when no log has more of it than its store.
    fn continues_site(&self, device: usize, document: &DocumentId) -> bool {
        match self.options.plant {
            Some(Plant::SiteContinued) => true,
            Some(Plant::SiteContinuedIfAgreed) => {
                let covered = self.devices[device].store.covers(document);
                let logged = self.regions[0].logged(document);
                covered.iter().all(|(site, counter)| logged.get(site) <= counter)
            }
            _ => false,
        }
    }

    /// The relays that a device knows, the nearest first.
    fn endpoints(&self, device: &Device) -> Vec<Endpoint> {
        let (near, relays) = (device.near, self.relays.len());
        let known = if device.knows_one { 1 } else { relays };
        let endpoint = |relay: usize| Endpoint {
            relay: format!("relay-{relay}"),
            region: format!("region-{}", self.relays[relay].region),
            ..Endpoint::websocket(relay_url(relay))
        };
        (0..known).map(|step| endpoint((near + step) % relays)).collect()
    }

    /// A load wants a connection: it is there one round trip later, if anything answers.
    fn dial(&mut self, id: usize, attempt: u64, url: &str) {
        let Some(load) = self.loads[id].as_ref() else { return };
        let device = &self.devices[load.device];
        let now = self.schedule.now();
        if device.dark_until > now {
            self.hit(Fault::DialFailed);
            // Half of what cannot be reached is refused at once, the rest never answers.
            if self.dice.percent(50) {
                self.schedule.after(20 * MS, Event::DialFailed { load: id, attempt });
            }
            return;
        }
        let trip = 2 * device.link.delay + self.dice.below(device.link.jitter + 1);
        let Some(relay) = (0..self.relays.len()).find(|relay| relay_url(*relay) == url) else { return };
        self.schedule.after(trip, Event::Dialled { load: id, attempt, relay });
    }

    /// A dial arrives at the relay and its answer at the client.
    pub(super) fn dialled(&mut self, id: usize, attempt: u64, relay: usize) -> Result<(), Stop> {
        let (now, instant) = (self.schedule.now(), self.schedule.instant());
        let Some(load) = self.loads[id].as_ref() else { return Ok(()) };
        if self.devices[load.device].dark_until > now {
            return Ok(());
        }
        let Some(process) = self.relays[relay].process() else { return self.dial_failed(id, attempt) };
        let connection = self.network.connect(id, attempt, process);
        self.note(format_args!("load {id}: attempt {attempt} is connection {} to relay {relay}", connection.0));
        self.session_begins(relay, connection)?;
        let Some(load) = self.loads[id].as_mut() else { return Ok(()) };
        load.connections.insert(attempt, connection);
        load.client.connect_opened(attempt, instant);
        self.pump(id)
    }

    /// A dial fails.
    pub(super) fn dial_failed(&mut self, id: usize, attempt: u64) -> Result<(), Stop> {
        let instant = self.schedule.instant();
        let Some(load) = self.loads[id].as_mut() else { return Ok(()) };
        self.faults.hit(Fault::DialFailed);
        load.client.connect_failed(attempt, instant);
        self.pump(id)
    }

    fn client_sends(&mut self, id: usize, attempt: u64, bytes: Vec<u8>) {
        let Some(load) = self.loads[id].as_mut() else { return };
        let Some(connection) = load.connections.get(&attempt).copied() else { return };
        for opened in &mut load.opened {
            opened.sent_unstored |=
                opened.storing.as_ref().is_some_and(|(_, transaction)| !transaction.put_outbox.is_empty());
        }
        let link = self.devices[load.device].link;
        self.trace.absorb(&bytes);
        self.send(connection, End::Relay, Parcel::Message(bytes), link);
    }

    /// The client's side of a connection ends.
    pub(super) fn client_hangs_up(&mut self, id: usize, attempt: u64, close: Option<Close>) {
        let Some(load) = self.loads[id].as_mut() else { return };
        let Some(connection) = load.connections.remove(&attempt) else { return };
        let link = self.devices[load.device].link;
        self.network.silence(connection, End::Client);
        self.send(connection, End::Relay, Parcel::Closed(close), link);
    }

    /// Something arrives at a client.
    pub(super) fn client_receives(&mut self, id: usize, attempt: u64, parcel: Parcel) -> Result<(), Stop> {
        let instant = self.schedule.instant();
        let Some(load) = self.loads[id].as_mut() else { return Ok(()) };
        match parcel {
            Parcel::Message(bytes) => load.client.received(attempt, &bytes, instant),
            Parcel::Closed(close) => {
                load.connections.remove(&attempt);
                let (code, reason) = close.map_or((LOST, String::new()), |close| (close.code, close.reason));
                self.trace
                    .note(self.schedule.now(), format_args!("load {id}: attempt {attempt} closed {code:?} {reason}"));
                load.client.closed(attempt, code, &reason, instant);
            }
        }
        self.pump(id)
    }

    fn store(
        &mut self,
        id: usize,
        channel: Channel,
        ticket: StoreTicket,
        transaction: StoreTransaction,
    ) -> Result<(), Stop> {
        let Some(document) = self.document_of(id, channel) else { return Ok(()) };
        for entry in &transaction.put_outbox {
            self.learn(&document, &entry.bytes, "an outbox")?;
        }
        let Some(load) = self.loads[id].as_mut() else { return Ok(()) };
        let device = load.device;
        let Some(opened) = load.opened_at(channel) else { return Ok(()) };
        if opened.storing.is_some() {
            return Err(
                self.stop(Invariant::Sound, format!("load {id}: two store transactions of one document at once"))
            );
        }
        opened.storing = Some((ticket, transaction));
        opened.sent_unstored = false;
        let mean = if self.devices[device].slow_store_until > self.schedule.now() {
            self.hit(Fault::StoreSlow);
            700 * MS
        } else {
            6 * MS
        };
        let delay = self.dice.spread(mean);
        self.schedule.after(delay, Event::StoreCommit { load: id, channel, ticket });
        if self.options.plant == Some(Plant::SavedBeforeStored) {
            self.schedule.after(0, Event::StoreReply { load: id, channel, ticket, result: Ok(()) });
        }
        Ok(())
    }

    /// A store transaction commits; the client hears of it a moment later.
    pub(super) fn store_commits(&mut self, id: usize, channel: Channel, ticket: StoreTicket) -> Result<(), Stop> {
        let now = self.schedule.now();
        let Some(load) = self.loads[id].as_mut() else { return Ok(()) };
        let device = load.device;
        let Some(opened) = load.opened_at(channel) else { return Ok(()) };
        let Some((_, transaction)) = opened.storing.as_ref().filter(|(stored, _)| *stored == ticket) else {
            return Ok(());
        };
        let (document, transaction) = (opened.document.clone(), transaction.clone());
        let result = if self.devices[device].full_until > now {
            self.hit(Fault::StoreFailed);
            self.devices[device].pressed = true;
            Err(if self.dice.percent(50) { StoreError::Quota } else { StoreError::Failed("the disk".to_owned()) })
        } else {
            let before = self.devices[device].store.covers(&document);
            let result = self.commit(device, &document, transaction);
            self.check_commit(id, device, &document, &before)?;
            result
        };
        let failed = result.as_ref().err().map(StoreError::to_string);
        self.note(format_args!("load {id}: store {} {}", ticket.0, failed.as_deref().unwrap_or("committed")));
        let delay = self.dice.spread(2 * MS);
        self.schedule.after(delay, Event::StoreReply { load: id, channel, ticket, result });
        Ok(())
    }

    fn commit(
        &mut self,
        device: usize,
        document: &DocumentId,
        mut transaction: StoreTransaction,
    ) -> Result<(), StoreError> {
        if self.options.plant == Some(Plant::OutboxDroppedAtSend) {
            transaction.put_outbox.clear();
        }
        if self.options.plant == Some(Plant::FramesNotStored) {
            transaction.put_frames.clear();
        }
        self.devices[device].store.commit(document, transaction)
    }

    /// The client is told how its transaction ended.
    pub(super) fn store_replies(
        &mut self,
        id: usize,
        channel: Channel,
        ticket: StoreTicket,
        result: Result<(), StoreError>,
    ) -> Result<(), Stop> {
        let instant = self.schedule.instant();
        let Some(load) = self.loads[id].as_mut() else { return Ok(()) };
        let device = load.device;
        let Some(opened) = load.opened_at(channel) else { return Ok(()) };
        let Some((_, transaction)) = opened.storing.take_if(|(stored, _)| *stored == ticket) else { return Ok(()) };
        opened.sent_unstored = false;
        let document = opened.document.clone();
        match result {
            Ok(()) => {
                load.client.stored(channel, ticket, instant);
                self.promise(device, &document, &transaction);
            }
            Err(error) => load.client.store_failed(channel, ticket, error, instant),
        }
        self.pump(id)
    }

    /// What a load was told to be on its device must be there when the device is opened again.
    fn promise(&mut self, device: usize, document: &DocumentId, transaction: &StoreTransaction) {
        let saved = self.devices[device].saved.entry(document.clone()).or_default();
        for entry in &transaction.put_outbox {
            // An outbox holds what no state holds only from where a state ends: what is promised is contiguous.
            promise(saved, entry.site, entry.first, entry.last);
        }
        if let Some(state) = &transaction.state
            && let Ok(vector) = VersionVector::decode(&state.vector)
        {
            saved.join(&vector);
        }
    }

    fn document_of(&self, id: usize, channel: Channel) -> Option<DocumentId> {
        let load = self.loads[id].as_ref()?;
        load.opened.iter().find(|opened| opened.channel == channel).map(|opened| opened.document.clone())
    }

    /// A stored delta is told to the other tabs of the profile.
    fn tell_tabs(&mut self, id: usize, channel: Channel, bytes: &[u8]) -> Result<(), Stop> {
        let Some(document) = self.document_of(id, channel) else { return Ok(()) };
        self.learn(&document, bytes, "a tab")?;
        let Some(load) = self.loads[id].as_ref() else { return Ok(()) };
        for other in self.devices[load.device].tabs.iter().flatten().filter(|other| **other != id) {
            let delay = self.dice.spread(4 * MS);
            self.schedule
                .after(delay, Event::TabDelta { load: *other, document: document.clone(), bytes: bytes.to_vec() });
        }
        Ok(())
    }

    /// A delta of another tab arrives.
    pub(super) fn tab_hears(&mut self, id: usize, document: &DocumentId, bytes: &[u8]) -> Result<(), Stop> {
        let instant = self.schedule.instant();
        let Some(load) = self.loads[id].as_mut() else { return Ok(()) };
        let Some(channel) = load.opened.iter().find(|opened| opened.document == *document).map(|opened| opened.channel)
        else {
            return Ok(());
        };
        // A tab that lacks what came before gets it all with its next sync.
        if load.client.apply_from_tab(channel, bytes, instant).is_err() {
            *self.figures.entry("tab deltas too early").or_default() += 1;
        }
        self.pump(id)
    }

    /// The person at a load does the next thing.
    pub(super) fn write(&mut self, id: usize, index: usize) -> Result<(), Stop> {
        if self.quiet {
            return Ok(());
        }
        let Some(load) = self.loads[id].as_mut() else { return Ok(()) };
        let Some(opened) = load.opened.get_mut(index) else { return Ok(()) };
        let (action, pause) = opened.writer.next(opened.mirror.len());
        self.schedule.after(pause, Event::Write { load: id, index });
        match action {
            Some(action) => self.act(id, index, &action),
            None => Ok(()),
        }
    }

    /// Carries out one action of a person, on the editor's text and on the document.
    pub(super) fn act(&mut self, id: usize, index: usize, action: &Action) -> Result<(), Stop> {
        let instant = self.schedule.instant();
        let Some(load) = self.loads[id].as_mut() else { return Ok(()) };
        let opened = &mut load.opened[index];
        let channel = opened.channel;
        let result = match action {
            Action::Replace { at, delete, insert } => edit(&mut load.client, opened, *at, *delete, insert, instant),
            Action::ReplaceAll { places, insert } => {
                places.iter().try_for_each(|(at, delete)| edit(&mut load.client, opened, *at, *delete, insert, instant))
            }
            Action::Undo => {
                let patches = load.client.undo(channel, instant).map_err(|error| error.to_string());
                patches.and_then(|patches| apply_patches(&mut opened.mirror, &patches))
            }
            Action::Redo => {
                let patches = load.client.redo(channel, instant).map_err(|error| error.to_string());
                patches.and_then(|patches| apply_patches(&mut opened.mirror, &patches))
            }
            Action::Pause => {
                load.client.stop_capturing(channel);
                Ok(())
            }
            Action::Meta { key, value } => {
                load.client.set_meta(channel, key, value.as_deref(), instant).map_err(|error| error.to_string())
            }
            Action::Presence(data) => {
                load.client.set_presence(channel, data.clone(), instant).map_err(|error| error.to_string())
            }
        };
        *self.figures.entry("actions").or_default() += 1;
        if let Err(error) = result {
            return Err(self.stop(Invariant::Sound, format!("load {id}: {action:?} was refused: {error}")));
        }
        self.trace.absorb(&[action.letter()]);
        self.pump(id)
    }
}

/// One replacement on the editor's text and on the document; the echo mends the editor's text.
fn edit(
    client: &mut Client,
    opened: &mut Opened,
    at: usize,
    delete: usize,
    insert: &str,
    now: Instant,
) -> Result<(), String> {
    let echo = client.edit(opened.channel, at, delete, insert, now).map_err(|error| error.to_string())?;
    opened.mirror.splice(at..at + delete, insert.encode_utf16());
    apply_patches(&mut opened.mirror, &echo)
}

/// Patches applied as an editor does.
pub(super) fn apply_patches(text: &mut Vec<u16>, patches: &[TextPatch]) -> Result<(), String> {
    for patch in patches {
        if patch.at + patch.delete > text.len() {
            return Err(format!(
                "a patch at {} + {} is beyond the editor's {} units",
                patch.at,
                patch.delete,
                text.len()
            ));
        }
        text.splice(patch.at..patch.at + patch.delete, patch.insert.encode_utf16());
    }
    Ok(())
}

/// Where a relay is reached.
fn relay_url(relay: usize) -> String {
    format!("ws://relay-{relay}")
}
