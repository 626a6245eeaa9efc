//! The identity a load writes as, and the counters it uses up.

use super::Document;
use crate::error::EditError;
use crate::id::{COUNTER_END, DotRange, SiteId};

/// The identity of this load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer {
    pub(super) site: SiteId,
    pub(super) next: u64,
}

impl Document {
    /// The site it writes as, if [`begin_writing`](Self::begin_writing) was called.
    pub fn site(&self) -> Option<SiteId> {
        self.writer.map(|writer| writer.site)
    }

    /// Gives this load the identity it writes as. A new site begins at counter 1; one that is leased again goes on
    /// behind the last counter it was given back with, once the document has come to that counter.
    ///
    /// # Errors
    /// [`EditError::WrongCounter`] if `next_counter` does not follow what the document covers of the site;
    /// [`EditError::Unsealed`] while edits of another site are not sealed.
    pub fn begin_writing(&mut self, site: SiteId, next_counter: u64) -> Result<(), EditError> {
        if !self.unsealed.is_empty() {
            return Err(EditError::Unsealed);
        }
        let have = self.vector.get(site);
        if next_counter != have + 1 || !site.is_valid() {
            return Err(EditError::WrongCounter { site, have, next: next_counter });
        }
        self.writer = Some(Writer { site, next: next_counter });
        Ok(())
    }

    /// The writer, with `counters` counters free of pending deletes ahead.
    pub(super) fn ready_writer(&mut self, counters: u64) -> Result<Writer, EditError> {
        let writer = self.writer.ok_or(EditError::NoSite)?;
        if writer.next + counters >= COUNTER_END {
            return Err(EditError::CountersExhausted);
        }
        if self.awaits_dots() { self.skip_pending(writer, counters) } else { Ok(writer) }
    }

    /// Whether something is known of dots that have not come.
    pub(super) fn awaits_dots(&self) -> bool {
        !self.pending.is_empty() || !self.rebases.pending.is_empty()
    }

    /// Somebody deleted or moved dots this site has not written: only a hostile or broken replica does. They are covered
    /// unused, so that every replica agrees.
    #[cold]
    #[inline(never)]
    fn skip_pending(&mut self, writer: Writer, counters: u64) -> Result<Writer, EditError> {
        let mut next = writer.next;
        loop {
            let ahead = DotRange { site: writer.site, first: next, last: next + counters - 1 };
            let deleted = self
                .pending
                .first_within(ahead)
                .and_then(|taken| self.pending.first_within(DotRange { last: COUNTER_END - 1, ..taken }));
            let moved = self.rebases.pending.first_within(ahead).map(|(_, whole, _)| whole);
            let Some(end) = deleted.into_iter().chain(moved).map(|taken| taken.last).max() else {
                break;
            };
            next = end + 1;
            if next + counters >= COUNTER_END {
                return Err(EditError::CountersExhausted);
            }
        }
        if next > writer.next {
            self.advance_writer(next - 1);
        }
        Ok(Writer { next, ..writer })
    }

    /// Counters up to `last` are used.
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(super) fn advance_writer(&mut self, last: u64) {
        let writer = self.writer.as_mut().expect("only a writer's counters are used");
        self.unsealed.open(writer.next);
        writer.next = last + 1;
        let site = writer.site;
        self.vector.advance(site, last);
        self.settle_pending(site);
    }
}
