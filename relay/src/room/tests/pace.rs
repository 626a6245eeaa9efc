//! Bounds: slow readers, full queues, announced outboxes, crowds.

use super::*;

#[test]
fn a_slow_reader_is_resynced_and_closed_only_if_it_never_catches_up() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    let deltas = words(SiteId::random(1), &["a", "b", "c"]);
    table.push(1, &deltas[..1]);
    table.wait(50);
    table.tell(RoomEvent::Congested { key: key(2) });
    table.push(1, &deltas[1..]);
    table.wait(50);
    assert_eq!((table.text(2).as_str(), table.watched.len()), ("a", 1));
    table.tell(RoomEvent::Drained { key: key(2) });
    assert_eq!(table.text(2), "abc");
    table.tell(RoomEvent::Congested { key: key(2) });
    table.wait(29_000);
    assert!(table.closed.is_empty());
    table.wait(2_000);
    assert_eq!(table.closed, [(key(2), CloseCode::TOO_SLOW)]);
}

#[test]
fn what_does_not_fit_is_dropped_and_asked_for_again() {
    let config = RoomConfig { unconfirmed_bytes_max: 200, ..RoomConfig::default() };
    let mut table = Table::with(config);
    table.join(1);
    table.hold_appends = true;
    let site = SiteId::random(1);
    let deltas = words(site, &["0123456789"; 20]);
    table.push(1, &deltas);
    assert!(table.room.unconfirmed_bytes() <= 200);
    let mut next = 0;
    for _ in 0..1_000 {
        while !table.appends.is_empty() {
            table.confirm();
        }
        table.wait(250);
        let gaps = std::mem::take(&mut table.readers.get_mut(&key(1)).unwrap().gaps);
        if let Some(&(_, have)) = gaps.last() {
            next = deltas.iter().position(|delta| delta.last() > have).unwrap();
            table.push(1, &deltas[next..]);
        }
    }
    assert!(next > 0);
    assert_eq!((table.acked(1, site), table.log.len()), (200, 20));
}

#[test]
fn announced_outboxes_are_paced_by_credit() {
    let config = RoomConfig { outbox_credit_bytes: 400, ..RoomConfig::default() };
    let mut table = Table::with(config);
    table.join(1);
    let site = SiteId::random(1);
    let mut sent = 0;
    for delta in words(site, &["0123456789"; 50]) {
        let announced = PushedDelta { announced: true, ..pushed(&delta) };
        sent += announced.bytes.len() as u64;
        table.tell(RoomEvent::Push { key: key(1), deltas: vec![announced] });
        assert!(table.readers[&key(1)].credit >= sent, "no credit came");
    }
    assert_eq!(table.acked(1, site), 500);
    assert_eq!(table.readers[&key(1)].credit, sent + 400);
}

#[test]
fn announced_outboxes_wait_while_persist_is_far_behind() {
    let config = RoomConfig { outbox_credit_bytes: 400, persist_lag_records_max: 10, ..RoomConfig::default() };
    let mut table = Table::with(config);
    table.join(1);
    table.join(2);
    table.persist_lag = Some(11);
    let deltas = words(SiteId::random(1), &["0123456789"; 12]);
    let (early, late) = deltas.split_at(2);
    let announce = |table: &mut Table, deltas: &[Delta]| {
        let deltas = deltas.iter().map(|delta| PushedDelta { announced: true, ..pushed(delta) }).collect();
        table.tell(RoomEvent::Push { key: key(1), deltas });
    };
    table.hold_appends = true;
    announce(&mut table, early);
    table.wait(2_000);
    while !table.appends.is_empty() {
        table.confirm();
    }
    assert_eq!(table.readers[&key(1)].credit, 400, "what is confirmed is given back when persist is near again");
    table.hold_appends = false;
    announce(&mut table, &late[..2]);
    table.push(2, &words(SiteId::random(2), &["typed"]));
    assert_eq!(table.acked(2, SiteId::random(2)), 5, "who types does not wait");
    table.wait(10_000);
    assert_eq!(table.readers[&key(1)].credit, 400);
    table.persist_lag = Some(10);
    table.wait(2_000);
    let credit = table.readers[&key(1)].credit;
    let sent: u64 = deltas[..4].iter().map(|delta| delta.encode().len() as u64).sum();
    assert_eq!(credit, 400 + sent);
    assert_eq!(table.acked(1, SiteId::random(1)), 40);
}

#[test]
fn presence_is_told_and_removed_and_never_logged() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    table.tell(RoomEvent::Presence { key: key(1), data: Some(b"here".to_vec()) });
    table.wait(200);
    assert_eq!(table.readers[&key(2)].presence.get(&1), Some(&Some(b"here".to_vec())));
    assert!(table.readers[&key(1)].presence.is_empty());
    table.join(3);
    assert_eq!(table.readers[&key(3)].presence.get(&1), Some(&Some(b"here".to_vec())));
    table.tell(RoomEvent::Leave { key: key(1) });
    table.wait(200);
    assert_eq!(table.readers[&key(2)].presence.get(&1), Some(&None));
    assert!(table.log.is_empty());
}

