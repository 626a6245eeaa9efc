//! Loro, positions in Unicode scalars.

use loro::{ExportMode, LoroDoc, LoroText, VersionVector};

use super::Subject;
use crate::messages::Messages;
use crate::trace::Edit;

pub struct Loro {
    doc: LoroDoc,
    text: LoroText,
}

impl Loro {
    fn of(doc: LoroDoc, site: u64) -> Self {
        doc.set_peer_id(site).expect("no transaction is open");
        let text = doc.get_text("text");
        Self { doc, text }
    }
}

impl Subject for Loro {
    const NAME: &'static str = "loro";

    fn new(site: u64) -> Self {
        Self::of(LoroDoc::new(), site)
    }

    fn edit(&mut self, edit: &Edit) {
        if edit.scalars.delete > 0 {
            self.text.delete(edit.scalars.at, edit.scalars.delete).expect("the recording's positions are valid");
        }
        if !edit.insert.is_empty() {
            self.text.insert(edit.scalars.at, &edit.insert).expect("the recording's positions are valid");
        }
    }

    fn edit_emitting(&mut self, edit: &Edit, out: &mut Messages) {
        let before = self.doc.oplog_vv();
        self.edit(edit);
        self.doc.commit();
        out.push(&self.doc.export(ExportMode::updates(&before)).expect("updates can be exported"));
    }

    fn integrate(&mut self, message: &[u8]) {
        self.doc.import(message).expect("an update of its own");
    }

    fn text(&self) -> String {
        self.text.to_string()
    }

    fn bulk(&mut self) -> Vec<u8> {
        self.doc.commit();
        self.doc.export(ExportMode::updates(&VersionVector::default())).expect("updates can be exported")
    }

    fn integrate_bulk(&mut self, bytes: &[u8]) {
        self.doc.import(bytes).expect("an update of its own");
    }

    fn save(&mut self) -> Vec<u8> {
        self.doc.commit();
        self.doc.export(ExportMode::Snapshot).expect("a snapshot can be exported")
    }

    fn load(bytes: &[u8], site: u64) -> Self {
        let doc = LoroDoc::new();
        doc.import(bytes).expect("a snapshot of its own");
        Self::of(doc, site)
    }

    fn save_shallow(&mut self) -> Option<Vec<u8>> {
        self.doc.commit();
        let frontiers = self.doc.oplog_frontiers();
        Some(self.doc.export(ExportMode::shallow_snapshot(&frontiers)).expect("a snapshot can be exported"))
    }
}
