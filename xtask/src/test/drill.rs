//! One short run of each drill that is about relays and services of one region, on a stack of its own that is started once.

use crate::drill;
use crate::stack::{Region, Service};

use super::region::Running;
use super::suite::Workshop;
use super::tally::Tally;

/// Drills that need no replicator.
const DRILLS: [&str; 4] = ["relay-killed", "kafka-restarted", "postgres-rebuilt", "redis-flushed"];

/// Compiles the programs, starts a region's services, and runs the drills.
pub(super) fn run(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    let programs = drill::build_without_replicators("drill")?;
    let running = Running::start(Service::select(&[Region::A], &[]))?;
    let mut command = drill::on_stack(&running.stack, &running.services, &programs)?;
    workshop.count("drill", command.args(DRILLS).args(["--short", "--without-replicators"]))
}
