//! The rows of the table: one question each, asked of every engine, every answer verified against the recording.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::concurrent;
use crate::measure::{heap, median, time};
use crate::messages::Messages;
use crate::subjects::{Automerge, Cola, Diamond, Loro, Selvedge, Subject, Yrs};
use crate::trace::{Edit, Sequential, Span, Trace};
use crate::turns;

/// One figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub suite: String,
    pub case: String,
    pub subject: String,
    pub figure: String,
    pub value: f64,
    pub unit: String,
    pub runs: usize,
    pub verified: bool,
}

impl Row {
    /// Writes it for people.
    pub fn show(&self) {
        let Self { case, subject, figure, value, unit, verified, .. } = self;
        let wrong = if *verified { "" } else { "  WRONG RESULT" };
        eprintln!("{case:<18} {subject:<15} {figure:<28} {value:>14.3} {unit:<3}{wrong}");
    }
}

/// The engines by name, in the order in which they are measured.
pub const SUBJECTS: [&str; 6] = [Selvedge::NAME, Diamond::NAME, Cola::NAME, Yrs::NAME, Loro::NAME, Automerge::NAME];

/// What is timed, in the order in which engines come to it.
pub const FIGURES: [&str; 7] = [
    "local_time",
    "local_message_time",
    "written_and_heard_time",
    "remote_time",
    "bulk_time",
    "load_time",
    "load_edit_time",
];

/// Processor time for which a row is repeated. One that takes this long in a single run is so far from the others that its median tells nothing more.
const PATIENCE: Duration = Duration::from_secs(20);
/// A turn is one run; what is done sooner is run again for this long, or as often as this.
const TURN: (Duration, usize) = (Duration::from_millis(20), 400);

/// Calls a function with the engine of this name as its type.
macro_rules! with_subject {
    ($name:expr, $($function:ident)::+($($argument:expr),*)) => {
        match $name {
            name if name == Selvedge::NAME => $($function)::+::<Selvedge>($($argument),*),
            name if name == Diamond::NAME => $($function)::+::<Diamond>($($argument),*),
            name if name == Cola::NAME => $($function)::+::<Cola>($($argument),*),
            name if name == Yrs::NAME => $($function)::+::<Yrs>($($argument),*),
            name if name == Loro::NAME => $($function)::+::<Loro>($($argument),*),
            name if name == Automerge::NAME => $($function)::+::<Automerge>($($argument),*),
            name => panic!("no engine is called {name}"),
        }
    };
}

/// Every row of one engine on one recording.
pub fn measure(trace: &Trace, subject: &str, runs: usize) {
    match trace {
        Trace::Sequential(trace) => {
            with_subject!(subject, each(trace, &mut Table { case: &trace.name, runs }));
        }
        Trace::Concurrent(trace) => {
            let edits = concurrent::edits(trace);
            with_subject!(subject, concurrent::rows(trace, &edits, &mut Table { case: &trace.name, runs }));
        }
    }
}

/// Where the figures of one recording go: a line of JSON each.
pub struct Table<'a> {
    case: &'a str,
    runs: usize,
}

impl Table<'_> {
    /// One figure.
    pub fn put<S: Subject>(&mut self, figure: &str, value: f64, unit: &str, verified: bool) {
        self.tell::<S>(figure, value, unit, 1, verified);
    }

    fn tell<S: Subject>(&mut self, figure: &str, value: f64, unit: &str, runs: usize, verified: bool) {
        let (case, subject) = (self.case.to_owned(), S::NAME.to_owned());
        let (suite, figure, unit) = ("engine".to_owned(), figure.to_owned(), unit.to_owned());
        turns::tell(Row { suite, case, subject, figure, value, unit, runs, verified });
    }

    /// The median of the times of `run`, which also tells whether its result is right.
    pub fn time<S: Subject>(&mut self, figure: &str, mut run: impl FnMut() -> (Duration, bool)) {
        let mut times = Vec::new();
        let mut verified = true;
        let mut total = Duration::ZERO;
        for _ in 0..self.runs {
            if total >= PATIENCE {
                break;
            }
            turns::wait(figure);
            let mut turn = Duration::ZERO;
            for _ in 0..TURN.1 {
                let (took, right) = run();
                times.push(took);
                verified &= right;
                turn += took;
                if turn >= TURN.0 {
                    break;
                }
            }
            total += turn;
        }
        let runs = times.len();
        self.tell::<S>(figure, median(times).as_secs_f64() * 1e3, "ms", runs, verified);
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

    let write_emitting = || {
        let mut replica = S::new(1);
        let mut emitted = Messages::default();
        edits.iter().for_each(|edit| replica.edit_emitting(edit, &mut emitted));
        (replica, emitted)
    };
    let mut messages = Messages::default();
    table.time::<S>("local_message_time", || {
        let (took, (replica, emitted)) = time(write_emitting);
        messages = emitted;
        (took, replica.text() == trace.end)
    });
    table.put::<S>("messages_bytes", S::messages_bytes(&messages) as f64, "B", true);

    let hear = |messages: &Messages| {
        let mut replica = S::new(2);
        messages.iter().for_each(|message| replica.integrate(message));
        replica
    };
    // What crdt-benchmarks calls the time of a case.
    table.time::<S>("written_and_heard_time", || {
        let (took, (writer, reader)) = time(|| {
            let (writer, emitted) = write_emitting();
            (writer, hear(&emitted))
        });
        (took, writer.text() == trace.end && reader.text() == trace.end)
    });
    table.time::<S>("remote_time", || {
        let (took, replica) = time(|| hear(&messages));
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

    load_edit::<S>(&saved, 3, &trace.end, table);
    let (bytes, loaded) = heap(|| S::load(&saved, 3));
    table.put::<S>("loaded_heap", bytes as f64, "B", loaded.text() == trace.end);
    drop(loaded);
    edited_heap::<S>(&saved, 3, &trace.end, table);

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

/// A letter before a whole text.
fn first_edit() -> Edit {
    let nothing = Span { at: 0, delete: 0 };
    Edit { scalars: nothing, utf16: nothing, bytes: nothing, insert: "x".into() }
}

/// Loading a document, its text, the first edit and its message: whatever anybody leaves for later is done by then.
pub fn load_edit<S: Subject>(saved: &[u8], site: u64, end: &str, table: &mut Table<'_>) {
    let first = first_edit();
    table.time::<S>("load_edit_time", || {
        let (took, (replica, text, message)) = time(|| {
            let mut replica = S::load(saved, site);
            let text = replica.text();
            let mut message = Messages::default();
            replica.edit_emitting(&first, &mut message);
            (replica, text, message)
        });
        (took, text == end && !message.is_empty() && replica.text().len() == end.len() + 1)
    });
}

/// What a document takes when it was loaded and edited: then nobody has left anything for later.
pub fn edited_heap<S: Subject>(saved: &[u8], site: u64, end: &str, table: &mut Table<'_>) {
    let (bytes, edited) = heap(|| {
        let mut replica = S::load(saved, site);
        let mut message = Messages::default();
        replica.edit_emitting(&first_edit(), &mut message);
        replica
    });
    table.put::<S>("edited_heap", bytes as f64, "B", edited.text().strip_prefix('x') == Some(end));
}
