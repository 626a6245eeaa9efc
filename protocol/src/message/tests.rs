//! Every message comes back as it went, and any bytes are read or refused.

use proptest::prelude::*;
use selvedge_engine::SiteId;

use super::*;
use crate::endpoint::{Address, Endpoint, Transport};
use crate::level::{AckLevel, LogId, Position, Rights};

fn position() -> Position {
    Position { log: LogId(7 << 90), partition: 3, offset: 1 << 40 }
}

fn endpoints() -> Vec<Endpoint> {
    let address = |transport, certificates| Address { transport, url: "wss://a".into(), certificates };
    let addresses =
        vec![address(Transport::WebTransport, vec![[7; 32], [8; 32]]), address(Transport::WebSocket, vec![])];
    vec![Endpoint { relay: "a".into(), region: "eu".into(), addresses }]
}

fn client_messages() -> Vec<ClientMessage> {
    let (site, other) = (SiteId::leased(1, 2), SiteId::random(9));
    vec![
        Hello { format: 1, versions: vec![1], features: 0, client: "test".into(), token: Some("t".into()) }.into(),
        Token { token: "t".into() }.into(),
        Ping { nonce: u64::MAX }.into(),
        Pong { nonce: 300 }.into(),
        Open {
            document: "a/b".into(),
            generation: 1,
            position: Some(position()),
            vector_hash: 5,
            outbox: vec![SiteRange { site, first: 1, last: 9 }, SiteRange { site: other, first: 4, last: 4 }],
            outbox_bytes: 99,
            token: None,
            wants_site: true,
        }
        .into(),
        crate::transfer::chunks(1, ChunkContent::Vector, b"abc").unwrap().remove(0).into(),
        Push { seq: 0, tag: None, deltas: vec![1, 2].into() }.into(),
        Presence { session: 0, data: Some(vec![1].into()), user: None }.into(),
        Bye { site: Some(site), counter: 12 }.into(),
        Bye::default().into(),
        RebaseAsk {}.into(),
    ]
}

fn server_messages() -> Vec<ServerMessage> {
    let site = SiteId::leased(0, 1);
    vec![
        HelloOk {
            format: 1,
            version: 1,
            features: 0,
            session: 77,
            region: "eu".into(),
            endpoints: endpoints(),
            limits: Limits::default(),
            ping: PingPolicy::default(),
        }
        .into(),
        TokenExpiring { in_ms: 1 }.into(),
        Drain { endpoints: endpoints(), after_ms: 100 }.into(),
        Ping { nonce: 1 }.into(),
        Pong { nonce: 2 }.into(),
        Failure { code: 4529, message: "slow down".into(), retryable: true, retry_after_ms: 50 }.into(),
        SignedEndpoints { signed: "header.list.signature".into() }.into(),
        OpenOk {
            lease: Some(SiteLease { site, next_counter: 3 }),
            rights: Rights::Write,
            generation: 2,
            highest: AckLevel::Replicated,
            sync: SyncPlan::Tail,
            known: vec![Known { site, counter: 4 }],
            credit: 1000,
        }
        .into(),
        crate::transfer::chunks(1, ChunkContent::Wanted, b"").unwrap().remove(0).into(),
        Synced {
            position: Some(position()),
            vector_hash: 1,
            codec: Some(CodecState { epoch: 1, seq: 2, bytes: vec![3].into() }),
        }
        .into(),
        Deltas { position: None, epoch: 1, seq: 0, tag: Some([9; 16]), deltas: vec![4].into() }.into(),
        Ack { site, region: 5, replicated: 4 }.into(),
        Gap { site, have: 3 }.into(),
        Credit { bytes: 1 }.into(),
        Presence { session: 8, data: None, user: Some("ada".into()) }.into(),
        RightsChanged { rights: Rights::Read }.into(),
        Move { endpoints: endpoints(), after_ms: 0 }.into(),
        Refused { site, from: 1, code: 4403, message: "no".into() }.into(),
        Closed { code: 4410, reason: "gone".into(), retry_after_ms: 0, generation: 0 }.into(),
        RebaseAnswer { granted: true, for_ms: 10_000 }.into(),
    ]
}

