//! This project's engine.

use selvedge_engine::{Delta, Document, PatchList, SiteId, StateDiff, VersionVector};
use selvedge_protocol::stream::StreamEncoder;

use super::Subject;
use crate::messages::Messages;
use crate::trace::Edit;

pub struct Selvedge {
    document: Document,
    site: SiteId,
    patches: PatchList,
}

impl Selvedge {
    fn write(&mut self, edit: &Edit) {
        self.document
            .replace(edit.utf16.at, edit.utf16.delete, &edit.insert)
            .expect("the recording's positions are valid");
    }

    fn begin(document: Document, site: u64) -> Self {
        // As a relay leases them: every engine here numbers its writers 1, 2, 3.
        let site = SiteId::leased(0, site as u32);
        let mut this = Self { document, site, patches: PatchList::new() };
        let next = this.document.vector().get(site) + 1;
        this.document.begin_writing(this.site, next).expect("the site is new or goes on");
        this
    }
}

impl Subject for Selvedge {
    const NAME: &'static str = "selvedge";

    fn new(site: u64) -> Self {
        Self::begin(Document::new(), site)
    }

    fn edit(&mut self, edit: &Edit) {
        self.write(edit);
    }

    fn edit_emitting(&mut self, edit: &Edit, out: &mut Messages) {
        self.write(edit);
        while out.write(|bytes| self.document.seal_into(bytes).is_some()) {}
    }

    fn messages_bytes(messages: &Messages) -> usize {
        let mut encoder = StreamEncoder::new();
        let mut frame = Vec::new();
        let mut bytes = 0;
        for message in messages.iter() {
            encoder.push(&Delta::decode(message).expect("a delta of ours"), &mut frame);
            bytes += frame.len();
            frame.clear();
        }
        bytes
    }

    fn integrate(&mut self, message: &[u8]) {
        self.patches.clear();
        self.document.apply_encoded_into(message, &mut self.patches).expect("deltas of ours come in order");
    }

    fn text(&self) -> String {
        self.document.text()
    }

    fn bulk(&mut self) -> Vec<u8> {
        self.document.seal();
        self.document.state_diff(&VersionVector::default()).encode()
    }

    fn integrate_bulk(&mut self, bytes: &[u8]) {
        let diff = StateDiff::decode(bytes).expect("a diff of ours");
        self.document.apply_state(&diff).expect("a diff since the beginning fits everyone");
    }

    fn save(&mut self) -> Vec<u8> {
        self.document.seal();
        self.document.snapshot()
    }

    fn load(bytes: &[u8], site: u64) -> Self {
        Self::begin(Document::load(bytes).expect("a snapshot of ours"), site)
    }
}
