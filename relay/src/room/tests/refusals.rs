//! What is refused, to whom, and what goes on all the same.

use selvedge_engine::{DotRange, Op};

use super::*;

#[test]
fn a_foreign_site_is_refused_and_others_go_on() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    let (mine, theirs) = (SiteId::random(1), SiteId::random(2));
    table.foreign.push(theirs);
    table.push(1, &words(theirs, &["bad"]));
    assert_eq!(table.readers[&key(1)].refused, [(theirs, CloseCode::CONFLICT)]);
    table.push(1, &words(mine, &["good"]));
    table.push(2, &words(mine, &["good", "more"]));
    table.wait(100);
    assert_eq!(table.readers[&key(2)].refused, [(mine, CloseCode::CONFLICT)]);
    assert_eq!(table.text(2), "good");
    assert_eq!(table.log.len(), 1);
}

#[test]
fn the_same_dots_with_another_content_are_refused() {
    let mut table = Table::new();
    table.join(1);
    let site = SiteId::random(1);
    table.push(1, &words(site, &["aa"]));
    table.push(1, &words(site, &["bb"]));
    assert_eq!(table.readers[&key(1)].refused, [(site, CloseCode::CONFLICT)]);
    assert_eq!(table.log.len(), 1);
}

#[test]
fn readers_write_nothing_and_the_system_and_false_seeds_are_refused() {
    let mut table = Table::new();
    table.join_as(1, Rights::Read, open());
    table.join(2);
    table.push(1, &words(SiteId::random(1), &["x"]));
    table.push(2, &words(SiteId::system(3), &["x"]));
    table.push(2, &words(SiteId::seed_of("t/d", 1, "other"), &["x"]));
    assert_eq!(table.readers[&key(1)].refused[0].1, CloseCode::FORBIDDEN);
    assert_eq!(table.readers[&key(2)].refused.len(), 2);
    assert!(table.log.is_empty());
    let seed = selvedge_engine::seed_delta("t/d", 1, "seeded");
    table.push(2, &seed);
    table.join(3);
    table.push(3, &seed);
    table.wait(100);
    assert_eq!((table.text(3).as_str(), table.log.len()), ("seeded", 1));
}

#[test]
fn what_nobody_can_have_written_is_neither_deleted_nor_moved() {
    let mut table = Table::new();
    table.join(1);
    table.join(2);
    let victim = SiteId::leased(1, 7);
    let delete = |site: SiteId, first, last| Delta {
        site,
        first: 1,
        ops: vec![Op::Delete { ranges: vec![DotRange { site: victim, first, last }] }],
    };
    let last = (1 << 53) - 1;
    // A rebase of the random site 2, which moves two characters of the random site 7 from counter 2^40 on.
    let moved = Delta::decode(&[
        17, 130, 128, 128, 128, 128, 128, 128, 128, 128, 1, 1, 1, 5, 0, 19, 1, 1, 1, 0, 1, 135, 128, 128, 128, 128,
        128, 128, 128, 128, 1, 128, 128, 128, 128, 128, 64, 1,
    ])
    .unwrap();
    assert!(moved.named_dots().eq([DotRange { site: SiteId::random(7), first: 1 << 40, last: (1 << 40) + 1 }]));
    let refused = [delete(SiteId::random(1), 1, last), moved, delete(SiteId::random(3), (1 << 32) + 1, (1 << 32) + 1)];
    table.push(1, &refused);
    let codes: Vec<_> = refused.iter().map(|delta| (delta.site, CloseCode::MALFORMED)).collect();
    assert_eq!(table.readers[&key(1)].refused, codes);
    assert!(table.log.is_empty());

    // Of text that has not come a delete waits, and however long it is, its author is left counters.
    table.push(1, &[delete(SiteId::random(4), 1, 1 << 32)]);
    assert_eq!(table.acked(1, SiteId::random(4)), 1);
    table.wait(100);
    let document = &mut table.readers.get_mut(&key(2)).unwrap().document;
    assert_eq!(document.stats().pending_ranges, 1);
    document.begin_writing(victim, 1).unwrap();
    document.replace(0, 0, "not locked out").unwrap();
}