#[test]
fn messages_come_back() {
    for message in client_messages() {
        let bytes = message.to_frame(Channel(3)).unwrap();
        let (frame, taken) = Frame::parse(&bytes).unwrap();
        assert_eq!(taken, bytes.len());
        assert_eq!(ClientMessage::decode(&frame).unwrap(), Some(message));
    }
    for message in server_messages() {
        let bytes = message.to_frame(Channel(3)).unwrap();
        let (frame, _) = Frame::parse(&bytes).unwrap();
        assert_eq!(ServerMessage::decode(&frame).unwrap(), Some(message));
    }
}

#[test]
fn a_kind_nobody_knows_is_skipped_and_one_of_the_other_side_refused() {
    let frame = |kind| Frame { channel: Channel(0), kind, payload: &[1, 2, 3] };
    assert_eq!(ClientMessage::decode(&frame(0x7f)), Ok(None));
    assert_eq!(ServerMessage::decode(&frame(0x0a)), Ok(None));
    assert_eq!(ClientMessage::decode(&frame(kind::ACK)), Err(DecodeError::WrongDirection(kind::ACK)));
    assert_eq!(ServerMessage::decode(&frame(kind::OPEN)), Err(DecodeError::WrongDirection(kind::OPEN)));
}

#[test]
fn later_versions_append_to_hello_alone() {
    let mut hello = client_messages().remove(0).payload();
    hello.extend([1, 2, 3]);
    let frame = Frame { channel: Channel(0), kind: kind::HELLO, payload: &hello };
    assert_eq!(ClientMessage::decode(&frame).unwrap(), Some(client_messages().remove(0)));
    let mut ping = wire::encode(&Ping { nonce: 1 });
    ping.push(0);
    let frame = Frame { channel: Channel(0), kind: kind::PING, payload: &ping };
    assert!(ClientMessage::decode(&frame).is_err());
}

#[test]
fn what_breaks_a_limit_is_refused() {
    let refused = |message: ClientMessage| {
        let payload = message.payload();
        let frame = Frame { channel: Channel(1), kind: message.kind(), payload: &payload };
        ClientMessage::decode(&frame).is_err()
    };
    assert!(refused(Presence { session: 0, data: Some(vec![0; 1025].into()), user: None }.into()));
    assert!(refused(Token { token: "x".repeat(16 * 1024 + 1) }.into()));
    let ClientMessage::Open(open) = client_messages().remove(4) else { panic!("the list begins otherwise") };
    let reversed = Open { outbox: open.outbox.iter().rev().copied().collect(), ..open.clone() };
    assert!(refused(reversed.into()));
    assert!(refused(Bye { site: Some(SiteId::new(1 << 40)), counter: 1 }.into()));
    let mut chunk = crate::transfer::chunks(1, ChunkContent::Vector, b"abc").unwrap().remove(0);
    chunk.of = 3;
    assert!(refused(chunk.into()));
}

proptest! {
    #[test]
    fn any_payload_is_read_or_refused(kind: u8, payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let frame = Frame { channel: Channel(1), kind, payload: &payload };
        if let Ok(Some(message)) = ClientMessage::decode(&frame) {
            let again = message.payload();
            let frame = Frame { channel: Channel(1), kind, payload: &again };
            prop_assert_eq!(ClientMessage::decode(&frame).unwrap(), Some(message));
        }
        if let Ok(Some(message)) = ServerMessage::decode(&frame) {
            let again = message.payload();
            let frame = Frame { channel: Channel(1), kind, payload: &again };
            prop_assert_eq!(ServerMessage::decode(&frame).unwrap(), Some(message));
        }
    }

    #[test]
    fn a_message_with_changed_bytes_is_read_or_refused(
        pick: prop::sample::Index,
        at: prop::sample::Index,
        byte: u8,
        cut: prop::sample::Index,
    ) {
        let messages = server_messages();
        let message = pick.get(&messages);
        let mut payload = message.payload();
        *at.get_mut(&mut payload) = byte;
        payload.truncate(cut.index(payload.len() + 1));
        let frame = Frame { channel: Channel(1), kind: message.kind(), payload: &payload };
        let _ = ServerMessage::decode(&frame);
    }
}
