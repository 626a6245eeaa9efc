//! The ack `replicated`: what both regions hold, by pairs and the watermark.

use selvedge_protocol::message::SiteRange;

use super::*;

fn two_regions() -> Table {
    Table::up_to(AckLevel::Replicated, RoomConfig::default())
}

fn told(table: &mut Table, watermark: u64) {
    table.tell(RoomEvent::Replicated { watermark: at(watermark) });
}

#[test]
fn an_ack_follows_the_watermark_and_nothing_else() {
    let mut table = two_regions();
    table.join(1);
    let site = SiteId::random(1);
    let deltas = words(site, &["a", "b", "c"]);
    table.push(1, &deltas);
    assert_eq!((table.acked(1, site), table.replicated(1, site)), (3, 0));
    told(&mut table, 2);
    assert_eq!(table.replicated(1, site), 0, "the three went in together, and the third is not there yet");
    told(&mut table, 3);
    assert_eq!(table.replicated(1, site), 3);
    told(&mut table, 1);
    assert_eq!(table.replicated(1, site), 3, "never back");
}

#[test]
fn an_own_confirmation_pairs_with_its_own_position_although_the_reader_is_not_there_yet() {
    let mut table = two_regions();
    table.join(1);
    // Other documents' and other relays' records came before: this room has not read that far.
    let foreign = words(SiteId::random(8), &["x", "y"]);
    let records =
        foreign.iter().map(|delta| LogRecord::new("t/d".parse().unwrap(), 1, "anon:8".into(), delta.encode()));
    table.log.extend(records);
    let site = SiteId::random(1);
    table.push(1, &words(site, &["a"]));
    assert_eq!(table.room.paired().unwrap().1.offset, 3);
    told(&mut table, 2);
    assert_eq!(table.replicated(1, site), 0, "its record lies at 2, which was not copied");
    told(&mut table, 3);
    assert_eq!(table.replicated(1, site), 1);
}

#[test]
fn what_is_beyond_a_hole_pairs_the_whole_document_with_what_lies_highest() {
    let mut table = two_regions();
    let site = SiteId::random(1);
    let deltas = words(site, &["a", "b"]);
    let records = [&deltas[1], &deltas[0]]
        .map(|delta| LogRecord::new("t/d".parse().unwrap(), 1, "anon:1".into(), delta.encode()));
    let [beyond, filling] = records;
    table.log.push(beyond);
    table.join(1);
    table.log.push(filling);
    table.wait(2_500);
    assert_eq!(table.room.logged().unwrap().get(site), 2);
    let paired = table.room.paired().unwrap().1;
    assert_eq!(paired, at(2));
}

#[test]
fn a_lost_watermark_is_asked_for_while_something_waits_and_not_otherwise() {
    let mut table = two_regions();
    table.join(1);
    table.wait(10_000);
    assert_eq!(table.watermark_reads, 0, "nothing waits");
    let site = SiteId::random(1);
    table.push(1, &words(site, &["a"]));
    table.watermark = Some(1);
    table.wait(2_500);
    assert_eq!(table.replicated(1, site), 1);
    let reads = table.watermark_reads;
    table.wait(10_000);
    assert_eq!(table.watermark_reads, reads);
}

#[test]
fn a_room_that_comes_late_tells_an_outbox_what_both_regions_hold() {
    let mut table = two_regions();
    let site = SiteId::random(1);
    let deltas = words(site, &["a", "b"]);
    for delta in &deltas {
        table.log.push(LogRecord::new("t/d".parse().unwrap(), 1, "anon:1".into(), delta.encode()));
    }
    table.watermark = Some(2);
    let outbox = vec![SiteRange { site, first: 1, last: 2 }];
    table.join_as(1, Rights::Write, Open { outbox: outbox.clone(), ..open() });
    assert_eq!((table.acked(1, site), table.replicated(1, site)), (2, 2));
    table.join_as(2, Rights::Write, Open { outbox, ..open() });
    assert_eq!(table.replicated(2, site), 2, "told at once when it is known");
}

#[test]
fn a_watermark_of_another_log_acks_nothing() {
    let mut table = two_regions();
    table.join(1);
    let site = SiteId::random(1);
    table.push(1, &words(site, &["a"]));
    table.tell(RoomEvent::Replicated { watermark: Position { log: LogId(77), ..at(9) } });
    assert_eq!(table.replicated(1, site), 0);
}

#[test]
fn without_another_region_nothing_is_replicated_and_nobody_asks() {
    let mut table = Table::new();
    table.join(1);
    let site = SiteId::random(1);
    table.push(1, &words(site, &["a"]));
    told(&mut table, 1);
    table.wait(10_000);
    assert_eq!((table.acked(1, site), table.replicated(1, site), table.watermark_reads), (1, 0, 0));
}

#[test]
fn what_was_loaded_while_the_log_was_away_waits_for_the_logs_end() {
    let mut table = two_regions();
    let site = SiteId::random(1);
    for delta in &words(site, &["a", "b"]) {
        table.log.push(LogRecord::new("t/d".parse().unwrap(), 1, "anon:1".into(), delta.encode()));
    }
    table.log_away = true;
    table.watermark = Some(1);
    let outbox = vec![SiteRange { site, first: 1, last: 2 }];
    table.join_as(1, Rights::Write, Open { outbox, ..open() });
    table.wait(100);
    assert_eq!(table.replicated(1, site), 0, "its records lie somewhere below 2");
    told(&mut table, 2);
    assert_eq!(table.replicated(1, site), 2);
}
