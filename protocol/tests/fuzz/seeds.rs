//! Valid inputs of the fuzz targets, and some made to claim the most.

use selvedge_engine::{
    Bias, Delta, Digit, Direction, Document, Dot, Element, OP_TEXT_BYTES_MAX, Op, PATH_LEVELS_MAX, Path, SiteId,
    VersionVector, packing,
};
use selvedge_protocol::message::{Chunk, ChunkContent, Presence};
use selvedge_protocol::stream::StreamEncoder;
use selvedge_protocol::{Channel, ClientMessage, ListKey, Random, SignedList};

use crate::golden;

/// Histories from which the fuzzer begins, and bytes of each.
const HISTORIES: u64 = 24;
const HISTORY_BYTES: u64 = 400;

/// The seeds of a target, by its name.
pub(crate) fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "anchor" => anchors(),
        "connection" => connections(),
        "delta" => deltas().iter().chain(&greedy(20)).map(Delta::encode).collect(),
        "downstream" => (0..HISTORIES).map(history).collect(),
        "endpoint_list" => lists(),
        "frames" => frames(),
        "history" => (0..HISTORIES).map(history).collect(),
        "inflate" => deflated(),
        "keystroke" => keystrokes(),
        "messages" => payloads(),
        "names" => names(),
        "snapshot" => snapshots(),
        "state_diff" => diffs(),
        "stream" => streams(),
        "vector" => documents().iter().map(|document| document.vector().encode()).collect(),
        _ => Vec::new(),
    }
}

/// Two writers at one text, with `meta`, and the deltas between them.
fn written() -> (Vec<Document>, Vec<Delta>) {
    let mut documents = vec![Document::new(), Document::new()];
    documents[0].begin_writing(SiteId::leased(0, 1), 1).unwrap();
    documents[1].begin_writing(SiteId::random(7), 1).unwrap();
    let mut deltas = Vec::new();
    for (at, delete, text) in
        [(0, 0, "warp and weft"), (4, 1, "\n"), (0, 0, "😀 "), (3, 4, ""), (2, 0, "é水"), (9, 2, "x")]
    {
        let writer = deltas.len() % 2;
        let length = documents[writer].len_scalars();
        let (from, to) = (at.min(length), (at + delete).min(length));
        let (from, to) = (documents[writer].scalar_to_utf16(from), documents[writer].scalar_to_utf16(to));
        documents[writer].replace(from, to - from, text).unwrap();
        if at == 2 {
            documents[writer].set_meta("title", Some(b"selvedge")).unwrap();
        }
        for delta in documents[writer].seal() {
            documents[1 - writer].apply(&delta).unwrap();
            deltas.push(delta);
        }
    }
    (documents, deltas)
}

fn documents() -> Vec<Document> {
    let (mut documents, deltas) = written();
    // One that lacks what a delete names: it is pending.
    let mut behind = Document::new();
    for delta in deltas.iter().filter(|delta| delta.site == SiteId::random(7)) {
        let _ = behind.apply(delta);
    }
    // One of a text that packs, and of many short runs.
    let mut long = Document::new();
    long.begin_writing(SiteId::leased(0, 9), 1).unwrap();
    for at in 0..120 {
        long.replace(at % 7 * at / 7, 0, ["warp ", "weft, ", "x"][at % 3]).unwrap();
    }
    long.seal();
    documents.extend([behind, long, Document::new()]);
    documents
}

fn deltas() -> Vec<Delta> {
    golden::deltas().into_iter().chain(written().1).collect()
}

