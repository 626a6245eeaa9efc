//! A small server in memory: one document, one log, every rule of the protocol that a client can see.

use std::collections::BTreeMap;

use selvedge_engine::{Delta, Document, Op, SiteId, StateDiff, VersionVector};
use selvedge_protocol::message::*;
use selvedge_protocol::server::{ClientEvent, ClientReader};
use selvedge_protocol::stream::{RoomEncoder, standalone};
use selvedge_protocol::transfer::chunks;
use selvedge_protocol::{
    AckLevel, Channel, ClientMessage, CloseCode, Features, Instant, LogId, Position, Rights, ServerMessage,
};

/// One connection as the server sees it.
pub struct Connection {
    reader: ClientReader,
    principal: String,
    session: u64,
    channels: BTreeMap<Channel, Subscription>,
    /// Messages waiting to be delivered, and a close behind them.
    pub out: Vec<Vec<u8>>,
    pub close: Option<(CloseCode, String)>,
    deaf: bool,
}

#[derive(Default)]
struct Subscription {
    live: bool,
    announced: Vec<SiteRange>,
    sites: Vec<SiteId>,
    transfers: u64,
    vector_seen: bool,
}

/// See the module.
pub struct Server {
    pub document: Document,
    pub generation: u64,
    pub highest: AckLevel,
    pub rights: Rights,
    /// Refuse pushes for good with this code.
    pub refuse: Option<CloseCode>,
    /// Bytes of text beyond which only deletes are taken.
    pub text_bytes_max: usize,
    /// Bytes of credit granted at open and after every push.
    pub credit: u64,
    pub region: String,
    pub up: bool,
    /// Silence: bytes are swallowed.
    pub silent: bool,
    pub uploads: usize,
    pub gaps: usize,
    pub released: Vec<(SiteId, u64)>,
    /// Whether it knows the rebase token.
    pub rebase_tokens: bool,
    /// Who has it, and until when.
    pub holder: Option<((usize, u64, u64), Instant)>,
    /// How long it is granted for, and how long who does not get it waits.
    pub token_ms: (u64, u64),
    /// Who asked for it, and when.
    pub asks: Vec<(usize, u64)>,
    /// Whether what a client lacks is of the time when it opened its channel: what it pushed meanwhile is acknowledged first.
    pub states_are_old: bool,
    opened: Option<(Document, Synced)>,
    log_id: u128,
    /// Offset of the first record kept.
    base: u64,
    log: Vec<Delta>,
    room: RoomEncoder,
    bound: BTreeMap<SiteId, String>,
    contents: BTreeMap<(SiteId, u64), Vec<u8>>,
    next_lease: u32,
    next_session: u64,
    pub connections: BTreeMap<(usize, u64, u64), Connection>,
}

impl Server {
    pub fn new() -> Self {
        Self {
            document: Document::new(),
            generation: 1,
            highest: AckLevel::Region,
            rights: Rights::Write,
            refuse: None,
            text_bytes_max: usize::MAX,
            credit: 1 << 40,
            region: "here".into(),
            up: true,
            silent: false,
            uploads: 0,
            gaps: 0,
            released: Vec::new(),
            rebase_tokens: true,
            holder: None,
            token_ms: (10_000, 500),
            asks: Vec::new(),
            states_are_old: false,
            opened: None,
            log_id: 1,
            base: 0,
            log: Vec::new(),
            room: RoomEncoder::new(Instant(0)),
            bound: BTreeMap::new(),
            contents: BTreeMap::new(),
            next_lease: 1,
            next_session: 1,
            connections: BTreeMap::new(),
        }
    }

    /// Forgets everything after the first `keep` records, as a data folder put back from a backup, under a new log id.
    pub fn restore_backup(&mut self, keep: usize) {
        self.log.truncate(keep);
        self.document = Document::new();
        for delta in self.log.clone() {
            self.document.apply(&delta).unwrap();
        }
        self.log_id += 1;
        self.room = RoomEncoder::new(Instant(0));
        self.next_lease += 1 << 16;
        // The bindings come from the same backup.
        let vector = self.document.vector().clone();
        self.bound.retain(|site, _| vector.get(*site) > 0);
    }

    /// A rebuilt document under a new generation.
    pub fn rebuild(&mut self, text: &str) {
        self.generation += 1;
        self.restore_backup(0);
        self.contents.clear();
        self.document.begin_writing(SiteId::system(self.generation), 1).unwrap();
        self.document.replace(0, 0, text).unwrap();
        self.log = self.document.seal();
    }

