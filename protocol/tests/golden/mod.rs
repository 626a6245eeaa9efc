#![allow(dead_code, unreachable_pub, reason = "shared by a test and an example, neither of which uses all")]
//! Golden vectors: known bytes with a note per field, read by Rust and by TypeScript.
//!
//! A file of `vectors/` is a JSON array. An entry: `name`; `from` (`client`, `server`, or what the bytes are); `hex`, the
//! whole; `fields`, an array of `[hex, note]` whose hex joined gives `hex`; for frames `channel`, `kind` and `payload`
//! (hex) beside. Only strings, numbers and arrays: any reader will do.

use selvedge_engine::{Delta, Digit, Direction, Dot, DotRange, Element, Op, Path, Piece, Rebase, SiteId};

use selvedge_protocol::message::*;
use selvedge_protocol::stream::StreamEncoder;
use selvedge_protocol::tag::TagKeys;
use selvedge_protocol::transfer::sha256;
use selvedge_protocol::{
    AckLevel, Address, Channel, ClientMessage, DocumentId, Endpoint, EndpointList, ListKey, LogId, Position, Rights,
    ServerMessage, SignedList, Transport, relays_at,
};

/// One vector.
struct Vector {
    name: &'static str,
    from: &'static str,
    frame: Option<(u32, u8, Vec<u8>)>,
    fields: Vec<(Vec<u8>, String)>,
}

/// The files of `vectors/`: name and content.
pub fn files() -> Vec<(&'static str, String)> {
    vec![
        ("messages.json", json(&messages())),
        ("stream.json", json(&streams())),
        ("tags.json", json(&tags())),
        ("endpoints.json", json(&[signed_list()])),
    ]
}

/// The client messages of `messages.json`, by name.
pub fn client_messages() -> Vec<(&'static str, ClientMessage)> {
    let site = SiteId::leased(1, 7);
    let hello =
        Hello { format: 1, versions: vec![1], features: 0, client: "selvedge/0.1".into(), token: Some("t0k".into()) };
    let open = Open {
        document: "acme/plan".into(),
        generation: 1,
        position: Some(position()),
        vector_hash: 0x0123_4567_89ab_cdef,
        outbox: vec![SiteRange { site, first: 3, last: 300 }],
        outbox_bytes: 4096,
        token: None,
        wants_site: true,
    };
    let chunk = Chunk {
        transfer: 1,
        content: ChunkContent::Vector,
        index: 0,
        of: 1,
        total_bytes: 3,
        hash: sha256(b"abc"),
        bytes: b"abc".to_vec().into(),
    };
    vec![
        ("hello", hello.into()),
        ("token", Token { token: "n3w".into() }.into()),
        ("ping", Ping { nonce: 250 }.into()),
        ("pong", Pong { nonce: 251 }.into()),
        ("open", open.into()),
        ("chunk", chunk.into()),
        ("push", Push { seq: 0, tag: None, deltas: vec![1, 2, 3].into() }.into()),
        ("push with the place of a tag", Push { seq: 1, tag: Some([9; TAG_BYTES]), deltas: vec![1].into() }.into()),
        ("presence", Presence { session: 0, data: Some(b"{}".to_vec().into()), user: None }.into()),
        ("bye", Bye { site: Some(site), counter: 300 }.into()),
        ("bye without a site", Bye::default().into()),
        ("rebase-ask", RebaseAsk {}.into()),
    ]
}

