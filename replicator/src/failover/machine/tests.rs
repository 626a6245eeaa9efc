use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use selvedge_protocol::Instant;

use super::Failover;
use crate::failover::{Effect, Event, FailoverConfig, Lease, Order, Outcome, Stamp, View};

/// A process with a clock of its own.
struct Process {
    machine: Failover,
    /// Its clock runs by so many per mille of true time.
    pace: u64,
    /// True time at which it was started.
    began: u64,
    /// It stands still until this true time, as a process does that is stopped or starved.
    paused_until: u64,
    reaches_witness: bool,
    /// What it has been told and has not taken up yet, with when it arrives.
    inbox: Vec<(u64, Event)>,
    deciding: Option<u64>,
}

/// Processes around a witness, in true time.
struct World {
    processes: Vec<Process>,
    view: View,
    now: u64,
    /// Which process decided in which epoch.
    epochs: BTreeMap<u64, u64>,
    history: Vec<(u64, u64, u64)>,
}

impl World {
    /// Two processes in region a (the home), two in b, and an observer elsewhere.
    fn new() -> Self {
        let regions = [("a", 1000), ("a", 1010), ("b", 1000), ("b", 990), ("elsewhere", 1005)];
        let process = |(index, (region, pace)): (usize, (&str, u64))| {
            let mut config = FailoverConfig::new(region.to_owned(), index as u64 + 1);
            (config.home, config.candidate) = (region == "a", region != "elsewhere");
            let machine = Failover::new(config);
            Process {
                machine,
                pace,
                began: 0,
                paused_until: 0,
                reaches_witness: true,
                inbox: Vec::new(),
                deciding: None,
            }
        };
        let processes = regions.into_iter().enumerate().map(process).collect();
        Self { processes, view: View::default(), now: 0, epochs: BTreeMap::new(), history: Vec::new() }
    }

    fn local(&self, index: usize) -> Instant {
        let process = &self.processes[index];
        Instant((self.now - process.began) * process.pace / 1000)
    }

    /// Lets true time pass; messages take `delay` each way.
    fn pass(&mut self, ms: u64, delay: u64) {
        for _ in 0..ms / 50 {
            self.now += 50;
            for index in 0..self.processes.len() {
                if self.processes[index].paused_until > self.now {
                    continue;
                }
                let (due, later) =
                    std::mem::take(&mut self.processes[index].inbox).into_iter().partition(|(at, _)| *at <= self.now);
                self.processes[index].inbox = later;
                let due: Vec<(u64, Event)> = due;
                for event in due.into_iter().map(|(_, event)| event).chain([Event::Tick]) {
                    self.on(index, event, delay);
                }
            }
            self.check();
        }
    }

    fn on(&mut self, index: usize, event: Event, delay: u64) {
        let local = self.local(index);
        let effects = self.processes[index].machine.on(event, local);
        for effect in effects {
            let reaches = self.processes[index].reaches_witness;
            let answer = match effect {
                Effect::Look if reaches => Event::Looked { view: self.view.clone(), wall_ms: 10_000_000 + self.now },
                Effect::Look => Event::LookFailed,
                Effect::Observe(observation) => {
                    if reaches {
                        self.view.observations.retain(|other| other.observer != observation.observer);
                        self.view.observations.push(observation);
                    }
                    continue;
                }
                Effect::Write { expected, lease } => {
                    let outcome = if reaches { self.write(expected, &lease) } else { Outcome::Unknown };
                    Event::Wrote { lease, asked: local, outcome }
                }
                Effect::Began { epoch } => {
                    let process = index as u64 + 1;
                    assert!(
                        self.epochs.insert(epoch, process).is_none_or(|before| before == process),
                        "epoch {epoch} twice"
                    );
                    assert_eq!(
                        self.epochs.last_key_value().map(|(newest, _)| *newest),
                        Some(epoch),
                        "epochs only grow"
                    );
                    self.processes[index].deciding = Some(epoch);
                    self.history.push((self.now, epoch, process));
                    continue;
                }
                Effect::Ended { .. } => {
                    self.processes[index].deciding = None;
                    continue;
                }
                Effect::Drain { .. } => Event::Drained,
            };
            self.processes[index].inbox.push((self.now + 2 * delay, answer));
        }
    }

    fn write(&mut self, expected: Option<Stamp>, lease: &Lease) -> Outcome {
        if self.view.lease.as_ref().map(Lease::stamp) != expected {
            return Outcome::Conflict;
        }
        self.view.lease = Some(lease.clone());
        Outcome::Done
    }

    /// At no moment of true time may two decide.
    fn check(&self) {
        let may = (0..self.processes.len()).filter(|index| self.deciding(*index).is_some());
        let may: BTreeSet<usize> = may.collect();
        assert!(may.len() <= 1, "{may:?} decide at {}", self.now);
    }

    fn deciding(&self, index: usize) -> Option<u64> {
        self.processes[index].machine.deciding(self.local(index))
    }

