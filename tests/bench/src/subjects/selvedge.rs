//! This project's engine.

use selvedge_engine::{Delta, Document, OpenedSnapshot, PatchList, SiteId, StateDiff, VersionVector};
use selvedge_protocol::stream::StreamEncoder;

use super::Subject;
use crate::messages::Messages;
use crate::trace::Edit;

pub struct Selvedge {
    document: Document,
    /// As an application keeps it: what was opened is read when it is edited first.
    opened: Option<OpenedSnapshot>,
    site: SiteId,
    patches: PatchList,
}

impl Selvedge {
    fn of(opened: Option<OpenedSnapshot>, site: u64) -> Self {
        // As a relay leases them: every engine here numbers its writers 1, 2, 3.
        Self { document: Document::new(), opened, site: SiteId::leased(0, site as u32), patches: PatchList::new() }
    }

    fn document(&mut self) -> &mut Document {
        if self.opened.is_some() {
            self.read();
        }
        &mut self.document
    }

    #[cold]
    fn read(&mut self) {
        let Some(snapshot) = self.opened.take() else { return };
        self.document = snapshot.into_document().map_err(|(_, error)| error).expect("a snapshot of ours");
        let next = self.document.vector().get(self.site) + 1;
        self.document.begin_writing(self.site, next).expect("the site is new or goes on");
    }

    fn write(&mut self, edit: &Edit) {
        self.document()
            .replace(edit.utf16.at, edit.utf16.delete, &edit.insert)
            .expect("the recording's positions are valid");
    }
}

impl Subject for Selvedge {
    const NAME: &'static str = "selvedge";

    fn new(site: u64) -> Self {
        let mut this = Self::of(None, site);
        this.document.begin_writing(this.site, 1).expect("the site is new");
        this
    }

    fn edit(&mut self, edit: &Edit) {
        self.write(edit);
    }

    fn edit_emitting(&mut self, edit: &Edit, out: &mut Messages) {
        self.write(edit);
        let document = self.document();
        while out.write(|bytes| document.seal_into(bytes).is_some()) {}
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
        let mut patches = core::mem::take(&mut self.patches);
        patches.clear();
        self.document().apply_encoded_into(message, &mut patches).expect("deltas of ours come in order");
        self.patches = patches;
    }

    fn text(&self) -> String {
        match &self.opened {
            Some(snapshot) => snapshot.text().to_owned(),
            None => self.document.text(),
        }
    }

    fn bulk(&mut self) -> Vec<u8> {
        self.document().seal();
        self.document().state_diff(&VersionVector::default()).encode()
    }

    fn integrate_bulk(&mut self, bytes: &[u8]) {
        let diff = StateDiff::decode(bytes).expect("a diff of ours");
        self.document().apply_state(&diff).expect("a diff since the beginning fits everyone");
    }

    fn save(&mut self) -> Vec<u8> {
        self.document().seal();
        self.document().snapshot()
    }

    fn load(bytes: &[u8], site: u64) -> Self {
        Self::of(Some(OpenedSnapshot::open(bytes).expect("a snapshot of ours")), site)
    }
}
