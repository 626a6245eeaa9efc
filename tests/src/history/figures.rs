//! Figures read off a history: how long clients waited, how long nobody held the control plane.

use super::event::{Event, History, Level};

/// The longest wait of one client in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub client: u32,
    /// From typing a mark until a log was known to hold it.
    pub ms: u64,
}

/// A change of the control plane's holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// The new epoch.
    pub epoch: u64,
    /// From the last wrong done before it until it was first seen to be held.
    pub ms: u64,
}

/// For each client the longest wait, from a keystroke to its ack of level `region`, among marks typed from `from_ms` before
/// to `until_ms` after each wrong. A mark that was never acknowledged has waited until the history's end.
#[must_use]
pub fn gaps(history: &History, from_ms: u64, until_ms: u64) -> Vec<Gap> {
    let wrongs = wrongs(history);
    let near = |at: u64| wrongs.iter().any(|wrong| at + from_ms >= *wrong && at <= wrong + until_ms);
    (0..history.writers.len() as u32)
        .filter_map(|client| {
            let waits = waits(history, client, Level::Region);
            let longest = waits.into_iter().filter(|(typed, _)| near(*typed)).map(|(_, wait)| wait).max();
            longest.map(|ms| Gap { client, ms })
        })
        .collect()
}

/// How long each mark waited for a level, in milliseconds, of all clients.
#[must_use]
pub fn acked_within_ms(history: &History, level: Level) -> Vec<u64> {
    let clients = 0..history.writers.len() as u32;
    clients.flat_map(|client| waits(history, client, level)).map(|(_, wait)| wait).collect()
}

/// The changes of the holder after the first one seen.
#[must_use]
pub fn promotions(history: &History) -> Vec<Promotion> {
    let wrongs = wrongs(history);
    let (mut newest, mut found) = (None, Vec::new());
    for event in &history.events {
        let Event::Reigns { at, epoch, .. } = event else { continue };
        if newest.is_some_and(|newest| *epoch > newest) {
            let since = wrongs.iter().copied().filter(|wrong| wrong <= at).max().unwrap_or(*at);
            found.push(Promotion { epoch: *epoch, ms: at - since });
        }
        newest = newest.max(Some(*epoch));
    }
    found
}

/// The value that a share of the values does not exceed: nearest rank, `share` of 0 to 1; `None` when there is none.
#[must_use]
pub fn percentile(values: &[u64], share: f64) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

fn wrongs(history: &History) -> Vec<u64> {
    let wronged = |event: &Event| if let Event::Wronged { at, .. } = event { Some(*at) } else { None };
    history.events.iter().filter_map(wronged).collect()
}

/// Each of a client's marks: when it was typed, and how long it waited for the level.
fn waits(history: &History, client: u32, level: Level) -> Vec<(u64, u64)> {
    let end = history.events.iter().map(Event::at).max().unwrap_or(0);
    let mut open: Vec<(u64, u64)> = Vec::new();
    let mut closed = Vec::new();
    for event in &history.events {
        match event {
            Event::Typed { at, client: own, edit, .. } if *own == client => open.push((*edit, *at)),
            Event::Acked { at, client: own, level: reached, through } if *own == client && *reached == level => {
                let reached = open.extract_if(.., |(edit, _)| *edit <= *through);
                closed.extend(reached.map(|(_, typed)| (typed, at.saturating_sub(typed))));
            }
            _ => {}
        }
    }
    closed.extend(open.into_iter().map(|(_, typed)| (typed, end.saturating_sub(typed))));
    closed
}

impl Event {
    /// When it happened, in milliseconds since the run began.
    #[must_use]
    pub fn at(&self) -> u64 {
        match self {
            Event::Typed { at, .. }
            | Event::Erased { at, .. }
            | Event::Acked { at, .. }
            | Event::Looked { at, .. }
            | Event::Linked { at, .. }
            | Event::Died { at, .. }
            | Event::Wronged { at, .. }
            | Event::Healed { at }
            | Event::Quiet { at }
            | Event::Reigns { at, .. } => *at,
        }
    }
}
