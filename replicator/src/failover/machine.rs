//! The decisions of failover: renew, suspect, agree, take, hand over.

use std::collections::BTreeMap;

use selvedge_protocol::Instant;

use super::{Effect, Event, FailoverConfig, Lease, Observation, Order, Outcome, Stamp, View};

/// Looks that an observer may be silent for before its word counts no longer.
const SILENT_LOOKS_MAX: u64 = 6;

/// The lease as it was seen to move last.
#[derive(Debug, Clone)]
struct Seen {
    lease: Lease,
    /// When it was first seen in this state.
    since: Instant,
}

/// Another observer as it was heard last.
#[derive(Debug, Clone)]
struct Heard {
    beat: u64,
    at: Instant,
    suspects: Option<Stamp>,
}

/// The lease while this process holds it.
#[derive(Debug, Clone)]
struct Held {
    lease: Lease,
    /// This process decides nothing from here on unless it renews before.
    until: Instant,
    asked: Instant,
}

/// A handing over that was ordered.
#[derive(Debug, Clone)]
struct Handing {
    order: Order,
    deadline: Instant,
    drained: bool,
}

/// Failover's decisions: a state machine without I/O.
pub struct Failover {
    config: FailoverConfig,
    seen: Option<Seen>,
    /// Whether the witness has ever been read: a lease nobody ever held is not one that was never read.
    looked: bool,
    held: Option<Held>,
    /// Whether [`Effect::Began`] was told and [`Effect::Ended`] was not.
    deciding: bool,
    observers: BTreeMap<String, Heard>,
    agreed: Option<(Stamp, Instant)>,
    order: Option<Order>,
    handing: Option<Handing>,
    writing: bool,
    looking: bool,
    next_look: Instant,
    beat: u64,
    wall_ms: u64,
}

impl Failover {
    /// Failover that has seen nothing yet.
    #[must_use]
    pub fn new(config: FailoverConfig) -> Self {
        Self {
            config,
            seen: None,
            looked: false,
            held: None,
            deciding: false,
            observers: BTreeMap::new(),
            agreed: None,
            order: None,
            handing: None,
            writing: false,
            looking: false,
            next_look: Instant(0),
            beat: 0,
            wall_ms: 0,
        }
    }

