//! The rebase token: who has it, and when it is free again.

use selvedge_engine::Op;

use super::*;

const FAR: Instant = Instant(u64::MAX);

impl Table {
    /// A session asks; whether it has the token now.
    fn asks(&mut self, session: u64) -> bool {
        let before = self.readers[&key(session)].granted.len();
        self.tell(RoomEvent::RebaseAsk { key: key(session) });
        let granted = &self.readers[&key(session)].granted;
        assert_eq!(granted.len(), before + 1, "each asking is answered once");
        granted[before]
    }
}

/// Deltas of a site of which the last, and no other, moves something.
fn up_to_a_rebase(site: SiteId) -> Vec<Delta> {
    let mut document = Document::new();
    document.begin_writing(site, 1).unwrap();
    document.set_depth_limit(3);
    let mut deltas = Vec::new();
    for caret in 0.. {
        document.replace(caret, 0, "()").unwrap();
        deltas.extend(document.seal());
        if deltas.last().unwrap().ops.iter().any(|op| matches!(op, Op::Rebase(_))) {
            break;
        }
    }
    deltas
}

#[test]
fn the_next_has_it_once_all_were_sent_what_was_moved() {
    let mut table = Table::new();
    (1..=3).for_each(|session| table.join(session));
    assert!(table.asks(1));
    assert!(!table.asks(2));
    let deltas = up_to_a_rebase(SiteId::random(1));
    let (last, before) = deltas.split_last().unwrap();
    table.push(1, before);
    table.wait(50);
    assert!(!table.asks(2), "nothing has been moved yet");
    table.hold_appends = true;
    table.push(1, std::slice::from_ref(last));
    table.wait(50);
    assert!(!table.asks(2), "the log does not have it yet, and nobody was sent it");
    table.confirm();
    table.wait(50);
    assert_eq!(table.readers[&key(2)].document.vector().get(last.site), last.last());
    assert_eq!(table.token, None, "given back to the region");
    assert!(table.asks(2));
    assert!(!table.asks(3));
}

#[test]
fn what_others_move_leaves_it_where_it_is() {
    let mut table = Table::new();
    (1..=3).for_each(|session| table.join(session));
    assert!(table.asks(1));
    table.push(2, &up_to_a_rebase(SiteId::random(2)));
    table.wait(50);
    assert!(!table.asks(3));
    assert!(table.asks(1), "who has it may ask again");
}

#[test]
fn it_ends_by_time_and_with_its_holder() {
    let mut table = Table::new();
    (1..=3).for_each(|session| table.join(session));
    assert!(table.asks(1));
    table.wait(9_990);
    assert!(!table.asks(2));
    table.wait(20);
    assert!(table.asks(2));
    table.tell(RoomEvent::Leave { key: key(1) });
    assert!(!table.asks(3), "who left had it no more");
    table.tell(RoomEvent::Leave { key: key(2) });
    assert_eq!(table.token, None);
    assert!(table.asks(3));
}

#[test]
fn one_relay_has_it_for_the_region() {
    let mut table = Table::new();
    table.join(1);
    table.token = Some((77, FAR));
    assert!(!table.asks(1), "a session at another relay has it");
    table.token = None;
    assert!(table.asks(1));
}

#[test]
fn the_region_is_asked_one_question_at_a_time() {
    let mut table = Table::new();
    (1..=2).for_each(|session| table.join(session));
    table.hold_tokens = true;
    table.tell(RoomEvent::RebaseAsk { key: key(1) });
    for _ in 0..100 {
        assert!(!table.asks(2));
    }
    assert_eq!(table.token_asked, [key(1)]);
    table.tell(RoomEvent::Leave { key: key(1) });
    table.answer_token(key(1), 10_000);
    table.settle();
    assert_eq!(table.token, None, "who asked is gone, and it goes back");
    table.hold_tokens = false;
    assert!(table.asks(2));
}

#[test]
fn who_may_not_write_does_not_get_it() {
    let mut table = Table::new();
    table.join_as(1, Rights::Read, open());
    assert!(!table.asks(1));
    assert!(table.token_asked.is_empty());
    table.tell(RoomEvent::RebaseAsk { key: key(9) });
    assert!(!table.readers.contains_key(&key(9)), "who is not here is told nothing");
}
