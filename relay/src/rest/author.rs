//! A server-side author: joins the room like everybody, under a site of its own, writes, waits until the log has it, and gives
//! the site back.

use std::sync::Arc;
use std::time::Duration;

use selvedge_engine::{Delta, Document, SiteId};
use selvedge_protocol::message::{Open, OpenOk};
use selvedge_protocol::{Channel, CloseCode, DocumentId, Rights, ServerMessage};
use selvedge_region::DocumentKey;
use selvedge_region::fold::materialise;
use tokio::sync::mpsc;

use super::error::ApiError;
use crate::app::App;
use crate::room::actor::RoomHandle;
use crate::room::{Join, PushedDelta, RoomEvent, SessionKey};

/// How long an author waits for the room or the log.
const PATIENCE: Duration = Duration::from_secs(20);
/// Deltas pushed at once.
const DELTAS_AT_ONCE: usize = 64;

/// An author in a room.
pub(crate) struct Author {
    app: Arc<App>,
    room: RoomHandle,
    key: SessionKey,
    messages: mpsc::Receiver<ServerMessage>,
    document: DocumentId,
    welcome: OpenOk,
}

impl Author {
    /// Joins a document's room.
    ///
    /// # Errors
    /// As the room refuses.
    pub(crate) async fn join(
        app: &Arc<App>,
        document: &DocumentId,
        principal: &str,
        rights: Rights,
        seeds: bool,
    ) -> Result<Self, ApiError> {
        let room = app.registry.room(document);
        let key = SessionKey { session: app.next_session(), channel: Channel(1) };
        let open = Open {
            document: document.to_string(),
            generation: 0,
            position: None,
            vector_hash: 0,
            outbox: Vec::new(),
            outbox_bytes: 0,
            token: None,
            wants_site: !seeds,
        };
        let join =
            Join { key, principal: principal.to_owned(), user: None, rights, open, listens: false, seeds, tags: false };
        let mut messages = room.join_author(join).await;
        let welcome = tokio::time::timeout(PATIENCE, welcome(&mut messages)).await;
        let welcome = match welcome {
            Ok(welcome) => welcome?,
            Err(_) => {
                room.tell(RoomEvent::Leave { key }).await;
                return Err(ApiError::unavailable("The document could not be opened in time."));
            }
        };
        Ok(Author { app: Arc::clone(app), room, key, messages, document: document.clone(), welcome })
    }

    pub(crate) fn generation(&self) -> u64 {
        self.welcome.generation
    }

    /// Lets `work` edit the document as it is now, and waits until the log has what it did. Answers what it answered.
    pub(crate) async fn edit<T: Send + 'static>(
        mut self,
        work: impl FnOnce(&mut Document) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let site = self.welcome.lease.map(|lease| (lease.site, lease.next_counter));
        let (site, next) = site.unwrap_or_else(|| (SiteId::random(rand::random()), 1));
        let region = self.app.registry.ground().region.clone();
        let key = DocumentKey::new(self.document.clone(), self.welcome.generation);
        let runtime = tokio::runtime::Handle::current();
        let edited = tokio::task::spawn_blocking(move || {
            let mut document = runtime.block_on(materialise(&region, &key))?.into_document();
            document.begin_writing(site, next).map_err(|error| ApiError::internal(error.to_string()))?;
            let answer = work(&mut document)?;
            Ok::<_, ApiError>((answer, document.seal()))
        });
        let edited = edited.await.map_err(|_| ApiError::internal("The edit failed.")).and_then(|edited| edited);
        let outcome = match edited {
            Ok((answer, deltas)) => {
                let last = deltas.last().map_or(next - 1, Delta::last);
                self.push(deltas).await.map(|()| (answer, last))
            }
            Err(error) => Err(error),
        };
        if let Ok((_, last)) = &outcome {
            self.room.tell(RoomEvent::Bye { key: self.key, site, counter: *last }).await;
        }
        self.leave().await;
        outcome.map(|(answer, _)| answer)
    }

    /// Writes deltas of one site, made elsewhere.
    pub(crate) async fn write(mut self, deltas: Vec<Delta>) -> Result<(), ApiError> {
        let outcome = self.push(deltas).await;
        self.leave().await;
        outcome
    }

    async fn leave(self) {
        self.room.tell(RoomEvent::Leave { key: self.key }).await;
    }

    /// Pushes until the log has everything.
    async fn push(&mut self, deltas: Vec<Delta>) -> Result<(), ApiError> {
        let (Some(first), Some(last)) = (deltas.first(), deltas.last()) else { return Ok(()) };
        let (site, last) = (first.site, last.last());
        let pushed: Vec<PushedDelta> = deltas
            .into_iter()
            .map(|delta| PushedDelta { bytes: delta.encode(), delta: Arc::new(delta), announced: false, tag: None })
            .collect();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut next = 0;
        let mut acked = 0;
        loop {
            // The next ones go when the log has those before.
            let begin = pushed.get(next).map(|pushed| pushed.delta.first);
            if begin.is_some_and(|begin| begin <= acked + 1 || next == 0) {
                let some = &pushed[next..pushed.len().min(next + DELTAS_AT_ONCE)];
                next += some.len();
                self.room.tell(RoomEvent::Push { key: self.key, deltas: some.to_vec() }).await;
            }
            let message = tokio::time::timeout_at(deadline, self.messages.recv()).await;
            match message {
                Ok(Some(ServerMessage::Ack(ack))) if ack.site == site => {
                    acked = acked.max(ack.region);
                    if acked >= last {
                        return Ok(());
                    }
                }
                Ok(Some(ServerMessage::Gap(gap))) if gap.site == site => {
                    acked = gap.have;
                    next = pushed.iter().position(|pushed| pushed.delta.last() > gap.have).unwrap_or(pushed.len());
                    if next == 0 {
                        continue;
                    }
                }
                Ok(Some(ServerMessage::Refused(refused))) => {
                    return Err(ApiError::from_close(CloseCode(refused.code), &refused.message));
                }
                Ok(Some(ServerMessage::Closed(closed))) => {
                    return Err(ApiError::from_close(CloseCode(closed.code), &closed.reason));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err(ApiError::unavailable("The document was closed.")),
                Err(_) => {
                    return Err(ApiError::unavailable("The log did not confirm in time; the edit may still appear."));
                }
            }
        }
    }
}

async fn welcome(messages: &mut mpsc::Receiver<ServerMessage>) -> Result<OpenOk, ApiError> {
    while let Some(message) = messages.recv().await {
        match message {
            ServerMessage::OpenOk(ok) => return Ok(ok),
            ServerMessage::Closed(closed) => {
                return Err(ApiError::from_close(CloseCode(closed.code), &closed.reason));
            }
            _ => {}
        }
    }
    Err(ApiError::unavailable("The document could not be opened."))
}
