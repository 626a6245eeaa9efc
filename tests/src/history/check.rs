//! The invariants, looked for in a history.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::event::{Event, Final, History, Level, Place, Ranges};
use super::mark::{Mark, marks};

/// How long a backlog may take to drain once all is whole again, in milliseconds.
const DRAINED_WITHIN_MS: u64 = 60_000;
/// Breaches of one invariant that are told; more say nothing new.
const TOLD_MAX: usize = 8;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Which: `I1` to `I12`.
    pub invariant: &'static str,
    /// By what.
    pub detail: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

/// Everything in the history that should not be.
///
/// | invariant | what is looked at |
/// |---|---|
/// | I1 no loss | marks whose author lives, or that were acked at a level that still promises something, are in every final text |
/// | I2 replay-proof | no mark is in a text twice, none that was erased is in it, none is torn or was never typed |
/// | I3 convergence | equal vectors have equal texts, and all replicas of a document have equal vectors in the end |
/// | I4 no holes | what a client covers lies without a hole in every log |
/// | I5 one chain of epochs | no epoch has two holders, and no observer sees epochs go back |
/// | I9 acks | an ack never goes back, and `replicated` never exceeds `region` |
/// | I10 own text | a client's own marks are always on its screen |
/// | I11 liveness | the run came to rest in time |
/// | I12 snapshot | snapshot, op store and log, each alone, make the clients' text |
#[must_use]
pub fn check(history: &History) -> Vec<Breach> {
    let written = Written::read(history);
    let mut breaches = Vec::new();
    let mut tell = |invariant, details: Vec<String>| {
        breaches.extend(details.into_iter().take(TOLD_MAX).map(|detail| Breach { invariant, detail }));
    };
    tell("I1", lost(history, &written));
    tell("I2", wrong_marks(history, &written));
    tell("I3", apart(history));
    tell("I4", holes(history));
    tell("I5", two_chains(history));
    tell("I9", acks_that_go_back(history));
    tell("I10", off_screen(history));
    tell("I11", restless(history));
    tell("I12", stores_apart(history));
    breaches
}

/// What became of each mark.
#[derive(Default)]
struct Written {
    typed: HashMap<Mark, Fate>,
    dead: BTreeSet<u32>,
}

#[derive(Clone, Copy)]
struct Fate {
    edit: u64,
    erased_by: Option<u64>,
    /// The highest level its typing is known to have reached.
    level: Option<Level>,
    /// The same of its deletion.
    erased_level: Option<Level>,
}

impl Written {
    fn read(history: &History) -> Self {
        let mut written = Written::default();
        let mut acked: HashMap<(u32, Level), u64> = HashMap::new();
        for event in &history.events {
            match event {
                Event::Typed { client, number, edit, .. } => {
                    let fate = Fate { edit: *edit, erased_by: None, level: None, erased_level: None };
                    written.typed.insert(Mark { client: *client, number: *number }, fate);
                }
                Event::Erased { client, number, edit, .. } => {
                    if let Some(fate) = written.typed.get_mut(&Mark { client: *client, number: *number }) {
                        fate.erased_by = Some(*edit);
                    }
                }
                Event::Acked { client, level, through, .. } => {
                    let known = acked.entry((*client, *level)).or_default();
                    *known = (*known).max(*through);
                }
                Event::Died { client, .. } => {
                    written.dead.insert(*client);
                }
                _ => {}
            }
        }
        let reached = |client: u32, edit: u64| {
            [Level::Replicated, Level::Region]
                .into_iter()
                .find(|level| acked.get(&(client, *level)).is_some_and(|through| *through >= edit))
        };
        for (mark, fate) in &mut written.typed {
            fate.level = reached(mark.client, fate.edit);
            fate.erased_level = fate.erased_by.and_then(|edit| reached(mark.client, edit));
        }
        written
    }

    /// Whether what an edit did must have survived.
    fn owed(&self, history: &History, client: u32, level: Option<Level>) -> bool {
        !self.dead.contains(&client)
            || level == Some(Level::Replicated)
            || (level == Some(Level::Region) && !history.region_lost)
    }
}