/// Deltas whose few bytes are much in memory: one character after the other on one deep path, so many by turns in two
/// groups, and voids.
fn greedy(turns: usize) -> Vec<Delta> {
    let site = SiteId::leased(0, 3);
    let element = |level: usize| Element { digit: Digit::hashed(Dot::new(site, 1), level), site, k: 1 };
    let deep: Path = (0..PATH_LEVELS_MAX - 1).map(element).collect::<Vec<_>>().into();
    let insert = |at: usize| Op::Insert {
        parent: deep.clone(),
        digit: Digit::new(1 + (at % 2) as i64),
        direction: Direction::After,
        text: "x".into(),
    };
    let voids = vec![Op::Void { length: 1 }; 300];
    let long = Op::Insert {
        parent: Path::root(),
        digit: Digit::new(1),
        direction: Direction::Before,
        text: "warp ".repeat(OP_TEXT_BYTES_MAX / 80),
    };
    let of = |ops: Vec<Op>| Delta { site, first: 2, ops };
    let same = |_: usize| insert(0);
    let greedy =
        vec![of((0..200).map(same).collect()), of((0..turns).map(insert).collect()), of(voids), of(vec![long])];
    greedy.into_iter().filter(|delta| delta.validate().is_ok()).collect()
}

fn keystrokes() -> Vec<Vec<u8>> {
    let typing = |backwards: bool| {
        let mut document = Document::new();
        document.begin_writing(SiteId::leased(0, 1), 1).unwrap();
        let mut bytes = Vec::new();
        for letter in ["w", "e", "é", "😀", "f", "", "t", "", "s"] {
            let at = if backwards { 0 } else { document.len_utf16() };
            let delete = usize::from(letter.is_empty());
            document.replace(if backwards { at } else { at - delete }, delete, letter).unwrap();
            document.seal().iter().for_each(|delta| put_short(&mut bytes, &delta.encode()));
        }
        bytes
    };
    let mut over = Vec::new();
    let mut document = Document::new();
    document.begin_writing(SiteId::leased(0, 1), 1).unwrap();
    for (at, delete, word) in [(0, 0, "warp and weft"), (5, 3, "or"), (0, 4, "wool"), (2, 6, "é"), (0, 3, "s")] {
        document.replace(at, delete, word).unwrap();
        document.seal().iter().for_each(|delta| put_short(&mut over, &delta.encode()));
    }
    let mut mixed = Vec::new();
    deltas().iter().for_each(|delta| put_short(&mut mixed, &delta.encode()));
    vec![typing(false), typing(true), over, mixed]
}

fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    if let Ok(length) = u8::try_from(bytes.len()) {
        out.push(length);
        out.extend_from_slice(bytes);
    }
}

fn anchors() -> Vec<Vec<u8>> {
    let documents = documents();
    let of = |document: &Document| {
        [(0, Bias::After), (1, Bias::Before), (5, Bias::After)].map(|(at, bias)| document.anchor_at(at, bias).encode())
    };
    documents.iter().flat_map(of).collect()
}

fn diffs() -> Vec<Vec<u8>> {
    let documents = documents();
    let halves = documents[0].vector().iter().map(|(site, counter)| (site, counter / 2));
    let mut diffs: Vec<_> =
        documents.iter().map(|document| document.state_diff(&VersionVector::new()).encode()).collect();
    diffs.push(documents[1].state_diff(&halves.collect()).encode());
    diffs.extend(greedy_documents().iter().map(|document| document.state_diff(&VersionVector::new()).encode()));
    diffs
}

/// Without their checksums, which the target puts there.
fn snapshots() -> Vec<Vec<u8>> {
    let all = documents();
    let saved = all.iter().flat_map(|document| [document.snapshot(), document.snapshot_plain()]);
    let greedy = greedy_documents();
    let saved = saved.chain(greedy.iter().map(Document::snapshot));
    saved.map(|bytes| bytes[..bytes.len() - 4].to_vec()).collect()
}

/// Documents whose few bytes are much in memory: a text of one letter, and one of as many runs as letters, alike to each other.
fn greedy_documents() -> Vec<Document> {
    let written = |length: usize, write: fn(&mut Document, usize)| {
        let mut document = Document::new();
        document.begin_writing(SiteId::leased(0, 1), 1).unwrap();
        (0..length).for_each(|at| write(&mut document, at));
        document.seal();
        document
    };
    vec![
        written(4, |document, _| drop(document.replace(0, 0, &"w".repeat(OP_TEXT_BYTES_MAX)).unwrap())),
        written(1_500, |document, at| drop(document.replace(at.div_ceil(2), 0, "w").unwrap())),
        written(1_500, |document, at| drop(document.replace(at / 3 * 2, 0, "w").unwrap())),
    ]
}

