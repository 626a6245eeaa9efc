//! The demo: one command from a clone to an editor in the browser.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::console::{human, say};
use crate::programs::Selection;
use crate::setup::{self, Tool};
use crate::stack::{self, Service, Stack};
use crate::stamp::Inputs;
use crate::{drill, npm, paths, process, programs, wasm};

/// The npm project of the demo's page.
pub(crate) const WEB: &str = "web-demo";
/// The npm project of the tests in a browser.
pub(crate) const BROWSER: &str = "tests/browser";

/// The command `demo`.
pub(crate) fn arguments() -> Command {
    Command::new("demo")
        .about("Build everything the demo needs, start it, and print its address")
        .arg(
            Arg::new("port")
                .long("port")
                .value_parser(clap::value_parser!(u16).range(1..65535))
                .default_value("4400")
                .help("The port of the page and of the relay; health and metrics are on the next one"),
        )
        .arg(
            Arg::new("data")
                .long("data")
                .value_name("DIR")
                .value_parser(clap::value_parser!(PathBuf))
                .default_value("selvedge-data")
                .help("The folder the relay keeps documents in"),
        )
        .arg(
            Arg::new("regions")
                .long("regions")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["data", "rest"])
                .help("Two regions on the local stack side by side, with buttons that cut, kill and switch"),
        )
        .arg(
            Arg::new("rest")
                .last(true)
                .num_args(0..)
                .value_name("RELAY OPTIONS")
                .value_parser(clap::value_parser!(OsString))
                .help("More options for the relay"),
        )
}

/// Builds what is not built, then becomes the relay that serves it.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let root = paths::root();
    site(&root)?;
    if matches.get_flag("regions") {
        return regions(&root, matches);
    }
    say("relay", "compiling the relay (the first time with all it stands on, some minutes)");
    let [relay] = programs::build(&root, Selection::Embedded, ["selvedge-relay"])?;
    let port: u16 = *matches.get_one("port").context("no port")?;
    let data: &PathBuf = matches.get_one("data").context("no data folder")?;
    let mut command = process::program(relay);
    command
        .arg("serve")
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--admin", &format!("127.0.0.1:{}", port + 1)])
        .arg("--data")
        .arg(data)
        .arg("--web")
        .arg(root.join(WEB).join("dist"))
        .args(matches.get_many::<OsString>("rest").into_iter().flatten());
    say("demo", "starting the relay; Ctrl-C ends it");
    // From here on the process is the relay: it prints the address, and Ctrl-C is its to handle.
    Err(process::become_program(&mut command))
}

/// Starts two regions, and becomes the program that shows them.
fn regions(root: &Path, matches: &ArgMatches) -> anyhow::Result<()> {
    say("build", "compiling relay and replicator with the clients of the services (the first time some minutes)");
    let programs = drill::build("regions")?;
    let stack = Stack::at(stack::PORTS, None);
    let mut command = drill::on_stack(&stack, &Service::all(), &programs)?;
    let port: u16 = *matches.get_one("port").context("no port")?;
    command.args(["--port", &port.to_string(), "--web"]).arg(root.join(WEB).join("dist"));
    say("demo", "starting two regions; Ctrl-C ends them, `cargo xtask stack down` their services");
    Err(process::become_program(&mut command))
}

/// Builds the demo's page, and the npm package it stands on.
pub(crate) fn site(root: &Path) -> anyhow::Result<()> {
    wasm::module(root, false)?;
    wasm::package(root, false)?;
    let mut inputs = Inputs::new(root, "web demo 1");
    inputs.add(WEB)?;
    inputs.add("client-wasm/pkg/.stamp")?;
    let output = root.join(WEB).join("dist");
    let stamp = inputs.stamp(output.join(".stamp"));
    if stamp.is_fresh(&[output.join("index.html")]) {
        return Ok(());
    }
    setup::require(&[Tool::Node, Tool::Npm])?;
    npm::install(root, WEB)?;
    let begin = Instant::now();
    say("page", "building the demo's page");
    stamp.forget();
    process::output(&mut npm::script(root, WEB, "bundle"))?;
    stamp.keep()?;
    say("page", &format!("the page is in {WEB}/dist, {}", human(begin.elapsed())));
    Ok(())
}
