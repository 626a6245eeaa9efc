//! Which rooms there are: found or opened by document, let go when idle, stopped together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use selvedge_protocol::DocumentId;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::actor::{Actor, Ground, Letter, RoomHandle};

/// The rooms of this process.
pub struct Registry {
    ground: Arc<Ground>,
    relay: u64,
    state: Mutex<State>,
    shutdown: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    rooms: HashMap<DocumentId, Open>,
    /// Rooms that have said goodbye and whose tasks may still be ending.
    ending: Vec<JoinHandle<()>>,
    /// Small work that outlives its room: telling the bus, giving sites back.
    errands: JoinSet<()>,
}

struct Open {
    handle: RoomHandle,
    task: JoinHandle<()>,
}

impl Registry {
    pub(crate) fn new(ground: Arc<Ground>, relay: u64) -> Arc<Self> {
        Arc::new(Registry { ground, relay, state: Mutex::default(), shutdown: watch::Sender::new(false) })
    }

    pub(crate) fn ground(&self) -> &Arc<Ground> {
        &self.ground
    }

    pub(crate) fn relay(&self) -> u64 {
        self.relay
    }

    /// The room of a document, opened if need be.
    pub(crate) fn room(self: &Arc<Self>, document: &DocumentId) -> RoomHandle {
        let mut state = self.lock();
        if let Some(open) = state.rooms.get(document)
            && !open.task.is_finished()
        {
            return open.handle.clone();
        }
        let (handle, letters) = RoomHandle::new();
        let actor = Actor::new(
            document.clone(),
            Arc::clone(&self.ground),
            Arc::clone(self),
            &handle,
            letters,
            self.shutdown.subscribe(),
        );
        let task = tokio::spawn(actor.run());
        state.rooms.insert(document.clone(), Open { handle: handle.clone(), task });
        handle
    }

    /// The room of a document, if it is open.
    pub(crate) fn open_room(&self, document: &DocumentId) -> Option<RoomHandle> {
        let state = self.lock();
        state.rooms.get(document).filter(|open| !open.task.is_finished()).map(|open| open.handle.clone())
    }

    /// The documents whose rooms are open.
    pub(crate) fn documents(&self) -> Vec<DocumentId> {
        self.lock().rooms.keys().cloned().collect()
    }

    /// How many rooms are in memory.
    pub fn len(&self) -> usize {
        self.lock().rooms.len()
    }

    /// Whether no room is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tasks of rooms and their errands that have not ended.
    pub fn tasks(&self) -> usize {
        let mut state = self.lock();
        reap(&mut state);
        state.rooms.len() + state.ending.len() + state.errands.len()
    }

    /// Lets a room go if nobody holds a handle and nothing waits for it. Whoever asks for the document next opens it anew.
    pub(crate) fn forget_idle(&self, document: &DocumentId, letters: &mpsc::Receiver<Letter>) -> bool {
        let mut state = self.lock();
        // One sender is the registry's own.
        if letters.sender_strong_count() > 1 || !letters.is_empty() {
            return false;
        }
        retire(&mut state, document);
        true
    }

    pub(crate) fn forget(&self, document: &DocumentId) {
        retire(&mut self.lock(), document);
    }

    /// Does small work that may outlive its room; it is awaited at the end.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.lock();
        reap(&mut state);
        state.errands.spawn(work);
    }

    /// Stops all rooms once nothing is under way in them; what has not stopped after `patience` is aborted. Answers whether all
    /// stopped by themselves.
    pub(crate) async fn stop(&self, patience: Duration) -> bool {
        self.shutdown.send_replace(true);
        let (rooms, ending, mut errands) = {
            let mut state = self.lock();
            let rooms: Vec<JoinHandle<()>> = state.rooms.drain().map(|(_, open)| open.task).collect();
            (rooms, std::mem::take(&mut state.ending), std::mem::take(&mut state.errands))
        };
        let deadline = tokio::time::Instant::now() + patience;
        let mut all = true;
        for mut task in rooms.into_iter().chain(ending) {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                all = false;
            }
        }
        let done = tokio::time::timeout_at(deadline, async { while errands.join_next().await.is_some() {} }).await;
        let mut late = std::mem::take(&mut self.lock().errands);
        let rest = tokio::time::timeout_at(deadline, async { while late.join_next().await.is_some() {} }).await;
        all && done.is_ok() && rest.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics with this lock held")
    }
}

fn retire(state: &mut State, document: &DocumentId) {
    if let Some(open) = state.rooms.remove(document) {
        state.ending.push(open.task);
    }
    reap(state);
}

fn reap(state: &mut State) {
    state.ending.retain(|task| !task.is_finished());
    while state.errands.try_join_next().is_some() {}
}
