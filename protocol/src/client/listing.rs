//! The signed list of endpoints as a client holds it: the newest one that was verified.
//!
//! A list comes in, goes to the shell to be verified, and holds if it is newer than what holds. One of an ended epoch is
//! refused, whoever brings it: a region that was replaced cannot call its clients back. What is refused changes nothing, and the
//! connection goes on: lists say where to go next, not whether what comes over a connection is true.

use std::collections::VecDeque;

use super::effect::{Effect, ListFault};
use crate::endpoint::Endpoints;
use crate::signed_list::{EndpointList, ListStamp};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Listing {
    held: Option<Held>,
    /// At the shell.
    verifying: Option<String>,
    /// Came meanwhile. Of several the last: a relay tells only what is newer.
    waiting: Option<String>,
}

#[derive(Debug)]
struct Held {
    stamp: ListStamp,
    signed: String,
}

impl Listing {
    /// The newest list known.
    pub(super) fn held(&self) -> Option<ListStamp> {
        self.held.as_ref().map(|held| held.stamp)
    }

    /// A relay tells a list. The one that holds need not be verified again.
    pub(super) fn told(&mut self, signed: String, effects: &mut VecDeque<Effect>) {
        let is_known = |known: Option<&String>| known == Some(&signed);
        if is_known(self.held.as_ref().map(|held| &held.signed)) || is_known(self.verifying.as_ref()) {
            return;
        }
        if self.verifying.is_some() {
            self.waiting = Some(signed);
        } else {
            self.verify(signed, effects);
        }
    }

    /// An earlier load kept this list, and it was verified again.
    pub(super) fn restore(
        &mut self,
        signed: String,
        list: &[u8],
        endpoints: &mut Endpoints,
        effects: &mut VecDeque<Effect>,
    ) {
        match self.newer(list) {
            Ok(Some(list)) => self.hold(signed, &list, endpoints),
            // This load has heard of a newer one already.
            Ok(None) | Err(ListFault::Older { .. }) => {}
            Err(fault) => effects.push_back(Effect::EndpointsRefused { fault }),
        }
    }

    /// The shell says whether a trusted key signed what it was asked about: these are the bytes of the list.
    pub(super) fn answered(&mut self, list: Option<&[u8]>, endpoints: &mut Endpoints, effects: &mut VecDeque<Effect>) {
        let Some(signed) = self.verifying.take() else { return };
        match list.ok_or(ListFault::Forged).and_then(|list| self.newer(list)) {
            Ok(Some(list)) => {
                self.hold(signed.clone(), &list, endpoints);
                effects.push_back(Effect::KeepEndpoints { signed, stamp: list.stamp() });
            }
            Ok(None) => {}
            Err(fault) => effects.push_back(Effect::EndpointsRefused { fault }),
        }
        if let Some(next) = self.waiting.take() {
            self.told(next, effects);
        }
    }

    fn verify(&mut self, signed: String, effects: &mut VecDeque<Effect>) {
        self.verifying = Some(signed.clone());
        effects.push_back(Effect::VerifyEndpoints { signed });
    }

    /// The list, if it is to hold; `None`: it does already.
    fn newer(&self, list: &[u8]) -> Result<Option<EndpointList>, ListFault> {
        let list = EndpointList::decode(list).map_err(ListFault::Malformed)?;
        match self.held() {
            Some(held) if list.stamp() < held => Err(ListFault::Older { told: list.stamp(), held }),
            Some(held) if list.stamp() == held => Ok(None),
            _ => Ok(Some(list)),
        }
    }

