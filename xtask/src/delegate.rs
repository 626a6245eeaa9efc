//! Chores that are programs of their own: compiled, then run in place of this one.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Command};

use crate::console::say;
use crate::programs::Selection;
use crate::setup::{self, Tool};
use crate::stack::{self, Service, Stack};
use crate::{demo, drill, npm, paths, process, programs};

/// The command `sim`.
pub(crate) fn sim_arguments() -> Command {
    handed_on("sim", "Simulate the whole system, with faults, from seeds")
}

/// Replays a recorded session in two regions on the local stack.
fn replay_on_stack(rest: Vec<OsString>) -> anyhow::Result<()> {
    say(
        "build",
        "compiling replay, relay and replicator with the clients of the services (the first time some minutes)",
    );
    let programs = drill::build("replay")?;
    if wants_help(&rest) {
        return Err(process::become_program(process::program(&programs.driver).args(rest)));
    }
    let mut command = drill::on_stack(&Stack::at(stack::PORTS, None), &Service::all(), &programs)?;
    if wants_browsers(&rest) {
        with_browsers(&mut command)?;
    }
    command.args(rest);
    Err(process::become_program(&mut command))
}

/// Whether the program only says what it can do, for which nothing has to be started.
pub(crate) fn wants_help(rest: &[OsString]) -> bool {
    rest.iter().any(|option| option == "--help" || option == "-h")
}

fn wants_browsers(rest: &[OsString]) -> bool {
    rest.iter().any(|option| option == "--browsers")
}

/// Builds the page, and tells the replay of it and of a browser.
fn with_browsers(command: &mut std::process::Command) -> anyhow::Result<()> {
    let root = paths::root();
    setup::require(&[Tool::Node, Tool::Npm, Tool::Chromium])?;
    demo::site(&root)?;
    npm::install(&root, demo::BROWSER)?;
    command.env("SELVEDGE_WEB", root.join(demo::WEB).join("dist"));
    command.env("SELVEDGE_BROWSER_TESTS", root.join(demo::BROWSER));
    if let Some(browser) = setup::chromium() {
        command.env("SELVEDGE_CHROMIUM", browser);
    }
    Ok(())
}

/// The command `replay`.
pub(crate) fn replay_arguments() -> Command {
    handed_on(
        "replay",
        "Replay a recorded editing session through two real clients (--browsers: two browsers; --stack: two regions)",
    )
}

/// A command whose options, `--help` included, are those of the program it starts.
pub(crate) fn handed_on(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).disable_help_flag(true).arg(
        Arg::new("rest")
            .num_args(0..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .value_name("OPTIONS")
            .value_parser(clap::value_parser!(OsString)),
    )
}

pub(crate) fn rest(matches: &ArgMatches) -> Vec<OsString> {
    matches.get_many("rest").into_iter().flatten().cloned().collect()
}

/// The simulator.
pub(crate) fn sim(matches: &ArgMatches) -> anyhow::Result<()> {
    say("build", "compiling the simulator");
    let [sim] = programs::build(&paths::root(), Selection::Workspace, ["sim"])?;
    Err(process::become_program(process::program(sim).args(rest(matches))))
}

/// Replays a recorded session through real clients: native ones, or with `--browsers` two headless pages.
pub(crate) fn replay(matches: &ArgMatches) -> anyhow::Result<()> {
    let (root, rest) = (paths::root(), rest(matches));
    if rest.iter().any(|option| option == "--stack") {
        return replay_on_stack(rest);
    }
    say("build", "compiling the replay and the relay");
    let [replay, relay] = programs::build(&root, Selection::Workspace, ["replay", "selvedge-relay"])?;
    let mut command = process::program(replay);
    command.args(&rest).env("SELVEDGE_RELAY_BIN", relay);
    if wants_browsers(&rest) {
        with_browsers(&mut command)?;
    }
    Err(process::become_program(&mut command))
}
