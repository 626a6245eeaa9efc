//! One short run of each drill that is about relays and services of one region, on a stack of its own that is started once.

use std::path::Path;

use anyhow::Context;

use crate::drill;
use crate::stack::{Region, Service};

use super::region::Running;
use super::suite::Workshop;
use super::tally::Tally;

/// Drills that need no replicator.
const DRILLS: [&str; 4] = ["relay-killed", "kafka-restarted", "postgres-rebuilt", "redis-flushed"];

/// Starts a region's services, and runs the drills.
pub(super) fn run(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    let built = workshop.built()?;
    let program = |name: &str| {
        let found = built.program(name).map(Path::to_path_buf);
        found.with_context(|| format!("the program `{name}` was not built"))
    };
    let programs = drill::Programs {
        driver: program("drill")?,
        relay: program("selvedge-relay")?,
        replicator: program("selvedge-replicator")?,
    };
    let running = Running::start(Service::select(&[Region::A], &[]))?;
    let mut command = drill::on_stack(&running.stack, &running.services, &programs)?;
    workshop.count("drill", command.args(DRILLS).args(["--short", "--without-replicators"]))
}