    /// Rebases in the log.
    pub fn rebases(&self) -> usize {
        self.log.iter().flat_map(|delta| &delta.ops).filter(|op| matches!(op, Op::Rebase(_))).count()
    }

    pub fn log_len(&self) -> usize {
        self.log.len()
    }

    pub fn bind(&mut self, site: SiteId, principal: &str) {
        self.bound.insert(site, principal.into());
    }

    pub fn accept(&mut self, id: (usize, u64, u64), principal: &str) {
        let session = self.next_session;
        self.next_session += 1;
        let reader = ClientReader::new(&Limits::default());
        let principal = principal.into();
        let connection = Connection {
            reader,
            principal,
            session,
            channels: BTreeMap::new(),
            out: Vec::new(),
            close: None,
            deaf: false,
        };
        self.connections.insert(id, connection);
    }

    pub fn receive(&mut self, id: (usize, u64, u64), bytes: &[u8], now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        // A connection that lost bytes never carries any again: streams lose their end, not their middle.
        connection.deaf |= self.silent;
        if connection.deaf {
            return;
        }
        let events = connection.reader.read(bytes).unwrap_or_else(|error| panic!("a client sent what breaks: {error}"));
        for event in events {
            match event {
                ClientEvent::Hello(hello) => self.hello(id, hello),
                ClientEvent::Connection(ClientMessage::Ping(ping)) => {
                    self.send(id, Channel::CONNECTION, Pong { nonce: ping.nonce });
                }
                ClientEvent::Connection(_) => {}
                ClientEvent::Document(channel, ClientMessage::Open(open)) => self.open(id, channel, open, now),
                ClientEvent::Document(channel, ClientMessage::Bye(bye)) => {
                    self.connections.get_mut(&id).unwrap().channels.remove(&channel);
                    self.released.extend(bye.site.map(|site| (site, bye.counter)));
                }
                ClientEvent::Document(_, ClientMessage::Presence(presence)) => self.presence(id, &presence),
                ClientEvent::Document(channel, ClientMessage::RebaseAsk(_)) => self.rebase_ask(id, channel, now),
                ClientEvent::Document(..) => {}
                ClientEvent::Push { channel, deltas, .. } => self.push(id, channel, deltas, now),
                ClientEvent::Transfer { channel, content, bytes } => self.transfer(id, channel, content, &bytes, now),
                _ => {}
            }
        }
    }

    fn hello(&mut self, id: (usize, u64, u64), hello: Hello) {
        assert!(hello.versions.contains(&1));
        let session = self.connections[&id].session;
        let ok = HelloOk {
            format: 1,
            version: 1,
            features: if self.rebase_tokens { Features::REBASE_TOKENS.0 & hello.features } else { 0 },
            session,
            region: self.region.clone(),
            endpoints: Vec::new(),
            limits: Limits::default(),
            ping: PingPolicy::default(),
        };
        self.send(id, Channel::CONNECTION, ok);
    }

    fn open(&mut self, id: (usize, u64, u64), channel: Channel, open: Open, now: Instant) {
        if open.generation != 0 && open.generation != self.generation {
            let code = CloseCode::CONFLICT.0;
            let generation = self.generation;
            self.send(id, channel, Closed { code, reason: String::new(), retry_after_ms: 0, generation });
            self.connections.get_mut(&id).unwrap().reader.close(channel);
            return;
        }
        let lease = open.wants_site.then(|| {
            self.next_lease += 1;
            SiteLease { site: SiteId::leased(0, self.next_lease), next_counter: 1 }
        });
        let vector = self.document.vector().clone();
        let known =
            open.outbox.iter().map(|range| Known { site: range.site, counter: vector.get(range.site) }).collect();
        let in_log = |position: &Position| {
            position.log == LogId(self.log_id) && (self.base..=self.end()).contains(&position.offset)
        };
        let sync = match open.position.filter(in_log) {
            _ if open.vector_hash == vector.hash() => SyncPlan::Equal,
            Some(_) => SyncPlan::Tail,
            None => SyncPlan::SendVector,
        };
        self.opened = self.states_are_old.then(|| (self.document.clone(), self.synced_now(now)));
        let sites = open.outbox.iter().map(|range| range.site).collect();
        let subscription = Subscription { announced: open.outbox.clone(), sites, ..Subscription::default() };
        self.connections.get_mut(&id).unwrap().channels.insert(channel, subscription);
        let (rights, generation, highest, credit) = (self.rights, self.generation, self.highest, self.credit);
        self.send(id, channel, OpenOk { lease, rights, generation, highest, sync, known, credit });
        if sync == SyncPlan::Tail {
            let from = (open.position.unwrap().offset - self.base) as usize;
            for message in standalone(&self.log[from..], Some(self.position())) {
                self.send(id, channel, message);
            }
        }
        if sync != SyncPlan::SendVector {
            self.synced(id, channel, now);
        }
    }

