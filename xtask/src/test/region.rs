//! The suite on real services: both regions of a stack of its own, started once, with everything that is tested against them.

use std::fs;
use std::net::TcpListener;

use anyhow::Context;

use crate::paths;
use crate::stack::{self, Service, Stack};

use super::suite::Workshop;
use super::tally::Tally;

/// Where a free block of ports is looked for, and how many a stack takes with the programs that drills start on it.
const PORTS: std::ops::Range<u16> = 24_000..25_000;
const BLOCK: u16 = 50;

/// Ends the services, however the tests end.
pub(super) struct Running {
    pub(super) stack: Stack,
    pub(super) services: Vec<Service>,
}

impl Running {
    /// Starts the services on ports that are free.
    pub(super) fn start(services: Vec<Service>) -> anyhow::Result<Self> {
        let base = PORTS.step_by(BLOCK.into()).find(|base| is_free(*base));
        let base = base.with_context(|| format!("no {BLOCK} ports in a row are free in {PORTS:?}"))?;
        let folder = std::env::temp_dir().join(format!("selvedge-test-{}", std::process::id()));
        let running = Running { stack: Stack::at(base, Some(folder)), services };
        running.stack.up_apart(&running.services)?;
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match self.stack.down(&self.services, true) {
            Ok(()) => drop(fs::remove_dir_all(&self.stack.folder)),
            Err(error) => eprintln!("{error:#}"),
        }
    }
}

fn is_free(base: u16) -> bool {
    (base..base + BLOCK).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
}

/// Starts both regions and runs the tests that are about their services.
pub(super) fn run(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    let built = workshop.built()?;
    let running = workshop.prepare(|_| Running::start(Service::all()))?;
    let environment = stack::environment(&running.stack, &running.services);
    let mut sum = Tally::default();
    for test in built.tests().iter().filter(|test| test.is_regional()) {
        let mut command = test.command();
        command.envs(environment.iter().map(|(name, address)| (name, address)));
        // It is tested on the services, too.
        command.env("SELVEDGE_XTASK", paths::program()?);
        sum.add(workshop.count_quietly(&test.name(), &mut command)?);
    }
    Ok(sum)
}
