//! Automerge, positions in Unicode scalars.

use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, ObjId, ObjType, ROOT, ReadDoc, TextEncoding, Value};

use super::Subject;
use crate::messages::Messages;
use crate::trace::Edit;

pub struct Automerge {
    doc: AutoCommit,
    text: Option<ObjId>,
}

impl Automerge {
    fn object(&mut self) -> ObjId {
        if self.text.is_none() {
            self.text = match self.doc.get(ROOT, "text").expect("the root is a map") {
                Some((Value::Object(_), id)) => Some(id),
                _ => Some(self.doc.put_object(ROOT, "text", ObjType::Text).expect("the root is a map")),
            };
        }
        self.text.clone().expect("found or made above")
    }
}

impl Subject for Automerge {
    const NAME: &'static str = "automerge";

    fn new(site: u64) -> Self {
        let doc = AutoCommit::new_with_encoding(TextEncoding::UnicodeCodePoint)
            .with_actor(ActorId::from(&site.to_be_bytes()[..]));
        Self { doc, text: None }
    }

    fn edit(&mut self, edit: &Edit) {
        let text = self.object();
        let (at, delete) = (edit.scalars.at, edit.scalars.delete as isize);
        self.doc.splice_text(&text, at, delete, &edit.insert).expect("the recording's positions are valid");
    }

    fn edit_emitting(&mut self, edit: &Edit, out: &mut Messages) {
        self.edit(edit);
        out.push(&self.doc.save_incremental());
    }

    fn integrate(&mut self, message: &[u8]) {
        self.doc.load_incremental(message).expect("a change of its own");
    }

    fn text(&self) -> String {
        match self.doc.get(ROOT, "text").expect("the root is a map") {
            Some((_, id)) => self.doc.text(id).expect("it is a text"),
            None => String::new(),
        }
    }

    fn bulk(&mut self) -> Vec<u8> {
        self.doc.save()
    }

    fn integrate_bulk(&mut self, bytes: &[u8]) {
        self.doc.load_incremental(bytes).expect("a document of its own");
    }

    fn save(&mut self) -> Vec<u8> {
        self.doc.save()
    }

    fn load(bytes: &[u8], site: u64) -> Self {
        let doc =
            AutoCommit::load(bytes).expect("a document of its own").with_actor(ActorId::from(&site.to_be_bytes()[..]));
        Self { doc, text: None }
    }
}
