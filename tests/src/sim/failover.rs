//! The lease on the control plane: the machine that ships in each region and an observer in a third place, against one witness.
//!
//! The witness is a single item behind links that are cut and lose answers, so that a write may stand although nobody hears of
//! it. Every process has a clock of its own that runs a little fast or slow, and is stopped at times. Whatever happens, at most
//! one process decides at any moment, and nobody begins an epoch that somebody else began (I5).

use std::collections::BTreeMap;

use selvedge_protocol::Instant;
use selvedge_replicator::failover::{
    Effect, Event as FailoverEvent, Failover, FailoverConfig, Lease, Observation, Order, Outcome, Stamp, View,
};

use super::dice::Dice;
use super::fault::Fault;
use super::outcome::Invariant;
use super::plant::Plant;
use super::schedule::{MS, Micros, SECOND};
use super::world::{Event, Stop, World};

/// One way to the witness.
const WAY: Micros = 20 * MS;
/// How long a call of a witness that does not answer takes to fail.
const TIMEOUT: Micros = SECOND;
/// How far a clock may run fast or slow, in thousandths.
const DRIFT_MAX: u64 = 50;
/// How often time passes for a machine.
const TICK: Micros = 100 * MS;

/// What the third place keeps.
#[derive(Debug, Default)]
pub(super) struct Witness {
    lease: Option<Lease>,
    observations: BTreeMap<String, Observation>,
    order: Option<Order>,
    /// The latest epoch that began, and whose it is.
    epoch: Option<(u64, u64)>,
}

impl Witness {
    fn view(&self) -> View {
        let observations = self.observations.values().cloned().collect();
        View { lease: self.lease.clone(), observations, order: self.order.clone() }
    }

    /// Writes the lease if it still is what `expected` names.
    fn write(&mut self, expected: Option<Stamp>, lease: Lease) -> Outcome {
        if self.lease.as_ref().map(Lease::stamp) != expected {
            return Outcome::Conflict;
        }
        self.lease = Some(lease);
        Outcome::Done
    }
}

/// A process that watches the lease.
pub(super) struct Observer {
    machine: Failover,
    /// Its region; `None`: the third place.
    region: Option<usize>,
    process: u64,
    dice: Dice,
    /// Thousandths of true time that its clock counts, and where it began.
    rate: u64,
    offset: u64,
    /// When anything last happened to it, by its clock.
    last: Instant,
    /// One up with every process.
    life: u64,
    /// The witness does not answer it before this.
    pub(super) cut_until: Micros,
    /// It is stopped before this, and does not know.
    pub(super) stopped_until: Micros,
}

/// What happens to an observer, or at the witness for it.
#[derive(Debug)]
pub(super) enum Step {
    Tick,
    Tell(FailoverEvent),
    Look,
    Write { expected: Option<Stamp>, lease: Lease, asked: Instant },
}

impl Observer {
    /// The observer of a region, or of the third place.
    pub(super) fn new(region: Option<usize>, process: u64, mut dice: Dice) -> Self {
        Self {
            machine: machine(region, process),
            region,
            process,
            rate: dice.between(1_000 - DRIFT_MAX, 1_000 + DRIFT_MAX),
            offset: dice.below(1_000_000),
            dice,
            last: Instant(0),
            life: 0,
            cut_until: 0,
            stopped_until: 0,
        }
    }

    fn clock(&self, now: Micros) -> Instant {
        Instant(self.offset + now * self.rate / 1_000 / MS)
    }
}

fn machine(region: Option<usize>, process: u64) -> Failover {
    let name = region.map_or_else(|| "witness".to_owned(), |region| format!("region-{region}"));
    Failover::new(FailoverConfig {
        candidate: region.is_some(),
        home: region == Some(0),
        promotion_pause_ms: 10_000,
        drain_ms: 5_000,
        ..FailoverConfig::new(name, process)
    })
}

impl World {
    /// An observer's process begins; what was on its way to the one before comes to nothing.
    pub(super) fn observer_starts(&mut self, observer: usize, pause: Micros) {
        self.processes += 1;
        let process = self.processes;
        let here = &mut self.observers[observer];
        here.life += 1;
        here.process = process;
        here.machine = machine(here.region, process);
        self.watch_later(observer, Step::Tick, pause);
    }

    /// An observer's process is gone, and another one begins.
    pub(super) fn crash_observer(&mut self, observer: usize) {
        self.hit(Fault::ObserverCrash);
        self.note(format_args!("fault: observer {observer} is gone"));
        let pause = self.fate.between(50, 5_000) * MS;
        self.observer_starts(observer, pause);
    }

    /// Somebody orders that the other region hold the control plane.
    pub(super) fn order_switchover(&mut self) {
        let Some(lease) = &self.witness.lease else { return };
        let to = if lease.region == "region-0" { "region-1" } else { "region-0" };
        let id = self.witness.order.as_ref().map_or(0, |order| order.id) + 1;
        self.witness.order = Some(Order { id, to: to.to_owned() });
        self.hit(Fault::Switchover);
        self.note(format_args!("order {id}: {to} is to hold the control plane"));
    }

    fn watch_later(&mut self, observer: usize, step: Step, delay: Micros) {
        let life = self.observers[observer].life;
        self.schedule.after(delay, Event::Watch { observer, life, step: Box::new(step) });
    }

