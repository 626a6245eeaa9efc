//! Compiling the project's own programs.
//!
//! Cargo chooses the features of dependencies by what is selected, and compiles most of them again for another choice. So
//! there are three selections and no more, and nearly everything is compiled with the first.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::process;
use crate::setup::{self, Tool};

/// What is compiled and tested together. The tool that writes the module's bindings is not among it: it is compiled by itself
/// when it is needed, and with it some dependencies would have other features.
const TOGETHER: [&str; 3] = ["--workspace", "--exclude", "xtask-bindings"];

/// What is selected together with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    /// The whole workspace, as the tests are compiled.
    Workspace,
    /// The whole workspace without the clients of a region's services, which take minutes to compile: what starts soonest
    /// on a new machine.
    Embedded,
    /// The package of this name alone: a tool that shares next to nothing with the rest.
    Package(&'static str),
}

impl Selection {
    pub(crate) fn arguments(self) -> Vec<&'static str> {
        match self {
            Selection::Workspace => TOGETHER.to_vec(),
            Selection::Embedded => [&TOGETHER[..], &["--no-default-features"]].concat(),
            Selection::Package(name) => vec!["--package", name],
        }
    }

    fn needs(self) -> &'static [Tool] {
        match self {
            Selection::Workspace => &[Tool::C, Tool::Make],
            Selection::Embedded | Selection::Package(_) => &[Tool::C],
        }
    }
}

/// Compiles programs and returns where they are, in the order they were named.
pub(crate) fn build<const N: usize>(
    root: &Path,
    selection: Selection,
    names: [&str; N],
) -> anyhow::Result<[PathBuf; N]> {
    setup::require(selection.needs())?;
    let mut command = process::cargo(&["build", "--message-format=json-render-diagnostics"]);
    command.args(selection.arguments());
    for name in names {
        command.args(["--bin", name]);
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
