//! The session against bytes.

use selvedge_engine::Document;
use selvedge_protocol::message::{Hello, Presence, RebaseAsk, SiteRange};
use selvedge_protocol::stream::StreamEncoder;

use super::*;

fn session() -> Session {
    session_with(Limits::default())
}

fn session_with(limits: Limits) -> Session {
    Session::new(
        SessionConfig { limits, session: 7, region: "local".into(), endpoints: Vec::new(), tags: false },
        Instant(0),
    )
}

fn hello(versions: &[u8]) -> Vec<u8> {
    let hello = Hello { format: 1, versions: versions.to_vec(), features: 0, client: "test".into(), token: None };
    ClientMessage::Hello(hello).to_frame(Channel::CONNECTION).unwrap()
}

#[test]
fn only_a_client_that_verifies_lists_is_told_one() {
    let list = || SignedEndpoints { signed: "a.b.c".into() };
    for (features, told) in [(Features(0), false), (Features::SIGNED_ENDPOINTS, true), (Features(u64::MAX), true)] {
        let mut session = session();
        session.tell_endpoints(list());
        assert!(session.poll_event().is_none(), "nothing before hello is done");
        let hello = Hello { format: 1, versions: vec![1], features: features.0, client: "test".into(), token: None };
        session.receive(&ClientMessage::Hello(hello).to_frame(Channel::CONNECTION).unwrap(), Instant(0));
        assert!(matches!(session.poll_event(), Some(SessionEvent::Authenticate { .. })));
        let identity = Identity { principal: "p".into(), user: None, tenant: "default".into() };
        session.authenticated(identity, Instant(0));
        let Some(SessionEvent::Reply { message, .. }) = session.poll_event() else { panic!("hello-ok") };
        let ServerMessage::HelloOk(ok) = *message else { panic!("hello-ok, not {message:?}") };
        assert_eq!(Features(ok.features).contains(Features::SIGNED_ENDPOINTS), told);
        assert!(!Features(ok.features).contains(Features::BROADCAST_TAGS), "this service has no keys for tags");
        session.tell_endpoints(list());
        let event = session.poll_event();
        let is_list = |event: &SessionEvent| matches!(event, SessionEvent::Reply { channel: Channel::CONNECTION, message } if **message == list().into());
        assert_eq!(event.as_ref().is_some_and(is_list), told, "{event:?}");
        assert!(session.poll_event().is_none());
    }
}

fn open(channel: u32) -> Vec<u8> {
    let open = Open {
        document: "notes".into(),
        generation: 0,
        position: None,
        vector_hash: 0,
        outbox: Vec::new(),
        outbox_bytes: 0,
        token: None,
        wants_site: true,
    };
    ClientMessage::Open(open).to_frame(Channel(channel)).unwrap()
}

fn ready() -> Session {
    ready_with(Limits::default())
}

fn ready_with(limits: Limits) -> Session {
    let mut session = session_with(limits);
    session.receive(&hello(&[1]), Instant(0));
    assert!(matches!(session.poll_event(), Some(SessionEvent::Authenticate { .. })));
    let identity = Identity { principal: "p".into(), user: None, tenant: "default".into() };
    session.authenticated(identity, Instant(0));
    assert!(matches!(session.poll_event(), Some(SessionEvent::Reply { .. })));
    session
}

fn fault(session: &mut Session) -> Option<CloseCode> {
    std::iter::from_fn(|| session.poll_event()).find_map(|event| match event {
        SessionEvent::Fault(fault) => Some(fault.code),
        _ => None,
    })
}

fn push(channel: u32, seq: u64, words: &[&str]) -> Vec<u8> {
    let mut document = Document::new();
    document.begin_writing(SiteId::random(1), 1).unwrap();
    let mut encoder = StreamEncoder::new();
    let mut deltas = Vec::new();
    for word in words {
        document.replace(0, 0, word).unwrap();
        for delta in document.seal() {
            encoder.push(&delta, &mut deltas);
        }
    }
    ClientMessage::Push(Push { seq, tag: None, deltas: deltas.into() }).to_frame(Channel(channel)).unwrap()
}

