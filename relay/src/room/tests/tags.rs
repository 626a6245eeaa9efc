//! What goes out with a proof, what is given back with one, and what an outage shows.

use super::super::tags::SILENT_MS;
use super::*;

fn tagged(highest: AckLevel) -> Table {
    let keys = TagKeys::parse(&format!("9 {}", "ab".repeat(32))).unwrap();
    Table::with_tags(highest, RoomConfig::default(), Some(Arc::new(keys)))
}

fn given_back(delta: &Delta, tag: [u8; TAG_BYTES]) -> PushedDelta {
    PushedDelta { tag: Some(tag), ..pushed(delta) }
}

#[test]
fn a_silent_log_is_not_waited_for_by_readers_that_keep_the_proof() {
    for tags in [true, false] {
        let mut table = if tags { tagged(AckLevel::Region) } else { Table::new() };
        let deltas = words(SiteId::random(1), &["one ", "two"]);
        table.join(1);
        table.join(2);
        table.hold_appends = true;
        table.push(1, &deltas);
        table.wait(SILENT_MS - 50);
        assert_eq!(table.text(2), "");
        table.wait(100);
        assert_eq!(table.text(2), if tags { "one two" } else { "" });
        assert_eq!(table.readers[&key(2)].tags.len(), if tags { 2 } else { 0 });
        assert_eq!(table.acked(1, deltas[0].site), 0, "nothing is acked that no log holds");
        assert_eq!(table.tentative, if tags { 2 } else { 0 }, "the other relays hear it");
        // The log comes back: nothing is sent twice.
        table.hold_appends = false;
        table.confirm();
        let frames = table.readers[&key(2)].frames;
        table.wait(2_500);
        assert_eq!((table.text(2), table.acked(1, deltas[0].site)), ("one two".to_owned(), deltas[1].last()));
        assert!(!tags || table.readers[&key(2)].frames == frames);
        assert_eq!(table.acked(2, deltas[0].site), if tags { deltas[1].last() } else { 0 }, "readers are told");
    }
}

#[test]
fn somebody_who_joins_in_an_outage_is_shown_what_the_others_are() {
    let mut table = tagged(AckLevel::Region);
    table.join(1);
    table.hold_appends = true;
    table.push(1, &words(SiteId::random(1), &["seen"]));
    table.wait(400);
    table.join(2);
    assert_eq!(table.text(2), "seen");
    table.confirm();
    table.wait(3_000);
    assert_eq!(table.text(2), "seen");
}

#[test]
fn a_session_is_sent_what_itself_lacks_and_not_what_the_room_has_not_seen() {
    for without in [None, Some(Rule::SentByOwnVector)] {
        let mut table = tagged(AckLevel::Region);
        if let Some(rule) = without {
            table.room = Room::new(table.room.setup.clone(), Instant(0)).without(rule);
        }
        table.join(1);
        table.hold_appends = true;
        table.push(1, &words(SiteId::random(1), &["seen"]));
        // Shown to nobody but its author; then a reader comes, and then the log confirms.
        table.wait(400);
        table.join(2);
        table.confirm();
        table.wait(5_000);
        assert_eq!(table.text(2), if without.is_none() { "seen" } else { "" });
    }
}

