//! The rows of the table: one question each, asked of every engine, every answer verified against the recording.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::concurrent;
use crate::measure::{heap, median, time};
use crate::messages::Messages;
use crate::subjects::{Automerge, Cola, Diamond, Loro, Selvedge, Subject, Yrs};
use crate::trace::{Concurrent, Edit, Sequential, Span};

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub suite: &'static str,
    pub case: String,
    pub subject: &'static str,
    pub figure: &'static str,
    pub value: f64,
    pub unit: &'static str,
    pub runs: usize,
    pub verified: bool,
}

/// Processor time for which a row is repeated. One that takes this long in a single run is so far from the others that its median tells nothing more.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs every row on one recording.
pub fn sequential(trace: &Sequential, runs: usize, only: Option<&str>, out: &mut Vec<Row>) {
    macro_rules! each {
        ($($subject:ty)*) => { $(if wanted::<$subject>(only) { each::<$subject>(trace, &mut Table::new(&trace.name, runs, out)) })* };
    }
    each!(Selvedge Diamond Cola Yrs Loro Automerge);
}

/// Runs every row on one recording of several people.
///
/// # Errors
/// The recording cannot be given to every engine.
pub fn concurrent(trace: &Concurrent, runs: usize, only: Option<&str>, out: &mut Vec<Row>) -> Result<()> {
    let edits = concurrent::edits(trace)?;
    macro_rules! each {
        ($($subject:ty)*) => {
            $(if wanted::<$subject>(only) { concurrent::rows::<$subject>(trace, &edits, &mut Table::new(&trace.name, runs, out)) })*
        };
    }
    each!(Selvedge Diamond Cola Yrs Loro Automerge);
    Ok(())
}

fn wanted<S: Subject>(only: Option<&str>) -> bool {
    only.is_none_or(|only| S::NAME.contains(only))
}

/// Where the figures of one recording go.
pub struct Table<'a> {
    case: String,
    runs: usize,
    out: &'a mut Vec<Row>,
}

impl<'a> Table<'a> {
    fn new(case: &str, runs: usize, out: &'a mut Vec<Row>) -> Self {
        Self { case: case.to_owned(), runs, out }
    }

    /// One figure, printed and kept.
    pub fn put<S: Subject>(&mut self, figure: &'static str, value: f64, unit: &'static str, verified: bool) {
        self.keep::<S>(figure, value, unit, 1, verified);
    }

    fn keep<S: Subject>(&mut self, figure: &'static str, value: f64, unit: &'static str, runs: usize, verified: bool) {
        let case = self.case.clone();
        let row = Row { suite: "engine", case, subject: S::NAME, figure, value, unit, runs, verified };
        eprintln!(
            "{:<18} {:<15} {:<28} {:>14.3} {:<3}{}",
            row.case,
            row.subject,
            row.figure,
            row.value,
            row.unit,
            if verified { "" } else { "  WRONG RESULT" }
        );
        self.out.push(row);
    }

    /// The median of the times of `run`, which also tells whether its result is right.
    pub fn time<S: Subject>(&mut self, figure: &'static str, mut run: impl FnMut() -> (Duration, bool)) {
        let mut times = Vec::new();
        let mut verified = true;
        while times.len() < self.runs && times.iter().sum::<Duration>() < PATIENCE {
            let (took, right) = run();
            times.push(took);
            verified &= right;
        }
        let runs = times.len();
        self.keep::<S>(figure, median(times).as_secs_f64() * 1e3, "ms", runs, verified);
    }
}

fn each<S: Subject>(trace: &Sequential, table: &mut Table<'_>) {
    let cola = S::NAME == Cola::NAME;
    let edits = &trace.edits;

    let write = || {
        let mut replica = S::new(1);
        edits.iter().for_each(|edit| replica.edit(edit));
        replica
    };
    table.time::<S>("local_time", || {
        let (took, replica) = time(write);
        (took, replica.text() == trace.end)
    });

    let mut messages = Messages::default();
    table.time::<S>("local_message_time", || {
        let (took, (replica, emitted)) = time(|| {
            let mut replica = S::new(1);
            let mut emitted = Messages::default();
            edits.iter().for_each(|edit| replica.edit_emitting(edit, &mut emitted));
            (replica, emitted)
        });
        messages = emitted;
        (took, replica.text() == trace.end)
    });
    table.put::<S>("messages_bytes", S::messages_bytes(&messages) as f64, "B", true);

    table.time::<S>("remote_time", || {
        let (took, replica) = time(|| {
            let mut replica = S::new(2);
            messages.iter().for_each(|message| replica.integrate(message));
            replica
        });
        (took, replica.text() == trace.end)
    });

    let mut replica = write();
    if !cola {
        let bulk = replica.bulk();
        table.put::<S>("bulk_bytes", bulk.len() as f64, "B", true);
        table.time::<S>("bulk_time", || {
            let mut other = S::new(2);
            let (took, ()) = time(|| other.integrate_bulk(&bulk));
            (took, other.text() == trace.end)
        });
    }
    let saved = replica.save();
    table.put::<S>("document_bytes", saved.len() as f64, "B", true);
    if let Some(shallow) = replica.save_shallow() {
        table.put::<S>("shallow_bytes", shallow.len() as f64, "B", true);
    }
    drop(replica);

    let first = Edit {
        scalars: Span { at: 0, delete: 0 },
        utf16: Span { at: 0, delete: 0 },
        bytes: Span { at: 0, delete: 0 },
        insert: "x".into(),
    };
    table.time::<S>("load_edit_time", || {
        let (took, (replica, text, message)) = time(|| {
            let mut replica = S::load(&saved, 3);
            let text = replica.text();
            let mut message = Messages::default();
            replica.edit_emitting(&first, &mut message);
            (replica, text, message)
        });
        (took, text == trace.end && !message.is_empty() && replica.text().len() == trace.end.len() + 1)
    });
    let (bytes, loaded) = heap(|| S::load(&saved, 3));
    table.put::<S>("loaded_heap", bytes as f64, "B", loaded.text() == trace.end);
    drop(loaded);

    let mut replica = write();
    let units = |text: &str| (text.chars().count(), text.encode_utf16().count(), text.len());
    let (scalars, utf16, bytes) = units(&trace.end);
    let all = Edit {
        scalars: Span { at: 0, delete: scalars },
        utf16: Span { at: 0, delete: utf16 },
        bytes: Span { at: 0, delete: bytes },
        insert: String::new(),
    };
    replica.edit(&all);
    table.put::<S>("emptied_bytes", replica.save().len() as f64, "B", replica.text().is_empty());
    if let Some(shallow) = replica.save_shallow() {
        table.put::<S>("emptied_shallow_bytes", shallow.len() as f64, "B", true);
    }
}
