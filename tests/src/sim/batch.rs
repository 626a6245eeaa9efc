//! Many seeds on a few threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::fault::{Fault, FaultCounts};
use super::outcome::Outcome;
use super::shape::Shape;
use super::world::{Options, run};

/// Which seeds to run, and how.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The first seed.
    pub from: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Threads; seeds are independent.
    pub threads: usize,
    /// Stop at the first violation.
    pub stop_at_first: bool,
    /// Options of every run.
    pub options: Options,
}

/// What a batch came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The shape of their worlds.
    pub shape: Shape,
    /// Seeds run.
    pub runs: u64,
    /// Virtual milliseconds over all runs.
    pub simulated_ms: u64,
    /// Events over all runs.
    pub events: u64,
    /// The smallest number of faults in a run.
    pub faults_least: u64,
    /// Hits by kind over all runs.
    pub faults: FaultCounts,
    /// Sums of the runs' figures.
    pub figures: std::collections::BTreeMap<&'static str, u64>,
    /// Runs in which an invariant did not hold, by seed.
    pub violated: Vec<Outcome>,
    /// Wall time, in seconds.
    pub wall_s: f64,
}

impl Summary {
    /// Kinds of fault never hit, when there were seeds enough to expect all of them.
    pub fn faults_missing(&self) -> Vec<Fault> {
        if self.runs >= seeds_for_all_faults(self.shape) { self.faults.missing(self.shape) } else { Vec::new() }
    }

    /// Whether every invariant held and every kind of fault was hit.
    pub fn held(&self) -> bool {
        self.violated.is_empty() && self.faults_missing().is_empty()
    }
}

/// From this many seeds of a shape on, a kind of fault that was never hit is a failure of the simulator.
pub fn seeds_for_all_faults(shape: Shape) -> u64 {
    match shape {
        Shape::Alone => 500,
        Shape::Relays => 100,
        Shape::Regions => 100,
    }
}

/// Runs the batch, telling `progress` of every finished run.
pub fn run_batch(batch: &Batch, progress: &(dyn Fn(&Outcome) + Sync)) -> Summary {
    let started = Instant::now();
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let summary = Mutex::new(Summary { shape: batch.options.shape, faults_least: u64::MAX, ..Summary::default() });
    std::thread::scope(|scope| {
        for _ in 0..batch.threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= batch.seeds {
                        break;
                    }
                    let outcome = run(batch.from + index, &batch.options);
                    progress(&outcome);
                    if outcome.violation.is_some() && batch.stop_at_first {
                        stop.store(true, Ordering::Relaxed);
                    }
                    summary.lock().expect("no thread panics while it adds").add(outcome);
                }
            });
        }
    });
    let mut summary = summary.into_inner().expect("no thread panics while it adds");
    summary.violated.sort_by_key(|outcome| outcome.seed);
    summary.wall_s = started.elapsed().as_secs_f64();
    summary
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.simulated_ms += outcome.simulated_ms;
        self.events += outcome.events;
        self.faults_least = self.faults_least.min(outcome.faults.total());
        self.faults.add(&outcome.faults);
        for (figure, value) in &outcome.figures {
            *self.figures.entry(figure).or_default() += value;
        }
        if outcome.violation.is_some() {
            self.violated.push(outcome);
        }
    }
}