/// A relay of the region says what a session there shows.
fn elsewhere(session: u64, data: Option<&[u8]>) -> RoomEvent {
    RoomEvent::HeardPresence { session, data: data.map(Into::into), user: None }
}

#[test]
fn the_other_relays_are_told_once_that_somebody_left_even_where_one_hears_oneself() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    table.tell(RoomEvent::Presence { key: key(1), data: Some(b"here".to_vec()) });
    table.tell(RoomEvent::Leave { key: key(1) });
    assert_eq!(table.presence_told, [(1, Some(b"here".to_vec())), (1, None)]);
    // The bus brings it back to where it came from.
    table.tell(elsewhere(1, None));
    table.wait(1_000);
    assert_eq!(table.presence_told.len(), 2);
    assert_eq!(table.readers[&key(2)].presence.get(&1), Some(&None));
}

#[test]
fn who_comes_elsewhere_learns_soon_who_is_here_without_anybody_moving() {
    let mut table = Table::new();
    table.join(1);
    table.tell(RoomEvent::Presence { key: key(1), data: Some(b"here".to_vec()) });
    table.wait(500);
    table.presence_told.clear();
    table.tell(elsewhere(9, Some(b"new")));
    table.wait(1_000);
    assert_eq!(table.presence_told, [(1, Some(b"here".to_vec()))]);
    assert_eq!(table.readers[&key(1)].presence.get(&9), Some(&Some(b"new".to_vec())));
    table.tell(elsewhere(9, Some(b"new")));
    table.wait(5_000);
    assert_eq!(table.presence_told.len(), 1, "nobody new came");
}

#[test]
fn who_is_elsewhere_stays_while_its_relay_says_so_and_goes_with_it() {
    let mut table = Table::new();
    table.join(1);
    table.tell(elsewhere(9, Some(b"there")));
    for _ in 0..10 {
        table.wait(10_000);
        table.tell(elsewhere(9, Some(b"there")));
    }
    assert_eq!(table.readers[&key(1)].presence.get(&9), Some(&Some(b"there".to_vec())));
    // Its relay is killed, and says nothing any more.
    table.wait(29_000);
    assert_eq!(table.readers[&key(1)].presence.get(&9), Some(&Some(b"there".to_vec())));
    table.wait(1_200);
    assert_eq!(table.readers[&key(1)].presence.get(&9), Some(&None));
    assert!(table.presence_told.is_empty(), "a session of another relay is that relay's to tell of");
}

/// Deltas of 15 kB.
fn long(site: SiteId, count: usize) -> Vec<Delta> {
    let text = "x".repeat(15_000);
    words(site, &vec![text.as_str(); count])
}

#[test]
fn much_of_the_recent_past_goes_piece_by_piece() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    let deltas = long(SiteId::random(1), 30);
    table.push(1, &deltas[..1]);
    table.wait(100);
    table.tell(RoomEvent::Congested { key: key(2) });
    table.push(1, &deltas[1..]);
    table.wait(1_000);
    let mut pieces = 0;
    while let Some(watched) = table.watched.pop() {
        let before = table.readers[&watched].bytes;
        table.tell(RoomEvent::Drained { key: watched });
        assert!(table.readers[&watched].bytes - before <= 200_000, "a queue of 256 KiB holds it");
        pieces += 1;
    }
    assert!(pieces > 1, "all of it went at once");
    assert_eq!((table.text(2).len(), table.readers[&key(2)].synced), (30 * 15_000, 2));
}

#[test]
fn between_two_pieces_of_a_flush_a_full_queue_is_heard_of() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    table.join(3);
    table.hold_appends = true;
    table.push(1, &long(SiteId::random(1), 30));
    table.confirm();
    let sent = table.readers[&key(2)].bytes;
    assert!(sent <= 64 * 1024, "{sent} bytes at once");
    table.tell(RoomEvent::Congested { key: key(2) });
    table.wait(100);
    assert_eq!(table.readers[&key(2)].bytes, sent, "nothing more until it has drained");
    assert_eq!(table.text(3).len(), 30 * 15_000, "the others do not wait");
}

#[test]
fn presence_of_a_crowd_is_told_in_turns() {
    let mut table = Table::new();
    for session in 1..=200 {
        table.join(session);
    }
    for session in 1..=200 {
        table.tell(RoomEvent::Presence { key: key(session), data: Some(vec![7; 1_000]) });
    }
    let before = table.readers[&key(1)].bytes;
    table.wait(100);
    assert!(table.readers[&key(1)].bytes - before <= 70_000);
    table.wait(1_000);
    assert_eq!(table.readers[&key(1)].presence.len(), 199);
}
