//! The suites, and what they share while they run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::console::{human, say};
use crate::process::{self, Finished, Show, Supervised};
use crate::programs::Selection;
use crate::setup::{self, Tool};

use super::rust::Built;
use super::tally::Tally;
use super::{drill, infra, node, region, regions, rust, tidy};

/// A part of the test command.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    /// What it does, for the person who waits.
    pub(crate) what: &'static str,
    /// Tools without which it is skipped.
    pub(crate) needs: &'static [Tool],
    /// What its tests may take on two cores; more is reported. Compiling and installing are counted apart.
    pub(crate) budget: Duration,
    /// What it may take at all, everything compiled from nothing; then it is ended.
    pub(crate) limit: Duration,
    pub(crate) run: fn(&mut Workshop) -> anyhow::Result<Tally>,
}

impl Suite {
    /// Whether it starts a region's services.
    pub(super) fn is_on_services(&self) -> bool {
        self.needs.contains(&Tool::Postgres)
    }
}

/// What the suites share: the checkout, and programs built once for all.
pub(crate) struct Workshop {
    pub(crate) root: PathBuf,
    /// What is compiled: everything, or all but the services' clients.
    pub(super) selection: Selection,
    /// The name of the suite that runs now.
    pub(super) suite: &'static str,
    built: Option<Rc<Built>>,
    /// What compiling, installing and starting services took since it was asked last.
    prepared: Duration,
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Every suite, in the order they run: what is likely to fail fast comes first.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "fmt",
        what: "Rust sources are formatted",
        needs: &[Tool::Rust, Tool::Rustfmt],
        budget: seconds(10),
        limit: seconds(60),
        run: rust::fmt,
    },
    Suite {
        name: "tidy",
        what: "what must not be there is not: dependencies against the grain, leftovers, hosts, licences",
        needs: &[Tool::Rust],
        budget: seconds(10),
        limit: seconds(60),
        run: tidy::run,
    },
    Suite {
        name: "infra",
        what: "the containers' description is valid, and of the services that the local stack starts",
        needs: &[Tool::Python],
        budget: seconds(10),
        limit: seconds(180),
        run: infra::run,
    },
    Suite {
        name: "build",
        what: "compile every crate, program and test",
        needs: &[Tool::Rust, Tool::C, Tool::Make],
        budget: seconds(10),
        limit: seconds(2_400),
        run: rust::build,
    },
    Suite {
        name: "clippy",
        what: "the linter has nothing to say about any target",
        needs: &[Tool::Rust, Tool::Clippy, Tool::C, Tool::Make],
        budget: seconds(10),
        limit: seconds(900),
        run: rust::clippy,
    },
    Suite {
        name: "rust",
        what: "unit tests, properties, random histories, contracts, documentation examples",
        needs: &[Tool::Rust, Tool::C, Tool::Make],
        budget: seconds(330),
        limit: seconds(1_200),
        run: rust::tests,
    },
    Suite {
        name: "sim",
        what: "500 seeds of one relay simulated, 100 of several and 100 of two regions, with faults",
        needs: &[Tool::Rust, Tool::C, Tool::Make],
        budget: seconds(180),
        limit: seconds(600),
        run: rust::sim,
    },
    Suite {
        name: "faults",
        what: "real relays replayed to, killed and misused while clients type",
        needs: &[Tool::Rust, Tool::C, Tool::Make],
        budget: seconds(90),
        limit: seconds(600),
        run: rust::faults,
    },
    Suite {
        name: "region",
        what: "log, control plane, stores, bus and relays of a region on Kafka, PostgreSQL, DynamoDB, Redis and S3; `stack` and `doctor`",
        needs: &[
            Tool::Rust,
            Tool::C,
            Tool::Make,
            Tool::Java,
            Tool::Maven,
            Tool::Npm,
            Tool::Python,
            Tool::Postgres,
            Tool::Redis,
        ],
        budget: seconds(300),
        limit: seconds(2_400),
        run: region::run,
    },
    Suite {
        name: "drill",
        what: "short drills on real services: a part or a region fails while clients type, and nothing is lost",
        needs: &[
            Tool::Rust,
            Tool::C,
            Tool::Make,
            Tool::Java,
            Tool::Maven,
            Tool::Npm,
            Tool::Python,
            Tool::Postgres,
            Tool::Redis,
        ],
        budget: seconds(300),
        limit: seconds(2_400),
        run: drill::run,
    },
    Suite {
        name: "package",
        what: "the npm package: WebAssembly module, types, TypeScript tests",
        needs: &[Tool::Rust, Tool::C, Tool::Make, Tool::Wasm, Tool::Node, Tool::Npm],
        budget: seconds(60),
        limit: seconds(600),
        run: node::package,
    },
    Suite {
        name: "browser",
        what: "the demo in headless Chromium against a real relay",
        needs: &[Tool::Rust, Tool::C, Tool::Make, Tool::Wasm, Tool::Node, Tool::Npm, Tool::Chromium],
        budget: seconds(240),
        limit: seconds(900),
        run: node::browser,
    },
    Suite {
        name: "regions",
        what: "the demo in two browsers, one in each of two regions on real services: link cut and joined, home handed over, a region killed and back",
        needs: &[
            Tool::Rust,
            Tool::C,
            Tool::Make,
            Tool::Wasm,
            Tool::Node,
            Tool::Npm,
            Tool::Chromium,
            Tool::Java,
            Tool::Maven,
            Tool::Python,
            Tool::Postgres,
            Tool::Redis,
        ],
        budget: seconds(240),
        limit: seconds(2_400),
        run: regions::run,
    },
];

