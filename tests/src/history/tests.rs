//! A sound history has no breach; each kind of broken one has exactly its own.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const DOCUMENT: &str = "default/one";

fn vector(last: u64) -> Option<BTreeMap<String, u64>> {
    Some(BTreeMap::from([("s".to_owned(), last)]))
}

fn end(place: Place, text: &str) -> Final {
    Final { place, document: DOCUMENT.to_owned(), text: text.to_owned(), vector: vector(15) }
}

/// Two clients; one types three marks and erases the second, all is acked, a relay dies and comes back.
fn sound() -> History {
    let writer = |region: &str| Writer { document: DOCUMENT.to_owned(), region: region.to_owned() };
    let text = "<0.0><1.0><0.2>";
    let region = || "a".to_owned();
    History {
        writers: vec![writer("a"), writer("b")],
        events: vec![
            Event::Reigns { at: 0, observer: "b".into(), epoch: 1, holder: "a".into() },
            Event::Typed { at: 10, client: 0, number: 0, edit: 1 },
            Event::Acked { at: 15, client: 0, level: Level::Region, through: 1 },
            Event::Typed { at: 20, client: 1, number: 0, edit: 1 },
            Event::Typed { at: 25, client: 0, number: 1, edit: 2 },
            Event::Wronged { at: 30, what: "relay killed".into() },
            Event::Erased { at: 40, client: 0, number: 1, edit: 3 },
            Event::Typed { at: 50, client: 0, number: 2, edit: 4 },
            Event::Looked { at: 60, client: 0, own: vec![(0, 0), (2, 2)] },
            Event::Healed { at: 70 },
            Event::Acked { at: 1_080, client: 0, level: Level::Region, through: 4 },
            Event::Acked { at: 1_090, client: 0, level: Level::Replicated, through: 4 },
            Event::Acked { at: 1_090, client: 1, level: Level::Region, through: 1 },
            Event::Acked { at: 1_095, client: 1, level: Level::Replicated, through: 1 },
            Event::Reigns { at: 2_000, observer: "b".into(), epoch: 2, holder: "b".into() },
            Event::Quiet { at: 2_100 },
        ],
        finals: vec![
            end(Place::Client { client: 0 }, text),
            end(Place::Client { client: 1 }, text),
            end(Place::Relay { region: region(), relay: "r1".into() }, text),
            end(Place::Snapshot { region: region() }, text),
            end(Place::Ops { region: region() }, text),
            end(Place::Log { region: region() }, text),
        ],
        logs: vec![Logged {
            region: region(),
            document: DOCUMENT.to_owned(),
            counters: BTreeMap::from([("s".to_owned(), vec![(1, 9), (10, 15)])]),
        }],
        quarantined: Vec::new(),
        region_lost: false,
    }
}

#[track_caller]
fn check_broken(breakage: impl FnOnce(&mut History), invariants: &[&str]) {
    let mut history = sound();
    breakage(&mut history);
    let mut found: Vec<&str> = check(&history).iter().map(|breach| breach.invariant).collect();
    found.dedup();
    assert_eq!(found, invariants, "{:#?}", check(&history));
}

fn all_texts(history: &mut History, text: &str) {
    history.finals.iter_mut().for_each(|end| end.text = text.to_owned());
}

#[test]
fn a_sound_history_has_no_breach() {
    check_broken(|_| (), &[]);
}

#[test]
fn lost_marks_are_found() {
    check_broken(|history| all_texts(history, "<0.0><0.2>"), &["I1"]);
    // Its author is gone, but the other region was known to have it.
    let died = |history: &mut History| history.events.push(Event::Died { at: 2_200, client: 1 });
    check_broken(
        |history| {
            died(history);
            history.region_lost = true;
            all_texts(history, "<0.0><0.2>");
        },
        &["I1"],
    );
    // Only the lost region had it, and its author: nothing was promised.
    let unreplicated = |event: &Event| !matches!(event, Event::Acked { client: 1, level: Level::Replicated, .. });
    check_broken(
        |history| {
            died(history);
            history.region_lost = true;
            history.events.retain(unreplicated);
            all_texts(history, "<0.0><0.2>");
        },
        &[],
    );
    // No region was lost, so its ack of the region counts.
    check_broken(
        |history| {
            died(history);
            history.events.retain(unreplicated);
            all_texts(history, "<0.0><0.2>");
        },
        &["I1"],
    );
    check_broken(
        |history| {
            history.quarantined.push((1, 0));
            all_texts(history, "<0.0><0.2>");
        },
        &[],
    );
}

