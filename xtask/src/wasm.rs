//! The browser's module and the npm package around it.
//!
//! Three steps, each skipped when its inputs are the same as last time: compile the module and write its bindings into
//! `client-wasm/ts/generated`; install the package's tools; optimise, compile TypeScript and put it all together in
//! `client-wasm/pkg`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::console::{human, say};
use crate::programs::Selection;
use crate::setup::{self, Tool, WasmToolchain};
use crate::stamp::Inputs;
use crate::{npm, paths, process, programs};

/// The npm project of the package.
pub(crate) const PACKAGE: &str = "client-wasm/ts";
/// Where the bindings go, and what they are called.
const GENERATED: &str = "client-wasm/ts/generated";
const NAME: &str = "selvedge";
/// Where the package is put together.
pub(crate) const OUTPUT: &str = "client-wasm/pkg";

/// The command `wasm`.
pub(crate) fn arguments() -> Command {
    Command::new("wasm")
        .about("Build the WebAssembly module and the npm package around it, into client-wasm/pkg")
        .arg(Arg::new("force").long("force").action(ArgAction::SetTrue).help("Build even when nothing has changed"))
}

/// Builds the package, tools included.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let (root, force) = (paths::root(), matches.get_flag("force"));
    module(&root, force)?;
    package(&root, force)
}

/// Compiles the module and writes its bindings.
pub(crate) fn module(root: &Path, force: bool) -> anyhow::Result<()> {
    let mut inputs = Inputs::new(root, "wasm module 3");
    for path in [
        "Cargo.toml",
        "Cargo.lock",
        "engine/Cargo.toml",
        "engine/src",
        "protocol/Cargo.toml",
        "protocol/src",
        "client-wasm/Cargo.toml",
        "client-wasm/src",
        "xtask/bindings",
    ] {
        inputs.add(path)?;
    }
    let generated = root.join(GENERATED);
    let stamp = inputs.stamp(generated.join(".stamp"));
    let outputs = ["js", "d.ts"].map(|end| generated.join(format!("{NAME}.{end}")));
    if !force && stamp.is_fresh(&outputs) {
        return Ok(());
    }
    setup::require(&Tool::FOR_PACKAGE)?;
    let toolchain = WasmToolchain::find().context("no WebAssembly toolchain")?;
    let begin = Instant::now();
    say("wasm", "compiling the browser's module (the first time with its standard library, about a minute)");
    let module = compile(root, toolchain)?;
    say("wasm", "writing its JavaScript bindings");
    stamp.forget();
    std::fs::create_dir_all(&generated)?;
    let [bindings] = programs::build(root, Selection::Package("xtask-bindings"), ["xtask-bindings"])?;
    process::run(process::program(bindings).arg(&module).arg(&generated).arg(NAME))?;
    stamp.keep()?;
    say("wasm", &format!("module and bindings in {GENERATED}, {}", human(begin.elapsed())));
    Ok(())
}

/// Puts the npm package together.
pub(crate) fn package(root: &Path, force: bool) -> anyhow::Result<()> {
    if !root.join(PACKAGE).join("package.json").is_file() {
        bail!("{PACKAGE}/package.json is not there");
    }
    let mut inputs = Inputs::new(root, "npm package 1");
    inputs.add(PACKAGE)?;
    inputs.add("protocol/vectors")?;
    inputs.add(&format!("{GENERATED}/.stamp"))?;
    let output = root.join(OUTPUT);
    let stamp = inputs.stamp(output.join(".stamp"));
    if !force && stamp.is_fresh(&[output.join("package.json")]) {
        return Ok(());
    }
    setup::require(&[Tool::Node, Tool::Npm])?;
    npm::install(root, PACKAGE)?;
    let begin = Instant::now();
    say("package", "optimising the module and compiling the TypeScript");
    stamp.forget();
    let told = process::output(process::program("node").arg("scripts/build.mjs").current_dir(root.join(PACKAGE)))?;
    for line in told.lines() {
        say("package", line);
    }
    stamp.keep()?;
    say("package", &format!("npm package in {OUTPUT}, {}", human(begin.elapsed())));
    Ok(())
}

/// Compiles the facade; returns the file cargo says it wrote.
fn compile(root: &Path, toolchain: WasmToolchain) -> anyhow::Result<PathBuf> {
    let mut command = toolchain.cargo_rustc();
    command
        .args(["--package", "selvedge-wasm", "--lib", "--profile", "wasm"])
        // The library for Rust that its tests link is left away: beside it cargo leaves what is generic unlinked by LTO.
        .args(["--crate-type", "cdylib"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root);
    process::cargo_messages(&mut command)?
        .iter()
        .filter(|message| message["target"]["name"] == "selvedge_wasm")
        .filter_map(|message| message["filenames"].as_array())
        .flatten()
        .filter_map(|file| file.as_str())
        .find(|file| file.ends_with(".wasm"))
        .map(PathBuf::from)
        .context("cargo named no module among what it built")
}
