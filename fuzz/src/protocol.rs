//! The protocol's decoders.

use selvedge_engine::Delta;
use selvedge_protocol::client::KeptFrame;
use selvedge_protocol::message::{ChunkContent, Limits};
use selvedge_protocol::server::{ClientEvent, ClientReader};
use selvedge_protocol::stream::{StreamDecoder, StreamEncoder};
use selvedge_protocol::streams::{StreamFrames, by_channel};
use selvedge_protocol::tag::TagKeys;
use selvedge_protocol::transfer::{CHUNK_BYTES_MAX, chunks};
use selvedge_protocol::{
    Channel, ClientMessage, DocumentId, Endpoint, EndpointList, Frame, Frames, ListKey, ServerMessage, SignedList,
    relays_at,
};

use super::allocation::Allowance;
use super::engine::DELTA;

/// Bytes are copied where they wait for a frame's end, and once more as whole frames, in vectors that grow by doubling.
const FRAMES: Allowance = Allowance { each: 8, base: 1024 };
/// Structs are wider than their bytes, and a list is reserved at the length it claims, up to the decoder's own limit of
/// two frames.
const MESSAGE: Allowance = Allowance { each: 32, base: 2 * 64 * 1024 + 4096 };
/// A byte beside its text is a delta, an operation in it and that text; two or three name a path of 63 elements. A packed byte is two
/// operations, 16 elements and eight bytes, and what reads it has 48 KiB. The most that was seen is 516 for a byte.
const STREAM: Allowance = Allowance { each: 640, base: 56 * 1024 };
/// A message's fields, and what its deltas become.
const CONNECTION: Allowance = Allowance { each: MESSAGE.each + STREAM.each, base: MESSAGE.base + STREAM.base };
/// A kept frame is its delta, decoded to be checked, and a copy of its bytes.
const KEPT: Allowance = Allowance { each: DELTA.each + 4, base: DELTA.base };
/// A key of broadcast tags.
const TAG_KEY: &str = "7 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Names are copied.
const NAMES: Allowance = Allowance { each: 16, base: 4096 };

/// Frames of a message and of a stream are what the bytes say, however they are cut.
pub fn frames(bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let mut again = Vec::new();
    for frame in Frames::new(bytes).map_while(Result::ok) {
        frame.write(&mut again).unwrap();
    }
    assert!(bytes.starts_with(&again), "canonical");
    let sorted: Vec<u8> = by_channel(bytes).flat_map(|(_, piece)| piece.iter().copied()).collect();
    assert_eq!(sorted, again);
    let mut back = Vec::new();
    FRAMES.hold(bytes, || {
        let mut stream = StreamFrames::new();
        for piece in bytes.chunks(usize::from(piece) + 1) {
            stream.take(piece);
            loop {
                match stream.next(300) {
                    Ok(Some(frames)) => back.extend(frames),
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
        }
    });
    assert!(again.starts_with(&back), "a stream says no more than a message");
}

/// A kind and a payload, in both directions: what decodes comes back from its bytes.
pub fn messages(bytes: &[u8]) {
    let Some((&kind, payload)) = bytes.split_first() else { return };
    let frame = Frame { channel: Channel(1), kind, payload };
    if let Ok(Some(message)) = MESSAGE.hold(payload, || ClientMessage::decode(&frame)) {
        let payload = message.payload();
        assert_eq!(ClientMessage::decode(&Frame { payload: &payload, ..frame }), Ok(Some(message)));
    }
    if let Ok(Some(message)) = MESSAGE.hold(payload, || ServerMessage::decode(&frame)) {
        let payload = message.payload();
        assert_eq!(ServerMessage::decode(&Frame { payload: &payload, ..frame }), Ok(Some(message)));
    }
}

/// A stream taken up from a state, whose length is the first byte: its deltas obey the format and survive being coded anew.
pub fn stream(bytes: &[u8]) {
    let Some((&length, rest)) = bytes.split_first() else { return };
    let (state, coded) = rest.split_at(usize::from(length).min(rest.len()));
    // Whoever goes on from a state, reading or writing, goes on from the same.
    let writer = STREAM.hold(state, || StreamEncoder::from_state(state));
    assert_eq!(writer.as_ref().err(), StreamDecoder::from_state(state).as_ref().err());
    let decoded = STREAM.hold(rest, || {
        let mut decoder =
            if state.is_empty() { StreamDecoder::new() } else { StreamDecoder::from_state(state).ok()? };
        decoder.decode(coded).ok()
    });
    let Some(deltas) = decoded else { return };
    let (mut encoder, mut again) = (StreamEncoder::new(), Vec::new());
    for delta in &deltas {
        assert_eq!(delta.validate(), Ok(()));
        encoder.push(delta, &mut again);
    }
    assert_eq!(StreamDecoder::new().decode(&again).as_ref(), Ok(&deltas));
    if let Ok(mut writer) = writer {
        let mut again = Vec::new();
        deltas.iter().for_each(|delta| writer.push(delta, &mut again));
        let mut reader = StreamDecoder::from_state(state).unwrap();
        assert_eq!(reader.decode(&again).as_ref(), Ok(&deltas));
    }
    let state = encoder.state();
    assert_eq!(StreamEncoder::from_state(&state).map(|encoder| encoder.state()), Ok(state));
}

/// What a server reads of one client: messages, each behind its length in two bytes. A chunk without a hash stands for a whole
/// transfer of its bytes, which has one.
pub fn connection(bytes: &[u8]) {
    run_connection(bytes);
}

/// The same, and how many transfers were whole.
pub fn run_connection(bytes: &[u8]) -> usize {
    let mut messages = Vec::new();
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (message, behind) = behind.split_at(usize::from(u16::from_le_bytes(*length)).min(behind.len()));
        rest = behind;
        messages.extend(with_hashes(message));
    }
    let mut transfers = Vec::new();
    CONNECTION.hold(&messages.concat(), || {
        let mut reader = ClientReader::new(&Limits::default());
        for events in messages.iter().map_while(|message| reader.read(message).ok()) {
            transfers.extend(events.into_iter().filter_map(|event| match event {
                ClientEvent::Transfer { content, bytes, .. } => Some((content, bytes)),
                _ => None,
            }));
        }
    });
    for (content, bytes) in &transfers {
        match content {
            ChunkContent::Vector => super::vector(bytes),
            ChunkContent::StateDiff => super::state_diff(bytes),
            ChunkContent::Wanted => panic!("no client asks for that"),
        }
    }
    transfers.len()
}

/// The frames of a message, those of a transfer that is to be made in its place. Its number says how: up to three times as long as a
/// chunk, of its bytes again and again; its pieces backwards; and one twice.
fn with_hashes(message: &[u8]) -> Vec<Vec<u8>> {
    let transfer_of = |frame: &Frame<'_>| match ClientMessage::decode(frame) {
        Ok(Some(ClientMessage::Chunk(chunk))) if chunk.of == 1 && chunk.hash == [0; 32] => Some(chunk),
        _ => None,
    };
    if !Frames::new(message).map_while(Result::ok).any(|frame| transfer_of(&frame).is_some()) {
        return vec![message.to_vec()];
    }
    let mut messages = Vec::new();
    for frame in Frames::new(message).map_while(Result::ok) {
        let Some(chunk) = transfer_of(&frame) else {
            let mut bytes = Vec::new();
            frame.write(&mut bytes).unwrap();
            messages.push(bytes);
            continue;
        };
        let length = chunk.bytes.len().max(chunk.transfer as usize % 4 * CHUNK_BYTES_MAX);
        let whole: Vec<u8> = chunk.bytes.iter().copied().cycle().take(length).collect();
        let mut pieces = chunks(chunk.transfer, chunk.content, &whole).unwrap();
        if chunk.transfer & 4 != 0 {
            pieces.reverse();
        }
        if chunk.transfer & 8 != 0 {
            pieces.insert(0, pieces[pieces.len() - 1].clone());
        }
        messages.extend(pieces.into_iter().map(|piece| ClientMessage::from(piece).to_frame(frame.channel).unwrap()));
    }
    messages
}