    /// Something happens to an observer, or at the witness for it.
    pub(super) fn watch_steps(&mut self, observer: usize, life: u64, step: Step) -> Result<(), Stop> {
        let now = self.schedule.now();
        let (living, stopped_until) = (self.observers[observer].life == life, self.observers[observer].stopped_until);
        match step {
            Step::Look => self.witness_is_read(observer, living),
            // What left a process that is gone arrives all the same.
            Step::Write { expected, lease, asked } => self.witness_is_written(observer, living, expected, lease, asked),
            _ if !living => {}
            Step::Tick | Step::Tell(_) if stopped_until > now => {
                self.hit(Fault::ObserverStopped);
                self.watch_later(observer, step, stopped_until - now);
            }
            Step::Tick => {
                self.watch_later(observer, Step::Tick, TICK);
                self.tell_observer(observer, FailoverEvent::Tick)?;
            }
            Step::Tell(event) => self.tell_observer(observer, event)?,
        }
        self.one_decides()
    }

    fn tell_observer(&mut self, observer: usize, event: FailoverEvent) -> Result<(), Stop> {
        let now = self.observers[observer].clock(self.schedule.now());
        let here = &mut self.observers[observer];
        here.last = now;
        for effect in here.machine.on(event, now) {
            self.serve_observer(observer, effect, now)?;
        }
        Ok(())
    }

    fn serve_observer(&mut self, observer: usize, effect: Effect, asked: Instant) -> Result<(), Stop> {
        let cut = self.observers[observer].cut_until > self.schedule.now();
        let way = WAY + self.observers[observer].dice.spread(10 * MS);
        match effect {
            Effect::Look if cut => {
                self.hit(Fault::WitnessCut);
                self.watch_later(observer, Step::Tell(FailoverEvent::LookFailed), TIMEOUT);
            }
            Effect::Look => self.watch_later(observer, Step::Look, way),
            Effect::Observe(observation) => {
                if !cut {
                    self.witness.observations.insert(observation.observer.clone(), observation);
                }
            }
            Effect::Write { lease, .. } if cut && self.observers[observer].dice.percent(50) => {
                let unknown = FailoverEvent::Wrote { lease, asked, outcome: Outcome::Unknown };
                self.watch_later(observer, Step::Tell(unknown), TIMEOUT);
            }
            Effect::Write { expected, lease } => {
                self.watch_later(observer, Step::Write { expected, lease, asked }, way);
            }
            Effect::Began { epoch } => self.epoch_begins(observer, epoch)?,
            Effect::Ended { epoch } => self.note(format_args!("observer {observer} decides no more in epoch {epoch}")),
            Effect::Drain { .. } => {
                let delay = self.observers[observer].dice.spread(2 * SECOND);
                self.watch_later(observer, Step::Tell(FailoverEvent::Drained), delay);
            }
        }
        Ok(())
    }

    fn witness_is_read(&mut self, observer: usize, living: bool) {
        let now = self.schedule.now();
        if !living {
            return;
        }
        if self.observers[observer].cut_until > now {
            return self.watch_later(observer, Step::Tell(FailoverEvent::LookFailed), TIMEOUT);
        }
        let looked = FailoverEvent::Looked { view: self.witness.view(), wall_ms: now / MS };
        let way = WAY + self.observers[observer].dice.spread(10 * MS);
        self.watch_later(observer, Step::Tell(looked), way);
    }

    fn witness_is_written(
        &mut self,
        observer: usize,
        living: bool,
        expected: Option<Stamp>,
        lease: Lease,
        asked: Instant,
    ) {
        let outcome = self.witness.write(expected, lease.clone());
        if !living {
            return;
        }
        let heard = self.observers[observer].cut_until <= self.schedule.now();
        let way = WAY + self.observers[observer].dice.spread(10 * MS);
        let (outcome, delay) = if heard { (outcome, way) } else { (Outcome::Unknown, TIMEOUT) };
        self.watch_later(observer, Step::Tell(FailoverEvent::Wrote { lease, asked, outcome }), delay);
    }

    /// I5: an epoch is one process' alone, and later than every one before it.
    fn epoch_begins(&mut self, observer: usize, epoch: u64) -> Result<(), Stop> {
        let process = self.observers[observer].process;
        let before = self.witness.epoch.replace((epoch, process));
        self.note(format_args!("observer {observer} decides in epoch {epoch}"));
        if before.is_some_and(|before| epoch < before.0 || (epoch == before.0 && process != before.1)) {
            let detail = format!("process {process} begins epoch {epoch} after {before:?}");
            return Err(self.stop(Invariant::OneChain, detail));
        }
        *self.figures.entry("epochs begun").or_default() += 1;
        Ok(())
    }

    /// I5: at most one process decides at this moment.
    fn one_decides(&self) -> Result<(), Stop> {
        let deciding = self.deciding();
        if deciding.len() > 1 {
            let detail = format!("observers and epochs that decide at one moment: {deciding:?}");
            return Err(self.stop(Invariant::OneChain, detail));
        }
        Ok(())
    }

    /// Who decides now, and in which epoch.
    pub(super) fn deciding(&self) -> Vec<(usize, u64)> {
        let outlived = self.options.plant == Some(Plant::LeaseOutlived);
        let epoch_of = |observer: &Observer| {
            let now = if outlived { observer.last } else { observer.clock(self.schedule.now()) };
            observer.machine.deciding(now)
        };
        let all = self.observers.iter().enumerate();
        all.filter_map(|(index, observer)| Some((index, epoch_of(observer)?))).collect()
    }

    /// I11: long after the last fault somebody decides.
    pub(super) fn somebody_decides(&self) -> Result<(), Stop> {
        if !self.observers.is_empty() && self.deciding().is_empty() {
            let detail = format!("nobody holds the control plane; the lease is {:?}", self.witness.lease);
            return Err(self.stop(Invariant::Drained, detail));
        }
        Ok(())
    }
}
