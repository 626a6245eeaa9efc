//! Counting: what test runners print, read back.

/// Tests passed, failed and skipped, with the names of those that did not pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// What failed, one line each.
    pub(crate) failures: Vec<String>,
    /// What was skipped, and why where that is known, one line each.
    pub(crate) skips: Vec<String>,
}

impl Tally {
    /// One check that passed.
    pub(crate) fn pass() -> Self {
        Tally { passed: 1, ..Tally::default() }
    }

    /// One check that failed.
    pub(crate) fn fail(what: impl Into<String>) -> Self {
        Tally { failed: 1, failures: vec![what.into()], ..Tally::default() }
    }

    /// One thing that was skipped, with its reason.
    pub(crate) fn skip(what: impl Into<String>) -> Self {
        Tally { skipped: 1, skips: vec![what.into()], ..Tally::default() }
    }

    /// Adds another tally.
    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        self.skips.extend(other.skips);
    }

    /// How many tests ran or were skipped.
    pub(crate) fn total(&self) -> u64 {
        self.passed + self.failed + self.skipped
    }

    /// Reads what a test runner printed: Rust's, Node's (TAP or its readable form), a plain
    /// `N passed, N failed[, N skipped]`, or a line of JSON with those three. `None` when there is no such count.
    ///
    /// A runner that ends with a line of JSON sums up there what it has printed before: then only that line counts.
    pub(crate) fn read(output: &str) -> Option<Self> {
        let (mut tally, mut sum) = (Tally::default(), Tally::default());
        let (mut counted, mut summed) = (false, false);
        let mut by_themselves: Vec<String> = Vec::new();
        for line in output.lines() {
            let line = line.trim();
            summed |= sum.json(line);
            counted |= tally.libtest(line) || tally.node(line) || tally.plain(line);
            tally.panicked(line);
            // A Rust test that finds something missing says so and passes.
            by_themselves.extend(line.strip_prefix("skipped: ").map(str::to_owned));
        }
        tally.passed = tally.passed.saturating_sub(by_themselves.len() as u64);
        tally.skipped += by_themselves.len() as u64;
        tally.skips.extend(by_themselves);
        if summed {
            (tally.passed, tally.failed, tally.skipped, counted) = (sum.passed, sum.failed, sum.skipped, true);
        }
        // Node counts a group that is skipped as a whole for nothing.
        tally.skipped = tally.skipped.max(tally.skips.len() as u64);
        counted.then_some(tally)
    }

    fn libtest(&mut self, line: &str) -> bool {
        if let Some(name) = line.strip_prefix("test ") {
            if let Some(name) = name.strip_suffix(" ... FAILED") {
                self.failures.push(name.to_owned());
            } else if let Some((name, rest)) = name.split_once(" ... ignored") {
                self.skips.push(format!("{name}: ignored{rest}"));
            }
        }
        let Some(counts) = line.strip_prefix("test result: ") else {
            return false;
        };
        let count = |what| count_before(counts, what).unwrap_or(0);
        self.passed += count(" passed");
        self.failed += count(" failed");
        self.skipped += count(" ignored");
        true
    }

    /// Where a failed test panicked: `thread 'NAME' (ID) panicked at FILE:LINE:COLUMN:`.
    fn panicked(&mut self, line: &str) {
        let Some((name, place)) = line.strip_prefix("thread '").and_then(|rest| rest.split_once("' ")) else { return };
        let Some((_, place)) = place.split_once("panicked at ") else { return };
        if let Some(failure) = self.failures.iter_mut().find(|failure| *failure == name) {
            *failure = format!("{name}: panicked at {}", place.trim_end_matches(':'));
        }
    }

    fn node(&mut self, line: &str) -> bool {
        if let Some((_, name)) = line.strip_prefix("not ok ").and_then(|rest| rest.split_once(" - ")) {
            self.failures.push(name.to_owned());
        } else if let Some(name) = line.strip_prefix("FAILED ") {
            self.failures.push(name.to_owned());
        } else if let Some((name, reason)) = line.split_once(" # SKIP") {
            let name = name.split_once(" - ").map_or(name, |(_, name)| name);
            self.skips.push(format!("{name}:{reason}"));
        }
        let Some(rest) = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ ")) else {
            return false;
        };
        let Some((what, count)) = rest.split_once(' ') else {
            return false;
        };
        let Ok(count) = count.parse::<u64>() else {
            return false;
        };
        match what {
            "pass" => self.passed += count,
            "fail" | "cancelled" => self.failed += count,
            "skipped" | "todo" => self.skipped += count,
            _ => return false,
        }
        true
    }

    fn plain(&mut self, line: &str) -> bool {
        if let Some(what) = line.strip_prefix("VIOLATED: ") {
            self.failures.push(what.to_owned());
        }
        // `sim: 500 passed, 0 failed`: one word with a colon may stand before the counts.
        let counts = line.split_once(": ").map_or(line, |(word, rest)| if word.contains(' ') { line } else { rest });
        let mut parts = counts.split(", ");
        let (Some(passed), Some(failed)) = (parts.next(), parts.next()) else {
            return false;
        };
        let number = |part: &str, what: &str| part.strip_suffix(what)?.parse::<u64>().ok();
        let (Some(passed), Some(failed)) = (number(passed, " passed"), number(failed, " failed")) else {
            return false;
        };
        self.passed += passed;
        self.failed += failed;
        self.skipped += parts.next().and_then(|part| number(part, " skipped")).unwrap_or(0);
        true
    }

    fn json(&mut self, line: &str) -> bool {
        if !line.starts_with('{') {
            return false;
        }
        let Ok(counts) = serde_json::from_str::<serde_json::Value>(line) else {
            return false;
        };
        let (Some(passed), Some(failed)) = (counts["passed"].as_u64(), counts["failed"].as_u64()) else {
            return false;
        };
        self.passed += passed;
        self.failed += failed;
        self.skipped += counts["skipped"].as_u64().unwrap_or(0);
        true
    }
}

