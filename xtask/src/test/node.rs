//! The suites written in TypeScript and JavaScript.

use std::process::Command;

use crate::{bench, demo, npm, wasm};

use super::suite::Workshop;
use super::tally::Tally;

/// The npm package: built, type-checked, tested.
pub(super) fn package(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    // Some of its tests talk to a real relay.
    workshop.built()?;
    workshop.prepare(|root| wasm::module(root, false).and_then(|()| wasm::package(root, false)))?;
    let mut sum = Tally::default();
    for project in [wasm::PACKAGE, demo::WEB] {
        workshop.prepare(|root| npm::install(root, project))?;
        if npm::has_script(&workshop.root, project, "check") {
            let mut command = npm::script(&workshop.root, project, "check");
            sum.add(workshop.check(&format!("{project}: npm run check"), &mut command)?);
        }
        if npm::has_script(&workshop.root, project, "test") {
            let mut command = npm::script(&workshop.root, project, "test");
            sum.add(workshop.count_quietly(&format!("{project}: npm test"), &mut command)?);
        }
    }
    // What is measured is checked without the peers, which are installed by `bench` alone.
    let mut command = npm::script(&workshop.root, bench::NODE, "test");
    sum.add(workshop.count_quietly(&format!("{}: npm test", bench::NODE), &mut command)?);
    Ok(sum)
}

/// The demo in a real browser against a real relay.
pub(super) fn browser(workshop: &mut Workshop) -> anyhow::Result<Tally> {
    workshop.built()?;
    workshop.prepare(|root| demo::site(root).and_then(|()| npm::install(root, demo::BROWSER)))?;
    let mut command = Command::new("node");
    command.arg("run.mjs").current_dir(workshop.root.join(demo::BROWSER));
    // Only here: the variable is the relay's own setting too, and other tests look at its defaults.
    command.env("SELVEDGE_WEB", workshop.root.join("web-demo/dist"));
    workshop.count("browser", &mut command)
}
