//! A program under supervision: its output is kept, its time is bounded, and nothing it started outlives it.
//!
//! It runs in a process group of its own, so that ending it ends what it started and touches nothing else. For the same
//! reason the terminal's Ctrl-C does not reach it: [`obey_signals`] passes it on.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::console::say;

/// How often a silent program is looked at.
const POLL: Duration = Duration::from_millis(25);
/// How long a program may take to end itself when asked to.
const GRACE: Duration = Duration::from_secs(2);

/// The process group under supervision now; 0 when there is none.
static GROUP: AtomicU32 = AtomicU32::new(0);

/// How to supervise.
pub(crate) struct Supervised {
    /// The time after which the program is ended.
    pub(crate) limit: Duration,
    pub(crate) show: Show,
}

/// What of a program's output is shown while it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    Everything,
    Nothing,
    /// Lines that are for people: all but those of JSON.
    Prose,
}

impl Show {
    fn shows(self, line: &[u8]) -> bool {
        match self {
            Show::Everything => true,
            Show::Nothing => false,
            Show::Prose => !line.starts_with(b"{"),
        }
    }
}

/// Which of a program's outputs a line came from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pipe {
    Stdout,
    Stderr,
}

/// How a program ended.
pub(crate) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// It took longer than it may, and was ended.
    TimedOut,
}

/// What a program left behind.
pub(crate) struct Finished {
    pub(crate) end: End,
    /// Standard output and standard error, line by line as they came.
    pub(crate) output: String,
    /// Standard output alone.
    pub(crate) stdout: String,
    pub(crate) took: Duration,
}

impl Finished {
    /// Whether it ended by itself and with success.
    pub(crate) fn succeeded(&self) -> bool {
        matches!(&self.end, End::Exited(status) if status.success())
    }

    /// How it ended, for a person.
    pub(crate) fn describe(&self) -> String {
        match &self.end {
            End::Exited(status) => status.to_string(),
            End::TimedOut => format!("ended after {} s, its time limit", self.took.as_secs()),
        }
    }
}

impl Supervised {
    /// Runs the program to its end.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(crate) fn run(&self, command: &mut Command) -> anyhow::Result<Finished> {
        let begin = Instant::now();
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", super::line(command)))?;
        GROUP.store(child.id(), Ordering::SeqCst);
        let lines = read(&mut child);
        let (mut output, mut stdout) = (Vec::new(), Vec::new());
        let mut take = |(from, line): (Pipe, Vec<u8>)| {
            if self.show.shows(&line) {
                // A closed terminal is no reason to stop.
                let _ = std::io::stderr().write_all(&line);
            }
            output.extend_from_slice(&line);
            if from == Pipe::Stdout {
                stdout.extend_from_slice(&line);
            }
        };

        let mut ended: Option<(End, Instant)> = None;
        loop {
            match lines.recv_timeout(POLL) {
                Ok(line) => take(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => thread::sleep(POLL.min(Duration::from_millis(2))),
            }
            if ended.is_none() {
                if let Some(status) = child.try_wait().context("cannot wait for a program")? {
                    ended = Some((End::Exited(status), Instant::now()));
                } else if begin.elapsed() > self.limit {
                    end_group(child.id(), &mut child);
                    ended = Some((End::TimedOut, Instant::now()));
                }
            }
            // After its end its output is read out; what it left running may hold the pipes open for ever.
            if let Some((_, since)) = &ended {
                match lines.try_recv() {
                    Ok(line) => take(line),
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => break,
                    Err(std::sync::mpsc::TryRecvError::Empty) if since.elapsed() > GRACE => break,
                    Err(std::sync::mpsc::TryRecvError::Empty) => {}
                }
            }
        }
        signal_group(child.id(), "KILL");
        GROUP.store(0, Ordering::SeqCst);
        let end = ended.map_or(End::TimedOut, |(end, _)| end);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Finished { end, output: text(output), stdout: text(stdout), took: begin.elapsed() })
    }
}

/// Ends the supervised program, then this one, when this one is told to end.
pub(crate) fn obey_signals() -> anyhow::Result<()> {
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen to signals")?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            say("stopped", "ending what was running");
            let group = GROUP.load(Ordering::SeqCst);
            if group != 0 {
                signal_group(group, "TERM");
                thread::sleep(GRACE / 4);
                signal_group(group, "KILL");
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Asks the group to end; after the grace, ends it.
fn end_group(group: u32, child: &mut Child) {
    signal_group(group, "TERM");
    let begin = Instant::now();
    while begin.elapsed() < GRACE {
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        thread::sleep(POLL);
    }
    signal_group(group, "KILL");
    // Reaps it; a killed program has nothing more to say.
    let _ = child.wait();
}

/// Sends a signal to a process group. That the group is gone already is the usual case, and fine.
pub(crate) fn signal_group(group: u32, signal: &str) {
    // The shell's own `kill`: there on every machine, and no unsafe call here.
    let _ = Command::new("sh")
        .args(["-c", &format!("kill -{signal} -{group}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Reads both outputs line by line into one channel. Bounded by what the program writes, which is kept anyway.
fn read(child: &mut Child) -> Receiver<(Pipe, Vec<u8>)> {
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        read_lines(stdout, Pipe::Stdout, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        read_lines(stderr, Pipe::Stderr, sender);
    }
    receiver
}

fn read_lines(pipe: impl Read + Send + 'static, from: Pipe, to: Sender<(Pipe, Vec<u8>)>) {
    // Ends with the pipe, or with the receiver.
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        loop {
            let mut line = Vec::new();
            match pipe.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if to.send((from, line)).is_err() => return,
                Ok(_) => {}
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::{End, POLL, Show, Supervised};
    use std::process::Command;
    use std::thread;
    use std::time::{Duration, Instant};

    fn shell(script: &str, limit_ms: u64) -> super::Finished {
        let limit = Duration::from_millis(limit_ms);
        Supervised { limit, show: Show::Nothing }.run(Command::new("sh").args(["-c", script])).unwrap()
    }

    // One test: the group under supervision is one per process.
    #[test]
    fn programs_are_kept_within_their_time() {
        let finished = shell("echo one; echo two >&2; exit 3", 5_000);
        assert!(matches!(finished.end, End::Exited(status) if status.code() == Some(3)));
        let mut lines: Vec<&str> = finished.output.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(finished.stdout, "one\n");

        let finished = shell("echo begun; sleep 60 & sleep 60", 3_000);
        assert!(matches!(finished.end, End::TimedOut));
        assert_eq!(finished.output, "begun\n");
        assert!(finished.took < Duration::from_secs(30));

        // What it leaves running neither holds it up nor outlives it.
        let finished = shell("sleep 60 & echo $!", 50_000);
        assert!(finished.succeeded());
        assert!(finished.took < Duration::from_secs(30));
        let left = finished.output.trim();
        let deadline = Instant::now() + Duration::from_secs(20);
        while lives(left) {
            assert!(Instant::now() < deadline, "process {left} outlives its group");
            thread::sleep(POLL);
        }
    }

    fn lives(process: &str) -> bool {
        let asked = Command::new("sh").args(["-c", &format!("kill -0 {process} 2>/dev/null")]).status().unwrap();
        asked.success() && !zombie(process)
    }

    /// Killed, and not yet collected by whoever adopted it.
    fn zombie(process: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    }
}
