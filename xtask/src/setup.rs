//! The tools the project needs: which are there, and how to get those that are not.
//!
//! On Debian and as root, what is missing is installed with apt; a Rust toolchain under rustup gets its target from
//! rustup. Whatever cannot be installed is named together with its fix. Nothing is done twice: when all is there, this
//! costs a few program starts.

mod apt;
mod tool;
mod toolchain;

pub(crate) use tool::{Tool, chromium};
pub(crate) use toolchain::WasmToolchain;

use anyhow::bail;

use crate::console::say;

/// Checks every tool and prints how each one stands.
pub(crate) fn run() -> anyhow::Result<()> {
    let missing = ensure(&Tool::ALL);
    for tool in Tool::ALL {
        if let Some(found) = tool.find() {
            say("found", &format!("{}: {found}", tool.name()));
        }
    }
    report(&missing)
}

/// Checks the named tools, installs those that are missing where it can, and fails with every fix for the rest.
pub(crate) fn require(tools: &[Tool]) -> anyhow::Result<()> {
    report(&ensure(tools))
}

/// Checks the named tools, installs those that are missing where it can, and returns those that still are.
pub(crate) fn ensure(tools: &[Tool]) -> Vec<Tool> {
    let absent = |tools: &[Tool]| -> Vec<Tool> { tools.iter().copied().filter(|tool| tool.find().is_none()).collect() };
    let missing = absent(tools);
    if missing.is_empty() {
        return missing;
    }
    let packages: Vec<&str> = missing.iter().flat_map(|tool| tool.packages()).copied().collect();
    if !packages.is_empty() && apt::usable() {
        apt::install(&packages);
    }
    let still = absent(&missing);
    if still.contains(&Tool::Wasm) && toolchain::add_with_rustup() {
        return absent(&still);
    }
    still
}

fn report(missing: &[Tool]) -> anyhow::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let fixes: Vec<String> = missing.iter().map(|tool| format!("  {}: {}", tool.name(), tool.fix())).collect();
    bail!("missing, and could not be installed from here:\n{}", fixes.join("\n"));
}
