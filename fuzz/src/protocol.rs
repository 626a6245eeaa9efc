//! The protocol's decoders.

use selvedge_protocol::client::KeptFrame;
use selvedge_protocol::message::Limits;
use selvedge_protocol::server::ClientReader;
use selvedge_protocol::stream::{StreamDecoder, StreamEncoder};
use selvedge_protocol::streams::{StreamFrames, by_channel};
use selvedge_protocol::tag::TagKeys;
use selvedge_protocol::{
    Channel, ClientMessage, DocumentId, Endpoint, EndpointList, Frame, Frames, ListKey, ServerMessage, SignedList,
    relays_at,
};

use super::allocation::Allowance;

/// Bytes are copied where they wait for a frame's end, and once more as whole frames, in vectors that grow by doubling.
const FRAMES: Allowance = Allowance { each: 8, base: 1024 };
/// Structs are wider than their bytes, and a list is reserved at the length it claims, up to the decoder's own limit of
/// two frames.
const MESSAGE: Allowance = Allowance { each: 32, base: 2 * 64 * 1024 + 4096 };
/// A byte beside its text is a delta, an operation in it and that text; two or three name a path of 63 elements. A packed byte is two
/// operations, 16 elements and eight bytes, and what reads it has 48 KiB.
const STREAM: Allowance = Allowance { each: 640, base: 56 * 1024 };
/// A message's fields, and what its deltas become.
const CONNECTION: Allowance = Allowance { each: MESSAGE.each + STREAM.each, base: MESSAGE.base + STREAM.base };
/// A kept frame is its delta, decoded to be checked, and a copy of its bytes.
const KEPT: Allowance = Allowance { each: 132, base: 4096 };
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
    assert_eq!(StreamDecoder::new().decode(&again), Ok(deltas));
    let state = encoder.state();
    assert_eq!(StreamEncoder::from_state(&state).map(|encoder| encoder.state()), Ok(state));
}

/// What a server reads of one client: messages, each behind its length in two bytes.
pub fn connection(bytes: &[u8]) {
    CONNECTION.hold(bytes, || {
        let mut reader = ClientReader::new(&Limits::default());
        let mut rest = bytes;
        while let Some((length, behind)) = rest.split_first_chunk() {
            let (message, behind) = behind.split_at(usize::from(u16::from_le_bytes(*length)).min(behind.len()));
            rest = behind;
            if reader.read(message).is_err() {
                return;
            }
        }
    });
}

/// A signed list, whole or only the list in it, and what a client makes of its endpoints.
pub fn endpoint_list(bytes: &[u8]) {
    let list = MESSAGE.hold(bytes, || {
        let signed = std::str::from_utf8(bytes).ok().and_then(|text| SignedList::parse(text).ok());
        EndpointList::decode(signed.as_ref().map_or(bytes, |signed| &signed.list)).ok()
    });
    if let Some(list) = list {
        assert_eq!(EndpointList::decode(&list.encode()).as_ref(), Ok(&list));
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
