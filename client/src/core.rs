//! What handle, documents and driver share: the machine under a lock, and what it told.
//!
//! Every call locks, lets the machine act, and takes its effects at once: what concerns a document is told to its
//! subscribers, what needs sockets or stores is queued for the driver. The lock is never held while anything waits.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_protocol::client::{Client, ClientConfig, Effect, Error as ClientError, LinkInfo, PresenceChange, Status};
use selvedge_protocol::{Channel, CloseCode, Instant};
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinHandle;

use crate::doc::PatchEvent;
use crate::store::Store;
use crate::trust::Trust;

/// Events a slow subscriber may be behind before it is told that it missed some.
const EVENTS_MAX: usize = 1024;

/// Shared by everything of one handle.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// For connections to `wss` addresses.
    pub(crate) tls: Arc<rustls::ClientConfig>,
    began: tokio::time::Instant,
    /// Work for the driver.
    pub(crate) wake: Notify,
    /// Counts what happened; who waits for something looks again when it moves.
    moved: watch::Sender<u64>,
    /// Whether the driver is to end; see [`Owner`].
    pub(crate) stopped: watch::Sender<bool>,
}

/// The machine and what it told.
pub(crate) struct State {
    pub(crate) client: Client,
    pub(crate) documents: BTreeMap<Channel, Told>,
    /// For the driver, in order. Bounded by the machine: it sends at most its push window beyond what is acknowledged.
    pub(crate) work: VecDeque<Effect>,
    pub(crate) link: Option<LinkInfo>,
    /// Who is believed where relays are.
    pub(crate) trust: Option<Arc<Trust>>,
}

/// What a document's effects told.
pub(crate) struct Told {
    pub(crate) patches: broadcast::Sender<PatchEvent>,
    pub(crate) presence: broadcast::Sender<Vec<PresenceChange>>,
    pub(crate) present: HashMap<u64, PresenceChange>,
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) synced: bool,
    pub(crate) status: Option<Status>,
    /// Closed by the server for good.
    pub(crate) closed: Option<(CloseCode, String)>,
    /// Closed here, and everything is in the store.
    pub(crate) gone: bool,
    /// Nobody holds the document any more: forgotten once it is gone.
    pub(crate) dropped: bool,
}

impl Told {
    pub(crate) fn new(store: Option<Arc<dyn Store>>) -> Self {
        Self {
            patches: broadcast::channel(EVENTS_MAX).0,
            presence: broadcast::channel(EVENTS_MAX).0,
            present: HashMap::new(),
            store,
            synced: false,
            status: None,
            closed: None,
            gone: false,
            dropped: false,
        }
    }
}

impl Shared {
    pub(crate) fn new(config: ClientConfig, tls: Arc<rustls::ClientConfig>, trust: Option<Arc<Trust>>) -> Self {
        let client = Client::new(config, Instant(0));
        let state = State { client, documents: BTreeMap::new(), work: VecDeque::new(), link: None, trust };
        Self {
            state: Mutex::new(state),
            tls,
            began: tokio::time::Instant::now(),
            wake: Notify::new(),
            moved: watch::channel(0).0,
            stopped: watch::channel(false).0,
        }
    }

