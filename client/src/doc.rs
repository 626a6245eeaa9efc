//! One open document.

use std::sync::Arc;

use selvedge_engine::{Document, TextPatch, VersionVector};
use selvedge_protocol::client::{Error as ClientError, Origin, PresenceChange, SaveState, Status};
use selvedge_protocol::{AckLevel, Channel, DocumentId, Instant, Rights};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::Error;
use crate::core::{Owner, Shared, State};

/// One open document. Positions are in UTF-16 units. Dropping it closes it without waiting; [`Doc::close`] waits.
pub struct Doc {
    owner: Arc<Owner>,
    channel: Channel,
    id: DocumentId,
}

/// Several edits that travel as one.
pub struct Transaction<'a> {
    state: &'a mut State,
    channel: Channel,
    now: Instant,
}

impl Transaction<'_> {
    /// As [`Doc::replace`].
    ///
    /// # Errors
    /// As [`Doc::replace`]; the edits before stay.
    pub fn replace(&mut self, at: usize, delete: usize, insert: &str) -> Result<Vec<TextPatch>, ClientError> {
        self.state.client.edit(self.channel, at, delete, insert, self.now)
    }

    /// The document as the edits so far left it.
    ///
    /// # Errors
    /// `NotOpen`.
    pub fn document(&self) -> Result<&Document, ClientError> {
        self.state.client.replica(self.channel).map(|replica| replica.document()).ok_or(ClientError::NotOpen)
    }
}

