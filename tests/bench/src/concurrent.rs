//! Recordings of several people, and the rows asked of them.

use crate::measure::{heap, time};
use crate::messages::Messages;
use crate::rows::{self, Table};
use crate::subjects::{Cola, Subject};
use crate::trace::{Concurrent, Edit, Span, Transaction};

/// The edits of every transaction. Positions are in characters; in a recording of ASCII that is every measure.
pub fn edits(trace: &Concurrent) -> Vec<Vec<Edit>> {
    let edit = |(at, delete, insert): &(usize, usize, String)| {
        let span = Span { at: *at, delete: *delete };
        Edit { scalars: span, utf16: span, bytes: span, insert: insert.clone() }
    };
    trace.transactions.iter().map(|transaction| transaction.patches.iter().map(edit).collect()).collect()
}

/// Everybody's replicas, and the messages of every transaction.
struct Replay<S> {
    authors: Vec<Author<S>>,
    messages: Vec<Messages>,
}

struct Author<S> {
    replica: S,
    /// Which transactions it has.
    seen: Vec<bool>,
}

impl<S: Subject> Replay<S> {
    /// Each author hears what a transaction stands on before it is made.
    fn run(trace: &Concurrent, edits: &[Vec<Edit>]) -> Self {
        let count = trace.transactions.len();
        let author = |site| Author { replica: S::new(site), seen: vec![false; count] };
        let authors = (1..=trace.authors as u64).map(author).collect();
        let mut this = Self { authors, messages: Vec::with_capacity(count) };
        for (at, transaction) in trace.transactions.iter().enumerate() {
            let author = &mut this.authors[transaction.author];
            author.hear(&transaction.parents, &trace.transactions, &this.messages);
            let mut emitted = Messages::default();
            edits[at].iter().for_each(|edit| author.replica.edit_emitting(edit, &mut emitted));
            author.seen[at] = true;
            this.messages.push(emitted);
        }
        this
    }

    /// The first author hears everything.
    fn gather(mut self, trace: &Concurrent) -> (S, Messages) {
        let all: Vec<usize> = (0..trace.transactions.len()).collect();
        let mut first = self.authors.swap_remove(0);
        first.hear(&all, &trace.transactions, &self.messages);
        let mut together = Messages::default();
        self.messages.iter().for_each(|messages| together.append(messages));
        (first.replica, together)
    }
}

impl<S: Subject> Author<S> {
    fn hear(&mut self, wanted: &[usize], transactions: &[Transaction], messages: &[Messages]) {
        let mut missing = Vec::new();
        let mut open: Vec<usize> = wanted.to_vec();
        while let Some(at) = open.pop() {
            if !core::mem::replace(&mut self.seen[at], true) {
                missing.push(at);
                open.extend(&transactions[at].parents);
            }
        }
        missing.sort_unstable();
        for message in missing.into_iter().flat_map(|at| messages[at].iter()) {
            self.replica.integrate(message);
        }
    }
}

/// Every row of one recording for one engine.
pub fn rows<S: Subject>(trace: &Concurrent, edits: &[Vec<Edit>], table: &mut Table<'_>) {
    let (replica, messages) = Replay::<S>::run(trace, edits).gather(trace);
    // Where no end is recorded, engines may differ in it, but not the replicas of one.
    let end = trace.end.clone().unwrap_or_else(|| replica.text());
    let right = |text: String| text == end && replica.text() == end;
    table.time::<S>("written_and_heard_time", || {
        let (took, (replica, _)) = time(|| Replay::<S>::run(trace, edits).gather(trace));
        (took, right(replica.text()))
    });
    table.put::<S>("messages_bytes", S::messages_bytes(&messages) as f64, "B", true);
    let reader = trace.authors as u64 + 1;
    table.time::<S>("remote_time", || {
        let (took, replica) = time(|| {
            let mut replica = S::new(reader);
            messages.iter().for_each(|message| replica.integrate(message));
            replica
        });
        (took, right(replica.text()))
    });
    let mut replica = replica;
    if S::NAME != Cola::NAME {
        let bulk = replica.bulk();
        table.put::<S>("bulk_bytes", bulk.len() as f64, "B", true);
        table.time::<S>("bulk_time", || {
            let mut other = S::new(reader);
            let (took, ()) = time(|| other.integrate_bulk(&bulk));
            (took, other.text() == end)
        });
    }
    let saved = replica.save();
    table.put::<S>("document_bytes", saved.len() as f64, "B", true);
    table.time::<S>("load_time", || {
        let (took, loaded) = time(|| S::load(&saved, reader));
        (took, loaded.text() == end)
    });
    rows::load_edit::<S>(&saved, reader, &end, table);
    let (bytes, loaded) = heap(|| S::load(&saved, reader));
    table.put::<S>("loaded_heap", bytes as f64, "B", loaded.text() == end);
    drop(loaded);
    rows::edited_heap::<S>(&saved, reader, &end, table);
}
