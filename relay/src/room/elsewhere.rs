//! Who is at the region's other relays, as the bus tells it: a message may be lost, late or the last of a relay that was killed.
//! So every relay tells again who is here, and who is not told of for three times as long is gone.

use std::collections::BTreeMap;

use selvedge_protocol::Instant;

/// After so many times without a word a session is gone.
const SILENT_TIMES: u64 = 3;
/// Shortest time between two repetitions, in milliseconds: many may come at once.
const REPEAT_MS_MIN: u64 = 1_000;

/// What a message changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A session nobody knew of.
    Newcomer,
    /// It shows something else, or left.
    Other,
    /// All of that was known.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Elsewhere {
    shown: BTreeMap<u64, Shown>,
    /// When the other relays were last told who is here.
    repeated_at: Instant,
    /// Somebody there may not know it.
    soon: bool,
}

#[derive(Debug)]
struct Shown {
    data: Vec<u8>,
    user: Option<String>,
    heard_at: Instant,
}

impl Elsewhere {
    pub(super) fn new(now: Instant) -> Self {
        Elsewhere { shown: BTreeMap::new(), repeated_at: now, soon: false }
    }

    /// A session shows `data`; `None`: it left.
    pub(super) fn heard(&mut self, session: u64, data: Option<Vec<u8>>, user: Option<String>, now: Instant) -> Change {
        let Some(data) = data else {
            return if self.shown.remove(&session).is_some() { Change::Other } else { Change::Nothing };
        };
        match self.shown.insert(session, Shown { data: data.clone(), user: user.clone(), heard_at: now }) {
            None => Change::Newcomer,
            Some(before) if before.data == data && before.user == user => Change::Nothing,
            Some(_) => Change::Other,
        }
    }

    /// Those who are there.
    pub(super) fn sessions(&self) -> impl Iterator<Item = u64> + '_ {
        self.shown.keys().copied()
    }

    /// What a session shows, and whose it is.
    pub(super) fn shown(&self, session: u64) -> Option<(Option<Vec<u8>>, Option<String>)> {
        self.shown.get(&session).map(|shown| (Some(shown.data.clone()), shown.user.clone()))
    }

    /// The others are to be told who is here before it is due.
    pub(super) fn repeat_soon(&mut self) {
        self.soon = true;
    }

    /// When the others are told again.
    pub(super) fn repeat_at(&self, every_ms: u64) -> Instant {
        self.repeated_at.after(if self.soon { REPEAT_MS_MIN.min(every_ms) } else { every_ms })
    }

    /// Whether it is time to tell them; then it counts as done.
    pub(super) fn repeat_due(&mut self, now: Instant, every_ms: u64) -> bool {
        let due = now >= self.repeat_at(every_ms);
        if due {
            (self.repeated_at, self.soon) = (now, false);
        }
        due
    }

    /// When the first of them has been silent for too long.
    pub(super) fn silent_at(&self, every_ms: u64) -> Option<Instant> {
        self.shown.values().map(|shown| shown.heard_at.after(every_ms * SILENT_TIMES)).min()
    }

    /// Forgets those who have been silent for too long, and names them.
    pub(super) fn silent(&mut self, now: Instant, every_ms: u64) -> Vec<u64> {
        let gone = self.shown.extract_if(.., |_, shown| now >= shown.heard_at.after(every_ms * SILENT_TIMES));
        gone.map(|(session, _)| session).collect()
    }
}
