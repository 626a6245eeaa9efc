//! cola with a rope (crop) beside it, positions in bytes. It has no form for bulk or for storage of the text: rope and replica go as a pair.

use cola::{Deletion, EncodedReplica, Insertion, Replica};
use crop::Rope;
use serde::{Deserialize, Serialize};

use super::Subject;
use crate::messages::Messages;
use crate::trace::Edit;

pub struct Cola {
    replica: Replica,
    rope: Rope,
}

#[derive(Serialize, Deserialize)]
enum Message<'a> {
    Insert(Insertion, &'a str),
    Delete(Deletion),
}

fn encode(message: &Message<'_>) -> Vec<u8> {
    bincode::serialize(message).expect("plain data")
}

impl Subject for Cola {
    const NAME: &'static str = "cola + rope";

    fn new(site: u64) -> Self {
        // All replicas of a document must descend from one.
        let origin = Replica::new(1, 0);
        let replica = if site == 1 { origin } else { origin.fork(site) };
        Self { replica, rope: Rope::new() }
    }

    fn edit(&mut self, edit: &Edit) {
        let at = edit.bytes.at;
        if edit.bytes.delete > 0 {
            self.rope.delete(at..at + edit.bytes.delete);
            let _ = self.replica.deleted(at..at + edit.bytes.delete);
        }
        if !edit.insert.is_empty() {
            self.rope.insert(at, &edit.insert);
            let _ = self.replica.inserted(at, edit.insert.len());
        }
    }

    fn edit_emitting(&mut self, edit: &Edit, out: &mut Messages) {
        let at = edit.bytes.at;
        if edit.bytes.delete > 0 {
            self.rope.delete(at..at + edit.bytes.delete);
            out.push(&encode(&Message::Delete(self.replica.deleted(at..at + edit.bytes.delete))));
        }
        if !edit.insert.is_empty() {
            self.rope.insert(at, &edit.insert);
            out.push(&encode(&Message::Insert(self.replica.inserted(at, edit.insert.len()), &edit.insert)));
        }
    }

    fn integrate(&mut self, message: &[u8]) {
        match &bincode::deserialize(message).expect("a message of its own") {
            Message::Insert(insertion, text) => {
                if let Some(at) = self.replica.integrate_insertion(insertion) {
                    self.rope.insert(at, text);
                }
            }
            Message::Delete(deletion) => {
                for range in self.replica.integrate_deletion(deletion).into_iter().rev() {
                    self.rope.delete(range);
                }
            }
        }
    }

    fn text(&self) -> String {
        self.rope.to_string()
    }

    fn bulk(&mut self) -> Vec<u8> {
        self.save()
    }

    fn integrate_bulk(&mut self, _: &[u8]) {
        unreachable!("cola has no bulk form: `rows` leaves it out there")
    }

    fn save(&mut self) -> Vec<u8> {
        bincode::serialize(&(self.replica.encode(), self.rope.to_string())).expect("plain data")
    }

    fn load(bytes: &[u8], site: u64) -> Self {
        let (replica, text): (EncodedReplica<'static>, String) =
            bincode::deserialize(bytes).expect("a pair of its own");
        Self { replica: Replica::decode(site, &replica).expect("a replica of its own"), rope: Rope::from(text) }
    }
}