fn messages() -> Vec<(u8, Vec<u8>)> {
    let client = golden::client_messages().into_iter().map(|(_, message)| (message.kind(), message.payload()));
    client
        .chain(golden::server_messages().into_iter().map(|(_, message)| (message.kind(), message.payload())))
        .collect()
}

fn payloads() -> Vec<Vec<u8>> {
    messages().into_iter().map(|(kind, payload)| [vec![kind], payload].concat()).collect()
}

fn frames() -> Vec<Vec<u8>> {
    let mut message = Vec::new();
    for (at, (_, one)) in golden::client_messages().iter().enumerate() {
        one.write(Channel(at as u32 / 2), &mut message).unwrap();
    }
    let presence = Presence { session: 0, data: None, user: None };
    let one = ClientMessage::from(presence).to_frame(Channel(300)).unwrap();
    vec![[&[0], &message[..]].concat(), [&[12], &message[..]].concat(), [&[255], &one[..], &one[..]].concat()]
}

fn connections() -> Vec<Vec<u8>> {
    let mut whole = Vec::new();
    let mut first = Vec::new();
    for (_, message) in golden::client_messages() {
        let frame = message.to_frame(golden::channel_of(message.kind())).unwrap();
        whole.extend((frame.len() as u16).to_le_bytes());
        whole.extend(&frame);
        if first.is_empty() {
            first.clone_from(&whole);
        }
    }
    vec![first.clone(), whole, [first, transfers()].concat()]
}

/// A channel, and on it transfers without their hash, which the target puts there: a vector, a state diff, and some that are longer.
fn transfers() -> Vec<u8> {
    let (_, open) = golden::client_messages().into_iter().find(|(name, _)| *name == "open").unwrap();
    let vector = documents()[0].vector().encode();
    let diffs = diffs();
    let wholes = [
        (0, ChunkContent::Vector, &vector),
        (4, ChunkContent::StateDiff, &diffs[0]),
        (13, ChunkContent::StateDiff, &diffs[0]),
        (14, ChunkContent::Vector, &vector),
    ];
    let chunk = |(transfer, content, bytes): (u64, ChunkContent, &Vec<u8>)| {
        let total_bytes = bytes.len() as u64;
        let bytes = bytes.clone().into();
        ClientMessage::from(Chunk { transfer, content, index: 0, of: 1, total_bytes, hash: [0; 32], bytes })
    };
    let mut out = Vec::new();
    for message in [open].into_iter().chain(wholes.map(chunk)) {
        let frame = message.to_frame(Channel(1)).unwrap();
        out.extend((frame.len() as u16).to_le_bytes());
        out.extend(&frame);
    }
    out
}

/// Deflated texts behind their lengths, and one whose blocks are stored.
fn deflated() -> Vec<Vec<u8>> {
    let texts = ["", "warp", &"warp and weft, ".repeat(20), &"\u{6c34}\u{1f600}".repeat(9), golden::LIST_KEY];
    let with_length = |text: &str, packed: &[u8]| [&(text.len() as u16).to_le_bytes(), packed].concat();
    let mut all: Vec<_> = texts.iter().map(|text| with_length(text, &packing::deflate(text.as_bytes()))).collect();
    all.push(with_length("weft", &[1, 4, 0, 0xfb, 0xff, b'w', b'e', b'f', b't']));
    all
}