#[test]
fn doubled_returned_torn_and_foreign_marks_are_found() {
    check_broken(|history| all_texts(history, "<0.0><1.0><1.0><0.2>"), &["I2"]);
    check_broken(|history| all_texts(history, "<0.0><0.1><1.0><0.2>"), &["I2"]);
    check_broken(|history| all_texts(history, "<0.0><1.0><0.2>x"), &["I2"]);
    check_broken(|history| all_texts(history, "<0.0><1.0><7.7><0.2>"), &["I2"]);
    check_broken(|history| all_texts(history, "<0.0><1<0.2>.0>"), &["I1", "I2"]);
}

#[test]
fn replicas_that_differ_are_found() {
    check_broken(|history| history.finals[1].text = "<1.0><0.0><0.2>".to_owned(), &["I3"]);
    check_broken(|history| history.finals[1].vector = vector(14), &["I3"]);
    check_broken(|history| history.finals[2].vector = None, &[]);
}

#[test]
fn holes_in_a_log_are_found() {
    let counters = |history: &mut History, ranges: Ranges| {
        history.logs[0].counters = BTreeMap::from([("s".to_owned(), ranges)]);
    };
    check_broken(|history| counters(history, vec![(1, 8), (10, 15)]), &["I4"]);
    check_broken(|history| counters(history, vec![(2, 15)]), &["I4"]);
    check_broken(|history| history.logs[0].counters.clear(), &["I4"]);
    check_broken(|history| counters(history, vec![(1, 99)]), &[]);
}

#[test]
fn two_holders_and_epochs_that_go_back_are_found() {
    let reigns = |at, observer: &str, epoch, holder: &str| Event::Reigns {
        at,
        observer: observer.to_owned(),
        epoch,
        holder: holder.to_owned(),
    };
    check_broken(|history| history.events.push(reigns(2_200, "a", 2, "a")), &["I5"]);
    check_broken(|history| history.events.push(reigns(2_200, "b", 1, "a")), &["I5"]);
    check_broken(|history| history.events.push(reigns(2_200, "a", 2, "b")), &[]);
}

#[test]
fn acks_that_go_back_are_found() {
    let acked = |level, through| Event::Acked { at: 2_200, client: 0, level, through };
    check_broken(|history| history.events.push(acked(Level::Region, 3)), &["I9"]);
    check_broken(|history| history.events.push(acked(Level::Replicated, 9)), &["I9"]);
}

#[test]
fn own_text_that_is_not_shown_is_found() {
    let looked = |own: Ranges| Event::Looked { at: 2_200, client: 0, own };
    check_broken(|history| history.events.push(looked(vec![(0, 0)])), &["I10"]);
    check_broken(|history| history.events.push(looked(vec![(0, 2)])), &["I10"]);
}

#[test]
fn a_run_without_rest_is_found() {
    check_broken(|history| history.events.retain(|event| !matches!(event, Event::Quiet { .. })), &["I11"]);
    check_broken(|history| history.events.push(Event::Quiet { at: 500_000 }), &["I11"]);
}

#[test]
fn stores_that_make_another_text_are_found() {
    for place in 3..6 {
        check_broken(
            |history| {
                history.finals[place].text = "<1.0><0.0><0.2>".to_owned();
                history.finals[place].vector = None;
            },
            &["I12"],
        );
    }
}

#[test]
fn gaps_and_promotions_are_measured() {
    let history = sound();
    assert_eq!(gaps(&history, 10, 1_000), [Gap { client: 0, ms: 1_055 }, Gap { client: 1, ms: 1_070 }]);
    assert_eq!(gaps(&history, 0, 10), [], "nothing was typed right after");
    assert_eq!(promotions(&history), [Promotion { epoch: 2, ms: 1_970 }]);
    let mut waits = acked_within_ms(&history, Level::Region);
    waits.sort_unstable();
    assert_eq!(waits, [5, 1_030, 1_055, 1_070]);
}

#[test]
fn percentiles_are_by_nearest_rank() {
    let values: Vec<u64> = (1..=200).rev().collect();
    assert_eq!(percentile(&values, 0.99), Some(198));
    assert_eq!(percentile(&values, 0.5), Some(100));
    assert_eq!(percentile(&[7], 0.99), Some(7));
    assert_eq!(percentile(&[], 0.5), None);
}

#[test]
fn histories_are_kept_and_read_back() {
    let text = serde_json::to_string(&sound()).unwrap();
    assert_eq!(serde_json::from_str::<History>(&text).unwrap(), sound());
}

proptest! {
    #[test]
    fn marks_are_read_back(numbers in proptest::collection::vec((any::<u32>(), any::<u64>()), 0..40)) {
        let written: Vec<Mark> = numbers.into_iter().map(|(client, number)| Mark { client, number }).collect();
        let text: String = written.iter().map(ToString::to_string).collect();
        prop_assert_eq!(marks(&text), (written, None));
    }

    #[test]
    fn any_text_is_read(text in ".{0,200}") {
        let (found, torn) = marks(&text);
        let whole: String = found.iter().map(ToString::to_string).collect();
        prop_assert_eq!(torn.is_none(), whole == text);
    }
}
