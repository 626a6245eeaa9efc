//! The initial text of a document, written by whoever opens it first, online or not.
//!
//! It is the seed of the document's first generation: equal texts are the same dots, so that two devices that begin one
//! document offline with one text have it once when they meet. A seed is for a document that has nothing yet: it stays back until
//! the server has said what it has, and is given up where the document began otherwise.

use selvedge_engine::seed_delta;

use super::Context;
use super::rebuild::Rebuild;
use super::replica::Replica;
use crate::level::Instant;

/// A document's first generation.
const FIRST_GENERATION: u64 = 1;

impl Replica {
    /// Begins with this text, if nothing of the document is known here.
    pub(super) fn seed(&mut self, text: &str, now: Instant) {
        if self.generation != 0 || !self.document.vector().is_empty() {
            return;
        }
        for delta in seed_delta(self.id.as_str(), FIRST_GENERATION, text) {
            if self.document.apply(&delta).is_ok() {
                self.generation = FIRST_GENERATION;
                self.queue(delta.header(), &delta.encode(), now, now);
                self.saved_changed = true;
            }
        }
    }

    /// The server has said what it has: a seed goes out if that is nothing, or the seed. Answers false where the document began
    /// otherwise: the seed is given up and the copy fetched anew, with everything else that was written on top of it.
    pub(super) fn settle_seeds(&mut self, server_has_text: bool, cx: &mut Context<'_>) -> bool {
        let held = self.outbox.held_seeds();
        if held.is_empty() {
            return true;
        }
        if server_has_text {
            self.begin_rebuild(Rebuild::discard(held.into_iter().map(|site| (site, 1))));
            self.leave_channel(cx);
            self.open_channel(cx);
            return false;
        }
        for site in held {
            self.outbox.unblock(site, cx.now);
        }
        true
    }
}
