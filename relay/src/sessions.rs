//! The connections of this process: counted, found for a drain, awaited at the end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::session::outbound::Outbound;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<u64, Arc<Outbound>>,
    by_principal: HashMap<String, u64>,
}

/// A registered connection; dropping it takes it off the list.
#[derive(Debug)]
pub(crate) struct Registered {
    sessions: Arc<Sessions>,
    session: u64,
}

impl Sessions {
    pub(crate) fn register(self: &Arc<Self>, session: u64, outbound: Arc<Outbound>) -> Registered {
        self.lock().open.insert(session, outbound);
        Registered { sessions: Arc::clone(self), session }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().open.len()
    }

    /// Every connection's way out.
    pub(crate) fn all(&self) -> Vec<Arc<Outbound>> {
        self.lock().open.values().cloned().collect()
    }

    /// Counts a connection of a principal; `false` if it has `most` already.
    pub(crate) fn enter(&self, principal: &str, most: u64) -> bool {
        let mut state = self.lock();
        let count = state.by_principal.entry(principal.to_owned()).or_default();
        if *count >= most {
            return false;
        }
        *count += 1;
        true
    }

    /// A counted connection of a principal has ended.
    pub(crate) fn leave(&self, principal: &str) {
        let mut state = self.lock();
        if let Some(count) = state.by_principal.get_mut(principal) {
            *count -= 1;
            if *count == 0 {
                state.by_principal.remove(principal);
            }
        }
    }

    /// Waits until no connection is left.
    pub(crate) async fn none_left(&self) {
        while self.len() > 0 {
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics with this lock held")
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sessions.lock().open.remove(&self.session);
        self.sessions.changed.notify_one();
    }
}
