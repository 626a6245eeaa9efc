//! The demo: one command from a clone to an editor in the browser.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use clap::Args;

use crate::console::{human, say};
use crate::setup::{self, Tool};
use crate::stamp::Inputs;
use crate::{npm, paths, process, wasm};

/// The npm project of the demo's page.
pub(crate) const WEB: &str = "web-demo";
/// The npm project of the tests in a browser.
pub(crate) const BROWSER: &str = "tests/browser";

/// Where the demo listens and what it keeps.
#[derive(Args)]
pub(crate) struct Options {
    /// The port of the page and of the relay; its health and metrics are on the next one.
    #[arg(long, default_value_t = 4400, value_parser = clap::value_parser!(u16).range(1..65535))]
    port: u16,
    /// The folder the relay keeps documents in.
    #[arg(long, value_name = "DIR", default_value = "selvedge-data")]
    data: PathBuf,
    /// More options for the relay.
    #[arg(last = true, value_name = "RELAY OPTIONS")]
    rest: Vec<OsString>,
}

/// Builds what is not built, then becomes the relay that serves it.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = paths::root();
    site(&root)?;
    let relay = relay(&root)?;
    let mut command = Command::new(relay);
    command
        .arg("serve")
        .args(["--listen", &format!("127.0.0.1:{}", options.port)])
        .args(["--admin", &format!("127.0.0.1:{}", options.port + 1)])
        .arg("--data")
        .arg(&options.data)
        .arg("--web")
        .arg(root.join(WEB).join("dist"))
        .args(&options.rest);
    say("demo", "starting the relay; Ctrl-C ends it");
    // From here on the process is the relay: it prints the address, and Ctrl-C is its to handle.
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

/// Compiles the relay; returns its program.
pub(crate) fn relay(root: &Path) -> anyhow::Result<PathBuf> {
    setup::require(&[Tool::C])?;
    let mut command = process::cargo(&["build", "--package", "selvedge-relay", "--bin", "selvedge-relay"]);
    command.arg("--message-format=json-render-diagnostics").current_dir(root);
    say("relay", "compiling the relay (the first time with all it stands on, a few minutes)");
    process::cargo_messages(&mut command)?
        .iter()
        .filter_map(|message| message["executable"].as_str())
        .map(PathBuf::from)
        .next_back()
        .context("cargo named no program among what it built")
}
