//! npm projects of the checkout: their dependencies and their scripts.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::console::say;
use crate::process;
use crate::stamp::Inputs;

/// Installs a project's locked dependencies, unless they are there.
///
/// `node_modules` stays in the project (tools look for it there), filled from npm's cache, which all checkouts share.
pub(crate) fn install(root: &Path, project: &str) -> anyhow::Result<()> {
    let folder = root.join(project);
    let modules = folder.join("node_modules");
    let mut inputs = Inputs::new(root, "npm ci 1");
    inputs.add(&format!("{project}/package.json"))?;
    inputs.add(&format!("{project}/package-lock.json"))?;
    let stamp = inputs.stamp(modules.join(".selvedge-stamp"));
    if stamp.is_fresh(&[]) {
        return Ok(());
    }
    say("npm", &format!("installing the dependencies of {project}"));
    process::run(
        npm(&folder)
            .args(["ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"])
            // Other tools write there, too; npm's own summary is enough.
            .env("npm_config_update_notifier", "false"),
    )
    .with_context(|| format!("the dependencies of {project} could not be installed"))?;
    std::fs::create_dir_all(&modules)?;
    stamp.keep()
}

/// Whether a project has a script of this name.
pub(crate) fn has_script(root: &Path, project: &str, script: &str) -> bool {
    std::fs::read_to_string(root.join(project).join("package.json"))
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .is_some_and(|package| package["scripts"][script].is_string())
}

/// A script of a project, to be run.
pub(crate) fn script(root: &Path, project: &str, script: &str) -> Command {
    let mut command = npm(&root.join(project));
    command.args(["run", "--silent", script]);
    command
}

fn npm(folder: &PathBuf) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(folder);
    command
}
