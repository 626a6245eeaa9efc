//! Who was away: through any number of compactions, and back in time.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod checked;
mod model;

use std::collections::BTreeSet;

use checked::Checked;
use model::Dice;
use selvedge_engine::{ApplyError, Delta, Document, SiteId, VersionVector};

const COMPACTIONS: u32 = 1_000;

fn load(document: &Document, index: u32) -> Checked {
    let mut loaded = Checked::of(Document::load(&document.snapshot()).unwrap());
    loaded.begin_writing(SiteId::leased(0, index), 1).unwrap();
    loaded
}

/// Marks are characters of which each is written once.
struct Marks {
    next: u32,
}

impl Marks {
    fn next(&mut self) -> char {
        self.next += 1;
        char::from_u32(self.next).unwrap()
    }
}

/// Writes a few marks and deletes some that stand there; what was deleted.
fn edit(document: &mut Checked, dice: &mut Dice, marks: &mut Marks) -> Vec<char> {
    let at = dice.below(document.len_utf16() + 1);
    let text: String = (0..1 + dice.below(3)).map(|_| marks.next()).collect();
    document.replace(at, 0, &text).unwrap();
    let length = document.len_utf16();
    let at = dice.below(length);
    let count = (1 + dice.below(3)).min(length - at);
    let gone = document.slice_utf16(at..at + count).chars().collect();
    document.replace(at, count, "").unwrap();
    gone
}

#[test]
fn nobody_is_stranded_by_a_thousand_compactions() {
    let mut dice = Dice(11);
    let (mut marks, mut others) = (Marks { next: 0x4e00 }, Marks { next: 0xe000 });
    let mut home = Checked::of(Document::new());
    home.begin_writing(SiteId::leased(0, 1), 1).unwrap();
    let start: String = (0..500).map(|_| marks.next()).collect();
    home.replace(0, 0, &start).unwrap();
    home.seal();

    let mut away = load(&home, 2);
    let mut gone = BTreeSet::new();
    let mut written: BTreeSet<char> = start.chars().collect();
    for _ in 0..300 {
        let before = others.next;
        gone.extend(edit(&mut away, &mut dice, &mut others));
        written.extend((before + 1..=others.next).map(|mark| char::from_u32(mark).unwrap()));
    }
    let outbox = away.seal();

    // Every time only the snapshot stays: no delta, no log.
    for round in 0..COMPACTIONS {
        home = load(&home, 3 + round);
        let before = marks.next;
        gone.extend(edit(&mut home, &mut dice, &mut marks));
        written.extend((before + 1..=marks.next).map(|mark| char::from_u32(mark).unwrap()));
        home.seal();
    }

    for delta in &outbox {
        home.apply(delta).unwrap();
    }
    let diff = home.state_diff(away.vector());
    away.apply_state(&diff).unwrap();
    for document in [&home, &away] {
        let text: Vec<char> = document.text().chars().collect();
        let living: BTreeSet<char> = text.iter().copied().collect();
        assert_eq!(living.len(), text.len(), "nothing stands twice");
        assert!(living.is_disjoint(&gone), "nothing deleted came back");
        assert!(written.difference(&gone).all(|mark| living.contains(mark)), "nothing written away or at home is lost");
        assert!(living.iter().any(|mark| *mark >= '\u{e000}') && living.iter().any(|mark| *mark < '\u{e000}'));
    }
    assert_eq!(home.snapshot(), away.snapshot());
}

#[test]
fn a_lost_outbox_is_recovered_from_the_state_it_left() {
    let mut dice = Dice(12);
    let mut marks = Marks { next: 0x4e00 };
    let mut home = Checked::of(Document::new());
    home.begin_writing(SiteId::leased(0, 1), 1).unwrap();
    home.replace(0, 0, "home").unwrap();
    home.seal();
    let mut away = load(&home, 2);
    let mut gone = BTreeSet::new();
    (0..50).for_each(|_| gone.extend(edit(&mut away, &mut dice, &mut marks)));
    // The deltas are lost; the device's state is not.
    away.seal();
    (0..50).for_each(|_| gone.extend(edit(&mut home, &mut dice, &mut marks)));
    home.seal();
    let since: VersionVector = home.vector().iter().filter(|&(site, n)| away.vector().get(site) >= n).collect();
    home.apply_state(&away.state_diff(&since)).unwrap();
    let diff = home.state_diff(away.vector());
    away.apply_state(&diff).unwrap();
    assert_eq!(home.snapshot(), away.snapshot());
    let mut text: Vec<char> = home.text().chars().collect();
    text.sort_unstable();
    let written: BTreeSet<char> = "home".chars().chain((0x4e01..=marks.next).filter_map(char::from_u32)).collect();
    let expected: Vec<char> = written.difference(&gone).copied().collect();
    assert_eq!(text, expected, "all that was written and not deleted is there once");
}

#[test]
fn a_version_is_made_again_of_durable_deltas() {
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let mut marks = Marks { next: 0x4e00 };
        let mut people = [1, 2].map(|index| load(&Document::new(), index));
        let mut written: Vec<Delta> = Vec::new();
        let mut versions = Vec::new();
        for _ in 0..60 {
            let (author, other) = if dice.chance(50) { (0, 1) } else { (1, 0) };
            edit(&mut people[author], &mut dice, &mut marks);
            if dice.chance(60) {
                let sealed = people[author].seal();
                versions.push((people[author].vector().clone(), people[author].snapshot()));
                if dice.chance(50) {
                    let known = written.iter().chain(&sealed);
                    known.for_each(|delta| drop(people[other].apply(delta)));
                }
                written.extend(sealed);
            }
        }
        people.iter_mut().for_each(|person| written.extend(person.seal()));
        for (version, snapshot) in &versions {
            let document = Document::at_version(&written, version).unwrap();
            document.assert_invariants();
            assert_eq!(document.snapshot(), *snapshot, "seed {seed}");
        }
        let mut beyond = versions[0].0.clone();
        beyond.advance(SiteId::leased(0, 9), 4);
        let asked = Document::at_version(&written, &beyond);
        assert_eq!(asked.unwrap_err(), ApplyError::Gap { site: SiteId::leased(0, 9), have: 0 });
    }
}
