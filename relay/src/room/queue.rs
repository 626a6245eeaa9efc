//! The way into the log: pushes in counter order per site, bound to their principal, appended one batch at a time.
//!
//! A failed batch is repeated whole, and everything later goes after it, so a site's deltas enter the log in order and
//! repeating is harmless. Bounded: what does not fit is dropped, its site is noted, and asked for again by `gap` when there is room.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use selvedge_engine::{Delta, SiteId};
use selvedge_protocol::{CloseCode, Instant};
use selvedge_region::LogRecord;

use super::event::SessionKey;

/// Longest wait before a failed append is repeated, in milliseconds.
const RETRY_MS_MAX: u64 = 5_000;
/// Records handed to the log in one append, however small they are.
const APPEND_RECORDS_MAX: usize = 1_000;

/// A delta on its way into the log.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) record: LogRecord,
    pub(crate) delta: Arc<Delta>,
    pub(crate) last: u64,
    pub(crate) from: SessionKey,
    pub(crate) announced: bool,
    /// It was shown while the log was silent, or was not to be.
    pub(crate) shown: bool,
}

impl Pending {
    pub(crate) fn bytes(&self) -> u64 {
        self.record.delta.len() as u64
    }
}

/// What is known of whose a site is.
#[derive(Debug, Default)]
pub(crate) enum Binding {
    /// Nobody asked yet.
    #[default]
    Unknown,
    /// Asked for this principal; the site's deltas wait.
    Asking(String),
    /// Bound to this principal, durably.
    Bound(String),
    /// A seed: checked by its text, anybody may bring it.
    Anyone,
}

/// A site that writes through this room.
#[derive(Debug, Default)]
pub(crate) struct Site {
    pub(crate) binding: Binding,
    /// Every counter up to this one is queued, being appended or logged.
    pub(crate) accepted: u64,
    /// What waits for the binding, in order.
    pub(crate) waiting: Vec<Pending>,
    /// Who wants to hear how far the site is logged.
    pub(crate) interested: Vec<SessionKey>,
    /// Given back when the log holds this counter, on behalf of this principal.
    pub(crate) given_back: Option<(u64, String)>,
    /// Something of it was dropped for the moment; these sessions are asked for it again.
    pub(crate) starved: Vec<SessionKey>,
}

impl Site {
    /// A push of this session was dropped: it is asked again, beside whoever else is.
    pub(crate) fn starve(&mut self, key: SessionKey) {
        if !self.starved.contains(&key) {
            self.starved.push(key);
        }
    }
}

/// Why a push was refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: CloseCode,
    pub(crate) message: &'static str,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    sites: FxHashMap<SiteId, Site>,
    queue: VecDeque<Pending>,
    /// Bytes queued, being appended, or waiting for a binding.
    bytes: u64,
    bytes_max: u64,
    append_bytes_max: u64,
    in_flight: Option<(u64, usize)>,
    appends: u64,
    retry_at: Option<Instant>,
    retry_ms: u64,
    retry_ms_min: u64,
}

impl Queue {
    pub(crate) fn new(bytes_max: u64, append_bytes_max: u64, retry_ms: u64) -> Self {
        Queue {
            sites: FxHashMap::default(),
            queue: VecDeque::new(),
            bytes: 0,
            bytes_max,
            append_bytes_max,
            in_flight: None,
            appends: 0,
            retry_at: None,
            retry_ms,
            retry_ms_min: retry_ms,
        }
    }

    pub(crate) fn site(&mut self, site: SiteId) -> &mut Site {
        self.sites.entry(site).or_default()
    }

    pub(crate) fn known_site(&self, site: SiteId) -> Option<&Site> {
        self.sites.get(&site)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.bytes == 0 && self.in_flight.is_none()
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.retry_at.is_some() || self.retry_ms > self.retry_ms_min
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.bytes + bytes <= self.bytes_max
    }

    /// Takes a delta whose turn it is. It goes on at once, or waits for its site's binding.
    pub(crate) fn push(&mut self, pending: Pending) {
        self.bytes += pending.bytes();
        let site = self.sites.entry(pending.delta.site).or_default();
        site.accepted = site.accepted.max(pending.last);
        match site.binding {
            Binding::Bound(_) | Binding::Anyone => self.queue.push_back(pending),
            Binding::Unknown | Binding::Asking(_) => site.waiting.push(pending),
        }
    }

    /// The binding came: what waited goes on.
    pub(crate) fn bound(&mut self, site: SiteId) {
        let Some(state) = self.sites.get_mut(&site) else { return };
        if let Binding::Asking(principal) = std::mem::take(&mut state.binding) {
            state.binding = Binding::Bound(principal);
        }
        self.queue.extend(state.waiting.drain(..));
    }

