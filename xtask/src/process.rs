//! Running other programs: to their end, quietly, instead of this one, or supervised.

mod supervise;

pub(crate) use supervise::{Finished, Supervised, obey_signals};

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::paths;

/// A cargo command on the project, with the build folder that [`paths::target`] names.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    cargo_of("cargo", arguments)
}

/// The same with a cargo other than the running one.
pub(crate) fn cargo_of(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(folder) = paths::target() {
        command.env("CARGO_TARGET_DIR", folder);
        // Nothing is compiled there twice from nearly the same sources: what that would need is left away.
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// A command for a program other than cargo.
pub(crate) fn program(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// Runs a program to its end with this program's own output, and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs a program quietly and returns its standard output; what it wrote is shown only when it fails.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        let both = [output.stdout, output.stderr].concat();
        bail!("`{}` failed ({}):\n{}", line(command), output.status, tail(&String::from_utf8_lossy(&both)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last lines of an output: the rest of a long one would hide what went wrong.
fn tail(text: &str) -> String {
    const LINES_MAX: usize = 60;
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let left = lines.len().saturating_sub(LINES_MAX);
    let note = if left > 0 { format!("({left} lines before these)\n") } else { String::new() };
    note + &lines[left..].join("\n")
}

/// Runs a cargo build whose messages are JSON (`--message-format=json-render-diagnostics`) and returns those messages;
/// what the compiler says goes to this program's own stderr.
pub(crate) fn cargo_messages(command: &mut Command) -> anyhow::Result<Vec<serde_json::Value>> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", line(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|message| serde_json::from_str(message).ok())
        .collect())
}

/// Becomes the program: signals, terminal and exit status are then its own. Returns only when it cannot be started.
pub(crate) fn become_program(command: &mut Command) -> anyhow::Error {
    let line = line(command);
    anyhow::Error::new(command.exec()).context(format!("cannot start `{line}`"))
}

/// Standard output of a program that is only asked something; `None` when it is missing or fails.
pub(crate) fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