    fn synced(&mut self, id: (usize, u64, u64), channel: Channel, now: Instant) {
        let message = self.synced_now(now);
        self.send(id, channel, message);
        self.go_live(id, channel);
    }

    fn synced_now(&mut self, now: Instant) -> Synced {
        let codec = Some(self.room.state(now));
        Synced { position: Some(self.position()), vector_hash: self.document.vector().hash(), codec }
    }

    fn go_live(&mut self, id: (usize, u64, u64), channel: Channel) {
        if let Some(subscription) = self.connections.get_mut(&id).unwrap().channels.get_mut(&channel) {
            subscription.live = true;
        }
    }

    fn push(&mut self, id: (usize, u64, u64), channel: Channel, deltas: Vec<Delta>, now: Instant) {
        for delta in deltas {
            let site = delta.site;
            let principal = self.connections[&id].principal.clone();
            let bound = self.bound.entry(site).or_insert_with(|| principal.clone());
            let inserted = |op: &Op| if let Op::Insert { text, .. } = op { text.len() } else { 0 };
            let grows: usize = delta.ops.iter().map(inserted).sum();
            let known = delta.last() <= self.document.vector().get(site);
            let full = grows > 0 && !known && self.document.len_bytes() + grows > self.text_bytes_max;
            let refused = if *bound == principal { self.refuse } else { Some(CloseCode::CONFLICT) };
            let refused = refused.or(full.then_some(CloseCode::TOO_LARGE));
            if let Some(code) = refused {
                let message = code.sentence().into();
                self.send(id, channel, Refused { site, from: delta.first, code: code.0, message });
                continue;
            }
            let have = self.document.vector().get(site);
            if delta.first > have + 1 {
                self.gaps += 1;
                self.send(id, channel, Gap { site, have });
                continue;
            }
            let bytes = self.contents.entry((site, delta.first)).or_insert_with(|| delta.encode());
            assert_eq!(*bytes, delta.encode(), "one dot with two contents");
            if let Some(subscription) = self.connections.get_mut(&id).unwrap().channels.get_mut(&channel)
                && !subscription.sites.contains(&site)
            {
                subscription.sites.push(site);
            }
            if delta.last() > have {
                self.document.apply(&delta).unwrap();
                self.log.push(delta.clone());
                let position = Some(self.position());
                let messages = self.room.encode(std::slice::from_ref(&delta), position, now);
                self.broadcast(&messages);
                let rebases = delta.ops.iter().any(|op| matches!(op, Op::Rebase(_)));
                self.holder.take_if(|(holder, _)| rebases && *holder == id);
            }
            let region = self.document.vector().get(site);
            self.send(id, channel, Ack { site, region, replicated: 0 });
        }
        if self.credit < 1 << 30 {
            let bytes = self.credit;
            self.send(id, channel, Credit { bytes });
        }
    }

    fn transfer(&mut self, id: (usize, u64, u64), channel: Channel, content: ChunkContent, bytes: &[u8], now: Instant) {
        if content == ChunkContent::StateDiff {
            self.uploads += 1;
            let before = self.document.vector().clone();
            self.document.apply_state(&StateDiff::decode(bytes).unwrap()).unwrap();
            // The harness keeps no records of an upload: who is behind it resyncs by vector.
            self.base = self.end() + 1;
            self.log.clear();
            self.state_for_all(&before, now);
            return;
        }
        let vector = VersionVector::decode(bytes).unwrap();
        if let Some((document, synced)) = self.opened.take() {
            self.send_chunks(id, channel, ChunkContent::StateDiff, &document.state_diff(&vector).encode());
            self.send(id, channel, synced);
            self.go_live(id, channel);
        } else {
            self.send_state(id, channel, &vector);
            self.synced(id, channel, now);
        }
        let ours = self.document.vector().clone();
        let subscription = self.connections.get_mut(&id).unwrap().channels.get_mut(&channel).unwrap();
        let announced = subscription.announced.clone();
        let covered = |site, counter| {
            counter <= ours.get(site)
                || announced
                    .iter()
                    .any(|range| range.site == site && range.last >= counter && range.first <= ours.get(site) + 1)
        };
        let unknown = vector.iter().any(|(site, counter)| !covered(site, counter));
        if unknown && !subscription.vector_seen {
            subscription.vector_seen = true;
            self.send_chunks(id, channel, ChunkContent::Wanted, &ours.encode());
        }
    }