    /// Lets the machine act, then takes and tells its effects.
    pub(crate) fn act<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let result = {
            let mut state = self.lock();
            let now = self.now();
            let result = act(&mut state, now);
            state.take_effects(now);
            result
        };
        self.moved.send_modify(|count| *count = count.wrapping_add(1));
        self.wake.notify_one();
        result
    }

    /// The next thing for the driver to do.
    pub(crate) fn take_work(&self) -> Option<Effect> {
        self.lock().work.pop_front()
    }

    /// Looks at the state without changing it.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State, Instant) -> T) -> T {
        look(&self.lock(), self.now())
    }

    /// Waits until `look` has an answer, looking again whenever something happened.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut(&State, Instant) -> Option<T>) -> T {
        let mut moved = self.moved.subscribe();
        loop {
            moved.mark_unchanged();
            if let Some(answer) = self.look(&mut look) {
                return answer;
            }
            // The sender lives in `self`, so there is always a next time.
            let _ = moved.changed().await;
        }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The instant on this process's clock.
    pub(crate) fn at(&self, instant: Instant) -> tokio::time::Instant {
        self.began + std::time::Duration::from_millis(instant.0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a fault of the machine; others may still read what it holds.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the machine's effects until it has none: this also seals and sends what was edited.
    fn take_effects(&mut self, now: Instant) {
        while let Some(effect) = self.client.poll_effect() {
            match effect {
                Effect::Connect { .. }
                | Effect::Send { .. }
                | Effect::Disconnect { .. }
                | Effect::Store { .. }
                | Effect::KeepEndpoints { .. } => {
                    self.work.push_back(effect);
                }
                Effect::Link { link } => self.link = link,
                // A signature takes a tenth of a millisecond to verify: nothing to wait for.
                Effect::VerifyEndpoints { signed } => {
                    match self.trust.as_ref().and_then(|trust| trust.verify(&signed)) {
                        Some(list) => self.client.endpoints_verified(&list, now),
                        None => self.client.endpoints_forged(now),
                    }
                }
                Effect::EndpointsRefused { fault } => tracing::warn!(error = %fault, "what was known before holds"),
                // There is one token, and it was refused: the machine closes what needs another.
                Effect::TokenNeeded { channel } => self.client.provide_token(channel, None, now),
                told => self.tell(told),
            }
        }
    }

    /// Notes what an effect says of a document, and tells its subscribers; nobody listening is fine.
    fn tell(&mut self, effect: Effect) {
        match effect {
            Effect::Patch { channel, patches, origin } => self.of(channel, |told| {
                let _ = told.patches.send(PatchEvent::Patches { patches, origin });
            }),
            Effect::Status { channel, status } => self.of(channel, |told| told.status = Some(status)),
            Effect::Synced { channel } => self.of(channel, |told| told.synced = true),
            Effect::Presence { channel, changed } => self.of(channel, |told| told.note_presence(changed)),
            Effect::Closed { channel, code: CloseCode::NORMAL, .. } => {
                self.of(channel, |told| told.gone = true);
                self.forget_if_gone(channel);
            }
            Effect::Closed { channel, code, reason } => self.of(channel, |told| told.closed = Some((code, reason))),
            Effect::Reset { channel, generation, unsent_ops, .. } => {
                tracing::warn!(channel = channel.0, generation, unsent_ops, "the document was rebuilt");
                self.of(channel, |told| {
                    let _ = told.patches.send(PatchEvent::Reset { generation, unsent_ops });
                });
            }
            Effect::StoreFailed { channel, error } => tracing::warn!(channel = channel.0, %error, "the store failed"),
            // Read from the replica by whoever waits.
            _ => {}
        }
    }

    /// Closes a document that nobody holds any more.
    pub(crate) fn dropped(&mut self, channel: Channel, now: Instant) {
        self.of(channel, |told| told.dropped = true);
        if self.client.replica(channel).is_some() {
            self.client.close(channel, now);
        }
        self.forget_if_gone(channel);
    }

    fn forget_if_gone(&mut self, channel: Channel) {
        if self.documents.get(&channel).is_some_and(|told| told.gone && told.dropped) {
            self.documents.remove(&channel);
        }
    }

    fn of(&mut self, channel: Channel, note: impl FnOnce(&mut Told)) {
        if let Some(told) = self.documents.get_mut(&channel) {
            note(told);
        }
    }

    /// Why a document takes no more edits or never will be synced, if so.
    pub(crate) fn ended(&self, channel: Channel) -> Option<crate::Error> {
        let Some(told) = self.documents.get(&channel).filter(|told| !told.gone) else {
            return Some(crate::Error::NotOpen);
        };
        if let Some((code, reason)) = &told.closed {
            return Some(crate::Error::Closed { code: *code, reason: reason.clone() });
        }
        let replica = self.client.replica(channel).ok_or(ClientError::NotOpen);
        match replica {
            Err(_) => Some(crate::Error::NotOpen),
            Ok(replica) => replica
                .refused()
                .map(|refusal| crate::Error::Refused { code: refusal.code, message: refusal.message.clone() }),
        }
    }
}

impl Told {
    fn note_presence(&mut self, changed: Vec<PresenceChange>) {
        for change in &changed {
            if change.data.is_some() {
                self.present.insert(change.session, change.clone());
            } else {
                self.present.remove(&change.session);
            }
        }
        let _ = self.presence.send(changed);
    }
}

/// Held by handle and documents: when the last one goes, the driver ends.
pub(crate) struct Owner {
    pub(crate) shared: Arc<Shared>,
    /// Taken by whoever waits for its end.
    pub(crate) driver: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.stopped.send_replace(true);
    }
}