    /// Takes what happened and answers what to do for it, in this order.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Looked { view, wall_ms } => self.looked(view, wall_ms, now, &mut effects),
            Event::LookFailed => self.looking = false,
            Event::Wrote { lease, asked, outcome } => self.wrote(lease, asked, outcome, now),
            Event::Drained => {
                if let Some(handing) = &mut self.handing {
                    handing.drained = true;
                }
            }
            Event::Tick => {}
        }
        self.go_on(now, &mut effects);
        effects
    }

    /// The epoch in which this process may decide now.
    #[must_use]
    pub fn deciding(&self, now: Instant) -> Option<u64> {
        let held = self.held.as_ref().filter(|held| self.deciding && self.handing.is_none() && now < held.until)?;
        Some(held.lease.epoch)
    }

    /// The lease as it was seen last.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        self.seen.as_ref().map(|seen| &seen.lease)
    }

    /// When the lease was seen to move last.
    #[must_use]
    pub fn seen(&self) -> Instant {
        self.seen.as_ref().map_or(Instant(0), |seen| seen.since)
    }

    fn looked(&mut self, view: View, wall_ms: u64, now: Instant, effects: &mut Vec<Effect>) {
        (self.looking, self.looked, self.wall_ms) = (false, true, wall_ms);
        self.order = view.order;
        if let Some(lease) = view.lease {
            self.see(lease, now);
        }
        for observation in view.observations {
            self.hear(observation, now);
        }
        self.beat += 1;
        let suspects = self.suspects(now);
        let own = Observation { observer: self.config.observer.clone(), beat: self.beat, suspects };
        effects.push(Effect::Observe(own));
        self.agree(now);
    }

    /// Notes the lease. Answers of the witness may overtake each other: an older state tells nothing.
    fn see(&mut self, lease: Lease, now: Instant) {
        if self.seen.as_ref().is_some_and(|seen| lease.stamp() <= seen.lease.stamp()) {
            return;
        }
        if let Some(held) = &self.held
            && (lease.process != self.config.process || lease.epoch != held.lease.epoch)
        {
            // Somebody else's now, whatever this process still believed.
            self.held = None;
        }
        if let Some(held) = &mut self.held {
            // A renewal that was never answered stands after all; for how long is counted from the one before.
            held.lease = lease.clone();
        }
        self.seen = Some(Seen { lease, since: now });
    }

    fn hear(&mut self, observation: Observation, now: Instant) {
        if observation.observer == self.config.observer {
            return;
        }
        let Observation { observer, beat, suspects } = observation;
        let heard = self.observers.entry(observer).or_insert(Heard { beat: 0, at: now, suspects: None });
        if beat != heard.beat {
            *heard = Heard { beat, at: now, suspects };
        }
    }

    /// The state of the lease that has run out, as far as this process can see.
    fn suspects(&self, now: Instant) -> Option<Stamp> {
        let seen = self.seen.as_ref()?;
        (now.since(seen.since) >= self.config.ttl_ms).then(|| seen.lease.stamp())
    }

    /// Notes since when enough observers have said the same.
    fn agree(&mut self, now: Instant) {
        let fresh_ms = self.config.look_ms * SILENT_LOOKS_MAX;
        self.observers.retain(|_, heard| now.since(heard.at) < fresh_ms);
        let Some(stamp) = self.suspects(now) else {
            self.agreed = None;
            return;
        };
        let others = self.observers.values().filter(|heard| heard.suspects == Some(stamp)).count();
        if others + 1 < self.config.agree_count {
            self.agreed = None;
        } else if self.agreed.is_none_or(|(agreed, _)| agreed != stamp) {
            self.agreed = Some((stamp, now));
        }
    }

    fn wrote(&mut self, lease: Lease, asked: Instant, outcome: Outcome, now: Instant) {
        self.writing = false;
        match outcome {
            Outcome::Done => {
                let own = lease.process == self.config.process;
                self.seen = Some(Seen { lease: lease.clone(), since: now });
                let until = asked.after(self.config.ttl_ms - self.config.margin_ms);
                self.held = own.then_some(Held { lease, until, asked });
                self.agreed = None;
            }
            // What it is now, the next look tells.
            Outcome::Conflict | Outcome::Unknown => self.next_look = now,
        }
    }

    /// What time and standing allow now.
    fn go_on(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.held.as_ref().is_some_and(|held| now >= held.until) {
            self.held = None;
        }
        if self.held.is_none() {
            self.handing = None;
        }
        self.begin_handing(now, effects);
        self.tell(effects);
        if !self.writing
            && let Some((expected, lease)) = self.to_write(now)
        {
            self.writing = true;
            effects.push(Effect::Write { expected, lease });
        }
        if !self.looking && now >= self.next_look {
            self.looking = true;
            self.next_look = now.after(self.config.look_ms);
            effects.push(Effect::Look);
        }
    }

    /// Tells when this process begins and ceases to decide.
    fn tell(&mut self, effects: &mut Vec<Effect>) {
        let may = self.held.as_ref().filter(|_| self.handing.is_none()).map(|held| held.lease.epoch);
        match (self.deciding, may) {
            (false, Some(epoch)) => {
                self.deciding = true;
                effects.push(Effect::Began { epoch });
            }
            (true, None) => {
                self.deciding = false;
                let epoch = self.seen.as_ref().map_or(0, |seen| seen.lease.epoch);
                effects.push(Effect::Ended { epoch });
            }
            _ => {}
        }
    }

    fn begin_handing(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let (Some(held), Some(order), None) = (&self.held, &self.order, &self.handing) else { return };
        if order.id > held.lease.order && order.to != self.config.region {
            let deadline = now.after(self.config.drain_ms);
            self.handing = Some(Handing { order: order.clone(), deadline, drained: false });
            effects.push(Effect::Drain { to: order.to.clone() });
        }
    }

    fn to_write(&self, now: Instant) -> Option<(Option<Stamp>, Lease)> {
        match &self.held {
            Some(held) => self.to_renew(held, now),
            None if !self.config.candidate || !self.looked => None,
            None => self.to_take(now),
        }
    }

    /// The holder's next write: a renewal, or the handing over that was ordered.
    fn to_renew(&self, held: &Held, now: Instant) -> Option<(Option<Stamp>, Lease)> {
        let expected = Some(held.lease.stamp());
        let renewed = Lease { renewal: held.lease.renewal + 1, ..held.lease.clone() };
        if let Some(handing) = &self.handing
            && (handing.drained || now >= handing.deadline)
        {
            let Order { id, to } = handing.order.clone();
            return Some((expected, Lease { epoch: renewed.epoch + 1, region: to, process: 0, order: id, ..renewed }));
        }
        if now.since(held.asked) < self.config.renew_ms {
            return None;
        }
        // An order that is fulfilled already is done with.
        let fulfilled = self.order.as_ref().filter(|order| order.to == self.config.region).map(|order| order.id);
        Some((expected, Lease { order: fulfilled.unwrap_or(0).max(renewed.order), ..renewed }))
    }

    /// Takes a lease that is free for this process.
    fn to_take(&self, now: Instant) -> Option<(Option<Stamp>, Lease)> {
        let Some(Seen { lease, .. }) = &self.seen else {
            return self.config.home.then(|| (None, self.taken(1, None)));
        };
        let (own_region, stamp) = (lease.region == self.config.region, lease.stamp());
        let expected = Some(stamp);
        if own_region && lease.process == 0 {
            // Handed over to this region: the epoch has begun already.
            return Some((expected, self.taken(lease.epoch, Some(lease))));
        }
        let run_out = self.suspects(now) == expected;
        if !run_out {
            return None;
        }
        let ordered = self.order.as_ref().is_some_and(|order| order.id > lease.order && order.to == self.config.region);
        let elsewhere =
            self.order.as_ref().is_some_and(|order| order.id > lease.order && order.to != self.config.region);
        let agreed =
            self.agreed.is_some_and(|(agreed, since)| agreed == stamp && now.since(since) >= self.config.agree_ms);
        let paused = self.wall_ms.saturating_sub(lease.promoted_ms) < self.config.promotion_pause_ms;
        let may = ordered || (own_region && !elsewhere) || (agreed && !paused && !elsewhere);
        may.then(|| (expected, self.taken(lease.epoch + 1, Some(lease))))
    }

    /// The lease in this process' hands.
    fn taken(&self, epoch: u64, before: Option<&Lease>) -> Lease {
        let ordered = self.order.as_ref().filter(|order| order.to == self.config.region).map_or(0, |order| order.id);
        let moved_by_itself =
            before.is_some_and(|before| before.region != self.config.region && ordered <= before.order);
        Lease {
            epoch,
            region: self.config.region.clone(),
            process: self.config.process,
            renewal: before.map_or(1, |before| before.renewal + 1),
            promoted_ms: if moved_by_itself { self.wall_ms } else { before.map_or(0, |before| before.promoted_ms) },
            order: ordered.max(before.map_or(0, |before| before.order)),
        }
    }
}

#[cfg(test)]
mod tests;
