//! The task that carries out what the machine asks for: connections, messages, store transactions, deadlines.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::client::{Effect, StoreError};
use selvedge_protocol::{Address, CloseCode};
use tokio::task::JoinSet;

use crate::core::Shared;
use crate::socket::Socket;

/// How long an ending driver lets stores and sockets finish.
const FINISH: Duration = Duration::from_secs(2);

/// Runs until nobody holds the handle or a document any more.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut driver = Driver { shared: Arc::clone(&shared), sockets: HashMap::new(), pending: JoinSet::new() };
    let mut stopped = shared.stopped.subscribe();
    loop {
        driver.work();
        if *stopped.borrow_and_update() {
            break;
        }
        let deadline = shared.look(|state, _| state.client.deadline()).map(|deadline| shared.at(deadline));
        let due = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.wake.notified() => {}
            () = due => shared.act(|state, now| state.client.tick(now)),
            Some(_) = driver.pending.join_next() => {}
            // The sender lives in `shared`.
            _ = stopped.changed() => {}
        }
    }
    // What is not finished by then is in the store, or was never promised.
    let _ = tokio::time::timeout(FINISH, driver.finish()).await;
}

struct Driver {
    shared: Arc<Shared>,
    /// By attempt.
    sockets: HashMap<u64, Socket>,
    /// Store transactions, at most one a document, and sockets that are closing.
    pending: JoinSet<()>,
}

impl Driver {
    /// Carries out everything that is queued; never waits.
    fn work(&mut self) {
        while let Some(effect) = self.shared.take_work() {
            match effect {
                Effect::Connect { attempt, url, transport, certificates } => {
                    self.sockets.retain(|_, socket| !socket.is_finished());
                    let address = Address { transport, url, certificates };
                    self.sockets.insert(attempt, Socket::open(Arc::clone(&self.shared), attempt, address));
                }
                Effect::Send { attempt, bytes } => {
                    if let Some(socket) = self.sockets.get(&attempt) {
                        socket.send(bytes);
                    }
                }
                Effect::Disconnect { attempt, code } => {
                    if let Some(socket) = self.sockets.remove(&attempt) {
                        self.pending.spawn(socket.close(code));
                    }
                }
                Effect::Store { channel, ticket, transaction } => {
                    let shared = Arc::clone(&self.shared);
                    let place = shared.look(|state, _| {
                        let id = state.client.replica(channel)?.id().clone();
                        Some((state.documents.get(&channel)?.store.clone()?, id))
                    });
                    self.pending.spawn(async move {
                        let applied = match place {
                            None => Err(StoreError::Failed("the document has no store".to_owned())),
                            Some((store, id)) => {
                                let applied = tokio::task::spawn_blocking(move || store.apply(&id, &transaction)).await;
                                applied.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string())))
                            }
                        };
                        shared.act(|state, now| match applied {
                            Ok(()) => state.client.stored(channel, ticket, now),
                            Err(error) => state.client.store_failed(channel, ticket, error, now),
                        });
                    });
                }
                Effect::KeepEndpoints { signed, stamp } => {
                    let epoch = stamp.epoch;
                    let Some(trust) = self.shared.look(|state, _| state.trust.clone()) else { continue };
                    self.pending.spawn(async move {
                        let kept = tokio::task::spawn_blocking(move || trust.keep(&signed)).await;
                        match kept.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
                            Ok(()) => tracing::info!(epoch, "a newer list of endpoints holds"),
                            Err(error) => {
                                tracing::warn!(epoch, %error, "a list of endpoints holds until this process ends")
                            }
                        }
                    });
                }
                other => debug_assert!(false, "{other:?} is not the driver's"),
            }
        }
    }

    /// Lets stores and what they lead to finish, then closes the sockets.
    async fn finish(&mut self) {
        loop {
            self.work();
            if self.pending.join_next().await.is_none() {
                break;
            }
        }
        for (_, socket) in self.sockets.drain() {
            self.pending.spawn(socket.close(CloseCode::NORMAL));
        }
        while self.pending.join_next().await.is_some() {}
    }
}
