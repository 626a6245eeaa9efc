//! A quota refused growth: what was refused stays in the outbox, deletes go on, and it is tried again when there may be room.
//!
//! Counters of a site enter the log in order, so nothing behind a refused insert can pass under its site. Deletes therefore
//! go on under another site, and those that lie behind the insert already are said again there: a character once deleted never
//! returns, so that two deletes of it are as good as one. Nothing of the old site is changed; it goes out as it is when
//! there is room, and dots of it that were deleted meanwhile do not appear then.

use selvedge_engine::{Delta, DotRange, Op, SiteId};

use super::Context;
use super::replica::Replica;
use super::sync::Phase;
use crate::level::Instant;

/// First wait before growth is tried again; it doubles with every time it was in vain.
const RETRY_MS_MIN: u64 = 5_000;
/// Longest wait.
const RETRY_MS_MAX: u64 = 300_000;

/// When refused growth is tried again.
#[derive(Debug, Default)]
pub(super) struct Quota {
    retry_at: Option<Instant>,
    tries: u32,
}

impl Replica {
    /// The relay takes nothing of `site` from `from` on, because it grows the document.
    pub(super) fn refuse_growth(&mut self, site: SiteId, from: u64, cx: &mut Context<'_>) {
        self.seal(cx.now);
        let held_back = self.outbox.refuse_growth(site, from);
        let deltas = held_back.iter().filter_map(|bytes| Delta::decode(bytes).ok());
        let (ranges, written) = what_passes(deltas, DotRange { site, first: from, last: u64::MAX });
        if ranges.is_empty() && written.is_empty() || self.ensure_site().is_err() {
            return;
        }
        // A replica that cannot write any more says it with its next load.
        let _ = self.document.repeat_delete(&ranges);
        for (key, value) in written {
            if self.document.meta_value(&key) == value.as_deref() {
                let _ = self.document.set_meta(&key, value.as_deref());
            }
        }
        self.seal(cx.now);
        self.push_due(cx);
    }

    /// The log has more of a site: what was refused may have passed, or there may be room for it now.
    pub(super) fn growth_acked(&mut self, site: SiteId, region: u64, now: Instant) {
        if !self.refused.as_ref().is_some_and(|refusal| refusal.takes_deletes()) {
            return;
        }
        self.outbox.growth_passed(site, region);
        if !self.outbox.has_refused_growth() {
            self.refused = None;
            self.quota = Quota::default();
        } else if self.quota.retry_at.is_none() {
            let wait = RETRY_MS_MIN.saturating_mul(1 << self.quota.tries.min(10)).min(RETRY_MS_MAX);
            self.quota.retry_at = Some(now.after(wait));
        }
    }

    /// Tries again what was refused, if it is time.
    pub(super) fn growth_due(&mut self, cx: &mut Context<'_>) {
        if self.session.phase() == Phase::Live && self.quota.retry_at.is_some_and(|at| at <= cx.now) {
            self.quota.retry_at = None;
            self.quota.tries += 1;
            self.outbox.unblock_growth(cx.now);
            self.push_due(cx);
        }
    }

    /// When [`Replica::growth_due`] is to be called.
    pub(super) fn growth_deadline(&self) -> Option<Instant> {
        self.quota.retry_at.filter(|_| self.session.phase() == Phase::Live)
    }
}

/// Dots deleted, and entries of `meta` with what was written.
type Passing = (Vec<DotRange>, Vec<(String, Option<Vec<u8>>)>);

/// What of these deltas grows nothing: dots deleted, but for those within `own`, which no server has; entries of `meta` written.
fn what_passes(deltas: impl Iterator<Item = Delta>, own: DotRange) -> Passing {
    let (mut ranges, mut written) = (Vec::new(), Vec::new());
    for op in deltas.flat_map(|delta| delta.ops) {
        match op {
            Op::Delete { ranges: deleted } => {
                ranges.extend(deleted.into_iter().filter(|range| range.site != own.site || range.first < own.first));
            }
            Op::Meta { key, value, .. } => written.push((key, value)),
            // A rebase changes no text: it goes out with the deltas held back.
            Op::Insert { .. } | Op::Rebase(_) | Op::Void { .. } => {}
        }
    }
    (ranges, written)
}
