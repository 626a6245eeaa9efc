//! The golden vectors are what this code writes, and what it reads.

use crate::golden::{channel_of, client_messages, deltas, files, list, server_messages, tag_parts};
use selvedge_engine::Delta;
use selvedge_protocol::stream::{StreamDecoder, StreamEncoder};
use selvedge_protocol::{ClientMessage, EndpointList, Frame, ListKey, ServerMessage, SignedList};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    name: String,
    from: String,
    hex: String,
    channel: Option<u32>,
    kind: Option<u8>,
    payload: Option<String>,
    fields: Vec<(String, String)>,
}

fn read(name: &str) -> Vec<Vector> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    let vectors: Vec<Vector> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for vector in &vectors {
        let fields: String = vector.fields.iter().map(|(hex, _)| hex.as_str()).collect();
        assert_eq!(fields, vector.hex, "{}", vector.name);
    }
    vectors
}

#[test]
fn the_files_are_what_this_code_writes() {
    for (name, json) in files() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
        let stored = std::fs::read_to_string(path).unwrap();
        assert!(stored == json, "{name} differs: a change of the format is a new protocol version");
    }
}

#[test]
fn messages_are_read_as_they_were_written() {
    let (client, server) = (client_messages(), server_messages());
    for vector in read("messages.json") {
        let bytes = hex::decode(&vector.hex).unwrap();
        let (frame, taken) = Frame::parse(&bytes).unwrap();
        assert_eq!(taken, bytes.len());
        assert_eq!(Some(frame.channel.0), vector.channel);
        assert_eq!(Some(frame.kind), vector.kind);
        assert_eq!(frame.channel, channel_of(frame.kind));
        assert_eq!(hex::encode(frame.payload), vector.payload.unwrap());
        if vector.from == "client" {
            let expected = &client.iter().find(|(name, _)| *name == vector.name).unwrap().1;
            assert_eq!(ClientMessage::decode(&frame).unwrap().as_ref(), Some(expected));
        } else {
            let expected = &server.iter().find(|(name, _)| *name == vector.name).unwrap().1;
            assert_eq!(ServerMessage::decode(&frame).unwrap().as_ref(), Some(expected));
        }
    }
}

#[test]
fn tags_verify_as_they_were_written() {
    let (keys, document, generation) = tag_parts();
    let vectors = read("tags.json");
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let field =
            |note: &str| hex::decode(&vector.fields.iter().find(|(_, known)| known == note).unwrap().0).unwrap();
        let (durable, tag) = (field("durable form"), field("the tag"));
        let delta = Delta::decode(&durable).unwrap();
        let tag: [u8; 16] = tag.try_into().unwrap();
        assert!(keys.verify(&document, generation, &delta, &durable, &tag), "{}", vector.name);
        assert!(!keys.verify(&document, generation + 1, &delta, &durable, &tag), "{}", vector.name);
    }
}

#[test]
fn a_signed_list_comes_apart_as_it_was_written() {
    let [vector] = &read("endpoints.json")[..] else { panic!("one list") };
    let field = |note: &str| {
        let (hex, _) = vector.fields.iter().find(|(_, known)| known.starts_with(note)).unwrap();
        hex::decode(hex).unwrap()
    };
    let text = |note: &str| String::from_utf8(field(note)).unwrap();
    let key = ListKey::from_pem(&text("public key")).unwrap();
    let signed = text("signed form");
    let parts = SignedList::parse(&signed).unwrap();
    assert_eq!(key.name(), text("name of the key"));
    assert!(parts.names(&key));
    assert_eq!(parts.list, field("the list"));
    assert_eq!(EndpointList::decode(&parts.list).unwrap(), list());
}

#[test]
fn streams_are_read_as_they_were_written() {
    let mut decoder = StreamDecoder::new();
    let mut encoder = StreamEncoder::new();
    let mut expected = deltas().into_iter();
    for vector in read("stream.json") {
        let bytes = hex::decode(&vector.hex).unwrap();
        match vector.from.as_str() {
            "stream" => {
                let delta = expected.next().unwrap();
                assert_eq!(decoder.decode(&bytes).unwrap(), vec![delta.clone()], "{}", vector.name);
                encoder.push(&delta, &mut Vec::new());
            }
            "durable" => {
                let delta = Delta::decode(&bytes).unwrap();
                assert_eq!(hex::encode(delta.encode()), vector.hex, "{}", vector.name);
            }
            _ => assert_eq!(hex::encode(encoder.state()), vector.hex),
        }
    }
    assert!(expected.next().is_none());
}
