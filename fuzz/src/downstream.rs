//! What a client reads of a server: a client with one document, driven by whatever messages, with an editor that only sees patches.
//!
//! Bytes are a script of steps. Most steps are messages that a server could have sent, with fields of any value, about a document
//! that it holds: so that what comes behind decoding, hashes and numbers is reached; others are raw payloads and raw bytes. Between
//! them the user edits, time passes, and connections are lost. What the client sends is read as a server reads it.

use selvedge_engine::{Document, SiteId, StateDiff, VersionVector};
use selvedge_protocol::client::{Client, ClientConfig, Effect, Origin, ReplicaConfig, StoreError};
use selvedge_protocol::message::*;
use selvedge_protocol::server::{ClientEvent, ClientReader};
use selvedge_protocol::stream::{EPOCH_MS, RoomEncoder};
use selvedge_protocol::transfer::{CHUNK_BYTES_MAX, chunks};
use selvedge_protocol::{
    AckLevel, Channel, ClientMessage, CloseCode, Endpoint, EndpointList, Features, Frame, Instant, LogId, Position,
    Random, Rights, ServerMessage, SignedList, Transport, relays_at,
};

use super::allocation::Allowance;
use super::engine::STATE;
use super::script::Script;

/// All that was heard may be a state that unpacks as far as one can, and be taken into a document, its copy and its snapshot.
/// Besides: what a list may reserve, a connection's own parts, and what a compressor of snapshots takes.
const HEARD: Allowance = Allowance { each: STATE.each, base: 384 * 1024 };
/// Steps of one script, and of what follows once its text is large.
const STEPS_MAX: usize = 128;
const STEPS_MAX_LARGE: usize = 6;
/// Effects after one step: more of them have no end.
const EFFECTS_MAX: usize = 10_000;
/// The server's own writing.
const SERVER: SiteId = SiteId::leased(0, 9);
const CODES: [u16; 12] = [1000, 1006, 4400, 4401, 4403, 4409, 4410, 4413, 4503, 4507, 4508, 4529];
/// Letters of a text whose state takes several chunks.
const LARGE_LETTERS: usize = 36_000;

/// How often a script came to something that a corpus must not lose.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Everything the server had was there.
    pub synced: usize,
    /// Patches of others.
    pub patched: usize,
    /// Patches of a copy fetched anew.
    pub restored: usize,
    /// Transfers of several chunks, each told whole.
    pub long_transfers: usize,
    /// Deltas, state diffs and vectors that came back.
    pub pushed: usize,
    pub diffs_sent: usize,
    pub vectors_sent: usize,
    pub resets: usize,
    pub refusals: usize,
    /// Connections closed by the client for what was said on them.
    pub refused_bytes: usize,
}

/// Runs the script in `bytes`.
pub fn downstream(bytes: &[u8]) {
    run_downstream(bytes);
}

/// The same, and what it came to.
pub fn run_downstream(bytes: &[u8]) -> Heard {
    let mut script = Script::new(bytes);
    let mut world = World::new(script.byte());
    world.execute();
    let mut steps = STEPS_MAX;
    while steps > 0 && !script.is_over() {
        world.step(&mut script);
        world.check();
        steps = if world.has_large { steps.min(STEPS_MAX_LARGE) } else { steps } - 1;
    }
    world.heard
}

struct World {
    client: Client,
    channel: Channel,
    now: Instant,
    editor: Vec<u16>,
    /// Open connections, the newest last, each with what reads what the client sends on it.
    sockets: Vec<(u64, ClientReader)>,
    /// The document's channel on the newest.
    wire: Channel,
    server: Document,
    room: RoomEncoder,
    generation: u64,
    transfers: u64,
    /// Deltas the server's log has.
    logged: u64,
    has_large: bool,
    /// Whether the server answers hello and open by itself, and what it has to answer.
    greets: bool,
    to_greet: bool,
    to_open: bool,
    store_fails: bool,
    tokens: u8,
    /// As long as everything that was told.
    told: Vec<u8>,
    heard: Heard,
}

