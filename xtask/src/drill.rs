//! Drills: the local stack is started, and the program `drill` does the rest on it.

use std::path::PathBuf;

use clap::{ArgMatches, Command};

use crate::console::say;
use crate::programs::Selection;
use crate::stack::{self, Service, Stack};
use crate::{delegate, paths, process, programs};

/// The command `drill`.
pub(crate) fn arguments() -> Command {
    delegate::handed_on(
        "drill",
        "Kill, halt and cut parts of a deployment on real services while clients type; check and measure",
    )
}

/// Compiles the programs, starts the stack, and runs drills on it.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    say(
        "build",
        "compiling relay, replicator and drill with the clients of the services (the first time some minutes)",
    );
    let rest = delegate::rest(matches);
    let programs = build("drill")?;
    if delegate::wants_help(&rest) {
        return Err(process::become_program(process::program(&programs.driver).args(rest)));
    }
    let mut command = on_stack(&Stack::at(stack::PORTS, None), &Service::all(), &programs)?;
    command.args(rest);
    say("stack", "goes on running afterwards: `cargo xtask stack down` ends it");
    Err(process::become_program(&mut command))
}

/// A program that drives a deployment, with the programs of the deployment.
pub(crate) struct Programs {
    pub(crate) driver: PathBuf,
    pub(crate) relay: PathBuf,
    pub(crate) replicator: PathBuf,
}

/// Compiles them.
pub(crate) fn build(driver: &str) -> anyhow::Result<Programs> {
    let names = [driver, "selvedge-relay", "selvedge-replicator"];
    let [driver, relay, replicator] = programs::build(&paths::root(), Selection::Workspace, names)?;
    Ok(Programs { driver, relay, replicator })
}

/// Starts the services, and answers the command of the driver on them.
pub(crate) fn on_stack(
    stack: &Stack,
    services: &[Service],
    programs: &Programs,
) -> anyhow::Result<std::process::Command> {
    stack.up_apart(services)?;
    let mut command = process::program(&programs.driver);
    command
        .envs(stack::environment(stack, services))
        .env("SELVEDGE_RELAY_BIN", &programs.relay)
        .env("SELVEDGE_REPLICATOR_BIN", &programs.replicator)
        // It starts services again that it has ended.
        .env("SELVEDGE_XTASK", paths::program()?);
    Ok(command)
}
