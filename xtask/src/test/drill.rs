//! One short run of each drill, on a stack of its own that is started once.

use std::path::Path;

use anyhow::Context;

use crate::drill;
use crate::stack::Service;

use super::region::Running;
use super::suite::Workshop;
use super::tally::Tally;

/// Starts both regions' services, and runs the drills.
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
    let running = workshop.prepare(|_| Running::start(Service::all()))?;
    let mut command = drill::on_stack(&running.stack, &running.services, &programs)?;
    workshop.count("drill", command.arg("--short"))
}
