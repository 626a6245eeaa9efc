//! The signed list of endpoints as this relay hands it on: read from the control plane, told to every client that can verify it.
//!
//! The relay neither signs nor verifies: clients do. It reads the list only to tell which of two is newer, so that no client is
//! told an older one because this relay looked into an index that was made again.

use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::message::SignedEndpoints;
use selvedge_protocol::{DecodeError, EndpointList, SignedList};
use selvedge_region::Control;
use tokio::sync::watch;

use crate::metrics::Metrics;

/// Between two looks at the control plane: one small row. A list may be so much late at connected clients.
const LOOK: Duration = Duration::from_secs(2);
/// One look may take so long.
const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// A list and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) list: EndpointList,
    pub(crate) signed: String,
}

impl Listed {
    /// The message that tells it.
    pub(crate) fn message(&self) -> SignedEndpoints {
        SignedEndpoints { signed: self.signed.clone() }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Listing {
    newest: watch::Sender<Option<Arc<Listed>>>,
}

impl Listing {
    /// Knows none yet.
    pub(crate) fn new() -> Self {
        Self { newest: watch::channel(None).0 }
    }

    /// The newest list, and every newer one as it comes.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Arc<Listed>>> {
        self.newest.subscribe()
    }

    /// The newest list.
    pub(crate) fn newest(&self) -> Option<Arc<Listed>> {
        self.newest.borrow().clone()
    }

    /// Looks at the control plane until the relay stops. What fails is looked at again: what is known is told meanwhile.
    pub(crate) async fn keep_up(
        self: Arc<Self>,
        control: Arc<dyn Control>,
        metrics: Arc<Metrics>,
        mut stopped: watch::Receiver<bool>,
    ) {
        loop {
            match tokio::time::timeout(LOOK_WITHIN, control.endpoints()).await {
                Ok(Ok(Some(published))) => self.look_at(published.signed, &metrics),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the list of endpoints is looked at again"),
                Err(_) => {
                    tracing::debug!("the list of endpoints is looked at again: the control plane does not answer")
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    }

    fn look_at(&self, signed: String, metrics: &Metrics) {
        if self.newest.borrow().as_ref().is_some_and(|known| known.signed == signed) {
            return;
        }
        match self.take(signed) {
            Ok(true) => {
                let newest = self.newest();
                let epoch = newest.as_ref().map_or(0, |known| known.list.epoch);
                metrics.endpoints_epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
                tracing::info!(epoch, "a newer list of endpoints is told");
            }
            Ok(false) => tracing::debug!("an older list of endpoints is passed over"),
            Err(error) => tracing::warn!(%error, "the list of endpoints that is published cannot be read"),
        }
    }

    /// Takes a list if it is newer than the one that is told; answers whether it is.
    fn take(&self, signed: String) -> Result<bool, DecodeError> {
        let list = EndpointList::decode(&SignedList::parse(&signed)?.list)?;
        Ok(self.newest.send_if_modified(|known| {
            let newer = known.as_ref().is_none_or(|known| known.list.stamp() < list.stamp());
            if newer {
                *known = Some(Arc::new(Listed { list, signed }));
            }
            newer
        }))
    }
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::{ListKey, relays_at};

    use super::*;

    fn signed(epoch: u64, issue: u64) -> String {
        let key = ListKey::from_point(&[[4].as_slice(), &[7; 64]].concat()).unwrap();
        let endpoints = relays_at([("a", "wss://a.example")]);
        let list = EndpointList { format: 1, epoch, issue, home: "a".to_owned(), endpoints };
        SignedList::join(&list.signing_input(&key), &[1; 64]).unwrap()
    }

    #[test]
    fn only_a_newer_list_takes_the_place_of_another() {
        let listing = Listing::new();
        let mut watched = listing.watch();
        assert_eq!(listing.newest(), None);
        for (epoch, issue, taken) in [(2, 5, true), (2, 5, false), (1, 9, false), (2, 6, true), (3, 1, true)] {
            assert_eq!(listing.take(signed(epoch, issue)), Ok(taken), "{epoch} {issue}");
            assert_eq!(watched.has_changed().unwrap(), taken, "clients are told of a newer one, and of nothing else");
            watched.mark_unchanged();
        }
        assert_eq!(listing.newest().unwrap().list.epoch, 3);
        assert_eq!(listing.newest().unwrap().message().signed, signed(3, 1));
    }

    #[test]
    fn what_is_no_list_changes_nothing() {
        let listing = Listing::new();
        listing.take(signed(2, 5)).unwrap();
        for bad in ["", "a.b", "a.b.c.d", "e30.e30.e30"] {
            assert!(listing.take(bad.to_owned()).is_err(), "{bad}");
        }
        assert_eq!(listing.newest().unwrap().list.epoch, 2);
    }
}
