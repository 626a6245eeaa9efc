//! Clients, stores and a server on one clock with one seed.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "shared by several test files, none of which uses all"
)]

pub mod server;

use std::collections::BTreeMap;

use selvedge_engine::VersionVector;
use selvedge_protocol::client::*;
use selvedge_protocol::{AckLevel, Channel, CloseCode, DocumentId, Endpoint, Instant, Random};
use server::Server;

/// What a device's disk holds of the document.
#[derive(Clone, Default)]
pub struct Disk {
    pub outbox: BTreeMap<OutboxKey, OutboxEntry>,
    pub state: Option<StoredState>,
    pub frames: BTreeMap<OutboxKey, KeptFrame>,
}

impl Disk {
    pub fn restored(&self) -> Option<Restored> {
        let state = self.state.clone();
        Some(Restored {
            generation: state.as_ref().map_or(0, |state| state.generation),
            state: state.as_ref().map_or(Vec::new(), |state| state.snapshot.clone()),
            position: state.as_ref().and_then(|state| state.position),
            highest: state.as_ref().map(|state| state.highest),
            outbox: self.outbox.values().cloned().collect(),
            frames: self.frames.values().cloned().collect(),
        })
    }

    fn commit(&mut self, transaction: &StoreTransaction) -> Result<(), StoreError> {
        if let (Some(new), Some(old)) = (&transaction.state, &self.state)
            && new.generation == old.generation
            && !new.replace
        {
            let vector = |bytes: &[u8]| VersionVector::decode(bytes).unwrap();
            if !vector(&new.vector).dominates(&vector(&old.vector)) {
                return Err(StoreError::Behind { state: old.snapshot.clone() });
            }
        }
        for entry in &transaction.put_outbox {
            self.outbox.insert(OutboxKey { site: entry.site, first: entry.first }, entry.clone());
        }
        for key in &transaction.delete_outbox {
            self.outbox.remove(key);
        }
        for frame in &transaction.put_frames {
            self.frames.insert(OutboxKey { site: frame.site, first: frame.first }, frame.clone());
        }
        for key in &transaction.delete_frames {
            self.frames.remove(key);
        }
        if transaction.state.is_some() {
            self.state.clone_from(&transaction.state);
        }
        Ok(())
    }
}

/// One device with one open document.
pub struct Node {
    pub client: Client,
    pub channel: Channel,
    pub principal: String,
    /// What the editor shows.
    pub editor: Vec<u16>,
    pub disk: Disk,
    /// The disk after every transaction, newest last.
    pub history: Vec<Disk>,
    pub incarnation: u64,
    pub saved: Option<SaveState>,
    pub seen: Vec<Effect>,
    pub store_ms: u64,
    /// Fail the next store transactions.
    pub store_fails: Vec<StoreError>,
    /// Discarded text may leave the outbox without an ack.
    pub discards: bool,
    pub alive: bool,
}

enum Event {
    Opened(usize, u64, u64),
    Failed(usize, u64, u64),
    ToServer((usize, u64, u64), Vec<u8>),
    ToClient((usize, u64, u64), Vec<u8>),
    Closed((usize, u64, u64), CloseCode, String),
    Stored(usize, u64, StoreTicket, StoreTransaction),
}

/// Everything.
pub struct World {
    pub now: u64,
    pub random: Random,
    pub server: Server,
    pub nodes: Vec<Node>,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    /// When the last bytes of a direction arrive: bytes of a connection keep their order.
    lanes: BTreeMap<((usize, u64, u64), bool), u64>,
    pub latency_ms: u64,
    /// What the next device that starts begins the document with.
    pub initial_text: Option<String>,
}

