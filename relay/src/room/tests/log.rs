//! What enters the log, in which order, and what is told of it.

use super::*;

#[test]
fn nothing_is_acked_or_shown_before_the_log_has_it() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    let site = SiteId::random(1);
    let deltas = words(site, &["ab", "cd"]);
    table.hold_appends = true;
    table.push(1, &deltas[..1]);
    table.push(1, &deltas[1..]);
    assert_eq!((table.acked(1, site), table.text(2).as_str()), (0, ""));
    table.confirm();
    table.wait(100);
    assert_eq!((table.acked(1, site), table.text(2).as_str()), (2, "ab"));
    table.confirm();
    table.wait(100);
    assert_eq!((table.acked(1, site), table.text(2).as_str()), (4, "abcd"));
}

#[test]
fn a_failed_append_is_repeated_before_everything_later_and_doubles_nothing() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    table.hold_appends = true;
    let site = SiteId::random(1);
    let deltas = words(site, &["a", "b", "c"]);
    table.push(1, &deltas[..1]);
    table.push(1, &deltas[1..]);
    table.fail(true);
    assert_eq!(table.acked(1, site), 0);
    table.wait(200);
    table.fail(false);
    table.wait(1_000);
    assert_eq!(table.appends.front().unwrap().1.len(), 3);
    table.confirm();
    table.wait(100);
    assert_eq!((table.acked(1, site), table.text(2).as_str()), (3, "abc"));
    assert_eq!(table.log.len(), 4);
}

#[test]
fn a_gap_is_told_and_a_replay_is_acked_again() {
    let mut table = Table::new();
    table.join(1);
    let site = SiteId::random(1);
    let deltas = words(site, &["a", "b", "c"]);
    table.push(1, &deltas[1..]);
    assert_eq!(table.readers[&key(1)].gaps, [(site, 0)]);
    assert!(table.log.is_empty());
    table.push(1, &deltas);
    table.push(1, &deltas);
    assert_eq!((table.acked(1, site), table.log.len()), (3, 3));
}

#[test]
fn what_was_only_heard_is_appended_again_and_never_acked() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    table.hold_appends = true;
    let site = SiteId::random(1);
    let deltas = words(site, &["a"]);
    table.tell(RoomEvent::Heard { position: at(5), generation: 1, delta: deltas[0].encode() });
    table.wait(50);
    assert_eq!(table.text(2), "a");
    table.push(1, &deltas);
    assert_eq!((table.acked(1, site), table.appends.len()), (0, 1));
    table.confirm();
    assert_eq!(table.acked(1, site), 1);
}

#[test]
fn a_lost_bus_message_heals_by_comparing_with_the_head() {
    let mut table = Table::new();
    table.join(1);
    let deltas = words(SiteId::random(7), &["late"]);
    table.log.push(LogRecord::new("t/d".parse().unwrap(), 1, "x".into(), deltas[0].encode()));
    table.wait(1_000);
    assert_eq!(table.text(1), "");
    table.wait(2_000);
    assert_eq!(table.text(1), "late");
}

#[test]
fn dots_beyond_a_hole_of_the_log_wait_and_then_reach_everybody() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    let deltas = words(SiteId::random(7), &["a", "b", "c"]);
    let record = |delta: &Delta| LogRecord::new("t/d".parse().unwrap(), 1, "x".into(), delta.encode());
    table.log.extend([record(&deltas[2]), record(&deltas[1])]);
    table.wait(3_000);
    assert_eq!(table.text(1), "");
    assert!(table.room.logged().unwrap().is_empty());
    table.log.push(record(&deltas[0]));
    table.wait(3_000);
    assert_eq!((table.text(1).as_str(), table.text(2).as_str()), ("abc", "abc"));
}

#[test]
fn leases_are_given_back_once_the_log_holds_their_last_counter() {
    let mut table = Table::new();
    table.join_as(1, Rights::Write, Open { wants_site: true, ..open() });
    let site = table.readers[&key(1)].lease.unwrap().site;
    table.hold_appends = true;
    table.push(1, &words(site, &["ab"]));
    table.tell(RoomEvent::Bye { key: key(1), site, counter: 2 });
    assert!(table.released.is_empty());
    table.tell(RoomEvent::Leave { key: key(1) });
    table.confirm();
    assert_eq!(table.released, [(site, 2)]);
    table.join_as(2, Rights::Write, Open { wants_site: true, ..open() });
    let unused = table.readers[&key(2)].lease.unwrap().site;
    table.tell(RoomEvent::Bye { key: key(2), site: unused, counter: 5 });
    assert_eq!(table.released.len(), 1, "a site that claims more than the log holds is not given out again");
}