    fn hold(&mut self, signed: String, list: &EndpointList, endpoints: &mut Endpoints) {
        self.held = Some(Held { stamp: list.stamp(), signed });
        endpoints.take(list);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::endpoint::{Endpoint, Transport};

    /// A list, and the text that stands for its signed form: a shell that trusts everything but `forged` reads it back.
    fn list(epoch: u64, issue: u64) -> EndpointList {
        let endpoints = vec![Endpoint::websocket(format!("wss://r{epoch}.{issue}"))];
        EndpointList { format: 1, epoch, issue, home: "a".into(), endpoints }
    }

    #[derive(Default)]
    struct Shell {
        listing: Listing,
        effects: VecDeque<Effect>,
        asked: VecDeque<String>,
        kept: Vec<u64>,
        refused: Vec<ListFault>,
    }

    impl Shell {
        fn endpoints() -> Endpoints {
            Endpoints::new(vec![Endpoint::websocket("wss://service")], vec![Transport::WebSocket]).trust_signed_only()
        }

        fn text(epoch: u64, issue: u64, forged: bool) -> String {
            format!("{epoch} {issue} {forged}")
        }

        fn pump(&mut self) {
            for effect in self.effects.drain(..) {
                match effect {
                    Effect::VerifyEndpoints { signed } => self.asked.push_back(signed),
                    Effect::KeepEndpoints { stamp, .. } => self.kept.push(stamp.epoch),
                    Effect::EndpointsRefused { fault } => self.refused.push(fault),
                    other => panic!("{other:?}"),
                }
            }
            assert!(self.asked.len() <= 1, "one at a time");
        }

        fn answer(&mut self, endpoints: &mut Endpoints) {
            let Some(signed) = self.asked.pop_front() else { return };
            let words: Vec<&str> = signed.split(' ').collect();
            let bytes = list(words[0].parse().unwrap(), words[1].parse().unwrap()).encode();
            let verified = (words[2] == "false").then_some(&bytes[..]);
            self.listing.answered(verified, endpoints, &mut self.effects);
            self.pump();
        }
    }

    proptest! {
        /// Whatever is told, in whatever order, forged or not, and however late the shell answers: what holds is the newest list
        /// that was verified, it never goes back, and only it is gone by.
        #[test]
        fn the_newest_verified_list_holds(
            told in prop::collection::vec((0u64..4, 0u64..3, any::<bool>(), any::<bool>()), 0..40),
        ) {
            let (mut shell, mut endpoints) = (Shell::default(), Shell::endpoints());
            let mut verified = None;
            for (epoch, issue, forged, answered) in told {
                let before = shell.listing.held();
                shell.listing.told(Shell::text(epoch, issue, forged), &mut shell.effects);
                shell.pump();
                while answered && !shell.asked.is_empty() {
                    let asked = shell.asked[0].clone();
                    shell.answer(&mut endpoints);
                    if asked.ends_with("false") {
                        let words: Vec<u64> = asked.split(' ').filter_map(|word| word.parse().ok()).collect();
                        verified = verified.max(Some(ListStamp { epoch: words[0], issue: words[1] }));
                    }
                }
                prop_assert_eq!(shell.listing.held(), verified);
                prop_assert!(shell.listing.held() >= before, "never back");
            }
            let first = endpoints.iter().next().unwrap().name().to_owned();
            let expected = verified.map_or("wss://service".into(), |held| format!("wss://r{}.{}", held.epoch, held.issue));
            prop_assert_eq!(first, expected);
            prop_assert!(shell.kept.is_sorted(), "kept lists follow each other");
        }
    }

    #[test]
    fn an_older_epoch_and_a_forged_list_are_refused_by_name() {
        let (mut shell, mut endpoints) = (Shell::default(), Shell::endpoints());
        for (epoch, forged) in [(3, false), (2, false), (9, true)] {
            shell.listing.told(Shell::text(epoch, 1, forged), &mut shell.effects);
            shell.pump();
            shell.answer(&mut endpoints);
        }
        let stamp = |epoch| ListStamp { epoch, issue: 1 };
        assert_eq!(shell.refused, [ListFault::Older { told: stamp(2), held: stamp(3) }, ListFault::Forged]);
        assert_eq!((shell.listing.held(), shell.kept), (Some(stamp(3)), vec![3]));
    }

    #[test]
    fn what_an_earlier_load_kept_holds_from_the_start_and_fences_older_ones() {
        let (mut shell, mut endpoints) = (Shell::default(), Shell::endpoints());
        let kept = Shell::text(5, 2, false);
        shell.listing.restore(kept.clone(), &list(5, 2).encode(), &mut endpoints, &mut shell.effects);
        assert_eq!(endpoints.iter().next().unwrap().name(), "wss://r5.2");
        shell.listing.told(kept, &mut shell.effects);
        shell.pump();
        assert!(shell.asked.is_empty(), "it is known, and need not be verified again");
        shell.listing.told(Shell::text(4, 9, false), &mut shell.effects);
        shell.pump();
        shell.answer(&mut endpoints);
        assert!(matches!(shell.refused[..], [ListFault::Older { .. }]));
        assert!(shell.kept.is_empty());
    }

    #[test]
    fn a_list_kept_before_does_not_replace_what_this_load_has_heard() {
        let (mut shell, mut endpoints) = (Shell::default(), Shell::endpoints());
        shell.listing.told(Shell::text(6, 1, false), &mut shell.effects);
        shell.pump();
        shell.answer(&mut endpoints);
        shell.listing.restore(Shell::text(5, 1, false), &list(5, 1).encode(), &mut endpoints, &mut shell.effects);
        shell.pump();
        assert_eq!(endpoints.iter().next().unwrap().name(), "wss://r6.1");
        assert!(shell.refused.is_empty(), "which is nothing to worry anybody with");
    }

    #[test]
    fn what_a_trusted_key_signed_and_nobody_can_read_is_refused() {
        let (mut shell, mut endpoints) = (Shell::default(), Shell::endpoints());
        shell.listing.told("x".into(), &mut shell.effects);
        shell.listing.answered(Some(b""), &mut endpoints, &mut shell.effects);
        assert!(matches!(shell.effects.back(), Some(Effect::EndpointsRefused { fault: ListFault::Malformed(_) })));
        assert_eq!(shell.listing.held(), None);
    }
}
