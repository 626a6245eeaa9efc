//! Running other programs: to their end, quietly, or in place of this one. All are supervised; a deadline bounds them.

mod supervise;

pub(crate) use supervise::{Finished, Show, Supervised, obey_signals, signal_group};

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::paths;

/// What a program may take where nothing else is said.
const LIMIT: Duration = Duration::from_secs(3_600);

/// When all that is run now must be over.
static DEADLINE: Mutex<Option<Instant>> = Mutex::new(None);

/// Gives all that is run from now on this much time together.
pub(crate) fn set_limit(limit: Duration) {
    if let Ok(mut deadline) = DEADLINE.lock() {
        *deadline = Some(Instant::now() + limit);
    }
}

/// The time that is left for what is run now.
pub(crate) fn time_left() -> Duration {
    let deadline = DEADLINE.lock().ok().and_then(|deadline| *deadline);
    deadline.map_or(LIMIT, |deadline| deadline.saturating_duration_since(Instant::now()))
}

/// A cargo command on the project, with the build folder that [`paths::target`] names.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    cargo_of("cargo", arguments)
}

/// The same with a cargo other than the running one.
pub(crate) fn cargo_of(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    // What cargo said of this package when it started this program. Build scripts look at such variables, and what they
    // lead to would be compiled anew whenever somebody calls cargo by hand in between.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| name.to_string_lossy().starts_with(own)) {
            command.env_remove(name);
        }
    }
    if std::io::stderr().is_terminal() {
        // It writes into a pipe here, and would leave its colours away.
        command.env("CARGO_TERM_COLOR", "always");
    }
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

/// Runs a program to its end with its output in view, and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    finish(command, Show::Everything).map(drop)
}

/// Runs a program quietly and returns its standard output; on failure the end of it is in the error.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    finish(command, Show::Nothing)
}

fn finish(command: &mut Command, show: Show) -> anyhow::Result<String> {
    let finished = Supervised { limit: time_left(), show }.run(command)?;
    if !finished.succeeded() {
        let told = if show == Show::Nothing { format!(":\n{}", tail(&finished.output)) } else { String::new() };
        bail!("`{}` failed ({}){told}", line(command), finished.describe());
    }
    Ok(finished.stdout)
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
/// what the compiler says to people stays in view.
pub(crate) fn cargo_messages(command: &mut Command) -> anyhow::Result<Vec<serde_json::Value>> {
    let output = finish(command, Show::Prose)?;
    Ok(output.lines().filter_map(|message| serde_json::from_str(message).ok()).collect())
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