fn streams() -> Vec<Vec<u8>> {
    let mut encoder = StreamEncoder::new();
    let (mut coded, mut all) = (Vec::new(), Vec::new());
    for delta in deltas() {
        let state = encoder.state();
        let mut one = Vec::new();
        encoder.push(&delta, &mut one);
        coded.extend(&one);
        if let Ok(length) = u8::try_from(state.len()) {
            all.push([&[length], &state[..], &one[..]].concat());
        }
    }
    all.push([&[0], &coded[..]].concat());
    for delta in greedy(400) {
        let (mut encoder, mut bytes) = (StreamEncoder::new(), vec![0]);
        encoder.push(&delta, &mut bytes);
        all.push(bytes);
    }
    all.push(jumping(300));
    all.extend([packed(1), packed(8)]);
    // One keystroke after the other, each a delta of two bytes.
    let mut typed = vec![0];
    let mut encoder = StreamEncoder::new();
    for first in 1..200 {
        let op =
            Op::Insert { parent: Path::root(), digit: Digit::new(5), direction: Direction::After, text: "x".into() };
        encoder.push(&Delta { site: SiteId::leased(0, 1), first, ops: vec![op] }, &mut typed);
    }
    all.push(typed);
    all
}

/// A delta that is packed: letters on a path of so many elements, which each names in a byte.
fn packed(depth: usize) -> Vec<u8> {
    let site = SiteId::leased(0, 3);
    let mut random = Random::new(depth as u64);
    let element = |level: usize| Element { digit: Digit::hashed(Dot::new(site, 1), level), site, k: 1 };
    let parent: Path = (0..depth).map(element).collect::<Vec<_>>().into();
    let mut insert = |_: usize| {
        let text: String = (0..2).map(|_| char::from(b'a' + random.below(20) as u8)).collect();
        Op::Insert { parent: parent.clone(), digit: Digit::new(5), direction: Direction::After, text }
    };
    let ops = (0..300).map(&mut insert).collect();
    let mut bytes = vec![0];
    StreamEncoder::new().push(&Delta { site, first: 2, ops }, &mut bytes);
    assert!(bytes.len() < 800, "{} bytes are not packed", bytes.len());
    bytes
}

/// Three bytes an insert, each below another of two characters as deep as can be.
fn jumping(inserts: usize) -> Vec<u8> {
    let site = SiteId::leased(0, 3);
    let hashed = |counter, level| Digit::hashed(Dot::new(site, counter), level);
    let element = |level, k| Element { digit: hashed(k as u64, level), site, k };
    let deep: Vec<Element> = (0..PATH_LEVELS_MAX - 2).map(|level| element(level, 1)).collect();
    let insert = |first: usize| {
        let last = element(deep.len(), 1 + first as i64 % 2);
        let parent = Path::from([&deep[..], &[last]].concat());
        let digit = hashed(first as u64, parent.depth());
        Op::Insert { parent, digit, direction: Direction::After, text: "x".into() }
    };
    let mut bytes = vec![0];
    StreamEncoder::new().push(&Delta { site, first: 3, ops: (3..3 + inserts).map(insert).collect() }, &mut bytes);
    bytes
}

fn lists() -> Vec<Vec<u8>> {
    let list = golden::list();
    let key = key();
    let signed = SignedList::join(&list.signing_input(&key), &[7; 64]).unwrap();
    vec![list.encode(), signed.into_bytes()]
}

fn key() -> ListKey {
    ListKey::from_pem(golden::LIST_KEY).unwrap()
}

fn names() -> Vec<Vec<u8>> {
    let texts = [
        "acme/plan",
        "plan",
        "wss://b.example:8080/v1/connect?x=1",
        "quic://b.example",
        "80000000000000ab",
        "acme/a~b:c",
    ];
    let keys = format!("# keys\n1 {}\n2 {}", "0a".repeat(32), "F7".repeat(32));
    let mut names: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    names.extend([keys.into_bytes(), key().to_pem().into_bytes()]);
    names.push(key().point().to_vec());
    names.extend(written().1.iter().map(|delta| [&[1; 24], &delta.encode()[..]].concat()));
    names
}

fn history(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..HISTORY_BYTES).map(|_| random.draw() as u8).collect()
}