/// The server messages of `messages.json`, by name.
pub fn server_messages() -> Vec<(&'static str, ServerMessage)> {
    let site = SiteId::leased(1, 7);
    let quic = Address {
        transport: Transport::WebTransport,
        url: "https://a.example:4433/v1/connect".into(),
        certificates: vec![[0xc1; 32], [0xc2; 32]],
    };
    let socket = Address { transport: Transport::WebSocket, url: "wss://a.example".into(), certificates: Vec::new() };
    let endpoint = Endpoint { relay: "a".into(), region: "eu".into(), addresses: vec![quic, socket] };
    let endpoints = vec![endpoint];
    let hello = HelloOk {
        format: 1,
        version: 1,
        features: 0,
        session: 70_000,
        region: "eu".into(),
        endpoints: endpoints.clone(),
        limits: Limits::default(),
        ping: PingPolicy::default(),
    };
    let open = OpenOk {
        lease: Some(SiteLease { site, next_counter: 1 }),
        rights: Rights::Write,
        generation: 1,
        highest: AckLevel::Region,
        sync: SyncPlan::Tail,
        known: vec![Known { site, counter: 12 }],
        credit: 65_536,
    };
    let codec = CodecState { epoch: 4, seq: 5, bytes: vec![0].into() };
    let deltas = Deltas { position: Some(position()), epoch: 4, seq: 5, tag: None, deltas: vec![1, 2].into() };
    let rate = Failure { code: 4529, message: "slow down".into(), retryable: true, retry_after_ms: 1000 };
    vec![
        ("hello-ok", hello.into()),
        ("token-expiring", TokenExpiring { in_ms: 300_000 }.into()),
        ("drain", Drain { endpoints: endpoints.clone(), after_ms: 500 }.into()),
        ("error", rate.into()),
        ("endpoints", SignedEndpoints { signed: "aGVhZGVy.bGlzdA.c2lnbmF0dXJl".into() }.into()),
        ("open-ok", open.into()),
        ("synced", Synced { position: Some(position()), vector_hash: 1, codec: Some(codec) }.into()),
        ("deltas", deltas.into()),
        ("ack", Ack { site, region: 300, replicated: 12 }.into()),
        ("gap", Gap { site, have: 12 }.into()),
        ("credit", Credit { bytes: 65_536 }.into()),
        ("presence of another", Presence { session: 70_001, data: None, user: Some("ada".into()) }.into()),
        ("rights", RightsChanged { rights: Rights::Read }.into()),
        ("move", Move { endpoints, after_ms: 0 }.into()),
        ("refused", Refused { site, from: 13, code: 4413, message: "too large".into() }.into()),
        ("closed", Closed { code: 4409, reason: "rebuilt".into(), retry_after_ms: 0, generation: 2 }.into()),
        ("rebase-answer", RebaseAnswer { granted: true, for_ms: 10_000 }.into()),
        ("rebase-answer not now", RebaseAnswer { granted: false, for_ms: 250 }.into()),
    ]
}

