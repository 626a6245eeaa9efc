//! Chores that are programs of their own: compiled, then run in place of this one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Args;

use crate::console::say;
use crate::setup::{self, Tool};
use crate::{demo, npm, paths, process};

/// Options that the program itself knows; `--help` shows them.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Handed on as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    rest: Vec<OsString>,
}

/// The simulator.
pub(crate) fn sim(options: &Options) -> anyhow::Result<()> {
    let [sim] = programs(&paths::root(), ["sim"])?;
    Err(process::become_program(Command::new(sim).args(&options.rest)))
}

/// Replays a recorded session through real clients: native ones, or with `--browsers` two headless pages.
pub(crate) fn replay(options: &Options) -> anyhow::Result<()> {
    let root = paths::root();
    let [replay, relay] = programs(&root, ["replay", "selvedge-relay"])?;
    let mut command = Command::new(replay);
    command.args(&options.rest).env("SELVEDGE_RELAY_BIN", relay);
    if options.rest.iter().any(|option| option == "--browsers") {
        setup::require(&[Tool::Node, Tool::Npm, Tool::Chromium])?;
        demo::site(&root)?;
        npm::install(&root, demo::BROWSER)?;
        command.env("SELVEDGE_WEB", root.join(demo::WEB).join("dist"));
        command.env("SELVEDGE_BROWSER_TESTS", root.join(demo::BROWSER));
        if let Some(browser) = setup::chromium() {
            command.env("SELVEDGE_CHROMIUM", browser);
        }
    }
    Err(process::become_program(&mut command))
}

/// Compiles programs of the workspace and returns where they are, in the order they were named.
fn programs<const N: usize>(root: &Path, names: [&str; N]) -> anyhow::Result<[PathBuf; N]> {
    setup::require(&[Tool::C])?;
    let mut command = process::cargo(&["build", "--package", "selvedge-tests", "--package", "selvedge-relay"]);
    for name in names {
        command.args(["--bin", name]);
    }
    command.arg("--message-format=json-render-diagnostics").current_dir(root);
    say("build", &format!("compiling {}", names.join(" and ")));
    let messages = process::cargo_messages(&mut command)?;
    let mut found = names.map(|_| PathBuf::new());
    for (name, program) in names.iter().zip(&mut found) {
        *program = messages
            .iter()
            .filter(|message| message["target"]["name"] == *name)
            .find_map(|message| message["executable"].as_str())
            .map(PathBuf::from)
            .with_context(|| format!("cargo did not name the program {name} among what it built"))?;
    }
    Ok(found)
}