impl Doc {
    pub(crate) fn new(owner: Arc<Owner>, channel: Channel, id: DocumentId) -> Self {
        Self { owner, channel, id }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &DocumentId {
        &self.id
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> String {
        self.with_document(Document::text)
    }

    /// Reads the document itself: measures, anchors, meta. What `read` does holds up everything else of the handle.
    pub fn with_document<T: Default>(&self, read: impl FnOnce(&Document) -> T) -> T {
        let of = |state: &State, _| state.client.replica(self.channel).map(|replica| read(replica.document()));
        self.shared().look(of).unwrap_or_default()
    }

    /// Replaces `delete` units at `at` by `insert`. It applies at once, offline too, and is sent by itself. The patches are
    /// the echo: how the text differs from what was asked; normally none.
    ///
    /// # Errors
    /// `Client` when the position is past the end or the document is read-only; nothing was changed.
    pub fn replace(&self, at: usize, delete: usize, insert: &str) -> Result<Vec<TextPatch>, Error> {
        self.transact(|transaction| transaction.replace(at, delete, insert))
    }

    /// Makes several edits that travel together and are seen together.
    ///
    /// # Errors
    /// What `edits` answers; the edits before stay.
    pub fn transact<T>(&self, edits: impl FnOnce(&mut Transaction<'_>) -> Result<T, ClientError>) -> Result<T, Error> {
        let channel = self.channel;
        Ok(self.shared().act(|state, now| edits(&mut Transaction { state, channel, now }))?)
    }

    /// Makes the text `text` by replacing what lies between the common beginning and the common end.
    ///
    /// # Errors
    /// As [`Doc::replace`].
    pub fn set_text(&self, text: &str) -> Result<(), Error> {
        self.transact(|transaction| {
            let before = transaction.document()?.text();
            let patch = difference(&before, text);
            transaction.replace(patch.at, patch.delete, &patch.insert).map(|_| ())
        })
    }

    /// Writes one entry of the `meta` map; `None` removes it.
    ///
    /// # Errors
    /// As [`Doc::replace`].
    pub fn set_meta(&self, key: &str, value: Option<&[u8]>) -> Result<(), Error> {
        Ok(self.shared().act(|state, now| state.client.set_meta(self.channel, key, value, now))?)
    }

    /// Takes this replica's last step back.
    ///
    /// # Errors
    /// As [`Doc::replace`].
    pub fn undo(&self) -> Result<Vec<TextPatch>, Error> {
        Ok(self.shared().act(|state, now| state.client.undo(self.channel, now))?)
    }

    /// Does the last undone step again.
    ///
    /// # Errors
    /// As [`Doc::replace`].
    pub fn redo(&self) -> Result<Vec<TextPatch>, Error> {
        Ok(self.shared().act(|state, now| state.client.redo(self.channel, now))?)
    }

    /// What this replica has: everything it wrote and everything it was sent. Everything written until now goes out as it is:
    /// later edits are deltas of their own.
    #[must_use]
    pub fn vector(&self) -> VersionVector {
        let channel = self.channel;
        self.shared().act(|state, now| {
            state.client.seal(channel, now);
            state.client.replica(channel).map(|replica| replica.document().vector().clone()).unwrap_or_default()
        })
    }

    /// What this session may do; `None` before a server was asked.
    #[must_use]
    pub fn rights(&self) -> Option<Rights> {
        self.shared().look(|state, _| state.client.replica(self.channel)?.rights())
    }

    /// How safe the text is; `None` once it is closed.
    #[must_use]
    pub fn saved(&self) -> Option<SaveState> {
        self.shared().look(|state, now| Some(state.client.replica(self.channel)?.saved(now)))
    }

    /// What the document is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared().look(|state, _| state.client.status(self.channel)).unwrap_or(Status::Closed)
    }

    /// Waits until everything the server had when asked is here.
    ///
    /// # Errors
    /// `Closed`, `Refused` or `NotOpen` when that will not happen. Offline it waits.
    pub async fn when_synced(&self) -> Result<(), Error> {
        self.until(|state, _| state.documents.get(&self.channel).is_some_and(|told| told.synced).then_some(())).await
    }

    /// Waits until everything edited up to now has reached `level`, or the highest level this deployment gives if that is
    /// lower. Offline it waits.
    ///
    /// # Errors
    /// As [`Doc::when_synced`].
    pub async fn when_saved(&self, level: AckLevel) -> Result<(), Error> {
        let mark = self.saved().ok_or(Error::NotOpen)?.edited;
        let saved = |state: &State, now| {
            let saved = state.client.replica(self.channel)?.saved(now);
            saved.is_saved_through(mark, level).then_some(())
        };
        self.until(saved).await
    }

    /// Waits until this replica has everything that `vector` covers.
    ///
    /// # Errors
    /// As [`Doc::when_synced`].
    pub async fn when_covers(&self, vector: &VersionVector) -> Result<(), Error> {
        let covers = |state: &State, _| {
            let replica = state.client.replica(self.channel)?;
            replica.document().vector().dominates(vector).then_some(())
        };
        self.until(covers).await
    }

    /// Waits until the text satisfies `wanted`, and answers it.
    ///
    /// # Errors
    /// As [`Doc::when_synced`].
    pub async fn when_text(&self, wanted: impl Fn(&str) -> bool) -> Result<String, Error> {
        let text = |state: &State, _| {
            let text = state.client.replica(self.channel)?.document().text();
            wanted(&text).then_some(text)
        };
        self.until(text).await
    }

    /// What others change in the text from now on.
    #[must_use]
    pub fn patches(&self) -> Patches {
        self.shared().look(|state, _| Patches(state.documents.get(&self.channel).map(|told| told.patches.subscribe())))
    }

    /// Shows something to the other sessions, such as a name and a caret; at most 1 KiB, coalesced to ten a second.
    ///
    /// # Errors
    /// `Client` when it is too large.
    pub fn set_presence(&self, data: Option<Vec<u8>>) -> Result<(), Error> {
        Ok(self.shared().act(|state, now| state.client.set_presence(self.channel, data, now))?)
    }

    /// What other sessions show now, and what they will.
    #[must_use]
    pub fn presence(&self) -> Presence {
        self.shared().look(|state, _| {
            let told = state.documents.get(&self.channel);
            let mut present: Vec<_> = told.map_or_else(Vec::new, |told| told.present.values().cloned().collect());
            present.sort_by_key(|change| change.session);
            Presence { present, events: PresenceEvents(told.map(|told| told.presence.subscribe())) }
        })
    }

    /// For replays and tests: what others wrote beyond `vector` is kept aside until a later call covers it; `None` lets
    /// everything in.
    pub fn hold_remote(&self, vector: Option<VersionVector>) {
        self.shared().act(|state, now| state.client.hold_remote(self.channel, vector, now));
    }

    /// Sends what was refused again: rights or quotas may have changed.
    pub fn retry_refused(&self) {
        self.shared().act(|state, now| state.client.retry_refused(self.channel, now));
    }

    /// Gives up what was refused and takes the server's copy.
    pub fn discard_refused(&self) {
        self.shared().act(|state, now| state.client.discard_refused(self.channel, now));
    }

    /// Closes the document: what is not yet stored is stored first, and the site is given back where everything is
    /// acknowledged. What was not acknowledged stays in the store; without a store it is lost, so wait for
    /// [`Doc::when_saved`] first.
    ///
    /// # Errors
    /// None yet.
    pub async fn close(self) -> Result<(), Error> {
        let channel = self.channel;
        self.shared().act(|state, now| state.client.close(channel, now));
        let gone = |state: &State, _| state.documents.get(&channel).is_none_or(|told| told.gone).then_some(());
        self.shared().until(gone).await;
        Ok(())
    }

    fn shared(&self) -> &Shared {
        &self.owner.shared
    }

    /// Waits for an answer, or for the document's end.
    async fn until<T>(&self, mut look: impl FnMut(&State, Instant) -> Option<T>) -> Result<T, Error> {
        let answer = |state: &State, now| match look(state, now) {
            Some(answer) => Some(Ok(answer)),
            None => state.ended(self.channel).map(Err),
        };
        self.shared().until(answer).await
    }
}

impl Drop for Doc {
    fn drop(&mut self) {
        let channel = self.channel;
        self.shared().act(|state, now| state.dropped(channel, now));
    }
}

/// What happened to the text from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchEvent {
    /// Changes, to be applied in order.
    Patches {
        /// UTF-16 units.
        patches: Vec<TextPatch>,
        /// Where they came from.
        origin: Origin,
    },
    /// The document was rebuilt under a new generation: read the text anew.
    Reset {
        /// The new generation.
        generation: u64,
        /// Operations that no server had acknowledged, given up with the old copy.
        unsent_ops: u64,
    },
    /// This subscriber was too slow and missed some: read the text anew.
    Lagged,
}

/// A subscription to a document's changes from outside. Bounded: who is too slow is told.
#[derive(Debug)]
pub struct Patches(Option<broadcast::Receiver<PatchEvent>>);

impl Patches {
    /// The next event; `None` once the document is closed. Safe to drop before it answers.
    pub async fn next(&mut self) -> Option<PatchEvent> {
        match self.0.as_mut()?.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(_)) => Some(PatchEvent::Lagged),
            Err(RecvError::Closed) => None,
        }
    }
}