#[test]
fn what_comes_before_hello_or_twice_is_refused() {
    let mut early = session();
    early.receive(&open(1), Instant(0));
    assert_eq!(fault(&mut early), Some(CloseCode::MALFORMED));
    let mut twice = ready();
    twice.receive(&hello(&[1]), Instant(0));
    assert_eq!(fault(&mut twice), Some(CloseCode::MALFORMED));
}

#[test]
fn an_unknown_version_is_told_to_upgrade() {
    let mut session = session();
    session.receive(&hello(&[77]), Instant(0));
    assert_eq!(fault(&mut session), Some(CloseCode::UPGRADE));
}

#[test]
fn any_bytes_are_read_or_refused_once() {
    let mut state = 1_u64;
    for length in 0..200 {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        for mut session in [session(), ready()] {
            session.receive(&bytes, Instant(0));
            session.receive(&bytes, Instant(0));
            let faults = std::iter::from_fn(|| session.poll_event())
                .filter(|event| matches!(event, SessionEvent::Fault(_)))
                .count();
            assert!(faults <= 1);
        }
    }
}

#[test]
fn messages_and_frames_have_their_limits() {
    let limits = Limits { message_bytes_max: 4096, frame_bytes_max: 2048, ..Limits::default() };
    let frame = |payload: usize| {
        let payload = vec![0; payload];
        let mut out = Vec::new();
        Frame { channel: Channel(1), kind: 200, payload: &payload }.write(&mut out).unwrap();
        out
    };
    let mut fine = ready_with(limits.clone());
    fine.receive(&frame(2000), Instant(0));
    assert_eq!(fault(&mut fine), None);
    let mut long_frame = ready_with(limits.clone());
    long_frame.receive(&frame(3000), Instant(0));
    assert_eq!(fault(&mut long_frame), Some(CloseCode::TOO_LARGE));
    let mut long_message = ready_with(limits);
    long_message.receive(&frame(5000), Instant(0));
    assert_eq!(fault(&mut long_message), Some(CloseCode::TOO_LARGE));
}

#[test]
fn silence_ends_the_session() {
    let mut before = session();
    before.tick(Instant(4_999));
    assert_eq!(fault(&mut before), None);
    before.tick(Instant(5_000));
    assert_eq!(fault(&mut before), Some(CloseCode::TOO_SLOW));
    let mut after = ready();
    after.tick(Instant(74_999));
    assert_eq!(fault(&mut after), None);
    after.tick(Instant(75_000));
    assert_eq!(fault(&mut after), Some(CloseCode::TOO_SLOW));
}

