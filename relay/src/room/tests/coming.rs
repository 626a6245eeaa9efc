//! How sessions come and get what they lack, and when a room lets go.

use super::*;

#[test]
fn who_joins_while_something_is_only_heard_gets_it_all_the_same() {
    let mut table = Table::new();
    table.join(1);
    let site = SiteId::random(1);
    let deltas = words(site, &["a", "b"]);
    table.tell(RoomEvent::Heard { position: at(0), generation: 1, delta: deltas[0].encode() });
    table.join(2);
    table.log.push(LogRecord::new("t/d".parse().unwrap(), 1, "x".into(), deltas[0].encode()));
    table.log.push(LogRecord::new("t/d".parse().unwrap(), 1, "x".into(), deltas[1].encode()));
    table.wait(5_000);
    assert_eq!((table.text(1).as_str(), table.text(2).as_str()), ("ab", "ab"));
}

#[test]
fn a_position_past_the_end_refuses_the_document() {
    let mut table = Table::new();
    table.join(1);
    table.join_as(2, Rights::Write, Open { position: Some(at(7)), vector_hash: 5, ..open() });
    let closed: Vec<CloseCode> = table.closed.iter().map(|(_, code)| *code).collect();
    assert_eq!(closed, [CloseCode::DRAINING, CloseCode::DRAINING]);
    table.join(3);
    assert_eq!(table.closed.len(), 3);
}

#[test]
fn a_position_that_only_this_room_has_not_read_yet_is_fine() {
    let mut table = Table::new();
    table.join(1);
    let deltas = words(SiteId::random(7), &["a"]);
    table.log.push(LogRecord::new("t/d".parse().unwrap(), 1, "x".into(), deltas[0].encode()));
    let mut vector = VersionVector::new();
    vector.advance(SiteId::random(7), 1);
    table.join_as(2, Rights::Write, Open { position: Some(at(1)), vector_hash: vector.hash(), ..open() });
    assert!(table.closed.is_empty());
    assert_eq!(table.readers[&key(2)].synced, 1);
}

#[test]
fn who_was_away_gets_the_tail_from_its_position() {
    for reload in [false, true] {
        let mut table = Table::new();
        table.join(1);
        let site = SiteId::random(1);
        let deltas = words(site, &["a", "b", "c", "d"]);
        table.push(1, &deltas[..2]);
        table.wait(50);
        let mut away = Document::new();
        away.apply(&deltas[0]).unwrap();
        away.apply(&deltas[1]).unwrap();
        let position = Some(at(2));
        table.push(1, &deltas[2..]);
        if reload {
            let log = std::mem::take(&mut table.log);
            table = Table::new();
            table.log = log;
        }
        let asks = Open { position, vector_hash: away.vector().hash(), ..open() };
        let join = Join {
            key: key(2),
            principal: "anon:2".into(),
            user: None,
            rights: Rights::Write,
            open: asks,
            listens: true,
            seeds: false,
            tags: false,
        };
        table.readers.insert(key(2), Reader { document: away, ..Reader::default() });
        table.tell(RoomEvent::Join(Box::new(join)));
        assert_eq!(table.text(2), "abcd", "reload {reload}");
        assert_eq!(table.room.take_counts().transfers, 0);
    }
}

#[test]
fn a_room_without_sessions_asks_to_be_forgotten() {
    let mut table = Table::new();
    table.join(1);
    table.wait(100_000);
    assert_eq!(table.unloads, 0);
    table.tell(RoomEvent::Leave { key: key(1) });
    table.wait(61_000);
    assert_eq!(table.unloads, 1);
}
