//! yrs, positions in bytes, update encoding 1 for messages and 2 for documents (the smaller of each).

use std::sync::{Arc, Mutex};

use yrs::block::ClientID;
use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, Options, ReadTxn, StateVector, Text, TextRef, Transact, Update};

use super::Subject;
use crate::messages::Messages;
use crate::trace::Edit;

pub struct Yrs {
    doc: Doc,
    text: TextRef,
    emitted: Arc<Mutex<Vec<Vec<u8>>>>,
    observed: bool,
}

impl Subject for Yrs {
    const NAME: &'static str = "yrs";

    fn new(site: u64) -> Self {
        let doc = Doc::with_options(Options { client_id: ClientID::new(site), ..Options::default() });
        let text = doc.get_or_insert_text("text");
        Self { doc, text, emitted: Arc::default(), observed: false }
    }

    fn edit(&mut self, edit: &Edit) {
        let mut txn = self.doc.transact_mut();
        if edit.bytes.delete > 0 {
            self.text.remove_range(&mut txn, edit.bytes.at as u32, edit.bytes.delete as u32);
        }
        if !edit.insert.is_empty() {
            self.text.insert(&mut txn, edit.bytes.at as u32, &edit.insert);
        }
    }

    fn edit_emitting(&mut self, edit: &Edit, out: &mut Messages) {
        if !self.observed {
            let emitted = Arc::clone(&self.emitted);
            self.doc
                .observe_update_v1("messages", move |_, event| {
                    emitted.lock().expect("one thread").push(event.update.clone())
                })
                .expect("a document can be observed");
            self.observed = true;
        }
        // What was heard meanwhile is not this replica's to tell.
        self.emitted.lock().expect("one thread").clear();
        self.edit(edit);
        self.emitted.lock().expect("one thread").drain(..).for_each(|message| out.push(&message));
    }

    fn integrate(&mut self, message: &[u8]) {
        let update = Update::decode_v1(message).expect("an update of its own");
        self.doc.transact_mut().apply_update(update).expect("updates come in order");
    }

    fn text(&self) -> String {
        self.text.get_string(&self.doc.transact())
    }

    fn bulk(&mut self) -> Vec<u8> {
        self.doc.transact().encode_state_as_update_v2(&StateVector::default())
    }

    fn integrate_bulk(&mut self, bytes: &[u8]) {
        let update = Update::decode_v2(bytes).expect("an update of its own");
        self.doc.transact_mut().apply_update(update).expect("the update is whole");
    }

    fn save(&mut self) -> Vec<u8> {
        self.bulk()
    }

    fn load(bytes: &[u8], site: u64) -> Self {
        let mut this = Self::new(site);
        this.integrate_bulk(bytes);
        this
    }
}