#[test]
fn the_table_of_channels_is_bounded_and_reused() {
    let mut session = ready_with(Limits { documents_max: 2, ..Limits::default() });
    for channel in 1..=3 {
        session.receive(&open(channel), Instant(0));
    }
    let refused = std::iter::from_fn(|| session.poll_event()).find_map(|event| match event {
        SessionEvent::Reply { message, .. } => match *message {
            ServerMessage::Closed(closed) => Some(CloseCode(closed.code)),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(refused, Some(CloseCode::RATE_LIMITED));
    session.channel_closed(Channel(1));
    session.receive(&push(1, 0, &["under way when the channel was closed"]), Instant(0));
    assert_eq!(fault(&mut session), None);
    session.receive(&open(4), Instant(0));
    assert!(matches!(session.poll_event(), Some(SessionEvent::Open { .. })));
    session.receive(&open(4), Instant(0));
    assert_eq!(fault(&mut session), Some(CloseCode::MALFORMED));
}

#[test]
fn announced_pushes_cost_no_rate() {
    let limits = Limits { frames_per_second: 1, frames_burst: 0, ..Limits::default() };
    let mut session = ready_with(limits);
    let range = SiteRange { site: SiteId::random(1), first: 1, last: 5 };
    let ClientMessage::Open(mut announced) =
        ClientMessage::decode(&Frame::parse(&open(1)).unwrap().0).unwrap().unwrap()
    else {
        panic!("not open")
    };
    announced.outbox = vec![range];
    session.receive(&ClientMessage::Open(announced).to_frame(Channel(1)).unwrap(), Instant(0));
    session.receive(&push(1, 0, &["a", "b", "c", "d", "e"]), Instant(0));
    assert_eq!(session.read_at(Instant(0)), None);
    session.receive(&open(2), Instant(0));
    session.receive(&push(2, 0, &["a"]), Instant(0));
    assert!(session.read_at(Instant(0)).is_some());
}

#[test]
fn presence_over_its_rate_or_size_is_dropped() {
    let mut session = ready();
    session.receive(&open(1), Instant(0));
    let presence = |bytes: usize| {
        let presence = Presence { session: 0, data: Some(vec![0; bytes].into()), user: None };
        let mut out = Vec::new();
        let message = ClientMessage::Presence(presence);
        Frame { channel: Channel(1), kind: message.kind(), payload: &message.payload() }.write(&mut out).unwrap();
        out
    };
    for _ in 0..12 {
        session.receive(&presence(10), Instant(0));
    }
    session.receive(&presence(2_000), Instant(0));
    assert_eq!(session.take_dropped_presence(), 3);
    assert_eq!(fault(&mut session), None);
}

#[test]
fn messages_that_came_with_hello_wait_for_its_answer() {
    let mut session = session();
    let mut both = hello(&[1]);
    both.extend(open(1));
    session.receive(&both, Instant(0));
    session.receive(&open(2), Instant(0));
    assert!(matches!(session.poll_event(), Some(SessionEvent::Authenticate { .. })));
    assert!(session.poll_event().is_none());
    session.authenticated(Identity { principal: "p".into(), user: None, tenant: "t".into() }, Instant(0));
    let kinds: Vec<bool> =
        std::iter::from_fn(|| session.poll_event()).map(|event| matches!(event, SessionEvent::Open { .. })).collect();
    assert_eq!(kinds, [false, true, true]);
}

#[test]
fn a_push_that_was_lost_is_noticed() {
    let mut session = ready();
    session.receive(&open(1), Instant(0));
    told(&mut session);
    session.receive(&push(1, 1, &["a"]), Instant(0));
    assert_eq!(closed(&told(&mut session)), [(Channel(1), CloseCode::TOO_SLOW)]);
}

/// The documents that were closed, and why. Each is left first.
fn closed(events: &[SessionEvent]) -> Vec<(Channel, CloseCode)> {
    assert!(!events.iter().any(|event| matches!(event, SessionEvent::Fault(_))), "{events:?}");
    let pairs = events.windows(2).filter_map(|pair| match pair {
        [SessionEvent::Leave { channel: left, site: None }, SessionEvent::Reply { channel, message }] => {
            match &**message {
                ServerMessage::Closed(closed) if left == channel => Some((*channel, CloseCode(closed.code))),
                _ => None,
            }
        }
        _ => None,
    });
    pairs.collect()
}

#[test]
fn a_fault_of_one_document_closes_that_document_alone_also_where_all_share_a_stream() {
    let of_kind = |kind, payload: &[u8]| {
        let mut out = Vec::new();
        Frame { channel: Channel(1), kind, payload }.write(&mut out).unwrap();
        out
    };
    let garbage = ClientMessage::Push(Push { seq: 0, tag: None, deltas: vec![7; 50].into() });
    let again = Hello { format: 1, versions: vec![1], features: 0, client: "test".into(), token: None };
    for bad in [
        garbage.to_frame(Channel(1)).unwrap(),
        ClientMessage::Hello(again).to_frame(Channel(1)).unwrap(),
        of_kind(kind::PUSH, &[]),
        of_kind(kind::CHUNK, &[0, 0, 0]),
    ] {
        let mut session = ready();
        for channel in [1, 2] {
            session.receive(&open(channel), Instant(0));
        }
        told(&mut session);
        let both = [bad.clone(), push(2, 0, &["of the other document"])].concat();
        session.receive(&both, Instant(1));
        let events = told(&mut session);
        assert_eq!(closed(&events), [(Channel(1), CloseCode::MALFORMED)], "{bad:?}: {events:?}");
        assert!(matches!(events.last(), Some(SessionEvent::Push { channel: Channel(2), .. })), "{events:?}");
        session.receive(&open(1), Instant(2));
        assert!(matches!(told(&mut session)[..], [SessionEvent::Open { channel: Channel(1), .. }]));
    }
}

fn told(session: &mut Session) -> Vec<SessionEvent> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

#[test]
fn a_fault_on_a_documents_own_stream_closes_that_document_alone() {
    let mut session = ready();
    for channel in [1, 2] {
        session.receive_apart(Channel(channel), &open(channel), Instant(0));
    }
    told(&mut session);
    session.receive_apart(Channel(1), &push(1, 5, &["lost one"]), Instant(1));
    let events = told(&mut session);
    assert!(matches!(events[0], SessionEvent::Leave { channel: Channel(1), site: None }), "{events:?}");
    let SessionEvent::Reply { channel: Channel(1), message } = &events[1] else { panic!("{events:?}") };
    assert!(matches!(&**message, ServerMessage::Closed(closed) if closed.code == CloseCode::TOO_SLOW.0));
    session.receive_apart(Channel(1), &push(1, 0, &["under way"]), Instant(1));
    session.leave(Channel(1));
    session.refuse_document(Channel(1), Fault::new(CloseCode::MALFORMED, "again"));
    assert!(told(&mut session).is_empty(), "what comes after it is passed over");
    session.receive_apart(Channel(2), &push(2, 0, &["goes on"]), Instant(1));
    assert!(matches!(told(&mut session)[..], [SessionEvent::Push { channel: Channel(2), .. }]));
    session.leave(Channel(2));
    assert!(matches!(told(&mut session)[..], [SessionEvent::Leave { channel: Channel(2), site: None }]));
}

#[test]
fn rates_are_the_connections_whatever_stream_exceeds_them() {
    let limits = Limits { ops_per_second: 1, ops_burst: 1, rate_delay_ms_max: 10, ..Limits::default() };
    let mut session = ready_with(limits);
    session.receive_apart(Channel(1), &open(1), Instant(0));
    session.receive_apart(Channel(1), &push(1, 0, &["a", "b", "c"]), Instant(0));
    assert_eq!(fault(&mut session), Some(CloseCode::RATE_LIMITED));
}

#[test]
fn datagrams_carry_presence_of_open_documents_and_nothing_else() {
    let mut session = ready();
    session.receive(&open(1), Instant(0));
    told(&mut session);
    let presence = |channel| {
        let presence = Presence { session: 0, data: Some(vec![1].into()), user: None };
        ClientMessage::Presence(presence).to_frame(Channel(channel)).unwrap()
    };
    session.receive_datagram(&presence(1), Instant(0));
    assert!(matches!(told(&mut session)[..], [SessionEvent::Presence { channel: Channel(1), .. }]));
    let two = [presence(1), presence(1)].concat();
    for bad in [presence(9), push(1, 0, &["x"]), two, vec![], vec![0xff; 30], presence(1)[..3].to_vec()] {
        session.receive_datagram(&bad, Instant(0));
    }
    assert!(told(&mut session).is_empty());
    assert_eq!(session.take_dropped_presence(), 6);
}

#[test]
fn who_asks_for_the_rebase_token_is_heard_and_paced_like_who_pushes() {
    let mut session = ready_with(Limits { frames_per_second: 1, ..Limits::default() });
    session.receive(&open(1), Instant(0));
    assert!(matches!(session.poll_event(), Some(SessionEvent::Open { .. })));
    let ask = ClientMessage::RebaseAsk(RebaseAsk {}).to_frame(Channel(1)).unwrap();
    session.receive(&ask, Instant(0));
    assert!(matches!(session.poll_event(), Some(SessionEvent::RebaseAsk { channel: Channel(1) })));
    assert_eq!(session.read_at(Instant(0)), None, "one is within the burst");
    (0..2_000).for_each(|_| session.receive(&ask, Instant(0)));
    assert_eq!(fault(&mut session), Some(CloseCode::RATE_LIMITED));
    let mut nowhere = ready();
    nowhere.receive(&ClientMessage::RebaseAsk(RebaseAsk {}).to_frame(Channel::CONNECTION).unwrap(), Instant(0));
    assert_eq!(fault(&mut nowhere), Some(CloseCode::MALFORMED));
}
