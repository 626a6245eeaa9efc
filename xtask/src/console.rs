//! What the chores print. One shape for all of them: a step, and what is being done.

use std::io::IsTerminal;
use std::time::Duration;

/// Says what is being done, on stderr: stdout belongs to results.
pub(crate) fn say(step: &str, what: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("\x1b[1m{step:>9}\x1b[0m  {what}");
    } else {
        eprintln!("{step:>9}  {what}");
    }
}

/// Says why the command ends without success.
pub(crate) fn complain(what: &str) {
    say("error", what);
}

/// A duration for a person: `0.4 s`, `12 s`, `3 min 05 s`.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if seconds < 99.5 {
        format!("{seconds:.0} s")
    } else {
        let whole = seconds.round() as u64;
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::human;
    use std::time::Duration;

    #[test]
    fn durations_read_well() {
        let check = |milliseconds, expected: &str| {
            assert_eq!(human(Duration::from_millis(milliseconds)), expected);
        };
        check(40, "0.0 s");
        check(1_250, "1.2 s");
        check(9_960, "10 s");
        check(98_000, "98 s");
        check(185_000, "3 min 05 s");
    }
}
