//! Two replicas: one on which everybody writes, one that hears it message by message.

use std::time::Duration;

use cpu_time::ProcessTime;
use crop::Rope;
use selvedge_engine::{Document, SiteId, Stats};

use crate::kinds::{Edit, Hand};

/// Edits between two looks at the clock; their messages lie in memory meanwhile.
const BATCH: usize = 50_000;

/// The replicas, and a rope that knows what they must hold.
#[derive(Default)]
pub struct Pair {
    here: Document,
    there: Document,
    rope: Rope,
}

/// What some edits took, in all.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    pub edits: usize,
    /// Processor time of writing them, each sealed into its message.
    pub local: Duration,
    /// Processor time of applying the messages one by one.
    pub remote: Duration,
    pub message_bytes: usize,
}

impl Pair {
    /// Writes until there are `length` characters.
    pub fn grow(&mut self, hand: &mut Hand, length: usize) -> Cost {
        let mut cost = Cost::default();
        while self.len() < length {
            let edits = self.draw(hand, BATCH.min(length - self.len()));
            let begin = ProcessTime::now();
            let mut messages = Vec::with_capacity(edits.len());
            for edit in &edits {
                write(&mut self.here, edit, &mut messages);
            }
            let written = ProcessTime::now();
            for message in &messages {
                self.there.apply_encoded(message).expect("messages come in order");
            }
            cost.remote += written.elapsed();
            cost.local += written.duration_since(begin);
            cost.edits += edits.len();
            cost.message_bytes += messages.iter().map(Vec::len).sum::<usize>();
        }
        cost
    }

    /// Whether both hold what the rope does.
    pub fn agrees(&self) -> bool {
        let text = self.rope.to_string();
        self.here.text() == text && self.there.text() == text
    }

    pub fn stats(&self) -> Stats {
        self.here.stats()
    }

    fn len(&self) -> usize {
        self.rope.byte_len()
    }

    /// The next edits, which the rope has at once: all of it outside what is measured.
    fn draw(&mut self, hand: &mut Hand, count: usize) -> Vec<Edit> {
        let mut edits = Vec::with_capacity(count);
        for _ in 0..count {
            let edit = hand.next(self.len());
            self.rope.insert(edit.at, edit.character.encode_utf8(&mut [0; 4]));
            edits.push(edit);
        }
        edits
    }
}

/// Writes one character as its site.
fn write(document: &mut Document, edit: &Edit, messages: &mut Vec<Vec<u8>>) {
    let site = SiteId::leased(0, edit.site as u32);
    if document.site() != Some(site) {
        let next = document.vector().get(site) + 1;
        document.begin_writing(site, next).expect("everything is sealed");
    }
    document.replace(edit.at, 0, edit.character.encode_utf8(&mut [0; 4])).expect("the place is in the text");
    let mut message = Vec::new();
    while document.seal_into(&mut message).is_some() {
        messages.push(core::mem::take(&mut message));
    }
}