pub fn document() -> DocumentId {
    "t/doc".parse().unwrap()
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            now: 1_000,
            random: Random::new(seed),
            server: Server::new(),
            nodes: Vec::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            lanes: BTreeMap::new(),
            latency_ms: 20,
            initial_text: None,
        }
    }

    /// A device that starts with what is on `disk`.
    pub fn add(&mut self, principal: &str, disk: Disk) -> usize {
        self.add_with(principal, disk, true, false)
    }

    pub fn add_with(&mut self, principal: &str, disk: Disk, online: bool, adopt: bool) -> usize {
        let index = self.nodes.len();
        let node = self.boot(principal, disk, online, adopt, 1);
        self.nodes.push(node);
        self.pump(index);
        index
    }

    /// The device starts again from its disk.
    pub fn restart(&mut self, index: usize, online: bool) {
        let (principal, disk) = (self.nodes[index].principal.clone(), self.nodes[index].disk.clone());
        self.kill(index);
        let incarnation = self.nodes[index].incarnation + 1;
        let mut node = self.boot(&principal, disk, online, false, incarnation);
        node.store_ms = self.nodes[index].store_ms;
        self.nodes[index] = node;
        self.pump(index);
    }

    fn boot(&mut self, principal: &str, disk: Disk, online: bool, adopt: bool, incarnation: u64) -> Node {
        let config = ClientConfig {
            endpoints: vec![Endpoint::websocket("ws://a"), Endpoint::websocket("ws://b")],
            seed: self.random.draw(),
            client: "test".into(),
            online,
            ..ClientConfig::default()
        };
        let now = Instant(self.now);
        let mut client = Client::new(config, now);
        let replica = ReplicaConfig {
            store: true,
            initial_text: self.initial_text.take(),
            restored: disk.restored(),
            adopt,
            ..ReplicaConfig::new(document(), principal, self.random.draw())
        };
        let channel = client.open(replica, now).unwrap();
        let editor = client.replica(channel).unwrap().document().text().encode_utf16().collect();
        Node {
            client,
            channel,
            principal: principal.into(),
            editor,
            history: vec![disk.clone()],
            disk,
            incarnation,
            saved: None,
            seen: Vec::new(),
            store_ms: 5,
            store_fails: Vec::new(),
            discards: false,
            alive: true,
        }
    }

    /// The process is gone; what was under way to the server still arrives.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].alive = false;
    }

    /// Cuts every connection of a device.
    pub fn cut(&mut self, index: usize) {
        let ids: Vec<_> = self.server.connections.keys().filter(|id| id.0 == index).copied().collect();
        for id in ids {
            self.server.connections.remove(&id);
            self.queue
                .retain(|_, event| !matches!(event, Event::ToServer(of, _) | Event::ToClient(of, _) if *of == id));
            self.push(1, Event::Closed(id, CloseCode::ABNORMAL, String::new()));
        }
    }

    /// The server dies or comes back.
    pub fn set_server(&mut self, up: bool) {
        self.server.up = up;
        if !up {
            for index in 0..self.nodes.len() {
                self.cut(index);
            }
        }
    }

    pub fn type_at(&mut self, index: usize, at: usize, delete: usize, text: &str) {
        let now = Instant(self.now);
        let node = &mut self.nodes[index];
        let echo = node.client.edit(node.channel, at, delete, text, now).unwrap();
        node.editor.splice(at..at + delete, text.encode_utf16());
        for patch in echo {
            node.editor.splice(patch.at..patch.at + patch.delete, patch.insert.encode_utf16());
        }
        self.pump(index);
    }

    pub fn append(&mut self, index: usize, text: &str) {
        let end = self.nodes[index].editor.len();
        self.type_at(index, end, 0, text);
    }

    pub fn text(&self, index: usize) -> String {
        String::from_utf16(&self.nodes[index].editor).unwrap()
    }

    pub fn replica(&self, index: usize) -> &Replica {
        self.nodes[index].client.replica(self.nodes[index].channel).unwrap()
    }

    pub fn status(&self, index: usize) -> Status {
        self.nodes[index].client.status(self.nodes[index].channel).unwrap()
    }

    pub fn saved(&self, index: usize) -> SaveState {
        self.replica(index).saved(Instant(self.now))
    }

    /// Lets `ms` pass.
    pub fn run(&mut self, ms: u64) {
        let until = self.now + ms;
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 200_000, "the machines never rest");
            let event = self.queue.keys().next().map(|(at, _)| *at);
            let alive = self.nodes.iter().filter(|node| node.alive);
            let timer = alive.filter_map(|node| node.client.deadline()).map(|at| at.0.max(self.now)).min();
            let Some(next) = event.into_iter().chain(timer).min().filter(|next| *next <= until) else { break };
            self.now = next;
            if event == Some(next) {
                let (_, event) = self.queue.pop_first().unwrap();
                self.happen(event);
            } else {
                for index in 0..self.nodes.len() {
                    if self.nodes[index].alive {
                        self.nodes[index].client.tick(Instant(self.now));
                        self.pump(index);
                    }
                }
            }
        }
        self.now = until;
    }

    /// Everything fair happens; then all agree and nothing is pending.
    pub fn settle(&mut self) {
        self.set_server(true);
        self.server.silent = false;
        for index in 0..self.nodes.len() {
            if self.nodes[index].alive {
                self.nodes[index].client.go_online(Instant(self.now));
                self.pump(index);
            }
        }
        self.run(60_000);
        if self.server.highest == AckLevel::Replicated {
            self.server.replicate();
            self.deliver();
            self.run(10_000);
        }
        let text = self.server.document.text();
        for index in (0..self.nodes.len()).filter(|index| self.nodes[*index].alive) {
            assert_eq!(self.text(index), text, "device {index} differs from the server");
            assert_eq!(self.replica(index).document().vector(), self.server.document.vector(), "device {index}");
            self.replica(index).document().assert_invariants();
            let saved = self.saved(index);
            assert!(saved.is_saved(AckLevel::Replicated), "device {index}: {saved:?}");
            assert!(self.nodes[index].disk.outbox.is_empty(), "device {index} keeps what is acknowledged");
            assert_eq!(self.status(index), Status::Connected);
        }
    }

    fn happen(&mut self, event: Event) {
        let now = Instant(self.now);
        match event {
            Event::Opened(index, incarnation, attempt) if self.is_current(index, incarnation) => {
                let principal = self.nodes[index].principal.clone();
                self.server.accept((index, incarnation, attempt), &principal);
                self.nodes[index].client.connect_opened(attempt, now);
                self.pump(index);
            }
            Event::Failed(index, incarnation, attempt) if self.is_current(index, incarnation) => {
                self.nodes[index].client.connect_failed(attempt, now);
                self.pump(index);
            }
            Event::ToServer(id, bytes) => {
                self.server.receive(id, &bytes, now);
                self.deliver();
            }
            Event::ToClient(id, bytes) if self.is_current(id.0, id.1) => {
                self.nodes[id.0].client.received(id.2, &bytes, now);
                self.pump(id.0);
            }
            Event::Closed(id, code, reason) if self.is_current(id.0, id.1) => {
                self.nodes[id.0].client.closed(id.2, code, &reason, now);
                self.pump(id.0);
            }
            Event::Stored(index, incarnation, ticket, transaction) if self.is_current(index, incarnation) => {
                self.store(index, ticket, &transaction);
            }
            _ => {}
        }
    }

    fn store(&mut self, index: usize, ticket: StoreTicket, transaction: &StoreTransaction) {
        let node = &mut self.nodes[index];
        for key in &transaction.delete_outbox {
            if let Some(entry) = node.disk.outbox.get(key).filter(|_| !node.discards) {
                let safe = self.server.document.vector().get(key.site) >= entry.last;
                assert!(safe, "left the outbox before its ack");
            }
        }
        let result = match node.store_fails.pop() {
            Some(error) => Err(error),
            None => node.disk.commit(transaction),
        };
        let (channel, now) = (node.channel, Instant(self.now));
        match result {
            Ok(()) => {
                node.history.push(node.disk.clone());
                node.client.stored(channel, ticket, now);
            }
            Err(error) => node.client.store_failed(channel, ticket, error, now),
        }
        self.pump(index);
    }

    fn is_current(&self, index: usize, incarnation: u64) -> bool {
        self.nodes[index].alive && self.nodes[index].incarnation == incarnation
    }

    /// Carries out a device's effects.
    pub fn pump(&mut self, index: usize) {
        while let Some(effect) = self.nodes[index].client.poll_effect() {
            let incarnation = self.nodes[index].incarnation;
            match effect.clone() {
                Effect::Connect { attempt, .. } => {
                    let event = if self.server.up { Event::Opened } else { Event::Failed };
                    let wait = self.wait();
                    self.push(wait, event(index, incarnation, attempt));
                }
                Effect::Send { attempt, bytes } => {
                    let id = (index, incarnation, attempt);
                    let at = self.lane(id, true);
                    self.sequence += 1;
                    self.queue.insert((at, self.sequence), Event::ToServer(id, bytes));
                }
                Effect::Disconnect { attempt, .. } => {
                    self.server.connections.remove(&(index, incarnation, attempt));
                }
                Effect::Store { ticket, transaction, .. } => {
                    let wait = self.nodes[index].store_ms;
                    self.push(wait, Event::Stored(index, incarnation, ticket, transaction));
                }
                Effect::Patch { patches, .. } => {
                    for patch in patches {
                        let end = patch.at + patch.delete;
                        self.nodes[index].editor.splice(patch.at..end, patch.insert.encode_utf16());
                    }
                }
                Effect::Saved { state, .. } => self.check_saved(index, state),
                _ => {}
            }
            self.nodes[index].seen.push(effect);
        }
        if self.nodes[index].client.replica(self.nodes[index].channel).is_some() {
            assert_eq!(self.text(index), self.replica(index).document().text(), "the editor shows the document");
        }
        self.deliver();
    }

    fn check_saved(&mut self, index: usize, state: SaveState) {
        if let Some(before) = self.nodes[index].saved {
            for level in [AckLevel::Device, AckLevel::Region, AckLevel::Replicated] {
                assert!(state.pending(level).through >= before.pending(level).through, "an ack went back");
            }
        }
        self.nodes[index].saved = Some(state);
    }

    /// Puts what the server wants to send under way.
    pub fn deliver(&mut self) {
        let ids: Vec<_> = self.server.connections.keys().copied().collect();
        for id in ids {
            let connection = self.server.connections.get_mut(&id).unwrap();
            let (out, close) = (std::mem::take(&mut connection.out), connection.close.take());
            if !out.is_empty() {
                let at = self.lane(id, false);
                self.sequence += 1;
                self.queue.insert((at, self.sequence), Event::ToClient(id, out.concat()));
            }
            if let Some((code, reason)) = close {
                self.server.connections.remove(&id);
                let at = self.lane(id, false);
                self.sequence += 1;
                self.queue.insert((at, self.sequence), Event::Closed(id, code, reason));
            }
        }
    }

    fn lane(&mut self, id: (usize, u64, u64), up: bool) -> u64 {
        let at = self.now + self.wait();
        let last = self.lanes.entry((id, up)).or_default();
        *last = at.max(*last);
        *last
    }

    fn wait(&mut self) -> u64 {
        1 + self.random.below(self.latency_ms)
    }

    fn push(&mut self, wait: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + wait, self.sequence), event);
    }
}