    fn holder(&self) -> Option<(usize, u64)> {
        (0..self.processes.len()).find_map(|index| Some((index, self.deciding(index)?)))
    }

    fn kill(&mut self, index: usize) {
        self.processes[index].paused_until = u64::MAX;
    }

    fn order(&mut self, to: &str) {
        let id = self.view.order.as_ref().map_or(1, |order| order.id + 1);
        self.view.order = Some(Order { id, to: to.to_owned() });
    }
}

#[test]
fn the_home_takes_the_free_lease_and_keeps_it() {
    let mut world = World::new();
    world.pass(5_000, 20);
    let (holder, epoch) = world.holder().expect("somebody holds it");
    assert!(holder < 2, "a process of the home");
    assert_eq!(epoch, 1);
    world.pass(120_000, 20);
    assert_eq!(world.holder(), Some((holder, 1)), "nothing moves by itself");
    assert_eq!(world.history.len(), 1);
}

#[test]
fn the_homes_other_process_takes_over_before_another_region_may() {
    let mut world = World::new();
    world.pass(30_000, 20);
    let (holder, _) = world.holder().unwrap();
    world.kill(holder);
    world.pass(9_000, 20);
    assert_eq!(world.holder(), Some((1 - holder, 2)));
}

#[test]
fn a_lost_home_is_replaced_within_fifteen_seconds_and_not_again_for_ten_minutes() {
    let mut world = World::new();
    world.pass(700_000, 40);
    let lost = world.now;
    world.kill(0);
    world.kill(1);
    world.pass(15_000, 40);
    let (holder, epoch) = world.holder().expect("region b took it");
    assert!((2..4).contains(&holder) && epoch == 2);
    assert!(world.history.last().unwrap().0 - lost <= 15_000);
    // Region a comes back, b dies: too soon to move again by itself.
    for index in [0, 1] {
        world.processes[index].paused_until = 0;
    }
    world.pass(20_000, 40);
    assert_eq!(world.holder(), Some((holder, 2)), "a is a standby now");
    world.kill(2);
    world.kill(3);
    world.pass(60_000, 40);
    assert_eq!(world.holder(), None);
    world.order("a");
    world.pass(10_000, 40);
    let (holder, epoch) = world.holder().expect("a person may");
    assert!(holder < 2 && epoch == 3);
}

#[test]
fn one_observer_alone_moves_nothing() {
    let mut world = World::new();
    world.pass(700_000, 20);
    for index in [0, 1, 3, 4] {
        world.kill(index);
    }
    world.pass(120_000, 20);
    assert_eq!(world.holder(), None);
}

#[test]
fn without_the_witness_nobody_decides_and_nobody_is_promoted() {
    let mut world = World::new();
    world.pass(700_000, 20);
    for process in &mut world.processes {
        process.reaches_witness = false;
    }
    world.pass(8_000, 20);
    assert_eq!(world.holder(), None, "the holder stops by its own clock");
    world.pass(120_000, 20);
    assert_eq!(world.history.len(), 1);
    for process in &mut world.processes {
        process.reaches_witness = true;
    }
    world.pass(3_000, 20);
    let (holder, _) = world.holder().expect("it goes on");
    assert!(holder < 2, "where it was");
}

#[test]
fn a_switchover_hands_over_at_once_and_back() {
    let mut world = World::new();
    world.pass(30_000, 20);
    for (to, processes, epoch) in [("b", 2..4, 2), ("a", 0..2, 3)] {
        world.order(to);
        let ordered = world.now;
        world.pass(3_000, 20);
        let (holder, now_in) = world.holder().expect("handed over");
        assert!(processes.contains(&holder), "{to}");
        assert_eq!(now_in, epoch);
        assert!(world.history.last().unwrap().0 - ordered < 3_000, "no waiting for the lease to run out");
        world.pass(30_000, 20);
        assert_eq!(world.holder(), Some((holder, epoch)), "once");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whatever_stands_still_or_is_cut_off_two_never_decide_and_epochs_are_one_chain(
        steps in prop::collection::vec((0_u8..6, 0_usize..5, 0_u64..15_000, 10_u64..900), 1..40),
    ) {
        let mut world = World::new();
        for (kind, process, ms, delay) in steps {
            match kind {
                0 => world.processes[process].paused_until = world.now + ms,
                1 => world.processes[process].reaches_witness = false,
                2 => world.processes[process].reaches_witness = true,
                3 if ms % 3 == 0 => world.order(if process % 2 == 0 { "a" } else { "b" }),
                _ => {}
            }
            world.pass(ms, delay);
        }
        for process in &mut world.processes {
            (process.paused_until, process.reaches_witness) = (0, true);
        }
        world.pass(640_000, 20);
        prop_assert!(world.holder().is_some(), "it comes to rest with one holder");
        let epochs: Vec<u64> = world.history.iter().map(|(_, epoch, _)| *epoch).collect();
        prop_assert!(epochs.is_sorted(), "{epochs:?}");
    }
}