/// The number that stands right before `what`.
fn count_before(line: &str, what: &str) -> Option<u64> {
    let (before, _) = line.split_once(what)?;
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Tally;

    fn check(output: &str, counts: (u64, u64, u64), failures: &[&str], skips: &[&str]) {
        let tally = Tally::read(output).unwrap();
        assert_eq!((tally.passed, tally.failed, tally.skipped), counts);
        assert_eq!(tally.failures, failures);
        assert_eq!(tally.skips, skips);
    }

    #[test]
    fn rust_tests_are_counted() {
        check(
            "running 3 tests\ntest a::b ... ok\ntest a::c ... FAILED\ntest d ... ignored, needs a network\n\n\
             test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.02s\n\
             test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
            (13, 1, 1),
            &["a::c"],
            &["d: ignored, needs a network"],
        );
    }

    #[test]
    fn a_failure_says_where_it_panicked() {
        check(
            "test a::c ... FAILED\n\n---- a::c stdout ----\n\nthread 'a::c' (7950) panicked at src/a.rs:86:13:\nassertion failed\n\n\
             test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s\n",
            (0, 1, 0),
            &["a::c: panicked at src/a.rs:86:13"],
            &[],
        );
    }

    #[test]
    fn tests_that_skip_themselves_did_not_pass() {
        check(
            "running 2 tests\nskipped: roams (needs root)\ntest roams ... ok\ntest stays ... ok\n\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s\n",
            (1, 0, 1),
            &[],
            &["roams (needs root)"],
        );
    }

    #[test]
    fn node_tests_are_counted() {
        check(
            "TAP version 13\nok 1 - converges\nnot ok 2 - survives\nok 3 - roams # SKIP no namespaces\n1..3\n# tests 3\n\
             # suites 0\n# pass 1\n# fail 1\n# cancelled 0\n# skipped 1\n# todo 0\n# duration_ms 12.5\n",
            (1, 1, 1),
            &["survives"],
            &["roams: no namespaces"],
        );
        check(
            "ok 1 - relay # SKIP none is built\n# pass 0\n# fail 0\n# skipped 0\n",
            (0, 0, 1),
            &[],
            &["relay: none is built"],
        );
        check("✔ converges (2ms)\nℹ tests 1\nℹ pass 1\nℹ fail 0\nℹ skipped 0\n", (1, 0, 0), &[], &[]);
    }

    #[test]
    fn plain_counts_are_read() {
        check("  VIOLATED: seed 7: I2\nsim: 499 passed, 1 failed\n", (499, 1, 0), &["seed 7: I2"], &[]);
        check("5 passed, 0 failed, 1 skipped\n", (5, 0, 1), &[], &[]);
        check("{\"suite\":\"browser\",\"passed\":9,\"failed\":1,\"skipped\":0,\"ms\":5}\n", (9, 1, 0), &[], &[]);
    }

    #[test]
    fn a_sum_is_not_counted_twice() {
        let runner =
            "✔ types (2ms)\nℹ pass 1\nℹ fail 0\n{\"suite\":\"browser\",\"passed\":1,\"failed\":0,\"skipped\":0}\n";
        check(runner, (1, 0, 0), &[], &[]);
    }

    #[test]
    fn no_count_is_no_tally() {
        assert_eq!(Tally::read("all went well\n1 passed\n"), None);
    }
}