/// The deltas of `stream.json`, one entry each, in one stream.
pub fn deltas() -> Vec<Delta> {
    let (a, b) = (SiteId::leased(0, 1), SiteId::random(2));
    let element = Element { digit: Digit::new(40), site: a, k: 2 };
    let mut below = Path::root();
    below.push(element);
    let insert = |parent: &Path, digit, direction, text: &str| Op::Insert {
        parent: parent.clone(),
        digit: Digit::new(digit),
        direction,
        text: text.into(),
    };
    let deleted = vec![DotRange { site: a, first: 1, last: 2 }, DotRange { site: b, first: 4, last: 4 }];
    let delete = |site, first, dot| {
        let ranges = vec![DotRange { site, first: dot, last: dot }];
        Delta { site, first, ops: vec![Op::Delete { ranges }] }
    };
    let own = vec![DotRange { site: a, first: 3, last: 3 }, DotRange { site: a, first: 65, last: 69 }];
    let mut hello = Path::root();
    hello.push(Element { digit: Digit::new(40), site: a, k: 1 });
    let hashed = |counter| Digit::hashed(Dot::new(a, counter), 1).get();
    let mut deep = below.clone();
    let piece = |slot, site, first_k, length| Piece { slot, site, first_k, length };
    let rebase = Rebase {
        parent: below.clone(),
        digit: Digit::new(-5),
        lamport: 1,
        spacing: 900,
        pieces: vec![piece(0, a, 61, 4), piece(1, b, -2, 2), piece(3, a, 3, 1)],
    };
    (3..17).for_each(|k| deep.push(Element { digit: Digit::new(7), site: a, k }));
    vec![
        Delta { site: a, first: 1, ops: vec![insert(&Path::root(), 40, Direction::After, "hi")] },
        Delta { site: a, first: 3, ops: vec![insert(&Path::root(), 40, Direction::After, "!")] },
        Delta { site: b, first: 1, ops: vec![insert(&below, -3, Direction::Before, "\u{1f600}x")] },
        Delta { site: b, first: 3, ops: vec![Op::Void { length: 40 }, Op::Delete { ranges: deleted }] },
        Delta {
            site: a,
            first: 9,
            ops: vec![Op::Meta { key: "title".into(), value: Some(b"x".to_vec()), lamport: 5 }],
        },
        Delta { site: a, first: 10, ops: vec![insert(&Path::root(), 40, Direction::After, "?")] },
        delete(a, 11, 10),
        delete(a, 12, 9),
        delete(b, 44, 5),
        delete(a, 60, 2),
        Delta { site: a, first: 61, ops: vec![insert(&deep, 7, Direction::After, "deep")] },
        Delta { site: b, first: 45, ops: vec![Op::Rebase(Box::new(rebase))] },
        Delta { site: a, first: 65, ops: vec![insert(&hello, hashed(65), Direction::After, "below")] },
        Delta { site: a, first: 70, ops: vec![insert(&Path::root(), 40, Direction::Before, "beside")] },
        Delta { site: a, first: 76, ops: vec![insert(&hello, 900, Direction::After, "a digit")] },
        Delta { site: a, first: 83, ops: vec![Op::Delete { ranges: own }] },
    ]
}

fn position() -> Position {
    Position { log: LogId(0x1234_5678_9abc_def0_1122_3344_5566_7788), partition: 3, offset: 70_000 }
}

/// Encodes one field as messages do.
fn field(value: impl bincode::Encode) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::standard()).expect("a field encodes into memory")
}

/// The fields of a message, each with its name; the second form has the engine's site first.
macro_rules! fields {
    ($message:ident: $($name:ident),*) => {
        vec![$((field(&$message.$name), stringify!($name).to_owned())),*]
    };
    ($message:ident: site; $($name:ident),*) => {{
        let mut fields = vec![(field($message.site.get()), "site".to_owned())];
        fields.extend([$((field(&$message.$name), stringify!($name).to_owned())),*]);
        fields
    }};
}

fn client_fields(message: &ClientMessage) -> Vec<(Vec<u8>, String)> {
    use ClientMessage as M;
    match message {
        M::Hello(m) => fields!(m: format, versions, features, client, token),
        M::Token(m) => fields!(m: token),
        M::Ping(m) => fields!(m: nonce),
        M::Pong(m) => fields!(m: nonce),
        M::Open(m) => {
            fields!(m: document, generation, position, vector_hash, outbox, outbox_bytes, token, wants_site)
        }
        M::Chunk(m) => fields!(m: transfer, content, index, of, total_bytes, hash, bytes),
        M::Push(m) => fields!(m: seq, tag, deltas),
        M::Presence(m) => fields!(m: session, data, user),
        M::Bye(m) => {
            vec![(field(m.site.map(SiteId::get)), "site".to_owned()), (field(m.counter), "counter".to_owned())]
        }
        M::RebaseAsk(_) => Vec::new(),
    }
}