/// A signed list, whole or only the list in it, and what a client makes of its endpoints.
pub fn endpoint_list(bytes: &[u8]) {
    let list = MESSAGE.hold(bytes, || {
        let signed = std::str::from_utf8(bytes).ok().and_then(|text| SignedList::parse(text).ok());
        EndpointList::decode(signed.as_ref().map_or(bytes, |signed| &signed.list)).ok()
    });
    if let Some(list) = list {
        assert_eq!(EndpointList::decode(&list.encode()).as_ref(), Ok(&list));
        // What a shell looks at before it verifies a signature.
        let [key, other] = [4, 5].map(super::list_key);
        if let Ok(signed) = SignedList::join(&list.signing_input(&key), &[7; 64]) {
            let parsed = SignedList::parse(&signed).unwrap();
            assert!(parsed.names(&key) && !parsed.names(&other));
        }
        for address in list.endpoints.iter().flat_map(|endpoint| &endpoint.addresses) {
            let _ = relays_at([("a", &*address.url)]);
        }
        list.endpoints.iter().for_each(|endpoint| assert!(endpoint.name().len() <= bytes.len()));
    }
}

/// Texts that name things: documents, endpoints, keys; and a frame kept with its tag.
pub fn names(bytes: &[u8]) {
    if let Some(frame) = KEPT.hold(bytes, || KeptFrame::decode(bytes)) {
        assert_eq!(frame.encode(), bytes);
        let (keys, document) = (TagKeys::parse(TAG_KEY).unwrap(), DocumentId::new("acme", "plan").unwrap());
        let delta = Delta::decode(&frame.bytes).unwrap();
        let verify = |tag| keys.verify(&document, frame.generation, &delta, &frame.bytes, &tag);
        assert!(!verify(frame.tag), "no tag fits by chance");
        let mut tag = keys.tag(&document, frame.generation, &delta, &frame.bytes);
        assert!(verify(tag));
        tag[15] ^= 1;
        assert!(!verify(tag));
    }
    if let Ok(key) = ListKey::from_point(bytes) {
        assert_eq!(key.point(), bytes);
        assert_eq!(ListKey::from_pem(&key.to_pem()).as_ref(), Ok(&key));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(id) = NAMES.hold(bytes, || DocumentId::parse(text, "acme")) {
        assert_eq!(DocumentId::new(id.tenant(), id.name()).as_ref(), Ok(&id));
        assert_eq!(DocumentId::parse(id.as_str(), "other").as_ref(), Ok(&id));
    }
    if let Some(endpoint) = NAMES.hold(bytes, || relays_at([("a", text)])).first() {
        assert!(endpoint.name().len() <= text.len());
    }
    let _ = Endpoint::websocket(text).name();
    let _ = NAMES.hold(bytes, || TagKeys::parse(text).map(drop));
    if let Ok(key) = NAMES.hold(bytes, || ListKey::from_pem(text)) {
        assert_eq!(ListKey::from_pem(&key.to_pem()).map(|again| again.name()), Ok(key.name()));
    }
    if let Ok(site) = text.parse::<selvedge_engine::SiteId>() {
        assert_eq!(site.to_string().parse(), Ok(site));
    }
}
