//! Compiling the project's own programs.
//!
//! Always with the whole workspace selected, whatever the program: cargo chooses the features of dependencies by what is
//! selected, and with another choice it would compile most of them a second time.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::process;
use crate::setup::{self, Tool};

/// Compiles programs of the workspace and returns where they are, in the order they were named.
pub(crate) fn build<const N: usize>(root: &Path, names: [&str; N]) -> anyhow::Result<[PathBuf; N]> {
    build_with(root, names, &[])
}

/// The same, with features of packages, such as `selvedge-relay/regional`.
pub(crate) fn build_with<const N: usize>(
    root: &Path,
    names: [&str; N],
    features: &[&str],
) -> anyhow::Result<[PathBuf; N]> {
    let needed: &[Tool] = if features.is_empty() { &[Tool::C] } else { &[Tool::C, Tool::Make] };
    setup::require(needed)?;
    let mut command = process::cargo(&["build", "--workspace", "--message-format=json-render-diagnostics"]);
    for name in names {
        command.args(["--bin", name]);
    }
    for feature in features {
        command.args(["--features", feature]);
    }
    let messages = process::cargo_messages(command.current_dir(root))?;
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
