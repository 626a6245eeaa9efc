//! The suites written in Rust.
//!
//! Everything is compiled once, with one choice of features; the test programs are then run one by one, so that each is
//! timed, bounded and counted by itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::process;
use crate::programs::Selection;
use crate::setup::{self, Tool};

use super::suite::Workshop;
use super::tally::Tally;

/// Seeds of the simulator that the test command runs.
const SIM_SEEDS: &str = "500";
/// Seeds of worlds with several relays on one region's log, and of those with two regions: enough that every kind of fault comes.
const SIM_SEEDS_GREATER: &str = "100";
/// Test programs of this name start real processes and wrong them: they run in view, with more time.
const FAULTS: &str = "faults";
/// Those of this name need a region's services.
const REGIONAL: &str = "regional";

/// Address space of one test program: one that runs away shall fail by itself, not take the machine with it.
const MEMORY_KIB_MAX: u64 = 12 << 20;

/// What cargo made of the workspace.
pub(super) struct Built {
    programs: Vec<(String, PathBuf)>,
    tests: Vec<TestProgram>,
}

/// A compiled test program.
pub(super) struct TestProgram {
    package: String,
    /// The cargo target: a crate's own name, or a file in its `tests` folder.
    target: String,
    executable: PathBuf,
    folder: PathBuf,
}

impl Built {
    /// Compiles libraries, programs and tests of what is selected.
    pub(super) fn make(root: &Path, selection: Selection) -> anyhow::Result<Self> {
        let mut command = process::cargo(&["build", "--lib", "--bins", "--tests"]);
        command.args(selection.arguments()).arg("--message-format=json-render-diagnostics").current_dir(root);
        let mut built = Built { programs: Vec::new(), tests: Vec::new() };
        for message in process::cargo_messages(&mut command)? {
            built.note(&message);
        }
        built.tests.sort_by(|a, b| (&a.package, &a.target).cmp(&(&b.package, &b.target)));
        Ok(built)
    }

    fn note(&mut self, message: &serde_json::Value) -> Option<()> {
        let executable = PathBuf::from(message["executable"].as_str()?);
        let target = message["target"]["name"].as_str()?.to_owned();
        if message["profile"]["test"].as_bool()? {
            let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf();
            let package = package_name(message["package_id"].as_str()?)?;
            self.tests.push(TestProgram { package, target, executable, folder });
        } else {
            self.programs.push((target, executable));
        }
        Some(())
    }

    /// The compiled test programs.
    pub(super) fn tests(&self) -> &[TestProgram] {
        &self.tests
    }

    /// The compiled program of this name.
    pub(super) fn program(&self, name: &str) -> Option<&Path> {
        self.programs.iter().find(|(own, _)| own == name).map(|(_, executable)| executable.as_path())
    }
}

impl TestProgram {
    /// Whether it belongs to the suite `faults`.
    fn is_fault_test(&self) -> bool {
        self.target == FAULTS
    }

    /// Whether it belongs to the suite `region`.
    pub(super) fn is_regional(&self) -> bool {
        self.target == REGIONAL
    }

    pub(super) fn name(&self) -> String {
        if self.target.replace('_', "-") == self.package {
            self.package.clone()
        } else {
            format!("{} {}", self.package, self.target)
        }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -v {MEMORY_KIB_MAX}; exec \"$0\" \"$@\"")])
            .arg(&self.executable)
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }
}

/// The name in a package id such as `path+file:///somewhere/engine#selvedge-engine@0.1.0` or `...engine#0.1.0`.
fn package_name(id: &str) -> Option<String> {
    let (place, rest) = id.rsplit_once('#')?;
    let name = match rest.split_once('@') {
        Some((name, _)) => name,
        None => place.rsplit('/').next()?,
    };
    Some(name.to_owned())
}

/// `cargo fmt --check`.
pub(super) fn fmt(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    let mut command = process::cargo(&["fmt", "--all", "--check", "--", "-l"]);
    workshop.check("cargo fmt --all --check", command.current_dir(&workshop.root))
}

/// `cargo clippy`, every warning a failure.
pub(super) fn clippy(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    let mut sum = Tally::default();
    let embedded: &[(&str, &[&str])] =
        &[("cargo clippy without the services' clients", &["--no-default-features", "--all-targets"])];
    let everything: &[(&str, &[&str])] = &[
        ("cargo clippy", &["--all-targets"]),
        // What the demo starts with.
        ("cargo clippy without the services' clients", &["--no-default-features", "--lib", "--bins"]),
    ];
    for &(what, selection) in if workshop.selection == Selection::Embedded { embedded } else { everything } {
        let mut command = process::cargo(&["clippy", "--workspace", "--quiet"]);
        command.args(selection).args(["--", "-D", "warnings"]).current_dir(&workshop.root);
        // The linter is a compiler: what it takes depends on what it did before.
        sum.add(workshop.check_compiling(what, &mut command)?);
    }
    Ok(sum)
}

/// Compiles everything.
pub(super) fn build(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    workshop.built()?;
    Ok(Tally::pass())
}

/// Every test program but those of the suites `faults` and `region`, then the examples in the documentation.
pub(super) fn tests(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    let built = workshop.built()?;
    let mut sum = Tally::default();
    for test in built.tests.iter().filter(|test| !test.is_fault_test() && !test.is_regional()) {
        sum.add(workshop.count_quietly(&test.name(), &mut test.command())?);
    }
    let mut command = process::cargo(&["test", "--doc", "--quiet"]);
    command.args(workshop.selection.arguments()).current_dir(&workshop.root);
    sum.add(workshop.count_quietly("documentation examples", &mut command)?);
    Ok(sum)
}

/// Whole-system tests on real processes.
pub(super) fn faults(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    // Without it one test skips itself, by name.
    setup::ensure(&[Tool::Network]);
    let built = workshop.built()?;
    let mut sum = Tally::default();
    for test in built.tests.iter().filter(|test| test.is_fault_test()) {
        // What it measures and what it skips is told.
        sum.add(workshop.count(&test.name(), test.command().arg("--nocapture"))?);
    }
    Ok(sum)
}

/// The simulator.
pub(super) fn sim(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    let program =
        workshop.built()?.program("sim").context("the simulator's program `sim` was not built")?.to_path_buf();
    let mut sum = Tally::default();
    let shapes = [
        ("sim", "alone", SIM_SEEDS),
        ("sim relays", "relays", SIM_SEEDS_GREATER),
        ("sim regions", "regions", SIM_SEEDS_GREATER),
    ];
    for (name, shape, seeds) in shapes {
        let mut command = Command::new(&program);
        command.args(["--shape", shape, "--seeds", seeds]).current_dir(&workshop.root);
        sum.add(workshop.count(name, &mut command)?);
    }
    Ok(sum)
}
