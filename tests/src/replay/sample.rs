//! The project's own recording: two people write a short text together, at once, with slips and second thoughts.
//!
//! It is made by two replicas and a seeded generator, in the public concurrent format, so that a clone has something to
//! replay without fetching anything. The file in `tests/traces/` is exactly what [`sample`] answers.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use selvedge_engine::{Anchor, Bias, Delta, Document, SiteId};
use serde_json::{Value, json};

/// The seed of the file in `tests/traces/`.
pub const SAMPLE_SEED: u64 = 4;

/// What each of the two has in mind.
const SCRIPTS: [&[&str]; 2] = [
    &[
        "On edges\n\n",
        "A cloth frays where it was cut, never where it was woven to an end. ",
        "The weaver turns the weft at the outermost thread and goes back, and that turn, made a thousand times, holds the \
         whole together. ",
        "Nobody admires it. It is folded into a hem, or hidden in a seam. ",
    ],
    &[
        "\nWe write the same way: each at our own edge, on whatever thread is at hand \u{1f9f5}, ",
        "and what we write must not depend on the loom being in the next room. ",
        "When the line to the others is cut, the edge has to hold until it is mended; ",
        "and then the two halves should meet as if nobody had been away. \u{1f469}\u{200d}\u{1f3a8}\n",
    ],
];
/// Chances, in percent, of what a person does next.
const SLIP: u32 = 4;
const SECOND_THOUGHT: u32 = 3;
const LOOK_UP: u32 = 14;

/// One of the two.
struct Person {
    document: Document,
    site: SiteId,
    /// Where they write.
    caret: Option<Anchor>,
    /// Characters they still have in mind.
    script: Vec<char>,
    /// How many of their own deltas, and of the other's they have.
    made: usize,
    seen: usize,
    /// The recording's numbers of their own last transaction, and of the other's last one they have.
    last: [Option<usize>; 2],
    /// Whether something was let in since their own last transaction.
    merged: bool,
}

/// The recording for a seed.
///
/// # Panics
/// Never with a seed that has been tried: the generator only makes edits that fit.
#[must_use]
pub fn sample(seed: u64) -> Value {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut people = [0, 1].map(|index| Person::new(index as u32, SCRIPTS[index]));
    // The deltas of each, with the recording's number of the transaction that made it.
    let mut sent: [Vec<(Delta, usize)>; 2] = [Vec::new(), Vec::new()];
    let mut transactions = Vec::new();
    while people.iter().any(|person| !person.script.is_empty()) {
        let who = random.random_range(0..2);
        let (person, other) = (&mut people[who], 1 - who);
        if random.random_range(0..100) < LOOK_UP {
            let fresh = sent[other].len() - person.seen;
            let count = if fresh == 0 { 0 } else { random.random_range(1..=fresh) };
            person.let_in(&sent[other], count);
        }
        // The second one begins under the other's title.
        if who == 1 && person.made == 0 && person.seen < SCRIPTS[0][0].chars().count() {
            continue;
        }
        for _ in 0..random.random_range(1..8) {
            let Some(patches) = person.act(&mut random) else { break };
            let parents = person.parents();
            let number = transactions.len();
            transactions.push(json!({ "parents": parents, "agent": who, "patches": patches }));
            for delta in person.document.seal() {
                sent[who].push((delta, number));
                person.made += 1;
            }
            person.last[0] = Some(number);
            person.merged = false;
        }
    }
    for who in [0, 1] {
        let rest = sent[1 - who].len() - people[who].seen;
        people[who].let_in(&sent[1 - who], rest);
    }
    let [first, second] = people.map(|person| person.document.text());
    assert_eq!(first, second, "both end with one text");
    json!({ "kind": "concurrent", "endContent": first, "numAgents": 2, "txns": transactions })
}

impl Person {
    fn new(index: u32, script: &[&str]) -> Self {
        let site = SiteId::leased(0, index);
        let mut document = Document::new();
        document.begin_writing(site, 1).expect("a new document takes its first site");
        let mut script: Vec<char> = script.iter().flat_map(|part| part.chars()).collect();
        script.reverse();
        Self { document, site, caret: None, script, made: 0, seen: 0, last: [None, None], merged: false }
    }

    fn let_in(&mut self, sent: &[(Delta, usize)], count: usize) {
        for (delta, number) in &sent[self.seen..self.seen + count] {
            self.document.apply(delta).expect("deltas come in their order");
            self.last[1] = Some(*number);
            self.merged = true;
        }
        self.seen += count;
    }

    /// The newest transactions in this person's past. One of two may lie in the other's past; naming both is harmless.
    fn parents(&self) -> Vec<usize> {
        match (self.last, self.merged) {
            ([Some(own), Some(other)], true) => vec![own.min(other), own.max(other)],
            ([None, Some(other)], _) => vec![other],
            ([own, _], _) => own.into_iter().collect(),
        }
    }

    /// Types the next character, or slips, or takes something back; answers the patches in scalars. `None`: all is said.
    fn act(&mut self, random: &mut impl Rng) -> Option<Value> {
        let next = *self.script.last()?;
        let at = self.caret.as_ref().map_or(self.document.len_utf16(), |caret| self.document.resolve(caret));
        let dice = random.random_range(0..100);
        let before = at.checked_sub(1).filter(|before| self.document.author_at(*before) == Some(self.site));
        let own_ascii = before.filter(|before| self.document.slice_utf16(*before..at).is_ascii());
        let (from, delete, insert) = match own_ascii {
            Some(before) if dice < SECOND_THOUGHT => {
                let taken_back = self.document.slice_utf16(before..at);
                self.script.extend(taken_back.chars());
                (before, 1, String::new())
            }
            Some(_) if dice < SECOND_THOUGHT + SLIP => {
                // The wrong letter, and at once the right one over it: one transaction of two patches.
                let wrong = char::from(b'a' + random.random_range(0..26));
                let scalar = self.document.utf16_to_scalar(at);
                self.replace(at, 0, &wrong.to_string());
                self.replace(at, 1, &next.to_string());
                self.script.pop();
                return Some(json!([[scalar, 0, wrong], [scalar, 1, next]]));
            }
            _ => {
                self.script.pop();
                (at, 0, next.to_string())
            }
        };
        let scalar = self.document.utf16_to_scalar(from);
        self.replace(from, delete, &insert);
        Some(json!([[scalar, delete, insert]]))
    }

    fn replace(&mut self, at: usize, delete: usize, insert: &str) {
        self.document.replace(at, delete, insert).expect("the generator edits inside the text");
        let caret = at + insert.encode_utf16().count();
        self.caret = Some(self.document.anchor_at(caret, Bias::Before));
    }
}