impl Workshop {
    pub(super) fn new(root: PathBuf, selection: Selection) -> Self {
        Workshop { root, selection, suite: "test", built: None, prepared: Duration::ZERO }
    }

    /// The compiled programs and tests; compiles them if that has not been done yet.
    pub(super) fn built(&mut self) -> anyhow::Result<Rc<Built>> {
        if let Some(built) = &self.built {
            return Ok(Rc::clone(built));
        }
        let selection = self.selection;
        let built = Rc::new(self.prepare(|root| Built::make(root, selection))?);
        self.built = Some(Rc::clone(&built));
        Ok(built)
    }

    /// Compiles or installs something: its time is not the tests'.
    pub(super) fn prepare<T>(&mut self, act: impl FnOnce(&Path) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let begin = Instant::now();
        let outcome = act(&self.root);
        self.prepared += begin.elapsed();
        outcome
    }

    /// The same since the last call.
    pub(super) fn take_prepared(&mut self) -> Duration {
        std::mem::take(&mut self.prepared)
    }

    /// Tells a test where the things are that it starts.
    pub(super) fn equip(&self, command: &mut Command) {
        command.env("RUST_BACKTRACE", "0");
        if let Some(relay) = self.built.as_ref().and_then(|built| built.program("selvedge-relay")) {
            command.env("SELVEDGE_RELAY_BIN", relay);
        }
        if let Some(browser) = setup::chromium() {
            command.env("SELVEDGE_CHROMIUM", browser);
        }
    }

    /// Runs a test program in view and counts what it reports.
    pub(super) fn count(&self, what: &str, command: &mut Command) -> anyhow::Result<Tally> {
        self.equip(command);
        let supervised = Supervised { limit: process::time_left(), show: Show::Everything };
        let finished = supervised.run(command)?;
        Ok(judge(what, &finished))
    }

    /// The same with one line in view, and the whole output only when something failed.
    pub(super) fn count_quietly(&self, what: &str, command: &mut Command) -> anyhow::Result<Tally> {
        self.equip(command);
        let supervised = Supervised { limit: process::time_left(), show: Show::Nothing };
        let finished = supervised.run(command)?;
        let tally = judge(what, &finished);
        if tally.failed > 0 {
            eprint!("{}", finished.output);
        }
        if tally.total() > 0 {
            say(self.suite, &format!("{what}: {} of {} in {}", tally.passed, tally.total(), human(finished.took)));
        }
        Ok(tally)
    }

    /// A check that compiles: its time counts as compiling.
    pub(super) fn check_compiling(&mut self, what: &str, command: &mut Command) -> anyhow::Result<Tally> {
        let begin = Instant::now();
        let tally = self.check(what, command);
        self.prepared += begin.elapsed();
        tally
    }

    /// Runs a check that is one test: it passes when the program succeeds; its output is shown only when it does not.
    pub(super) fn check(&self, what: &str, command: &mut Command) -> anyhow::Result<Tally> {
        self.equip(command);
        let supervised = Supervised { limit: process::time_left(), show: Show::Nothing };
        let finished = supervised.run(command)?;
        if finished.succeeded() {
            return Ok(Tally::pass());
        }
        eprint!("{}", finished.output);
        say(self.suite, &format!("{what}: {}", finished.describe()));
        Ok(Tally::fail(what))
    }
}

/// The tally of a finished test program; one that failed without naming a failure has one all the same.
pub(super) fn judge(what: &str, finished: &Finished) -> Tally {
    let counted = Tally::read(&finished.output);
    let mut tally = counted.clone().unwrap_or_default();
    for failure in &mut tally.failures {
        *failure = format!("{what}: {failure}");
    }
    if !finished.succeeded() && tally.failed == 0 {
        tally.add(Tally::fail(format!("{what}: {}", finished.describe())));
    } else if counted.is_none() {
        tally.add(Tally::fail(format!("{what}: ended well but reported no test")));
    }
    tally
}