fn lost(history: &History, written: &Written) -> Vec<String> {
    let mut details = Vec::new();
    for end in &history.finals {
        let there: BTreeSet<Mark> = marks(&end.text).0.into_iter().collect();
        for (mark, fate) in &written.typed {
            let quarantined = history.quarantined.contains(&(mark.client, mark.number));
            if document(history, mark.client) == Some(&end.document)
                && fate.erased_by.is_none()
                && !quarantined
                && written.owed(history, mark.client, fate.level)
                && !there.contains(mark)
            {
                details.push(format!("{mark}, level {:?}, is not in {} of {}", fate.level, place(end), end.document));
            }
        }
    }
    details.sort();
    details
}

fn wrong_marks(history: &History, written: &Written) -> Vec<String> {
    let mut details = Vec::new();
    for end in &history.finals {
        let (found, torn) = marks(&end.text);
        let mut wrong = |what: String| details.push(format!("{what} in {} of {}", place(end), end.document));
        if let Some(torn) = torn {
            wrong(format!("{torn:?} is no whole mark"));
        }
        let mut seen = BTreeSet::new();
        for mark in found {
            let fate = written.typed.get(&mark).filter(|_| document(history, mark.client) == Some(&end.document));
            match fate {
                None => wrong(format!("{mark} was never typed there")),
                Some(fate) if fate.erased_by.is_some() && written.owed(history, mark.client, fate.erased_level) => {
                    wrong(format!("{mark} was erased and stands"));
                }
                Some(_) => {}
            }
            if !seen.insert(mark) {
                wrong(format!("{mark} stands twice"));
            }
        }
    }
    details
}

fn apart(history: &History) -> Vec<String> {
    let mut details = Vec::new();
    for (name, ends) in by_document(history) {
        let mut texts: HashMap<Vec<(&String, &u64)>, &Final> = HashMap::new();
        for end in &ends {
            let Some(vector) = &end.vector else { continue };
            let first = texts.entry(vector.iter().collect()).or_insert(end);
            if first.text != end.text {
                details.push(format!("{name}: equal vectors and other texts in {} and {}", place(first), place(end)));
            }
        }
        let replicas = ends.iter().filter(|end| matches!(end.place, Place::Client { .. } | Place::Relay { .. }));
        let replicas: Vec<&&Final> = replicas.collect();
        for pair in replicas.windows(2) {
            let [one, other] = [pair[0], pair[1]];
            let vectors = one.vector.is_some() && other.vector.is_some() && one.vector != other.vector;
            if vectors || one.text != other.text {
                let what = if vectors { "vectors" } else { "texts" };
                details.push(format!("{name}: other {what} in {} and {} in the end", place(one), place(other)));
            }
        }
    }
    details
}

fn holes(history: &History) -> Vec<String> {
    let mut details = Vec::new();
    for end in history.finals.iter().filter(|end| matches!(end.place, Place::Client { .. })) {
        for log in history.logs.iter().filter(|log| log.document == end.document) {
            for (site, last) in end.vector.iter().flatten() {
                let whole = contiguous(log.counters.get(site));
                if whole < *last {
                    let (place, region) = (place(end), &log.region);
                    details
                        .push(format!("{place} has {site} up to {last}; the log of {region} is whole up to {whole}"));
                }
            }
        }
    }
    details
}

fn two_chains(history: &History) -> Vec<String> {
    let mut details = Vec::new();
    let mut holders: BTreeMap<u64, &String> = BTreeMap::new();
    let mut last: HashMap<&String, u64> = HashMap::new();
    for event in &history.events {
        let Event::Reigns { observer, epoch, holder, .. } = event else { continue };
        let known = holders.entry(*epoch).or_insert(holder);
        if *known != holder {
            details.push(format!("epoch {epoch} is held by {known} and, says {observer}, by {holder}"));
        }
        let before = last.insert(observer, *epoch).unwrap_or(0);
        if *epoch < before {
            details.push(format!("{observer} saw epoch {before}, then {epoch}"));
        }
    }
    details
}

