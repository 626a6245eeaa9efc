//! Invariants of absence: what the project promises is not there, checked on the checkout itself.
//!
//! `ARCHITECTURE.md` states them; each is one check here, and names every place that breaks it.

mod licences;
mod sources;
mod workspace;

use super::suite::Workshop;
use super::tally::Tally;

use crate::bench::summary;
use sources::Sources;
use workspace::Workspace;

/// Runs every check.
pub(super) fn run(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    let workspace = Workspace::read(&workshop.root)?;
    let sources = Sources::read(&workshop.root)?;
    let mut sum = Tally::default();
    let mut check = |promise: &str, breaches: Vec<String>| {
        if breaches.is_empty() {
            sum.add(Tally::pass());
        } else {
            sum.add(Tally::fail(format!("{promise}:\n           {}", breaches.join("\n           "))));
        }
    };
    check("crates depend on each other in one direction", workspace.against_the_grain());
    check("engine and protocol have no runtime, socket or random source below them", workspace.impure());
    check("nothing that ships is built with planted faults", workspace.planted());
    check("every crate follows the workspace's lints, licence and version", workspace.deviants());
    check("dependencies come from crates.io alone", workspace.foreign_sources());
    check("the binding generator is of the module's wasm-bindgen version", workspace.binding_versions());
    check("every dependency's licence is one of those deny.toml allows", workspace.licences(&workshop.root)?);
    check("engine and protocol use no clock, file, socket, thread or environment", sources.impure());
    check("engine and protocol forbid unsafe code", sources.unsafe_allowed());
    check("the relay never looks inside a position identifier", sources.relay_looks_inside());
    check("every Rust file says what it is", sources.undocumented());
    check("nothing unfinished is left", sources.leftovers());
    let stale = summary::is_stale(&workshop.root)?;
    let stale = stale.then(|| "README.md: its table is another: cargo xtask bench summary".to_owned());
    check("README tells the figures that are kept", stale.into_iter().collect());
    check("npm lock files name no registry", sources.npm_hosts());
    Ok(sum)
}
