//! The test command: every suite of the project, cheap ones first, each announced, bounded and counted.
//!
//! A suite that fails does not stop the others. The last line printed is the sum over all suites.

mod drill;
mod infra;
mod node;
mod region;
mod regions;
mod rust;
mod suite;
mod tally;
mod tidy;

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::console::{human, say};
use crate::programs::Selection;
use crate::setup::{self, Tool};
use crate::{ci, paths, process};

use suite::{SUITES, Suite, Workshop};
use tally::Tally;

/// The command `test`.
pub(crate) fn arguments() -> Command {
    Command::new("test")
        .about("Run the tests of the project")
        .arg(
            Arg::new("only")
                .long("only")
                .value_name("SUITE")
                .action(ArgAction::Append)
                .help("Run this suite only; may be given several times"),
        )
        .arg(Arg::new("embedded").long("embedded").action(ArgAction::SetTrue).conflicts_with("only").help(
            "Leave out a region's services: the suites that start them, and their clients, which take long to compile",
        ))
        .arg(Arg::new("list").long("list").action(ArgAction::SetTrue).help("List the suites and end"))
        .arg(
            Arg::new("times")
                .long("times")
                .action(ArgAction::SetTrue)
                .help("End with a table of what each suite took to compile and to run, beside its budget"),
        )
}

/// One suite's outcome.
struct Report {
    suite: &'static Suite,
    tally: Tally,
    /// Compiling, installing, starting services.
    prepared: Duration,
    /// The tests.
    took: Duration,
}

/// Runs the suites.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    if matches.get_flag("list") {
        for suite in SUITES {
            println!("{:8}  {}", suite.name, suite.what);
        }
        return Ok(());
    }
    let mut suites = choose(&matches.get_many("only").into_iter().flatten().cloned().collect::<Vec<String>>())?;
    let embedded = matches.get_flag("embedded");
    suites.retain(|suite| !embedded || !suite.is_on_services());
    let begin = Instant::now();
    let root = paths::root();
    let _hold = ci::hold_target(&root)?;
    let mut needed: Vec<Tool> = Tool::ALL.to_vec();
    needed.retain(|tool| suites.iter().any(|suite| suite.needs.contains(tool)));
    let missing = setup::ensure(&needed);

    let mut workshop = Workshop::new(root, if embedded { Selection::Embedded } else { Selection::Workspace });
    let mut reports = Vec::new();
    for suite in suites {
        say(suite.name, suite.what);
        let started = Instant::now();
        let tally = attempt(suite, &mut workshop, &missing);
        let prepared = workshop.take_prepared();
        let took = started.elapsed().saturating_sub(prepared);
        let report = Report { suite, tally, prepared, took };
        tell(&report);
        reports.push(report);
    }
    conclude(&reports, matches.get_flag("times"), begin.elapsed())
}

fn choose(only: &[String]) -> anyhow::Result<Vec<&'static Suite>> {
    for name in only {
        if !SUITES.iter().any(|suite| suite.name == name) {
            let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
            bail!("--only {name}: there is no such suite; the suites are {}", names.join(", "));
        }
    }
    let is_chosen = |suite: &Suite| only.is_empty() || only.iter().any(|name| name == suite.name);
    Ok(SUITES.iter().filter(|suite| is_chosen(suite)).collect())
}

/// Runs one suite; whatever goes wrong is one more failure, and whatever is missing is named.
fn attempt(suite: &'static Suite, workshop: &mut Workshop, missing: &[Tool]) -> Tally {
    if let Some(tool) = suite.needs.iter().find(|tool| missing.contains(tool)) {
        let what = format!("{}: {} is missing; {}", suite.name, tool.name(), tool.fix());
        // On a machine that tests every change, an untested suite must not look like a tested one.
        return if std::env::var_os("CI").is_some() { Tally::fail(what) } else { Tally::skip(what) };
    }
    workshop.suite = suite.name;
    process::set_limit(suite.limit);
    match (suite.run)(workshop) {
        Ok(tally) if tally.total() == 0 => Tally::fail(format!("{}: ran no test", suite.name)),
        Ok(tally) => tally,
        Err(error) => Tally::fail(format!("{}: {error:#}", suite.name)),
    }
}

fn tell(Report { suite, tally, prepared, took }: &Report) {
    for failure in &tally.failures {
        say("FAILED", failure);
    }
    for skip in &tally.skips {
        say("skipped", skip);
    }
    let late =
        if *took > suite.budget { format!(", over its budget of {}", human(suite.budget)) } else { String::new() };
    let before =
        if prepared.as_secs() > 0 { format!(" after {} of preparing", human(*prepared)) } else { String::new() };
    let Tally { passed, failed, skipped, .. } = tally;
    say(suite.name, &format!("{passed} passed, {failed} failed, {skipped} skipped in {}{late}{before}", human(*took)));
}

fn conclude(reports: &[Report], times: bool, took: Duration) -> anyhow::Result<()> {
    let mut sum = Tally::default();
    for report in reports {
        sum.add(report.tally.clone());
    }
    if times {
        println!("\n{:8}  {:>12}  {:>12}  {:>12}  {:>7}", "suite", "preparing", "tests took", "budget", "tests");
        for Report { suite, tally, prepared, took } in reports {
            let (prepared, took, budget) = (human(*prepared), human(*took), human(suite.budget));
            println!("{:8}  {prepared:>12}  {took:>12}  {budget:>12}  {:>7}", suite.name, tally.total());
        }
        println!("{:8}  {:>12}", "all", human(took));
    }
    if !sum.failures.is_empty() {
        eprintln!();
        for failure in &sum.failures {
            say("FAILED", failure);
        }
    }
    println!("\n{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    if sum.failed > 0 {
        // The counts above are the last words; the exit status says the rest.
        std::process::exit(1);
    }
    Ok(())
}
