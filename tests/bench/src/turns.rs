//! Engines are measured in turns, each in a process of its own: a machine that is slow for a while is slow for all of them, and what one
//! leaves behind does not count for the next. Only the one whose turn it is runs.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::rows::{FIGURES, Row};

/// Who takes longer for a row is beaten in it, and in those that would have come after it.
const ROW_MAX: Duration = Duration::from_secs(300);

/// What a measuring process says, a line of JSON each.
#[derive(Serialize, Deserialize)]
enum Said {
    Row(Row),
    /// It waits for its next turn, at this of the timed figures.
    Waits(usize),
}

fn say(said: &Said) {
    println!("{}", serde_json::to_string(said).expect("a row is plain data"));
}

/// Tells a figure.
pub fn tell(row: Row) {
    say(&Said::Row(row));
}

/// Waits for the next turn at a timed figure. Where nobody gives turns, which the end of the input tells, it begins at once.
pub fn wait(figure: &str) {
    let rank = FIGURES.iter().position(|of| *of == figure).expect("FIGURES lists what is timed");
    say(&Said::Waits(rank));
    io::stdin().lock().read_line(&mut String::new()).expect("turns are given on the standard input");
}

/// One engine's process.
pub struct Engine {
    case: String,
    subject: String,
    child: Child,
    turns: ChildStdin,
    said: Receiver<Said>,
    reader: JoinHandle<()>,
    /// At which timed figure it waits, and how many turns it has had there.
    at: (usize, usize),
    /// Time spent on the row that comes next.
    spent: Duration,
    rows: Vec<Row>,
}

/// What has become of an engine after a turn.
enum After {
    Waits(Engine),
    Ended(Outcome),
}

/// The rows of one engine, and whether these are all.
pub struct Outcome {
    pub subject: String,
    pub rows: Vec<Row>,
    pub is_finished: bool,
}

/// The rows of these engines in one case, who are called by name.
pub fn measure(traces: &Path, case: &str, subjects: &[&str], runs: usize) -> Result<Vec<Outcome>> {
    let (mut waiting, mut outcomes) = (Vec::new(), Vec::new());
    let mut place = |after, waiting: &mut Vec<Engine>| match after {
        After::Waits(engine) => waiting.push(engine),
        After::Ended(outcome) => outcomes.push(outcome),
    };
    for subject in subjects {
        place(Engine::start(traces, case, subject, runs)?.listen()?, &mut waiting);
    }
    // Whoever is at the earliest figure, and of several the one with the fewest turns there: all have their turns at a figure before the next.
    while let Some(next) = (0..waiting.len()).min_by_key(|&engine| waiting[engine].at) {
        let mut engine = waiting.remove(next);
        // Of one that is gone it is heard that it has ended.
        engine.turns.write_all(b"\n").ok();
        let after = engine.listen()?;
        place(after, &mut waiting);
    }
    Ok(outcomes)
}

impl Engine {
    fn start(traces: &Path, case: &str, subject: &str, runs: usize) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--alone", "--trace", case, "--subject", subject, "--runs", &runs.to_string(), "--traces"])
            .arg(traces)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the program again")?;
        let turns = child.stdin.take().context("the way to an engine")?;
        let lines = BufReader::new(child.stdout.take().context("the way from an engine")?).lines();
        let (sender, said) = mpsc::channel();
        let reader = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let said = serde_json::from_str(&line).expect("only these lines are written");
                if sender.send(said).is_err() {
                    break;
                }
            }
        });
        let (case, subject) = (case.to_owned(), subject.to_owned());
        Ok(Self { case, subject, child, turns, said, reader, at: (0, 0), spent: Duration::ZERO, rows: Vec::new() })
    }

    /// Hears an engine until its turn is over.
    fn listen(mut self) -> Result<After> {
        let mut begin = Instant::now();
        loop {
            match self.said.recv_timeout(ROW_MAX.saturating_sub(self.spent + begin.elapsed())) {
                Ok(Said::Row(row)) => {
                    row.show();
                    self.rows.push(row);
                    (self.spent, begin) = (Duration::ZERO, Instant::now());
                }
                Ok(Said::Waits(figure)) => {
                    self.spent += begin.elapsed();
                    let (before, turns) = self.at;
                    self.at = (figure, if figure == before { turns + 1 } else { 0 });
                    return Ok(After::Waits(self));
                }
                Err(RecvTimeoutError::Disconnected) => return self.end("failed"),
                Err(RecvTimeoutError::Timeout) => {
                    self.child.kill().context("cannot end a measurement")?;
                    return self.end("took more than five minutes for a row");
                }
            }
        }
    }

    fn end(mut self, why: &str) -> Result<After> {
        drop(self.turns);
        let is_finished = self.child.wait()?.success();
        self.reader.join().ok();
        if !is_finished {
            eprintln!("{:<18} {:<15} {why}: it has no further figures here", self.case, self.subject);
        }
        Ok(After::Ended(Outcome { subject: self.subject, rows: self.rows, is_finished }))
    }
}
