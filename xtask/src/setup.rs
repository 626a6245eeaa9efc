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

/// The command `setup`.
pub(crate) fn arguments() -> clap::Command {
    clap::Command::new("setup")
        .about("Check every tool the project needs; install what is missing, or name it with its fix")
}

/// Checks every tool and prints how each one stands.
pub(crate) fn run() -> anyhow::Result<()> {
    let standing = settle(&Tool::ALL);
    for (tool, found) in &standing {
        if let Some(found) = found {
            say("found", &format!("{}: {found}", tool.name()));
        }
    }
    report(&absent(&standing))
}

/// Checks the named tools, installs those that are missing where it can, and fails with every fix for the rest.
pub(crate) fn require(tools: &[Tool]) -> anyhow::Result<()> {
    report(&ensure(tools))
}

/// Checks the named tools, installs those that are missing where it can, and returns those that still are.
pub(crate) fn ensure(tools: &[Tool]) -> Vec<Tool> {
    absent(&settle(tools))
}

/// A tool, and what was found of it.
type Standing = Vec<(Tool, Option<String>)>;

fn settle(tools: &[Tool]) -> Standing {
    let mut standing = look(tools);
    let missing = absent(&standing);
    if missing.iter().any(|tool| !tool.packages().is_empty()) && apt::usable() {
        let packages: Vec<&str> = missing
            .iter()
            .filter(|tool| !tool.is_too_old_in(apt::version))
            .flat_map(|tool| tool.packages())
            .copied()
            .collect();
        apt::install(&packages);
        renew(&mut standing);
    }
    if absent(&standing).contains(&Tool::Wasm) && toolchain::add_with_rustup() {
        renew(&mut standing);
    }
    standing
}

/// Looks for all tools at once: each is a program to start, and some of them start slowly.
fn look(tools: &[Tool]) -> Standing {
    std::thread::scope(|scope| {
        let looking: Vec<_> = tools.iter().map(|tool| (*tool, scope.spawn(|| tool.find()))).collect();
        // One that panicked has found nothing.
        looking.into_iter().map(|(tool, found)| (tool, found.join().unwrap_or_default())).collect()
    })
}

fn renew(standing: &mut Standing) {
    for (tool, found) in look(&absent(standing)) {
        if let Some(entry) = standing.iter_mut().find(|(own, _)| *own == tool) {
            entry.1 = found;
        }
    }
}

fn absent(standing: &Standing) -> Vec<Tool> {
    standing.iter().filter(|(_, found)| found.is_none()).map(|(tool, _)| *tool).collect()
}

fn report(missing: &[Tool]) -> anyhow::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let fixes: Vec<String> = missing.iter().map(|tool| format!("{:11}{}: {}", "", tool.name(), tool.fix())).collect();
    bail!("missing, and could not be installed from here:\n{}", fixes.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_fix() {
        assert!(report(&[]).is_ok());
        let told = report(&Tool::ALL).expect_err("everything is missing").to_string();
        for tool in Tool::ALL {
            let line = format!("{}: {}", tool.name(), tool.fix());
            assert!(!tool.fix().is_empty() && told.contains(&line), "{line:?} is not in {told}");
        }
    }
}