#[test]
fn a_proven_delta_is_taken_from_anybody_and_a_forged_one_from_nobody() {
    let mut lost = tagged(AckLevel::Replicated);
    let deltas = words(SiteId::random(1), &["kept", " more"]);
    lost.join(1);
    lost.join(2);
    lost.push(1, &deltas);
    let proofs = lost.readers[&key(2)].tags.clone();
    assert_eq!(proofs.len(), 2, "the other region does not have it yet");

    let mut table = tagged(AckLevel::Replicated);
    table.join_as(3, Rights::Read, open());
    table.tell(RoomEvent::Push { key: key(3), deltas: vec![given_back(&deltas[0], proofs[1])] });
    assert_eq!(table.readers[&key(3)].refused, [(deltas[0].site, CloseCode::FORBIDDEN)]);
    table.tell(RoomEvent::Push { key: key(3), deltas: vec![pushed(&deltas[0])] });
    assert_eq!(table.readers[&key(3)].refused.len(), 2, "a reader may write nothing of its own");
    assert!(table.log.is_empty());

    table.tell(RoomEvent::Push { key: key(3), deltas: vec![given_back(&deltas[1], proofs[1])] });
    assert_eq!(table.readers[&key(3)].gaps, [(deltas[0].site, 0)]);
    table.tell(RoomEvent::Push { key: key(3), deltas: vec![given_back(&deltas[0], proofs[0])] });
    table.tell(RoomEvent::Push { key: key(3), deltas: vec![given_back(&deltas[1], proofs[1])] });
    assert_eq!(table.fold().text(), "kept more");
    assert_eq!(table.acked(3, deltas[0].site), deltas[1].last());
    // The site stays its author's.
    table.join(1);
    table.push(1, &deltas);
    assert!(table.readers[&key(1)].refused.is_empty());
    assert_eq!(table.acked(1, deltas[0].site), deltas[1].last());
}

#[test]
fn an_author_whose_binding_fails_is_asked_again_although_others_give_back_what_it_wrote() {
    let mut lost = tagged(AckLevel::Replicated);
    let deltas = words(SiteId::random(1), &["kept"]);
    let site = deltas[0].site;
    lost.join(1);
    lost.join(2);
    lost.push(1, &deltas);
    let proof = lost.readers[&key(2)].tags[0];

    let mut table = tagged(AckLevel::Replicated);
    table.hold_binds = true;
    for session in [1, 2, 3] {
        table.join(session);
    }
    table.push(1, &deltas);
    for session in [2, 3] {
        table.tell(RoomEvent::Push { key: key(session), deltas: vec![given_back(&deltas[0], proof)] });
    }
    table.tell(RoomEvent::Bound { site, outcome: Err(Failure::Retry) });
    table.wait(1_000);
    for session in [1, 2, 3] {
        assert_eq!(table.readers[&key(session)].gaps, [(site, 0)], "session {session} is asked again");
    }
    table.hold_binds = false;
    table.push(1, &deltas);
    assert_eq!(table.acked(1, site), deltas[0].last());
}

#[test]
fn without_keys_no_proof_is_taken() {
    let mut table = Table::new();
    table.join(1);
    let delta = &words(SiteId::random(1), &["x"])[0];
    table.tell(RoomEvent::Push { key: key(1), deltas: vec![given_back(delta, [9; TAG_BYTES])] });
    assert_eq!(table.readers[&key(1)].refused, [(delta.site, CloseCode::FORBIDDEN)]);
}

#[test]
fn what_a_state_brings_beyond_the_highest_level_comes_with_its_proof() {
    let mut table = tagged(AckLevel::Replicated);
    table.join(1);
    let deltas = words(SiteId::random(1), &["both ", "here"]);
    table.push(1, &deltas[..1]);
    table.tell(RoomEvent::Replicated { watermark: at(1) });
    table.push(1, &deltas[1..]);
    table.join(2);
    assert_eq!(table.text(2), "both here");
    let proofs = &table.readers[&key(2)].tags;
    assert_eq!(proofs.len(), 1, "what both regions hold needs none");
    assert_eq!(table.acked(2, deltas[0].site), deltas[1].last());
    table.tell(RoomEvent::Replicated { watermark: at(2) });
    table.wait(1_000);
    assert_eq!(table.readers[&key(2)].replicated.get(&deltas[0].site), Some(&deltas[1].last()));
}

#[test]
fn a_session_that_agreed_to_no_tags_gets_none() {
    let mut table = tagged(AckLevel::Replicated);
    table.join(1);
    let join = Join {
        key: key(2),
        principal: "anon:2".into(),
        user: None,
        rights: Rights::Write,
        open: open(),
        listens: true,
        seeds: false,
        tags: false,
    };
    table.tell(RoomEvent::Join(Box::new(join)));
    table.push(1, &words(SiteId::random(1), &["plain"]));
    assert_eq!(table.text(2), "plain");
    assert!(table.readers[&key(2)].tags.is_empty());
}