    /// The binding was refused or failed: what waited is handed back, and the site's next push asks again.
    pub(crate) fn unbound(&mut self, site: SiteId, logged: u64) -> Vec<Pending> {
        let Some(state) = self.sites.get_mut(&site) else { return Vec::new() };
        state.binding = Binding::Unknown;
        state.accepted = logged;
        let waiting = std::mem::take(&mut state.waiting);
        self.bytes -= waiting.iter().map(Pending::bytes).sum::<u64>();
        waiting
    }

    /// The next batch, if none is under way and the pause after a failure is over.
    pub(crate) fn next_append(&mut self, now: Instant) -> Option<(u64, Vec<LogRecord>)> {
        if self.in_flight.is_some() || self.queue.is_empty() || self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        self.retry_at = None;
        let mut bytes = 0;
        let fits = |pending: &&Pending| {
            let first = bytes == 0;
            bytes += pending.bytes();
            first || bytes <= self.append_bytes_max
        };
        let records: Vec<LogRecord> =
            self.queue.iter().take(APPEND_RECORDS_MAX).take_while(fits).map(|pending| pending.record.clone()).collect();
        self.appends += 1;
        self.in_flight = Some((self.appends, records.len()));
        Some((self.appends, records))
    }

    /// The batch is in the log: hands its deltas over, in order.
    pub(crate) fn confirmed(&mut self, append: u64) -> Vec<Pending> {
        match self.in_flight.take() {
            Some((current, count)) if current == append => {
                self.retry_ms = self.retry_ms_min;
                let confirmed: Vec<Pending> = self.queue.drain(..count).collect();
                self.bytes -= confirmed.iter().map(Pending::bytes).sum::<u64>();
                confirmed
            }
            other => {
                self.in_flight = other;
                Vec::new()
            }
        }
    }

    /// The batch is not known to be in the log: it is repeated after a pause, before everything later.
    pub(crate) fn failed(&mut self, append: u64, now: Instant) {
        if self.in_flight.is_some_and(|(current, _)| current == append) {
            self.in_flight = None;
            self.retry_at = Some(now.after(self.retry_ms));
            self.retry_ms = (self.retry_ms * 2).min(RETRY_MS_MAX);
        }
    }

    /// Whether something in the queue has not been shown yet.
    pub(crate) fn has_unshown(&self) -> bool {
        self.queue.back().is_some_and(|last| !last.shown)
    }

    /// What is in the queue and has not been shown, in order; it counts as shown from now on.
    pub(crate) fn take_unshown(&mut self) -> Vec<(Arc<Delta>, LogRecord)> {
        let mut unshown = Vec::new();
        for pending in self.queue.iter_mut().filter(|pending| !pending.shown) {
            pending.shown = true;
            unshown.push((Arc::clone(&pending.delta), pending.record.clone()));
        }
        unshown
    }

    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Sites of which something was dropped, once there is room again.
    pub(crate) fn take_starved(&mut self) -> Vec<(SiteId, SessionKey, u64)> {
        if self.bytes > self.bytes_max / 2 {
            return Vec::new();
        }
        let starved = self.sites.iter_mut().flat_map(|(&site, state)| {
            let accepted = state.accepted;
            std::mem::take(&mut state.starved).into_iter().map(move |session| (site, session, accepted))
        });
        starved.collect()
    }

    /// A session is gone: nobody is told on its behalf any more. Sites nobody cares for and with nothing under way are forgotten.
    pub(crate) fn forget_session(&mut self, key: SessionKey) {
        let queued: Vec<SiteId> = self.queue.iter().map(|pending| pending.delta.site).collect();
        self.sites.retain(|site, state| {
            state.interested.retain(|session| *session != key);
            state.starved.retain(|session| *session != key);
            let idle = state.interested.is_empty() && state.waiting.is_empty() && state.given_back.is_none();
            !idle || queued.contains(site)
        });
    }
}

impl Queue {
    /// A site was leased to this session: its pushes need no further binding.
    pub(crate) fn lease(&mut self, site: SiteId, principal: String, key: SessionKey) {
        let state = self.site(site);
        state.binding = Binding::Bound(principal);
        if !state.interested.contains(&key) {
            state.interested.push(key);
        }
    }

    /// Takes a delta whose site's binding does not matter.
    pub(crate) fn push_unbound(&mut self, pending: Pending) {
        self.bytes += pending.bytes();
        let site = self.sites.entry(pending.delta.site).or_default();
        site.accepted = site.accepted.max(pending.last);
        self.queue.push_back(pending);
    }
}
