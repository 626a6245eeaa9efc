//! The demo in two browsers, one in each of two regions, on a stack of its own; one region is killed and comes back.

use std::process::Command;

use anyhow::Context;

use crate::stack::{self, Service};
use crate::{demo, npm, paths};

use super::region::Running;
use super::suite::Workshop;
use super::tally::Tally;

/// Starts both regions' services, and runs the browsers' suites on them.
pub(super) fn run(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    let built = workshop.built()?;
    workshop.prepare(|root| demo::site(root).and_then(|()| npm::install(root, demo::BROWSER)))?;
    let running = workshop.prepare(|_| Running::start(Service::all()))?;
    let mut command = Command::new("node");
    command
        .args(["run.mjs", "--regions"])
        .current_dir(workshop.root.join(demo::BROWSER))
        .envs(stack::environment(&running.stack, &running.services))
        .env("SELVEDGE_WEB", workshop.root.join(demo::WEB).join("dist"))
        // It starts services again that it has ended.
        .env("SELVEDGE_XTASK", paths::program()?);
    for (variable, name) in [("SELVEDGE_REGIONS_BIN", "regions"), ("SELVEDGE_REPLICATOR_BIN", "selvedge-replicator")] {
        command.env(variable, built.program(name).with_context(|| format!("the program `{name}` was not built"))?);
    }
    workshop.count("regions", &mut command)
}