fn acks_that_go_back(history: &History) -> Vec<String> {
    let mut details = Vec::new();
    let mut last: HashMap<(u32, Level), u64> = HashMap::new();
    for event in &history.events {
        let Event::Acked { at, client, level, through } = event else { continue };
        let before = last.insert((*client, *level), *through).unwrap_or(0);
        if *through < before {
            details.push(format!("client {client} at {at} ms: {level:?} went from {before} back to {through}"));
        }
        let of = |level| last.get(&(*client, level)).copied().unwrap_or(0);
        if of(Level::Replicated) > of(Level::Region) {
            details.push(format!("client {client} at {at} ms: replicated beyond region"));
        }
    }
    details
}

fn off_screen(history: &History) -> Vec<String> {
    let mut details = Vec::new();
    let mut own: HashMap<u32, BTreeSet<u64>> = HashMap::new();
    for event in &history.events {
        match event {
            Event::Typed { client, number, .. } => {
                own.entry(*client).or_default().insert(*number);
            }
            Event::Erased { client, number, .. } => {
                own.entry(*client).or_default().remove(number);
            }
            Event::Looked { at, client, own: shown } => {
                let wanted = own.get(client).map(ranges).unwrap_or_default();
                if wanted != *shown {
                    details.push(format!("client {client} at {at} ms: shows {shown:?} of its own marks {wanted:?}"));
                }
            }
            _ => {}
        }
    }
    details
}

fn restless(history: &History) -> Vec<String> {
    let healed = history.events.iter().rev().find_map(|event| match event {
        Event::Healed { at } => Some(*at),
        _ => None,
    });
    let quiet = history.events.iter().rev().find_map(|event| match event {
        Event::Quiet { at } => Some(*at),
        _ => None,
    });
    match (healed, quiet) {
        (_, None) => vec!["it never came to rest".to_owned()],
        (Some(healed), Some(quiet)) if quiet > healed + DRAINED_WITHIN_MS => {
            vec![format!("the backlog took {} ms to drain", quiet - healed)]
        }
        _ => Vec::new(),
    }
}

fn stores_apart(history: &History) -> Vec<String> {
    let mut details = Vec::new();
    for (name, ends) in by_document(history) {
        let Some(replica) = ends.iter().find(|end| matches!(end.place, Place::Client { .. })) else { continue };
        for end in &ends {
            let alone = matches!(end.place, Place::Snapshot { .. } | Place::Ops { .. } | Place::Log { .. });
            if alone && end.text != replica.text {
                details.push(format!("{name}: {} makes another text than {}", place(end), place(replica)));
            }
        }
    }
    details
}

fn by_document(history: &History) -> BTreeMap<&String, Vec<&Final>> {
    let mut documents: BTreeMap<&String, Vec<&Final>> = BTreeMap::new();
    for end in &history.finals {
        documents.entry(&end.document).or_default().push(end);
    }
    documents
}

fn document(history: &History, client: u32) -> Option<&String> {
    history.writers.get(client as usize).map(|writer| &writer.document)
}

/// The last counter before the first hole.
fn contiguous(ranges: Option<&Ranges>) -> u64 {
    let whole = |end: u64, (first, last): &(u64, u64)| if *first <= end + 1 { end.max(*last) } else { end };
    ranges.map_or(0, |ranges| ranges.iter().fold(0, whole))
}

/// Numbers as ranges.
pub(crate) fn ranges(numbers: &BTreeSet<u64>) -> Ranges {
    let mut ranges: Ranges = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    ranges
}

fn place(end: &Final) -> String {
    match &end.place {
        Place::Client { client } => format!("client {client}"),
        Place::Relay { region, relay } => format!("relay {relay} of region {region}"),
        Place::Snapshot { region } => format!("the snapshot of region {region}"),
        Place::Ops { region } => format!("the op store of region {region}"),
        Place::Log { region } => format!("the log of region {region}"),
    }
}