fn server_fields(message: &ServerMessage) -> Vec<(Vec<u8>, String)> {
    use ServerMessage as M;
    match message {
        M::HelloOk(m) => fields!(m: format, version, features, session, region, endpoints, limits, ping),
        M::TokenExpiring(m) => fields!(m: in_ms),
        M::Drain(m) => fields!(m: endpoints, after_ms),
        M::Ping(m) => fields!(m: nonce),
        M::Pong(m) => fields!(m: nonce),
        M::Error(m) => fields!(m: code, message, retryable, retry_after_ms),
        M::Endpoints(m) => fields!(m: signed),
        M::OpenOk(m) => fields!(m: lease, rights, generation, highest, sync, known, credit),
        M::Chunk(m) => fields!(m: transfer, content, index, of, total_bytes, hash, bytes),
        M::Synced(m) => fields!(m: position, vector_hash, codec),
        M::Deltas(m) => fields!(m: position, epoch, seq, tag, deltas),
        M::Ack(m) => fields!(m: site; region, replicated),
        M::Gap(m) => fields!(m: site; have),
        M::Credit(m) => fields!(m: bytes),
        M::Presence(m) => fields!(m: session, data, user),
        M::Rights(m) => fields!(m: rights),
        M::Move(m) => fields!(m: endpoints, after_ms),
        M::Refused(m) => fields!(m: site; from, code, message),
        M::Closed(m) => fields!(m: code, reason, retry_after_ms, generation),
        M::RebaseAnswer(m) => fields!(m: granted, for_ms),
    }
}

fn messages() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (name, message) in client_messages() {
        let bytes = message.to_frame(channel_of(message.kind())).expect("a small message");
        vectors.push(of_frame(name, "client", message.kind(), &bytes, client_fields(&message)));
    }
    for (name, message) in server_messages() {
        let bytes = message.to_frame(channel_of(message.kind())).expect("a small message");
        vectors.push(of_frame(name, "server", message.kind(), &bytes, server_fields(&message)));
    }
    vectors
}

/// Where the vectors put a message.
pub fn channel_of(kind: u8) -> Channel {
    Channel(u32::from(kind >= kind::OPEN))
}

fn of_frame(name: &'static str, from: &'static str, kind: u8, bytes: &[u8], message: Vec<(Vec<u8>, String)>) -> Vector {
    let payload: Vec<u8> = message.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
    let header = bytes.len() - payload.len();
    assert_eq!(&bytes[header..], payload, "{name}: the fields are the payload");
    let mut fields = vec![
        (bytes[..1].to_vec(), "frame: channel, varint".to_owned()),
        (bytes[1..2].to_vec(), "frame: kind".to_owned()),
        (bytes[2..header].to_vec(), "frame: bytes of payload, varint".to_owned()),
    ];
    fields.extend(message);
    Vector { name, from, frame: Some((channel_of(kind).0, kind, payload)), fields }
}

/// What the tags of `tags.json` are made with.
pub fn tag_parts() -> (TagKeys, DocumentId, u64) {
    let key: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    let keys = TagKeys::parse(&format!("7 {key}")).expect("it is a key");
    (keys, "acme/plan".parse().expect("it is a name"), 3)
}

fn tags() -> Vec<Vector> {
    let (keys, document, generation) = tag_parts();
    let names = ["of a first insert", "of an extension"];
    let tagged = names.into_iter().zip(deltas()).map(|(name, delta)| {
        let durable = delta.encode();
        let tag = keys.tag(&document, generation, &delta, &durable);
        let fields = vec![
            (vec![7], "number of the key".to_owned()),
            ((0..32).collect(), "the key".to_owned()),
            (document.as_str().as_bytes().to_vec(), "document".to_owned()),
            (generation.to_le_bytes().to_vec(), "generation".to_owned()),
            (durable, "durable form".to_owned()),
            (tag.to_vec(), "the tag".to_owned()),
        ];
        Vector { name, from: "tag", frame: None, fields }
    });
    tagged.collect()
}

/// The list of `endpoints.json`.
pub fn list() -> EndpointList {
    let urls = [
        ("a", "https://a.example/v1/connect"),
        ("a", "wss://a.example/v1/connect"),
        ("b", "wss://b.example/v1/connect"),
    ];
    EndpointList { format: 1, epoch: 7, issue: 1_790_000_000_000, home: "a".into(), endpoints: relays_at(urls) }
}

