//! A release: what takes too long for every change is checked, then what people install is built.
//!
//! Nothing is published here. What lies in the folder afterwards was built from one commit, which passed all of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches};

use crate::console::{human, say};
use crate::setup::{self, Tool};
use crate::{paths, process, wasm};

/// The command lines of operators and writers, with the clients of a region's services.
const PROGRAMS: [(&str, &str); 3] = [
    ("selvedge-relay", "selvedge-relay"),
    ("selvedge-replicator", "selvedge-replicator"),
    ("selvedge-client", "selvedge"),
];
/// Ten times the histories of the test command.
const HISTORIES: &str = "100000";
/// Seeds of each shape of the simulator: four times the test command's of one relay, ten times those of the others.
const SEEDS: [(&str, &str); 3] = [("alone", "2000"), ("relays", "1000"), ("regions", "1000")];
/// The tests that replay what the fuzz targets keep, and seconds for which each of the targets then runs on inputs damaged at random.
/// Nobody guides these as a fuzzer does, which wants another toolchain: `fuzz/README.md` says how that is run.
const TARGETS: [(&str, &str); 3] =
    [("selvedge-protocol", "fuzz"), ("selvedge-region", "embedded"), ("selvedge-client", "client")];
const DAMAGE_SECONDS: &str = "120";
/// Time for each of the steps.
const STEP_LIMIT: Duration = Duration::from_secs(3 * 3_600);

/// The command `release`.
pub(crate) fn arguments() -> clap::Command {
    clap::Command::new("release")
        .about("Check a commit at length, then build its programs and npm package, with checksums")
        .arg(
            Arg::new("out")
                .long("out")
                .value_name("DIR")
                .value_parser(clap::value_parser!(PathBuf))
                .default_value("target/dist")
                .help("Where the programs, the package and SHA256SUMS go"),
        )
        .arg(
            Arg::new("checked")
                .long("checked")
                .action(ArgAction::SetTrue)
                .help("The commit has passed the checks: only build"),
        )
}

/// Checks and builds.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let root = paths::root();
    let commit = commit(&root)?;
    let begin = Instant::now();
    if !matches.get_flag("checked") {
        check(&root)?;
    }
    let out = root.join(matches.get_one::<PathBuf>("out").context("no folder")?);
    build(&root, &out)?;
    say("release", &format!("{commit} is in {}, {}", out.display(), human(begin.elapsed())));
    Ok(())
}

/// The commit of the checkout, which must hold nothing else.
fn commit(root: &Path) -> anyhow::Result<String> {
    let git = |arguments: &[&str]| process::output(process::program("git").args(arguments).current_dir(root));
    let changed = git(&["status", "--porcelain"])?;
    if !changed.is_empty() {
        bail!("a release is built from a commit, and these files differ from it:\n{changed}");
    }
    Ok(git(&["describe", "--always", "--tags"])?.trim().to_owned())
}

/// What the test command does, and more of what it draws at random.
fn check(root: &Path) -> anyhow::Result<()> {
    let own = paths::program()?;
    step("every test", process::program(&own).arg("test"))?;
    let histories = ["test", "--package", "selvedge-engine", "--test", "histories", "--", "--nocapture"];
    step("random histories", process::cargo(&histories).current_dir(root).env("SELVEDGE_HISTORIES", HISTORIES))?;
    for (package, suite) in TARGETS {
        let damages = ["test", "--package", package, "--test", suite, "--", "damaged_at_length", "--nocapture"];
        let mut command = process::cargo(&damages);
        step("damaged inputs", command.current_dir(root).env("SELVEDGE_DAMAGE_SECONDS", DAMAGE_SECONDS))?;
    }
    for (shape, seeds) in SEEDS {
        step("the simulator", process::program(&own).args(["sim", "--shape", shape, "--seeds", seeds]))?;
    }
    Ok(())
}

fn step(what: &str, command: &mut Command) -> anyhow::Result<()> {
    process::set_limit(STEP_LIMIT);
    say("release", &format!("{what}: {}", process::line(command)));
    process::run(command)
}

/// Builds the programs one by one, so that each has no features but its own, and the package.
fn build(root: &Path, out: &Path) -> anyhow::Result<()> {
    process::set_limit(STEP_LIMIT);
    setup::require(&[Tool::C, Tool::Make])?;
    std::fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
    let mut files = Vec::new();
    for (package, name) in PROGRAMS {
        say("release", &format!("compiling {name}"));
        let program = program(root, package, name)?;
        std::fs::copy(&program, out.join(name)).with_context(|| format!("{} cannot be copied", program.display()))?;
        files.push(name.to_owned());
    }
    wasm::module(root, false)?;
    wasm::package(root, false)?;
    let mut pack = process::program("npm");
    pack.args(["pack", "--silent", "--pack-destination"]).arg(out).current_dir(root.join(wasm::OUTPUT));
    files.push(process::output(&mut pack)?.trim().to_owned());
    checksums(out, &files)
}

fn program(root: &Path, package: &str, name: &str) -> anyhow::Result<PathBuf> {
    let arguments =
        ["build", "--release", "--message-format=json-render-diagnostics", "--package", package, "--bin", name];
    process::cargo_messages(process::cargo(&arguments).current_dir(root))?
        .iter()
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str())
        .map(PathBuf::from)
        .with_context(|| format!("cargo did not name the program {name} among what it built"))
}

/// Writes the files' digests, for `sha256sum --check`.
fn checksums(out: &Path, files: &[String]) -> anyhow::Result<()> {
    let told = process::output(process::program("sha256sum").args(files).current_dir(out))?;
    std::fs::write(out.join("SHA256SUMS"), told).context("the checksums cannot be written")
}

#[cfg(test)]
mod tests {
    use super::checksums;

    #[test]
    fn a_missing_file_is_no_release() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("abc"), "abc").unwrap();
        checksums(folder.path(), &["abc".to_owned()]).unwrap();
        let told = std::fs::read_to_string(folder.path().join("SHA256SUMS")).unwrap();
        assert_eq!(told, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  abc\n");
        assert!(checksums(folder.path(), &["gone".to_owned()]).is_err());
    }
}