impl World {
    /// `head`: whether the server greets as it should, whether there is a store, an initial text, and a trusted key.
    fn new(head: u8) -> Self {
        let now = Instant(1_000);
        let config = ClientConfig {
            endpoints: vec![Endpoint::websocket("wss://a.example/v1/connect")],
            signed: head & 8 != 0,
            transports: vec![Transport::WebSocket],
            token: Some("token".into()),
            seed: 7,
            client: "fuzz".into(),
            online: true,
        };
        let mut client = Client::new(config, now);
        let mut replica = ReplicaConfig::new("acme/plan".parse().unwrap(), "ada", 11);
        replica.store = head & 2 != 0;
        replica.initial_text = (head & 4 != 0).then(|| "warp and weft".into());
        let channel = client.open(replica, now).unwrap();
        let editor = client.replica(channel).unwrap().document().text().encode_utf16().collect();
        let mut server = Document::new();
        server.begin_writing(SERVER, 1).unwrap();
        Self {
            client,
            channel,
            now,
            editor,
            sockets: Vec::new(),
            wire: Channel(1),
            server,
            room: RoomEncoder::new(now),
            generation: 1,
            transfers: 0,
            logged: 0,
            has_large: false,
            greets: head & 1 == 0,
            to_greet: false,
            to_open: false,
            store_fails: false,
            tokens: 0,
            told: Vec::new(),
            heard: Heard::default(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let code = script.byte();
        match code % 32 {
            1 | 2 => {
                let plan = [SyncPlan::Equal, SyncPlan::Tail, SyncPlan::SendVector][script.below(3)];
                let message = self.open_ok(plan, script.byte());
                self.say(self.wire, message);
            }
            3..=6 => self.tell_deltas(script),
            0 | 7..=9 => self.tell_synced(script),
            10 | 11 => self.tell_state(script),
            12 => self.want(script),
            13 | 14 => self.tell_of_a_push(script),
            15 => self.tell_of_the_session(script),
            16 => self.tell_of_the_connection(script),
            17 => {
                let (code, generation) = (CODES[script.below(CODES.len())], u64::from(script.byte() % 4));
                self.generation = self.generation.max(generation);
                let retry_after_ms = u64::from(script.byte());
                self.say(self.wire, Closed { code, reason: String::new(), retry_after_ms, generation });
            }
            18 => {
                // A payload of any kind.
                let (kind, channel) = (script.byte() % 36, Channel(u32::from(script.byte() % 4)));
                let payload: Vec<u8> = (0..script.byte() % 64).map(|_| script.byte()).collect();
                let mut bytes = Vec::new();
                Frame { channel, kind, payload: &payload }.write(&mut bytes).unwrap();
                self.deliver(&bytes);
            }
            19 => {
                let bytes: Vec<u8> = (0..script.byte() % 64).map(|_| script.byte()).collect();
                self.deliver(&bytes);
            }
            20..=25 => self.edit(script),
            26 => self.ask(script),
            27 => {
                if let Some((attempt, _)) = self.sockets.pop() {
                    let code = CloseCode(CODES[script.below(CODES.len())]);
                    self.client.closed(
                        attempt,
                        code,
                        ["", "300", "wss://b.example/v1/connect"][script.below(3)],
                        self.now,
                    );
                }
            }
            28 => match script.byte() % 3 {
                0 => self.store_fails = !self.store_fails,
                1 => self.room.renew(self.now),
                _ => self.greets = !self.greets,
            },
            _ => self.wait(script),
        }
        self.execute();
    }

    /// Deltas of others: as they should be, lost, twice, alone, tagged, or with a byte of them changed.
    fn tell_deltas(&mut self, script: &mut Script<'_>) {
        let text = script.text();
        let length = self.server.len_scalars();
        let at = script.place(length);
        let delete = script.below(6).saturating_sub(3).min(length - at);
        let (from, to) = (self.server.scalar_to_utf16(at), self.server.scalar_to_utf16(at + delete));
        self.server.replace(from, to - from, &text).unwrap();
        let how = script.byte();
        if how % 16 == 15 {
            self.server.set_meta("title", Some(text.as_bytes())).unwrap();
        }
        let sealed = self.server.seal();
        self.logged += sealed.len() as u64;
        let mut messages = self.room.encode(&sealed, Some(self.position()), self.now);
        if how % 8 == 1 {
            messages = selvedge_protocol::stream::standalone(&sealed, Some(self.position()));
        }
        for mut message in messages {
            match how % 8 {
                2 => continue,
                3 => self.say(self.wire, message.clone()),
                4 => message.tag = Some([script.byte(); TAG_BYTES]),
                5 => {
                    let at = script.place(message.deltas.0.len() - 1);
                    message.deltas.0[at] = script.byte();
                }
                6 => message.seq += u64::from(script.byte()),
                _ => {}
            }
            self.say(self.wire, message);
        }
    }

    /// Everything was sent, it says: with the hash of the server's vector or another, and the room's stream or none.
    fn tell_synced(&mut self, script: &mut Script<'_>) {
        let how = script.byte();
        let codec = (how % 4 != 3).then(|| self.room.state(self.now));
        let vector_hash = if how % 16 == 15 { u64::from(script.byte()) } else { self.server.vector().hash() };
        self.say(self.wire, Synced { position: Some(self.position()), vector_hash, codec });
    }

    /// A state diff in chunks, whose hash is that of the bytes sent: the server's own, for what the client has, or something else.
    fn tell_state(&mut self, script: &mut Script<'_>) {
        let how = script.byte();
        if how % 16 == 15 && !self.has_large {
            self.has_large = true;
            let mut random = Random::new(1);
            let letter = |_| char::from_u32(0x4e00 + random.below(0x5000) as u32).unwrap();
            let text: String = (0..LARGE_LETTERS).map(letter).collect();
            self.server.replace(0, 0, &text).unwrap();
            self.server.seal();
        }
        let since =
            if how.is_multiple_of(2) { self.replica().document().vector().clone() } else { VersionVector::new() };
        let mut bytes = self.server.state_diff(&since).encode();
        if how % 8 == 6 {
            let at = script.place(bytes.len() - 1);
            bytes[at] = script.byte();
        }
        self.transfer(ChunkContent::StateDiff, &bytes, how / 16);
    }

    /// The vector since which the server wants to know what the client has.
    fn want(&mut self, script: &mut Script<'_>) {
        let how = script.byte();
        let content = if how % 16 == 15 { ChunkContent::Vector } else { ChunkContent::Wanted };
        let bytes = match how % 4 {
            3 => (0..how / 8).map(|_| script.byte()).collect(),
            _ => self.server.vector().encode(),
        };
        self.transfer(content, &bytes, how / 16);
    }

    /// `order`: forwards, backwards, with one twice, or with a byte changed that the hash does not know of.
    fn transfer(&mut self, content: ChunkContent, bytes: &[u8], order: u8) {
        self.transfers += 1;
        let mut pieces = chunks(self.transfers, content, bytes).unwrap();
        self.heard.long_transfers += usize::from(bytes.len() > CHUNK_BYTES_MAX && order % 8 != 3);
        match order % 8 {
            1 => pieces.reverse(),
            2 => pieces.push(pieces[0].clone()),
            3 => pieces.iter_mut().filter_map(|piece| piece.bytes.0.first_mut()).for_each(|byte| *byte ^= 1),
            _ => {}
        }
        pieces.into_iter().for_each(|piece| self.say(self.wire, piece));
    }

    /// What becomes of the client's deltas: what the server has of a site, or something else.
    fn tell_of_a_push(&mut self, script: &mut Script<'_>) {
        let how = script.byte();
        let site = match how % 4 {
            0 => SERVER,
            1 => SiteId::leased(0, 2),
            _ => self.replica().site().unwrap_or(SERVER),
        };
        let have = self.server.vector().get(site);
        let counter = if how < 200 { have } else { u64::from(script.byte()) };
        match how / 4 % 6 {
            0 | 1 => self.say(self.wire, Ack { site, region: counter, replicated: 0 }),
            2 => self.say(self.wire, Ack { site, region: counter, replicated: counter }),
            3 => self.say(self.wire, Gap { site, have: counter }),
            4 => self.say(self.wire, Credit { bytes: u64::from(script.byte()) << 8 }),
            _ => {
                let code = CODES[script.below(CODES.len())];
                self.say(self.wire, Refused { site, from: counter.max(1), code, message: String::new() });
            }
        }
    }

    fn tell_of_the_session(&mut self, script: &mut Script<'_>) {
        let (how, value) = (script.byte(), script.byte());
        let rights = [Rights::Write, Rights::Read, Rights::None, Rights::Admin][usize::from(value % 4)];
        match how % 5 {
            0 => self.say(self.wire, RightsChanged { rights }),
            1 => {
                let data = (value % 4 != 3).then(|| vec![value; usize::from(value)].into());
                self.say(self.wire, Presence { session: u64::from(value % 8), data, user: Some("eve".into()) });
            }
            2 => self.say(self.wire, RebaseAnswer { granted: value.is_multiple_of(2), for_ms: u64::from(value) << 6 }),
            3 => self.say(self.wire, TokenExpiring { in_ms: u64::from(value) }),
            _ => self.say(self.wire, Move { endpoints: others(), after_ms: u32::from(value) }),
        }
    }

    fn tell_of_the_connection(&mut self, script: &mut Script<'_>) {
        let (how, value) = (script.byte(), script.byte());
        let told = Channel::CONNECTION;
        match how % 7 {
            6 => self.say(told, hello(Features(u64::from(value)))),
            0 => self.say(told, Ping { nonce: u64::from(value) }),
            1 => self.say(told, Pong { nonce: u64::from(value) }),
            2 => self.say(told, TokenExpiring { in_ms: u64::from(value) }),
            3 => self.say(told, Drain { endpoints: others(), after_ms: u32::from(value) }),
            4 => {
                let code = CODES[script.below(CODES.len())];
                let retry_after_ms = u64::from(value) << 4;
                self.say(
                    told,
                    Failure { code, message: String::new(), retryable: value.is_multiple_of(2), retry_after_ms },
                );
            }
            _ => {
                let (epoch, issue) = (u64::from(value / 16), u64::from(value % 16));
                let list = EndpointList { format: 1, epoch, issue, home: "a".into(), endpoints: others() };
                let input = list.signing_input(&super::list_key(4));
                let signed = SignedList::join(&input, &[value; 64]).unwrap();
                self.say(told, SignedEndpoints { signed });
            }
        }
    }

    fn edit(&mut self, script: &mut Script<'_>) {
        let length = self.editor.len();
        let at = script.place(length);
        let delete = script.below(6).saturating_sub(3).min(length - at);
        let insert: Vec<u16> = script.text().encode_utf16().collect();
        if let Ok(echo) = self.client.edit_utf16(self.channel, at, delete, &insert, self.now) {
            self.editor.splice(at..at + delete, insert.iter().copied());
            patch(&mut self.editor, &echo);
            // A user's text may come back as part of what is answered.
            self.told.extend(vec![0; 2 * insert.len()]);
        }
    }

    /// What else the user does.
    fn ask(&mut self, script: &mut Script<'_>) {
        let (channel, now) = (self.channel, self.now);
        match script.byte() % 8 {
            0 | 1 => {
                let patches = self.client.undo(channel, now).unwrap_or_default();
                patch(&mut self.editor, &patches);
            }
            2 => {
                let patches = self.client.redo(channel, now).unwrap_or_default();
                patch(&mut self.editor, &patches);
            }
            3 => self.client.retry_refused(channel, now),
            4 => self.client.discard_refused(channel, now),
            5 => self.client.go_offline(now),
            6 => self.client.go_online(now),
            _ => drop(self.client.set_presence(channel, Some(vec![script.byte(); 4]), now)),
        }
    }

    /// A moment, until something is due, or until the room begins a new epoch.
    fn wait(&mut self, script: &mut Script<'_>) {
        let until = match script.byte() {
            how if how % 8 == 7 => self.now.after(EPOCH_MS),
            how if how % 2 == 1 => self.client.deadline().unwrap_or(self.now),
            how => self.now.after(u64::from(how) * 4),
        };
        self.now = self.now.max(until);
        self.client.tick(self.now);
    }

    fn open_ok(&self, sync: SyncPlan, how: u8) -> OpenOk {
        let known = self.replica().site().map(|site| Known { site, counter: self.server.vector().get(site) });
        OpenOk {
            lease: (how % 4 == 3).then_some(SiteLease { site: SiteId::leased(0, 2), next_counter: 1 }),
            rights: if how % 16 == 14 { Rights::Read } else { Rights::Write },
            generation: self.generation,
            highest: if how % 8 < 4 { AckLevel::Region } else { AckLevel::Replicated },
            sync,
            known: known.into_iter().collect(),
            credit: u64::from(how) << 8,
        }
    }

    fn say(&mut self, channel: Channel, message: impl Into<ServerMessage>) {
        let bytes = message.into().to_frame(channel).unwrap();
        self.deliver(&bytes);
    }

    fn deliver(&mut self, bytes: &[u8]) {
        let Some((attempt, _)) = self.sockets.last() else { return };
        let attempt = *attempt;
        self.told.extend_from_slice(bytes);
        let Self { client, told, now, .. } = self;
        HEARD.hold(told, || client.received(attempt, bytes, *now));
        self.execute();
    }

    /// Does what the client asks for, as a shell would, and then what a server does of its own accord.
    fn execute(&mut self) {
        let mut effects = 0;
        while let Some(effect) = self.client.poll_effect() {
            effects += 1;
            assert!(effects < EFFECTS_MAX, "effects have an end");
            self.execute_one(effect);
        }
        if std::mem::take(&mut self.to_greet) {
            self.say(Channel::CONNECTION, hello(Features::OFFERED));
        }
        if std::mem::take(&mut self.to_open) {
            self.say(self.wire, self.open_ok(SyncPlan::Equal, 251));
        }
    }

    fn execute_one(&mut self, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Connect { attempt, .. } => {
                self.sockets.push((attempt, ClientReader::new(&Limits::default())));
                self.client.connect_opened(attempt, now);
                self.to_greet = self.greets;
            }
            Effect::Send { attempt, bytes } => self.read(attempt, &bytes),
            Effect::Disconnect { attempt, code } => {
                self.heard.refused_bytes += usize::from(code == CloseCode::MALFORMED);
                self.sockets.retain(|(other, _)| *other != attempt);
            }
            Effect::Store { channel, ticket, .. } if self.store_fails => {
                self.client.store_failed(channel, ticket, StoreError::Quota, now);
            }
            Effect::Store { channel, ticket, .. } => self.client.stored(channel, ticket, now),
            Effect::Patch { patches, origin, .. } => {
                patch(&mut self.editor, &patches);
                match origin {
                    Origin::Remote => self.heard.patched += 1,
                    Origin::Tab | Origin::Restore => self.heard.restored += 1,
                }
            }
            Effect::TokenNeeded { channel } => {
                self.tokens = self.tokens.wrapping_add(1);
                let token = (self.tokens % 4 != 3).then(|| self.tokens.to_string());
                self.client.provide_token(channel, token, now);
            }
            Effect::VerifyEndpoints { signed } => match SignedList::parse(&signed) {
                Ok(list) if list.signature[0] % 4 != 3 => self.client.endpoints_verified(&list.list, now),
                _ => self.client.endpoints_forged(now),
            },
            Effect::Synced { .. } => self.heard.synced += 1,
            Effect::Reset { previous, .. } => {
                Document::load(&previous).unwrap();
                self.heard.resets += 1;
            }
            Effect::Refused { .. } => self.heard.refusals += 1,
            _ => {}
        }
    }

    /// The server reads what the client sends, and keeps it: a client says nothing that a server refuses.
    fn read(&mut self, attempt: u64, bytes: &[u8]) {
        let Some((_, reader)) = self.sockets.iter_mut().find(|(other, _)| *other == attempt) else { return };
        for event in reader.read(bytes).unwrap() {
            match event {
                ClientEvent::Document(wire, ClientMessage::Open(_)) => (self.wire, self.to_open) = (wire, self.greets),
                ClientEvent::Push { deltas, .. } => {
                    self.heard.pushed += 1;
                    deltas.iter().for_each(|delta| drop(self.server.apply(delta)));
                }
                ClientEvent::Transfer { content: ChunkContent::Vector, bytes, .. } => {
                    self.heard.vectors_sent += 1;
                    VersionVector::decode(&bytes).unwrap();
                }
                ClientEvent::Transfer { bytes, .. } => {
                    self.heard.diffs_sent += 1;
                    let _ = self.server.apply_state(&StateDiff::decode(&bytes).unwrap());
                }
                _ => {}
            }
        }
    }

    fn replica(&self) -> &selvedge_protocol::client::Replica {
        self.client.replica(self.channel).unwrap()
    }

    fn position(&self) -> Position {
        Position { log: LogId(1), partition: 0, offset: self.logged }
    }

    fn check(&self) {
        let document = self.replica().document();
        assert_eq!(String::from_utf16(&self.editor).unwrap(), document.text(), "the editor shows the document");
        if !self.has_large {
            document.assert_invariants();
        }
    }
}

fn patch(editor: &mut Vec<u16>, patches: &[selvedge_engine::TextPatch]) {
    for patch in patches {
        editor.splice(patch.at..patch.at + patch.delete, patch.insert.encode_utf16());
    }
}

fn hello(features: Features) -> HelloOk {
    HelloOk {
        format: 1,
        version: 1,
        features: features.0,
        session: 5,
        region: "eu".into(),
        endpoints: others(),
        limits: Limits::default(),
        ping: PingPolicy::default(),
    }
}

fn others() -> Vec<Endpoint> {
    relays_at([("a", "wss://a.example/v1/connect"), ("b", "wss://b.example/v1/connect")])
}