/// What other sessions show.
#[derive(Debug)]
pub struct Presence {
    /// Now, in the order of session numbers.
    pub present: Vec<PresenceChange>,
    /// From now on.
    pub events: PresenceEvents,
}

/// A subscription to presence.
#[derive(Debug)]
pub struct PresenceEvents(Option<broadcast::Receiver<Vec<PresenceChange>>>);

impl PresenceEvents {
    /// The next changes; `None` once the document is closed. What a slow subscriber missed is superseded by the present state.
    pub async fn next(&mut self) -> Option<Vec<PresenceChange>> {
        let receiver = self.0.as_mut()?;
        loop {
            match receiver.recv().await {
                Ok(changed) => return Some(changed),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// The one replacement that makes `before` into `after`, in UTF-16 units; never inside a surrogate pair.
fn difference(before: &str, after: &str) -> TextPatch {
    let same = |(left, right): &(char, char)| left == right;
    let units = |text: &str| text.chars().map(char::len_utf16).sum::<usize>();
    let prefix: usize = before.chars().zip(after.chars()).take_while(same).map(|(c, _)| c.len_utf8()).sum();
    let (old, new) = (&before[prefix..], &after[prefix..]);
    let suffix: usize = old.chars().rev().zip(new.chars().rev()).take_while(same).map(|(c, _)| c.len_utf8()).sum();
    let (old, new) = (&old[..old.len() - suffix], &new[..new.len() - suffix]);
    TextPatch { at: units(&before[..prefix]), delete: units(old), insert: new.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str, at: usize, delete: usize, insert: &str) {
        assert_eq!(
            difference(before, after),
            TextPatch { at, delete, insert: insert.to_owned() },
            "{before} -> {after}"
        );
    }

    #[test]
    fn differences() {
        check("", "", 0, 0, "");
        check("", "a", 0, 0, "a");
        check("abc", "abc", 3, 0, "");
        check("abc", "axc", 1, 1, "x");
        check("aaa", "aa", 2, 1, "");
        check("abab", "ab", 2, 2, "");
        check("\u{1f600}x", "\u{1f601}x", 0, 2, "\u{1f601}");
        check("\u{1f600}x", "\u{1f600}y", 2, 1, "y");
    }
}