    fn state_for_all(&mut self, since: &VersionVector, now: Instant) {
        let all: Vec<_> = self.live();
        for (id, channel) in all {
            // Whoever has this much gets the rest; others are behind and will ask.
            self.send_state(id, channel, since);
            self.synced(id, channel, now);
        }
    }

    fn send_state(&mut self, id: (usize, u64, u64), channel: Channel, since: &VersionVector) {
        let diff = self.document.state_diff(since).encode();
        self.send_chunks(id, channel, ChunkContent::StateDiff, &diff);
    }

    fn send_chunks(&mut self, id: (usize, u64, u64), channel: Channel, content: ChunkContent, bytes: &[u8]) {
        let Some(subscription) = self.connections.get_mut(&id).and_then(|one| one.channels.get_mut(&channel)) else {
            return;
        };
        subscription.transfers += 1;
        let mut pieces = chunks(subscription.transfers, content, bytes).unwrap();
        // Order and number of pieces mean nothing.
        pieces.reverse();
        pieces.extend(pieces.first().cloned());
        for piece in pieces {
            self.send(id, channel, piece);
        }
    }

    /// Everything logged so far is in the other region too.
    pub fn replicate(&mut self) {
        let vector = self.document.vector().clone();
        let mut acks = Vec::new();
        for (id, connection) in &self.connections {
            for (channel, subscription) in &connection.channels {
                acks.extend(subscription.sites.iter().map(|site| (*id, *channel, *site)));
            }
        }
        for (id, channel, site) in acks {
            self.send(id, channel, Ack { site, region: vector.get(site), replicated: vector.get(site) });
        }
    }

    fn rebase_ask(&mut self, id: (usize, u64, u64), channel: Channel, now: Instant) {
        assert!(self.rebase_tokens, "asked of who does not know it");
        self.asks.push((id.0, now.0));
        let granted = self.holder.is_none_or(|(holder, until)| holder == id || until <= now);
        let (held_ms, wait_ms) = self.token_ms;
        if granted {
            self.holder = Some((id, now.after(held_ms)));
        }
        self.send(id, channel, RebaseAnswer { granted, for_ms: if granted { held_ms } else { wait_ms } });
    }

    fn presence(&mut self, from: (usize, u64, u64), presence: &Presence) {
        let (session, user) = (self.connections[&from].session, Some(self.connections[&from].principal.clone()));
        for (id, channel) in self.live() {
            self.send(id, channel, Presence { session, data: presence.data.clone(), user: user.clone() });
        }
    }

    fn broadcast(&mut self, messages: &[Deltas]) {
        for (id, channel) in self.live() {
            for message in messages {
                self.send(id, channel, message.clone());
            }
        }
    }

    fn live(&self) -> Vec<((usize, u64, u64), Channel)> {
        let of = |(id, connection): (&(usize, u64, u64), &Connection)| {
            let id = *id;
            let live = connection.channels.iter().filter(|(_, subscription)| subscription.live);
            live.map(move |(channel, _)| (id, *channel)).collect::<Vec<_>>()
        };
        self.connections.iter().flat_map(of).collect()
    }

    pub fn send(&mut self, id: (usize, u64, u64), channel: Channel, message: impl Into<ServerMessage>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.deaf |= self.silent;
        if !connection.deaf {
            connection.out.push(message.into().to_frame(channel).unwrap());
        }
    }

    /// Sends one message to every document's channel.
    pub fn send_all(&mut self, message: impl Into<ServerMessage> + Clone) {
        for (id, channel) in self.live() {
            self.send(id, channel, message.clone());
        }
    }

    fn end(&self) -> u64 {
        self.base + self.log.len() as u64
    }

    fn position(&self) -> Position {
        Position { log: LogId(self.log_id), partition: 0, offset: self.end() }
    }
}
