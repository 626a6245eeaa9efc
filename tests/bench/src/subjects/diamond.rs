//! diamond-types 1.0, positions in Unicode scalars.

use diamond_types::AgentId;
use diamond_types::list::ListCRDT;
use diamond_types::list::encoding::EncodeOptions;

use super::Subject;
use crate::messages::Messages;
use crate::trace::Edit;

pub struct Diamond {
    list: ListCRDT,
    agent: AgentId,
}

const FULL: EncodeOptions = EncodeOptions {
    user_data: None,
    store_start_branch_content: true,
    store_inserted_content: true,
    store_deleted_content: false,
    compress_content: true,
    verbose: false,
};
const PATCH: EncodeOptions = EncodeOptions { store_start_branch_content: false, compress_content: false, ..FULL };

impl Subject for Diamond {
    const NAME: &'static str = "diamond-types";

    fn new(site: u64) -> Self {
        let mut list = ListCRDT::new();
        let agent = list.get_or_create_agent_id(&site.to_string());
        Self { list, agent }
    }

    fn edit(&mut self, edit: &Edit) {
        let at = edit.scalars.at;
        if edit.scalars.delete > 0 {
            self.list.delete_without_content(self.agent, at..at + edit.scalars.delete);
        }
        if !edit.insert.is_empty() {
            self.list.insert(self.agent, at, &edit.insert);
        }
    }

    fn edit_emitting(&mut self, edit: &Edit, out: &mut Messages) {
        let before = self.list.oplog.local_version();
        self.edit(edit);
        out.push(&self.list.oplog.encode_from(PATCH, &before));
    }

    fn integrate(&mut self, message: &[u8]) {
        self.list.merge_data_and_ff(message).expect("a patch of its own");
    }

    fn text(&self) -> String {
        self.list.branch.content().to_string()
    }

    fn bulk(&mut self) -> Vec<u8> {
        self.list.oplog.encode(FULL)
    }

    fn integrate_bulk(&mut self, bytes: &[u8]) {
        self.list.merge_data_and_ff(bytes).expect("a document of its own");
    }

    fn save(&mut self) -> Vec<u8> {
        self.list.oplog.encode(FULL)
    }

    fn load(bytes: &[u8], site: u64) -> Self {
        let mut list = ListCRDT::load_from(bytes).expect("a document of its own");
        let agent = list.get_or_create_agent_id(&site.to_string());
        Self { list, agent }
    }
}