/// The public half of the key that signed [`list`]. Its private half is nowhere any more.
pub const LIST_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE7mswOCLclHV3pPElNidVdXZv6XPHHoMEXiK2YH88j60OO8Tk6l+51cmU6R1jQFInXR8k8WcvXKvqXrYYyY1fSA==";
/// The signature, which is not made anew: ECDSA draws a random number for each.
const LIST_SIGNATURE: &str = "6874b971a589545fefe32673e9c097244dd925ac642792fc8ea4716ac7dc1bab6f6be9922fc206b893422914b65b6612d0472e143d1fc9fe412f340bba7f4fe5";

fn signed_list() -> Vector {
    let key = ListKey::from_pem(LIST_KEY).expect("it is a key");
    let signature = hex::decode(LIST_SIGNATURE).expect("hexadecimal digits");
    let signed = SignedList::join(&list().signing_input(&key), &signature).expect("a short list");
    let fields = vec![
        (LIST_KEY.as_bytes().to_vec(), "public key, base64 of SubjectPublicKeyInfo".to_owned()),
        (key.name().into_bytes(), "name of the key".to_owned()),
        (list().encode(), "the list".to_owned()),
        (signed.into_bytes(), "signed form".to_owned()),
    ];
    Vector { name: "a signed list of endpoints", from: "endpoints", frame: None, fields }
}

fn streams() -> Vec<Vector> {
    let mut encoder = StreamEncoder::new();
    let names = [
        "a first insert",
        "an extension",
        "an insert below and before",
        "a void and a delete",
        "a meta write",
        "a keystroke",
        "a backspace",
        "another",
        "the dot behind the last deletion",
        "a dot far back",
        "an insert on a long path",
        "a rebase",
        "an insert below a character remembered",
        "an insert beside a run remembered",
        "an insert of a digit chosen",
        "a delete of several ranges",
    ];
    let mut vectors = Vec::new();
    for (name, delta) in names.into_iter().zip(deltas()) {
        let mut coded = Vec::new();
        encoder.push(&delta, &mut coded);
        vectors.push(Vector { name, from: "stream", frame: None, fields: vec![(coded, "stream form".to_owned())] });
        let durable = vec![(delta.encode(), "durable form".to_owned())];
        vectors.push(Vector { name, from: "durable", frame: None, fields: durable });
    }
    let state = vec![(encoder.state(), "state after all of them".to_owned())];
    vectors.push(Vector { name: "state for joiners", from: "state", frame: None, fields: state });
    vectors
}

fn json(vectors: &[Vector]) -> String {
    let mut out = String::from("[\n");
    for (at, vector) in vectors.iter().enumerate() {
        let whole: String = vector.fields.iter().map(|(bytes, _)| hex(bytes)).collect();
        out.push_str("  {\"name\": \"");
        out.push_str(vector.name);
        out.push_str("\", \"from\": \"");
        out.push_str(vector.from);
        out.push_str("\",\n   \"hex\": \"");
        out.push_str(&whole);
        out.push_str("\",\n");
        if let Some((channel, kind, payload)) = &vector.frame {
            out.push_str("   \"channel\": ");
            out.push_str(&channel.to_string());
            out.push_str(", \"kind\": ");
            out.push_str(&kind.to_string());
            out.push_str(", \"payload\": \"");
            out.push_str(&hex(payload));
            out.push_str("\",\n");
        }
        out.push_str("   \"fields\": [");
        for (number, (bytes, note)) in vector.fields.iter().enumerate() {
            out.push_str(if number == 0 { "[\"" } else { ", [\"" });
            out.push_str(&hex(bytes));
            out.push_str("\", \"");
            out.push_str(note);
            out.push_str("\"]");
        }
        out.push_str(if at + 1 == vectors.len() { "]}\n" } else { "]},\n" });
    }
    out.push_str("]\n");
    out
}

fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}
