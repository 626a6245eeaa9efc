//! The notebook of a run: one clock, one list.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::history::Event;

/// Takes events from everybody; clones write into the same list. Bounded by the length of a run: some ten events a second
/// and client.
#[derive(Debug, Clone)]
pub struct Recorder {
    began: Instant,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { began: Instant::now(), events: Arc::default() }
    }
}

impl Recorder {
    /// Milliseconds since the run began.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes an event that happens now.
    pub fn note(&self, event: impl FnOnce(u64) -> Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that the list is in the order of its instants.
        let at = self.now();
        events.push(event(at));
    }

    /// Notes that something is done to the system.
    pub fn wrong(&self, what: impl Into<String>) {
        let what = what.into();
        tracing::info!(what, "wronged");
        self.note(|at| Event::Wronged { at, what });
    }

    /// Everything noted so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