#[test]
fn a_full_document_takes_deletes_only() {
    let config = RoomConfig { document_bytes_max: 10, ..RoomConfig::default() };
    let mut table = Table::with(config);
    table.join(1);
    let site = SiteId::random(1);
    let mut document = Document::new();
    document.begin_writing(site, 1).unwrap();
    document.replace(0, 0, "0123456789").unwrap();
    let first = document.seal();
    document.replace(0, 5, "").unwrap();
    let delete = document.seal();
    document.replace(0, 0, "abcde").unwrap();
    let second = document.seal();
    document.replace(0, 0, "too much").unwrap();
    let third = document.seal();
    table.push(1, &first);
    table.push(1, &delete);
    assert_eq!(table.acked(1, site), 11);
    table.push(1, &second);
    table.wait(500);
    let gap = table.readers[&key(1)].gaps.last().copied();
    assert_eq!(gap, Some((site, 11)), "the text is measured, then the push is asked for again");
    table.push(1, &second);
    assert_eq!(table.acked(1, site), 16);
    table.push(1, &third);
    table.wait(500);
    table.push(1, &third);
    assert_eq!(table.readers[&key(1)].refused, [(site, CloseCode::TOO_LARGE)]);

    // Deletes under another site make room, and what was refused passes as it is.
    document.begin_writing(SiteId::random(2), 1).unwrap();
    document.replace(8, 8, "").unwrap();
    table.push(1, &document.seal());
    assert_eq!(table.acked(1, SiteId::random(2)), 1);
    table.push(1, &third);
    table.wait(500);
    table.push(1, &third);
    assert_eq!(table.acked(1, site), 24);
    assert_eq!(table.readers[&key(1)].refused.len(), 1);
}

#[test]
fn a_document_with_enough_sites_takes_deletes_of_more() {
    let config = RoomConfig { document_sites_max: 1, ..RoomConfig::default() };
    let mut table = Table::with(config);
    table.join(1);
    let mut document = Document::new();
    document.begin_writing(SiteId::random(1), 1).unwrap();
    document.replace(0, 0, "full").unwrap();
    table.push(1, &document.seal());
    let late = words(SiteId::random(2), &["late"]);
    table.push(1, &late);
    assert_eq!(table.readers[&key(1)].refused, [(SiteId::random(2), CloseCode::TOO_LARGE)]);
    document.begin_writing(SiteId::random(3), 1).unwrap();
    document.replace(0, 4, "").unwrap();
    table.push(1, &document.seal());
    assert_eq!(table.acked(1, SiteId::random(3)), 1);
    table.wait(100);
    assert_eq!(table.text(1), "");
}

#[test]
fn a_deleted_document_is_closed_for_everybody() {
    let mut table = Table::new();
    table.join(1);
    table.tell(RoomEvent::Deleted { generation: 1 });
    table.join(2);
    assert_eq!(table.closed, [(key(1), CloseCode::DELETED), (key(2), CloseCode::DELETED)]);
}

#[test]
fn a_document_that_is_deleted_while_it_is_read_is_closed_for_who_waits() {
    let mut table = Table::new();
    table.enter(1, Rights::Write, open());
    // The room has asked for the document, and it was there.
    table.tell(RoomEvent::Deleted { generation: 1 });
    assert_eq!(table.closed, [(key(1), CloseCode::DELETED)]);
}

#[test]
fn an_older_generation_is_a_conflict() {
    let mut table = Table::new();
    table.join_as(1, Rights::Write, Open { generation: 7, ..open() });
    assert_eq!(table.closed, [(key(1), CloseCode::CONFLICT)]);
}
